"""Threshold: one number against limits."""

from collections.abc import Sequence

from tocsin.core.model.rule import Judgement, Point, Threshold
from tocsin.core.rules.triggers import limits
from tocsin.core.rules.triggers.reduce import reduce


def judge(trigger: Threshold, points: Sequence[Point]) -> Judgement:
    """Hold `reduce(points) op limit`. Raises: OverflowError."""
    if not points:
        return limits.too_little("no point")
    value = reduce(points, trigger.reduce)
    return limits.judged(
        trigger.op, trigger.limits, value, {trigger.reduce.value: value}, lead=f"{trigger.reduce} = "
    )
