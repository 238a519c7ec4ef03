"""Virtual: an event loop whose time is a number, and processes in it that can be killed as SIGKILL kills.

What is ready runs in order, as in the real loop; chance comes in by how long each thing takes. A killed process runs
nothing more, not even what stands behind `finally`. One that stands still, as SIGSTOP lets it, runs what it missed
when it goes on.
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


STEPS_MAX = 1_000_000
"""So many steps in all: it will never settle. A usual story has some ten thousand, the busiest of 5,000 has 250,000."""


class Killed(BaseException):
    """The process is gone. Nobody catches this."""


class Process:
    """What dies together. Everything that is begun inside belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.died = asyncio.Event()
        self.stands = False
        self.missed: list[asyncio.Handle] = []
        self.went_on_at = 0.0
        self._goes_on = asyncio.Event()
        self._still_until = 0.0
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def kill(self) -> None:
        """End it, here and now."""
        self.dead = True
        self.died.set()

    def stand(self, seconds: float) -> None:
        """Let it run nothing for so long, once what runs now comes to its next `await`."""
        loop = asyncio.get_running_loop()
        self.stands = True
        self._goes_on.clear()
        self._still_until = max(self._still_until, loop.time() + seconds)
        loop.call_at(self._still_until, self._go_on, context=contextvars.Context())

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        if self.stands and loop.time() >= self._still_until:
            self.stands, self.went_on_at = False, loop.time()
            self._goes_on.set()
            loop._ready.extend(self.missed)  # type: ignore[attr-defined]
            self.missed.clear()

    async def hears(self) -> None:
        """Wait until it does not stand still."""
        while self.stands:
            await self._goes_on.wait()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something inside, as one who knocks at its door."""
        return self.context.run(function, *args)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin work inside."""
        return asyncio.get_running_loop().create_task(work, context=self.context)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Step(asyncio.TimerHandle):
    """What is to run, and when; as its base, without what only debugging needs."""

    def __init__(
        self, when: float, callback: Callable[..., object], args: Any, loop: "VirtualLoop", context: Any
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None
        self._when = when


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
        self._timers: list[tuple[float, asyncio.TimerHandle]] = []

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

    # As in the base, without what only real loops need; half of a story's work is to come here.

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = Step(self.now, callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = Step(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        when = self.now + delay
        timer = Step(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, timer))
        return timer

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
        timers, ready = self._timers, self._ready  # type: ignore[attr-defined]
        while not self._stopping:  # type: ignore[attr-defined]
            assert not self.failures, self.failures[0]
            assert self.now < self.ends, f"nothing settles: after {self.now:.0f} s it still goes on"
            assert self.steps < STEPS_MAX, f"nothing settles: after {self.steps} steps it still goes on"
            while timers and timers[0][1]._cancelled:  # type: ignore[attr-defined]
                heapq.heappop(timers)
            if not ready:
                assert timers, "everybody waits for ever"
                if timers[0][0] > self.now:
                    self.now = timers[0][0]
                    self._steps_at_once = 0
            while timers and timers[0][0] <= self.now:
                ready.append(heapq.heappop(timers)[1])
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                process = handle._context.get(PROCESS)
                if process is not None:
                    if process.dead:
                        continue
                    if process.stands:
                        process.missed.append(handle)
                        continue
                self.steps += 1
                self._steps_at_once += 1
                assert self._steps_at_once < STEPS_AT_ONCE_MAX, f"{handle} goes round in circles"
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler(
                        {"message": f"Exception in {handle}", "exception": error, "handle": handle}
                    )
