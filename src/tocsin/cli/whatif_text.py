"""What-if as text: what would be worse first, then the figures, then case by case, then what it rests on."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tocsin.cli.show import SEVERITY_STYLE, labels, moment, several, table, text, zone
from tocsin.cli.times import span

if TYPE_CHECKING:
    from rich.console import Console

DIFFERENCES_SHOWN = 10
PEOPLE_SHOWN = 20
CRITICAL_SHOWN = 20
BARS = " ▁▂▃▄▅▆▇█"
ONE = {"expiries": "expiry", "policies": "policy"}
COUNTED = {
    "opened": "incidents opened",
    "reopened": "incidents reopened",
    "resolved_by_itself": "resolved by themselves",
    "resolved_by_hand": "resolved by somebody",
}


def show_report(out: "Console", found: dict[str, Any]) -> None:
    """Write the report."""
    out.print(text("What would have been different", "bold"))
    period = f"{moment(found['since'])} to {moment(found['until'])} ({zone()})"
    out.print(text(f"{period}; {inputs_of(found)}", "dim"))
    out.print()
    _show_verdict(out, found)
    _show_critical(out, found["critical"])
    _show_figures(out, found["numbers"])
    _show_hours(out, found)
    _show_people(out, found)
    _show_cases(out, found["effect"], "Incidents that would have gone otherwise", "now", "then")
    _show_drift(out, found)
    _show_left_out(out, found["left_out"])
    out.print()
    out.print(text("What this rests on", "bold"))
    for sentence in found["assumptions"]:
        out.print(text(f"- {sentence}"))


def inputs_of(found: dict[str, Any]) -> str:
    """Count what was decided again."""
    counted = [
        several(count, ONE.get(kind, kind.removesuffix("s")), kind)
        for kind, count in found["inputs"].items()
        if count
    ]
    return ", ".join(counted) or "no inputs"


def _show_verdict(out: "Console", found: dict[str, Any]) -> None:
    effect = found["effect"]
    if found["same"]:
        out.print(text("Nothing: the other policy decides every one of them alike.", "green"))
    else:
        alike = several(effect["same"], "incident")
        out.print(text(f"{several(effect['found'], 'incident')} would have gone otherwise, {alike} alike."))


def _show_critical(out: "Console", critical: list[dict[str, Any]]) -> None:
    if not critical:
        return
    out.print()
    count = several(len(critical), "CRITICAL incident")
    out.print(text(f"{count} would have been told late, or not at all", SEVERITY_STYLE["critical"]))
    shown = table("incident", "told", "later by", "what", wide="what")
    for one in critical[:CRITICAL_SHOWN]:
        what = f"{one['rule_id']} {labels(one['labels'])}".strip()
        because = f": {one['because']}" if one["because"] else ""
        late = span(_seconds(one["told_at"], one["late_at"])) if one["late_at"] else "never"
        shown.add_row(
            text(f"#{one['recorded']}" if one["recorded"] else "-", "bold"),
            text(moment(one["told_at"])),
            text(late, "" if one["late_at"] else "bold red"),
            text(f"{what}{because}"),
        )
    out.print(shown)
    if len(critical) > CRITICAL_SHOWN:
        out.print(text(f"and {len(critical) - CRITICAL_SHOWN} more: --output json", "dim"))


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _show_figures(out: "Console", numbers: dict[str, Any]) -> None:
    shown = table("figure", ">now", ">then", ">change", wide="figure")
    rows = [(words, numbers[name]) for name, words in COUNTED.items()]
    rows += [(f"notifications: {kind}", count) for kind, count in numbers["kinds"].items()]
    rows += [(f"deliveries: {channel}", count) for channel, count in numbers["channels"].items()]
    rows += [("deliveries at night (22 to 7)", numbers["nights"])]
    rows += [
        (f"withheld: {reason.replace('_', ' ')}", count) for reason, count in numbers["withheld"].items()
    ]
    for words, count in rows:
        if count["again"] or count["candidate"]:
            shown.add_row(text(words), *_counted(count))
    waits = numbers["first_notification"]
    for name, words in (("p50_s", "half told within"), ("p90_s", "90 % told within")):
        now, then = (span(waits[course][name]) or "-" for course in ("again", "candidate"))
        shown.add_row(text(words), text(now), text(then), text(""))
    now, then = waits["again"]["untold"], waits["candidate"]["untold"]
    shown.add_row(text("openings nobody was told of"), text(now), text(then), _change(now, then))
    out.print()
    out.print(shown)


def _counted(count: dict[str, int]) -> tuple[Any, Any, Any]:
    now, then = count["again"], count["candidate"]
    return text(now), text(then), _change(now, then)


def _change(now: int, then: int) -> Any:
    if now == then:
        return text("")
    share = f" ({round(100 * (then - now) / now):+d} %)" if now else ""
    return text(f"{then - now:+d}{share}", "yellow")


def _show_hours(out: "Console", found: dict[str, Any]) -> None:
    hours = found["numbers"]["hours"]
    most = max((hour[course] for hour in hours for course in ("again", "candidate")), default=0)
    if not most:
        return
    out.print()
    out.print(text(f"Deliveries by the hour of the day ({found['zone']}); the highest is {most}", "bold"))
    for name, course in (("now ", "again"), ("then", "candidate")):
        bars = "".join(2 * BARS[-(-hour[course] * (len(BARS) - 1) // most)] for hour in hours)
        out.print(text(f"  {name}  {bars}"))
    out.print(text("        0           6           12          18        23", "dim"))


def _show_people(out: "Console", found: dict[str, Any]) -> None:
    people = found["numbers"]["people"]
    if not people:
        return
    shown = table("target", ">now", ">then", ">change", ">nights now", ">then", wide="target")
    for one in people[:PEOPLE_SHOWN]:
        shown.add_row(
            text(person_of(one)),
            *_counted(one["notifications"]),
            text(one["nights"]["again"]),
            text(one["nights"]["candidate"]),
        )
    out.print()
    out.print(shown)
    if len(people) > PEOPLE_SHOWN:
        out.print(text(f"and {len(people) - PEOPLE_SHOWN} more: --output json", "dim"))


def person_of(one: dict[str, Any]) -> str:
    if one["address"] in ("", one["channel"]):
        return f"{one['channel']}" if one["address"] else f"{one['channel']} {one['target']}"
    return f"{one['channel']} {one['address']}"


def _show_cases(out: "Console", compared: dict[str, Any], title: str, before: str, after: str) -> None:
    cases = compared["differences"]
    if not cases:
        return
    out.print()
    out.print(text(title, "bold"))
    for one in cases[:DIFFERENCES_SHOWN]:
        number = f"#{one['recorded']} " if one["recorded"] else ""
        what = f"{one['rule_id']} {labels(one['labels'])}".strip()
        out.print(text(f"{number}{what} ({one['severity']})", "bold"))
        lines = [(before, side_of(one["before"])), (after, side_of(one["after"]))]
        lines += [("setting", setting) for setting in one["settings"]]
        shown = table("name", "said", wide="said")
        shown.show_header = False
        for name, said in lines:
            shown.add_row(text(f"  {name:<8}", "dim"), text(said))
        out.print(shown)
    left = compared["found"] - min(len(cases), DIFFERENCES_SHOWN)
    if left:
        out.print(text(f"and {several(left, 'more', 'more')}; the most severe are shown", "dim"))


def side_of(side: dict[str, Any] | None) -> str:
    if side is None:
        return "no such incident"
    if not side["what"]:
        return "nothing further"
    return f"{moment(side['at'])} {side['what']}, because {side['because']}"


def _show_drift(out: "Console", found: dict[str, Any]) -> None:
    drift, numbers = found["drift"], found["numbers"]
    out.print()
    out.print(text("Drift: the recorded policy decided again, against the record", "bold"))
    recorded, again = (
        sum(count[course] for count in numbers["kinds"].values()) for course in ("recorded", "again")
    )
    if not drift["found"] and recorded == again:
        out.print(text("None: every incident and every notification came as it was recorded.", "green"))
        return
    out.print(
        text(
            f"{several(drift['found'], 'incident')} came otherwise, {drift['same']} as recorded; "
            f"{recorded} notifications recorded, {again} decided again."
        )
    )
    _show_cases(out, drift, "Where it drifted", "recorded", "again")


def _show_left_out(out: "Console", left_out: dict[str, Any]) -> None:
    rows = [
        (left_out["erased"], "input", "could not be decided again: the texts were erased"),
        (left_out["nothing"]["candidate"], "action", "found nothing to act on under the other policy"),
        (left_out["conflicts"]["candidate"], "action", "could not be taken under the other policy"),
        (left_out["deliveries"], "delivery", "retried or given up by somebody, which is not done again"),
    ]
    told = [
        f"{several(count, what, 'deliveries' if what == 'delivery' else '')} {words}"
        for count, what, words in rows
        if count
    ]
    if told:
        out.print()
        out.print(text("Left out", "bold"))
        for line in told:
            out.print(text(line))
