"""Course: what one course of events came to: counted as it goes by, and each opening of an incident by itself.

There are three: as it was recorded, decided again, and decided under the candidate. All are read from events alone.
"""

import heapq
from array import array
from collections.abc import Callable
from typing import Any

from tocsin.core.engine.route import Plan
from tocsin.core.engine.state import SCOPE, LiveIncident, State
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.policy import HOUR
from tocsin.core.simulation.hours import Hours

QUIET = HOUR
"""An opening is over this long after its last event or later, once it is resolved."""

TELLS = (
    NotificationKind.OPENED,
    NotificationKind.UPDATED,
    NotificationKind.REMINDER,
    NotificationKind.ESCALATED,
    NotificationKind.MANUAL,
)
"""The kinds that tell of an incident that is there."""

Decision = tuple[int, str, tuple[str, ...], str]
"""When; what; about whom (ids of targets, or an actor); because."""


class Opening:
    """One opening of an incident: from when it opened or reopened until it is over, or opens again.

    opener: the alert that opened it (32 hex digits); alerts: all that fired in it, as an ordered set; firing: how many
    fire now.
    since: 0 if it was there before the period began; told_at: of the first notification; critical_at: when somebody
    was first told at CRITICAL; all 0 for never. last_at: of its last event.
    recorded: the number that the record knows it by, 0 for none.
    labels: of the alert that opened it; plan: the rules that it fell under; where they are known.
    left_out: something that was decided about it cannot be decided again.
    earlier, later: its counterparts in the courses before and after this one (recorded, again, candidate).
    """

    __slots__ = (
        "alerts",
        "critical_at",
        "decisions",
        "earlier",
        "firing",
        "generation",
        "is_over",
        "labels",
        "last_at",
        "later",
        "left_out",
        "number",
        "opened_at",
        "opener",
        "plan",
        "recorded",
        "resolved_at",
        "route",
        "rule_id",
        "severity",
        "since",
        "told_at",
    )

    def __init__(self, number: int, opened_at: int, route: str, *, generation: int = 1) -> None:
        self.number = number
        self.recorded = self.firing = 0
        self.opened_at = self.since = self.last_at = opened_at
        self.route = route
        self.generation = generation
        self.opener = ""
        self.alerts: dict[str, None] = {}
        self.rule_id = ""
        self.labels: dict[str, str] = {}
        self.plan: Plan | None = None
        self.severity = Severity.INFO
        self.told_at = self.critical_at = self.resolved_at = 0
        self.decisions: list[Decision] = []
        self.left_out = self.is_over = False
        self.earlier: Opening | None = None
        self.later: Opening | None = None

    def rises(self, severity: Severity) -> None:
        """Note how severe one of its alerts is."""
        if severity_rank[severity] > severity_rank[self.severity]:
            self.severity = severity


def opening_of(state: State, incident: LiveIncident) -> Opening:
    """Say what a state knows of an incident."""
    opening = Opening(incident.number, incident.opened_at, incident.route, generation=incident.generation)
    members = state.members[incident.number]
    opening.alerts = {member.id.hex(): None for member in members}
    opening.opener = min(opening.alerts, default="?")
    opening.labels = next(
        (
            SCOPE.decode(member.scope)
            for member in members
            if member.scope and member.id.hex() == opening.opener
        ),
        {},
    )
    opening.plan = state.plan(incident)
    opening.rule_id, opening.severity = incident.rule_id, incident.severity
    opening.firing, opening.resolved_at = incident.firing, incident.resolved_at
    return opening


