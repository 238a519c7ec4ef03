"""State: the fold of all events so far, in memory. `fold.apply` is the only way in which decisions change it.

It holds what deciding needs and no text: that stays in the store. What is over and cannot come back soon is
forgotten here and recalled from the store when its fingerprint is seen again. The live records are changed in
place, by `fold.apply` and (leases only) by `refresh`; `touched` remembers which, so that a store can follow.
"""

import hashlib
import heapq
import struct
from typing import Any

import msgspec

from tocsin.core.engine.route import (
    Plan,
    Plans,
    Test,
    compile_policy,
    labels_of,
)
from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence

LOOKS_KEPT = 16
LOOKS_KEPT_FOR = 7 * 86_400 * 1_000_000
LOOK = struct.Struct("<qqcq")
"""One remembered look at an alert: window_start, window_end, status, when it came."""

STATUS_CODE = {Status.FIRING: b"f", Status.GREEN: b"g", Status.RESOLVED: b"r"}
SCOPE = msgspec.json.Decoder(dict[str, str])


class LiveAlert(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """An alert that state knows. id: 16 bytes; scope: canonical JSON; looks: the last 16, packed as LOOK.

    incidents: numbers of those it is a member of; firing_in: of those in which it fires.
    fired: change number of its last beginning.
    untold: silences cover it, and hide something that people must hear when they end: that it fires, or (if it does
    not any more) that it cleared.
    lease: when it expires unless it is seen again, 0 for never; expires_after: see AlertFired.
    timer: when its one lease timer is due, 0 for none.
    repeats, seen_at: looks that left no entry since the last one that did, and when it was last seen.
    text_seq: the ledger entry whose private part has its text.
    """

    number: int
    id: bytes
    rule_id: str
    severity: Severity
    source: str
    scope: bytes
    incidents: tuple[int, ...] = ()
    firing_in: tuple[int, ...] = ()
    greens: int = 0
    looks: bytes = b""
    fired: int = 0
    untold: bool = False
    silenced_by: tuple[int, ...] = ()
    expires_after: int = 0
    lease: int = 0
    timer: int = 0
    repeats: int = 0
    seen_at: int = 0
    text_seq: int = -1

    def labels(self) -> dict[str, str]:
        """What matchers see."""
        return labels_of(
            self.rule_id, self.severity, self.source, SCOPE.decode(self.scope) if self.scope else {}
        )


class Told(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """What a target was last told about an incident. change: 0 if nothing yet.

    generation: the incident's, when it was told.
    delivery: number of the one that is on its way, 0 if none; withheld: change number last withheld from it.
    """

    target: str
    change: int = 0
    severity: Severity = Severity.INFO
    resolved: bool = False
    at: int = 0
    delivery: int = 0
    withheld: int = 0
    withheld_at: int = 0
    generation: int = 0


class LiveIncident(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """An incident that is not over, or may come back.

    severity: the highest since it opened; audible: the highest of alerts that no silence covered.
    firing, cleared, silenced, silenced_firing: counts of its members.
    fire_change, clear_change, muted_change: the last change of each kind; `fire` is also for a rise of `audible`,
    `clear` also for its resolution, `muted` for what happened under a silence.
    acked_at: when it was first acknowledged since it opened, 0 if nobody did.
    flush_at: when the next comparison is due, 0 for none. entries, last_seq: its back-links in the ledger.
    """

    number: int
    id: str
    key: bytes
    route: str
    policy: int
    state: IncidentState = IncidentState.OPEN
    generation: int = 1
    severity: Severity = Severity.INFO
    rule_id: str = ""
    opened_at: int = 0
    updated_at: int = 0
    resolved_at: int = 0
    acked_by: str = ""
    ack_until: int = 0
    silenced_until: int = 0
    previous: int = 0
    firing: int = 0
    cleared: int = 0
    silenced: int = 0
    silenced_firing: int = 0
    fire_change: int = 0
    clear_change: int = 0
    muted_change: int = 0
    audible: Severity = Severity.INFO
    auto_resolved: bool = False
    greens: int = 0
    flush_at: int = 0
    flushed_at: int = 0
    told: tuple[Told, ...] = ()
    entries: int = 0
    last_seq: int = -1
    acked_at: int = 0


class LiveDelivery(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """A delivery with a next action. incident: 0 for one that belongs to none; first_at: see NewDelivery.since."""

    number: int
    notification: int
    incident: int
    kind: NotificationKind
    severity: Severity
    channel: str
    target: str
    key: str
    first_at: int
    due: int
    attempts: int = 0
    dry_run: bool = False


class RateWindow(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """The rate limit of one rule. times: when notifications were charged, oldest first.

    withheld, owed, incidents, severity: what was withheld since the last digest (count; ids of the targets;
    numbers of the incidents, at most 50; the highest severity).
    """

    times: list[int] = []
    withheld: int = 0
    owed: list[str] = []
    incidents: list[int] = []
    severity: Severity = Severity.INFO
    digest_at: int = 0
    digested_at: int = 0


class LiveSilence(msgspec.Struct, kw_only=True, gc=False):
    """A silence that acts or will. tests: its matchers, ready to ask."""

    silence: Silence
    tests: tuple[Test, ...]
    began: bool = False


class LiveMaintenance(msgspec.Struct, kw_only=True, gc=False):
    """A maintenance with windows to come; the next one opens at next_at."""

    maintenance: Maintenance
    next_at: int


class Counters(msgspec.Struct, kw_only=True):
    """The last number given of each kind.

    intents: how many were decided, those withheld too: so many must be found among deliveries and what was withheld.
    """

    alert: int = 0
    incident: int = 0
    notification: int = 0
    delivery: int = 0
    silence: int = 0
    change: int = 0
    maintenance: int = 0
    intents: int = 0


class Touched:
    """What changed since somebody last asked, in the order of first change. Dicts serve as ordered sets."""

    def __init__(self) -> None:
        self.alerts: dict[bytes, LiveAlert] = {}
        self.incidents: dict[int, LiveIncident] = {}
        self.rates: dict[str, RateWindow] = {}
        self.ended: dict[int, LiveDelivery] = {}
        self.forgotten_alerts: dict[int, LiveAlert] = {}
        self.forgotten_incidents: dict[int, LiveIncident] = {}
        self.recalled_incidents: dict[int, LiveIncident] = {}


class State:
    """All that deciding needs. One instance a node; never shared between threads."""

    def __init__(self, *, id_key: bytes) -> None:
        self.id_key = id_key
        self._keyed = hashlib.blake2b(key=id_key, digest_size=16)
        self.at = 0
        self.counters = Counters()
        self.plans = compile_policy(Policy(), 0)
        self.policies: dict[int, Plans] = {0: self.plans}
        self.alerts: dict[bytes, LiveAlert] = {}
        self.incidents: dict[int, LiveIncident] = {}
        self.members: dict[int, list[LiveAlert]] = {}
        self.by_key: dict[bytes, LiveIncident] = {}
        self.deliveries: dict[int, LiveDelivery] = {}
        self.rates: dict[str, RateWindow] = {}
        self.past_deliveries: dict[int, tuple[LiveDelivery, DeliveryState]] = {}
        self.silences: dict[int, LiveSilence] = {}
        self.maintenances: dict[int, LiveMaintenance] = {}
        self.timers: list[tuple[int, str, Any]] = []
        self.leases: list[tuple[int, bytes]] = []
        self.forgetting: list[tuple[int, int]] = []
        self.touched = Touched()

    def alert_id(self, fingerprint: bytes) -> bytes:
        """Name an alert by a keyed digest (16 bytes) of its fingerprint."""
        keyed = self._keyed.copy()
        keyed.update(fingerprint)
        return keyed.digest()

    def public_id(self, kind: str, number: int, at: int, about: bytes = b"") -> str:
        """Make a stable name: 24 hex digits that say nothing about what it names, and its number in 8 more."""
        named = b"%s\x00%d\x00%d\x00" % (kind.encode(), number, at)
        return f"{hashlib.blake2b(named + about, key=self.id_key, digest_size=12).hexdigest()}{number:08x}"

    def plan(self, incident: LiveIncident) -> Plan:
        """Give the plan that the incident keeps."""
        return self.policies[incident.policy].by_name[incident.route]

    def plan_timer(self, due: int, kind: str, ref: Any) -> None:
        """Ask to be looked at when `due` has come. Timers are never taken back; whoever looks checks.

        Those that are due together come in the order of kind and ref, so that it does not matter when each was planned.
        """
        heapq.heappush(self.timers, (due, kind, ref))


def next_wakeup(state: State) -> int | None:
    """Say when a timer is due (microseconds UTC), or None."""
    if not state.leases:
        return state.timers[0][0] if state.timers else None
    lease = state.leases[0][0]
    return min(lease, state.timers[0][0]) if state.timers else lease


def begin(state: State, at: int) -> None:
    """Move on to a moment: what has been over for long enough is forgotten now, before anything is decided at it.

    So it depends on the entries and their instants alone what is remembered when one of them is decided or folded.
    Whoever recalls alerts for some inputs calls this before; `advance` does it too, and a second time does nothing.
    """
    if at <= state.at:
        return
    state.at = at
    state.past_deliveries.clear()
    while state.forgetting and state.forgetting[0][0] <= at:
        incident = state.incidents.get(heapq.heappop(state.forgetting)[1])
        if incident is not None and _may_forget(state, incident, at):
            _forget(state, incident)


def has_look(alert: LiveAlert, window_start: int, window_end: int, status: Status, at: int) -> bool:
    """Say whether this look, with this status, came within the last 7 days and is among the last 16."""
    looks = alert.looks
    wanted = LOOK.pack(window_start, window_end, STATUS_CODE[status], 0)[:17]
    start = looks.rfind(wanted)
    while start >= 0:
        if start % LOOK.size == 0:  # Else these bytes lie across two looks.
            came: int = LOOK.unpack_from(looks, start)[3]
            return at - came <= LOOKS_KEPT_FOR
        start = looks.rfind(wanted, 0, start + len(wanted) - 1)
    return False


def refresh(state: State, alert: LiveAlert, ends_at: int | None, at: int) -> None:
    """Count a repeat that leaves no entry: the alert's lease is renewed."""
    alert.repeats += 1
    alert.seen_at = at
    renew(state, alert, ends_at, at)


def renew(state: State, alert: LiveAlert, ends_at: int | None, at: int) -> None:
    """Give an alert the lease that its sender vouches for, or that its route gives it."""
    lease = ends_at if ends_at is not None else (at + alert.expires_after if alert.expires_after else 0)
    alert.lease = lease
    if lease and (not alert.timer or lease < alert.timer):
        plan_lease(state, alert)


def plan_lease(state: State, alert: LiveAlert) -> None:
    """Give the alert its one lease timer; an earlier one that is still planned is ignored when it comes."""
    alert.timer = alert.lease
    heapq.heappush(state.leases, (alert.lease, alert.id))


def leases_due(state: State, at: int) -> list[LiveAlert]:
    """Take out the alerts whose lease ran out, earliest first, and plan the timer of those renewed since.

    The caller feeds an AlertExpired for each that the store agrees on, and plans the others anew.
    """
    due: list[LiveAlert] = []
    while state.leases and state.leases[0][0] <= at:
        planned, id_ = heapq.heappop(state.leases)
        alert = state.alerts.get(id_)
        if alert is None or planned != alert.timer:
            continue
        alert.timer = 0
        if not alert.lease or not alert.firing_in:
            continue
        if alert.lease > at:
            plan_lease(state, alert)
        else:
            due.append(alert)
    # Not by when their timers happened to be planned: that is not remembered.
    due.sort(key=lambda alert: (alert.lease, alert.number))
    return due


def claim_key(state: State, incident: LiveIncident) -> None:
    """Make an incident the one of its key, if of all that are known here it was opened last, or opened again.

    That need not be the newest: one that is long over may be recalled beside an older one that somebody reopened.
    """
    owner = state.by_key.get(incident.key)
    if owner is None or (owner.opened_at, owner.number) <= (incident.opened_at, incident.number):
        state.by_key[incident.key] = incident


def told_for(incident: LiveIncident, target: str) -> Told | None:
    """Find what a target was told about the incident."""
    for told in incident.told:
        if told.target == target:
            return told
    return None


def plan_forgetting(state: State, incident: LiveIncident) -> None:
    """Plan to look whether a resolved incident can be forgotten."""
    due = max(incident.resolved_at + state.plan(incident).reopen_within + 1, state.at + 1)
    heapq.heappush(state.forgetting, (due, incident.number))


def _may_forget(state: State, incident: LiveIncident, at: int) -> bool:
    """Say whether nothing can happen to a resolved incident that its memory here would change.

    Of several with one key the oldest goes first, so that the key's owner is always the newest that is here.
    """
    return (
        incident.state is IncidentState.RESOLVED
        and not incident.firing
        and not incident.silenced
        and incident.previous not in state.incidents
        and not any(told.delivery for told in incident.told)
        and at > incident.resolved_at + state.plan(incident).reopen_within
    )


def _forget(state: State, incident: LiveIncident) -> None:
    """Drop a resolved incident, and those of its alerts that are in no other. The store keeps them."""
    number = incident.number
    del state.incidents[number]
    newer = state.by_key.get(incident.key)
    if newer is incident:
        del state.by_key[incident.key]
    else:
        while newer is not None and newer.previous != number:
            newer = state.incidents.get(newer.previous)
        if newer is not None and newer.state is IncidentState.RESOLVED:
            due = newer.resolved_at + state.plan(newer).reopen_within + 1
            heapq.heappush(state.forgetting, (due, newer.number))
    state.touched.incidents.pop(number, None)
    if state.touched.recalled_incidents.pop(number, None) is None:
        state.touched.forgotten_incidents[number] = incident
    for alert in state.members.pop(number):
        if all(other not in state.incidents for other in alert.incidents):
            state.alerts.pop(alert.id, None)
            state.touched.alerts.pop(alert.id, None)
            state.touched.forgotten_alerts[alert.number] = alert
        else:
            alert.incidents = tuple(other for other in alert.incidents if other != number)
            state.touched.alerts[alert.id] = alert


def recall(state: State, alert: LiveAlert) -> None:
    """Take back an alert that was forgotten: what it remembers of its looks still counts."""
    alert.incidents = alert.firing_in = ()
    alert.lease = alert.timer = 0  # Its timer may have come while it was away.
    state.alerts[alert.id] = alert
    state.touched.alerts[alert.id] = alert


def recall_incident(state: State, incident: LiveIncident, members: list[LiveAlert]) -> None:
    """Take back an incident that is long over, with its alerts: somebody wants something of it.

    members: as the store keeps them, by number; those that state knows better are left as they are.
    """
    number = incident.number
    if state.touched.forgotten_incidents.pop(number, None) is None:
        state.touched.recalled_incidents[number] = msgspec.structs.replace(incident)
    state.incidents[number] = incident
    claim_key(state, incident)
    known: list[LiveAlert] = []
    for stored in members:
        alert = state.alerts.get(stored.id)
        if alert is None:
            alert = stored
            recall(state, alert)
        alert.incidents = (*alert.incidents, number)
        incident.silenced += bool(alert.silenced_by)
        state.touched.alerts[alert.id] = alert
        known.append(alert)
    state.members[number] = known
    plan_forgetting(state, incident)


def dismiss(state: State) -> list[LiveIncident]:
    """Forget the incidents again that were recalled and of which nothing came; give them as they were."""
    unused = [
        (number, as_it_was)
        for number, as_it_was in state.touched.recalled_incidents.items()
        if number not in state.touched.incidents
    ]
    for number, _ in unused:
        _forget(state, state.incidents[number])
    return [as_it_was for _, as_it_was in unused]


def recall_delivery(state: State, delivery: LiveDelivery, ended: DeliveryState) -> None:
    """Show a delivery that has ended to whoever decides about it in this turn. ended: how."""
    state.past_deliveries[delivery.number] = (delivery, ended)
