"""Report: what a what-if found, as values that can be written as JSON.

Instants are microseconds UTC, 0 for never. Three courses are told apart everywhere: `recorded` is what the ledger says,
`again` is the recorded policy decided again, `candidate` is the other policy. Drift lies between the first two, the
effect of the change between the last two.
"""

import msgspec

from tocsin.core.model.alert import Severity

VERSION = 1
"""Of this form."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """One number in each course."""

    recorded: int
    again: int
    candidate: int


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took from an incident's opening until anybody was told, in microseconds.

    p50, p90: None if nobody was told of any; told, untold: openings.
    """

    told: int
    untold: int
    p50: int | None
    p90: int | None


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """The same in each course."""

    recorded: Wait
    again: Wait
    candidate: Wait


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What one target got. notifications: all; nights: those between 22:00 and 07:00.

    target: its id; address: "" if it was erased.
    """

    target: str
    channel: str
    address: str
    notifications: Count
    nights: Count


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What each course came to.

    kinds: notifications decided, by kind; channels: deliveries by channel; hours: deliveries in each of the 24 hours of
    the day; withheld: intents by reason; merged: deliveries that a newer notification took the place of.
    """

    opened: Count
    reopened: Count
    resolved_by_itself: Count
    resolved_by_hand: Count
    kinds: dict[str, Count]
    channels: dict[str, Count]
    people: tuple[Person, ...]
    hours: tuple[Count, ...]
    nights: Count
    withheld: dict[str, Count]
    merged: Count
    first_notification: Waits


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a difference. number: of the incident in that course; told: how many notifications it was told by.

    at, what, because: the first decision that is not the same on the other side; 0 and "" if there is none.
    """

    number: int
    route: str
    opened_at: int
    resolved_at: int
    alerts: int
    told: int
    at: int
    what: str
    because: str


class IncidentDifference(msgspec.Struct, frozen=True, kw_only=True):
    """An opening of an incident that is not the same in two courses.

    recorded: the number that people know it by, 0 if the record has none like it; labels: of the alert that opened it.
    before, after: the two sides, None where there is no such opening; settings: what differs in the rules that it fell
    under, in words.
    """

    recorded: int
    rule_id: str
    labels: dict[str, str]
    severity: Severity
    before: Side | None
    after: Side | None
    settings: tuple[str, ...]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Openings of incidents in two courses. left_out: those with something that cannot be decided again.

    differences: some of those that differ, the most severe and of those the earliest first.
    """

    same: int
    differing: int
    only_before: int
    only_after: int
    left_out: int
    differences: tuple[IncidentDifference, ...]

    @property
    def found(self) -> int:
        """How many differ."""
        return self.differing + self.only_before + self.only_after


class CriticalLate(msgspec.Struct, frozen=True, kw_only=True):
    """A CRITICAL incident of which the candidate would tell nobody, or later than the recorded policy does.

    told_at: when somebody was first reached; late_at: when under the candidate, 0 if never within the period.
    because: what kept it back under the candidate, as well as it can be told.
    """

    recorded: int
    rule_id: str
    labels: dict[str, str]
    opened_at: int
    told_at: int
    late_at: int
    because: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be decided again. erased: inputs whose private part is gone.

    nothing: actions of people for which there was nothing in the branch; conflicts: those that it could not take.
    deliveries: what people did to single deliveries.
    """

    erased: int
    nothing: Count
    conflicts: Count
    deliveries: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been. See the head of this file for the three courses.

    inputs: recorded inputs that were decided again, by kind; `repeats` are looks that left no entry.
    critical: every one, never capped.
    """

    version: int
    since: int
    until: int
    zone: str
    inputs: dict[str, int]
    assumptions: tuple[str, ...]
    left_out: LeftOut
    numbers: Numbers
    drift: Compared
    effect: Compared
    critical: tuple[CriticalLate, ...]

    @property
    def is_same(self) -> bool:
        """Say whether the candidate would have changed nothing."""
        return not self.effect.found and not self.critical and self._same_numbers

    @property
    def _same_numbers(self) -> bool:
        """Digests belong to no incident, so they show here alone."""
        numbers = self.numbers
        counts = [
            *numbers.kinds.values(),
            *numbers.channels.values(),
            *numbers.withheld.values(),
            *numbers.hours,
        ]
        counts += [person.notifications for person in numbers.people]
        return all(count.again == count.candidate for count in counts)


ASSUMPTIONS = (
    "Alerts, what people did, silences, maintenances, changes of the recorded policy and starts of nodes come as they "
    "were recorded, each at its time.",
    "Timers come due at their exact times, except while nobody listened.",
    "An attempt takes no time and ends as the recorded one nearest in time did: to the same target, else through the "
    "same channel, else as accepted.",
    "An alert was seen from its first to its last look at equal intervals; one without a later entry until the end.",
    "An alert whose sender gives an end expires when it did in the record; any other by the resolve_timeout of its "
    "route, counted from when it was last seen.",
    "Green looks that would have come after the record cleared an alert go on at the interval of the last two.",
    "Nobody behaves differently because they are told something else, or at another time: who acknowledged an incident "
    "does so at the same moment, for every incident that holds its alerts and is there.",
    "What changed nothing in the record left no entry, and is not known here.",
    "Addresses that both policies have are the same targets; incidents that were open before the period began keep the "
    "rules that they had.",
)
