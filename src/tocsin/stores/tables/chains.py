"""Chains: which alerts are in an incident, as a chain of rows from the last that joined to the first.

An index on the incident would be written in another place for every alert of a batch that falls into many incidents;
rows that only ever grow at the end touch one page.
"""

from collections.abc import Callable
from typing import Any

from tocsin.ports import Batch

KEPT = 10_000

CHAIN = """
WITH RECURSIVE chain (number, alert, before) AS (
    SELECT number, alert, before FROM members WHERE number = (SELECT last_member FROM incidents WHERE number = ?)
    UNION ALL
    SELECT m.number, m.alert, m.before FROM chain c JOIN members m ON m.number = c.before
)
"""

MEMBERS = f"""{CHAIN}
SELECT body FROM alerts WHERE number IN (SELECT alert FROM chain) ORDER BY number
"""


class Chains:
    """Knows where the chains of recent incidents end. ask: on the writer's connection."""

    def __init__(self, ask: Callable[[str, tuple[Any, ...]], list[Any]]) -> None:
        self._ask = ask
        self._last: dict[int, int] = {}
        self._number: int | None = None

    def forget(self) -> None:
        """Begin anew: what was linked last may not have been committed."""
        self._last.clear()
        self._number = None

    def link(self, batch: Batch) -> tuple[list[tuple[int, int, int]], dict[int, int]]:
        """Give the rows (number, alert, number of the row before or 0) that a batch adds, and each new end."""
        rows: list[tuple[int, int, int]] = []
        ends: dict[int, int] = {}
        # By number, so that it does not matter in which order the batch names them.
        for row in sorted([row for row in batch.alerts if row.joined], key=lambda row: row.alert.number):
            for incident in row.joined:
                if self._number is None:
                    self._number = self._ask("SELECT coalesce(max(number), 0) FROM members", ())[0][0]
                self._number += 1
                rows.append((self._number, row.alert.number, self._end(incident)))
                self._last[incident] = ends[incident] = self._number
        while len(self._last) > KEPT:
            del self._last[next(iter(self._last))]
        return rows, ends

    def _end(self, incident: int) -> int:
        last = self._last.get(incident)
        if last is None:
            found = self._ask("SELECT last_member FROM incidents WHERE number = ?", (incident,))
            last = found[0][0] if found else 0
        return last
