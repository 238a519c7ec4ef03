"""Ledger: its rows alone, for whoever checks it beside those who write it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.ledger.verify import Damaged, End

SEGMENTS_AT_ONCE = 16
_LOWEST = -(1 << 63)


class LedgerRows(ABC):
    """The ledger's rows, for one thread. Raises, everywhere: Damaged, StoreFailed."""

    _last: int | None = None

    def end(self) -> End:
        """Read where the ledger ends, and remember that it does: `segments` gives nothing that came later."""
        rows = self._ask("SELECT size, root, edge, at, (SELECT max(first_seq) FROM segments) FROM head")
        if len(rows) != 1:
            raise Damaged(f"the head has {len(rows)} rows instead of one")
        size, root, edge, at, self._last = rows[0]
        return End(size, root, edge, at)

    def segments(self, behind: int | None = None) -> Iterator[Segment]:
        """Give the segments in order, up to the last one that was there when `end` was asked.

        behind: only those that begin after this entry.

        No question stays open meanwhile, so a server beside us can go on folding its WAL into the file.
        """
        position = _LOWEST if behind is None else behind + 1
        while self._last is not None and position <= self._last:
            rows = self._ask(
                "SELECT first_seq, count, root, data FROM segments WHERE first_seq BETWEEN ? AND ? "
                f"ORDER BY first_seq LIMIT {SEGMENTS_AT_ONCE}",
                (position, self._last),
            )
            if not rows:
                return
            for first, count, root, data in rows:
                yield Segment(first_seq=first, count=count, root=root, data=data)
                position = first + 1

    def later(self) -> Iterator[Segment]:
        """Give the segments that came since `segments` began, up to the last one there is now."""
        behind = self._last
        self.end()
        yield from self.segments(behind)

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        """Give the header, decision and private bytes of an entry, None if there is none."""
        rows = self._ask(
            "SELECT first_seq, data FROM segments WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
            (seq,),
        )
        try:
            for first, data in rows:
                for position, parts in enumerate(unpack(data), first):
                    if position == seq:
                        return parts
        except ValueError as error:
            raise Damaged(str(error)) from error
        return None

    def secret(self, name: str) -> bytes | None:
        """Give a secret of the store, None if there is none."""
        rows = self._ask("SELECT value FROM meta WHERE key = ?", (f"secret:{name}",))
        return rows[0][0] if rows else None

    @abstractmethod
    def origins(self) -> list[tuple[int, str]]:
        """Give (seq, name) of what the ledger is called from which entry on; what it was called first, from 0 on."""

    @abstractmethod
    def close(self) -> None:
        """Let it go."""

    @abstractmethod
    def _ask(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Give the rows of an answer."""
