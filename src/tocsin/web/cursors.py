"""Cursors: where the next page of a list begins. Every list goes from the newest down, by a number that never changes.

A cursor is opaque to whoever holds it; one that we would not have written ourselves is refused, never guessed at.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query

from tocsin.core.model.alert import CANONICAL
from tocsin.web.problems import WrongCursor

NUMBER_MAX = 1 << 62
PAGE_MAX = 500

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="How many at most.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=64,
        description="`next_cursor` of the page before, with the same filters; none for the first.",
    ),
]

Row = TypeVar("Row")


def cursor_of(number: int) -> str:
    """Write the cursor of a page that begins below this number."""
    return base64.urlsafe_b64encode(CANONICAL.encode({"before": number})).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int | None:
    """Read the number below which a page begins; None for the first page. Raises: WrongCursor."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=dict[str, int]
        )
        number = read["before"]
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
        number = 0
    if not 0 < number < NUMBER_MAX or cursor_of(number) != cursor:
        raise wrong_cursor()
    return number


def wrong_cursor() -> WrongCursor:
    """Make the error of a cursor that belongs to no page of this list."""
    return WrongCursor("This cursor is not one that Tocsin gave. Begin without one.", field="cursor")


def page(rows: Sequence[Row], limit: int, number: Callable[[Row], int]) -> tuple[Sequence[Row], str | None]:
    """Cut what was asked for with one more than `limit`: the rows of this page, and the cursor of the next, if any."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_of(number(rows[limit - 1]))
