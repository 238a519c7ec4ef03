"""Detail: one incident as a page: how it stands, its alerts, who was told, and what happened with every because."""

from typing import TYPE_CHECKING, Any

from tocsin.cli.show import (
    DELIVERY_STYLE,
    DELIVERY_WORDS,
    SEVERITY_STYLE,
    console,
    facts,
    labels,
    moment,
    names_in,
    several,
    standing,
    table,
    text,
    who,
    zone,
)
from tocsin.core.engine.actors import read_aloud

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

ALERTS_SHOWN = 20
EVIDENCE_SHOWN = 5
ROWS_SHOWN = 60
SAID_LENGTH_MAX = 400
CALMS = ("alert_green", "alert_cleared")
"""What an alert said with these stands nowhere else on the page."""

HOUSEKEEPING = ("flush_planned", "flushed", "digest_planned")
"""Events that only plan when to look again; people ask for them with --output json."""


def show_detail(detail: dict[str, Any]) -> None:
    """Write the page of one incident."""
    out = console()
    out.print(headline(detail))
    _show_facts(out, detail)
    _show_notes(out, detail)
    _show_alerts(out, detail)
    if detail["deliveries"]:
        out.print("\nDeliveries", style="bold")
        out.print(deliveries_table(detail["deliveries"]))
    out.print("\nTimeline", style="bold")
    names = names_in(
        [
            (detail["acked_by"], detail.get("acked_by_name")),
            *((entry["actor"], entry.get("actor_name")) for entry in detail["timeline"]),
        ]
    )
    out.print(timeline(detail["timeline"], names))


def headline(incident: dict[str, Any]) -> "Text":
    """Give an incident in one line: `#42  OPEN  critical  disk: 97 %`."""
    head = text("")
    head.append_text(text(f"#{incident['number']}  ", "bold"))
    head.append_text(standing(incident))
    head.append("  ")
    head.append_text(text(incident["severity"], SEVERITY_STYLE.get(incident["severity"], "")))
    head.append("  ")
    head.append_text(text(incident["title"], "bold"))
    return head


def _show_facts(out: "Console", detail: dict[str, Any]) -> None:
    acked = who(detail["acked_by"], detail.get("acked_by_name"))
    if acked and detail.get("acked_at"):
        acked = f"{acked}, {moment(detail['acked_at'])}"
    silenced = ""
    if detail["state"] == "SILENCED":
        silenced = moment(detail.get("silenced_until")) or "somebody ends it"
    resolved = moment(detail["resolved_at"])
    if resolved and detail.get("auto_resolved"):
        greens = detail.get("greens")
        resolved += f" by itself, after {several(greens, 'green look')}" if greens else " by itself"
    previous = detail.get("previous")
    facts(
        out,
        [
            ("id", detail["incident_id"]),
            ("route", detail["route"]),
            ("group", labels(detail["labels"])),
            ("opened", f"{moment(detail['opened_at'])} ({zone()})"),
            ("acked by", acked),
            ("silenced until", silenced),
            ("silenced by", _silences(detail)),
            ("resolved", resolved),
            ("generation", f"{detail['generation']} (it came back)" if detail["generation"] > 1 else ""),
            ("before it", f"#{previous}" if previous else ""),
        ],
    )


def _silences(detail: dict[str, Any]) -> str:
    """Name the silences that cover its alerts, and how many they leave out if not all."""
    covering = [f"S{number}" for number in detail.get("silenced_by") or []]
    if not covering:
        return ""
    some = detail["silenced"] < detail["firing"]
    part = f", {detail['silenced']} of the {several(detail['firing'], 'alert')} that fire" if some else ""
    return f"{', '.join(covering)}{part} (tocsin unsilence {' '.join(covering)})"


def _show_notes(out: "Console", detail: dict[str, Any]) -> None:
    notes = detail.get("notes") or []
    if not notes:
        return
    out.print("\nNotes", style="bold")
    shown = table("at", "by", "note", wide="note")
    shown.show_header = False
    for note in notes:
        told = "(erased)" if note["note"] is None else note["note"]
        shown.add_row(
            text(moment(note["at"]), "dim"), text(note.get("actor_name") or note["actor"], "", 24), text(told)
        )
    out.print(shown)


