"""Heartbeat: tells somebody outside, at regular times, that this node does its work; silence is what alarms them.

It is sent only while the node is well, and nothing ever waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from tocsin.outbound import Answer, Failure
from tocsin.ports import Clock
from tocsin.runtime.metrics import Metrics

log = logging.getLogger("tocsin.heartbeat")

BEAT_S = 10.0
"""How long one heartbeat may take."""


class Get(Protocol):
    """Makes a guarded GET; see `tocsin.outbound.Outbound.get`."""

    async def __call__(
        self, url: str, *, headers: dict[str, str], timeout_s: float, answer_bytes_max: int
    ) -> Answer | Failure: ...


class Heartbeat:
    """Beats once it was told whom to tell, from `start` to `stop`.

    unwell: says why the node does not do its work, "" if it does.
    """

    def __init__(self, unwell: Callable[[], str], clock: Clock, metrics: Metrics) -> None:
        self._unwell = unwell
        self._clock = clock
        self._metrics = metrics
        self._to: tuple[Get, str, float] | None = None
        self._started = False
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def use(self, get: Get, url: str, every_s: float) -> None:
        """Beat there from now on, at once and then every so many seconds. url: "" for nowhere."""
        self._to = (get, url, every_s) if url else None
        self._said = ""
        if self._started:
            self.start()

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._started = True
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._beat(*self._to)) if self._to is not None else None

    async def stop(self) -> None:
        """End; a heartbeat that is on its way is given up."""
        self._started = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _beat(self, get: Get, url: str, every_s: float) -> None:
        every = int(every_s * 1e6)
        due = self._clock.now()
        while True:
            await self._once(get, url, every_s)
            # A process that was stopped for a while beats once, not once for each that it missed.
            due = max(due + every, self._clock.now())
            await asyncio.sleep((due - self._clock.now()) / 1e6)

    async def _once(self, get: Get, url: str, every_s: float) -> None:
        why = self._unwell()
        if why:
            self._tell("withheld", f"no heartbeat is sent, because {why}")
            return
        try:
            answer = await get(url, headers={}, timeout_s=min(every_s, BEAT_S), answer_bytes_max=1024)
        except Exception as error:
            log.debug("a heartbeat failed in a way that it should not", exc_info=True)
            self._tell("failed", f"the heartbeat fails: {type(error).__name__}")
            return
        if isinstance(answer, Failure):
            self._tell("failed", f"the heartbeat fails: {answer.why}")
        elif not 200 <= answer.status < 300:
            self._tell("failed", f"the heartbeat fails: it was answered with HTTP {answer.status}")
        else:
            self._tell("sent", "")

    def _tell(self, outcome: str, trouble: str) -> None:
        """Count, and say in the log what is new."""
        self._metrics.beat(outcome)
        if trouble and not self._said:
            log.warning("%s (said once, until it works again)", trouble)
        elif self._said and not trouble:
            log.warning("the heartbeat is sent again")
        self._said = trouble
