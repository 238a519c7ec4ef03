"""Dispatcher: lets channels speak. One lane a channel, so that a dead one delays no other.

A lane attempts what is due, urgent first, so many at a time; some places are kept for what is urgent. A lane has to
earn its places: however many receivers never answer, what they hold is little. It decides nothing: each outcome goes
back to the core, which says when to try again or that it is over.

It looks after itself, too: deliveries that stand still although nothing holds them up are told, once, to whoever can
start the process anew.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count

from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import OutcomeReported
from tocsin.core.model.notification import Message, Outcome, Refused, Retry
from tocsin.ports import Channel, Clock, Store, StoreFailed
from tocsin.runtime.committed import Committed, Dispatch
from tocsin.runtime.gate import Gate
from tocsin.runtime.metrics import ChannelFigures, Metrics
from tocsin.runtime.names import Names, names_somebody
from tocsin.runtime.turn import Result

log = logging.getLogger("tocsin.dispatcher")

PLACES = 32
PLACES_FOR_URGENT = 8
PLACES_AT_FIRST = 4
"""What a lane has besides those for what is urgent. Each answer earns one more, each failure costs half of them."""

ATTEMPT_S = 60.0
"""How long one attempt may take before it counts as failed, whatever the channel thinks."""

REPORT_AGAIN_S = 1.0
READ_AGAIN_S = 5.0
"""After a store that failed: when the outcome is reported again, and when a message is read again."""

STUCK_S = 30.0
"""So long a delivery may be due, with a place free in a lane that does nothing."""

LOOK_EVERY_S = 15.0
"""How often that is looked at. Looks count, not time: a process that was stopped makes one when it goes on."""


class Dispatcher:
    """Carries out deliveries. Everything runs on the event loop."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        gate: Gate,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        *,
        dry_run: bool = False,
        failpoint: Callable[[str], None] = lambda name: None,
        give_up: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._gate = gate
        self._store = store
        self._names = Names(store)
        self._clock = clock
        self._metrics = metrics
        self._dry_run = dry_run
        self._failpoint = failpoint
        self._give_up = give_up
        self._committed = gate.listen()
        self._lanes = {name: Lane(self, channel) for name, channel in channels.items()}
        self._held: dict[int, Dispatch] = {}
        # Which attempt of a delivery runs, or came to something that is not stored yet.
        self._unsettled: dict[int, int] = {}
        # Which delivery waits until the attempt of one that was merged into it is over, by that one.
        self._behind: dict[int, int] = {}
        self._failing: set[str] = set()
        self._last: dict[str, Outcome] = {}
        self._task: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        # By channel: the moves that its lane had made by the last look, and how many looks in a row it stood still.
        self._moves: dict[str, int] = {}
        self._still: dict[str, int] = {}
        self.is_held_back = False
        self.stuck = ""
        """Why deliveries stand still, "" if they do not. Once it says something, only a new start helps."""

    def start(self) -> None:
        """Begin to carry out what is committed."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def stop(self, grace_s: float) -> None:
        """Stop; attempts that are on their way get so long to end. What did not end stays pending in the store."""
        if self._watch is not None:
            self._watch.cancel()
        if self._task is not None:
            self._task.remove_done_callback(self._ended)
            self._task.cancel()
        await asyncio.gather(*(lane.stop(grace_s) for lane in self._lanes.values()))
        if self._retiring:
            _, late = await asyncio.wait(self._retiring, timeout=grace_s)
            for task in late:
                task.cancel()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Begin no attempt for a moment, in which the policy and the channels are exchanged. Those that run go on."""
        self.is_held_back = True
        try:
            yield
        finally:
            self.is_held_back = False
            for lane in self._lanes.values():
                lane.go()

    def use(
        self, channels: Mapping[str, Channel], *, dry_run: bool, close: Callable[[], Awaitable[None]] | None
    ) -> None:
        """Speak through these channels from now on.

        An attempt that runs ends with the channel that it began with, which is closed then.
        close: closes what the channels before shared, after the last of them.
        """
        while not self._committed.empty():  # What was cancelled with its address must not be sent to it.
            self._take(self._committed.get_nowait())
        self._dry_run = dry_run
        self._failing &= channels.keys()
        retired = [lane.use(channels.get(name)) for name, lane in self._lanes.items()]
        self._lanes |= {name: Lane(self, one) for name, one in channels.items() if name not in self._lanes}
        task = asyncio.create_task(_retire(retired, close))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def figures(self) -> dict[str, ChannelFigures]:
        """Say how each channel stands, by name; also those that are no longer configured and have deliveries."""
        return {
            name: ChannelFigures(failing=name in self._failing, due=lane.due())
            for name, lane in self._lanes.items()
        }

    async def _run(self) -> None:
        while True:
            self._take(await self._committed.get())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tell_stuck("the dispatcher has ended", None if task.cancelled() else task.exception())

    def _look_later(self) -> None:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """See whether something is due that nobody attempts although nothing holds it up."""
        self._watch = None
        if not self._held:
            self._still = {}
            return
        self._look_later()
        now = self._clock.now()
        resting: dict[str, Lane] = {}
        for name, lane in self._lanes.items():
            lane.look(now)
            if lane.moves == self._moves.get(name):
                resting[name] = lane
            self._moves[name] = lane.moves
        still: dict[str, int] = {}
        if resting and not self.is_held_back and not self._gate.failed:
            for number, held in self._held.items():
                if held.due > now or number in self._unsettled or held.channel not in resting:
                    continue
                if number in self._behind.values():
                    continue
                if resting[held.channel].has_place(held):
                    still[held.channel] = self._still.get(held.channel, 0) + 1
        self._still = still
        for name, looks in still.items():
            if (looks - 1) * LOOK_EVERY_S >= STUCK_S:
                self._tell_stuck(
                    f"channel {name} attempts nothing, and something has been due for {STUCK_S:.0f} s"
                )

    def _tell_stuck(self, why: str, error: BaseException | None = None) -> None:
        if not self.stuck:
            self.stuck = f"deliveries stand still: {why}"
            log.error("%s; a new start resumes them", self.stuck, exc_info=error)
            self._give_up(self.stuck)

    def _take(self, committed: Committed) -> None:
        if committed.dispatches:
            self._look_later()
        for number in committed.ended:
            self._held.pop(number, None)
        if committed.is_all:
            pending = {dispatch.delivery for dispatch in committed.dispatches}
            self._held = {number: held for number, held in self._held.items() if number in pending}
        for dispatch in committed.dispatches:
            before = self._held.get(dispatch.delivery)
            if before is not None and (before.attempt, -before.due) >= (dispatch.attempt, -dispatch.due):
                continue  # It is known already; one that somebody wants sooner takes its place.
            self._held[dispatch.delivery] = dispatch
            if dispatch.replaces in self._unsettled:
                self._behind[dispatch.replaces] = dispatch.delivery
            if dispatch.delivery not in self._unsettled and dispatch.delivery not in self._behind.values():
                self._lane(dispatch.channel).put(dispatch)

    def _lane(self, channel: str) -> "Lane":
        lane = self._lanes.get(channel)
        if lane is None:
            lane = self._lanes[channel] = Lane(self, None)
        return lane

    def _settle(self, delivery: int) -> None:
        """An attempt is over and done with: make the next one, if it came while that ran."""
        attempt, held = self._unsettled.pop(delivery), self._held.get(delivery)
        if held is not None and held.attempt != attempt:
            self._lane(held.channel).put(held)
        self._follow(delivery)

    def _follow(self, delivery: int) -> None:
        """Attempt what was behind a delivery."""
        behind = self._held.get(self._behind.pop(delivery, 0))
        if behind is not None:
            self._lane(behind.channel).put(behind)

    def drop(self, dispatch: Dispatch) -> None:
        """Its attempt broke off without an outcome, so nobody carries it out any more."""
        self._unsettled.pop(dispatch.delivery, None)
        self._follow(dispatch.delivery)

    def is_current(self, dispatch: Dispatch) -> bool:
        """Say whether this attempt is still wanted."""
        return self._held.get(dispatch.delivery) is dispatch

    async def attempt(self, channel: Channel | None, dispatch: Dispatch) -> Outcome | None:
        """Make one attempt and report its outcome; None if there was none. channel: None if it is not configured."""
        if not self.is_current(dispatch):
            return None  # What came with it said that it is over, or another's.
        self._failpoint("before-send")
        self._unsettled[dispatch.delivery] = dispatch.attempt
        outcome: Outcome
        began = self._clock.now()
        if channel is None:
            outcome = Retry(why=f"channel {dispatch.channel} is not configured", after_s=600)
        elif dispatch.target is None:
            outcome = Refused(why="the target is no longer configured")
        else:
            try:
                message = dispatch.message
                if message is None:
                    message = await asyncio.to_thread(self._store.message, dispatch.notification)
                if message is None:
                    outcome = Refused(why="what it should say is no longer stored")
                else:
                    if names_somebody(message):
                        message = await asyncio.to_thread(self._names.put_into, message)
                    outcome = await self._send(channel, dispatch, message)
            except StoreFailed as failed:
                log.info("what delivery %d says cannot be read now: %s", dispatch.delivery, failed)
                self._settle(dispatch.delivery)
                held = self._held.get(dispatch.delivery)
                if held is not None and held.attempt == dispatch.attempt:
                    # Nobody was asked, so it was no attempt: make it when the store may answer.
                    self._lane(held.channel).put_off(held, READ_AGAIN_S)
                return None
            except TimeoutError:
                outcome = Retry(why=f"no answer within {ATTEMPT_S:.0f} s")
            except Exception as error:
                log.exception("channel %s failed in a way that it should not", channel.name)
                outcome = Retry(why=f"the channel failed: {type(error).__name__}")
        self._note(dispatch.channel, outcome)
        ended = self._clock.now()
        self._metrics.attempted(dispatch.channel, outcome, took=ended - began, since=ended - dispatch.since)
        self._failpoint("after-send")
        self._report(dispatch, outcome)
        return outcome

    def last_outcome(self, channel: str) -> Outcome | None:
        """Give how the channel's last attempt ended, None if it made none since the start. Safe from any thread."""
        return self._last.get(channel)

    def _note(self, channel: str, outcome: Outcome) -> None:
        """Remember it, and say in the log when a channel begins to fail, and when it works again."""
        self._last[channel] = outcome
        if isinstance(outcome, Retry | Refused):
            if channel not in self._failing:
                self._failing.add(channel)
                log.warning("channel %s fails: %s (tocsin status shows what waits)", channel, outcome.why)
        elif channel in self._failing:
            self._failing.discard(channel)
            log.warning("channel %s works again", channel)

    async def _send(self, channel: Channel, dispatch: Dispatch, message: Message) -> Outcome:
        assert dispatch.target is not None
        async with asyncio.timeout(ATTEMPT_S):
            return await channel.send(
                message,
                dispatch.target,
                key=dispatch.key,
                at=self._clock.wall(),
                dry_run=dispatch.dry_run or self._dry_run,
            )

    def _report(self, dispatch: Dispatch, outcome: Outcome) -> None:
        report = OutcomeReported(delivery=dispatch.delivery, attempt=dispatch.attempt, outcome=outcome)
        self._submit(report)

    def _submit(self, report: OutcomeReported) -> None:
        try:
            self._gate.submit((report,), "system").add_done_callback(
                lambda future: self._reported(future, report)
            )
        except Unavailable:
            asyncio.get_running_loop().call_later(REPORT_AGAIN_S, self._submit, report)

    def _reported(self, future: "asyncio.Future[Sequence[Result]]", report: OutcomeReported) -> None:
        if future.cancelled():
            return
        if future.exception() is None:
            self._settle(report.delivery)
            self._failpoint("after-outcome")
        else:
            # The store failed. The attempt was made: keep asking until that is recorded.
            asyncio.get_running_loop().call_later(REPORT_AGAIN_S, self._submit, report)


