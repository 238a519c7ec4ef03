"""History: numbers of a time that is past, from a CSV file, in the place of a source.

The file has a header, and its columns are those of a SQL source's answer: `value`, `at`, and labels.
"""

import csv
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, BurnRate, Rule, Series
from tocsin.core.rules import table

if TYPE_CHECKING:
    from _csv import Reader

FAULTS_MAX = 5
ROWS_MAX = 2_000_000
FIELD_CHARACTERS_MAX = 10_000

_EVER = 1 << 62
_CSV = table.Language(
    name="Name the columns in the first line of the file.",
    number="Write it with digits and a point, such as 21.5.",
    truth="Write 1 or 0.",
    text="Leave the column out.",
    row="line {}",
)


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
    """Read a CSV file as the history that a rule asks for.

    Raises: Invalid with the first things that are wrong, each with its line of the file.
    """
    if isinstance(rule.trigger, BurnRate):
        raise Invalid(
            f"Rule {rule.rule_id} asks two things, the good events and all of them, and a CSV file answers one. "
            "Try it against its source."
        )
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(csv.reader(file, strict=True))
            columns = next(lines, [])
            names = [name.casefold() for name in columns]
            if not any(name in table.MOMENTS for name in names):
                raise Invalid(_timeless(columns))
            everything = Ask(name="history", query="", since=-_EVER, until=_EVER, zone=rule.zone)
            series = table.read(
                everything,
                columns,
                _values(lines, names),
                language=_CSV,
                number_of=lambda _: lines.line,
                faults_max=FAULTS_MAX,
            )
            return History(series)
    except (OSError, UnicodeDecodeError, csv.Error, Invalid) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Invalid(f"{path} is no history: {why}", field=str(path)) from None


class _Lines:
    """The rows of a CSV file without the empty ones. line: in which the last one begins, from 1."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader
        self.line = 0

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        while True:
            self.line = self._reader.line_num + 1
            if row := next(self._reader):
                return row


def _timeless(columns: list[str]) -> str:
    """Say that there is no column of moments."""
    there = ", ".join(repr(name[:60]) for name in columns[:20]) or "none"
    said = f"No column says when: history needs a column `at`. There are: {there}."
    return f"{said} Put commas between them." if len(columns) == 1 and ";" in columns[0] else said


def _values(rows: Iterator[list[str]], names: list[str]) -> Iterator[list[object]]:
    """Give the rows with numbers where numbers belong."""
    for number, row in enumerate(rows, 1):
        if number > ROWS_MAX:
            raise Invalid(f"It has more than {ROWS_MAX:,} rows. Give it in parts.")
        fits = len(row) == len(names)  # If not, the row is refused.
        yield [_value(text, name) for text, name in zip(row, names, strict=True)] if fits else list(row)


def _value(text: str, name: str) -> object:
    if name == "value" and not text.strip():
        return None
    if (name == "value" or name in table.MOMENTS) and "_" not in text:
        try:
            return float(text)
        except ValueError:
            return text
    return text