class Course:
    """What came to pass in one course.

    quiet: how long after the last event a resolved incident counts as over; no alert reopens it after that.
    past: gives what is known of an incident that is over and that a person reopens, None if nothing is.
    openings: by the number of the incident; fresh, over: those that began and ended since somebody last took them.
    unnamed: those of fresh whose opener is still to be named, when the events of their entry are all seen.
    kinds: notifications by kind; hours: by target, how many it got in each hour of the day; withheld: intents by
    reason; waits: from each opening to its first notification, in microseconds.
    """

    def __init__(self, hours: Hours, quiet: int, past: Callable[[int], Opening | None]) -> None:
        self._hours = hours
        self._quiet = quiet
        self._past = past
        self.openings: dict[int, Opening] = {}
        self.fresh: list[Opening] = []
        self.unnamed: list[Opening] = []
        self.over: list[Opening] = []
        self.resting: list[tuple[int, int, Opening]] = []
        self._rested = 0
        self.opened = self.reopened = self.resolved_by_itself = self.resolved_by_hand = self.merged = 0
        self.kinds: dict[str, int] = {}
        self.hours: dict[str, list[int]] = {}
        self.channels: dict[str, str] = {}
        self.withheld: dict[str, int] = {}
        self.waits = array("q")

    def begin(self, state: State) -> None:
        """Take over the incidents that were there before the period began."""
        for incident in state.incidents.values():
            opening = self.openings[incident.number] = opening_of(state, incident)
            opening.since = 0
            opening.last_at = state.at
            if incident.resolved_at:
                self._rest(opening)

    def take(self, events: tuple[ev.Decided, ...], at: int) -> None:
        """Take the events of an entry or a draft."""
        for event in events:
            note = NOTES.get(type(event))
            if note is not None:
                note(self, event, at)
        if self.unnamed:
            self.name_openers()

    def name_openers(self) -> None:
        """Name those that no alert opened, so that their counterparts are found all the same."""
        for opening in self.unnamed:
            if not opening.opener:
                opening.opener = min(opening.alerts, default="")
        self.unnamed.clear()

    def move(self, at: int) -> None:
        """Time passes: what is resolved and was quiet for an hour is over."""
        resting = self.resting
        while resting and resting[0][0] <= at:
            opening = heapq.heappop(resting)[2]
            if opening.is_over:
                continue
            if opening.firing:  # Resolved by hand: it may come back at any time.
                opening.last_at = max(opening.last_at, at - self._quiet // 2)
                self._rest(opening)
            elif opening.last_at + self._quiet > at:
                self._rest(opening)
            else:
                self._end(opening)

    def end(self) -> None:
        """The period is over, and so is every opening, in the order of their incidents."""
        for number in sorted(self.openings):
            self._end(self.openings[number])

    def _rest(self, opening: Opening) -> None:
        self._rested += 1
        heapq.heappush(self.resting, (opening.last_at + self._quiet, self._rested, opening))

    def _end(self, opening: Opening) -> None:
        opening.is_over = True
        if self.openings.get(opening.number) is opening:
            del self.openings[opening.number]
        self.over.append(opening)

    def _decided(
        self, incident: int, at: int, what: str, who: tuple[str, ...], because: str
    ) -> Opening | None:
        opening = self.openings.get(incident)
        if opening is not None:
            opening.decisions.append((at, what, who, because))
            opening.last_at = at
        return opening

    # What each event means here

    def _incident_opened(self, e: ev.IncidentOpened, at: int) -> None:
        self.opened += 1
        opening = self.openings[e.incident] = Opening(e.incident, at, e.route)
        opening.decisions.append((at, "opened", (), e.because))
        self.fresh.append(opening)
        self.unnamed.append(opening)

    def _incident_reopened(self, e: ev.IncidentReopened, at: int) -> None:
        self.reopened += 1
        before = self.openings.get(e.incident)
        past = before or self._past(e.incident)
        opening = Opening(e.incident, at, past.route if past is not None else "", generation=e.generation)
        if past is not None:
            opening.alerts = dict(past.alerts)
            opening.rule_id, opening.severity = past.rule_id, past.severity
            opening.labels, opening.plan = past.labels, past.plan
        if before is not None:
            opening.opener, opening.firing = before.opener, before.firing
            self._end(before)
        self.openings[e.incident] = opening
        opening.decisions.append((at, "reopened", (), e.because))
        self.fresh.append(opening)
        self.unnamed.append(opening)

    def alert_fired(self, e: ev.AlertFired, at: int) -> None:
        """An alert fires in an incident."""
        opening = self.openings.get(e.incident)
        if opening is not None:
            opening.alerts[e.id] = None
            opening.firing += 1
            opening.rule_id = e.rule_id
            opening.last_at = at
            opening.rises(e.severity)
            if not opening.opener:
                opening.opener = e.id

    def alert_seen(self, e: ev.AlertSeen, at: int) -> None:
        """It was seen again."""
        opening = self.openings.get(e.incident)
        if opening is not None:
            opening.last_at = at
            if e.severity is not opening.severity:
                opening.rises(e.severity)
            if not opening.opener:
                opening.opener = e.id

    def alert_green(self, e: ev.AlertGreen, at: int) -> None:
        """A look found nothing wrong."""
        opening = self.openings.get(e.incident)
        if opening is not None:
            opening.last_at = at

    def alert_cleared(self, e: ev.AlertCleared, at: int) -> None:
        """It is over."""
        opening = self.openings.get(e.incident)
        if opening is not None:
            opening.firing -= 1
            opening.last_at = at

    def incident_resolved(self, e: ev.IncidentResolved, at: int) -> None:
        """An incident is over."""
        if e.auto:
            self.resolved_by_itself += 1
        else:
            self.resolved_by_hand += 1
        opening = self._decided(e.incident, at, "resolved", (), e.because)
        if opening is not None:
            opening.resolved_at = at
            self._rest(opening)

    def _state_changed(self, e: Any, at: int) -> None:
        self._decided(e.incident, at, _STATES[type(e)], (), e.because)

    def notified(self, e: ev.Notified, at: int) -> None:
        """People are told."""
        if e.dry_run:
            return
        self.kinds[e.kind] = self.kinds.get(e.kind, 0) + 1
        hour = self._hours.of(at)
        for new in e.deliveries:
            hours = self.hours.get(new.target)
            if hours is None:
                hours = self.hours[new.target] = [0] * 24
                self.channels[new.target] = new.channel
            hours[hour] += 1
        if not e.incident:
            return
        opening = self._decided(
            e.incident, at, _TOLD[e.kind], tuple([new.target for new in e.deliveries]), e.because
        )
        if opening is not None and not opening.told_at and e.kind in TELLS:
            opening.told_at = at
            if opening.since:
                self.waits.append(at - opening.opened_at)

    def _withheld(self, e: ev.NotificationWithheld, at: int) -> None:
        self.withheld[e.reason] = self.withheld.get(e.reason, 0) + len(e.targets)
        self._decided(e.incident, at, _WITHHELD[e.kind] + e.reason, e.targets, e.because)

    def delivery_ended(self, e: ev.DeliveryEnded, at: int) -> None:
        """A delivery has no further attempt."""
        if e.state is DeliveryState.MERGED:
            self.merged += 1


_TOLD = {kind: f"told {kind}" for kind in NotificationKind}
_WITHHELD = {kind: f"withheld {kind}: " for kind in NotificationKind}
_STATES: dict[type, str] = {
    ev.IncidentAcknowledged: "acknowledged",
    ev.IncidentUnacknowledged: "unacknowledged",
    ev.IncidentSilenced: "silenced",
    ev.IncidentUnsilenced: "unsilenced",
}
NOTES: dict[type, Callable[..., None]] = {
    ev.IncidentOpened: Course._incident_opened,
    ev.IncidentReopened: Course._incident_reopened,
    ev.AlertFired: Course.alert_fired,
    ev.AlertSeen: Course.alert_seen,
    ev.AlertGreen: Course.alert_green,
    ev.AlertCleared: Course.alert_cleared,
    ev.IncidentResolved: Course.incident_resolved,
    ev.IncidentAcknowledged: Course._state_changed,
    ev.IncidentUnacknowledged: Course._state_changed,
    ev.IncidentSilenced: Course._state_changed,
    ev.IncidentUnsilenced: Course._state_changed,
    ev.Notified: Course.notified,
    ev.NotificationWithheld: Course._withheld,
    ev.DeliveryEnded: Course.delivery_ended,
}
"""What each event means for a course; the others mean nothing."""
