"""Incidents: send by hand, and look at what there is."""

import json
import threading
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import Api
from tocsin.cli.client import reach, server_options
from tocsin.cli.exits import PARTLY_DONE, UNEXPECTED, USAGE, Failure
from tocsin.cli.show import (
    DELIVERY_STYLE,
    DELIVERY_WORDS,
    SEVERITY_STYLE,
    STATE_STYLE,
    console,
    moment,
    output_option,
    show_json,
    table,
    text,
    wants_json,
    zone,
)

SEVERITIES = ("info", "warning", "error", "critical")
STATES = ("OPEN", "ACK", "SILENCED", "RESOLVED")
PAGE = 500
ALERTS_SHOWN = 20
ROWS_SHOWN = 60
LOOK_EVERY_S = 0.1
HOUSEKEEPING = ("flush_planned", "flushed", "digest_planned")
"""Events that only plan when to look again; people ask for them with --output json."""


# Send


@click.command()
@click.option("--rule-id", required=True, help="Which rule this is about.")
@click.option("--severity", type=click.Choice(SEVERITIES, case_sensitive=False), required=True)
@click.option("--message", required=True, help="What people are told.")
@click.option("--scope", default="{}", help='Which instance of the rule, as JSON: \'{"host": "db-1"}\'.')
@click.option("--channel", "channels", multiple=True, help="Only this channel; may be repeated.")
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
    scope: str,
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
    """Tell people now. Sends nothing unless --no-dry-run is given."""
    form: dict[str, Any] = {
        "rule_id": rule_id,
        "severity": severity.lower(),
        "message": message,
        "scope": _read_scope(scope),
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


def _read_scope(scope: str) -> dict[str, str]:
    try:
        read = json.loads(scope)
    except ValueError as error:
        raise Failure(
            f'--scope is not JSON: {error}. Write it like \'{{"host": "db-1"}}\'.', USAGE
        ) from error
    if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
        raise Failure('--scope is an object with text values, like \'{"host": "db-1"}\'.', USAGE)
    return read


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
                found += _deliveries_of(detail)
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
        out.print(_deliveries_table(deliveries))


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


# Status


@click.command()
@click.argument("incident", required=False)
@click.option("--state", "states", type=click.Choice(STATES, case_sensitive=False), multiple=True)
@click.option("--severity", type=click.Choice(SEVERITIES, case_sensitive=False))
@click.option("--rule-id", help="Only incidents that this rule opened.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@server_options
@output_option
def status(
    incident: str | None,
    states: tuple[str, ...],
    severity: str | None,
    rule_id: str | None,
    limit: int,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """List incidents, newest first; or show one, by its id or number."""
    if incident is not None:
        wanted = incident.removeprefix("#")
        if not wanted.isascii() or not wanted.isalnum():
            raise Failure(f"{incident!r} is not an incident's id or number. List them: tocsin status", USAGE)
        with reach(data, url, token, writes=False) as (api, _):
            detail = api.request("GET", f"/api/v1/incidents/{wanted}")
        if wants_json(output):
            show_json(detail)
        else:
            _show_detail(detail)
        return
    with reach(data, url, token, writes=False) as (api, _):
        found = _list(api, states, severity, rule_id, limit)
    if wants_json(output):
        show_json(found)
    else:
        _show_list(found)


def _list(
    api: Api, states: tuple[str, ...], severity: str | None, rule_id: str | None, limit: int
) -> dict[str, Any]:
    """Collect pages until there are `limit` incidents, or no more."""
    incidents: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": None}
    while True:
        page = api.request(
            "GET",
            "/api/v1/incidents",
            query={
                "state": states,
                "severity": severity,
                "rule_id": rule_id,
                "limit": min(PAGE, limit - len(incidents)),
                "cursor": page["next_cursor"],
            },
        )
        incidents += page["incidents"]
        if page["next_cursor"] is None or len(incidents) >= limit:
            return page | {"incidents": incidents}


def _show_list(found: dict[str, Any]) -> None:
    out = console()
    incidents = found["incidents"]
    if not incidents:
        out.print("No incidents." if not found["filters"] else "No incidents fit these filters.")
        return
    shown = table(">#", "state", "severity", f"opened ({zone()})", ">firing", "title", wide="title")
    for one in incidents:
        number = f"{one['number']}"
        shown.add_row(
            text(number, "bold"),
            text(one["state"], STATE_STYLE.get(one["state"], "")),
            text(one["severity"], SEVERITY_STYLE.get(one["severity"], "")),
            text(moment(one["opened_at"]), "dim"),
            text(f"{one['firing']} of {one['firing'] + one['cleared']}"),
            text(one["title"], one_line=True),
        )
    out.print(shown)
    total = found["total"]
    if total > len(incidents):
        out.print(f"{len(incidents)} of {total}, newest first. More: --limit {total}", style="dim")


def _show_detail(detail: dict[str, Any]) -> None:
    out = console()
    head = text(f"#{detail['number']}  ", "bold")
    head.append_text(text(detail["state"], STATE_STYLE.get(detail["state"], "")))
    head.append("  ")
    head.append_text(text(detail["severity"], SEVERITY_STYLE.get(detail["severity"], "")))
    head.append("  ")
    head.append_text(text(detail["title"], "bold"))
    out.print(head)
    facts = [("id", detail["incident_id"]), ("route", detail["route"])]
    facts += [("group", " ".join(f"{name}={value}" for name, value in sorted(detail["labels"].items())))]
    facts += [("opened", f"{moment(detail['opened_at'])} ({zone()})")]
    facts += [("resolved", moment(detail["resolved_at"])), ("acked by", detail["acked_by"])]
    if detail["generation"] > 1:
        facts += [("generation", f"{detail['generation']} (it came back)")]
    for name, value in facts:
        if value:
            line = text(f"  {name:<11}", "dim")
            line.append_text(text(value))
            out.print(line)
    _show_alerts(out, detail)
    if detail["deliveries"]:
        out.print("\nDeliveries", style="bold")
        out.print(_deliveries_table(detail["deliveries"]))
    out.print("\nTimeline", style="bold")
    out.print(_timeline(detail["timeline"]))


def _show_alerts(out: Any, detail: dict[str, Any]) -> None:
    alerts = detail["alerts"]
    out.print(f"\nAlerts: {detail['firing']} firing, {detail['cleared']} cleared", style="bold")
    shown = table("status", "severity", "rule and scope", "message", wide="message")
    for alert in alerts[:ALERTS_SHOWN]:
        scope = " ".join(f"{name}={value}" for name, value in sorted(alert["scope"].items()))
        shown.add_row(
            text(alert["status"], "red" if alert["status"] == "firing" else "green"),
            text(alert["severity"], SEVERITY_STYLE.get(alert["severity"], "")),
            text(f"{alert['rule_id']} {scope}".strip(), "", 36),
            text("(erased)" if alert["message"] is None else alert["message"], "", 160),
        )
    out.print(shown)
    if len(alerts) > ALERTS_SHOWN:
        out.print(f"and {len(alerts) - ALERTS_SHOWN} more; all of them: --output json", style="dim")


def _deliveries_table(deliveries: list[dict[str, Any]]) -> Any:
    shown = table("channel", "told", "outcome", ">tries", "why", wide="why")
    for one in deliveries:
        shown.add_row(
            text(one["channel"], "", 24),
            text(one["kind"]),
            text(DELIVERY_WORDS.get(one["state"], one["state"]), DELIVERY_STYLE.get(one["state"], "")),
            text(one["attempts"]),
            text(one["why"], "dim", 160),
        )
    return shown


def _timeline(timeline: list[dict[str, Any]]) -> Any:
    """Show the newest entries, oldest of them first, each event with its because; looks in a row become one line."""
    shown = table(">entry", f"at ({zone()})", "what", "because", wide="because")
    rows: list[list[str]] = []
    times: list[int] = []
    for entry in reversed(timeline):
        seq, at = str(entry["seq"]), moment(entry["at"])
        for event in entry["events"]:
            if event["type"] in HOUSEKEEPING:
                continue
            by = f" (by {entry['actor']})" if seq and entry["actor"] != "system" else ""
            row = [seq, at, _what(event), f"{event.get('because', '')}{by}"]
            if seq and rows and rows[-1][2:] == row[2:]:
                times[-1] += 1
                rows[-1][:2] = row[:2]
            else:
                rows.append(row)
                times.append(1)
            seq = at = ""
    if len(rows) > ROWS_SHOWN:
        shown.add_row("", "", "…", f"{len(rows) - ROWS_SHOWN} older ones: --output json")
    for (seq, at, what, because), count in list(zip(rows, times, strict=True))[-ROWS_SHOWN:]:
        again = f" ({count} times)" if count > 1 else ""
        shown.add_row(text(seq, "dim"), text(at, "dim"), text(what), text(because + again))
    return shown


def _what(event: dict[str, Any]) -> str:
    what = str(event["type"]).replace("_", " ")
    if event["type"] in ("notified", "notification_withheld"):
        what = f"{event['kind']} {'told' if event['type'] == 'notified' else 'withheld'}"
    return what
