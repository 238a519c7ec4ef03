"""Durations: how long incidents took, counted in buckets, so that a million of them fit in a few hundred numbers.

A bucket is a tenth of a power of two wide: its middle is within 5 % of whatever lies in it (from 1 ms on; below that
the rounding to whole microseconds adds to it).
"""

from collections.abc import Iterable, Iterator

DAY = 86_400_000_000
ACKNOWLEDGE, RESOLVE = "acknowledge", "resolve"
"""What is measured, from the opening of an incident."""

_PARTS = 10


def measures(opened_at: int, acked_at: int, resolved_at: int) -> Iterator[tuple[int, str, int]]:
    """Give (day of the resolution, measure, bucket) for each that a resolved incident has.

    day: in days since 1970, UTC. acked_at: 0 if nobody acknowledged it.
    """
    if acked_at:
        yield resolved_at // DAY, ACKNOWLEDGE, bucket_of(acked_at - opened_at)
    yield resolved_at // DAY, RESOLVE, bucket_of(resolved_at - opened_at)


def days(since: int, until: int) -> tuple[int, int]:
    """Give the days that [since, until) touches, as [first, end)."""
    first = since // DAY
    return first, max(first, -(-until // DAY))


def bucket_of(duration: int) -> int:
    """Give the bucket of a duration in microseconds; a longer one has a higher bucket, what is below 1 has 0."""
    if duration < 1:
        return 0
    power = duration.bit_length() - 1
    return 1 + power * _PARTS + ((duration - (1 << power)) * _PARTS >> power)


def middle_of(bucket: int) -> int:
    """Give the duration from which both ends of a bucket are equally far in proportion, in microseconds."""
    if bucket < 1:
        return 0
    power, part = divmod(bucket - 1, _PARTS)
    low = _PARTS + part
    return (2 * low * (low + 1) << power) // (_PARTS * (2 * low + 1))


def percentile(counted: Iterable[tuple[int, int]], percent: int) -> int | None:
    """Give the duration that `percent` of 100 do not exceed, None if there is none. counted: (bucket, how many)."""
    ascending = sorted(counted)
    wanted = sum(n for _, n in ascending) * percent
    reached = 0
    for bucket, n in ascending:
        reached += n * 100
        if reached >= wanted:
            return middle_of(bucket)
    return None
