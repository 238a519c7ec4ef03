"""Time and chance as tests want them: the same at every run. They fit the protocols of `tocsin.ports`."""

import hashlib

from tocsin.ports import Clock, Ids

NOON = 1_767_268_800_000_000
"""1 January 2026, 12:00 UTC, in microseconds."""

SECOND = 1_000_000


class FakeClock:
    """A clock that stands until it is moved. Instants and lengths are microseconds."""

    def __init__(self, at: int = NOON) -> None:
        self.at = at

    def now(self) -> int:
        """Give the moment at which the clock stands."""
        return self.at

    def wall(self) -> int:
        """Give the same: here nobody steps the wall clock."""
        return self.at

    def not_before(self, at: int) -> None:
        """Move to `at` if that lies ahead."""
        self.at = max(self.at, at)

    def advance(self, microseconds: int) -> None:
        """Let time pass. Raises: ValueError if it would go back."""
        if microseconds < 0:
            raise ValueError(f"time does not go back ({microseconds} microseconds)")
        self.at += microseconds


class FakeIds:
    """Chance that is the same for the same seed, however it is cut into pieces."""

    def __init__(self, seed: str = "tocsin") -> None:
        self._seed = seed.encode()
        self._block = 0
        self._left = b""

    def random_bytes(self, length: int) -> bytes:
        """Give the next so many bytes of the stream that the seed stands for."""
        missing = length - len(self._left)
        if missing > 0:
            first, self._block = self._block, self._block + -(-missing // 64)
            blocks = [hashlib.sha512(b"%s %d" % (self._seed, n)).digest() for n in range(first, self._block)]
            self._left = b"".join([self._left, *blocks])
        taken, self._left = self._left[:length], self._left[length:]
        return taken


_: tuple[Clock, Ids] = FakeClock(), FakeIds()
