"""Stats: how many incidents there were, of what kind, and how long they took."""

from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import reach, server_options
from tocsin.cli.show import (
    SEVERITY_STYLE,
    STATE_STYLE,
    console,
    moment,
    output_option,
    several,
    show_json,
    table,
    text,
    wants_json,
    zone,
)
from tocsin.cli.times import PAST, Moment, span

RULES_SHOWN = 20


@click.command()
@click.option(
    "--since",
    type=PAST,
    metavar="TIME",
    help="Times of what was resolved then or later. Default: 30 days ago.",
)
@click.option("--until", type=PAST, metavar="TIME", help="And before then. Default: now.")
@server_options
@output_option
def stats(
    since: Moment | None,
    until: Moment | None,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Count incidents, and tell how long they took.

    All of them by state, severity and rule; the times to acknowledge and to resolve of those that were resolved in a
    span of time, by whole days UTC.
    """
    with reach(data, url, token, writes=False) as (api, _):
        query = {"since": since.at(api) if since else None, "until": until.at(api) if until else None}
        found = api.request("GET", "/api/v1/incidents/stats", query=query)
    if wants_json(output):
        show_json(found)
    else:
        show_stats(found)


def show_stats(found: dict[str, Any]) -> None:
    """Show the figures as a page."""
    out = console()
    out.print(text(several(found["total"], "incident"), "bold"))
    for name, styles in (("state", STATE_STYLE), ("severity", SEVERITY_STYLE)):
        counts = [(value, count) for value, count in found[f"by_{name}"].items() if count]
        if counts:
            shown = table(name, ">incidents")
            for value, count in counts:
                shown.add_row(text(value, styles.get(value, "")), text(count))
            out.print()
            out.print(shown)
    out.print(
        f"\nResolved from {moment(found['since'], short=True)} "
        f"to {moment(found['until'], short=True)} ({zone()}):"
    )
    out.print(_lengths(found))
    rules = found["by_rule"]
    if rules:
        shown = table(">incidents", ">active", "rule", wide="rule")
        for one in rules[:RULES_SHOWN]:
            shown.add_row(text(one["incidents"]), text(one["active"]), text(one["rule_id"]))
        out.print()
        out.print(shown)
    if len(rules) > RULES_SHOWN:
        out.print(f"and {len(rules) - RULES_SHOWN} more rules: --output json", style="dim")


def _lengths(found: dict[str, Any]) -> Any:
    shown = table("time to", ">half within", ">90 % within", ">incidents")
    for name in ("acknowledge", "resolve"):
        one = found[f"time_to_{name}"]
        shown.add_row(name, span(one["p50_s"]) or "-", span(one["p90_s"]) or "-", text(one["incidents"]))
    return shown
