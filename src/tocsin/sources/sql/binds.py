"""Binds: the window of a question as a query may name it, in the types of the database."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from tocsin.core.model.rule import Ask

NAMES = ("since", "until", "since_epoch", "until_epoch", "since_date", "until_date")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moments(StrEnum):
    """How a database takes moments (UTC) and dates: with their zone, without, or as text."""

    ZONED = "zoned"
    PLAIN = "plain"
    TEXT = "text"


def values(ask: Ask, names: Iterable[str], moments: Moments) -> dict[str, Any]:
    """Give those of the six that are named.

    Dates are those of the zone of the question; `until_date` is that of the last microsecond before `until`, so a
    window that ends at midnight ends with the day before. Epochs are whole seconds.
    """
    return {name: _value(ask, name, moments) for name in names}


def _value(ask: Ask, name: str, moments: Moments) -> Any:
    match name:
        case "since":
            return _moment(ask.since, moments)
        case "until":
            return _moment(ask.until, moments)
        case "since_epoch":
            return ask.since // 1_000_000
        case "until_epoch":
            return ask.until // 1_000_000
        case "since_date":
            return _date(ask.since, ask.zone, moments)
        case _:
            return _date(ask.until - 1, ask.zone, moments)


def _moment(at: int, moments: Moments) -> datetime | str:
    moment = _EPOCH + timedelta(microseconds=at)
    match moments:
        case Moments.ZONED:
            return moment
        case Moments.PLAIN:
            return moment.replace(tzinfo=None)
        case Moments.TEXT:
            return moment.strftime("%Y-%m-%d %H:%M:%S")


def _date(at: int, zone: str, moments: Moments) -> date | str:
    day = (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone)).date()
    return day.isoformat() if moments is Moments.TEXT else day
