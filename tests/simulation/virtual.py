"""Virtual: an event loop whose time is a number, and processes in it that can be killed as SIGKILL kills.

What is ready runs in order, as in the real loop; chance comes in by how long each thing takes. A killed process runs
nothing more, not even what stands behind `finally`.
"""

import asyncio
import asyncio.base_events
import contextvars
import heapq
import inspect
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tocsin.core.model.errors import Unavailable

STEPS_AT_ONCE_MAX = 50_000
"""So many steps at one moment: something goes round in circles."""


STEPS_MAX = 200_000
"""So many steps in all: it will never settle. A usual story has some ten thousand."""


class Killed(BaseException):
    """The process is gone. Nobody catches this."""


class Process:
    """What dies together. Everything that is begun inside belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.died = asyncio.Event()
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def kill(self) -> None:
        """End it, here and now."""
        self.dead = True
        self.died.set()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something inside, as one who knocks at its door."""
        return self.context.run(function, *args)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin work inside."""
        return asyncio.get_running_loop().create_task(work, context=self.context)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """Runs what is ready, and jumps to the next moment at which something is. Threads are work that takes a moment.

    ends: the virtual second at which all must be over.
    """

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.now = 0.0
        self.ends = float("inf")
        self.steps = 0
        self._steps_at_once = 0
        self.failures: list[str] = []
        self.set_exception_handler(self._failed)
        self.set_task_factory(self._task)
        self._tasks: list[asyncio.Task[Any]] = []

    def _task(self, loop: Any, work: Any, **more: Any) -> "asyncio.Task[Any]":
        """Keep every task: what a killed process leaves behind must not be closed, which would run its `finally`."""
        task = asyncio.Task(work, loop=self, **more)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def bury(self) -> None:
        """Close what is over. What a killed process never began is not to be missed by anybody."""
        for task in self._tasks:
            work = task.get_coro()
            if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        self.close()

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Do it after a moment, all at once."""
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.chance.choice((0.0, 0.0001, 0.001, 0.02)), run)
        return future

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # Whoever asked for what is unavailable may have been killed before the answer came.
        if not isinstance(error, Killed | Unavailable):
            self.failures.append(f"{context.get('message')}: {error!r}")

    def _check_closed(self) -> None:
        """What a killed process left behind is cleared away when all is over, and may knock once more."""

    def _write_to_self(self) -> None:
        """There is no other thread that would have to be heard."""

    def _process_events(self, event_list: Any) -> None:
        """There is no network."""

    def _run_once(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        ready = self._ready  # type: ignore[attr-defined]
        assert not self.failures, self.failures[0]
        assert self.now < self.ends, f"nothing settles: after {self.now:.0f} s it still goes on"
        assert self.steps < STEPS_MAX, f"nothing settles: after {self.steps} steps it still goes on"
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            assert scheduled, "everybody waits for ever"
            if scheduled[0]._when > self.now:
                self.now = scheduled[0]._when
                self._steps_at_once = 0
        while scheduled and scheduled[0]._when <= self.now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            process = handle._context.get(PROCESS)
            if handle._cancelled or (process is not None and process.dead):
                continue
            self.steps += 1
            self._steps_at_once += 1
            assert self._steps_at_once < STEPS_AT_ONCE_MAX, f"{handle} goes round in circles"
            handle._run()
