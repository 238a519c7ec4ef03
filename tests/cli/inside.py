"""Verbs run in this process, against a real server in another: quick enough to try each of them in many ways."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from tests.support.server import Server

from tocsin.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a verb ended, and what it said. answer: what stood on stdout, read as JSON."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object, url: str = "", token: str = "") -> Said:
    """Run a verb. stdout is a pipe to it."""
    environment = {"TOCSIN_URL": url or None, "TOCSIN_TOKEN": token or None, "COLUMNS": "80"}
    ran = CliRunner().invoke(main, [str(one) for one in arguments], env=environment, prog_name="tocsin")
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return Said(ran.exit_code, ran.stdout, ran.stderr)


class Operator:
    """Somebody with a token, at the terminal of a server."""

    def __init__(self, server: Server, token: str = "") -> None:
        self._url = f"http://127.0.0.1:{server.port}"
        self._token = token or server.token

    def __call__(self, *arguments: object) -> Said:
        return run(*arguments, url=self._url, token=self._token)

    def line(self, text: str) -> Said:
        """Run a verb as it stands in a script."""
        import shlex

        return self(*shlex.split(text))


def alert(server: Server, rule_id: str = "disk", severity: str = "error", **more: object) -> int:
    """Let an alert come in; the number of its incident."""
    body = {"rule_id": rule_id, "severity": severity, "message": f"{rule_id} is wrong", **more}
    status, _, answer = server.request("POST", "/api/v1/alerts", body)
    assert status == 200, answer
    number: int = answer["results"][0]["incidents"][0]["number"]
    return number


def verbs(command: click.Command = main, name: str = "") -> dict[str, click.Command]:
    """Give every verb that can be run, by its full name."""
    if not isinstance(command, click.Group):
        return {name: command}
    found: dict[str, click.Command] = {}
    context = click.Context(command)
    for inner in command.list_commands(context):
        made = command.get_command(context, inner)
        assert made is not None
        found |= verbs(made, f"{name} {inner}".strip())
    return found


def talks_to_a_server(command: click.Command) -> bool:
    return any("--url" in one.opts for one in command.params)


def fresh(path: Path) -> Server:
    """A server on a new directory, with nobody to tell."""
    return Server(path / "data")
