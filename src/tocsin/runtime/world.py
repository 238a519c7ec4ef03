"""World: the one clock and the one source of chance. Nothing else may ask the machine for either.

World time is the reading at the start plus the monotonic clock, so it never goes back. When the wall clock is found
to have been stepped (by more than 5 s), world time is drawn towards it by 1 % and never jumps.
"""

import os
import threading
import time

STEP_MAX = 5_000_000
SLEW_PER = 100
LOOK_EVERY = 1_000_000


class MachineClock:
    """World time from the machine's clocks, in microseconds UTC. Safe to ask from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._monotonic = time.monotonic_ns() // 1000
        self._world = self._wall()
        self._looked = self._monotonic
        self._behind = 0

    def now(self) -> int:
        """Give world time; each answer is at least as late as the one before."""
        with self._lock:
            monotonic = time.monotonic_ns() // 1000
            passed = monotonic - self._monotonic
            slew = max(-passed // SLEW_PER, min(passed // SLEW_PER, self._behind))
            if slew:
                self._behind -= slew
            self._monotonic = monotonic
            self._world += passed + slew
            if monotonic - self._looked >= LOOK_EVERY:
                self._looked = monotonic
                off = self._wall() - self._world
                self._behind = off if abs(off) > STEP_MAX or self._behind else 0
            return self._world

    def wall(self) -> int:
        """Give the wall clock's reading, in microseconds UTC, for the check at the start."""
        return self._wall()

    @staticmethod
    def _wall() -> int:
        return time.time_ns() // 1000


class MachineIds:
    """Chance, from the operating system."""

    def random_bytes(self, length: int) -> bytes:
        """Give so many bytes that nobody can guess."""
        return os.urandom(length)
