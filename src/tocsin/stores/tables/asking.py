"""Asking: how the questions of this package reach a database. Knows no table.

They are written as SQLite takes them: `?` for a value or `?2` for the second one, and the index that a table is to be
read by. Another database says the same in its own words, see its `dialect`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

Question = tuple[str, tuple[Any, ...]]

BEYOND = 1 << 62
"""Above every number that is given."""

GIVEN = "(SELECT value FROM json_each(CAST(? AS TEXT)))"
"""The numbers that one value holds, see `numbers`; however many they are, the statement is the same."""

numbers = msgspec.json.Encoder().encode
"""Writes numbers as the value of GIVEN."""


class Asking(ABC):
    """Whoever can be asked. All of it raises StoreFailed if the file cannot be read."""

    @abstractmethod
    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        """Answer each question with its rows; all answers are from one commit. Raises: StoreFailed."""

    def _ask(self, sql: str, *bindings: Any) -> list[Any]:
        try:
            return self._ask_all((sql, bindings))[0]
        except OverflowError:  # A number that no column can hold, so no row has it.
            return []


class Part(NamedTuple):
    """Some rows of a table. source: the table, with the index that finds them; where: a condition."""

    source: str
    where: str
    bindings: tuple[Any, ...] = ()


def newest(columns: str, table: str, parts: Sequence[Part], *, after: int | None, limit: int) -> Question:
    """Ask for the rows with the highest numbers (below `after`) of all parts, which share no row.

    Each part is read from its end and no further than the limit; only what is on the page is fetched as a whole.
    """
    each = " UNION ALL ".join(
        f"SELECT * FROM (SELECT number FROM {part.source} WHERE {part.where} AND number < ? "
        "ORDER BY number DESC LIMIT ?) AS part"
        for part in parts
    )
    below = BEYOND if after is None else after
    return (
        f"SELECT {columns} FROM {table} WHERE number IN "
        f"(SELECT number FROM ({each}) AS parts ORDER BY number DESC LIMIT ?) ORDER BY number DESC",
        (*[value for part in parts for value in (*part.bindings, below, limit)], limit),
    )


def count(part: Part) -> Question:
    """Ask how many rows a part has."""
    return f"SELECT count(*) FROM {part.source} WHERE {part.where}", part.bindings


def insert(table: str, *columns: str) -> str:
    """Ask to insert a row. Its columns are named, since a newer program's table may have more."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def put(table: str, key: str, *others: str) -> str:
    """Ask to insert a row, or to replace the one with its key. key: the columns of it."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in others)
    return _upsert(table, key, *others, changes=changes)


def add(table: str, key: str, count: str = "n") -> str:
    """Ask to insert a row, or to add its count to the one with its key."""
    return _upsert(table, key, count, changes=f"{count} = {table}.{count} + excluded.{count}")


def _upsert(table: str, key: str, *others: str, changes: str) -> str:
    return f"{insert(table, *key.split(', '), *others)} ON CONFLICT ({key}) DO UPDATE SET {changes}"


def marks(values: Sequence[Any]) -> str:
    """Give the placeholders for some values."""
    return ",".join("?" * len(values))
