"""Asking: how the questions of this package reach the file. Knows no table."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

Question = tuple[str, tuple[Any, ...]]

BEYOND = 1 << 62
"""Above every number that is given."""


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
        "ORDER BY number DESC LIMIT ?)"
        for part in parts
    )
    below = BEYOND if after is None else after
    return (
        f"SELECT {columns} FROM {table} WHERE number IN "
        f"(SELECT number FROM ({each}) ORDER BY number DESC LIMIT ?) ORDER BY number DESC",
        (*[value for part in parts for value in (*part.bindings, below, limit)], limit),
    )


def count(part: Part) -> Question:
    """Ask how many rows a part has."""
    return f"SELECT count(*) FROM {part.source} WHERE {part.where}", part.bindings


def marks(values: Sequence[Any]) -> str:
    """Give the placeholders for some values."""
    return ",".join("?" * len(values))
