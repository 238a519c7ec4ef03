"""CUSUM: has the level shifted for good? Oracles: two published tables, row by row."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels import robust
from tests.core.rules.rules import judged, keys, limits

from tocsin.core.model.rule import Break, Side
from tocsin.core.rules.triggers import cusum
from tocsin.core.rules.triggers.reduce import median, spread

# Montgomery, Introduction to Statistical Quality Control, table 9.1: 20 samples of N(10, 1), then 10 of N(11, 1).
MONTGOMERY = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
    *(9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]
# His table 9.2, the upper sums for K = 0.5.
MONTGOMERY_UP = [
    *(0, 0, 0, 1.16, 2.82, 2.50, 0.04, 1.00, 0, 0, 0, 0.97, 0.98, 0, 0),
    *(0, 0.12, 0, 0, 0.34, 0.74, 0, 1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28, 5.30),
]
# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3: target 325, k = 0.3175, h = 4.1959.
NIST = [
    *(324.925, 324.675, 324.725, 324.350, 325.350, 325.225, 324.125, 324.525, 325.225, 324.600),
    *(324.625, 325.150, 328.325, 327.250, 327.825, 328.500, 326.675, 327.775, 326.875, 328.350),
]
NIST_UP = [0, 0, 0, 0, 0.03, 0, 0, 0, 0, 0, 0, 0, 3.01, 4.94, 7.45, 10.63, 11.99, 14.44, 16.00, 19.04]

STEADY = [100, 101, 99, 100, 102, 98, 100, 101, 99, 100]
VALUES = st.lists(st.integers(-1000, 1000), min_size=20, max_size=60)


def a_break(*, side: Side = Side.BOTH, k: float = 0.5, baseline: float = 0.5, **by_severity: float) -> Break:
    return Break(limits=limits(**by_severity or {"error": 5}), side=side, k=k, baseline=baseline)


def test_montgomerys_table_comes_out_row_by_row() -> None:
    rows = list(cusum.steps(MONTGOMERY, 10, 1, 0.5))

    assert [round(row.up, 2) for row in rows] == MONTGOMERY_UP
    assert [period for period, row in enumerate(rows, 1) if row.up > 5] == [29, 30]
    assert not any(row.down > 5 for row in rows)


def test_nists_table_comes_out_row_by_row() -> None:
    rows = list(cusum.steps(NIST, 325, 1, 0.3175))

    assert [row.up for row in rows] == pytest.approx(NIST_UP, abs=0.0051)  # It is printed with two decimals.
    assert next(group for group, row in enumerate(rows, 1) if row.up > 4.1959) == 14


def test_the_sums_count_in_standard_deviations() -> None:
    scaled = list(cusum.steps([value * 4 for value in MONTGOMERY], 40, 4, 0.5))

    for row, expected in zip(scaled, cusum.steps(MONTGOMERY, 10, 1, 0.5), strict=True):
        assert row == pytest.approx(expected)


def test_a_lasting_shift_is_told_with_what_is_usual() -> None:
    said = judged(a_break(), STEADY + [102] * 10)

    assert said.formula == "CUSUM up = 8.49 >= 5 (usual 100, spread 1.483)"
    assert said.value == pytest.approx(10 * (2 / 1.4826 - 0.5))
    assert (said.severity, said.limit) == ("error", 5)
    assert said.numbers == {"up": said.value, "down": 0, "usual": 100, "spread": 1.4826}


def test_what_only_swings_does_not_add_up() -> None:
    said = judged(a_break(), STEADY + STEADY)

    assert said.severity is None
    assert " is not >= 5 (" in said.formula


@pytest.mark.parametrize(
    ("side", "level", "severity", "direction"),
    [
        (Side.BOTH, 97, "error", "down"),
        (Side.BELOW, 97, "error", "down"),
        (Side.ABOVE, 97, None, "up"),
        (Side.BOTH, 103, "error", "up"),
        (Side.BELOW, 103, None, "down"),
        (Side.ABOVE, 103, "error", "up"),
    ],
)
def test_only_the_wanted_direction_counts(
    side: Side, level: float, severity: str | None, direction: str
) -> None:
    said = judged(a_break(side=side), STEADY + [level] * 10)

    assert said.severity == severity
    assert said.formula.startswith(f"CUSUM {direction} = ")
    assert (said.value == 0) == (severity is None)


def test_it_is_over_once_the_last_points_made_up_for_it() -> None:
    assert judged(a_break(baseline=0.4), STEADY + [103] * 5 + [90] * 10).formula.startswith("CUSUM down = ")
    assert judged(a_break(side=Side.ABOVE, baseline=0.4), STEADY + [103] * 5 + [90] * 10).value == 0


def test_most_points_being_the_same_is_still_a_spread() -> None:
    before = [100] * 9 + [110]

    said = judged(a_break(), before + [105] * 10)

    assert said.numbers["spread"] == pytest.approx(1.253314 * 1)  # The deviations are 0 nine times, and 10.
    assert said.severity == "error"


@pytest.mark.parametrize(
    ("values", "formula"),
    [
        ([], "too little data: 0 points to say what is usual, at least 8 are needed"),
        (range(3), "too little data: 1 point to say what is usual, at least 8 are needed"),
        (range(15), "too little data: 7 points to say what is usual, at least 8 are needed"),
        ([1e308, -1e308] * 10, "the numbers are too large to reckon with"),
        ([0] * 7 + [5e-320] + [1] * 8, "the numbers are too large to reckon with"),
    ],
)
def test_without_a_notion_of_what_is_usual_nothing_is_said(values: list[float], formula: str) -> None:
    said = judged(a_break(), values)

    assert (said.severity, said.value, said.formula) == (None, None, formula)


def test_a_deviation_without_room_for_it_does_not_cancel_another() -> None:
    with pytest.raises(OverflowError):
        list(cusum.steps([1e308, -1e308], -1e308, 1, 0.5))


def test_what_never_changes_has_not_shifted() -> None:
    said = judged(a_break(), [100] * 20)

    assert (said.severity, said.value) == (None, 0)
    assert said.formula == "CUSUM up = 0 is not >= 5 (usual 100, spread 1)"


def test_what_never_changed_and_then_does_has_shifted() -> None:
    said = judged(a_break(), [100] * 10 + [102] * 10)

    assert (said.severity, said.value) == ("error", 15)  # Each deviates by two standard deviations of 1 %.
    assert judged(a_break(), [100] * 10 + [100.1] * 10).severity is None


def test_one_spike_is_no_shift() -> None:
    usual = [48, 50, 52] * 8

    assert judged(a_break(), [*usual, *usual, 900]).severity is None
    assert judged(a_break(), [*usual, *usual, 900, 900]).severity == "error"


def test_the_share_that_is_usual_is_rounded_down() -> None:
    assert judged(a_break(baseline=0.5), range(17)).numbers["usual"] == 3.5
    assert judged(a_break(baseline=0.99), range(17)).numbers["usual"] == 7.5


@given(VALUES)
def test_scipy_and_statsmodels_find_the_same_spread(values: list[int]) -> None:
    numbers = [float(value) for value in values]

    found = spread(numbers, median(numbers))

    if (expected := float(stats.median_abs_deviation(numbers, scale="normal"))) > 0:
        assert found == pytest.approx(expected, rel=1e-4)
        assert found == pytest.approx(float(robust.mad(numbers)), rel=1e-4)
    elif any(away := [abs(number - median(numbers)) for number in numbers]):
        assert found == pytest.approx(math.sqrt(math.pi / 2) * sum(away) / len(away), rel=1e-6)
    else:
        assert found == pytest.approx(abs(numbers[0]) / 100 or 1e-6)


@given(VALUES, st.integers(-1000, 1000), st.integers(1, 50), st.sampled_from(Side))
def test_a_shift_depends_on_neither_level_nor_unit(
    values: list[int], level: int, scale: int, side: Side
) -> None:
    said = judged(a_break(side=side), values)
    moved = judged(a_break(side=side), [value * scale + level for value in values])

    if said.value is None:
        assert moved.value is None
    else:
        assert moved.value == pytest.approx(said.value, abs=1e-6)


@given(VALUES)
def test_mirrored_numbers_shift_the_other_way(values: list[int]) -> None:
    up = judged(a_break(side=Side.ABOVE), values)
    down = judged(a_break(side=Side.BELOW), [-value for value in values])

    assert up.value == down.value


@pytest.mark.parametrize(
    ("trigger", "found"),
    [
        (a_break(), []),
        (a_break(k=0), []),
        (a_break(k=-0.1), ["k"]),
        (a_break(k=math.nan), ["k"]),
        (a_break(k=math.inf), ["k"]),
        (a_break(baseline=0), ["baseline"]),
        (a_break(baseline=1), ["baseline"]),
        (a_break(baseline=math.nan), ["baseline"]),
        (a_break(error=0), ["limits.0.value"]),
        (a_break(error=-5), ["limits.0.value"]),
        (a_break(warning=8, error=5, k=-1, baseline=2), ["limits.1", "k", "baseline"]),
    ],
)
def test_what_makes_no_sense_is_found(trigger: Break, found: list[str]) -> None:
    assert keys(trigger) == found
