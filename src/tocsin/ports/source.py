"""Sources: where rules get their numbers, as a protocol."""

from typing import Protocol

from tocsin.core.model.rule import Ask, Series


class SourceFailed(Exception):
    """A source gave no answer. The message says why and is fit to be shown: neither a secret nor data stands in it.

    is_away: the source itself does not work; otherwise it is this question that it cannot answer.
    """

    def __init__(self, message: str, *, is_away: bool) -> None:
        super().__init__(message)
        self.is_away = is_away


class Source(Protocol):
    """Where rules get their numbers. It only reads, in bounded time, and gives a bounded answer.

    name: as the operator calls it (unique); kind: `sql`, `prometheus`, `http`, ...
    """

    name: str
    kind: str

    def check(self, query: str) -> None:
        """Refuse a query that this source would never answer, without asking anybody. Raises: Invalid.

        That it passes is no promise: what a name in it leads to, only who is asked can tell.
        """
        ...

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """Give the series of a question with their finite points in [since, until), the oldest first.

        No point is no data.
        Raises: SourceFailed. An answer that could be misread is refused, too, and never guessed at.
        """
        ...

    async def close(self) -> None: ...
