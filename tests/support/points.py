"""Points: a source over points in memory, which it gives as they lie in the window that it is asked for."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from tocsin.core.model.rule import Ask, Point, Series
from tocsin.ports import Source, SourceFailed


class Points:
    """A source. series: for every query; by_query: for one query, in place of that.

    fails: in place of an answer. asked: all questions so far. is_closed: whether nobody asks any more.
    """

    def __init__(
        self,
        name: str,
        series: Sequence[Series] = (),
        *,
        by_query: Mapping[str, Sequence[Series]] | None = None,
    ) -> None:
        self.name = name
        self.kind = "points"
        self.series = tuple(series)
        self.by_query = dict(by_query or {})
        self.fails: SourceFailed | None = None
        self.asked: list[Ask] = []
        self.is_closed = False

    def check(self, query: str) -> None:
        """See `Source`. Any query will do."""

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """See `Source`."""
        self.asked.append(ask)
        if self.fails is not None:
            raise self.fails
        found = self.by_query.get(ask.query, self.series)
        return tuple(Series(labels=one.labels, points=between(one.points, ask)) for one in found)

    async def close(self) -> None:
        """See `Source`."""
        self.is_closed = True


def between(points: Sequence[Point], ask: Ask) -> tuple[Point, ...]:
    """Give the points in [since, until) of those that are sorted by time."""
    first, last = (bisect_left(points, at, key=lambda point: point.at) for at in (ask.since, ask.until))
    return tuple(points[first:last])


_: Source = Points("any")
