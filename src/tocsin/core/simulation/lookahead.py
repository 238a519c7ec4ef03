"""Lookahead: one quick pass over a ledger, for what a later entry says about an earlier time.

Repeats of an alert left no entry, so only its next entry tells how long it was seen; a node that starts tells how long
nobody listened; how attempts ended is asked by those that were never made. What is kept are a few bytes an input.
"""

from array import array
from collections.abc import Callable, Iterable

import msgspec

from tocsin.core.ledger.encoding import read_entry, read_private
from tocsin.core.model import event as ev
from tocsin.core.model.notification import DeliveryState, Target
from tocsin.core.model.policy import MINUTE, Policy, Route, with_addresses
from tocsin.core.simulation.fold import incident_number
from tocsin.core.simulation.outcomes import Outcomes, outcome_of

Parts = tuple[bytes, bytes, bytes]
"""An entry as it lies in a segment: header, decision, private part (empty if it was erased)."""

NEVER_AGAIN = -1
LATE_MAX = MINUTE
"""By so much a timer may come late while somebody listens."""

PROGRESS_EVERY = 20_000
_LOOKS = ("alert_fired", "alert_seen", "alert_green", "alert_cleared")
_NOTIFIED = b'"type":"notified"'


class Sightings:
    """How long each alert was seen, by the place of its looks among all looks that left an entry.

    last_at: when it was last seen before its next entry; 0 for only then, NEVER_AGAIN if there is no next entry.
    repeats: how many looks there were in between.
    vouched: 1 if the alert then expired otherwise than by its route's resolve_timeout: by an end that its sender gave.
    """

    def __init__(self) -> None:
        self.last_at = array("q")
        self.repeats = array("I")
        self.vouched = bytearray()
        self._firing: dict[str, _Firing] = {}

    def looked(self, look: "_Glance", at: int) -> None:
        """Take the next look that left an entry."""
        firing, id_ = self._firing, look.id
        before = firing.get(id_)
        timeout = look.expires_after
        if before is not None:
            timeout = before.timeout
            if not before.is_told:
                self._told(before, look)
        kind = look.type
        if kind == "alert_seen" or kind == "alert_fired":
            firing[id_] = _Firing(len(self.repeats), at, timeout)
            self.last_at.append(NEVER_AGAIN)
        else:
            if kind == "alert_cleared" and before is not None:
                del firing[id_]
            self.last_at.append(0)
        self.repeats.append(0)
        self.vouched.append(0)

    def expired(self, look: "_Glance", at: int, awake_since: int) -> None:
        """Take an expiry. awake_since: when somebody last began to listen."""
        before = self._firing.pop(look.id, None)
        if before is not None:
            if not before.is_told:
                self._told(before, look)
            late = at - before.seen_at - before.timeout
            by_route = before.timeout and (
                0 <= late <= LATE_MAX or (late > 0 and awake_since > before.seen_at)
            )
            self.vouched[before.place] = not by_route

    def _told(self, before: "_Firing", look: "_Glance") -> None:
        """Take what an entry says of the time since the last firing look; what comes after a green look is no news."""
        before.is_told = True
        self.last_at[before.place] = 0
        if look.repeats:
            self.repeats[before.place] = look.repeats
            self.last_at[before.place] = before.seen_at = look.last_at


class _Firing(msgspec.Struct, gc=False):
    """An alert that fires: the place of its last firing look, when it was last seen, and its route's timeout."""

    place: int
    seen_at: int
    timeout: int
    is_told: bool = False