async def _retire(
    retired: Sequence[Coroutine[None, None, None]], close: Callable[[], Awaitable[None]] | None
) -> None:
    for error in await asyncio.gather(*retired, return_exceptions=True):
        if isinstance(error, Exception):
            log.warning("a channel that is no longer used did not close: %s", type(error).__name__)
    if close is not None:
        await close()


class Lane:
    """What waits for one channel. channel: None for one that is no longer configured, but may be again."""

    def __init__(self, dispatcher: Dispatcher, channel: Channel | None) -> None:
        self._dispatcher = dispatcher
        self._channel = channel
        # Each with its place in the order in which they came, since a delivery may stand there more than once.
        self._due: list[tuple[bool, int, int, int, Dispatch]] = []
        self._later: list[tuple[int, int, int, Dispatch]] = []
        self._order = count()
        self._running: set[asyncio.Task[Outcome | None]] = set()
        self._places = PLACES_AT_FIRST
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = False
        self.moves = 0
        """How many attempts began or ended."""

    def put(self, dispatch: Dispatch) -> None:
        """Take a delivery; it is attempted when it is due and a place is free."""
        if dispatch.due <= self._dispatcher._clock.now():
            self._wait(dispatch.due, dispatch)
            self.go()
        else:
            self._put_later(dispatch.due, dispatch)

    def put_off(self, dispatch: Dispatch, seconds: float) -> None:
        """Take a delivery whose attempt could not begin, for later."""
        self._put_later(self._dispatcher._clock.now() + int(seconds * 1e6), dispatch)

    def _put_later(self, at: int, dispatch: Dispatch) -> None:
        heapq.heappush(self._later, (at, dispatch.delivery, next(self._order), dispatch))
        self._set_alarm()

    def _wait(self, due: int, dispatch: Dispatch) -> None:
        """Let a delivery that is due wait for a place."""
        heapq.heappush(self._due, (not dispatch.urgent, due, dispatch.delivery, next(self._order), dispatch))

    def due(self) -> list[int]:
        """Give the instants at which those that wait for a place were due."""
        return [due for _, due, _, _, dispatch in self._due if self._dispatcher.is_current(dispatch)]

    def use(self, channel: Channel | None) -> Coroutine[None, None, None]:
        """Attempt through this channel from now on.

        Returns: what waits for the attempts that run through the one before, and closes it.
        """
        before, running = self._channel, set(self._running)
        self._channel = channel
        self._places = PLACES_AT_FIRST

        async def retire() -> None:
            if running:
                await asyncio.wait(running)
            if before is not None:
                await before.close()

        return retire()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._later and not self._stopped:
            wait = max(0.0, (self._later[0][0] - self._dispatcher._clock.now()) / 1e6)
            self._alarm = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        now = self._dispatcher._clock.now()
        while self._later and self._later[0][0] <= now:
            due, _, _, dispatch = heapq.heappop(self._later)
            self._wait(due, dispatch)
        self._alarm = None
        self._set_alarm()
        self.go()

    def look(self, now: int) -> None:
        """Ring sooner if the clock was put forward: the alarm waits for seconds of the event loop, whatever it says."""
        alarm = self._alarm
        if alarm is None or not self._later or self._later[0][0] > now:
            return
        if (
            alarm.when() > asyncio.get_running_loop().time()
        ):  # One that is past broke; that is not hidden here.
            self._set_alarm()

    def has_place(self, dispatch: Dispatch) -> bool:
        """Say whether a delivery could be attempted now."""
        return len(self._running) < self._places + (PLACES_FOR_URGENT if dispatch.urgent else 0)

    def go(self) -> None:
        """Begin what is due, as far as there are places."""
        while self._due and not self._stopped and not self._dispatcher.is_held_back:
            dispatch = self._due[0][-1]
            if not self.has_place(dispatch):
                return
            heapq.heappop(self._due)
            if not self._dispatcher.is_current(dispatch):
                continue
            task = asyncio.create_task(self._dispatcher.attempt(self._channel, dispatch))
            self.moves += 1
            self._running.add(task)
            task.add_done_callback(partial(self._done, dispatch))

    def _done(self, dispatch: Dispatch, task: asyncio.Task[Outcome | None]) -> None:
        self.moves += 1
        self._running.discard(task)
        if task.cancelled():
            pass
        elif task.exception() is not None:
            log.error("an attempt ended without an outcome", exc_info=task.exception())
            self._dispatcher.drop(dispatch)
        elif task.result() is None:
            pass
        elif isinstance(task.result(), Retry):
            self._places = max(PLACES_AT_FIRST, self._places // 2)
        else:
            self._places = min(PLACES - PLACES_FOR_URGENT, self._places + 1)
        self.go()

    async def stop(self, grace_s: float) -> None:
        """Begin nothing more, and wait for what is on its way."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
        if self._channel is not None:
            await self._channel.close()
