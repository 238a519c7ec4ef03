"""Nodes: the real node in virtual time: its pump on the loop instead of a thread, its disk in memory, both breakable.

What several nodes share is told in `shelf`.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.simulation.sinks import SimChannel, Sink
from tests.simulation.virtual import PROCESS, Killed, Process, VirtualLoop
from tests.support.fakes import FakeIds
from tests.support.world import dump

from tocsin.core.engine.restore import restore
from tocsin.core.engine.state import State, begin
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import Input
from tocsin.core.model.policy import Policy
from tocsin.ports import Batch, StoreFailed
from tocsin.runtime.gate import AFTER_FAILURE_S, INPUTS_A_TURN, LOOK_EVERY_S, Gate
from tocsin.runtime.metrics import Metrics
from tocsin.runtime.node import Node
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.runtime.world import MachineClock
from tocsin.stores.memory import MemoryStore

START = 1_800_000_000.0
"""Epoch seconds at which every simulation begins: a Friday in January 2027."""

ORIGIN = "simulated"
IDLE_S = 20.0
"""How often a turn is taken if nobody asks; the real gate takes one four times as often, to no other effect."""

LOCKING_S = 5.0
"""So long a node waits for another one's turn to end."""

LOOKED_EVERY = 500
"""After so many turns the memory of a node that is alone is compared with what is stored."""

HOPS_S = (0.0, 0.0001, 0.001, 0.01)
"""How long a request waits until the pump takes it."""


class Faults:
    """What may go wrong at a step of a node, with what probability. calm: nothing does any more.

    kills, stands: at a named step it dies, or stands still; fails, lies: a commit fails before it took effect, or
    after; delays: it takes long; loses: it stands still in the middle of a turn, which it loses by that.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        kills: float,
        fails: float,
        lies: float,
        delays: float,
        stands: float = 0.0,
        loses: float = 0.0,
    ) -> None:
        self._chance = chance
        self.kills, self.fails, self.lies, self.delays = kills, fails, lies, delays
        self.stands, self.loses = stands, loses
        self.counted: dict[str, int] = {}

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.kills = self.fails = self.lies = self.delays = self.stands = self.loses = 0.0

    def step(self, name: str) -> None:
        """Come by a named step. Raises: Killed."""
        process = PROCESS.get()
        if self.kills and process is not None and self._chance.random() < self.kills:
            self.count(f"kill at {name}")
            process.kill()
            raise Killed
        if self.stands and process is not None and self._chance.random() < self.stands:
            self.count(f"stood still at {name}")
            process.stand(a_standstill(self._chance))

    def commit(self, commit: Callable[[], None]) -> None:
        """Make a commit, or not. Raises: StoreFailed, Killed."""
        self.step("before commit")
        process = PROCESS.get()
        if self.loses and process is not None and self._chance.random() < self.loses:
            self.count("stood still in its turn")
            process.stand(a_standstill(self._chance))
            raise TurnLost("It stood still in the middle of a turn.")
        if self.fails and self._chance.random() < self.fails:
            self.count("commit failed")
            raise StoreFailed("The disk is full.")
        commit()
        if self.lies and self._chance.random() < self.lies:
            self.count("commit's answer lost")
            raise StoreFailed("The answer was lost.")
        self.step("after commit")

    def delay(self) -> float:
        """Say how many seconds a commit takes."""
        if self.delays and self._chance.random() < self.delays:
            self.count("commit was slow")
            return self._chance.choice((0.5, 5.0, 45.0))
        return 0.0

    def count(self, name: str) -> None:
        """Count a fault."""
        self.counted[name] = self.counted.get(name, 0) + 1


def a_standstill(chance: random.Random) -> float:
    """Draw for how many seconds a process stands still: shorter or longer than others take it for alive."""
    return chance.choice((3.0, 20.0, 35.0, 90.0))


class TurnLost(StoreFailed):
    """The database ended the session of a node that stood still."""


class Disk:
    """A store that outlives its processes.

    watch: called after every commit that took effect; took: how many seconds the last one did.
    """

    def __init__(self, inner: MemoryStore, faults: Faults, watch: Callable[[Batch], None]) -> None:
        self._inner = inner
        self._faults = faults
        self._watch = watch
        self._turns = 0
        self.took = 0.0

    def commit(self, batch: Batch) -> None:
        self.took = self._faults.delay()

        def commit() -> None:
            self._inner.commit(batch)
            self._watch(batch)

        self._faults.commit(commit)

    def free_at(self) -> float:
        """Say when nobody else holds it any more."""
        return 0.0

    def turned(self, pump: Pump) -> None:
        """Look, after some turns, whether the node knows what is stored. Raises: AssertionError."""
        self._turns += 1
        if self._turns % LOOKED_EVERY == 0 and pump._state is not None:
            check_memory("the node", pump._state, self._inner)

    def owns_key(self, key: str) -> bool:
        """Say whether what has this key is this process's to send."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def check_memory(name: str, state: State, rows: MemoryStore) -> None:
    """See that a node knows what one that starts now would, and that all intents are accounted for.

    Raises: AssertionError.
    """
    stored = restore(rows.load(), state.id_key)
    begin(stored, state.at)
    is_, should = dump(state, without=("timer",)), dump(stored, without=("timer",))
    for part, value in should.items():
        assert is_[part] == value, f"{name} has other {part} than are stored:\n{is_[part]}\n{value}"
    decided, stands = rows.head().counters.intents, sum(rows.counts().values())
    assert decided == stands, f"{decided} intents were decided, {stands} are accounted for"


