"""Send: tell people now, by hand. A dry run unless it is said otherwise, and loud about it."""

import threading
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import Api
from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import deliveries_table
from tocsin.cli.exits import PARTLY_DONE, UNEXPECTED
from tocsin.cli.show import console, output_option, show_json, wants_json
from tocsin.cli.trouble import addressed
from tocsin.cli.which import SEVERITIES, read_scope

LOOK_EVERY_S = 0.1


@click.command()
@click.option("--rule-id", required=True, help="Which rule this is about.")
@click.option("--severity", type=click.Choice(SEVERITIES, case_sensitive=False), required=True)
@click.option("--message", required=True, help="What people are told.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help='Which instance of the rule, as JSON (\'{"host": "db-1"}\') or name=value; may be repeated.',
)
@click.option("--channel", "channels", multiple=True, help="Tell only this channel; may be repeated.")
@click.option("--window-start", help="ISO 8601 with an offset. Default: as --window-end.")
@click.option("--window-end", help="ISO 8601 with an offset. Default: now.")
@click.option(
    "--dry-run/--no-dry-run", default=True, show_default=True, help="Do everything but the sending."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the outcome.",
)
@server_options
@output_option
def send(
    rule_id: str,
    severity: str,
    message: str,
    scopes: tuple[str, ...],
    channels: tuple[str, ...],
    window_start: str | None,
    window_end: str | None,
    dry_run: bool,
    wait_s: float,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Tell people now. Sends nothing unless --no-dry-run is given.

    Exit code 0 if it was sent or is on its way, 8 if only a part of it could be or there was nobody to tell, 1 if
    nothing could be sent.
    """
    form: dict[str, Any] = {
        "rule_id": rule_id,
        "severity": severity.lower(),
        "message": message,
        "scope": read_scope(scopes),
        "channels": list(channels),
        "dry_run": dry_run,
    }
    form |= {
        name: value
        for name, value in (("window_start", window_start), ("window_end", window_end))
        if value is not None
    }
    with reach(data, url, token, writes=True, creates=True) as (api, _):
        answer = api.request("POST", "/api/v1/notify/send", body=form)
        deliveries = _await_deliveries(api, answer, wait_s)
    dry = bool(answer["dry_run"])
    if dry:
        again = "The server runs in dry run." if not dry_run else "To send: the same again with --no-dry-run."
        click.echo(f"DRY RUN: nothing was sent to anybody. {again}", err=True)
    if wants_json(output):
        show_json(answer | {"deliveries": deliveries})
    else:
        _show_sent(answer, deliveries)
    _judge(deliveries, dry)


def _await_deliveries(api: Api, answer: dict[str, Any], wait_s: float) -> list[dict[str, Any]]:
    """Give this sending's deliveries, once none is pending or the time is up."""
    pause = threading.Event()
    for look in range(max(1, round(wait_s / LOOK_EVERY_S))):
        if look:
            pause.wait(LOOK_EVERY_S)
        found: list[dict[str, Any]] = []
        for incident in answer["incidents"]:
            if incident["incident_id"]:
                detail = api.request("GET", f"/api/v1/incidents/{incident['incident_id']}")
                found += addressed(api, detail["number"], _deliveries_of(detail))
        if not any(delivery["state"] == "pending" for delivery in found):
            return found
    return found


def _deliveries_of(detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Pick the deliveries of the newest sending by hand."""
    for entry in detail["timeline"]:
        for event in entry["events"]:
            if event["type"] == "notified" and event["kind"] == "manual":
                numbers = {delivery["delivery"] for delivery in event["deliveries"]}
                return [delivery for delivery in detail["deliveries"] if delivery["number"] in numbers]
    return []


def _show_sent(answer: dict[str, Any], deliveries: list[dict[str, Any]]) -> None:
    out = console()
    for incident in answer["incidents"]:
        out.print(
            f"Incident #{incident['number']}: {incident['outcome']}   (tocsin status {incident['number']})"
        )
    if answer["outcome"] == "dry_run":
        out.print(
            "It would tell: " + (", ".join(_names(answer["tells"])) or "nobody, for no channel is configured")
        )
    elif not answer["incidents"]:
        out.print(f"No incident was touched: {answer['outcome']}.")
    out.print(f"Key {answer['idempotency_key']}", style="dim")
    if deliveries:
        out.print(deliveries_table(deliveries))


def _names(targets: list[dict[str, Any]]) -> list[str]:
    """Name targets: by channel, and by address where a channel has several."""
    return [
        one["channel"] if one["address"] == one["channel"] else f"{one['channel']} {one['address']}"
        for one in targets
    ]


def _judge(deliveries: list[dict[str, Any]], dry: bool) -> None:
    """Warn of what went wrong, and end with the code that says so."""
    if not deliveries and dry:
        return
    if not deliveries:
        click.echo("No channel is configured for it, so there was nobody to tell. It is recorded.", err=True)
        raise click.exceptions.Exit(PARTLY_DONE)
    dead = [delivery for delivery in deliveries if delivery["state"] == "dead"]
    pending = [delivery for delivery in deliveries if delivery["state"] == "pending"]
    if pending:
        click.echo(
            f"{len(pending)} of {len(deliveries)} are still on their way; the server keeps trying.", err=True
        )
    if dead:
        click.echo(f"{len(dead)} of {len(deliveries)} could not be sent.", err=True)
        raise click.exceptions.Exit(UNEXPECTED if len(dead) == len(deliveries) else PARTLY_DONE)
