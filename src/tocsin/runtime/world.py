"""World: the one clock and the one source of chance. Nothing else may ask the machine for either.

World time is the reading at the start plus the monotonic clock, so it never goes back. When the wall clock is found
to have been stepped (by more than 5 s), world time is drawn towards it by 1 % and never jumps.
"""

import os
import threading
import time
from collections.abc import Callable

STEP_MAX = 5_000_000
SLEW_PER = 100
LOOK_EVERY = 1_000_000


class MachineClock:
    """World time from the machine's clocks, in microseconds UTC. Safe to ask from any thread."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._monotonic = monotonic_ns() // 1000
        self._world = self._wall()
        self._looked = self._monotonic
        self._behind = 0
        self._unslewed = 0

    def now(self) -> int:
        """Give world time; each answer is at least as late as the one before."""
        with self._lock:
            monotonic = self._monotonic_ns() // 1000
            passed = monotonic - self._monotonic
            slew = 0
            if self._behind:
                # However often it is asked, each SLEW_PER microseconds that passed draw it by one.
                steps, self._unslewed = divmod(self._unslewed + passed, SLEW_PER)
                slew = max(-steps, min(steps, self._behind))
                self._behind -= slew
            self._monotonic = monotonic
            self._world += passed + slew
            if monotonic - self._looked >= LOOK_EVERY:
                self._looked = monotonic
                off = self._wall() - self._world
                self._behind = off if abs(off) > STEP_MAX or self._behind else 0
            return self._world

    def wall(self) -> int:
        """Give the wall clock's reading, in microseconds UTC."""
        return self._wall()

    def not_before(self, at: int) -> None:
        """Let world time go on from `at` if it is behind it; it is then slewed back towards the wall clock."""
        with self._lock:
            self._world = max(self._world, at)

    def _wall(self) -> int:
        return self._wall_ns() // 1000


class MachineIds:
    """Chance, from the operating system."""

    def random_bytes(self, length: int) -> bytes:
        """Give so many bytes that nobody can guess."""
        return os.urandom(length)