class SimGate(Gate):
    """The gate without its thread: the pump takes its turns on the loop, when its thread would."""

    def start(self, pump: Pump) -> None:
        self._loop = asyncio.get_running_loop()
        self._turned_at = self._clock.now()
        self._pump = pump
        self._busy_until = 0.0
        self._plan: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._chance: random.Random = self._loop.chance  # type: ignore[attr-defined]
        self._wake_loop()
        self._set_alarm()

    async def stop(self) -> None:
        self._stopped = True
        self._go()
        for handle in (self._alarm, self._plan):
            if handle is not None:
                handle.cancel()
        self._hand_over()

    def submit(self, inputs: Sequence[Input], actor: str) -> "asyncio.Future[Sequence[Result]]":
        future = super().submit(inputs, actor)
        if self._plan is None:
            assert self._loop is not None
            self._plan = self._loop.call_later(self._chance.choice(HOPS_S), self._go)
        return future

    def stuck(self) -> str:
        return ""

    def _wake_loop(self) -> None:
        """While the disk is busy nobody hears anything."""
        disk, loop = self._pump._store, self._loop
        assert isinstance(disk, Disk)
        assert loop is not None
        self._busy_until = loop.time() + disk.took
        loop.call_later(disk.took, self._hand_over)
        disk.took = 0.0

    def _go(self) -> None:
        assert self._loop is not None
        self._plan = None
        disk, now = self._pump._store, self._loop.time()
        assert isinstance(disk, Disk)
        until = self._busy_until
        if until <= now < (free_at := disk.free_at()) <= now + LOCKING_S:
            until = free_at
        if now < until:
            self._plan = self._loop.call_at(until, self._go)
            return
        requests: list[Request] = []
        while not self._queue.empty() and sum(len(one.inputs) for one in requests) < INPUTS_A_TURN:
            request = self._queue.get()
            assert request is not None
            requests.append(request)
        self._turn(self._pump, requests)
        disk.turned(self._pump)
        self._set_alarm()

    def nudge(self) -> None:
        """Look within a second what another node decided; the real gate looks every second, whether any did or not."""
        assert self._loop is not None
        if self._alarm is not None and self._alarm.when() > self._loop.time() + LOOK_EVERY_S:
            self._alarm.cancel()
            self._alarm = self._loop.call_later(self._chance.uniform(0, LOOK_EVERY_S), self._go)

    def _set_alarm(self) -> None:
        assert self._loop is not None
        if self._alarm is not None:
            self._alarm.cancel()
        wakeup = self._pump.next_wakeup()
        timeout = IDLE_S if wakeup is None else min(IDLE_S, max(0.0, (wakeup - self._clock.now()) / 1e6))
        self._alarm = self._loop.call_later(AFTER_FAILURE_S if self._failing else timeout, self._go)


class House:
    """One node after the other in one place, and whoever wants to speak to the one that lives.

    open_disk: what a process of a name finds in this house; ids: tells apart what chance gives to each process.
    """

    def __init__(
        self,
        name: str,
        open_disk: "Callable[[House, str], Disk]",
        sinks: Sequence[Sink],
        policy: Policy,
        faults: Faults,
        ids: str,
    ) -> None:
        self.name = name
        self.faults = faults
        self.policy = policy
        self.starts = 0
        self.wall_off = 0.0
        self.cut_until = 0.0
        self.is_gone = False
        self.gave_up: list[str] = []
        self.process: Process | None = None
        self.node: Node | None = None
        self.disk: Disk | None = None
        self._open_disk = open_disk
        self._sinks = sinks
        self._ids = ids
        self._metrics = Metrics()  # Of all its processes: to make them takes a while, and decides nothing.

    def is_up(self) -> bool:
        """Say whether a node lives."""
        return self.process is not None and not self.process.dead and self.node is not None

    def owes(self) -> bool:
        """Say whether something is still to be delivered."""
        assert self.node is not None
        return bool(self.node._pump.state.deliveries)

    def start(self) -> None:
        """Begin a process that opens the house and listens; it may die or fail at that."""
        self.starts += 1
        self.node = None
        self.process = contextvars.copy_context().run(Process, f"{self.name}-{self.starts}")
        self.process.spawn(self._run(self.process))

    async def _run(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        boot = 1_000.0 * self.starts  # Each process has a monotonic clock of its own.
        clock = MachineClock(
            lambda: int((loop.now + boot) * 1e9),
            lambda: int((START + loop.now + self.wall_off) * 1e9),
        )
        disk = self.disk = self._open_disk(self, process.name)
        channels = {
            sink.name: SimChannel(sink, process.name, self.faults.step, disk.owns_key) for sink in self._sinks
        }
        node = Node(
            store=disk,  # type: ignore[arg-type]
            clock=clock,
            ids=FakeIds(f"{self._ids}/{self.starts}"),
            channels=channels,
            policy=self.policy,
            origin=ORIGIN,
            failpoint=self.faults.step,
            metrics=self._metrics,
        )
        try:
            node.open(accept_clock=True)
        except (StoreFailed, Unavailable):
            self.faults.count(
                "start failed"
            )  # The process ends with an error; whoever looks after it starts it again.
            process.kill()
            return
        node.give_up = self.gave_up.append
        node.start()
        self.node = node


class Street:
    """All houses of a story, and what stands between them and people: each request goes to one that is up."""

    def __init__(self, houses: Sequence[House], faults: Faults, chance: random.Random) -> None:
        self.houses = houses
        self.faults = faults
        self._chance = chance

    def up(self) -> list[House]:
        """Give the houses in which a node lives; it may stand still."""
        return [house for house in self.houses if house.is_up()]

    def find(self) -> House | None:
        """Find a house in which a node lives."""
        up = self.up()
        return up[0] if len(up) == 1 else self._chance.choice(up) if up else None

    def owes(self) -> bool:
        """Say whether something is still to be delivered."""
        return any(house.owes() for house in self.up())
