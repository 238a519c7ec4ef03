"""Reduce: many numbers become one. Sums are those of `math.fsum`, so that the order of the points never shows."""

from collections.abc import Iterable, Sequence
from math import fsum, isfinite
from typing import assert_never

from tocsin.core.model.rule import Point, Reduce

MAD_TO_SIGMA = 1.4826
"""1 / the third quartile of the standard normal distribution: a median absolute deviation becomes a standard one."""

NEXT_TO_NOTHING = 1e-6
"""The spread of numbers that are all 0."""

MEAN_AD_TO_SIGMA = 1.253314
"""The square root of pi / 2: a mean absolute deviation becomes a standard one, if the distribution is normal."""


def reduce(points: Sequence[Point], how: Reduce) -> float:
    """Make one number of the points of a window; at least one, oldest first. Raises: OverflowError."""
    values = [point.value for point in points]
    match how:
        case Reduce.LAST:
            return values[-1]
        case Reduce.FIRST:
            return values[0]
        case Reduce.MEAN:
            return mean(values)
        case Reduce.MEDIAN:
            return median(values)
        case Reduce.SUM:
            return total(values)
        case Reduce.MIN:
            return min(values)
        case Reduce.MAX:
            return max(values)
        case Reduce.COUNT:
            return float(len(values))
        case _:
            assert_never(how)


def total(values: Iterable[float]) -> float:
    """Add up, rounding once (Shewchuk 1997). Raises: OverflowError, also if a number was infinite already."""
    try:
        found = fsum(values)
    except ValueError:
        raise OverflowError("infinities of both signs") from None
    if not isfinite(found):
        raise OverflowError("an infinity")
    return found


def mean(values: Sequence[float]) -> float:
    """Give the arithmetic mean of at least one number. Raises: OverflowError."""
    return total(values) / len(values)


def median(values: Iterable[float]) -> float:
    """Give the number in the middle, or the mean of the two that are; infinity if there is no room for it."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def deviations(values: Sequence[float], middle: float) -> tuple[float, float]:
    """Give the median and the mean of the absolute deviations from the middle. Raises: OverflowError."""
    away = [abs(value - middle) for value in values]
    return median(away), mean(away)


def least_spread(middle: float) -> float:
    """Give the spread that stands in where all numbers are the same: 1 % of them, or next to nothing if they are 0.

    So a counter that always was 0 and is 5 stands out, and one that went from 1,000 to 1,001 does not.
    """
    return abs(middle) / 100 or NEXT_TO_NOTHING


def spread(values: Sequence[float], middle: float) -> float:
    """Estimate a standard deviation that outliers do not carry away; if all the numbers are the same, `least_spread`.

    1.4826 * MAD; where more than half of the numbers are the same (MAD = 0) 1.253314 * the mean absolute deviation.
    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993; the fallback as in IBM SPSS Statistics
    (Modified Z score). Raises: OverflowError.
    """
    by_median, by_mean = deviations(values, middle)
    return MAD_TO_SIGMA * by_median or MEAN_AD_TO_SIGMA * by_mean or least_spread(middle)
