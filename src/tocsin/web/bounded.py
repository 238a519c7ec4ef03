"""Bounded: work that looks at very much. Few at once do it, few more wait, and all others are told to come back.

Everything that reads shares a few threads, and all of Python one interpreter: without a bound, twenty people who try
out a silence would keep the twenty-first from acknowledging, and the alerts from coming in.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from tocsin.core.model.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

AT_ONCE = 2
WAITING_MAX = 16


class Bounded:
    """Runs work of one kind in threads. Belongs to the event loop."""

    def __init__(self, at_once: int = AT_ONCE, waiting_max: int = WAITING_MAX) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._most = at_once + waiting_max
        self._inside = 0

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it in a thread once there is room. Raises: Unavailable if too many wait already."""
        async with self.room():
            return await run_in_threadpool(work, *args, **kwargs)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Wait for room, and have it. Raises: Unavailable if too many wait already."""
        if self._inside >= self._most:
            raise Unavailable(f"{self._inside} requests that look at very much are under way. Try again.")
        self._inside += 1
        try:
            async with self._room:
                yield
        finally:
            self._inside -= 1


def _of(kind: str) -> Any:
    """Depend on the application's room for one kind of work, by its name in `app.state`."""

    def give(request: Request) -> Bounded:
        found: Bounded = getattr(request.app.state, kind)
        return found

    return Depends(give)


Exports = Annotated[Bounded, _of("exports")]
"""The whole ledger in one file: minutes of work for a large one, so one at a time."""
Previews = Annotated[Bounded, _of("previews")]
Searches = Annotated[Bounded, _of("searches")]
Trials = Annotated[Bounded, _of("trials")]
Stories = Annotated[Bounded, _of("stories")]
"""The entries of an incident: most often few and read at once, but there may be 100,000 of them."""
