"""Replay: send again what was decided in a span of time, under the same keys, so that nothing is told twice."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import place
from tocsin.cli.exits import PARTLY_DONE
from tocsin.cli.show import console, output_option, show_json, table, text, wants_json
from tocsin.cli.times import PAST, Moment

STYLE = {
    "would send": "yellow",
    "again": "green",
    "already told": "dim",
    "discarded": "dim",
    "drill": "dim",
    "under way": "cyan",
    "gone": "red",
}
ROWS_SHOWN = 200


@click.command()
@click.option(
    "--since",
    type=PAST,
    required=True,
    metavar="TIME",
    help="What was decided then or later: -2h, 09:30, ISO 8601.",
)
@click.option("--until", type=PAST, metavar="TIME", help="And before then. Default: now.")
@click.option("--rule-id", help="Only about incidents of this rule.")
@click.option("--channel", help="Only on this channel.")
@click.option(
    "--dry-run/--no-dry-run", default=True, show_default=True, help="Only show what would be sent again."
)
@click.option(
    "--force",
    is_flag=True,
    help="Also what was told already (somebody gets it twice), and what was discarded.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=1000, show_default=True, help="At most so many."
)
@server_options
@output_option
def replay(
    since: Moment,
    until: Moment | None,
    rule_id: str | None,
    channel: str | None,
    dry_run: bool,
    force: bool,
    limit: int,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Send again what did not arrive, from the record. Sends nothing unless --no-dry-run is given.

    Each goes out under the key that it had, so a receiver that knows keys takes it once. What was told already, or
    discarded by somebody, is left out, unless --force; drills always are. Exit code 8 if some of it is gone.
    """  # fmt: skip
    with reach(data, url, token, writes=not dry_run) as (api, _):
        form: dict[str, Any] = {"since": since.at(api), "dry_run": dry_run, "force": force, "limit": limit}
        if until is not None:
            form["until"] = until.at(api)
        form |= {
            name: value for name, value in (("rule_id", rule_id), ("channel", channel)) if value is not None
        }
        answer = api.request("POST", "/api/v1/notify/replay", body=form)
    if answer["dry_run"]:
        click.echo(
            "DRY RUN: nothing was sent to anybody. To send: the same again with --no-dry-run.", err=True
        )
    if wants_json(output):
        show_json(answer)
    else:
        show_replay(answer)
    if answer["matched"] > len(answer["results"]):
        click.echo(
            f"Only the newest {len(answer['results'])} of {answer['matched']} were looked at. "
            "Take a shorter time, or raise --limit.",
            err=True,
        )
    if not answer["dry_run"] and any(one["outcome"] == "gone" for one in answer["results"]):
        raise click.exceptions.Exit(PARTLY_DONE)


def show_replay(answer: dict[str, Any]) -> None:
    """Show what goes out again, and what does not."""
    out = console()
    results = answer["results"]
    if not results:
        out.print("No deliveries were decided then.")
        return
    shown = table(">no.", ">of", "outcome", "told", "state", "where", wide="where")
    for one in results[:ROWS_SHOWN]:
        shown.add_row(
            text(one["number"], "bold"),
            text(f"#{one['incident_number']}" if one["incident_number"] else ""),
            text(one["outcome"], STYLE.get(one["outcome"], "")),
            text(one["kind"]),
            text(one["state"]),
            text(place(one)),
        )
    out.print(shown)
    if len(results) > ROWS_SHOWN:
        out.print(f"and {len(results) - ROWS_SHOWN} more; all of them: --output json", style="dim")
    counts = Counter(one["outcome"] for one in results)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    out.print(f"{answer['matched']} matched: {summary}", style="bold")
    if counts["discarded"]:
        out.print("What was discarded stays so; --force sends it all the same.", style="dim")
    if counts["already told"]:
        out.print("What was told already is not sent again; --force sends it a second time.", style="dim")
