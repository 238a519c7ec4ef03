"""Shared clock: what time it is on a node among several: the store's, whatever this machine's own clock says.

Decisions are given the time by the store, in each turn. What stands around them has to agree with it: when an
attempt is due, when a silence ends that somebody asks for now, which minutes a rule looks at.
"""

import threading
from collections.abc import Callable

from tocsin.ports import Clock

HELD_MAX = 20_000
"""What two measurements differ by, microseconds; what was wrong by more is put right at once, so time may go back."""


class SharedClock:
    """World time as all nodes that share a store go by it: this node's own, put right by what the store says.

    own: this node's; ahead: how far the store's is before it, microseconds, as it was last seen.
    What comes a little too early is held until it is that late: so far time does not go back.
    """

    def __init__(self, own: Clock, ahead: Callable[[], int]) -> None:
        self._own = own
        self._ahead = ahead
        self._lock = threading.Lock()
        self._last = 0

    def now(self) -> int:
        """Give world time."""
        with self._lock:
            at = self._own.now() + self._ahead()
            if not at < self._last <= at + HELD_MAX:
                self._last = at
            return self._last

    def wall(self) -> int:
        """Give this machine's own wall clock's reading, in microseconds UTC."""
        return self._own.wall()

    def not_before(self, at: int) -> None:
        """Let this node's own clock go on from `at` if it is behind it."""
        self._own.not_before(at)
