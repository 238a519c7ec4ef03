"""Threshold: one number against limits; and what all triggers with limits have in common."""

import math
from statistics import fmean
from statistics import median as the_median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.rules.rules import AT, a_rule, judged, keys, limits

from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.rule import Op, Reduce, Threshold
from tocsin.core.rules import triggers
from tocsin.core.rules.triggers import wording
from tocsin.core.rules.triggers.limits import counting, passes
from tocsin.core.rules.triggers.reduce import total

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def above(**by_severity: float) -> Threshold:
    return Threshold(op=Op.GT, limits=limits(**by_severity))


@pytest.mark.parametrize(
    ("op", "value", "limit", "formula"),
    [
        (Op.GT, 97.2, 90, "last = 97.2 > 90"),
        (Op.GT, 90, 90, "last = 90 is not > 90"),
        (Op.GTE, 90, 90, "last = 90 >= 90"),
        (Op.GTE, 50, 90, "last = 50 is not >= 90"),
        (Op.LT, 50, 90, "last = 50 < 90"),
        (Op.LT, 90, 90, "last = 90 is not < 90"),
        (Op.LTE, 90, 90, "last = 90 <= 90"),
        (Op.LTE, 91, 90, "last = 91 is not <= 90"),
        (Op.EQ, 5, 5, "last = 5 == 5"),
        (Op.EQ, 4, 5, "last = 4 is not == 5"),
        (Op.NE, 4, 5, "last = 4 != 5"),
        (Op.NE, 5, 5, "last = 5 is not != 5"),
    ],
)
def test_a_number_is_compared_exactly_and_what_is_said_is_true(
    op: Op, value: float, limit: float, formula: str
) -> None:
    said = judged(Threshold(op=op, limits=limits(error=limit)), [value])

    assert said.formula == formula
    assert said.severity == (None if " is not " in formula else Severity.ERROR)
    assert (said.value, said.limit, said.numbers) == (value, limit, {"last": value})


def test_numbers_that_differ_too_little_for_six_digits_get_more_of_them() -> None:
    said = judged(above(error=90), [90.00000001])

    assert said.formula == "last = 90.00000001 > 90"


@pytest.mark.parametrize(
    ("value", "severity", "limit"),
    [(70, None, 80), (80, None, 80), (85, "warning", 80), (95, "error", 90), (99, "critical", 97)],
)
def test_the_most_severe_limit_that_is_passed_counts_else_the_nearest(
    value: float, severity: str | None, limit: float
) -> None:
    said = judged(above(critical=97, warning=80, error=90), [value])

    assert (said.severity, said.limit) == (severity, limit)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Reduce.LAST, 2),
        (Reduce.FIRST, 5),
        (Reduce.MEAN, 4),
        (Reduce.MEDIAN, 3.5),
        (Reduce.SUM, 16),
        (Reduce.MIN, 2),
        (Reduce.MAX, 7),
        (Reduce.COUNT, 4),
    ],
)
def test_the_points_of_a_window_become_one_number(how: Reduce, expected: float) -> None:
    said = judged(Threshold(op=Op.GT, limits=limits(error=0), reduce=how), [5, 7, 2, 2])

    assert said.value == expected
    assert said.formula == f"{how} = {expected} > 0"
    assert said.numbers == {how.value: expected}


def test_a_sum_does_not_depend_on_the_order_of_the_points() -> None:
    summed = Threshold(op=Op.EQ, limits=limits(error=1), reduce=Reduce.SUM)

    assert judged(summed, [1e16, 1, -1e16]).value == judged(summed, [1e16, -1e16, 1]).value == 1


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_mean_and_median_are_those_of_the_standard_library(values: list[float]) -> None:
    for how, expected in ((Reduce.MEAN, fmean(values)), (Reduce.MEDIAN, the_median(values))):
        said = judged(Threshold(op=Op.GT, limits=limits(error=0), reduce=how), values)

        assert said.value == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_without_a_point_there_is_too_little_data() -> None:
    for how in Reduce:
        said = judged(Threshold(op=Op.GT, limits=limits(error=0), reduce=how), [])

        assert (said.severity, said.value, said.limit) == (None, None, None)
        assert (said.formula, said.numbers) == ("too little data: no point", {})


def test_an_answer_that_is_missing_is_as_one_without_points() -> None:
    rule = a_rule(above(error=90))

    assert triggers.judge(rule, AT, {}) == triggers.judge(rule, AT, {"now": ()})


@pytest.mark.parametrize("values", [[1e308, 1e308], [1e308, 1e308, -1e308, -1e308]])
@pytest.mark.parametrize("how", [Reduce.SUM, Reduce.MEAN])
def test_a_sum_without_room_for_it_is_no_number_but_a_sentence(values: list[float], how: Reduce) -> None:
    said = judged(Threshold(op=Op.GT, limits=limits(error=0), reduce=how), values)

    assert said.value is None or math.isfinite(said.value)
    if len(values) == 2:
        assert (said.severity, said.formula) == (None, "the numbers are too large to reckon with")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_judged(value: float) -> None:
    said = judged(above(error=90), [99, value, 99])

    assert (said.severity, said.value, said.formula) == (None, None, "a point is no finite number")


