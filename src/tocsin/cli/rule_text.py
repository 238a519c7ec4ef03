"""Rule text: what a backtest found, for people: the verdict in a line, then weeks, severities, and each incident."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.cli.show import SEVERITY_STYLE, has_unicode, labels, moment, several, table, text, zone
from tocsin.cli.times import span

if TYPE_CHECKING:
    from rich.console import Console

INCIDENTS_SHOWN = 50
BAR_CHARACTERS = 30


def show_backtests(out: "Console", answer: dict[str, Any]) -> None:
    """Write the report of each rule."""
    for place, one in enumerate(answer["rules"]):
        if place:
            out.print()
        _show(out, one)
    if not answer["channels"]:
        out.print(text("No channel is configured, so nobody would have been told of anything.", "yellow"))


def verdict(found: dict[str, Any]) -> str:
    """Say all of it in one line."""
    incidents, severities = found["incidents"], found["severities"]
    parts = [
        f"{several(len(incidents), 'incident')} in {_length(found)} "
        f"({found['incidents_per_week']:.1f} a week)"
    ]
    if severities["critical"]:
        parts.append(f"{severities['critical']} critical")
    if found["nights"]["incidents"]:
        parts.append(f"{found['nights']['incidents']} opened at night")
    told, at_night = len(found["notifications"]), found["nights"]["notifications"]
    parts.append(several(told, "notification") + (f" ({at_night} at night)" if at_night else ""))
    return ", ".join(parts)


def _length(found: dict[str, Any]) -> str:
    """Write how long the period is, in days where it is that long."""
    begin, end = (datetime.fromisoformat(found[name]) for name in ("since", "until"))
    days = (end - begin) / timedelta(days=1)
    return f"{days:.3g} days" if days >= 2 else span((end - begin).total_seconds())


def _show(out: "Console", found: dict[str, Any]) -> None:
    out.print(text(found["rule_id"], "bold"))
    out.print(text(f"{moment(found['since'])} to {moment(found['until'])} ({zone()})", "dim"))
    out.print(text(verdict(found)))
    _show_failed(out, found)
    if found["nothing"]:
        looks = several(found["nothing"], "look")
        before = found["before"]
        which = (
            f"; {'all' if before == found['nothing'] else before} of them before there was any"
            if before
            else ""
        )
        out.print(
            text(f"{looks} of {found['looks']} could say nothing: no data, or too little{which}.", "dim")
        )
    if not found["incidents"]:
        return
    out.print(
        text(
            f"{found['wrong']} of {several(found['looks'], 'look')} found something wrong; "
            f"something was open for {span(found['firing_s'])} in all.",
            "dim",
        )
    )
    _show_severities(out, found)
    _show_weeks(out, found)
    _show_incidents(out, found["incidents"])


def _show_failed(out: "Console", found: dict[str, Any]) -> None:
    if not found["failed"]:
        return
    failed = several(found["failed"], "look")
    out.print(text(f"{failed} of {found['looks']} got no answer, and changed nothing:", "bold red"))
    for why in found["failures"]:
        out.print(text(f"  {why}"))


def _show_severities(out: "Console", found: dict[str, Any]) -> None:
    shown = table("severity", ">incidents", ">share")
    total = len(found["incidents"])
    for severity, count in found["severities"].items():
        if count:
            shown.add_row(
                text(severity, SEVERITY_STYLE[severity]), text(count), text(f"{100 * count / total:.0f} %")
            )
    out.print()
    out.print(shown)


def _show_weeks(out: "Console", found: dict[str, Any]) -> None:
    most = max(week["incidents"] for week in found["weeks"])
    block = "█" if has_unicode() else "#"
    bars = f"incidents, of at most {most}"
    shown = table(f"week ({found['zone']})", ">incidents", ">notifications", bars, wide=bars)
    for week in found["weeks"]:
        bar = block * -(-week["incidents"] * BAR_CHARACTERS // max(1, most))
        shown.add_row(text(week["week"]), text(week["incidents"]), text(week["notifications"]), text(bar))
    out.print()
    out.print(shown)


def _show_incidents(out: "Console", incidents: list[dict[str, Any]]) -> None:
    longest = max(incidents, key=lambda one: one["open_s"])
    out.print()
    out.print(text(f"The longest: #{longest['number']}, open for {span(longest['open_s'])}", "bold"))
    shown = table(">#", "severity", f"opened ({zone(short=True)})", ">open for", "what", wide="what")
    for one in incidents[:INCIDENTS_SHOWN]:
        back = f", came back {several(one['reopened'], 'time')}" if one["reopened"] else ""
        still = "" if one["resolved_at"] else ", still open"
        shown.add_row(
            text(one["number"], "bold"),
            text(one["severity"], SEVERITY_STYLE[one["severity"]]),
            text(moment(one["opened_at"], short=True), "dim"),
            text(span(one["open_s"])),
            text((labels(one["scope"]) or one["title"]) + back + still),
        )
    out.print(shown)
    if len(incidents) > INCIDENTS_SHOWN:
        out.print(text(f"and {len(incidents) - INCIDENTS_SHOWN} more: --output json", "dim"))
