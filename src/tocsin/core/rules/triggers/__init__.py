"""Triggers: what each kind asks, and how the answers of one scope are judged. Pure: points in, a judgement out.

A judgement never guesses. With too little data, or numbers that cannot be reckoned with, its value is None and its
formula says why; it is then neither wrong nor right.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import assert_never

from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.rule import (
    Absent,
    Ask,
    Break,
    BurnRate,
    DeltaPct,
    Judgement,
    Outlier,
    Point,
    Rule,
    Slope,
    Threshold,
    Trigger,
)
from tocsin.core.rules import periods
from tocsin.core.rules.triggers import absent, burn_rate, cusum, delta, limits, outlier, slope, threshold

NOW, BEFORE = "now", "before"
"""The names of questions; those of a burn rate name their windows too, see `burn_rate.asked`."""


def asks(rule: Rule, at: int) -> tuple[Ask, ...]:
    """Give the questions of a look at a moment: what happened in [at - window, at), and what it is compared with."""
    trigger = rule.trigger
    match trigger:
        case BurnRate():
            return tuple(
                _ask(rule, name, query, at - window, at) for name, query, window in burn_rate.asked(trigger)
            )
        case DeltaPct():
            since, until = periods.before(at - rule.window, at, trigger.against, rule.zone)
            now = _ask(rule, NOW, rule.query, at - rule.window, at)
            return now, _ask(rule, BEFORE, rule.query, since, until)
        case Threshold() | Slope() | Break() | Outlier() | Absent():
            return (_ask(rule, NOW, rule.query, at - rule.window, at),)
        case _:
            assert_never(trigger)


def judge(rule: Rule, at: int, points: Mapping[str, Sequence[Point]]) -> Judgement:
    """Judge one scope. points: the answers by the names of the questions, oldest first; missing ones are as empty."""
    trigger = rule.trigger
    now = points.get(NOW, ())
    if isinstance(trigger, Absent):
        return absent.judge(trigger, now, at, rule.window)
    try:
        if not all(isfinite(point.value) for answer in points.values() for point in answer):
            return limits.unknown("a point is no finite number")
        match trigger:
            case Threshold():
                return threshold.judge(trigger, now)
            case DeltaPct():
                return delta.judge(trigger, now, points.get(BEFORE, ()))
            case Slope():
                return slope.judge(trigger, now)
            case Break():
                return cusum.judge(trigger, now)
            case Outlier():
                return outlier.judge(trigger, now)
            case BurnRate():
                return burn_rate.judge(trigger, points)
            case _:
                assert_never(trigger)
    except OverflowError:
        return limits.too_large()


def mildest(trigger: Trigger) -> Severity:
    """Give the mildest severity that a trigger can have."""
    steps = trigger.tiers if isinstance(trigger, BurnRate) else trigger.limits
    return min((step.severity for step in steps), key=severity_rank.__getitem__)


def check(rule: Rule) -> list[tuple[str, str]]:
    """Say all that makes no sense in the trigger of a rule: (key below `trigger`, sentence), in the order of the keys.

    A key is a path: "k", "limits", "limits.0.value", "tiers.1.factor".
    """
    trigger = rule.trigger
    match trigger:
        case Threshold():
            return limits.check(trigger.op, trigger.limits)
        case DeltaPct():
            return delta.check(trigger, rule.window)
        case Slope():
            return slope.check(trigger)
        case Break():
            return cusum.check(trigger)
        case Outlier():
            return outlier.check(trigger)
        case Absent():
            return absent.check(trigger, rule.window)
        case BurnRate():
            return burn_rate.check(trigger)
        case _:
            assert_never(trigger)


def _ask(rule: Rule, name: str, query: str, since: int, until: int) -> Ask:
    return Ask(name=name, query=query, since=since, until=until, step=rule.step, zone=rule.zone)
