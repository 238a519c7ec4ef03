"""CUSUM: has the level shifted for good? Small deviations that do not cancel each other add up until they show."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf, isfinite
from typing import NamedTuple

from tocsin.core.model.rule import Break, Judgement, Op, Point, Side
from tocsin.core.rules.triggers import limits, wording
from tocsin.core.rules.triggers.reduce import median, spread

USUAL_MIN = 8
"""Fewer points do not say what is usual."""

DEVIATION_MAX = 4.0
"""In standard deviations."""


class Sums(NamedTuple):
    """What has added up in each direction; in standard deviations, never negative."""

    up: float
    down: float


def judge(trigger: Break, points: Sequence[Point]) -> Judgement:
    """Hold what has added up at the last point against limits, in the direction that is looked at.

    The first ⌊baseline * n⌋ points say what is usual: their median, and a robust estimate of their standard deviation
    (`reduce.spread`). A deviation counts for DEVIATION_MAX at most, so that a shift shows and a single spike does not.
    Raises: OverflowError.
    """
    values = [point.value for point in points]
    known = int(trigger.baseline * len(values))
    if known < USUAL_MIN:
        return limits.too_little(
            f"{wording.counted(known, 'point')} to say what is usual, at least {USUAL_MIN} are needed"
        )
    before, after = values[:known], values[known:]
    usual = median(before)
    sigma = spread(before, usual)
    *_, sums = steps(after, usual, sigma, trigger.k, most=DEVIATION_MAX)
    upwards = trigger.side is Side.ABOVE or (trigger.side is Side.BOTH and sums.up >= sums.down)
    value = sums.up if upwards else sums.down
    return limits.judged(
        Op.GTE,
        trigger.limits,
        value,
        {"up": sums.up, "down": sums.down, "usual": usual, "spread": sigma},
        lead=f"CUSUM {'up' if upwards else 'down'} = ",
        pair=wording.pair_short,
        tail=f" (usual {wording.number(usual)}, spread {wording.short(sigma)})",
    )


def steps(
    values: Iterable[float], usual: float, sigma: float, k: float, *, most: float = inf
) -> Iterator[Sums]:
    """Add up row by row, from (0, 0): z = (v - usual) / sigma, up = max(0, up + z - k), down = max(0, down - z - k).

    Source: Page, Continuous Inspection Schemes, Biometrika 41, 1954; Montgomery, Introduction to Statistical Quality
    Control, chapter 9 (the tabular CUSUM); NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3.
    sigma: more than 0. most: what z counts for at most, either way; then it is a winsorised CUSUM.
    Raises: OverflowError.
    """
    up = down = 0.0
    for value in values:
        z = (value - usual) / sigma
        if not isfinite(z):
            raise OverflowError("a deviation")  # Comparing would hide what is not a number.
        z = max(-most, min(most, z))
        up, down = max(0.0, up + z - k), max(0.0, down - z - k)
        yield Sums(up, down)


def check(trigger: Break) -> limits.Findings:
    """Say what makes no sense."""
    found = limits.check(Op.GTE, trigger.limits, positive=True)
    if not (isfinite(trigger.k) and trigger.k >= 0):
        found.append(("k", "The slack is in standard deviations. Give 0 or more, such as 0.5."))
    if not 0 < trigger.baseline < 1:
        found.append(
            ("baseline", "This is a share of the window. Give more than 0 and less than 1, such as 0.5.")
        )
    return found
