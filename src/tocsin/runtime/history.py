"""History: numbers of a time that is past, from a CSV file, in the place of a source.

The file has a header, and its columns are those of a SQL source's answer: `value`, `at`, and labels.
"""

import csv
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, BurnRate, Rule, Series
from tocsin.core.rules import table

ROWS_MAX = 2_000_000
FIELD_CHARACTERS_MAX = 10_000

_EVER = 1 << 62


class History:
    """Series, of which each question gets what lies in its window."""

    def __init__(self, series: tuple[Series, ...]) -> None:
        self.series = series

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """See `tocsin.ports.Source`. What is asked for plays no part, only when."""
        found = []
        for series in self.series:
            first, end = (
                bisect_left(series.points, at, key=lambda point: point.at) for at in (ask.since, ask.until)
            )
            found.append(Series(labels=series.labels, points=series.points[first:end]))
        return tuple(found)


def read_history(path: Path, rule: Rule) -> History:
    """Read a CSV file as the history that a rule asks for. Raises: Invalid, naming the row."""
    if isinstance(rule.trigger, BurnRate):
        raise Invalid(
            f"Rule {rule.rule_id} asks two things, the good events and all of them, and a CSV file answers one. "
            "Try it against its source."
        )
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = next(rows, [])
            names = [name.casefold() for name in columns]
            if not any(name in table.MOMENTS for name in names):
                raise Invalid("No column says when: history needs a column `at`.")
            everything = Ask(name="history", query="", since=-_EVER, until=_EVER, zone=rule.zone)
            return History(table.read(everything, columns, _values(rows, names)))
    except (OSError, UnicodeDecodeError, csv.Error, Invalid) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Invalid(f"{path} is no history: {why}", field=str(path)) from None


def _values(rows: Iterator[list[str]], names: list[str]) -> Iterator[list[object]]:
    """Give the rows with numbers where numbers belong; empty lines are left out."""
    for number, row in enumerate((row for row in rows if row), 1):
        if number > ROWS_MAX:
            raise Invalid(f"It has more than {ROWS_MAX:,} rows. Give it in parts.")
        if len(row) != len(names):
            raise Invalid(f"Row {number} has {len(row)} columns, the header {len(names)}.")
        yield [_value(text, name) for text, name in zip(row, names, strict=True)]


def _value(text: str, name: str) -> object:
    if name == "value" and not text.strip():
        return None
    if (name == "value" or name in table.MOMENTS) and "_" not in text:
        try:
            return float(text)
        except ValueError:
            return text
    return text
