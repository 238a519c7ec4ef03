"""Glance: one look at a rule of which nobody is told and that nothing remembers, for people who want to see.

Unlike a look that counts, it also says of each scope why nothing can be said of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import assert_never

import msgspec

from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.rule import (
    Absent,
    Break,
    BurnRate,
    DeltaPct,
    Judgement,
    Limit,
    Limits,
    NoData,
    Outlier,
    Point,
    Reduce,
    Rule,
    Series,
    Slope,
    Threshold,
    Tier,
)
from tocsin.core.rules import evaluate, triggers
from tocsin.core.rules.triggers import burn_rate, wording

POINTS_MAX = 2_000
"""Of more points in one series, so many are shown, evenly thinned."""

NO_DATA = {
    NoData.OK: "no data, which is a green look",
    NoData.FIRING: "no data, which is a wrong look",
    NoData.KEEP: "no data, so nothing is said",
}


class Verdict(StrEnum):
    """What a glance at one scope came to."""

    FIRING = "firing"
    GREEN = "green"
    TOO_LITTLE = "too little data"
    NO_DATA = "no data"


class Burned(msgspec.Struct, frozen=True, kw_only=True):
    """How fast an error budget burned over the windows of a tier, 1 for as fast as it may; None without an answer."""

    tier: Tier
    long: float | None
    short: float | None


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen of one scope. points: those of the rule's first question, oldest first.

    lines: the limits as the points would pass them, () where they cannot be compared with single points.
    burns: each tier of a burn rate, () for any other trigger.
    """

    scope: dict[str, str]
    verdict: Verdict
    judgement: Judgement
    points: tuple[Point, ...]
    lines: Limits
    burns: tuple[Burned, ...] = ()


def glance(rule: Rule, at: int, answers: Mapping[str, Sequence[Series]]) -> tuple[Glance, ...]:
    """Judge the answers to a rule's questions at a moment, each scope by itself, in their order.

    A rule of which nothing is there has one scope, of which there is no data.
    Raises: Invalid if the answers cannot be told apart, or are too many.
    """
    given = evaluate.by_scope(rule, answers)
    if not given:
        whole = CANONICAL.encode(evaluate.fixed_scope(rule)).decode()
        given = {whole: {}}
    return tuple(_glance(rule, at, key, points) for key, points in sorted(given.items()))


def _glance(rule: Rule, at: int, key: str, points: Mapping[str, Sequence[Point]]) -> Glance:
    if points or isinstance(rule.trigger, Absent):
        judgement = triggers.judge(rule, at, points)
        verdict = Verdict.GREEN if judgement.severity is None else Verdict.FIRING
        if judgement.value is None:
            verdict = Verdict.TOO_LITTLE
    else:
        severity = triggers.mildest(rule.trigger) if rule.no_data is NoData.FIRING else None
        judgement = Judgement(severity=severity, value=None, limit=None, formula=NO_DATA[rule.no_data])
        verdict = Verdict.NO_DATA
    return Glance(
        scope=msgspec.json.decode(key, type=dict[str, str]),
        verdict=verdict,
        judgement=judgement,
        points=_thinned(next(iter(points.values()), ())),
        lines=_lines(rule, judgement),
        burns=tuple(_burned(rule.trigger, points)) if isinstance(rule.trigger, BurnRate) else (),
    )


def _burned(trigger: BurnRate, points: Mapping[str, Sequence[Point]]) -> Iterator[Burned]:
    for tier in trigger.tiers:
        long, short = (_rate(trigger, points, window) for window in (tier.long, tier.short))
        yield Burned(tier=tier, long=long, short=short)


def _rate(trigger: BurnRate, points: Mapping[str, Sequence[Point]], window: int) -> float | None:
    """Give how fast the budget burned over a window; None without an answer, or for numbers nobody can reckon with."""
    good, total = (points.get(f"{which} {wording.duration(window)}") for which in ("good", "total"))
    if not good or not total or not (isfinite(good[-1].value) and isfinite(total[-1].value)):
        return None
    try:
        return burn_rate.burn(trigger.objective, good[-1].value, total[-1].value).rate
    except OverflowError:
        return None


def _lines(rule: Rule, judgement: Judgement) -> Limits:
    trigger = rule.trigger
    match trigger:
        case Threshold(reduce=Reduce.SUM | Reduce.COUNT):
            return ()
        case Threshold():
            return trigger.limits
        case DeltaPct(reduce=Reduce.SUM | Reduce.COUNT):
            return ()
        case DeltaPct():
            before = judgement.numbers.get("before")
            if before is None:
                return ()
            moved = [Limit(before + abs(before) * one.value / 100, one.severity) for one in trigger.limits]
            return tuple(one for one in moved if isfinite(one.value))
        case Slope() | Break() | Outlier() | Absent() | BurnRate():
            return ()
        case _:
            assert_never(trigger)


def _thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    if len(points) <= POINTS_MAX:
        return tuple(points)
    return tuple(points[number * (len(points) - 1) // (POINTS_MAX - 1)] for number in range(POINTS_MAX))
