"""Events: follow what is decided, entry by entry, as it happens."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import find_server, server_options
from tocsin.cli.exits import INTERRUPTED, UNREACHABLE, Failure
from tocsin.cli.show import console, moment, output_option, text, wants_json
from tocsin.cli.stream import Event, follow
from tocsin.cli.which import INCIDENT


@click.command()
@click.option("--kind", "kinds", multiple=True, help="Only entries of this kind; may be repeated.")
@click.option("--incident", type=INCIDENT, help="Only entries about this incident.")
@click.option(
    "--after",
    type=click.IntRange(-1),
    metavar="SEQ",
    help="Begin after this entry; -1: with the first. Default: with the next.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many. Default: never.")
@server_options
@output_option
def events(
    kinds: tuple[str, ...],
    incident: str | None,
    after: int | None,
    count: int | None,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Follow what is decided, as it happens.

    A line of JSON an entry in a pipe. Ctrl-C ends it.
    """
    server = find_server(data, url, token)
    if server is None:
        raise Failure(
            f"No server runs on {data}, so nothing happens there. Start one (tocsin serve), or give its --url.",
            UNREACHABLE,
        )
    query = {"kind": kinds, "incident": incident}
    as_json = wants_json(output)
    out = None if as_json else console()
    seen = 0
    try:
        for event in follow(server, query, "" if after is None else str(after)):
            if out is None:
                click.echo(json.dumps(event.data))
                sys.stdout.flush()
            else:
                out.print(_line(event))
            seen += 1
            if seen == count:
                return
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def _line(event: Event) -> Any:
    """Show an event in a line or two: when, which entry, about what, by whom, and what was decided."""
    data = event.data if isinstance(event.data, dict) else {}
    line = text("")
    line.append_text(text(f"{moment(data.get('at'))}  {data.get('seq', event.id)}  ", "dim"))
    line.append_text(text(data.get("kind", event.kind), "bold"))
    if data.get("number"):
        line.append_text(text(f"  #{data['number']}", "bold cyan"))
    if data.get("actor") not in (None, "", "system"):
        line.append_text(text(f"  by {data['actor']}"))
    decided = [str(one.get("type", "")).replace("_", " ") for one in data.get("events") or []]
    if decided:
        line.append_text(text(f"  {', '.join(decided)}"))
    return line
