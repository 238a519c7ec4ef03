"""Housekeeper: lets go of what was kept for long enough, in small steps, each of them an entry of the ledger.

What a policy's `keep` asks for: private parts of entries that are older, and incidents that were resolved before, with
all that is listed about them. What is not over stays, however old it is. Decisions stay for ever.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tocsin.core.ledger.encoding import read_header, unpack
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.input import Input, RetentionDue
from tocsin.ports import Clock, Store, StoreFailed
from tocsin.runtime.forgetting import About
from tocsin.runtime.turn import Result

log = logging.getLogger("tocsin.housekeeper")

FIRST_AFTER_S = 60.0
EVERY_S = 600.0
ENTRIES_AT_ONCE = 2_000
INCIDENTS_AT_ONCE = 500


class Housekeeper:
    """Belongs to the event loop; reads the store in threads. ask: hands an input to the pump."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ask: Callable[[Input], Awaitable[Result]],
        keep: Callable[[], int],
    ) -> None:
        self._store = store
        self._clock = clock
        self._ask = ask
        self._keep = keep
        self._from = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from time to time; on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop; what was let go of is recorded, and the rest comes later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                while await self.step():
                    pass
            except (TocsinError, StoreFailed) as error:
                log.warning("what is no longer kept was not all erased: %s", error)
            await asyncio.sleep(EVERY_S)

    async def step(self) -> bool:
        """Let go of a little; say whether there was anything. Raises: TocsinError, StoreFailed."""
        keep = self._keep()
        if not keep:
            return False
        due = await asyncio.to_thread(self.due, self._clock.now() - keep)
        if not due.entries and not due.incidents:
            return False
        # What came back to life meanwhile is refused; it is no longer due at the next look, and that is not now.
        return (await self._ask(due)).outcome == "changed"

    def due(self, before: int) -> RetentionDue:
        """Find what is older than a moment. Reads no further than one step needs. Raises: StoreFailed."""
        entries: list[int] = []
        about = About()
        first_kept: int | None = None
        for segment in self._store.segments(self._from):
            if first_kept is None:
                self._from = segment.first_seq
            for seq, (header, decision, private) in enumerate(unpack(segment.data), segment.first_seq):
                if not private:
                    continue
                if len(entries) >= ENTRIES_AT_ONCE or read_header(header).at >= before:
                    return self._due(entries, about, before)
                mine = About()
                mine.add(header, decision)
                if self._is_over(mine):
                    entries.append(seq)
                    about.add(header, decision)
                elif first_kept is None:
                    first_kept = seq
        return self._due(entries, about, before)

    def _due(self, entries: list[int], about: About, before: int) -> RetentionDue:
        return RetentionDue(
            entries=tuple(entries),
            about=tuple(sorted(about.incidents)),
            incidents=tuple(self._store.resolved_before(before, INCIDENTS_AT_ONCE)),
        )

    def _is_over(self, about: About) -> bool:
        """Say whether nothing that goes on, nor a replay, needs what an entry about these says."""
        if about.folds:
            return False
        store = self._store
        if any(store.is_live(number) for number in about.incidents):
            return False
        for number in about.silences:
            view = store.find_silence(str(number))
            if view is not None and view.ended_at is None:
                return False
        if about.maintenances:
            running = {one.number for one, _, is_over in store.list_maintenances() if not is_over}
            if not running.isdisjoint(about.maintenances):
                return False
        newest = store.policies(None, 1) if about.policies else []
        return not newest or newest[0].version not in about.policies
