"""Slope: the least-squares line over a window. Oracle: scipy.stats.linregress."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from tests.core.rules.rules import AT, a_rule, judged, keys, limits, points

from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND
from tocsin.core.model.rule import Op, Point, Slope
from tocsin.core.rules import triggers
from tocsin.core.rules.triggers.slope import fitted

RISE = Slope(op=Op.GTE, limits=limits(error=10))
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40)


def test_a_straight_line_is_found_as_it_is() -> None:
    said = judged(RISE, [5 + 12 * minute / 60 for minute in range(60)])

    assert said.value == pytest.approx(12)
    assert said.formula == "slope = 12 per hour >= 10 (60 points, r² 1.00)"
    assert said.numbers == {"slope": said.value, "points": 60, "r2": pytest.approx(1)}


@pytest.mark.parametrize(
    ("per", "said"),
    [
        (DAY, "1440 per day"),
        (HOUR, "60 per hour"),
        (MINUTE, "1 per minute"),
        (SECOND, "0.01667 per second"),
        (90 * MINUTE, "90 per 1h30m"),
    ],
)
def test_the_change_is_told_in_the_unit_that_was_asked_for(per: int, said: str) -> None:
    judgement = judged(Slope(op=Op.GT, limits=limits(error=1e6), per=per), range(10))

    assert judgement.formula == f"slope = {said} is not > 1000000 (10 points, r² 1.00)"


def test_what_does_not_vary_has_no_slope_and_no_fit() -> None:
    said = judged(RISE, [5, 5, 5])

    assert (said.value, said.severity) == (0, None)
    assert said.formula == "slope = 0 per hour is not >= 10 (3 points)"
    assert said.numbers == {"slope": 0, "points": 3}


@pytest.mark.parametrize(
    ("off", "said"),
    [(0.0, "r² 1.00)"), (0.6, "r² 0.96)"), (0.2, "r² 0.995)"), (0.03, "r² 0.9999)"), (0.001, "r² > 0.9999)")],
)
def test_a_fit_that_is_not_perfect_is_not_written_as_if_it_were(off: float, said: str) -> None:
    values = [place + off * (-1) ** place for place in range(10)]

    assert judged(Slope(op=Op.GTE, limits=limits(error=1e6)), values).formula.endswith(said)


def test_a_fit_is_never_better_than_perfect() -> None:
    fits = [
        fitted(points([rise * place for place in range(count)]), HOUR).fit
        for rise in range(1, 20)
        for count in range(3, 20)
    ]

    assert all(fit is not None and 1 - 1e-12 < fit <= 1 for fit in fits)


# Anscombe, Graphs in Statistical Analysis, The American Statistician 27, 1973: each of the four sets has the line
# y = 3 + 0.5 x and r² = 0.67. The first and the fourth are here, the latter with eight points at one moment.
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (
            [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5],
            [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68],
        ),
        (
            [8, 8, 8, 8, 8, 8, 8, 19, 8, 8, 8],
            [6.58, 5.76, 7.71, 8.84, 8.47, 7.04, 5.25, 12.50, 5.56, 7.91, 6.89],
        ),
    ],
)
def test_anscombes_sets_have_their_published_line(x: list[int], y: list[float]) -> None:
    line = fitted([Point(AT + at * HOUR, value) for at, value in sorted(zip(x, y, strict=True))], HOUR)

    assert line.slope == pytest.approx(0.5, abs=0.001)
    assert line.fit == pytest.approx(0.67, abs=0.005)


@given(VALUES, st.data())
def test_scipy_finds_the_same_line(values: list[float], data: st.DataObject) -> None:
    moments = data.draw(
        st.lists(st.integers(0, 86_400), min_size=len(values), max_size=len(values)).map(sorted)
    )
    assume(moments[0] != moments[-1])
    given_points = [Point(AT + second * SECOND, value) for second, value in zip(moments, values, strict=True)]

    line = fitted(given_points, HOUR)

    found = stats.linregress([second / 3600 for second in moments], values)
    scale = max(abs(value) for value in values) / (moments[-1] - moments[0]) * 3600
    assert line.slope == pytest.approx(float(found.slope), rel=1e-9, abs=scale * 1e-9)
    if line.fit is not None:
        assert 0 <= line.fit <= 1
        if len({round(value, 3) for value in values}) > 1:
            assert line.fit == pytest.approx(float(found.rvalue) ** 2, abs=1e-6)


@given(VALUES, st.integers(-(10**15), 10**15))
def test_a_slope_does_not_depend_on_the_date(values: list[float], later: int) -> None:
    moved = [Point(point.at + later, point.value) for point in points(values)]

    assert fitted(moved, HOUR) == fitted(points(values), HOUR)


@given(
    st.lists(st.integers(-1000, 1000), min_size=3, max_size=40), st.integers(-1000, 1000), st.integers(1, 50)
)
def test_a_slope_grows_with_its_unit_and_not_with_its_level(
    values: list[int], level: int, scale: int
) -> None:
    line = fitted(points(values), HOUR)

    assert fitted(points([value + level for value in values]), HOUR).slope == pytest.approx(
        line.slope, abs=1e-7
    )
    assert fitted(points([value * scale for value in values]), HOUR).slope == pytest.approx(
        line.slope * scale, abs=1e-6
    )
    assert fitted(points(values), DAY).slope == pytest.approx(24 * line.slope, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "formula"),
    [
        ([], "too little data: 0 points, at least 3 are needed"),
        ([1], "too little data: 1 point, at least 3 are needed"),
        ([1, 2], "too little data: 2 points, at least 3 are needed"),
        ([1e308, -1e308, 1e308], "the numbers are too large to reckon with"),
        ([1.7e308, -1.7e308, 0, 0], "the numbers are too large to reckon with"),
        ([1e200, -1e200, 1e200], "the numbers are too large to reckon with"),
    ],
)
def test_without_enough_to_draw_a_line_nothing_is_said(values: list[float], formula: str) -> None:
    said = judged(RISE, values)

    assert (said.severity, said.value, said.formula) == (None, None, formula)


def test_points_of_one_moment_make_no_line() -> None:
    said = triggers.judge(
        a_rule(RISE), AT, {"now": [Point(AT - 1, 1.0), Point(AT - 1, 2.0), Point(AT - 1, 9.0)]}
    )

    assert (said.value, said.formula) == (None, "too little data: all points are of the same moment")


@pytest.mark.parametrize(("per", "found"), [(HOUR, []), (1, []), (0, ["per"]), (-HOUR, ["per"])])
def test_a_length_that_is_none_is_found(per: int, found: list[str]) -> None:
    assert keys(Slope(op=Op.GT, limits=limits(error=1), per=per)) == found
