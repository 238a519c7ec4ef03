"""What-if as a page: one file of HTML that needs nothing else: no script, no network, charts drawn in it.

Everything from outside passes through `html.escape`, and the page forbids itself whatever is not in it.
"""

from collections.abc import Iterable
from html import escape
from typing import Any

from tocsin.cli.plain import plain
from tocsin.cli.show import labels, several
from tocsin.cli.times import span
from tocsin.cli.whatif_text import COUNTED, inputs_of, person_of, side_of

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1d232b;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d5dae1}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
th{color:#5b6675;font-weight:500}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{color:#a3131d;font-weight:600}.dim{color:#5b6675}.good{color:#14692f}
article{margin:.9rem 0}article p{margin:.1rem 0 .1rem 1rem}svg{max-width:100%;height:auto}
.now{fill:#8a97a8}.then{fill:#c2571a}.key i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}
@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}h2{border-color:#39424e}
th,.dim{color:#97a3b2}.bad{color:#ff8087}.good{color:#7fd39a}text{fill:#dde3ea}}
"""
CASES_SHOWN = 200


def page(found: dict[str, Any]) -> str:
    """Give the whole page."""
    parts = [
        "<!doctype html>\n<html lang=en><meta charset=utf-8>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        "<meta name=viewport content='width=device-width'><title>What would have been different</title>",
        f"<style>{STYLE}</style><h1>What would have been different</h1>",
        f"<p class=dim>{_text(found['since'])} to {_text(found['until'])}; {_text(inputs_of(found))}</p>",
        _verdict(found),
        _critical(found["critical"]),
        "<h2>Figures</h2>",
        _figures(found["numbers"]),
        f"<h2>Deliveries by the hour of the day ({_text(found['zone'])})</h2>",
        _key(),
        _hours(found["numbers"]["hours"]),
        _people(found["numbers"]["people"]),
        _cases("Incidents that would have gone otherwise", found["effect"], "now", "then"),
        _drift(found),
        _left_out(found["left_out"]),
        "<h2>What this rests on</h2><ul>",
        *(f"<li>{_text(sentence)}" for sentence in found["assumptions"]),
        "</ul></html>\n",
    ]
    return "\n".join(parts)


def _text(value: object) -> str:
    return escape(plain(value if value is not None else "-"))


def _verdict(found: dict[str, Any]) -> str:
    if found["same"]:
        return "<p class=good>Nothing: the other policy decides every one of them alike.</p>"
    effect = found["effect"]
    return f"<p>{several(effect['found'], 'incident')} would have gone otherwise, {effect['same']} alike.</p>"


def _rows(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Draw a table; a column whose name begins with `>` stands at the right."""
    names = list(head)
    marks = [" class=n" if name.startswith(">") else "" for name in names]
    drawn = ["<table><tr>", *(f"<th{m}>{_text(n.lstrip('>'))}" for n, m in zip(names, marks, strict=True))]
    for row in rows:
        drawn.append("<tr>")
        drawn += [f"<td{mark}>{_text(cell)}" for cell, mark in zip(row, marks, strict=True)]
    return "".join([*drawn, "</table>"])


def _critical(critical: list[dict[str, Any]]) -> str:
    if not critical:
        return ""
    rows = [
        (
            f"#{one['recorded']}" if one["recorded"] else "-",
            f"{one['rule_id']} {labels(one['labels'])}",
            one["told_at"],
            one["late_at"] or "never",
            one["because"],
        )
        for one in critical
    ]
    head = ("incident", "what", "told", "then", "because")
    count = several(len(critical), "CRITICAL incident")
    title = f"<h2 class=bad>{count} would have been told late, or not at all</h2>"
    return title + _rows(head, rows)


def _figures(numbers: dict[str, Any]) -> str:
    counts = [(words, numbers[name]) for name, words in COUNTED.items()]
    counts += [(f"notifications: {kind}", count) for kind, count in numbers["kinds"].items()]
    counts += [(f"deliveries: {channel}", count) for channel, count in numbers["channels"].items()]
    counts += [("deliveries at night (22:00 to 07:00)", numbers["nights"])]
    counts += [(f"withheld: {reason}", count) for reason, count in numbers["withheld"].items()]
    rows: list[tuple[object, ...]] = [
        (words, one["recorded"], one["again"], one["candidate"], f"{one['candidate'] - one['again']:+d}")
        for words, one in counts
    ]
    waits = numbers["first_notification"]
    for name, words in (("p50_s", "half told within"), ("p90_s", "90 % told within")):
        rows.append((words, *(span(waits[course][name]) or "-" for course in COURSES), ""))
    untold = [waits[course]["untold"] for course in COURSES]
    rows.append(("openings nobody was told of", *untold, f"{untold[2] - untold[1]:+d}"))
    return _rows(("", ">recorded", ">now", ">then", ">change"), rows)


COURSES = ("recorded", "again", "candidate")


def _key() -> str:
    now, then = "<i style='background:#8a97a8'></i>now", "<i style='background:#c2571a'></i>then"
    return f"<p class=key>{now}{then}</p>"


def _hours(hours: list[dict[str, int]]) -> str:
    """Draw two bars for each hour of the day."""
    most = max((hour[course] for hour in hours for course in COURSES[1:]), default=0) or 1
    drawn = ["<svg viewBox='0 0 720 190' role=img aria-label='Deliveries by the hour of the day'>"]
    for number, hour in enumerate(hours):
        for place, course in enumerate(COURSES[1:]):
            height = 150 * hour[course] / most
            drawn.append(
                f"<rect class={('now', 'then')[place]} x={number * 30 + 3 + place * 12} y={160 - height:.1f} width=11 "
                f"height={height:.1f}><title>{number}:00: {hour[course]}</title></rect>"
            )
        drawn.append(f"<text x={number * 30 + 14} y=178 font-size=11 text-anchor=middle>{number}</text>")
    return "".join([*drawn, "</svg>"])


def _people(people: list[dict[str, Any]]) -> str:
    """Draw a pair of bars for each target, with its nights beside it."""
    if not people:
        return ""
    most = max(one["notifications"][course] for one in people for course in COURSES[1:]) or 1
    rows = []
    for one in people:
        told, nights = one["notifications"], one["nights"]
        bars = ""
        for place, course in enumerate(COURSES[1:]):
            width = max(1, 260 * told[course] / most)
            bars += (
                f"<rect class={('now', 'then')[place]} x=0 y={place * 9} width={width:.1f} height=8></rect>"
            )
        rows.append(
            f"<tr><td>{_text(person_of(one))}<td><svg width=260 viewBox='0 0 260 18'>{bars}</svg>"
            f"<td class=n>{told['again']}<td class=n>{told['candidate']}"
            f"<td class=n>{nights['again']}<td class=n>{nights['candidate']}"
        )
    head = "<tr><th>target<th><th class=n>now<th class=n>then<th class=n>nights now<th class=n>nights then"
    return f"<h2>Who is told</h2><table>{head}{''.join(rows)}</table>"


def _cases(title: str, compared: dict[str, Any], before: str, after: str) -> str:
    cases = compared["differences"]
    if not cases:
        return ""
    drawn = [f"<h2>{_text(title)}</h2>"]
    for one in cases[:CASES_SHOWN]:
        number = f"#{one['recorded']} " if one["recorded"] else ""
        drawn.append(
            f"<article><b>{_text(number)}{_text(one['rule_id'])}</b> {_text(labels(one['labels']))} "
            f"<span class=dim>{_text(one['severity'])}</span>"
        )
        for name, side in ((before, one["before"]), (after, one["after"])):
            drawn.append(f"<p><span class=dim>{name}:</span> {_text(side_of(side))}</p>")
        drawn += [f"<p class=dim>{_text(setting)}</p>" for setting in one["settings"]]
        drawn.append("</article>")
    left = compared["found"] - len(cases[:CASES_SHOWN])
    if left:
        drawn.append(f"<p class=dim>And {left} more; the most severe are shown.</p>")
    return "".join(drawn)


def _drift(found: dict[str, Any]) -> str:
    drift = found["drift"]
    if not drift["found"]:
        said = "<p class=good>None: every incident came as it was recorded.</p>"
    else:
        count = several(drift["found"], "incident")
        said = f"<p>{count} came otherwise than recorded, {drift['same']} as recorded.</p>"
    title = "<h2>Drift: the recorded policy decided again, against the record</h2>"
    return title + said + _cases("Where it drifted", drift, "recorded", "again")


def _left_out(left_out: dict[str, Any]) -> str:
    rows = [
        ("inputs whose texts were erased", left_out["erased"]),
        ("actions that found nothing to act on", left_out["nothing"]["candidate"]),
        ("actions that could not be taken", left_out["conflicts"]["candidate"]),
        ("retries and discards of single deliveries", left_out["deliveries"]),
    ]
    return "<h2>Left out</h2>" + _rows(("", ">count"), rows)
