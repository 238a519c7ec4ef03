"""Slope: how fast a number rises or falls over the window."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from tocsin.core.model.rule import Judgement, Point, Slope
from tocsin.core.rules.triggers import limits, wording
from tocsin.core.rules.triggers.reduce import mean, total

POINTS_MIN = 3
"""Through two points every line is perfect."""


ROUNDING = 1e-12
"""A perfect line may be so far from r² = 1 by the rounding of floats alone."""


class Line(NamedTuple):
    """A fitted line. fit: r², the share of the variance that it explains, 0 to 1; None if nothing varies."""

    slope: float
    fit: float | None


def judge(trigger: Slope, points: Sequence[Point]) -> Judgement:
    """Hold the slope of the least-squares line, as change in each `per`, against limits. Raises: OverflowError."""
    if len(points) < POINTS_MIN:
        return limits.too_little(f"{wording.counted(len(points), 'point')}, at least {POINTS_MIN} are needed")
    if all(point.at == points[0].at for point in points):
        return limits.too_little("all points are of the same moment")
    line = fitted(points, trigger.per)
    numbers = {"slope": line.slope, "points": len(points)}
    about = wording.counted(len(points), "point")
    if line.fit is not None:
        numbers["r2"] = line.fit
        about += f", r² {_fit(line.fit)}"
    return limits.judged(
        trigger.op,
        trigger.limits,
        line.slope,
        numbers,
        lead="slope = ",
        pair=wording.pair_short,
        tail=f" ({about})",
        units=(f" per {wording.each(trigger.per)}", ""),
    )


def fitted(points: Sequence[Point], per: int) -> Line:
    """Fit v = a + slope * t by ordinary least squares, both centred; t in units of `per`.

    slope = Σ(t - t̄)(v - v̄) / Σ(t - t̄)²; r² = (Σ(t - t̄)(v - v̄))² / (Σ(t - t̄)² Σ(v - v̄)²).
    Source: Montgomery, Peck and Vining, Introduction to Linear Regression Analysis, 2.2; NIST/SEMATECH e-Handbook of
    Statistical Methods, 4.1.4.1. The moments are centred as whole numbers, so a fit does not change with the date.
    points: of at least two moments. Raises: OverflowError.
    """
    count = len(points)
    moments = sum(point.at for point in points)
    times = [(count * point.at - moments) / (count * per) for point in points]
    middle = mean([point.value for point in points])
    values = [point.value - middle for point in points]
    spread_time = total(time * time for time in times)
    spread_value = total(value * value for value in values)
    together = total(time * value for time, value in zip(times, values, strict=True))
    fit = None
    if spread_value > 0:
        fit = min(1.0, (together / sqrt(spread_time) / sqrt(spread_value)) ** 2)
    return Line(together / spread_time, fit)


def _fit(fit: float) -> str:
    """Write how well a line fits; one that does not fit all points is never said to: 0.9953 is 0.995, not 1.00."""
    if fit >= 1 - ROUNDING:
        return "1.00"
    texts = (f"{fit:.{digits}f}" for digits in (2, 3, 4))
    return next((text for text in texts if float(text) < 1), "> 0.9999")


def check(trigger: Slope) -> limits.Findings:
    """Say what makes no sense."""
    found = limits.check(trigger.op, trigger.limits)
    if trigger.per <= 0:
        found.append(("per", "A slope is the change in a length of time. Give more than 0s, such as 1h."))
    return found
