"""Gate: the way from the event loop to the pump's thread and back; where load is shed, before acceptance.

Whatever waits is taken by one turn together: the running commit is the collection window.
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from tocsin.core.engine.verdict import SYSTEM
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import Input, NodeStart
from tocsin.ports import Clock
from tocsin.runtime.committed import Committed
from tocsin.runtime.metrics import Metrics
from tocsin.runtime.pump import GAP_MIN, Pump, Request
from tocsin.runtime.turn import Result

log = logging.getLogger("tocsin.gate")

INPUTS_WAITING_MAX = 40_000
INPUTS_A_TURN = 1_000
IDLE_S = 5.0
LOOK_EVERY_S = 1.0
"""How often a node looks what others decided, if nobody asks it for anything."""

AFTER_FAILURE_S = 1.0
"""After a turn that failed: when to try again if nobody asks; so that a timer which fails keeps no core busy."""

STUCK_S = 30.0
"""A turn ends every IDLE_S at the latest; after so long without one something holds the pump's thread."""


class Gate:
    """Runs the pump on a thread of its own. All methods but `on_committed` belong to the event loop."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._waiting = 0
        self._stopped = False
        self._turned_at = 0
        self._futures: dict[int, tuple[asyncio.Future[Sequence[Result]], float]] = {}
        self._answers: deque[tuple[Request, Sequence[Result] | Exception]] = deque()
        self._committed: deque[Committed] = deque()
        self._listeners: list[asyncio.Queue[Committed]] = []
        self._watchers: list[Callable[[Committed], None]] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failing = False
        self.failed: str = ""

    def start(self, pump: Pump) -> None:
        """Begin to take requests."""
        self._loop = asyncio.get_running_loop()
        self._turned_at = self._clock.now()
        self._thread = threading.Thread(target=self._run, args=(pump,), name="pump", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, then stop."""
        self._stopped = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._hand_over()

    def listen(self) -> "asyncio.Queue[Committed]":
        """Give a queue on which everything that is committed from now on arrives, in order."""
        listener: asyncio.Queue[Committed] = asyncio.Queue()
        self._listeners.append(listener)
        return listener

    def watch(self, watcher: Callable[[Committed], None]) -> None:
        """Call this with everything that is committed from now on, in order; it must be quick, and never raise."""
        self._watchers.append(watcher)

    def waiting(self) -> tuple[int, float]:
        """Give how many inputs wait, and for how many seconds the first of them has."""
        assert self._loop is not None
        since = next((since for _, since in self._futures.values()), None)
        return self._waiting, 0.0 if since is None else self._loop.time() - since

    def stuck(self) -> str:
        """Say why no turn can be expected to end, "" if one can."""
        if self._thread is None or not self._thread.is_alive():
            return "the pump's thread is not running"
        if self._clock.now() - self._turned_at > STUCK_S * 1e6:
            return f"no turn has ended for {STUCK_S:.0f} s"
        return ""

    def submit(self, inputs: Sequence[Input], actor: str) -> "asyncio.Future[Sequence[Result]]":
        """Hand over inputs; the future is done once they are committed.

        Raises: Unavailable if too much waits already; nothing was accepted then.
        """
        if self._stopped:
            raise Unavailable("Tocsin is stopping. Nothing was accepted; try again when it is up.")
        if self._waiting + len(inputs) > INPUTS_WAITING_MAX and self._waiting:
            self._metrics.refused(len(inputs))
            raise Unavailable(
                "Tocsin has more waiting than it takes. Nothing was accepted; try again in a second."
            )
        assert self._loop is not None
        future: asyncio.Future[Sequence[Result]] = self._loop.create_future()
        request = Request(inputs, actor, self._answer)
        self._futures[id(request)] = future, self._loop.time()
        self._waiting += len(inputs)
        self._queue.put(request)
        return future

    def on_committed(self, committed: Committed) -> None:
        """Take what the pump committed; called on its thread, or before the start."""
        self._committed.append(committed)

    def _answer(self, request: Request, results: Sequence[Result] | Exception) -> None:
        self._failing = isinstance(results, Exception)
        self._answers.append((request, results))

    def _run(self, pump: Pump) -> None:
        self._wake_loop()
        while (requests := self._collect(pump)) is not None:
            self._turn(pump, requests)

    def _turn(self, pump: Pump, requests: list[Request]) -> None:
        """Let the pump decide all of these, and whatever is due."""
        if not requests:
            # Nobody asks, perhaps because readiness says not to: find out for ourselves whether it works.
            requests = [Request((), SYSTEM, self._answer)]
        now = self._clock.now()
        due = pump.next_wakeup()
        if due is not None and due <= now:
            self._metrics.late(now - due)
        if now - self._turned_at > GAP_MIN:
            # The process was stopped: nobody was heard, so what fires must not expire for that.
            requests.insert(0, Request((NodeStart(gap=now - self._turned_at),), SYSTEM))
        try:
            pump.turn(requests)
        except Exception:
            log.exception("a turn failed in a way that nobody foresaw; its senders are told to try again")
            self._failing = True
            unavailable = Unavailable("Tocsin failed while deciding. Try again.")
            self._answers.extend((request, unavailable) for request in requests if request.answer)
        self._turned_at = self._clock.now()
        self._wake_loop()

    def _collect(self, pump: Pump) -> list[Request] | None:
        """Wait for the first request or the next timer, then take all that waits."""
        wakeup = pump.next_wakeup()
        idle = LOOK_EVERY_S if pump.is_shared else IDLE_S
        timeout = idle if wakeup is None else min(idle, max(0.0, (wakeup - self._clock.now()) / 1e6))
        if self._failing:
            timeout = AFTER_FAILURE_S
        requests: list[Request] = []
        taken = 0
        try:
            request = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            while True:
                if request is None:
                    if not requests:
                        return None
                    self._queue.put(None)
                    return requests
                requests.append(request)
                taken += len(request.inputs)
                if taken >= INPUTS_A_TURN:
                    break
                request = self._queue.get_nowait()
        except queue.Empty:
            pass
        return requests

    def _wake_loop(self) -> None:
        if self._answers or self._committed:
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._hand_over)
            except RuntimeError:
                log.info("the event loop is closed; what is committed stays committed")

    def _hand_over(self) -> None:
        assert self._loop is not None
        answers, committed = self._answers, self._committed
        longest = -1.0
        while answers:
            request, results = answers.popleft()
            self.failed = str(results) if isinstance(results, Exception) else ""
            future, since = self._futures.pop(id(request), (None, 0.0))
            if future is None:
                continue  # The gate's own question, or one that was answered before its turn failed.
            longest = max(longest, self._loop.time() - since)
            self._waiting -= len(request.inputs)
            if future.done():
                continue  # Whoever waited has gone. What was committed stays committed.
            if isinstance(results, Exception):
                future.set_exception(results)
            else:
                future.set_result(results)
        if longest >= 0:
            self._metrics.answered(longest)
        while committed:
            one = committed.popleft()
            for watcher in self._watchers:
                watcher(one)
            for listener in self._listeners:
                listener.put_nowait(one)
