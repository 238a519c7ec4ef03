"""Show: how answers look: tables for people at a terminal, JSON for whatever reads a pipe.

rich is imported only when there is a table to draw. All text from outside goes through `plain` first, and reaches
rich as text, never as markup.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tocsin.cli.exits import INTERRUPTED
from tocsin.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_SAID = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC\b", re.ASCII)
_F = TypeVar("_F", bound=Callable[..., Any])

SEVERITY_STYLE = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold white on red"}
STATE_STYLE = {"OPEN": "bold red", "ACK": "yellow", "SILENCED": "magenta", "RESOLVED": "green"}
DELIVERY_STYLE = {
    "discarded": "dim",
    "cancelled": "dim",
    "merged": "dim",
    "dead": "bold red",
    "pending": "yellow",
    "delivered": "green",
    "accepted": "green",
}
DELIVERY_WORDS = {
    "accepted": "accepted by the provider",
    "delivered": "delivered",
    "dry_run": "dry run, not sent",
    "pending": "on its way",
    "dead": "given up",
    "merged": "merged into a newer one",
    "cancelled": "cancelled",
    "discarded": "discarded by hand",
}
"""`accepted` proves nothing more than that the provider took it, so it is not called delivered."""


def output_option(command: _F) -> _F:
    """Add --output to a verb; `wants_json` reads it."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        help="Default: table at a terminal, json in a pipe.",
    )(command)


def wants_json(output: str | None) -> bool:
    """Say whether JSON is wanted: where nothing was asked for, a terminal gets a table."""
    return output == "json" if output else not sys.stdout.isatty()


def show_json(value: object) -> None:
    """Write JSON in ASCII: no byte of it can do anything to a terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f"))


def has_unicode() -> bool:
    """Say whether stdout takes more than ASCII."""
    encoding: str = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().startswith("utf")


def console(*, stderr: bool = False) -> "Console":
    """Make a console: as wide as the terminal, 80 columns in a pipe; NO_COLOR holds."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


@contextmanager
def doing(what: str) -> Iterator[Callable[[str], None]]:
    """Give whom to tell what is done now: at a terminal one line shows it until the end, elsewhere nothing does."""
    if not sys.stderr.isatty():
        yield lambda now: None
        return
    with console(stderr=True).status(text(what)) as line:
        yield lambda now: line.update(text(f"{what}: {now}", "", 70))


def text(value: object, style: str = "", length_max: int = 0, *, one_line: bool = False) -> "Text":
    """Give text from outside as rich may have it. one_line: it ends with an ellipsis instead of wrapping."""
    from rich.text import Text

    return Text(
        plain(value, length_max),
        style=style,
        no_wrap=one_line or None,
        overflow="ellipsis" if one_line else None,
    )


def table(*columns: str, wide: str = "") -> "Table":
    """Make a table; columns are as wide as they need, and `wide` takes what is left.

    columns: their names, `>` in front of one that stands at the right.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        name = column.lstrip(">")
        if name == wide:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, justify="right" if right else "left", no_wrap=True)
    return made


def moment(iso: str | None, *, short: bool = False) -> str:
    """Show an instant of the API: in local time at a terminal, else in UTC. short: without the seconds."""
    if not iso:
        return ""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    at = at.astimezone() if sys.stdout.isatty() else at.astimezone(UTC)
    return at.strftime("%Y-%m-%d %H:%M" if short else "%Y-%m-%d %H:%M:%S")


def moments(said: str) -> str:
    """Give a sentence of the API with its instants as `moment` shows them; at a terminal without the zone's name."""
    return _SAID.sub(lambda found: moment(f"{found[1]}+00:00"), said) if sys.stdout.isatty() else said


def zone(*, short: bool = False) -> str:
    """Name the zone that `moment` shows. short: for the head of a narrow column."""
    if not sys.stdout.isatty():
        return "UTC"
    return "local" if short else "local time"


def several(count: int, one: str, many: str = "") -> str:
    """Count things in words: `1 alert`, `2 alerts`."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def standing(incident: Mapping[str, Any]) -> "Text":
    """Show the state of an incident, and whether silences cover all that fires in it."""
    shown = text(incident["state"], STATE_STYLE.get(incident["state"], ""))
    if incident["state"] in ("OPEN", "ACK") and 0 < incident["firing"] <= incident.get("silenced", 0):
        shown.append_text(text(", silenced", STATE_STYLE["SILENCED"]))
    return shown


def who(actor: str | None, name: str | None) -> str:
    """Name whoever did something: `anna (token:f17f7f59)`; the actor alone where it says that itself."""
    if not actor or not name or name in actor:
        return actor or ""
    return f"{name} ({actor})"


def names_in(pairs: Iterable[tuple[str | None, str | None]]) -> dict[str, str]:
    """Give the names of tokens by their ids, as far as these pairs of an actor and its name say them."""
    return {actor.removeprefix("token:"): name for actor, name in pairs if actor and name}


def labels(scope: Mapping[str, str] | None) -> str:
    """Show a scope, sorted by name."""
    return " ".join(f"{name}={value}" for name, value in sorted((scope or {}).items()))


def facts(out: "Console", pairs: Sequence[tuple[str, object]]) -> None:
    """Write names and values below each other; what is empty is left out."""
    wide = max((len(name) for name, value in pairs if value not in (None, "", [])), default=0)
    shown = table("", "wide", wide="wide")
    shown.show_header = False
    for name, value in pairs:
        if value not in (None, "", []):
            shown.add_row(text(f"  {name:<{wide}}", "dim"), text(value))
    out.print(shown)


def show_more(out: "Console", page: Mapping[str, Any], shown: int) -> None:
    """Say that there is more than is shown, if there is."""
    if page.get("total", shown) > shown:
        out.print(f"{shown} of {page['total']}, newest first. More: --limit {page['total']}", style="dim")


def can_ask() -> bool:
    """Say whether somebody is there to be asked. In a pipe, who wrote the script has decided."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirm(question: str) -> None:
    """Ask before something that is hard to take back. Raises: Exit (130) if the answer is no."""
    if not click.confirm(plain(question), err=True):
        click.echo("Nothing was done.", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
