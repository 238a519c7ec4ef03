"""Moments: instants as this edge takes them, RFC 3339 with an offset; inside they are microseconds UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT_MAX = 253_402_300_800_000_000
"""The end of the year 9999."""

MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(:\d\d)?)(?P<fraction>\.\d+)?(?P<offset>[Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)


def read_moment(text: object) -> int:
    """Read an instant. Raises: ValueError that says what is missing."""
    at = _read(text)
    if not 0 <= at < MOMENT_MAX:
        raise ValueError("it lies outside of 1970 to 9999")
    return at


def read_bound(text: object) -> int:
    """Read an end of a search: as an instant, but what lies outside of 1970 to 9999 becomes that end of it."""
    return min(max(0, _read(text)), MOMENT_MAX - 1)


def _read(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("it is an instant as text, such as 2026-03-01T09:00:00Z")
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("it is no instant; write it like 2026-03-01T09:00:00Z")
    if found["offset"] is None:
        raise ValueError("it does not say its offset from UTC; add Z or +02:00")
    if found["day"] < "0001-01-02":
        return -1
    fraction = (found["fraction"] or ".0")[:7] if found["time"].count(":") == 2 else ""
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{found['time']}{fraction}{found['offset'].upper()}")
    except ValueError:
        raise ValueError("there is no such day, hour or offset") from None
    return (moment - EPOCH) // timedelta(microseconds=1)


_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-01T09:00:00Z"]})

Moment = Annotated[int, BeforeValidator(read_moment), _SCHEMA]
"""A field or parameter that is an instant; the value is microseconds UTC."""

Bound = Annotated[int, BeforeValidator(read_bound), _SCHEMA]
"""An end of a search."""


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_JSON = BeforeValidator(_whole)
"""Beside `Strict()`, and last: a whole number as JSON has it, 5 and 5.0, but neither "5" nor true."""

Minutes = Annotated[int, Strict(), Field(ge=1, le=525_600), AS_JSON]
"""A length of up to a year."""