def test_a_whole_number_beyond_all_floats_is_not_judged() -> None:
    assert judged(above(error=90), [10**400]).formula == "the numbers are too large to reckon with"


@pytest.mark.parametrize("values", [[1e308, 1e308], [math.inf, 1], [math.inf, -math.inf]])
def test_a_sum_is_finite_or_none(values: list[float]) -> None:
    with pytest.raises(OverflowError):
        total(values)


@given(st.sampled_from(Op), FINITE, FINITE)
def test_what_a_formula_says_of_the_written_numbers_is_true(op: Op, value: float, limit: float) -> None:
    said = judged(Threshold(op=op, limits=limits(error=limit)), [value])

    words = said.formula.split()
    assert said.value == value
    assert passes(op, float(words[2]), float(words[-1])) == (said.severity is not None)


@given(FINITE, st.integers(1, 17))
def test_a_number_is_written_with_as_many_digits_as_are_asked_for(value: float, digits: int) -> None:
    text = wording.number(value, digits)

    assert float(text) == float(f"{value:.{digits}g}")
    assert ("e" in text) <= (abs(value) < 1e-6 or abs(value) >= 9.9e14)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (90.0, "90"),
        (1 / 3, "0.333333"),
        (-0.000012345678, "-0.0000123457"),
        (1234567.8, "1234570"),
        (123456, "123456"),
        (1e15, "1e+15"),
        (1e-7, "1e-07"),
    ],
)
def test_usual_numbers_have_no_exponent(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0s"),
        (300_000_000, "5m"),
        (5_400_000_000, "1h30m"),
        (259_200_000_000, "3d"),
        (1_500_001, "1s500ms1us"),
    ],
)
def test_a_length_of_time_is_written_exactly(length: int, text: str) -> None:
    assert wording.duration(length) == text


@given(st.sampled_from(Op), st.dictionaries(st.sampled_from(Severity), FINITE, min_size=1), FINITE)
def test_no_limit_is_nearer_or_more_severe_than_the_one_that_counts(
    op: Op, by_severity: dict[Severity, float], value: float
) -> None:
    given_limits = limits(**by_severity)

    severity, limit = counting(op, given_limits, value)

    passed = [one.severity for one in given_limits if passes(op, value, one.value)]
    assert severity == max(passed, key=severity_rank.__getitem__, default=None)
    if severity is None:
        assert abs(limit - value) == min(abs(one.value - value) for one in given_limits)
    else:
        assert limit == by_severity[severity]


def test_the_mildest_severity_is_known_whatever_the_order() -> None:
    assert triggers.mildest(above(critical=3, info=1, error=2)) is Severity.INFO


def test_a_threshold_asks_once_for_its_window() -> None:
    (ask,) = triggers.asks(a_rule(above(error=1), window=60, query="up", step=15, zone="Europe/Berlin"), AT)

    assert (ask.name, ask.query, ask.since, ask.until) == ("now", "up", AT - 60, AT)
    assert (ask.step, ask.zone) == (15, "Europe/Berlin")


@pytest.mark.parametrize(
    ("op", "by_severity", "found"),
    [
        (Op.GT, {"warning": 80, "critical": 90}, []),
        (Op.GT, {"critical": 90, "warning": 80}, []),
        (Op.GTE, {"warning": 90, "critical": 80}, ["limits.1"]),
        (Op.LT, {"warning": 20, "critical": 10}, []),
        (Op.LT, {"critical": 20, "error": 10, "warning": 5}, ["limits.1", "limits.2"]),
        (Op.LTE, {"warning": 10, "critical": 20}, ["limits.1"]),
        (Op.GT, {"warning": 80, "critical": 80}, ["limits.1"]),
        (
            Op.GT,
            {"warning": math.nan, "error": 5, "critical": math.inf},
            ["limits.0.value", "limits.2.value"],
        ),
        (Op.EQ, {"error": 5}, []),
        (Op.NE, {"error": -5}, []),
        (Op.EQ, {"warning": 4, "error": 5}, ["limits"]),
        (Op.NE, {"warning": 4, "error": 5}, ["limits"]),
        (Op.GT, {}, ["limits"]),
    ],
)
def test_limits_that_contradict_their_severities_are_found(
    op: Op, by_severity: dict[str, float], found: list[str]
) -> None:
    assert keys(Threshold(op=op, limits=limits(**by_severity))) == found


def test_a_severity_with_two_limits_is_found() -> None:
    twice = limits(error=1) + limits(error=2)

    ((key, sentence),) = triggers.check(a_rule(Threshold(op=Op.GT, limits=twice)))

    assert key == "limits.1"
    assert sentence == "error has two limits, of which the further one never counts. Leave it out."


def test_a_wrong_order_is_told_with_both_limits() -> None:
    ((_, sentence),) = triggers.check(a_rule(above(warning=90, critical=80)))

    assert sentence == (
        "critical begins at 80, before warning at 90, which could never be said. "
        "The more severe limit is the higher one."
    )
