"""Rule chart: points over time with the limits as lines, in characters. Pure; the caller writes it.

A character holds 2 x 4 dots of Unicode's braille patterns (U+2800), or one star where the terminal has no Unicode.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tocsin.core.model.policy import DAY, SECOND
from tocsin.core.model.rule import Point
from tocsin.core.rules.triggers import wording

WIDTH = 80
HEIGHT = 10
LABEL_MAX = 12

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille pattern by row and column (Unicode 16.0, 21.1)."""

_STEPS = "▁▂▃▄▅▆▇█"
_STEPS_ASCII = "_.-=^"

POINTS_MIN = 3
"""Fewer points make no picture."""

GAP = 3
"""Points further apart than so many times the usual distance are not joined."""


class Look(NamedTuple):
    """How a chart is drawn. across, down: dots in one character."""

    across: int
    down: int
    line: str
    edge: str
    tick: str
    corner: str
    floor: str


BRAILLE = Look(2, 4, "╌", "│", "┤", "└", "─")
ASCII = Look(1, 1, "-", "|", "+", "+", "-")


def chart(
    points: Sequence[Point],
    limits: Sequence[float],
    *,
    since: int,
    until: int,
    zone: str,
    trend: tuple[float, float] | None = None,
    unicode: bool = True,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> list[str]:
    """Draw points of [since, until), oldest first, and the limits; [] for fewer than POINTS_MIN.

    trend: a straight line, by its values at `since` and at `until`.
    The highest and the lowest of points and limits are named at the side, and each limit; times below are those of the
    zone, which is named with them.
    """
    if len(points) < POINTS_MIN:
        return []
    look = BRAILLE if unicode else ASCII
    values = [*(point.value for point in points), *limits]
    low, high = min(values), max(values)
    labels = _labels(low, high, limits, height)
    wide = max(map(len, labels.values()))
    columns = width - wide - 2
    dots = _dots(points, since, until, low, high, columns * look.across, height * look.down)
    lines = {(column, _row(limit, low, high, height)) for limit in limits for column in range(columns)}
    if trend is not None:
        lines |= _trend(trend, low, high, columns, height)
    drawn = []
    for row in range(height):
        label = labels.get(row, "")
        cells = (
            _cell(dots, column, row, look) or (look.line if (column, row) in lines else " ")
            for column in range(columns)
        )
        drawn.append(f"{label:>{wide}} {look.tick if label else look.edge}{''.join(cells)}".rstrip())
    drawn.append(f"{'':{wide}} {look.corner}{look.floor * columns}")
    drawn.append(f"{'':{wide + 2}}{_times(since, until, ZoneInfo(zone), columns)}".rstrip())
    return drawn


def sparkline(values: Sequence[float], *, unicode: bool = True) -> str:
    """Draw numbers in one line, a character each, from the lowest to the highest; "" for fewer than POINTS_MIN."""
    if len(values) < POINTS_MIN:
        return ""
    steps = _STEPS if unicode else _STEPS_ASCII
    low, high = min(values), max(values)
    return "".join(steps[len(steps) - 1 - _row(value, low, high, len(steps))] for value in values)


def _row(value: float, low: float, high: float, rows: int) -> int:
    """Give the row of a value, 0 for the highest."""
    if high == low:
        return rows // 2
    # Halved first, since the distance of two floats may be too large for one.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return rows - 1 - min(rows - 1, max(0, round(share * (rows - 1))))


def _trend(
    trend: tuple[float, float], low: float, high: float, columns: int, rows: int
) -> set[tuple[int, int]]:
    """Give the cells through which a line goes, as far as it is between the lowest and the highest value."""
    begin, end = trend
    values = ((column, begin + (end - begin) * (column + 0.5) / columns) for column in range(columns))
    return {(column, _row(value, low, high, rows)) for column, value in values if low <= value <= high}


def _labels(low: float, high: float, limits: Sequence[float], height: int) -> dict[int, str]:
    """Name the rows. Where two fall together a limit has it."""
    named = {_row(value, low, high, height): value for value in (low, high, *limits)}
    return {row: _short(value) for row, value in named.items()}


def _short(value: float) -> str:
    text = wording.short(value)
    return text if len(text) <= LABEL_MAX else f"{value:.4g}"


def _dots(
    points: Sequence[Point], since: int, until: int, low: float, high: float, columns: int, rows: int
) -> set[tuple[int, int]]:
    """Give the dots that are set, as (column, row), with those between neighbours."""
    length = max(1, until - since)
    places = [
        (
            min(columns - 1, max(0, (point.at - since) * columns // length)),
            _row(point.value, low, high, rows),
        )
        for point in points
    ]
    found = set(places)
    steps = sorted(after.at - before.at for before, after in pairwise(points))
    usual = steps[len(steps) // 2] if steps else 0
    for (before, after), (begin, end) in zip(pairwise(points), pairwise(places), strict=True):
        if after.at - before.at <= GAP * usual:
            found |= _between(begin, end)
    return found


def _between(begin: tuple[int, int], end: tuple[int, int]) -> set[tuple[int, int]]:
    steps = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]), 1)
    return {
        tuple(first + round((last - first) * step / steps) for first, last in zip(begin, end, strict=True))  # type: ignore[misc]
        for step in range(steps)
    }


def _cell(dots: set[tuple[int, int]], column: int, row: int, look: Look) -> str:
    """Give the character with the dots of one cell, "" if there are none."""
    bits = 0
    for down in range(look.down):
        for across in range(look.across):
            if (column * look.across + across, row * look.down + down) in dots:
                bits |= _DOTS[down][across]
    if not bits:
        return ""
    return "*" if look is ASCII else chr(0x2800 + bits)


def _times(since: int, until: int, zone: ZoneInfo, columns: int) -> str:
    """Write the beginning, the middle and the end of the time below their places, and whose clocks show it."""
    form = "%H:%M" if until - since <= DAY else "%m-%d %H:%M"
    begin, middle, end = (
        datetime.fromtimestamp(at // SECOND, tz=UTC).astimezone(zone).strftime(form)
        for at in (since, (since + until) // 2, until)
    )
    room = columns - len(begin) - len(end) - 2
    middle = next((one for one in (f"{middle} {zone.key}", str(zone.key)) if len(one) <= room), middle)
    half = (columns - len(middle)) // 2
    return f"{begin:<{half}}{middle}{end:>{columns - half - len(middle)}}"
