"""Table: an answer in rows becomes series; what is not sure is refused, never guessed.

The column `value` holds the numbers, `at` (or `time`, `ts`) their moments, and all others are labels. What is refused
is named by its row and column; of the data itself only labels are shown, which name alerts anyway.
"""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series

COLUMNS_MAX = 64
LABEL_CHARACTERS_MAX = 256

MOMENTS = ("at", "time", "ts")
"""What the column of moments may be called."""

MILLISECONDS_FROM = 100_000_000_000
"""From here on a number is milliseconds since 1970, not seconds: as seconds it would be the year 5138."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DIGITS_MAX = 40


def read(ask: Ask, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> tuple[Series, ...]:
    """Give the series of rows, by their labels, with the points in [since, until), the oldest first.

    columns: their names; `value` and `at` in any case. rows: as long as `columns` each.
    A row without a moment stands at the last microsecond before `until`. A moment without a zone is UTC; a date is
    midnight in the zone of the question; a number is seconds since 1970, or milliseconds. NULL, NaN and the infinite
    are no point.
    Raises: Invalid.
    """
    value, moment, labels = _parts(columns)
    zone = ZoneInfo(ask.zone)
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for number, row in enumerate(rows, 1):
        amount = _number(row[value], number)
        if amount is None:
            continue
        at = ask.until - 1 if moment is None else _instant(row[moment], zone, number)
        if not ask.since <= at < ask.until:
            continue
        key = tuple([_label(row[index], columns[index], number) for index in labels])
        points = found.setdefault(key, {})
        if at in points:
            raise Invalid(_twice([columns[index] for index in labels], key, at, by_moment=moment is not None))
        points[at] = amount
    names = [columns[index] for index in labels]
    return tuple(
        Series(
            labels=dict(zip(names, key, strict=True)),
            points=tuple(Point(at, points[at]) for at in sorted(points)),
        )
        for key, points in sorted(found.items())
    )


def _parts(columns: Sequence[str]) -> tuple[int, int | None, list[int]]:
    """Find which column is the value, which one the moment, and which are labels."""
    if len(columns) > COLUMNS_MAX:
        raise Invalid(
            f"The answer has {len(columns):,} columns; at most {COLUMNS_MAX} are taken. Name those that you need."
        )
    names = [name.casefold() for name in columns]
    there = ", ".join(name[:40] or '""' for name in columns[:20])
    values = [index for index, name in enumerate(names) if name == "value"]
    if not values:
        raise Invalid(
            f"The answer has no column `value`. It has: {there or 'none'}. Name the number: ... AS value."
        )
    moments = [index for index, name in enumerate(names) if name in MOMENTS]
    if len(moments) > 1:
        said = ", ".join(columns[index] for index in moments)
        raise Invalid(f"Several columns say when: {said}. Keep one of them, and rename the others.")
    labels = [index for index in range(len(columns)) if index not in (values[0], *moments)]
    labelled = [columns[index] for index in labels]
    if len(values) > 1 or len(dict.fromkeys(labelled)) < len(labelled):
        raise Invalid(f"Two columns have the same name. There are: {there}. Name them apart: ... AS other.")
    for name in labelled:
        if not name or len(name) > LABEL_CHARACTERS_MAX:
            raise Invalid(
                f"Every column needs a name, of at most {LABEL_CHARACTERS_MAX} characters: ... AS name."
            )
    return values[0], moments[0] if moments else None, labels


def _number(value: Any, row: int) -> float | None:
    """Give a finite number, or None for what is none."""
    match value:
        case None:
            return None
        case bool():
            raise Invalid(
                f"The value of row {row} is true or false. Make it a number: CASE WHEN ... THEN 1 ELSE 0 END."
            )
        case float():
            return value if math.isfinite(value) else None
        case int():
            try:
                return float(value)
            except OverflowError:
                raise Invalid(
                    f"The value of row {row} is larger than any number that is taken (1.8e308)."
                ) from None
        case Decimal():
            if not value.is_finite():
                return None
            if math.isinf(amount := float(value)):
                raise Invalid(f"The value of row {row} is larger than any number that is taken (1.8e308).")
            return amount
        case _:
            raise Invalid(
                f"The value of row {row} is no number, but {_kind(value)}. Cast it: CAST(... AS REAL) AS value."
            )


def _instant(value: Any, zone: tzinfo, row: int) -> int:
    """Give a moment as microseconds UTC."""
    try:
        match value:
            case datetime():
                return _of_datetime(value)
            case date():
                return _of_datetime(datetime(value.year, value.month, value.day, tzinfo=zone))
            case bool():
                pass
            case int():
                return value * (1_000 if abs(value) >= MILLISECONDS_FROM else 1_000_000)
            case float() if math.isfinite(value):
                return round(value * (1_000 if abs(value) >= MILLISECONDS_FROM else 1_000_000))
            case Decimal() if value.is_finite() and value.adjusted() < _DIGITS_MAX:
                return round(value * (1_000 if abs(value) >= MILLISECONDS_FROM else 1_000_000))
            case str() if _DATE.fullmatch(value):
                return _of_datetime(datetime.fromisoformat(value).replace(tzinfo=zone))
            case str() if _DATE.match(value):
                return _of_datetime(datetime.fromisoformat(value))
            case _:
                pass
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        f"The moment of row {row} cannot be read: it is {_kind(value)}. It may be a timestamp, a date, seconds since"
        " 1970 as a number, or text like 2026-11-24T09:00:00Z."
    )


def _of_datetime(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _label(value: Any, column: str, row: int) -> str:
    """Write what tells series apart: text as it is, and else what has only one way to be written."""
    match value:
        case str():
            text = value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 10**_DIGITS_MAX:
            return str(value)
        case Decimal() if _is_whole(value):
            return str(int(value))
        case date():  # and datetime, which is one
            return value.isoformat()
        case float() | Decimal() | int():
            raise Invalid(
                f"The column {column!r} holds a number with fractions in row {row}, which is no label: the same one may"
                " be written in several ways. Round it, cast it to text, or leave it out."
            )
        case _:
            raise Invalid(
                f"The column {column!r} holds {_kind(value)} in row {row}, which is no label. Cast it to text."
            )
    if len(text) > LABEL_CHARACTERS_MAX:
        raise Invalid(
            f"The label {column!r} of row {row} has {len(text):,} characters; at most {LABEL_CHARACTERS_MAX} are taken."
        )
    return text


def _is_whole(value: Decimal) -> bool:
    return value.is_finite() and value.adjusted() < _DIGITS_MAX and value == value.to_integral_value()


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else type(value).__name__


def _twice(names: Sequence[str], key: Sequence[str], at: int, *, by_moment: bool) -> str:
    series = ", ".join(f"{name}={text!r}" for name, text in zip(names, key, strict=True))[:200] or "no labels"
    if by_moment:
        when = (_EPOCH + timedelta(microseconds=at)).isoformat()
        return f"Two rows with {series} have the same moment ({when}). Let a label tell them apart, or add them up."
    return (
        f"Two rows have {series}, and no column `at` says when each was. Let a label tell them apart, add them up, or"
        " select a column `at`."
    )
