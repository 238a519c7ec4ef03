"""Absent: how long nothing came."""

from collections.abc import Sequence
from math import isfinite

from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import Absent, Judgement, Op, Point
from tocsin.core.rules.triggers import limits, wording


def judge(trigger: Absent, points: Sequence[Point], at: int, window: int) -> Judgement:
    """Hold the seconds since the newest point against limits; without any it is at least the whole window.

    What counts is when the points are, not what they say. One that is later than the look is as new as can be.
    """
    age = max(0, at - max(point.at for point in points)) if points else window
    value = age / SECOND
    return limits.judged(
        Op.GTE,
        trigger.limits,
        value,
        {"age_s": value},
        lead="nothing for " if points else "nothing for at least ",
        pair=wording.pair_of_seconds,
    )


def check(trigger: Absent, window: int) -> limits.Findings:
    """Say what makes no sense."""
    found = limits.check(Op.GTE, trigger.limits, positive=True)
    for place, limit in enumerate(trigger.limits):
        if isfinite(limit.value) and limit.value > window / SECOND:
            found.append(
                (
                    f"limits.{place}.value",
                    f"A look covers {wording.duration(window)} and never sees that nothing came for longer. Give a "
                    f"longer window, or at most {wording.number(window / SECOND, wording.DIGITS_EXACT)} seconds.",
                )
            )
    return found
