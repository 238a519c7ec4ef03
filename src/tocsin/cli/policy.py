"""Policy: what is in force, how it came to be, and what changed."""

import json
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import collect
from tocsin.cli.client import reach, server_options
from tocsin.cli.exits import DIFFERENCES
from tocsin.cli.plain import plain_lines
from tocsin.cli.show import (
    console,
    moment,
    output_option,
    show_json,
    show_more,
    table,
    text,
    wants_json,
    who,
    zone,
)

PATH = "/api/v1/policy"
VERSION = click.IntRange(0, (1 << 62) - 1)


@click.group()
def policy() -> None:
    """What is in force, and what changed."""


@policy.command()
@click.argument("version", type=VERSION, required=False)
@server_options
@output_option
def show(version: int | None, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Show the policy that is in force, or an earlier version."""
    path = PATH if version is None else f"{PATH}/{version}"
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", path)
    if wants_json(output):
        show_json(found)
        return
    out = console()
    out.print(text(f"Policy version {found['version']}", "bold"))
    by = who(found["actor"], found.get("actor_name"))
    out.print(text(f"since {moment(found['at'])} ({zone()}), by {by}, {found['digest']}", "dim"))
    click.echo(plain_lines(json.dumps(readable("", found["policy"]), indent=2, ensure_ascii=False)))


@policy.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@server_options
@output_option
def history(limit: int, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """List the versions, newest first."""
    with reach(data, url, token, writes=False) as (api, _):
        found = collect(api, f"{PATH}/history", "policies", {}, limit)
    if wants_json(output):
        show_json(found)
        return
    out = console()
    shown = table(">version", f"since ({zone()})", "digest", "by", wide="by")
    for one in found["policies"]:
        shown.add_row(
            text(one["version"], "bold"),
            text(moment(one["at"])),
            text(one["digest"][:12], "dim"),
            text(who(one["actor"], one.get("actor_name"))),
        )
    out.print(shown)
    show_more(out, found, len(found["policies"]))


@policy.command()
@click.argument("old", metavar="[FROM]", type=VERSION, required=False)
@click.argument("new", metavar="[TO]", type=VERSION, required=False)
@server_options
@output_option
def diff(
    old: int | None, new: int | None, data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Compare two versions: with one, that one and the current; with none, the last change.

    Exit code 9 if they differ, 0 if not.
    """
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", f"{PATH}/diff", query={"from": old, "to": new})
    if wants_json(output):
        show_json(found)
    else:
        _show_diff(found)
    if found["changes"]:
        raise click.exceptions.Exit(DIFFERENCES)


def readable(name: str, value: Any) -> Any:
    """Give a setting with its lengths of time as the configuration has them: `30s`."""
    from tocsin.core.model.policy import DURATIONS
    from tocsin.settings import write_duration

    if isinstance(value, dict):
        return {inner: readable(inner, one) for inner, one in value.items()}
    if isinstance(value, list):
        return [readable(name, one) for one in value]
    if name in DURATIONS and isinstance(value, int):
        return write_duration(value)
    return value


def show_changes(found: dict[str, Any]) -> None:
    """Show each change as what was and what is."""
    out = console()
    for change in found["changes"]:
        out.print(text(change["path"], "bold"))
        for mark, value, style in (("-", change["before"], "red"), ("+", change["after"], "green")):
            if value is not None:
                said = json.dumps(readable(change["path"].rpartition(".")[2], value), ensure_ascii=False)
                out.print(text(f"  {mark} {said}", style))


def _show_diff(found: dict[str, Any]) -> None:
    out = console()
    out.print(text(f"Policy version {found['from']} to {found['to']}", "bold"))
    if not found["changes"]:
        out.print("They are the same.")
    show_changes(found)
