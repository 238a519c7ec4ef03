"""Branch: one state that decides recorded inputs again, and what time, channels and silence bring about in it.

It does around the core what the runtime does: begins each moment, recalls what was forgotten, lets leases and timers
come due at their exact times, and makes attempts, which take no time and end as the record suggests.
"""

import heapq
from collections.abc import Callable

from tocsin.core.engine.state import State, begin, leases_due
from tocsin.core.engine.step import advance
from tocsin.core.engine.verdict import SYSTEM
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity
from tocsin.core.model.entry import Draft
from tocsin.core.model.input import AlertExpired, AlertReceived, Input, NodeStart, OutcomeReported, Tick
from tocsin.core.model.notification import Outcome
from tocsin.core.simulation.archive import TOUCHED_KEPT, Archive
from tocsin.core.simulation.course import Course, Opening, opening_of
from tocsin.core.simulation.critical import Criticals
from tocsin.core.simulation.hours import Hours
from tocsin.core.simulation.lookahead import Ahead
from tocsin.core.simulation.outcomes import DRY_RUN
from tocsin.core.simulation.repeats import ONCE, Repeats, Span

TICK = Tick()
NO_TIME = 1 << 62
"""Later than anything."""

BRANCH_KEY = b"tocsin what-if".ljust(32, b"\x00")
"""What the branches' own names are made with. It is no secret: only whoever reads a report sees them."""


