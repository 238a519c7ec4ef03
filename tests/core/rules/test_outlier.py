"""Outlier: the last point against those before it. Oracles: scipy.stats and statsmodels.robust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels import robust
from tests.core.rules.rules import judged, keys, limits

from tocsin.core.model.rule import Outlier, Side
from tocsin.core.rules.triggers.outlier import modified_z
from tocsin.core.rules.triggers.reduce import median

BEFORE = [1, 2, 3, 4, 5, 6, 7, 8, 9]
"""Median 5, median absolute deviation 2."""
VALUES = st.lists(st.integers(-1000, 1000), min_size=9, max_size=40)


def an_outlier(*, side: Side = Side.BOTH, **by_severity: float) -> Outlier:
    return Outlier(limits=limits(**by_severity or {"error": 3.5}), side=side)


@pytest.mark.parametrize(
    ("side", "last", "value", "formula"),
    [
        (Side.BOTH, 17, 4.047, "modified z = 4.047 >= 3.5 (17 against a median of 5)"),
        (Side.BOTH, -7, 4.047, "modified z downwards = 4.047 >= 3.5 (-7 against a median of 5)"),
        (Side.BOTH, 7, 0.6745, "modified z = 0.6745 is not >= 3.5 (7 against a median of 5)"),
        (Side.ABOVE, 17, 4.047, "modified z = 4.047 >= 3.5 (17 against a median of 5)"),
        (Side.ABOVE, -7, -4.047, "modified z = -4.047 is not >= 3.5 (-7 against a median of 5)"),
        (Side.BELOW, -7, 4.047, "modified z downwards = 4.047 >= 3.5 (-7 against a median of 5)"),
        (Side.BELOW, 17, -4.047, "modified z downwards = -4.047 is not >= 3.5 (17 against a median of 5)"),
    ],
)
def test_the_last_point_is_told_with_its_distance(
    side: Side, last: float, value: float, formula: str
) -> None:
    said = judged(an_outlier(side=side), [*BEFORE, last])

    assert said.value == pytest.approx(value)
    assert said.formula == formula
    assert said.severity == (None if " is not " in formula else "error")
    assert said.numbers == {"z": pytest.approx(0.6745 * (last - 5) / 2), "last": last, "median": 5}


def test_most_points_being_the_same_is_still_a_spread() -> None:
    said = judged(an_outlier(), [100] * 9 + [110] + [105])

    assert said.value == pytest.approx(5 / 1.253314)


def test_where_all_were_the_same_one_percent_is_the_spread() -> None:
    same = judged(an_outlier(), [5] * 9)
    other = judged(an_outlier(), [5] * 8 + [6])
    near = judged(an_outlier(), [1000] * 8 + [1001])

    assert (same.value, same.formula) == (0, "modified z = 0 is not >= 3.5 (5 against a median of 5)")
    assert (other.value, other.severity) == (pytest.approx(20), "error")
    assert near.severity is None


def test_a_counter_that_always_was_0_stands_out_once_it_is_not() -> None:
    assert judged(an_outlier(), [0] * 20 + [1]).severity == "error"
    assert judged(an_outlier(), [0] * 20 + [0]).severity is None


@pytest.mark.parametrize(
    ("values", "formula"),
    [
        ([], "too little data: 0 points before the last one, at least 8 are needed"),
        ([1], "too little data: 0 points before the last one, at least 8 are needed"),
        ([1, 2], "too little data: 1 point before the last one, at least 8 are needed"),
        (range(8), "too little data: 7 points before the last one, at least 8 are needed"),
        ([1e308] * 4 + [-1e308] * 4 + [1], "the numbers are too large to reckon with"),
        ([0] * 7 + [5e-320, 1e300], "the numbers are too large to reckon with"),
    ],
)
def test_without_enough_before_it_nothing_is_said(values: list[float], formula: str) -> None:
    said = judged(an_outlier(), values)

    assert (said.severity, said.value, said.formula) == (None, None, formula)


@given(VALUES, st.integers(-5000, 5000))
def test_scipy_and_statsmodels_measure_the_same_distance(values: list[int], last: int) -> None:
    before = [float(value) for value in values]
    middle = median(before)

    z = modified_z(before, middle, last)

    deviation = float(stats.median_abs_deviation(before))
    if deviation > 0:
        assert z == pytest.approx(0.6745 * (last - middle) / deviation)
        assert z == pytest.approx((last - middle) / float(robust.mad(before)), rel=1e-4)
    else:
        assert (z is None) == (before == [middle] * len(before) and last != middle)


@given(VALUES, st.integers(-1000, 1000), st.integers(1, 50), st.sampled_from(Side))
def test_a_distance_depends_on_neither_level_nor_unit(
    values: list[int], level: int, scale: int, side: Side
) -> None:
    said = judged(an_outlier(side=side), values)
    moved = judged(an_outlier(side=side), [value * scale + level for value in values])

    if said.value is None:
        assert moved.value is None
    else:
        assert moved.value == pytest.approx(said.value, abs=1e-9)


@pytest.mark.parametrize(
    ("trigger", "found"),
    [
        (an_outlier(), []),
        (an_outlier(warning=3.5, error=5), []),
        (an_outlier(warning=0), ["limits.0.value"]),
        (an_outlier(warning=5, error=3.5), ["limits.1"]),
    ],
)
def test_what_makes_no_sense_is_found(trigger: Outlier, found: list[str]) -> None:
    assert keys(trigger) == found
