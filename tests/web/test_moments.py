"""Instants at the edge: what is read as one, what is refused, and what the ends of a search become."""

import pytest

from tocsin.web.forms import instant
from tocsin.web.moments import MOMENT_MAX, read_bound, read_moment


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"), ("2026-03-01t09:00:00z", "2026-03-01T09:00:00Z"),
        ("2026-03-01 09:00:00+02:00", "2026-03-01T07:00:00Z"), ("2026-03-01T09:00-05:30", "2026-03-01T14:30:00Z"),
        ("2026-03-01T09:00:00.5Z", "2026-03-01T09:00:00.500000Z"),
        ("2026-03-01T09:00:00.1234567891Z", "2026-03-01T09:00:00.123456Z"), ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)  # fmt: skip
def test_an_instant_is_read_and_shown_in_utc(text: str, shown: str) -> None:
    assert instant(read_moment(text)) == shown
    assert read_bound(text) == read_moment(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-03-01T09:00:00", "offset"), ("2026-03-01", "no instant"), ("soon", "no instant"), ("", "no instant"),
        ("20260301T090000Z", "no instant"), ("2026-W09-7T09:00:00Z", "no instant"), (" 2026-03-01T09:00:00Z", "no instant"),
        ("2026-03-01T09:00:00Z\n", "no instant"), ("٢٠٢٦-03-01T09:00:00Z", "no instant"), ("2026-02-30T00:00:00Z", "no such"),
        ("2026-03-01T24:00:00Z", "no such"), ("2026-03-01T00:00:00+24:00", "no such"), (1_800_000_000, "text"), (None, "text"),
        (True, "text"),
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused_and_why(text: object, says: str) -> None:
    for read in (read_moment, read_bound):
        with pytest.raises(ValueError, match=says):
            read(text)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("1969-12-31T23:59:59Z", 0), ("0001-01-01T00:00:00+23:00", 0), ("0000-00-00T00:00:00Z", 0), ("1970-01-01T01:00:00+02:00", 0),
        ("9999-12-31T23:59:59-05:00", MOMENT_MAX - 1),
    ],
)  # fmt: skip
def test_what_lies_outside_of_our_time_is_refused_as_an_instant_and_an_end_in_a_search(
    text: str, end: int
) -> None:
    assert read_bound(text) == end
    with pytest.raises(ValueError, match="outside of 1970 to 9999"):
        read_moment(text)
