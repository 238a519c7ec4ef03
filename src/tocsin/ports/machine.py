"""The machine: its clock, and its chance."""

from typing import Protocol


class Clock(Protocol):
    """World time, in integer microseconds UTC: never goes back, and steps of the wall clock are slewed."""

    def now(self) -> int: ...

    def wall(self) -> int:
        """Give the wall clock's own reading, for what other machines compare with theirs (signatures, dates)."""
        ...

    def not_before(self, at: int) -> None:
        """Let world time be at least `at` from now on, because what was decided at `at` lies behind us."""
        ...


class Ids(Protocol):
    """The randomness that security needs. Nothing else may be random."""

    def random_bytes(self, length: int) -> bytes: ...