def _show_alerts(out: "Console", detail: dict[str, Any]) -> None:
    alerts = detail["alerts"]
    out.print(f"\nAlerts: {detail['firing']} firing, {detail['cleared']} cleared", style="bold")
    shown = table(
        "status", "severity", "rule and scope, and what it said", wide="rule and scope, and what it said"
    )
    for alert in alerts[:ALERTS_SHOWN]:
        said = text(f"{alert['rule_id']} {labels(alert['scope'])}".strip(), "", SAID_LENGTH_MAX)
        said.append("\n")
        message = "(erased)" if alert["message"] is None else alert["message"]
        said.append_text(text(message, "dim", SAID_LENGTH_MAX))
        shown.add_row(
            text(alert["status"], "red" if alert["status"] == "firing" else "green"),
            text(alert["severity"], SEVERITY_STYLE.get(alert["severity"], "")),
            said,
        )
    out.print(shown)
    if len(alerts) > ALERTS_SHOWN:
        out.print(f"and {len(alerts) - ALERTS_SHOWN} more; all of them: --output json", style="dim")
    _show_evidence(out, alerts)


def _show_evidence(out: "Console", alerts: list[dict[str, Any]]) -> None:
    """Say of alerts of rules how they came to what they say, of those that fire first."""
    from tocsin.cli.evidence import evidence_facts

    proven = [(one, found) for one in alerts if (found := evidence_facts(one.get("evidence")))]
    proven.sort(key=lambda pair: pair[0]["status"] != "firing")
    if not proven:
        return
    out.print("\nEvidence", style="bold")
    for alert, found in proven[:EVIDENCE_SHOWN]:
        out.print(text(f"{alert['rule_id']} {labels(alert['scope'])}".strip(), "", SAID_LENGTH_MAX))
        facts(out, found)
    if len(proven) > EVIDENCE_SHOWN:
        out.print(f"and {len(proven) - EVIDENCE_SHOWN} more; all of them: --output json", style="dim")


def deliveries_table(deliveries: list[dict[str, Any]]) -> "Table":
    """Show deliveries, to whom, and what the last attempt met."""
    shown = table("told", "outcome", ">tries", "where, and what it said", wide="where, and what it said")
    for one in deliveries:
        where = text(place(one))
        if one["why"]:
            where.append("\n")
            where.append_text(text(one["why"], "dim", SAID_LENGTH_MAX))
        shown.add_row(
            text(one["kind"]),
            text(DELIVERY_WORDS.get(one["state"], one["state"]), DELIVERY_STYLE.get(one["state"], "")),
            text(one["attempts"]),
            where,
        )
    return shown


def place(target: dict[str, Any]) -> str:
    """Name a channel and the address in it; the channel alone where it has but one, or where it was erased."""
    address = target.get("address")
    channel = str(target["channel"])
    return channel if address in (None, "", channel) else f"{channel} {address}"


def timeline(entries: list[dict[str, Any]], names: dict[str, str]) -> "Table":
    """Show the newest entries, oldest of them first, each event with its because; looks in a row become one line.

    names: of tokens, by their ids.
    """
    shown = table(">entry", f"at ({zone()})", "what", "because", wide="because")
    rows: list[list[str]] = []
    times: list[int] = []
    for entry in reversed(entries):
        seq, at = str(entry["seq"]), moment(entry["at"])
        for event in entry["events"]:
            if event["type"] in HOUSEKEEPING:
                continue
            because = str(event.get("because", ""))
            said = read_aloud(because, names) + _hush(event) + (_by(entry, because) if seq else "")
            if event["type"] in CALMS and entry.get("message"):
                said += f": {entry['message']}"
            row = [seq, at, _what(event), said]
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


def _hush(event: dict[str, Any]) -> str:
    """Name the silences that cover an alert when it comes."""
    covering = [f"S{number}" for number in event.get("silenced_by") or []]
    return f" (silenced by {', '.join(covering)})" if covering else ""


def _by(entry: dict[str, Any], because: str) -> str:
    """Name who did it, unless that is said already, and what they wrote beside it."""
    actor = entry["actor"]
    by = entry.get("actor_name") or actor
    by = f" (by {by})" if actor != "system" and actor not in because else ""
    return f"{by}: {entry['note']}" if entry["note"] else by


def _what(event: dict[str, Any]) -> str:
    what = str(event["type"]).replace("_", " ")
    if event["type"] in ("notified", "notification_withheld"):
        what = f"{event['kind']} {'told' if event['type'] == 'notified' else 'withheld'}"
    return what