class Ahead:
    """What a pass over the ledger found.

    gaps: (from, to) of each time in which nobody listened, in order.
    reopened: numbers of the incidents that a person reopened; recalled: of all that somebody may have wanted back when
    they were long over.
    targets: every target of any policy, with its address if that is known; the newest policy's last.
    newest: the last policy that was adopted; reopen_within: the longest of any policy; size: entries.
    """

    def __init__(self) -> None:
        self.sightings = Sightings()
        self.outcomes = Outcomes()
        self.gaps: list[tuple[int, int]] = []
        self.reopened: dict[int, None] = {}
        self.recalled: dict[int, None] = {}
        self.targets: dict[str, Target] = {}
        self.newest: Policy | None = None
        self.reopen_within = 0
        self.size = 0
        self.last_at = 0
        self._pending: dict[int, tuple[str, str]] = {}

    def take(self, header: bytes, decision: bytes, private: bytes) -> None:
        """Look at the next entry."""
        head = _read_head(header)
        kind = head.kind
        self.size += 1
        if kind == "alert":
            if head.cause is None:
                events = _read_glances(decision).events
                look = events[0]
                self.sightings.looked(look if look.type in _LOOKS else _look(events), head.at)
                if _NOTIFIED in decision:
                    self._notified(events)
                return
        elif kind == "outcome":
            self._outcome(head.at, decision, private)
            if _NOTIFIED not in decision:
                return
        elif kind == "expiry":
            if head.cause is None:
                awake_since = self.gaps[-1][1] if self.gaps else 0
                self.sightings.expired(_look(_read_glances(decision).events), head.at, awake_since)
        elif kind == "policy":
            self._policy(header, decision, private)
        elif kind == "node":
            gap = _read_glances(decision).events[0].gap
            if gap:
                self.gaps.append((head.at - gap, head.at))
        elif kind == "action":
            did = _read_glances(decision).events[0].type
            if did in ("incident_reopened", "incident_noted"):
                number = incident_number(head.incident)
                self.recalled[number] = None
                if did == "incident_reopened":
                    self.reopened[number] = None
        elif kind in ("delivery", "cancelled"):
            if kind == "delivery":
                self.recalled[incident_number(head.incident)] = None
            self._delivery(decision)
        if _NOTIFIED in decision:
            self._notified(_read_glances(decision).events)

    def _outcome(self, at: int, decision: bytes, private: bytes) -> None:
        event = _read_glances(decision).events[0]
        ended = event.type == "delivery_ended"
        place = self._pending.pop(event.delivery, None) if ended else self._pending.get(event.delivery)
        if place is None:
            return  # A dry run, which says nothing about the channel.
        state = DeliveryState(event.state) if ended else None
        told = None
        if private and state in (None, DeliveryState.DEAD):
            told = read_private(private).outcome
        outcome = outcome_of(state, told, event.because)
        if outcome is not None:
            self.outcomes.add(*place, at, outcome)

    def _notified(self, events: "tuple[_Glance, ...]") -> None:
        for event in events:
            if event.type == "delivery_ended":  # Merged into what is told now.
                self._pending.pop(event.delivery, None)
            elif not event.dry_run:
                for new in event.deliveries:
                    self._pending[new.delivery] = new.target, new.channel

    def _delivery(self, decision: bytes) -> None:
        for event in _read_glances(decision).events:
            if event.type == "delivery_revived" and not event.dry_run:
                self._pending[event.delivery] = event.target, event.channel
            elif event.type == "delivery_ended":
                self._pending.pop(event.delivery, None)

    def _policy(self, header: bytes, decision: bytes, private: bytes) -> None:
        entry = read_entry(header, decision, private)
        for event in entry.decision.events:
            if isinstance(event, ev.PolicyAdopted) and event.policy is not None:
                addresses = entry.private.addresses if entry.private is not None else {}
                self.newest = with_addresses(event.policy, addresses)
                self.reopen_within = max(self.reopen_within, longest_reopening(event.policy.routes))
                for target in self.newest.targets:
                    known = self.targets.pop(target.id, target)
                    self.targets[target.id] = target if target.address else known


class _New(msgspec.Struct, gc=False):
    delivery: int
    channel: str
    target: str


class _Glance(msgspec.Struct, gc=False):
    """The few fields of any event that are of interest here."""

    type: str
    because: str = ""
    channel: str = ""
    delivery: int = 0
    deliveries: tuple[_New, ...] = ()
    dry_run: bool = False
    expires_after: int = 0
    gap: int = 0
    id: str = ""
    last_at: int = 0
    repeats: int = 0
    state: str = ""
    target: str = ""


class _Glances(msgspec.Struct, gc=False):
    events: tuple[_Glance, ...]


class _Head(msgspec.Struct, gc=False):
    at: int
    cause: int | None
    incident: str | None
    kind: str
    seq: int


_read_head = msgspec.json.Decoder(_Head).decode
_read_glances = msgspec.json.Decoder(_Glances).decode


def _look(events: tuple[_Glance, ...]) -> _Glance:
    return next(event for event in events if event.type in _LOOKS)


def longest_reopening(route: Route) -> int:
    """Give the longest `reopen_within` in a tree of routes."""
    return max([route.reopen_within or 0, *map(longest_reopening, route.routes)])


def look_ahead(entries: Iterable[Parts], on_progress: Callable[[int], None] = lambda entries: None) -> Ahead:
    """Pass over a whole ledger. Raises: msgspec's errors if an entry cannot be read."""
    ahead = Ahead()
    take = ahead.take
    header = b""
    for header, decision, private in entries:
        take(header, decision, private)
        if not ahead.size % PROGRESS_EVERY:
            on_progress(ahead.size)
    if header:
        ahead.last_at = _read_head(header).at
    return ahead
