"""How silences look: in a list, alone, and before they are made."""

from typing import TYPE_CHECKING, Any

from tocsin.cli.show import SEVERITY_STYLE, console, facts, labels, moment, several, table, text, who, zone

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 10
STYLE = {"active": "magenta", "pending": "yellow", "ended": "dim"}


def matching(matchers: list[str] | None) -> str:
    """Show matchers; they must all match."""
    return "(erased)" if matchers is None else " and ".join(matchers)


def silences_table(silences: list[dict[str, Any]], maintenances: list[dict[str, Any]]) -> "Table":
    """Show silences, and after them the maintenances: what comes back, with its next window."""
    shown = table("id", "state", f"from ({zone(short=True)})", "until", "what, and why", wide="what, and why")
    for one in silences:
        ends = moment(one["ended_at"] or one["ends_at"], short=True)
        name, state = f"S{one['number']}", text(one["state"], STYLE.get(one["state"], ""))
        shown.add_row(text(name, "bold"), state, moment(one["starts_at"], short=True), ends, _what(one))
    for one in maintenances:
        coming = (one["next"] or [{"starts_at": one["next_at"], "ends_at": None}])[0]
        state = text("over", "dim") if one["over"] else text("recurs", "cyan")
        shown.add_row(
            text(f"M{one['number']}", "bold"),
            state,
            moment(coming["starts_at"], short=True),
            moment(coming["ends_at"], short=True),
            _what(one),
        )
    if not silences and not maintenances:
        shown.add_row("", "", "", "", "none")
    return shown


def _what(one: dict[str, Any]) -> Any:
    said = text(matching(one["matchers"]))
    if one["comment"]:
        said.append("\n")
        said.append_text(text(one["comment"], "dim"))
    return said


def show_silence(one: dict[str, Any]) -> None:
    """Show a silence or a maintenance after something was done to it."""
    out = console()
    if one.get("silence_id"):
        out.print(text(f"Silence S{one['number']} is {one['state']}: {matching(one['matchers'])}", "bold"))
        pairs = [
            ("id", one["silence_id"]),
            ("from", f"{moment(one['starts_at'])} ({zone()})"),
            ("until", moment(one["ends_at"])),
            ("ended", moment(one["ended_at"])),
        ]
        ending = f"S{one['number']}" if one["state"] != "ended" else ""
    else:
        over = "is over" if one["over"] else "comes back"
        out.print(text(f"Maintenance M{one['number']} {over}: {matching(one['matchers'])}", "bold"))
        pairs = [
            ("id", one["maintenance_id"]),
            ("rule", f"{one['rrule']} in {one['zone']}"),
            ("begins", f"{one['begins']}, for {several(one['minutes'], 'minute')}"),
        ]
        pairs += [("next" if not row else " ", _window(next_)) for row, next_ in enumerate(one["next"])]
        ending = f"M{one['number']}" if not one["over"] else ""
    end = f"tocsin unsilence {ending}" if ending else ""
    facts(
        out,
        [
            *pairs,
            ("by", who(one["created_by"], one.get("created_by_name"))),
            ("comment", one["comment"]),
            ("to end it", end),
        ],
    )


def _window(window: dict[str, Any]) -> str:
    return f"{moment(window['starts_at'], short=True)} to {moment(window['ends_at'], short=True)} ({zone()})"


def show_preview(answer: dict[str, Any]) -> None:
    """Show what a silence would cover, now and in the last days."""
    out = console()
    now, past = answer["matches_now"], answer["last_days"]
    out.print(text(f"PREVIEW, nothing was silenced: {matching(answer['matchers'])}", "bold"))
    if answer["covers_everything"]:
        out.print("It covers everything: nobody would be told of anything.", style="bold red")
    incidents = several(now["incidents_total"], "incident")
    out.print(f"\nNow: {several(now['alerts'], 'alert')} in {incidents}")
    shown = table(">#", "severity", "title", wide="title")
    for one in now["incidents"][:SHOWN]:
        shown.add_row(
            text(one["number"], "bold"),
            text(one["severity"], SEVERITY_STYLE.get(one["severity"], "")),
            text(one["title"], one_line=True),
        )
    if now["incidents"]:
        out.print(shown)
    if now["incidents_total"] > SHOWN:
        out.print(f"and {now['incidents_total'] - SHOWN} more", style="dim")
    seen = several(past["alerts_total_seen"], "alert")
    out.print(f"\nIn the last {several(past['days'], 'day')}: {past['alerts']} of {seen}")
    sample = table("severity", f"last seen ({zone(short=True)})", "rule and scope", wide="rule and scope")
    for one in past["sample"][:SHOWN]:
        sample.add_row(
            text(one["severity"], SEVERITY_STYLE.get(one["severity"], "")),
            text(moment(one["last_seen_at"], short=True), "dim"),
            text(f"{one['rule_id']} {labels(one['scope'])}"),
        )
    if past["sample"]:
        out.print(sample)
    if past["alerts"] > SHOWN:
        out.print(f"and {past['alerts'] - SHOWN} more, seen before these", style="dim")
