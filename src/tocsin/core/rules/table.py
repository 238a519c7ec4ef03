"""Table: an answer in rows becomes series; what is not sure is refused, never guessed.

The column `value` holds the numbers, `at` (or `time`, `ts`) their moments, and all others are labels. What is refused
is named by its row and column; of the data itself only labels are shown, which name alerts anyway. The next step is
said in the language of whoever wrote the rows: SQL, or what a caller gives.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.core.rules import foreign

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
_TOO_LARGE = "the value of {row} is larger than any number that is taken (1.8e308)."


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """The next steps of errors, as whole sentences. name: of a column; number, truth, text: of a cell.

    row: how a row is called, with `{}` for its number.
    """

    name: str
    number: str
    truth: str
    text: str
    row: str = "row {}"


SQL = Language(
    name="Name it in the query: ... AS name.",
    number="Cast it: CAST(... AS REAL) AS value.",
    truth="Make it a number: CASE WHEN ... THEN 1 ELSE 0 END.",
    text="Cast it to text.",
)


def read(
    ask: Ask,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    language: Language = SQL,
    number_of: Callable[[int], int] = int,
    faults_max: int = 1,
    outside: str = "",
) -> tuple[Series, ...]:
    """Give the series of rows, by their labels, with the points in [since, until), the oldest first.

    columns: their names; `value` and `at` in any case.
    number_of: gives the number by which a row is called, of the one that it is, from 1.
    faults_max: so many rows are said to be wrong at once.
    outside: what to do if rows came and none lies in the window; "" if that is nothing wrong.
    A row without a moment stands at the last microsecond before `until`. A moment without a zone is UTC; a date is
    midnight in the zone of the question; a number is seconds since 1970, or milliseconds. NULL, NaN and the infinite
    are no point.
    Raises: Invalid.
    """
    value, moment, labels = _parts(columns, language)
    zone = ZoneInfo(ask.zone)
    found: dict[tuple[str, ...], dict[int, float]] = {}
    faults: list[str] = []
    astray = 0
    for number, row in enumerate(rows, 1):
        try:
            if len(row) != len(columns):
                raise _Wrong(f"{{row}} has {len(row)} columns, the header {len(columns)}.")
            amount = _number(row[value], language)
            if amount is None:
                continue
            at = ask.until - 1 if moment is None else _instant(row[moment], zone)
            if not ask.since <= at < ask.until:
                astray += 1
                continue
            key = tuple([_label(row[index], columns[index], language) for index in labels])
            points = found.setdefault(key, {})
            if at in points:
                raise _Wrong(
                    _twice([columns[index] for index in labels], key, at, by_moment=moment is not None)
                )
            points[at] = amount
        except _Wrong as wrong:
            faults.append(wrong.said(language.row.format(f"{number_of(number):,}")))
            if len(faults) == faults_max:
                break
    if faults:
        more = " There may be more." if len(faults) == faults_max > 1 else ""
        raise Invalid(" ".join(faults) + more)
    if astray and not found and outside:
        came = "1 row came and lies" if astray == 1 else f"{astray:,} rows came and all lie"
        raise Invalid(f"{came} outside the window. {outside}")
    names = [columns[index] for index in labels]
    return tuple(
        Series(
            labels=dict(zip(names, key, strict=True)),
            points=tuple(Point(at, points[at]) for at in sorted(points)),
        )
        for key, points in sorted(found.items())
    )


class _Wrong(Exception):
    """What is wrong with a row, as a text with `{row}` in the place of its name."""

    def said(self, row: str) -> str:
        text = str(self).replace("{row}", row, 1)
        return text[:1].upper() + text[1:]


def _parts(columns: Sequence[str], language: Language) -> tuple[int, int | None, list[int]]:
    """Find which column is the value, which one the moment, and which are labels."""
    if len(columns) > COLUMNS_MAX:
        raise Invalid(
            f"The answer has {len(columns):,} columns; at most {COLUMNS_MAX} are taken. Name those that you need."
        )
    names = [name.casefold() for name in columns]
    there = foreign.names(columns)
    values = [index for index, name in enumerate(names) if name == "value"]
    if not values:
        raise Invalid(f"No column is called `value`. There are: {there or 'none'}. {language.name}")
    moments = [index for index, name in enumerate(names) if name in MOMENTS]
    if len(moments) > 1:
        said = foreign.names(columns[index] for index in moments)
        raise Invalid(f"Several columns say when: {said}. Keep one of them, and rename the others.")
    labels = [index for index in range(len(columns)) if index not in (values[0], *moments)]
    labelled = [columns[index] for index in labels]
    if len(values) > 1 or len(dict.fromkeys(labelled)) < len(labelled):
        raise Invalid(f"Two columns have the same name. There are: {there}. {language.name}")
    for name in labelled:
        if not name or len(name) > LABEL_CHARACTERS_MAX:
            raise Invalid(
                f"Every column needs a name, of at most {LABEL_CHARACTERS_MAX} characters. {language.name}"
            )
    return values[0], moments[0] if moments else None, labels


def _number(value: Any, language: Language) -> float | None:
    """Give a finite number, or None for what is none."""
    match value:
        case None:
            return None
        case bool():
            raise _Wrong(f"the value of {{row}} is true or false. {language.truth}")
        case float():
            return value if math.isfinite(value) else None
        case int():
            try:
                return float(value)
            except OverflowError:
                raise _Wrong(_TOO_LARGE) from None
        case Decimal():
            if not value.is_finite():
                return None
            if math.isinf(amount := float(value)):
                raise _Wrong(_TOO_LARGE)
            return amount
        case _:
            raise _Wrong(f"the value of {{row}} is no number, but {_kind(value)}. {language.number}")


def _instant(value: Any, zone: tzinfo) -> int:
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
    raise _Wrong(
        f"the moment of {{row}} cannot be read: it is {_kind(value)}. It may be a timestamp, a date, seconds since"
        " 1970 as a number, or text like 2026-11-24T09:00:00Z."
    )


def _of_datetime(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _label(value: Any, column: str, language: Language) -> str:
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
            raise _Wrong(
                f"in {{row}} the column {column!r} holds a number with fractions, which is no label: the same one may"
                f" be written in several ways. {language.text}"
            )
        case _:
            raise _Wrong(
                f"in {{row}} the column {column!r} holds {_kind(value)}, which is no label. {language.text}"
            )
    if len(text) > LABEL_CHARACTERS_MAX:
        raise _Wrong(
            f"in {{row}} the label {column!r} has {len(text):,} characters; at most {LABEL_CHARACTERS_MAX} are taken."
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
        return (
            f"at {{row}} there is a second one with {series} at the same moment ({when}). Let a label tell them apart,"
            " or add them up."
        )
    return (
        f"at {{row}} there is a second one with {series}, and no column `at` says when each was. Let a label tell them"
        " apart, add them up, or give a column `at`."
    )
