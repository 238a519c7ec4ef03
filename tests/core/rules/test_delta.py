"""Delta: the change against the same window a period before, in percent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.rules.rules import AT, a_rule, judged, keys, limits

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY, HOUR
from tocsin.core.model.rule import DeltaPct, Op, Period, Reduce
from tocsin.core.rules import triggers


def a_fall(*, against: Period = Period.YEAR, reduce: Reduce = Reduce.LAST) -> DeltaPct:
    return DeltaPct(op=Op.LTE, limits=limits(warning=-5, critical=-20), against=against, reduce=reduce)


@pytest.mark.parametrize(
    ("now", "before", "value", "severity", "formula"),
    [
        (
            95.1,
            100.3,
            -5.184446,
            "warning",
            "100 * (95.1 - 100.3) / |100.3| = -5.184 % <= -5 % (against the year before)",
        ),
        (95, 100, -5, "warning", "100 * (95 - 100) / |100| = -5 % <= -5 % (against the year before)"),
        (
            95.1,
            100,
            -4.9,
            None,
            "100 * (95.1 - 100) / |100| = -4.9 % is not <= -5 % (against the year before)",
        ),
        (0, 100, -100, "critical", "100 * (0 - 100) / |100| = -100 % <= -20 % (against the year before)"),
        (300, 100, 200, None, "100 * (300 - 100) / |100| = 200 % is not <= -5 % (against the year before)"),
        (0.75, 0.5, 50, None, "100 * (0.75 - 0.5) / |0.5| = 50 % is not <= -5 % (against the year before)"),
        # From -10 to -5 is a rise, and from -10 to -15 is a fall.
        (-5, -10, 50, None, "100 * (-5 - (-10)) / |-10| = 50 % is not <= -5 % (against the year before)"),
        (-15, -10, -50, "critical", "100 * (-15 - (-10)) / |-10| = -50 % <= -20 % (against the year before)"),
    ],
)
def test_a_change_is_told_in_percent_of_what_it_was(
    now: float, before: float, value: float, severity: str | None, formula: str
) -> None:
    said = judged(a_fall(), [1, now], [2, before])

    assert said.value == pytest.approx(value)
    assert (said.severity, said.formula) == (severity, formula)
    assert said.numbers == {"now": now, "before": before, "change_pct": said.value}


def test_both_windows_are_reduced_in_the_same_way() -> None:
    said = judged(a_fall(against=Period.DAY, reduce=Reduce.SUM), [1, 2], [4, 8])

    assert said.formula == "100 * (3 - 12) / |12| = -75 % <= -20 % (against the day before)"


@pytest.mark.parametrize(
    ("now", "before", "formula"),
    [
        ([], [5], "too little data: no point"),
        ([5], [], "too little data: no point the week before"),
        ([5], [0], "too little data: nothing to compare with: it was 0 the week before"),
        ([1e308], [-1e-308], "the numbers are too large to reckon with"),
    ],
)
def test_without_something_to_compare_with_nothing_is_said(
    now: list[float], before: list[float], formula: str
) -> None:
    said = judged(a_fall(against=Period.WEEK), now, before)

    assert (said.severity, said.value, said.limit, said.formula) == (None, None, None, formula)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.floats(0.1, 100))
def test_a_change_does_not_depend_on_the_unit(now: float, before: float, scale: float) -> None:
    value = judged(a_fall(), [now], [before]).value

    assert judged(a_fall(), [now * scale], [before * scale]).value == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_it_asks_for_now_and_for_the_same_hour_a_year_before_by_the_clocks() -> None:
    def utc(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000

    at = utc(
        "2027-03-28T10:00"
    )  # 12:00 in Berlin, in the first hours of summer time; in 2026 it was winter then.

    now, before = triggers.asks(a_rule(a_fall(), zone="Europe/Berlin", step=15, query="q"), at)

    assert (now.name, now.since, now.until) == ("now", at - HOUR, at)
    assert (before.name, before.since, before.until) == (
        "before",
        utc("2026-03-28T10:00"),
        utc("2026-03-28T11:00"),
    )
    assert {(ask.query, ask.step, ask.zone) for ask in (now, before)} == {("q", 15, "Europe/Berlin")}


@pytest.mark.parametrize(
    ("against", "window", "found"),
    [
        (Period.DAY, DAY, []),
        (Period.DAY, DAY + 1, ["against"]),
        (Period.WEEK, 7 * DAY + 1, ["against"]),
        (Period.MONTH, 28 * DAY, []),
        (Period.MONTH, 30 * DAY, ["against"]),
        (Period.YEAR, 365 * DAY, []),
        (Period.YEAR, 366 * DAY, ["against"]),
    ],
)
def test_windows_that_overlap_are_found(against: Period, window: int, found: list[str]) -> None:
    assert keys(a_fall(against=against), window=window) == found


def test_limits_of_a_change_are_checked_too() -> None:
    upside_down = DeltaPct(op=Op.LTE, limits=limits(warning=-20, critical=-5), against=Period.DAY)

    assert keys(upside_down, window=2 * DAY) == ["limits.1", "against"]


def test_the_mildest_severity_of_a_change() -> None:
    assert triggers.mildest(a_fall()) is Severity.WARNING
    assert triggers.judge(a_rule(a_fall()), AT, {}).severity is None