class Branch:
    """One state, the course that it takes, and the clockwork around it.

    quiet: see `Course`; archive: what the state has forgotten already; it is copied.
    wanted: alerts (as state keys them) that fire now in recorded incidents which people reopen later: the incidents
    that they fire in here are kept.
    keeps_news: see `Criticals`.
    """

    def __init__(
        self,
        state: State,
        ahead: Ahead,
        hours: Hours,
        *,
        quiet: int,
        archive: Archive,
        wanted: dict[bytes, None],
        keeps_news: bool,
    ) -> None:
        self.state = state
        self.course = Course(hours, quiet, self._past)
        self.criticals = Criticals(state, self.course, keeps_news=keeps_news)
        self._outcomes = ahead.outcomes
        self._gaps = ahead.gaps
        self._gap = 0
        self._wanted_alerts = wanted
        self._wanted_incidents: dict[int, None] = {}
        self.archive = archive.copy(self._wanted_incidents)
        self._attempts: list[tuple[int, int]] = []
        self._now: list[int] = []
        self.repeats = Repeats(state, self.archive)

    def begin(self) -> None:
        """Take over what is on its way when the period begins."""
        self.course.begin(self.state)
        self.criticals.begin()
        for delivery in self.state.deliveries.values():
            heapq.heappush(self._attempts, (delivery.due, delivery.number))

    # Inputs

    def take(self, given: Input, at: int, actor: str) -> str:
        """Decide an input that is no alert; gives the word for its outcome. Raises: TocsinError as `step` does."""
        self.move_to(at)
        return advance(self.state, given, at=at, actor=actor, emit=self._follow).outcome

    def receive(self, given: AlertReceived, at: int, actor: str, span: Span | None) -> None:
        """Decide a look at an alert. span: how long it was seen after it, see `Repeats.looked`."""
        state, repeats, id_ = self.state, self.repeats, given.id
        if at > state.at:
            self.move_to(at)
        live = state.alerts.get(id_)
        recalled = None
        if live is None:
            live = recalled = self.archive.give_alert(state, id_)
        before = live.seen_at if live is not None else 0
        begun = len(self.course.fresh)
        advance(state, given, at=at, actor=actor, emit=self._follow)
        if len(self.course.fresh) > begun:
            self._describe(given.alert, begun)
        if recalled is not None and not recalled.incidents:  # Nothing came of it.
            del state.alerts[id_], state.touched.alerts[id_]
            self.archive.alerts[id_] = recalled
        if span is ONCE and id_ not in repeats.spans and not repeats.greens:
            return
        live = live or state.alerts.get(id_)
        if live is not None:
            repeats.looked(live, given.alert, at, before, span)

    def _describe(self, alert: Alert, begun: int) -> None:
        """Note what is known of the incidents that this alert opened. begun: how many had before it."""
        for opening in self.course.fresh[begun:]:
            if opening.plan is None:
                opening.plan = self.state.plan(self.state.incidents[opening.number])
                opening.labels = alert.scope

    def expire(self, id_: bytes, at: int) -> None:
        """The sender no longer vouches for an alert; the record says when."""
        live = self.state.alerts.get(id_)
        if live is not None and live.firing_in:
            live.lease = at
            self.repeats.over(id_)
            self.take(AlertExpired(id=id_), at, SYSTEM)

    def start_node(self, gap: int, at: int, actor: str) -> None:
        """A node began to listen. What is known to be seen after that needs no longer lease."""
        known = [
            (alert, alert.lease)
            for alert in self.state.alerts.values()
            if alert.lease and self.repeats.last_at(alert.id) > at
        ]
        self.take(NodeStart(gap=gap), at, actor)
        for alert, lease in known:
            alert.lease = lease

    # Time

    def run(self, until: int) -> None:
        """Let everything happen that is due before a moment, each at its own, and what is overdue now."""
        state = self.state
        if self._now:
            self.send()
        timers, leases, attempts, looks = state.timers, state.leases, self._attempts, self.repeats.looks
        while (
            (timers and timers[0][0] < until)
            or (attempts and attempts[0][0] < until)
            or (leases and leases[0][0] < until)
            or (looks and looks[0][0] < until)
        ):
            due = self._awake(max(self._next(), state.at))
            if due >= until:
                return
            self._wake(due)

    def _next(self) -> int:
        """Say when something is due; what is planned and out of date is dropped, which most of it is."""
        state = self.state
        timers, leases = state.timers, state.leases
        due = NO_TIME
        while timers:
            planned, kind, ref = timers[0]
            incident = state.incidents.get(ref) if kind == "flush" else None
            if kind != "flush" or (incident is not None and incident.flush_at == planned):
                due = planned
                break
            heapq.heappop(timers)
        while leases:
            planned, id_ = leases[0]
            alert = state.alerts.get(id_)
            if alert is not None and alert.timer == planned:
                if alert.lease:
                    due = min(due, planned)
                    break
                alert.timer = 0  # The record says when it expires.
            heapq.heappop(leases)
        if self._attempts:
            due = min(due, self._attempts[0][0])
        return min(due, self.repeats.looks[0][0]) if self.repeats.looks else due

    def _awake(self, due: int) -> int:
        """Give the first moment from then on at which somebody listened."""
        gaps = self._gaps
        while self._gap < len(gaps):
            began, ended = gaps[self._gap]
            if due < ended:
                return ended if due > began else due
            self._gap += 1
        return due

    def _wake(self, at: int) -> None:
        self.move_to(at)
        state, attempts = self.state, self._attempts
        if state.leases and state.leases[0][0] <= at:
            for alert in leases_due(state, at):
                advance(state, AlertExpired(id=alert.id), at=at, actor=SYSTEM, emit=self._follow)
                self.repeats.comes_back(alert.id, at)
        if state.timers and state.timers[0][0] <= at:
            advance(state, TICK, at=at, actor=SYSTEM, emit=self._follow)
        while self.repeats.looks and self.repeats.looks[0][0] <= at:
            again = self.repeats.take()
            if again is not None:
                self.receive(again, at, SYSTEM, None)
        while attempts and attempts[0][0] <= at:
            self._attempt(heapq.heappop(attempts)[1], at)
        if self._now:
            self.send()

    def send(self) -> None:
        """Make the attempts of what was decided in this moment, and of what follows from them."""
        numbers, at = self._now, self.state.at
        for number in numbers:  # It grows meanwhile.
            self._attempt(number, at)
        numbers.clear()

    def move_to(self, at: int) -> None:
        """Move on to a moment; before anything is recalled for what happens in it."""
        state = self.state
        if at > state.at:
            begin(state, at)
            if state.touched.forgotten_incidents:
                self.archive.follow(state)

    def _attempt(self, number: int, at: int) -> None:
        delivery = self.state.deliveries.get(number)
        if delivery is None or delivery.due > at:
            return
        outcome: Outcome = DRY_RUN
        if not delivery.dry_run:
            outcome = self._outcomes.nearest(delivery.target, delivery.channel, at)
        reported = OutcomeReported(delivery=number, attempt=delivery.attempts + 1, outcome=outcome)
        advance(self.state, reported, at=at, actor=SYSTEM, emit=self._follow)

    def _past(self, number: int) -> Opening:
        return opening_of(self.state, self.state.incidents[number])

    # What was decided

    def _follow(self, draft: Draft) -> None:
        at = self.state.at
        for event in draft.events:
            note = _NOTES.get(type(event))
            if note is not None:
                note(self, event, at)
        if self.course.unnamed:
            self.course.name_openers()

    def _alert_fired(self, e: ev.AlertFired, at: int) -> None:
        self.course.alert_fired(e, at)
        if e.severity is Severity.CRITICAL:
            self.criticals.fired(e, at)
        if self._wanted_alerts or e.incident in self._wanted_incidents:
            self._joined(e)

    def _alert_seen(self, e: ev.AlertSeen, at: int) -> None:
        opening = self.course.openings.get(e.incident)
        if opening is not None and opening.opener and not e.change:
            opening.last_at = at  # Which is all that most of them say.
            return
        self.course.alert_seen(e, at)
        if e.severity is Severity.CRITICAL and e.change:
            self.criticals.fired(e, at)

    def _alert_cleared(self, e: ev.AlertCleared, at: int) -> None:
        self.course.alert_cleared(e, at)
        self.criticals.cleared(e, at)

    def _incident_resolved(self, e: ev.IncidentResolved, at: int) -> None:
        self.course.incident_resolved(e, at)
        if not e.auto:
            self.repeats.held(self.state.incidents[e.incident])

    def _notified(self, e: ev.Notified, at: int) -> None:
        self.course.notified(e, at)
        for new in e.deliveries:
            self._now.append(new.delivery)
        self.criticals.notified(e)

    def _delivery_retried(self, e: ev.DeliveryRetried, at: int) -> None:
        heapq.heappush(self._attempts, (e.due, e.delivery))

    def _delivery_ended(self, e: ev.DeliveryEnded, at: int) -> None:
        self.course.delivery_ended(e, at)
        self.criticals.delivery_ended(e, at)
        ended = self.state.touched.ended
        if len(ended) > TOUCHED_KEPT:
            ended.clear()

    def _elsewhere(self, e: ev.Decided, at: int) -> None:
        self.course.take((e,), at)

    def _joined(self, event: ev.AlertFired) -> None:
        """Note who is in an incident that somebody will want back."""
        number = event.incident
        if number in self._wanted_incidents or bytes.fromhex(event.id) in self._wanted_alerts:
            self._wanted_incidents[number] = None
            self.archive.joined(number, [member.id for member in self.state.members[number]])


_NOTES: dict[type, Callable[..., None]] = {
    ev.IncidentOpened: Branch._elsewhere,
    ev.IncidentReopened: Branch._elsewhere,
    ev.AlertFired: Branch._alert_fired,
    ev.AlertSeen: Branch._alert_seen,
    ev.AlertGreen: Branch._elsewhere,
    ev.AlertCleared: Branch._alert_cleared,
    ev.IncidentResolved: Branch._incident_resolved,
    ev.IncidentAcknowledged: Branch._elsewhere,
    ev.IncidentUnacknowledged: Branch._elsewhere,
    ev.IncidentSilenced: Branch._elsewhere,
    ev.IncidentUnsilenced: Branch._elsewhere,
    ev.Notified: Branch._notified,
    ev.NotificationWithheld: Branch._elsewhere,
    ev.DeliveryRetried: Branch._delivery_retried,
    ev.DeliveryEnded: Branch._delivery_ended,
}
