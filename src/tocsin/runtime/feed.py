"""Feed: wakes whoever follows the ledger. Holds no entries: each reads them from the store at their own pace.

So a slow follower costs the memory of what it is sending, and a fast one sees what a commit brought within WAKE_S.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.core.model.errors import Unavailable

CLIENTS_MAX = 100

WAKE_S = 0.05
"""Commits that come so close together wake everybody once."""


class Feed:
    """How far the ledger is committed, as far as this node was told. Belongs to the event loop.

    size: entries; clients: how many follow; closed: set once all of them shall go.
    """

    def __init__(self) -> None:
        self.size = 0
        self.clients = 0
        self.closed = asyncio.Event()
        self._news = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None

    def grew(self, size: int) -> None:
        """Take note that so many entries are committed; 0 says nothing."""
        if size <= self.size:
            return
        self.size = size
        if self.clients and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(WAKE_S, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        news, self._news = self._news, asyncio.Event()
        news.set()

    @contextmanager
    def client(self) -> Iterator[None]:
        """Count one who follows. Raises: Unavailable if there are too many, or none is wanted any more."""
        if self.closed.is_set():
            raise Unavailable("Tocsin is stopping. Follow again when it is up.")
        if self.clients >= CLIENTS_MAX:
            raise Unavailable(f"{CLIENTS_MAX} clients follow already, which is the most. Close one of them.")
        self.clients += 1
        try:
            yield
        finally:
            self.clients -= 1

    async def wait(self, position: int, timeout_s: float) -> None:
        """Return once the ledger has an entry at this position, nobody shall follow any more, or time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.size <= position and not self.closed.is_set():
                    await self._news.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Ask all who follow to go."""
        self.closed.set()
        if self._alarm is not None:
            self._alarm.cancel()
        self._wake()
