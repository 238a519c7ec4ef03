"""Lengths and moments as people write them, and what they come to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from tocsin.cli.times import FUTURE, LENGTH_TYPE, PAST, When, read_length, span

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class At:
    """An API of which only the clock is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return NOW

    def request(self, method: str, path: str, *, query: object = None, body: object = None) -> Any:
        raise AssertionError("nobody asked for more than the time")


def at(kind: When, text: str) -> str:
    return kind.convert(text, None, None).at(At())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1d12h", 129_600),
        ("1h30m", 5400),
    ],
)
def test_a_length_is_written_with_its_unit(text: str, seconds: int) -> None:
    assert read_length(text) == seconds
    assert LENGTH_TYPE.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "0s", "1.5h", "99999999999d", "2000000w", "٣m", "5M"]
)
def test_what_is_no_length_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="2h"):
        LENGTH_TYPE.convert(text, None, None)


MOMENTS = [
    (PAST, "now", "2026-03-04T12:00:00Z"),
    (PAST, "2h", "2026-03-04T10:00:00Z"),
    (PAST, "-2h", "2026-03-04T10:00:00Z"),
    (PAST, "+2h", "2026-03-04T14:00:00Z"),
    (FUTURE, "2h", "2026-03-04T14:00:00Z"),
    (FUTURE, "+1d", "2026-03-05T12:00:00Z"),
    (FUTURE, "-2h", "2026-03-04T10:00:00Z"),
    (PAST, "2026-03-01T09:30:00Z", "2026-03-01T09:30:00Z"),
    (PAST, "2026-03-01T09:30:00+02:00", "2026-03-01T07:30:00Z"),
]


@pytest.mark.parametrize(("kind", "text", "wanted"), MOMENTS)
def test_a_moment_is_given_in_utc(kind: When, text: str, wanted: str) -> None:
    assert at(kind, text) == wanted


@pytest.mark.parametrize("text", ["09:30", "12:00", "23:59:59", "2026-03-01T09:30"])
def test_a_time_without_its_zone_is_the_time_here(text: str) -> None:
    past, future = (datetime.fromisoformat(at(kind, text)) for kind in (PAST, FUTURE))

    assert past.astimezone().strftime("%H:%M") == text.rpartition("T")[2][:5]
    if "T" in text:
        assert past == future
    else:
        assert past <= NOW < future
        assert future - past <= timedelta(hours=25)


@pytest.mark.parametrize(
    "text", ["", "soon", "24:00", "12:60", "+-2h", "2026-13-01", "0001-01-01T00:00:00+23:59", "h"]
)
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="-2h"):
        PAST.convert(text, None, None)


def test_only_what_depends_on_now_asks_the_server_for_it() -> None:
    api = At()

    PAST.convert("2026-03-01T09:30:00Z", None, None).at(api)
    assert api.asked == 0
    PAST.convert("-2h", None, None).at(api)
    assert api.asked == 1


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0.0s"), (4.25, "4.2s"), (59, "59s"), (300, "5m"), (303, "5m 3s"), (93_784, "1d 2h")],
)
def test_a_length_is_shown_in_its_largest_units(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown
