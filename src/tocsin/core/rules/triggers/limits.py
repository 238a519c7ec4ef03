"""Limits: which of them a number passes, and how that is said."""

import operator
from collections.abc import Callable, Mapping
from math import isfinite

from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.rule import Judgement, Limit, Limits, Op
from tocsin.core.rules.triggers import wording

Findings = list[tuple[str, str]]
"""What makes no sense: (key below `trigger`, sentence)."""

_PASSES: dict[Op, Callable[[float, float], bool]] = {
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
}
_SIGNS = {Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">=", Op.EQ: "==", Op.NE: "!="}
_UPWARDS = (Op.GT, Op.GTE)


def passes(op: Op, value: float, limit: float) -> bool:
    """Compare exactly, as floats."""
    return _PASSES[op](value, limit)


def counting(op: Op, limits: Limits, value: float) -> tuple[Severity | None, float]:
    """Give the most severe limit that is passed; else None, and the one that is nearest to that."""
    passed = [limit for limit in limits if passes(op, value, limit.value)]
    if passed:
        worst = max(passed, key=lambda limit: severity_rank[limit.severity])
        return worst.severity, worst.value
    nearest = min(limits, key=lambda limit: (abs(limit.value - value), severity_rank[limit.severity]))
    return None, nearest.value


def relation(
    op: Op,
    value: float,
    limit: float,
    units: tuple[str, str] = ("", ""),
    pair: Callable[[float, float], tuple[str, str]] = wording.pair,
) -> str:
    """Say how a number stands to a limit, so that it is true also of what is written: `97.2 > 90`, `50 is not > 90`.

    units: what is written after the number, and after the limit; pair: how the two are written.
    """
    number, border = pair(value, limit)
    not_passed = "" if passes(op, value, limit) else "is not "
    return f"{number}{units[0]} {not_passed}{_SIGNS[op]} {border}{units[1]}"


def judged(
    op: Op,
    limits: Limits,
    value: float,
    numbers: Mapping[str, float],
    *,
    lead: str,
    tail: str = "",
    units: tuple[str, str] = ("", ""),
    pair: Callable[[float, float], tuple[str, str]] = wording.pair,
) -> Judgement:
    """Hold a number against limits. lead, tail: what its formula begins and ends with."""
    if not all(map(isfinite, (value, *numbers.values()))):
        return too_large()
    severity, limit = counting(op, limits, value)
    return Judgement(
        severity=severity,
        value=float(value),
        limit=limit,
        formula=f"{lead}{relation(op, value, limit, units, pair)}{tail}",
        numbers={name: float(number) for name, number in numbers.items()},
    )


def unknown(why: str) -> Judgement:
    """Say that nothing can be said, and why."""
    return Judgement(severity=None, value=None, limit=None, formula=why)


def too_little(what: str) -> Judgement:
    """Say that nothing can be said, because there is too little of something."""
    return unknown(f"too little data: {what}")


def too_large() -> Judgement:
    """Say that nothing can be said, because a float (IEEE 754 binary64) has no room for the result."""
    return unknown("the numbers are too large to reckon with")


def check(op: Op, limits: Limits, *, positive: bool = False) -> Findings:
    """Say what makes no sense in limits. positive: they must be more than 0."""
    if not limits:
        return [("limits", "A trigger needs a limit. Give at least one, with its severity.")]
    found: Findings = []
    for place, limit in enumerate(limits):
        key = f"limits.{place}.value"
        if not isfinite(limit.value):
            found.append((key, f"{limit.value} is no finite number. Give one such as 90."))
        elif positive and limit.value <= 0:
            found.append((key, f"{wording.number(limit.value)} is always passed. Give more than 0."))
    if found:
        return found  # What is no number stands in no order.
    if op in (Op.EQ, Op.NE) and len(limits) > 1:
        return [("limits", f"With {op} only one limit can be meant. Give one, or take another op.")]
    return _check_order(op, limits)


def _check_order(op: Op, limits: Limits) -> Findings:
    found: Findings = []
    for place, limit in enumerate(limits):
        for other in limits[:place]:
            if (sentence := _contradiction(op, limit, other)) is not None:
                found.append((f"limits.{place}", sentence))
                break
    return found


def _contradiction(op: Op, limit: Limit, other: Limit) -> str | None:
    border = wording.number(limit.value, wording.DIGITS_EXACT)
    if limit.value == other.value:
        return f"The limit {border} is there twice. Give each severity a limit of its own."
    if limit.severity is other.severity:
        return f"{limit.severity} has two limits, of which the further one never counts. Leave it out."
    mild, severe = sorted((limit, other), key=lambda one: severity_rank[one.severity])
    nearer = severe.value < mild.value if op in _UPWARDS else severe.value > mild.value
    if nearer:
        where = "higher" if op in _UPWARDS else "lower"
        return (
            f"{severe.severity} begins at {wording.number(severe.value)}, before {mild.severity} at "
            f"{wording.number(mild.value)}, which could never be said. The more severe limit is the {where} one."
        )
    return None
