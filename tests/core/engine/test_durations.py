"""Durations in buckets: how far off a percentile may be, and which days count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.engine.durations import DAY, bucket_of, days, measures, middle_of, percentile

MILLISECOND = 1_000
SECOND = 1_000_000
YEARS = 100 * 365 * DAY


@given(st.integers(MILLISECOND, YEARS))
def test_the_middle_of_a_bucket_is_within_five_percent_of_all_that_lies_in_it(duration: int):
    assert abs(middle_of(bucket_of(duration)) - duration) <= duration * 0.05


@given(st.integers(-YEARS, YEARS), st.integers(-YEARS, YEARS))
def test_a_longer_duration_never_has_a_lower_bucket(one: int, other: int):
    shorter, longer = sorted((one, other))

    assert 0 <= bucket_of(shorter) <= bucket_of(longer)


@given(st.lists(st.integers(MILLISECOND, YEARS), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_within_five_percent_of_the_nearest_rank(durations: list[int], percent: int):
    counted: dict[int, int] = {}
    for duration in durations:
        counted[bucket_of(duration)] = counted.get(bucket_of(duration), 0) + 1

    found = percentile(counted.items(), percent)

    exact = sorted(durations)[-(-len(durations) * percent // 100) - 1]
    assert found is not None
    assert abs(found - exact) <= exact * 0.05


def test_there_is_no_percentile_of_nothing():
    assert percentile([], 50) is None


def test_a_year_of_durations_fits_in_a_few_hundred_buckets():
    assert bucket_of(366 * DAY) < 500


def test_what_took_no_time_took_none():
    assert middle_of(bucket_of(0)) == middle_of(bucket_of(-5)) == 0


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (0, DAY, (0, 1)),
        (1, DAY + 1, (0, 2)),
        (DAY - 1, DAY, (0, 1)),
        (5 * DAY, 5 * DAY, (5, 5)),
        (5 * DAY, 2 * DAY, (5, 5)),
        (-DAY, 1, (-1, 1)),
    ],
)
def test_a_span_has_the_days_that_it_touches(since: int, until: int, expected: tuple[int, int]):
    assert days(since, until) == expected


def test_only_what_was_acknowledged_has_a_time_to_acknowledge():
    opened_at = 3 * DAY - SECOND

    assert [*measures(opened_at, 0, 3 * DAY)] == [(3, "resolve", bucket_of(SECOND))]
    assert [*measures(opened_at, opened_at + 9, 3 * DAY)] == [
        (3, "acknowledge", bucket_of(9)),
        (3, "resolve", bucket_of(SECOND)),
    ]
