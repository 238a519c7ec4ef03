"""Limits: how often somebody may ask, and how often they may fail to sign in. Instants are microseconds, as Clock.now.

Neither grows with those who ask: a bucket belongs to a token that is stored, and the table of failures is bounded.
"""

import threading

MINUTE = 60_000_000

FAILURES_MAX = 20
"""So many failed sign-ins of one address a minute are answered as such."""

ADDRESSES_MAX = 1_000


class Bucket:
    """A token bucket: `per_minute` at once, refilled evenly. Safe from any thread."""

    def __init__(self, per_minute: int, at: int) -> None:
        self.per_minute = per_minute
        self._room = per_minute * MINUTE
        self._at = at
        self._lock = threading.Lock()

    def take(self, at: int) -> int:
        """Take one. Returns: 0, or how many whole seconds to wait for the next one, if none is left."""
        with self._lock:
            # World time never goes back, but two threads may bring their readings in another order.
            passed = max(0, at - self._at)
            self._at = max(self._at, at)
            self._room = min(self.per_minute * MINUTE, self._room + passed * self.per_minute)
            if self._room >= MINUTE:
                self._room -= MINUTE
                return 0
            return -(-(MINUTE - self._room) // (self.per_minute * 1_000_000))


class Failures:
    """Counts failed sign-ins by client address, a minute from the first one; the oldest give way. Not for threads."""

    def __init__(self, most: int = FAILURES_MAX) -> None:
        self._most = most
        self._counts: dict[str, tuple[int, int]] = {}

    def note(self, client: str, at: int) -> int:
        """Count one. Returns: 0, or for how many whole seconds this address is told to wait."""
        since, count = self._counts.get(client, (at, 0))
        if at - since >= MINUTE:
            since, count = at, 0
        if count >= self._most:
            return -(-(since + MINUTE - at) // 1_000_000)
        if not count:
            self._counts.pop(client, None)
            if len(self._counts) >= ADDRESSES_MAX:
                del self._counts[next(iter(self._counts))]
        self._counts[client] = (since, count + 1)
        return 0
