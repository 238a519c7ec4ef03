"""Status: which incidents there are, one of them as a page, or all of them as they change."""

from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import collect
from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import show_detail
from tocsin.cli.exits import USAGE, Failure
from tocsin.cli.listing import incidents_table
from tocsin.cli.show import console, output_option, show_json, show_more, wants_json
from tocsin.cli.trouble import addressed, mark
from tocsin.cli.which import INCIDENT, Filters, filter_options


@click.command()
@click.argument("incident", required=False, type=INCIDENT)
@filter_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--cursor", help="Go on after a list that ended: its next_cursor, from --output json.")
@click.option("-w", "--watch", is_flag=True, help="Stay, and show the list as it changes. Ctrl-C ends it.")
@server_options
@output_option
def status(
    incident: str | None,
    limit: int,
    cursor: str | None,
    watch: bool,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
    **filters: Any,
) -> None:
    """List incidents, or show one.

    The list is newest first; one is shown by its id or number, with its alerts, deliveries and timeline.
    """
    wanted = Filters(**filters)
    if watch:
        if incident is not None or cursor is not None:
            raise Failure(
                "--watch follows the list, so it takes filters, but no incident and no --cursor.", USAGE
            )
        from tocsin.cli.watch import watch_list

        watch_list(data, url, token, wanted, limit, as_json=wants_json(output))
        return
    if incident is not None:
        if wanted or cursor is not None:
            raise Failure("Give an incident, or filters of a list, but not both.", USAGE)
        with reach(data, url, token, writes=False) as (api, _):
            detail = api.request("GET", f"/api/v1/incidents/{incident}")
            if not wants_json(output):
                detail["deliveries"] = addressed(api, detail["number"], detail["deliveries"])
        if wants_json(output):
            show_json(detail)
        else:
            show_detail(detail)
        return
    with reach(data, url, token, writes=False) as (api, _):
        query = {**wanted.query(api), "cursor": cursor}
        found = collect(api, "/api/v1/incidents", "incidents", query, limit)
        if not wants_json(output):
            found["incidents"] = mark(api, found["incidents"])
    if wants_json(output):
        show_json(found)
    else:
        _show_list(found)


def _show_list(found: dict[str, Any]) -> None:
    out = console()
    incidents = found["incidents"]
    if not incidents:
        out.print("No incidents." if not found["filters"] else "No incidents fit these filters.")
        return
    out.print(incidents_table(incidents))
    show_more(out, found, len(incidents))
