"""Outlier: does the last point look like those before it?"""

from collections.abc import Sequence

from tocsin.core.model.rule import Judgement, Op, Outlier, Point, Side
from tocsin.core.rules.triggers import limits, wording
from tocsin.core.rules.triggers.reduce import MEAN_AD_TO_SIGMA, deviations, least_spread, median

BEFORE_MIN = 8
"""Fewer points do not say what is usual."""


def judge(trigger: Outlier, points: Sequence[Point]) -> Judgement:
    """Hold the modified z-score of the last point, in the direction that is looked at, against limits.

    Raises: OverflowError.
    """
    if len(points) <= BEFORE_MIN:
        return limits.too_little(
            f"{wording.counted(max(0, len(points) - 1), 'point')} before the last one, at least {BEFORE_MIN} are needed"
        )
    *before, last = [point.value for point in points]
    middle = median(before)
    z = modified_z(before, middle, last)
    downwards = trigger.side is Side.BELOW or (trigger.side is Side.BOTH and z < 0)
    return limits.judged(
        Op.GTE,
        trigger.limits,
        -z if downwards else z,
        {"z": z, "last": last, "median": middle},
        lead=f"modified z{' downwards' if downwards else ''} = ",
        pair=wording.pair_short,
        tail=f" ({wording.number(last)} against a median of {wording.number(middle)})",
    )


def modified_z(before: Sequence[float], middle: float, last: float) -> float:
    """Give 0.6745 * (last - median) / MAD; MAD is the median of the absolute deviations from the median.

    Where more than half of the points are the same (MAD = 0): (last - median) / (1.253314 * mean absolute deviation).
    If all of them are the same: (last - median) / `reduce.least_spread`.
    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, who call 3.5 and more an outlier;
    NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17; the fallback as in IBM SPSS Statistics (Modified Z
    score).
    middle: the median of `before`. Raises: OverflowError.
    """
    by_median, by_mean = deviations(before, middle)
    if by_median > 0:
        return 0.6745 * (last - middle) / by_median
    if by_mean > 0:
        return (last - middle) / (MEAN_AD_TO_SIGMA * by_mean)
    return (last - middle) / least_spread(middle)


def check(trigger: Outlier) -> limits.Findings:
    """Say what makes no sense."""
    return limits.check(Op.GTE, trigger.limits, positive=True)
