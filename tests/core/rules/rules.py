"""Rules and points that show only what matters to a test."""

from collections.abc import Iterable

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import HOUR, MINUTE
from tocsin.core.model.rule import Interval, Judgement, Limit, Limits, Point, Rule, Trigger
from tocsin.core.rules import triggers

AT = 1_800_000_000_000_000
"""2027-01-15 08:00 UTC."""


def a_rule(
    trigger: Trigger, *, window: int = HOUR, query: str = "q", step: int = 0, zone: str = "UTC"
) -> Rule:
    return Rule(
        rule_id="r",
        source="s",
        query=query,
        every=Interval(MINUTE),
        window=window,
        trigger=trigger,
        step=step,
        zone=zone,
    )


def limits(**by_severity: float) -> Limits:
    """Write limits as `limits(warning=80, critical=90)`."""
    return tuple(Limit(float(value), Severity(severity)) for severity, value in by_severity.items())


def points(values: Iterable[float], *, apart: int = MINUTE) -> tuple[Point, ...]:
    """Give points of the same distance, the last one that much before AT."""
    values = list(values)
    return tuple(Point(AT - (len(values) - place) * apart, value) for place, value in enumerate(values))


def judged(trigger: Trigger, now: Iterable[float], before: Iterable[float] = ()) -> Judgement:
    """Judge an hour of points, and of those before."""
    return triggers.judge(a_rule(trigger), AT, {"now": points(now), "before": points(before)})


def keys(trigger: Trigger, *, window: int = HOUR) -> list[str]:
    """Give the keys that make no sense."""
    return [key for key, _ in triggers.check(a_rule(trigger, window=window))]
