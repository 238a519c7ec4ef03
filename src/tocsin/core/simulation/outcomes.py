"""Outcomes: how attempts ended in the record, so that one that was never made can be given the likeliest end.

It ends as the recorded one nearest in time did: to the same target, else through the same channel, else as accepted.
"""

from array import array
from bisect import bisect_right

from tocsin.core.model.notification import Accepted, Delivered, DeliveryState, DryRun, Outcome, Refused, Retry

ACCEPTED = Accepted()
DRY_RUN = DryRun()


class Series:
    """Recorded outcomes in the order of time, equal ones next to each other as one run."""

    def __init__(self) -> None:
        self._first = array("q")
        self._last = array("q")
        self._codes = array("I")

    def add(self, at: int, code: int) -> None:
        """Add the next outcome; `at` never falls."""
        if self._codes and self._codes[-1] == code:
            self._last[-1] = at
            return
        self._first.append(at)
        self._last.append(at)
        self._codes.append(code)

    def nearest(self, at: int) -> int:
        """Give the code of the outcome nearest in time; of two that are equally near, the later one's."""
        if len(self._codes) == 1:
            return self._codes[0]
        run = bisect_right(self._first, at) - 1
        if run < 0:
            return self._codes[0]
        following = run + 1
        if at > self._last[run] and following < len(self._codes):
            if self._first[following] - at <= at - self._last[run]:
                return self._codes[following]
        return self._codes[run]


class Outcomes:
    """All recorded outcomes, by target and by channel."""

    def __init__(self) -> None:
        self._codes: dict[Outcome, int] = {}
        self._known: list[Outcome] = []
        self._targets: dict[str, Series] = {}
        self._channels: dict[str, Series] = {}

    def add(self, target: str, channel: str, at: int, outcome: Outcome) -> None:
        """Add the next outcome of an attempt; `at` never falls."""
        code = self._codes.get(outcome)
        if code is None:
            code = self._codes[outcome] = len(self._known)
            self._known.append(outcome)
        for series, name in ((self._targets, target), (self._channels, channel)):
            if name not in series:
                series[name] = Series()
            series[name].add(at, code)

    def nearest(self, target: str, channel: str, at: int) -> Outcome:
        """Say how an attempt ends that is made now."""
        series = self._targets.get(target) or self._channels.get(channel)
        return self._known[series.nearest(at)] if series is not None else ACCEPTED


def outcome_of(state: DeliveryState | None, told: Outcome | None, because: str) -> Outcome | None:
    """Read an outcome back, without the words in it.

    state: how the delivery ended, None if it is tried again; told: of the private part, None if it was erased;
    because: of the decision. Returns: None if no attempt led to that end.
    """
    match state:
        case None:
            return Retry(why="", after_s=told.after_s if isinstance(told, Retry) else None)
        case DeliveryState.DELIVERED:
            return Delivered()
        case DeliveryState.ACCEPTED:
            return ACCEPTED
        case DeliveryState.DRY_RUN:
            return DRY_RUN
        case DeliveryState.DEAD:
            if told is None:
                return Refused(why="") if because.startswith("refused") else Retry(why="")
            return Refused(why="") if isinstance(told, Refused) else Retry(why="")
        case _:
            return None
