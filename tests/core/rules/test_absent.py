"""Absent: how long nothing came."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.rules.rules import AT, a_rule, keys, limits

from tocsin.core.model.policy import HOUR, MINUTE, SECOND
from tocsin.core.model.rule import Absent, Judgement, Point
from tocsin.core.rules import triggers


def after(age: int | None, **by_severity: float) -> Judgement:
    """Judge points of which the newest is so old; None: there is none."""
    trigger = Absent(limits=limits(**by_severity or {"error": 1200}))
    given_points = () if age is None else (Point(AT - 50 * MINUTE, 1.0), Point(AT - age, 2.0))
    return triggers.judge(a_rule(trigger), AT, {"now": given_points})


@pytest.mark.parametrize(
    ("age", "value", "severity", "formula"),
    [
        (25 * MINUTE, 1500, "error", "nothing for 25m >= 20m"),
        (20 * MINUTE, 1200, "error", "nothing for 20m >= 20m"),
        (20 * MINUTE - 1, 1199.999999, None, "nothing for 19m59s is not >= 20m"),
        (20 * MINUTE + 1, 1200.000001, "error", "nothing for 1200.000001s >= 1200s"),
        (90 * SECOND, 90, None, "nothing for 1m30s is not >= 20m"),
        (-5 * SECOND, 0, None, "nothing for 0s is not >= 20m"),
        (None, 3600, "error", "nothing for at least 1h >= 20m"),
    ],
)
def test_the_age_of_the_newest_point_is_told(
    age: int | None, value: float, severity: str | None, formula: str
) -> None:
    said = after(age)

    assert (said.value, said.severity, said.formula) == (value, severity, formula)
    assert said.numbers == {"age_s": value}


def test_the_longer_nothing_comes_the_worse_it_is() -> None:
    by_severity = {"warning": 300, "error": 1200, "critical": 3600}

    assert [after(age, **by_severity).severity for age in (MINUTE, 5 * MINUTE, 20 * MINUTE, None)] == [
        None,
        "warning",
        "error",
        "critical",
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e308])
def test_what_a_point_says_does_not_matter(value: float) -> None:
    said = triggers.judge(a_rule(Absent(limits=limits(error=60))), AT, {"now": [Point(AT - SECOND, value)]})

    assert (said.value, said.severity) == (1, None)


def test_less_than_a_second_is_written_too() -> None:
    assert after(SECOND // 2, error=0.5).formula == "nothing for 0.5s >= 0.5s"


@given(st.integers(0, HOUR), st.integers(0, HOUR))
def test_an_older_point_is_never_less_wrong(age: int, older: int) -> None:
    fresh, stale = after(min(age, older)), after(max(age, older))

    assert (fresh.severity is not None) <= (stale.severity is not None)


@pytest.mark.parametrize(
    ("by_severity", "found"),
    [
        ({"error": 3600}, []),
        ({"error": 3600.5}, ["limits.0.value"]),
        ({"error": 0}, ["limits.0.value"]),
        ({"error": math.inf}, ["limits.0.value"]),
        ({"error": math.nan}, ["limits.0.value"]),
        ({"warning": 1200, "error": 600}, ["limits.1"]),
        ({"warning": 600, "error": 7200}, ["limits.1.value"]),
    ],
)
def test_a_limit_that_no_look_can_see_is_found(by_severity: dict[str, float], found: list[str]) -> None:
    assert keys(Absent(limits=limits(**by_severity)), window=HOUR) == found


def test_it_is_said_how_long_a_look_sees() -> None:
    ((_, sentence),) = triggers.check(a_rule(Absent(limits=limits(error=7200)), window=HOUR))

    assert sentence == (
        "A look covers 1h and never sees that nothing came for longer. "
        "Give a longer window, or at most 3600 seconds."
    )
