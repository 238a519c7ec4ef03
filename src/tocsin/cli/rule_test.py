"""Rule test: what rules see now, or saw at some moment, with a chart. Nobody is told, and nothing is remembered."""

import asyncio
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.exits import PARTLY_DONE, UNREACHABLE, told
from tocsin.cli.rule_load import Loaded, asked, load, rules_argument, settle
from tocsin.cli.show import (
    SEVERITY_STYLE,
    console,
    has_unicode,
    labels,
    output_option,
    show_json,
    text,
    wants_json,
)
from tocsin.cli.times import PAST, Moment

if TYPE_CHECKING:
    from rich.console import Console

    from tocsin.core.model.rule import Rule
    from tocsin.core.rules.glance import Burned, Glance
    from tocsin.runtime.trial import Trial

SCOPES_SHOWN = 20
VERDICT_STYLE = {"firing": "bold red", "green": "green", "too little data": "yellow", "no data": "yellow"}


@click.command()
@rules_argument
@click.option("--at", type=PAST, metavar="TIME", help="Look at this moment. Default: now.")
@click.option("--chart/--no-chart", default=True, show_default=True, help="Draw the points and the limits.")
@output_option
def test(
    what: str,
    rule_ids: tuple[str, ...],
    config: Path | None,
    data: Path,
    at: Moment | None,
    chart: bool,
    output: str | None,
) -> None:
    """Look at the rules of FILE, or at a configured one, without telling anybody.

    Exits 0 if every rule could be looked at, whether it fires or not; 2 if the file is wrong; 3 if there is no such
    rule; 6 if no rule got an answer; 8 if some did not.
    """
    with told():
        loaded = load(what, rule_ids, config, data)
        made = look(loaded, at)
    if wants_json(output):
        from tocsin.cli.rule_answer import trial_answer

        show_json({"rules": [trial_answer(one) for one in made]})
    else:
        out = console()
        for one in made:
            show_trial(out, one, draws=chart)
    exit_for([one.failure for one in made])


def look(loaded: Loaded, at: Moment | None) -> "list[Trial]":
    """Look at each rule once. Raises: Invalid."""
    from tocsin.runtime.trial import trial
    from tocsin.wiring.machine import build_clock

    moment = settle(at, build_clock().now())

    async def made() -> "list[Trial]":
        async with asked(loaded.settings) as sources:
            return [await trial(rule, moment, sources) for rule in loaded.rules]

    return asyncio.run(made())


def exit_for(failures: Sequence[str]) -> None:
    """Exit with 6 if no rule got an answer, with 8 if some did not. failures: "" for one that did."""
    if any(failures):
        raise click.exceptions.Exit(UNREACHABLE if all(failures) else PARTLY_DONE)


def show_trial(out: "Console", made: "Trial", *, draws: bool) -> None:
    """Write what one rule sees."""
    rule = made.rule
    out.print(text(rule.rule_id, "bold"))
    if made.failure:
        out.print(text(f"  no answer: {made.failure}", "bold red"))
    for one in made.glances[:SCOPES_SHOWN]:
        out.print(heading(one))
        if rule.of > 1 and one.judgement.severity is not None:
            out.print(text(f"  (one wrong look; it fires after {rule.looks} of {rule.of})", "dim"))
        if one.burns:
            for burned in one.burns:
                out.print(text(f"  {burn_words(burned)}", "dim"))
        elif draws:
            _draw(made, one)
    if len(made.glances) > SCOPES_SHOWN:
        out.print(text(f"  and {len(made.glances) - SCOPES_SHOWN} more scopes: --output json", "dim"))
    out.print()


def heading(one: "Glance") -> "object":
    """Write the verdict about a scope in a line: `firing critical  host=db-1  last = 97 > 90`."""
    severity = one.judgement.severity
    style = VERDICT_STYLE[one.verdict] if severity is None else SEVERITY_STYLE[severity]
    shown = text("  ")
    shown.append_text(text(f"{one.verdict} {severity}" if one.verdict == "firing" else one.verdict, style))
    shown.append_text(text("  " + "  ".join(filter(None, (labels(one.scope), one.judgement.formula)))))
    return shown


def burn_words(burned: "Burned") -> str:
    """Say how fast the budget burns over both windows: `critical from 14.4 x on: 20 x over 1h, 3 x over 5m`."""
    from tocsin.core.rules.triggers import wording

    tier = burned.tier
    rates = [
        f"{'no answer' if rate is None else f'{wording.short(rate)} x'} over {wording.duration(window)}"
        for rate, window in ((burned.long, tier.long), (burned.short, tier.short))
    ]
    return f"{tier.severity} from {wording.number(tier.factor)} x on: {', '.join(rates)}"


def _draw(made: "Trial", one: "Glance") -> None:
    from tocsin.cli.rule_chart import chart

    guides, trend = guides_of(made.rule, made.at, one)
    lines = chart(
        one.points,
        [*(limit.value for limit in one.lines), *guides],
        since=made.at - made.rule.window,
        until=made.at,
        zone=made.rule.zone,
        trend=trend,
        unicode=has_unicode(),
    )
    for line in lines:
        click.echo(line)


def guides_of(rule: "Rule", at: int, one: "Glance") -> tuple[list[float], tuple[float, float] | None]:
    """Give what else helps to see why it was judged so: levels, and the line that was fitted.

    A break: what was usual, and its spread on both sides. An outlier: the median, and how far the last point may be
    away. A slope: the fitted line, by its values at both ends of the window.
    """
    from tocsin.core.model.rule import Break, Outlier, Side, Slope

    numbers = one.judgement.numbers
    match trigger := rule.trigger:
        case Break() if "usual" in numbers:
            usual, spread = numbers["usual"], numbers["spread"]
            return _finite([usual - spread, usual, usual + spread]), None
        case Outlier() if "median" in numbers:
            median, z = numbers["median"], numbers["z"]
            unit = (numbers["last"] - median) / z if z else 0.0
            sides = {Side.ABOVE: (1,), Side.BELOW: (-1,), Side.BOTH: (-1, 1)}[trigger.side]
            away = [side * limit.value * unit for limit in trigger.limits for side in sides]
            return _finite([median, *(median + length for length in away)]), None
        case Slope() if "slope" in numbers:
            return [], _fitted(one, numbers["slope"] / trigger.per, at - rule.window, at)
        case _:
            return [], None


def _fitted(one: "Glance", slope: float, since: int, until: int) -> tuple[float, float] | None:
    """Give the values of the fitted line at both ends of the window. slope: in each microsecond."""
    middle_at = sum(point.at for point in one.points) / len(one.points)
    middle = sum(point.value / len(one.points) for point in one.points)
    ends = [middle + slope * (at - middle_at) for at in (since, until)]
    return (ends[0], ends[1]) if len(_finite(ends)) == 2 else None


def _finite(values: list[float]) -> list[float]:
    return sorted({value for value in values if isfinite(value)})
