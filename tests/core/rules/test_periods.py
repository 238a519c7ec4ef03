"""Periods: the same window a day, week, month or year before, by the calendar and the clocks of a zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.model.policy import DAY, HOUR
from tocsin.core.model.rule import Period
from tocsin.core.rules import periods

BERLIN, LORD_HOWE, NEW_YORK = "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def written(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000, UTC).isoformat()[:16]


@pytest.mark.parametrize(
    ("zone", "period", "at", "expected"),
    [
        ("UTC", Period.DAY, "2026-03-01T12:00", "2026-02-28T12:00"),
        ("UTC", Period.DAY, "2028-03-01T12:00", "2028-02-29T12:00"),
        ("UTC", Period.WEEK, "2026-01-03T12:00", "2025-12-27T12:00"),
        ("UTC", Period.MONTH, "2026-01-15T12:00", "2025-12-15T12:00"),
        ("UTC", Period.MONTH, "2026-12-15T12:00", "2026-11-15T12:00"),
        # The 31st becomes the last day of a shorter month, also in a leap year.
        ("UTC", Period.MONTH, "2026-03-31T12:00", "2026-02-28T12:00"),
        ("UTC", Period.MONTH, "2028-03-31T12:00", "2028-02-29T12:00"),
        ("UTC", Period.MONTH, "2026-07-31T12:00", "2026-06-30T12:00"),
        ("UTC", Period.YEAR, "2028-02-29T12:00", "2027-02-28T12:00"),
        ("UTC", Period.YEAR, "2029-02-28T12:00", "2028-02-28T12:00"),
        ("UTC", Period.YEAR, "2029-03-01T12:00", "2028-03-01T12:00"),
        # 12:00 in Berlin stays 12:00, though it was winter then.
        (BERLIN, Period.DAY, "2026-03-29T10:00", "2026-03-28T11:00"),
        (BERLIN, Period.DAY, "2026-10-25T11:00", "2026-10-24T10:00"),
        (BERLIN, Period.MONTH, "2026-04-15T10:00", "2026-03-15T11:00"),
        (BERLIN, Period.YEAR, "2027-03-28T10:00", "2026-03-28T11:00"),
        # 02:30 on 2026-03-29 does not exist in Berlin: it is taken as 03:30, which is 01:30 UTC.
        (BERLIN, Period.DAY, "2026-03-30T00:30", "2026-03-29T01:30"),
        (BERLIN, Period.WEEK, "2026-04-05T00:30", "2026-03-29T01:30"),
        (BERLIN, Period.MONTH, "2026-04-29T00:30", "2026-03-29T01:30"),
        (BERLIN, Period.YEAR, "2027-03-29T00:30", "2026-03-29T01:30"),
        # 02:30 on 2026-10-25 comes twice: the first time counts, whichever it is looked at from.
        (BERLIN, Period.DAY, "2026-10-26T01:30", "2026-10-25T00:30"),
        (BERLIN, Period.DAY, "2026-10-25T00:30", "2026-10-24T00:30"),
        (BERLIN, Period.DAY, "2026-10-25T01:30", "2026-10-24T00:30"),
        (NEW_YORK, Period.DAY, "2026-03-09T06:30", "2026-03-08T07:30"),
        # Lord Howe's clocks jump by half an hour: 02:15 on 2026-10-04 is taken as 02:45, at +11.
        (LORD_HOWE, Period.DAY, "2026-10-04T15:15", "2026-10-03T15:45"),
        # 01:45 on 2026-04-05 comes twice, at +11 and then at +10:30.
        (LORD_HOWE, Period.DAY, "2026-04-05T15:15", "2026-04-04T14:45"),
        # Samoa had no 30 December 2011: its clocks jumped by a day.
        ("Pacific/Apia", Period.DAY, "2011-12-30T22:00", "2011-12-30T22:00"),
    ],
)
def test_a_moment_goes_back_by_the_clocks_of_its_zone(
    zone: str, period: Period, at: str, expected: str
) -> None:
    assert written(periods.back(utc(at), period, zone)) == expected


def test_fractions_of_a_second_are_kept() -> None:
    assert periods.back(utc("2026-03-02T12:00") + 7, Period.DAY, BERLIN) == utc("2026-03-01T12:00") + 7


@pytest.mark.parametrize(
    ("zone", "period", "since", "until", "expected"),
    [
        ("UTC", Period.DAY, "2026-03-02T11:00", "2026-03-02T12:00", ("2026-03-01T11:00", "2026-03-01T12:00")),
        # A day of 23 hours is compared with one of 24: midnight to midnight.
        (
            BERLIN,
            Period.DAY,
            "2026-03-28T23:00",
            "2026-03-29T22:00",
            ("2026-03-27T23:00", "2026-03-28T23:00"),
        ),
        # 28 and 29 February both were the 28th: the window keeps its end and its length.
        (
            "UTC",
            Period.YEAR,
            "2028-02-28T12:00",
            "2028-02-29T12:00",
            ("2027-02-27T12:00", "2027-02-28T12:00"),
        ),
        (
            "UTC",
            Period.MONTH,
            "2026-03-30T12:00",
            "2026-03-31T12:00",
            ("2026-02-27T12:00", "2026-02-28T12:00"),
        ),
        # From 02:50 to 02:10 it is 20 minutes when the clocks go back, and they change places a day before.
        (
            BERLIN,
            Period.DAY,
            "2026-10-25T00:50",
            "2026-10-25T01:10",
            ("2026-10-23T23:50", "2026-10-24T00:10"),
        ),
    ],
)
def test_a_window_goes_back_with_both_ends_and_is_never_empty(
    zone: str, period: Period, since: str, until: str, expected: tuple[str, str]
) -> None:
    before = periods.before(utc(since), utc(until), period, zone)

    assert (written(before[0]), written(before[1])) == expected


@pytest.mark.parametrize(
    ("until", "period"),
    [
        ("2026-03-31T00:00", Period.MONTH),
        ("2026-03-05T00:00", Period.MONTH),
        ("2028-03-03T00:00", Period.YEAR),
        ("2026-01-03T00:00", Period.WEEK),
    ],
)
def test_seven_days_are_compared_with_seven_days_where_months_differ(until: str, period: Period) -> None:
    since, end = periods.before(utc(until) - 7 * DAY, utc(until), period, "UTC")

    assert end - since == 7 * DAY


MOMENTS = st.integers(0, utc("2100-01-01") // 1_000_000).map(lambda second: second * 1_000_000)


@given(
    MOMENTS,
    st.integers(1, 400 * DAY),
    st.sampled_from(Period),
    st.sampled_from(["UTC", BERLIN, LORD_HOWE, NEW_YORK, "Asia/Kathmandu"]),
)
def test_what_is_compared_with_is_earlier_and_has_some_length(
    at: int, window: int, period: Period, zone: str
) -> None:
    since, until = periods.before(at - window, at, period, zone)

    assert since < until
    assert at - 367 * DAY <= until <= at - 22 * HOUR


@given(MOMENTS, st.sampled_from(Period), st.sampled_from([BERLIN, LORD_HOWE, NEW_YORK]))
def test_the_clocks_show_the_same_time_of_day_unless_they_skipped_it(
    at: int, period: Period, zone: str
) -> None:
    place = ZoneInfo(zone)
    now = datetime.fromtimestamp(at // 1_000_000, place)

    earlier = datetime.fromtimestamp(periods.back(at, period, zone) // 1_000_000, place)

    jumped = (
        datetime.combine(earlier, earlier.time()) - datetime.combine(earlier, now.time())
    ).total_seconds()
    assert jumped in (0, 1800, 3600)
    if jumped:
        noon = earlier.replace(hour=12)
        assert noon.utcoffset() != earlier.replace(hour=0).utcoffset()
