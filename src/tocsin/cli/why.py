"""Why: why was I woken, and why was I not? The record's answer, as an explanation and not as a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import SAID_LENGTH_MAX, place
from tocsin.cli.show import (
    DELIVERY_WORDS,
    console,
    labels,
    moment,
    moments,
    names_in,
    output_option,
    several,
    show_json,
    text,
    wants_json,
    who,
    zone,
)
from tocsin.cli.times import span
from tocsin.cli.which import INCIDENT
from tocsin.core.engine.actors import read_aloud

if TYPE_CHECKING:
    from rich.console import Console

STEPS_SHOWN = 40
NAME_WIDTH = 10


@click.command()
@click.argument("incident", required=False, type=INCIDENT)
@click.option("--incident-id", "named", type=INCIDENT, help="The same as the argument.")
@click.option("--all", "shows_all", is_flag=True, help="Every step, also of a long record.")
@server_options
@output_option
def why(
    incident: str | None,
    named: str | None,
    shows_all: bool,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Explain why people were told, or were not.

    What came, what was decided about it under which policy, who was told, and who was not.
    """
    wanted = incident or named
    if wanted is None:
        raise click.UsageError("Missing argument 'INCIDENT'.")
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", f"/api/v1/incidents/{wanted}/why")
    if wants_json(output):
        show_json(found)
    else:
        show_why(found, shows_all=shows_all)


def show_why(found: dict[str, Any], *, shows_all: bool = False) -> None:
    """Write the explanation: the answer in a few sentences first, then how it came to it."""
    out = console()
    out.print(text(f"Why incident #{found['number']}", "bold"))
    for sentence in found["summary"]:
        out.print(text(moments(sentence)))
    if found["left_out"]:
        older = several(found["left_out"], "older entry", "older entries")
        out.print(text(f"{older} left out; all of them: tocsin ledger show", "dim"))
    steps = found["steps"]
    shown = steps if shows_all or len(steps) <= STEPS_SHOWN else [*steps[:5], *steps[5 - STEPS_SHOWN :]]
    policy = None
    changes = [step["changed"] for step in steps if step["changed"] is not None]
    names = names_in((changed["by"], changed.get("by_name")) for changed in changes)
    for number, step in enumerate(shown):
        if number == 5 and len(shown) < len(steps):
            out.print()
            out.print(text(f"… {len(steps) - len(shown)} steps left out; all of them: --all", "dim"))
        _show_step(out, step, names, says_policy=step["policy"] != policy)
        policy = step["policy"]


def _show_step(out: "Console", step: dict[str, Any], names: dict[str, str], *, says_policy: bool) -> None:
    policy = f", policy version {step['policy']}" if says_policy else ""
    out.print()
    late = f", {span(step['late_by_s'])} late" if step["late_by_s"] else ""
    out.print(text(f"{moment(step['at'])} ({zone()}), entry {step['seq']}{policy}{late}", "bold"))
    for name, said, style in lines_of(step, names):
        _show_line(out, name, said, style)


def _show_line(out: "Console", name: str, said: str, style: str) -> None:
    from rich.table import Table

    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(min_width=NAME_WIDTH + 2, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(text(f"  {name}", "dim"), text(said, style))
    out.print(line)


def lines_of(step: dict[str, Any], names: dict[str, str]) -> list[tuple[str, str, str]]:
    """Give a step as (what it is about, what is said, style), in the order in which it was decided.

    names: of tokens, by their ids.
    """
    lines: list[tuple[str, str, str]] = []
    if (received := step["received"]) is not None:
        lines.append(("received", _received(received), ""))
        lines += [(name, said, "") for name, said in _says(received)]
    if (dedup := step["dedup"]) is not None:
        repeats = dedup.get("repeats_counted_before")
        counted = f", after {several(repeats, 'counted repeat')}" if repeats else ""
        lines.append(("taken as", f"{_words(dedup['outcome'])}{counted}{_because(dedup)}", ""))
    if (route := step["route"]) is not None:
        lines.append(("route", f"{route['name']}{_because(route)}", ""))
    if (changed := step["changed"]) is not None:
        lines.append(("state", _changed(changed, names), ""))
    if (silences := step["silences"]) is not None:
        lines.append(("silences", _silences(silences), ""))
    if (rate := step["rate_window"]) is not None:
        lines.append(("rate", _rate(rate), ""))
    for told in step["notified"]:
        state = DELIVERY_WORDS.get(told["state"], "nobody knows any more")
        lines.append(("told", f"{place(told)}: {told['kind']}, {state}{_because(told)}", "green"))
    for kept in step["withheld"]:
        reason = _words(kept["reason"])
        lines.append(("not told", f"{_where(kept)}: {kept['kind']}, {reason}{_because(kept)}", "yellow"))
    for attempted in step["attempted"]:
        lines.append(("attempt", _attempted(attempted), "red" if attempted["outcome"] == "dead" else ""))
    return lines


def _received(received: dict[str, Any]) -> str:
    scope = labels(received["scope"]) if received["scope"] is not None else "(erased)"
    about = f"{received['rule_id']} {scope}".strip()
    source = f", from {received['source']}" if received.get("source") else ""
    window = ""
    if received.get("window_start") and received["window_start"] != received.get("window_end"):
        window = f", looked at {moment(received['window_start'])} to {moment(received['window_end'])}"
    return f"{about}: {received['status']}, {received['severity']}{source}{window}"


def _says(received: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what the alert said; and the formula of a rule's, unless that is in there already."""
    message, formula = received.get("message"), received.get("formula")
    if message:
        yield "says", message[:SAID_LENGTH_MAX]
    if formula and formula not in (message or ""):
        yield "formula", formula


def _changed(changed: dict[str, Any], names: dict[str, str]) -> str:
    by = f" by {who(changed['by'], changed.get('by_name'))}" if changed["by"] != "system" else ""
    until = f" until {moment(changed['until'])}" if changed["until"] else ""
    note = f" ({changed['note']})" if changed["note"] else ""
    return f"{changed['state']}{by}{until}{note}{read_aloud(_because(changed), names)}"


def _attempted(attempted: dict[str, Any]) -> str:
    number = f" at attempt {attempted['attempts']}" if attempted["attempts"] else ""
    said = f": {attempted['said']}" if attempted["said"] else ""
    again = f"; next at {moment(attempted['next_at'])}" if attempted["next_at"] else ""
    outcome = DELIVERY_WORDS.get(attempted["outcome"], _words(attempted["outcome"]))
    return f"{_where(attempted)}: {outcome}{number}{said}{again}"


def _silences(silences: dict[str, Any]) -> str:
    matched = [
        f"S{one['number']}{f' ({comment})' if (comment := one.get('comment')) else ''}"
        for one in silences["matched"]
    ]
    if not matched:
        return str(silences["because"] or "none matched")
    return f"{', '.join(matched)} matched{_because(silences)}"


def _rate(rate: dict[str, Any]) -> str:
    if not rate["charged"]:
        return f"not counted{_because(rate)}"
    which = f"number {rate['number_in_window']}" if rate["number_in_window"] else "counted"
    limit = f" of {rate['limit']} in {span(rate['window_s'])}" if rate["limit"] else ""
    return f"{which}{limit} for {rate['rule_id']}"


def _where(target: dict[str, Any]) -> str:
    return place(target) if target.get("channel") else "everybody"


def _because(part: dict[str, Any]) -> str:
    return f", because {part['because']}" if part.get("because") else ""


def _words(name: object) -> str:
    return str(name).replace("_", " ")
