"""Shelf: what the nodes of a story share, each over a connection of its own that may be lost.

It is held to what PostgreSQL does by the tests of stores; see `tests.support.shared`. What time it is, it alone says.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from tests.simulation.nodes import LOCKING_S, START, Disk, Faults, House, TurnLost, check_memory
from tests.simulation.virtual import PROCESS
from tests.support.shared import Rows, SharedMemory

from tocsin.core.engine.state import State
from tocsin.core.model.notification import Message
from tocsin.ports import Batch, Begun, Memory, StoreFailed
from tocsin.runtime.pump import Pump

SESSION_S = 2.0
"""So long a node that stands still in its turn keeps the others from theirs."""

LATE_MAX_S = 120.0
"""So long after it learnt that a delivery is another's a node may still send it: an attempt or a commit took so long."""

WAKES_S = 1.0
"""So long after it stood still a node may not yet have heard what became of its deliveries."""

LOOKED_AT = 0.02
"""The share of turns after which a node's memory is compared with what is stored."""


class Shelf:
    """The rows, and who has a connection to them. busy_until: when the turn ends that somebody takes long for."""

    def __init__(
        self, rows: Rows, faults: Faults, watch: Callable[[Batch], None], chance: random.Random
    ) -> None:
        self.rows = rows
        self.faults = faults
        self.chance = chance
        self.houses: Sequence[House] = ()
        self.numbers: dict[str, int] = {}
        self.busy_until = 0.0
        self.busy_by: SharedDisk | None = None
        self.compared = 0
        self._watch = watch

    def open(self, house: House, process: str) -> "SharedDisk":
        """Give a process its end."""
        return SharedDisk(self, house, SharedMemory(self.rows, node_id=process, time=self.now))

    def now(self) -> int:
        """Give the time that all go by."""
        return int((START + asyncio.get_running_loop().time()) * 1e6)

    def committed(self, batch: Batch) -> None:
        """See a commit that took effect; all others will look at what it changed."""
        for row in batch.new_deliveries:
            self.numbers[row.delivery.key] = row.delivery.number
        self._watch(batch)
        here = PROCESS.get()
        for house in self.houses:
            if house.is_up() and house.process is not here:
                assert house.process is not None
                assert house.node is not None
                house.process.call(house.node.gate.nudge)  # type: ignore[attr-defined]


class SharedDisk(Disk):
    """One process's end of the shelf."""

    def __init__(self, shelf: Shelf, house: House, inner: SharedMemory) -> None:
        super().__init__(inner, shelf.faults, shelf.committed)
        self._shelf = shelf
        self._house = house
        self._end = inner
        self._owned: set[int] = set()
        self._lost_at: dict[int, float] = {}

    def free_at(self) -> float:
        return 0.0 if self._shelf.busy_by is self else self._shelf.busy_until

    def begin(self) -> Begun:
        self._reach()
        if self.free_at() > asyncio.get_running_loop().time() + LOCKING_S:
            self._fail("The lock on the head was not to be had in time.")
        begun = self._end.begin()
        self._learn()
        return begun

    def reopen(self) -> None:
        self._reach()
        self._end.reopen()

    def load(self) -> Memory:
        self._reach()
        memory = self._end.load()
        self._learn()
        return memory

    def message(self, notification: int) -> Message | None:
        self._reach()
        return self._end.message(notification)

    def commit(self, batch: Batch) -> None:
        shelf, now = self._shelf, asyncio.get_running_loop().time()
        try:
            super().commit(batch)
        except StoreFailed as failed:
            self._end.cut_off(str(failed))
            if isinstance(failed, TurnLost):
                shelf.busy_by, shelf.busy_until = self, now + SESSION_S
            raise
        finally:
            if self.took:
                shelf.busy_by, shelf.busy_until = self, now + self.took
            self._learn()

    def _reach(self) -> None:
        if asyncio.get_running_loop().time() < self._house.cut_until:
            self._fail("The database cannot be reached.")

    def _fail(self, why: str) -> None:
        self._end.cut_off(why)
        raise StoreFailed(why)

    # What must hold

    def _learn(self) -> None:
        """Note what this node learnt to be no longer its own."""
        owned = set(self._end._owned)
        now = asyncio.get_running_loop().time()
        self._lost_at.update(dict.fromkeys(self._owned - owned, now))
        self._owned = owned

    def owns_key(self, key: str) -> bool:
        """Say whether it is this node's to send. Raises: AssertionError if it is not, and the node must know."""
        number, now, process = self._shelf.numbers.get(key), asyncio.get_running_loop().time(), PROCESS.get()
        assert process is not None
        assert number is not None, f"{process.name} attempts {key[:8]}, which nobody decided"
        if self._shelf.rows.owned.get(number) == self._end.node_id:
            # What it had begun before it stood still may be another's attempt by now, though the delivery is its own.
            return not 0 < process.went_on_at >= now - WAKES_S
        if number in self._end._owned:
            return False  # Somebody took it over, of which this node has not heard.
        assert number in self._lost_at, f"{process.name} attempts delivery {number}, which never was its own"
        late = now - max(self._lost_at[number], process.went_on_at)
        assert late < LATE_MAX_S, (
            f"{process.name} attempts delivery {number} {late:.0f} s after it learnt that it is not its own"
        )
        return False

    def turned(self, pump: Pump) -> None:
        shelf = self._shelf
        if (
            pump._state is not None
            and self._end.turn == shelf.rows.turn
            and shelf.chance.random() < LOOKED_AT
        ):
            self.check(pump._state)

    def check(self, state: State) -> None:
        """See that a node knows what is stored, and which deliveries are its own. Raises: AssertionError."""
        rows, name = self._shelf.rows, self._end.node_id
        self._shelf.compared += 1
        check_memory(name, state, rows)
        assert state.deliveries.keys() == rows.owned.keys(), "what is pending is not what somebody owns"
        mine = {number for number, owner in rows.owned.items() if owner == name}
        owns = {number for number in state.deliveries if self._end.owns(number)}
        assert owns == mine, f"{name} thinks that it owns {sorted(owns)}, and owns {sorted(mine)}"
