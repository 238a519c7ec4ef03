"""Deliveries: what went out, what did not and why, and what can be done about one."""

import json
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import collect
from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import place
from tocsin.cli.plain import plain_lines
from tocsin.cli.show import (
    DELIVERY_STYLE,
    DELIVERY_WORDS,
    console,
    facts,
    moment,
    output_option,
    show_json,
    show_more,
    table,
    text,
    wants_json,
    zone,
)
from tocsin.cli.times import PAST, Moment
from tocsin.cli.which import INCIDENT

STATES = ("pending", "delivered", "accepted", "dead", "merged", "cancelled", "discarded", "dry_run")
PATH = "/api/v1/deliveries"
NUMBER = click.IntRange(0, (1 << 62) - 1)
WHY_LENGTH_MAX = 200


@click.group()
def deliveries() -> None:
    """What went out, what did not, and why."""


@deliveries.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only in this state: dead ones were given up.")
@click.option("--channel", help="Only of this channel.")
@click.option("--incident", type=INCIDENT, help="Only about this incident.")
@click.option("--rule-id", help="Only about incidents of this rule.")
@click.option("--since", type=PAST, metavar="TIME", help="Decided then or later: -2h, 09:30, ISO 8601.")
@click.option("--until", type=PAST, metavar="TIME", help="Decided before then.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--cursor", help="Go on after a list that ended: its next_cursor, from --output json.")
@server_options
@output_option
def list_deliveries(
    state: str | None,
    channel: str | None,
    incident: str | None,
    rule_id: str | None,
    since: Moment | None,
    until: Moment | None,
    limit: int,
    cursor: str | None,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """List deliveries, newest first."""
    query: dict[str, Any] = {
        "state": state,
        "channel": channel,
        "incident": incident,
        "rule_id": rule_id,
        "cursor": cursor,
    }
    with reach(data, url, token, writes=False) as (api, _):
        query |= {"since": since.at(api) if since else None, "until": until.at(api) if until else None}
        found = collect(api, PATH, "deliveries", query, limit)
    if wants_json(output):
        show_json(found)
        return
    out = console()
    listed = found["deliveries"]
    if not listed:
        out.print("No deliveries." if not found["filters"] else "No deliveries fit these filters.")
        return
    out.print(_table(listed))
    show_more(out, found, len(listed))


def _table(listed: list[dict[str, Any]]) -> Any:
    shown = table(">no.", ">of", "told", "state", f"at ({zone(short=True)})", "where", wide="where")
    for one in listed:
        where = text(place(one))
        if one["why"] and one["state"] in ("dead", "pending", "discarded"):
            where.append("\n")
            where.append_text(text(one["why"], "dim", WHY_LENGTH_MAX))
        shown.add_row(
            text(one["number"], "bold"),
            text(_incident(one)),
            text(one["kind"]),
            text(one["state"], DELIVERY_STYLE.get(one["state"], "")),
            text(moment(one["at"], short=True), "dim"),
            where,
        )
    return shown


def _incident(one: dict[str, Any]) -> str:
    return f"#{one['incident_number']}" if one["incident_number"] else ""


@deliveries.command("show")
@click.argument("number", type=NUMBER)
@server_options
@output_option
def show_delivery(number: int, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Show one delivery, with its attempts."""
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", f"{PATH}/{number}")
    _show(found, output)


def _show(found: dict[str, Any], output: str | None) -> None:
    if wants_json(output):
        show_json(found)
        return
    out = console()
    head = text("")
    head.append_text(text(f"Delivery {found['number']}  ", "bold"))
    word = DELIVERY_WORDS.get(found["state"], found["state"])
    head.append_text(text(word, DELIVERY_STYLE.get(found["state"], "")))
    out.print(head)
    due = moment(found.get("due_at")) if found["state"] == "pending" else ""
    facts(
        out,
        [
            ("where", place(found)),
            ("told", found["kind"]),
            ("incident", _incident(found)),
            ("decided", f"{moment(found['decided_at'])} ({zone()})" if found.get("decided_at") else ""),
            ("changed", moment(found["at"])),
            ("next attempt", due),
            ("said", found["why"]),
            ("key", found["key"]),
        ],
    )
    if found["attempts"]:
        shown = table(">try", f"at ({zone(short=True)})", "outcome", "why", wide="why")
        for one in found["attempts"]:
            shown.add_row(
                text(one["attempt"]), text(moment(one["at"]), "dim"), text(one["outcome"]), text(one["why"])
            )
        out.print()
        out.print(shown)


@deliveries.command()
@click.argument("number", type=NUMBER)
@server_options
@output_option
def preview(number: int, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Show what the channel sends: the message as it is rendered, without secrets."""
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", f"{PATH}/{number}/preview")
    if wants_json(output):
        show_json(found)
        return
    out = console()
    pairs = [("channel", found["channel"]), ("kind", found["kind"]), ("type", found["content_type"])]
    html = "there is an HTML part too: --output json" if found["html"] else ""
    facts(out, [*pairs, ("subject", found["subject"]), ("html", html)])
    click.echo()
    click.echo(plain_lines(_readable(found["body"])))


def _readable(body: str) -> str:
    """Give JSON line by line, and anything else as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


@deliveries.command()
@click.argument("number", type=NUMBER)
@click.option("--force", is_flag=True, help="Even if it was told already: somebody gets it twice.")
@server_options
@output_option
def retry(
    number: int, force: bool, data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Attempt a delivery now, under its old key. One that was told already is left alone."""
    with reach(data, url, token, writes=True) as (api, _):
        found = api.request("POST", f"{PATH}/{number}/retry", body={"force": force})
    _show(found, output)


@deliveries.command()
@click.argument("number", type=NUMBER)
@click.option("--reason", required=True, help="Why nobody needs it any more; it is recorded.")
@server_options
@output_option
def discard(
    number: int, reason: str, data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Give up a delivery that is on its way or was given up."""
    with reach(data, url, token, writes=True) as (api, _):
        found = api.request("POST", f"{PATH}/{number}/discard", body={"reason": reason})
    _show(found, output)
    if not found["changed"] and not wants_json(output):
        console().print("was so already: discarded", style="dim")
