"""Config: is `tocsin.yaml` right, and what does it come to? Neither needs a server; and let a server read it anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import DATA, config_option, data_option, find_server, server_options
from tocsin.cli.exits import UNREACHABLE, USAGE, Failure, told
from tocsin.cli.plain import plain
from tocsin.cli.show import output_option, several, show_json, wants_json

if TYPE_CHECKING:
    from tocsin.core.model.errors import Invalid

NAMES_SHOWN = 10


@click.group()
def config() -> None:
    """The configuration, tocsin.yaml."""


@config.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@data_option
@output_option
def check(file: Path | None, data: Path, output: str | None) -> None:
    """Read FILE as a server would, with the secrets that it refers to, and say all that is wrong.

    Without FILE: $TOCSIN_CONFIG, else tocsin.yaml in the data directory, else the environment alone. Exit code 0 if it
    is right, 2 if not.
    """
    with told():
        from tocsin.core.model.errors import Invalid
        from tocsin.ports import Reachable
        from tocsin.settings import find_file
        from tocsin.settings.show_rules import own_rules
        from tocsin.wiring.outside import build_channels, read_configuration

        path = find_file(file, data)
        try:
            settings = read_configuration(file, data)
        except Invalid as error:
            if not wants_json(output):
                raise
            show_json({"file": _name(path), "ok": False, "errors": _errors(error)})
            raise click.exceptions.Exit(USAGE) from None
        channels = build_channels(settings).values()
    names = [channel.name for channel in channels]
    doubts = [doubt for channel in channels if isinstance(channel, Reachable) for doubt in channel.doubts]
    sources = [source.name for source in settings.sources]
    rules, slos = len(own_rules(settings)), len(settings.slos)
    if wants_json(output):
        show_json(
            {
                "file": _name(path),
                "ok": True,
                "errors": [],
                "doubts": doubts,
                "channels": names,
                "sources": sources,
                "rules": rules,
                "slos": slos,
            }
        )
    else:
        what = plain(path) if path is not None else "There is no file; the environment"
        said = [f"{what} is right.", f"Channels: {', '.join(map(plain, names)) or 'none'}."]
        if sources or rules or slos:
            said.append(f"Sources: {', '.join(map(plain, sources)) or 'none'}.")
            said.append(f"{several(rules, 'rule')}, {several(slos, 'objective')}.")
        click.echo(" ".join(said))
        for doubt in doubts:
            click.echo(f"But look: {plain(doubt)}", err=True)


@config.command("reload")
@server_options
@output_option
def reload(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Let the running server read its file and its secrets anew. If anything in them is wrong, nothing changes.

    SIGHUP does the same.
    """
    server = find_server(data, url, token)
    if server is None:
        raise Failure(f"No server runs on {data}; it will read its file when it starts.", UNREACHABLE)
    found = server.request("POST", "/api/v1/config/reload")
    if wants_json(output):
        show_json(found)
        return
    if not found["changed"]:
        click.echo("The server read its configuration anew: nothing has changed.")
        return
    click.echo(
        f"The server goes by its configuration as it is now (policy version {found['policy_version']})."
    )
    for line in _rules_changed(found.get("rules") or {}):
        click.echo(line)
    if found["changes"]:
        from tocsin.cli.policy import show_changes

        show_changes(found)


@config.command("show")
@config_option
@data_option
@output_option
def show(config: Path | None, data: Path, output: str | None) -> None:
    """Show what the file and the environment come to. Of secrets, only where they come from."""
    with told():
        from tocsin.settings.show import shown_settings, shown_yaml
        from tocsin.wiring.outside import read_configuration

        settings = read_configuration(config, data)
    origin = "file" if settings.channels_in_file else "environment"
    if wants_json(output):
        show_json(
            {
                "file": _name(settings.path),
                "digest": settings.digest or None,
                "channels_from": origin,
                "settings": shown_settings(settings),
            }
        )
        return
    if settings.path is not None:
        click.echo(f"# {plain(settings.path)}, SHA-256 {settings.digest}; channels: from the {origin}")
    else:
        click.echo(f"# No file ($TOCSIN_CONFIG, {plain(DATA / 'tocsin.yaml')}); from the environment alone")
    click.echo(shown_yaml(settings), nl=False)


def _rules_changed(rules: dict[str, list[str]]) -> Iterator[str]:
    """Say which rules and objectives came, are others now, or went; a line each."""
    for what, names in rules.items():
        if names:
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            yield f"Rules {what}: {', '.join(map(plain, names[:NAMES_SHOWN]))}{more}."


def _errors(error: "Invalid") -> list[dict[str, Any]]:
    from tocsin.settings.problems import WrongFile, path_of

    if not isinstance(error, WrongFile):
        return [{"file": None, "line": None, "column": None, "key": error.field, "message": str(error)}]
    return [
        {
            "file": str(one.path or error.path),
            "line": one.place.line,
            "column": one.place.column,
            "key": path_of(one.key),
            "message": one.message,
        }
        for one in error.problems
    ]


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)
