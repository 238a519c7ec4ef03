"""Points: a source that answers from a list of points, and can be told to fail."""

from collections.abc import Sequence

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.ports import SourceFailed


class Points:
    """See `tocsin.ports.Source`. fails: what is raised in place of an answer. asked: all questions so far."""

    kind = "points"

    def __init__(self, name: str, series: Sequence[Series] = ()) -> None:
        self.name = name
        self.series = list(series)
        self.fails: SourceFailed | None = None
        self.asked: list[Ask] = []
        self.is_closed = False

    def check(self, query: str) -> None:
        if query == "nonsense":
            raise Invalid("This is nonsense.")

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        self.asked.append(ask)
        if self.fails is not None:
            raise self.fails
        return tuple(
            Series(one.labels, tuple(point for point in one.points if ask.since <= point.at < ask.until))
            for one in self.series
        )

    async def close(self) -> None:
        self.is_closed = True


def points(*given: tuple[int, float]) -> tuple[Point, ...]:
    return tuple(Point(at, value) for at, value in given)
