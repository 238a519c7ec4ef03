"""Periods: the same window a day, week, month or year before, by the calendar and the clocks of a zone.

A day that the earlier month does not have becomes its last one. A wall time that the zone skips is taken as much later
as its clocks jump; one that comes twice is taken the first time.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from tocsin.core.model.policy import DAY
from tocsin.core.model.rule import Period

SHORTEST = {Period.DAY: DAY, Period.WEEK: 7 * DAY, Period.MONTH: 28 * DAY, Period.YEAR: 365 * DAY}
"""How short each may be by the calendar, in microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def before(since: int, until: int, period: Period, zone: str) -> tuple[int, int]:
    """Give the window [since, until) a period before: its end by the calendar, its length by the clocks.

    So seven days are compared with seven days, also where months differ, and a day from midnight to midnight with
    such a day, also where the clocks change. Where the clocks say that it has no length (from 02:50 to 02:10 in
    autumn), it is as long as it really is.
    """
    place = ZoneInfo(zone)
    end = _earlier(_wall(until, place), period)
    last = _instant(end, place)
    first = _instant(end - (_wall(until, place) - _wall(since, place)), place)
    return (first, last) if first < last else (last - (until - since), last)


def back(at: int, period: Period, zone: str) -> int:
    """Give the moment at which the zone's clocks showed the same a period before. zone: an IANA name."""
    place = ZoneInfo(zone)
    return _instant(_earlier(_wall(at, place), period), place)


def _wall(at: int, place: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=at)).astimezone(place).replace(tzinfo=None, fold=0)


def _instant(wall: datetime, place: ZoneInfo) -> int:
    return (wall.replace(tzinfo=place).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _earlier(wall: datetime, period: Period) -> datetime:
    match period:
        case Period.DAY:
            return wall - timedelta(days=1)
        case Period.WEEK:
            return wall - timedelta(days=7)
        case Period.MONTH:
            return _on(wall, wall.year - (wall.month == 1), (wall.month - 2) % 12 + 1)
        case Period.YEAR:
            return _on(wall, wall.year - 1, wall.month)
        case _:
            assert_never(period)


def _on(wall: datetime, year: int, month: int) -> datetime:
    return wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]))
