"""House: the real pump with a clock that is moved by hand and channels that do as told: a node without its loops.

Nothing in it is random, so the same happenings give the same ledger, byte for byte.
"""

import hashlib
from collections.abc import Sequence

from tocsin.core.engine.verdict import SYSTEM
from tocsin.core.model.input import Input, OutcomeReported, PolicyChanged
from tocsin.core.model.notification import Delivered, DryRun, Outcome
from tocsin.core.model.policy import Policy
from tocsin.ports import Clock, Ids, Store
from tocsin.runtime.committed import Committed, Dispatch
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result


class HandClock:
    """A clock that stands until it is moved; see `tocsin.ports.Clock`."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        """Give the moment at which it stands."""
        return self.at

    def wall(self) -> int:
        """Give the same."""
        return self.at

    def not_before(self, at: int) -> None:
        """Move to `at` if that lies ahead."""
        self.at = max(self.at, at)


class CountedBytes:
    """Bytes that differ each time and are the same in every run, in the place of chance."""

    def __init__(self) -> None:
        self._count = 0

    def random_bytes(self, length: int) -> bytes:
        """Give the next ones. They protect nothing."""
        self._count += 1
        return hashlib.shake_256(b"gate %d" % self._count).digest(length)


class House:
    """Decides, commits and tells, each in the moment at which its clock stands. It begins at `at`.

    moods: channel -> how its attempts end; one that is not named delivers. attempts: how many were made, rehearsals
    left aside.
    """

    def __init__(self, policy: Policy, store: Store, *, at: int, origin: str) -> None:
        self.clock = HandClock(at)
        self.ids = CountedBytes()
        self.store = store
        self._origin = origin
        self.moods: dict[str, Outcome] = {}
        self.attempts = 0
        self._waiting: dict[int, Dispatch] = {}
        self.start()
        self.take(PolicyChanged(policy=policy), actor=SYSTEM)

    def start(self) -> None:
        """Begin, or begin anew: all that is known is what was stored."""
        self.is_running = True
        self.pump = Pump(self.store, self.clock, self.ids, origin=self._origin, on_committed=self._committed)
        self.pump.open()
        self._tell()

    def stop(self) -> None:
        """Let time pass without anybody there, until `start`."""
        self.is_running = False
        self._waiting.clear()

    def _committed(self, committed: Committed) -> None:
        if committed.is_all:
            self._waiting.clear()
        for number in committed.ended:
            self._waiting.pop(number, None)
        for dispatch in committed.dispatches:
            self._waiting[dispatch.delivery] = dispatch

    # What arrives

    def take(self, *inputs: Input, actor: str = "anna") -> Sequence[Result]:
        """Take inputs in one turn, and make the attempts that are due. What is refused says so in its result."""
        answers: list[Sequence[Result]] = []

        def answer(_: Request, results: Sequence[Result] | Exception) -> None:
            if isinstance(results, Exception):
                raise results
            answers.append(results)

        self.pump.turn([Request(inputs, actor, answer)])
        self._tell()
        return answers[0]

    # Time

    def until(self, at: int) -> None:
        """Let time pass up to `at`; whatever is due meanwhile happens in its moment."""
        while self.is_running:
            next_ = min([at, *self._due()])
            self.clock.at = max(self.clock.at, next_)
            self.take(actor=SYSTEM)
            if next_ == at:
                return
        self.clock.at = max(self.clock.at, at)

    def wait(self, duration: int) -> None:
        """As `until`, for so long."""
        self.until(self.clock.at + duration)

    def _due(self) -> list[int]:
        wakeup = self.pump.next_wakeup()
        return [*([] if wakeup is None else [wakeup]), *(one.due for one in self._waiting.values())]

    def _tell(self) -> None:
        """Make every attempt that is due, one after the other."""
        while due := [
            one for one in self._waiting.values() if one.due <= max(self.clock.at, self.pump.state.at)
        ]:
            dispatch = due[0]
            del self._waiting[dispatch.delivery]
            outcome: Outcome = DryRun() if dispatch.dry_run else self.moods.get(dispatch.channel, Delivered())
            self.attempts += not dispatch.dry_run
            report = OutcomeReported(delivery=dispatch.delivery, attempt=dispatch.attempt, outcome=outcome)
            self.pump.turn([Request((report,), SYSTEM)])


_: tuple[Clock, Ids] = HandClock(0), CountedBytes()
