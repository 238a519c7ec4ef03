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
        while len(self._left) < length:
            self._left += hashlib.sha512(b"%s %d" % (self._seed, self._block)).digest()
            self._block += 1
        taken, self._left = self._left[:length], self._left[length:]
        return taken


_: tuple[Clock, Ids] = FakeClock(), FakeIds()
