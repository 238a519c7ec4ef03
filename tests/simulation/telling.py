"""Telling: who must have heard what when all is calm, worked out from what was sent, and not as the core does."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.simulation.people import Said
from tests.simulation.sinks import Sink

from tocsin.core.ledger.encoding import Entry
from tocsin.core.model import event as ev
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind, Withheld
from tocsin.core.model.policy import MINUTE, Policy

ROUTES = {"default": ("t1", "t2", "t3"), "critical": ("t1", "t2", "t3"), "quiet": ("t1",)}
"""route -> ids of the targets that it tells."""

SILENT_AT_THE_END = ("quiet",)
"""Routes that do not say that it is over."""

SAYS_IT_FIRES = {
    NotificationKind.OPENED,
    NotificationKind.UPDATED,
    NotificationKind.REMINDER,
    NotificationKind.MANUAL,
}

DIGEST_MAX = 31 * 60_000_000
"""So long after something was withheld its digest comes at the latest, in microseconds."""

REMINDED_MAX = 60 * MINUTE
"""Longer intervals between reminders may not end in the calm."""

REMINDED_LATE_MAX = 15 * MINUTE
"""So late a reminder may be in the calm: it waits for the next group, or for a line that is taken."""

Line = tuple[int, str]
"""An incident and a target."""


class Word(NamedTuple):
    """Something that was decided to be said on a line, in the entry `seq`. at: when, microseconds."""

    seq: int
    at: int
    kind: NotificationKind
    key: str


class Unsaid(NamedTuple):
    """Something that was decided not to be said on a line."""

    seq: int
    at: int
    reason: Withheld


@dataclass
class Told:
    """What the record says of who was told, by line; with the entry's seq, in its order.

    begun: incident -> when it was opened or last reopened; by_hand: those whose last end a person made.
    firing: incident -> the alerts that fire in it; expired: incidents in which time cleared an alert.
    limited, digests: by rule and target; at: of the last entry.
    """

    routes: dict[int, str] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    by_hand: set[int] = field(default_factory=set)
    firing: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    expired: set[int] = field(default_factory=set)
    at: int = 0
    lines: dict[Line, list[Word]] = field(default_factory=lambda: defaultdict(list))
    unsaid: dict[Line, list[Unsaid]] = field(default_factory=lambda: defaultdict(list))
    limited: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    digests: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))


def read(entries: Iterable[Entry]) -> Told:
    """Gather it from a ledger."""
    told = Told()
    for entry in entries:
        seq, told.at = entry.header.seq, entry.header.at
        for event in entry.decision.events:
            match event:
                case ev.IncidentOpened():
                    told.routes[event.incident] = event.route
                    told.begun[event.incident] = seq
                case ev.IncidentReopened():
                    told.begun[event.incident] = seq
                    told.by_hand.discard(event.incident)
                case ev.IncidentResolved(auto=False):
                    told.by_hand.add(event.incident)
                case ev.AlertFired():
                    told.firing[event.incident].add(event.id)
                case ev.AlertCleared():
                    told.firing[event.incident].discard(event.id)
                    if event.status is None:
                        told.expired.add(event.incident)
                case ev.Notified(kind=NotificationKind.DIGEST):
                    for new in event.deliveries:
                        told.digests[event.rule_id, new.target].append((seq, new.key))
                case ev.Notified() if event.incident:
                    for new in event.deliveries:
                        line = event.incident, new.target
                        told.lines[line].append(Word(seq, told.at, event.kind, new.key))
                case ev.NotificationWithheld():
                    for target in event.targets:
                        line = event.incident, target
                        told.unsaid[line].append(Unsaid(seq, told.at, event.reason))
                        if event.reason is Withheld.RATE_LIMITED:
                            told.limited[event.rule_id, target].append((seq, told.at))
                case _:
                    pass
    return told


def check_telling(
    entries: Sequence[Entry],
    answered: Sequence[Said],
    deliveries: Sequence[Any],
    sinks: Sequence[Sink],
    disk: Any,
    policy: Policy,
) -> None:
    """See that whoever must know does. Raises: AssertionError."""
    told = read(entries)
    arrived = {one.key for sink in sinks for one in sink.arrived}
    dead = {view.key for view in deliveries if view.state is DeliveryState.DEAD}
    heard = arrived | dead  # Of what is dead another channel hears.
    states = {number: _state(disk, number) for number in told.routes}
    _digests_say_what_was_withheld(told, heard)
    last = {said.identity: said for said in answered}
    for said in last.values():
        if said.status == "firing" and said.outcome not in ("held",):
            _somebody_cares(said, states, told)
    for number, state in states.items():
        for target in ROUTES[told.routes[number]]:
            if not policy.routes.group_wait:
                assert told.lines[number, target] or told.unsaid[number, target], (
                    f"{target} was never told of #{number}, and nothing says why"
                )
            if state is IncidentState.OPEN:
                _is_reminded(number, target, told, policy.routes.repeat_interval or 0)
            if state is IncidentState.RESOLVED:
                _knows_that_it_is_over(number, target, told, heard)
            else:
                _knows_that_it_fires(number, target, told, heard)


def _state(disk: Any, number: int) -> IncidentState:
    incident = disk.find_incident(str(number))
    assert incident is not None, f"incident #{number} is gone"
    state: IncidentState = incident.state
    return state


def _somebody_cares(said: Said, states: dict[int, IncidentState], told: Told) -> None:
    """What fires is in an incident that is not over, unless a person said so, or nobody vouched for it for so long."""
    assert said.incidents, f"{said} fires in no incident"
    for number in said.incidents:
        if states[number] is IncidentState.RESOLVED and number not in told.by_hand:
            assert number in told.expired, f"{said} fires, and #{number} is over"


def _digests_say_what_was_withheld(told: Told, heard: set[str]) -> None:
    for (rule, target), withheld in told.limited.items():
        last = max((seq for seq, key in told.digests[rule, target] if key in heard), default=-1)
        late = [seq for seq, at in withheld if seq > last and at < told.at - DIGEST_MAX]
        assert not late, f"{target} heard no digest of what was withheld of {rule} in entry {late[0]}"


def _knows_that_it_fires(number: int, target: str, told: Told, heard: set[str]) -> None:
    begun = told.begun[number]
    if any(
        word.key in heard and word.seq >= begun and word.kind in SAYS_IT_FIRES
        for word in told.lines[number, target]
    ):
        return
    # The rate limit withheld it; that its digest came was seen above.
    is_limited = any(
        one.seq >= begun and one.reason is Withheld.RATE_LIMITED for one in told.unsaid[number, target]
    )
    assert not told.firing[number] or is_limited, (
        f"{target} was never told of #{number}, which fires since entry {begun}"
    )


def _knows_that_it_is_over(number: int, target: str, told: Told, heard: set[str]) -> None:
    if told.routes[number] in SILENT_AT_THE_END:
        return
    line = [(word.seq, word.kind) for word in told.lines[number, target] if word.key in heard]
    said = [kind for _, kind in line if kind in SAYS_IT_FIRES or kind is NotificationKind.RESOLVED]
    assert not said or said[-1] is NotificationKind.RESOLVED, (
        f"{target} was told of #{number}, and never that it is over: {line}"
    )


def _is_reminded(number: int, target: str, told: Told, repeat: int) -> None:
    """Whoever is told of something that goes on hears of it again and again, while nobody does anything about it.

    Looked at is the end, before which nobody did anything for hours, if the interval is not longer than that.
    """
    if repeat > REMINDED_MAX or not told.firing[number]:
        return
    since = told.at - repeat - REMINDED_LATE_MAX
    said = any(word.at >= since and word.kind in SAYS_IT_FIRES for word in told.lines[number, target])
    unsaid = any(one.at >= since for one in told.unsaid[number, target])
    assert said or unsaid, f"{target} was not reminded of #{number}, which goes on"
