"""Period: the recorded inputs of a time, given to both branches, and the record itself beside them.

Entries with one instant came in one turn. After a turn whatever it made due happens in both branches, then time moves
on to the next one; only then are the three courses compared, so that all of them have come equally far.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.engine.route import DEFAULTS
from tocsin.core.ledger.encoding import Private, read_entry
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Status
from tocsin.core.model.entry import Decision
from tocsin.core.model.input import AlertReceived, Manual, PolicyChanged, Tick
from tocsin.core.model.notification import NotificationKind
from tocsin.core.model.policy import MINUTE, Policy, with_addresses
from tocsin.core.simulation.branch import BRANCH_KEY, Branch
from tocsin.core.simulation.comparison import Comparison
from tocsin.core.simulation.course import NOTES, QUIET, Course
from tocsin.core.simulation.critical import Watch
from tocsin.core.simulation.fold import copy_of
from tocsin.core.simulation.hours import Hours
from tocsin.core.simulation.lookahead import Ahead, longest_reopening
from tocsin.core.simulation.people import ACTIONS, People
from tocsin.core.simulation.prelude import LOOKS, Prelude, look_of
from tocsin.core.simulation.repeats import ONCE, Span

DRIFT_TOLERANCE = MINUTE
"""By so much a decision may come at another time than it was recorded and be no drift: real timers come a little late,
and real attempts take their time."""

ACTOR = "what-if"
_TOLD = (b'"type":"notified"', b'"type":"notification_withheld"')


class Period:
    """Three courses of one time. since: when it began; at: how far it has come."""

    def __init__(self, prelude: Prelude, ahead: Ahead, candidate: Policy, hours: Hours, since: int) -> None:
        self._prelude = prelude
        self.ahead = ahead
        self.policy = candidate
        self.since = self.at = since
        self._wanted = prelude.wanted()
        self._wanted_alerts: dict[bytes, None] = {}
        self._vouched = {id_: None for id_, span in prelude.seen.items() if span.vouched}
        longest = max(ahead.reopen_within, longest_reopening(candidate.routes), DEFAULTS.reopen_within or 0)
        self._quiet = QUIET + longest
        self.recorded = Course(hours, self._quiet, self._wanted.get)
        self.again = self._branch(hours, keeps_news=False)
        self.candidate = self._branch(hours, keeps_news=True)
        self.branches = self.again, self.candidate
        self._courses = self.recorded, self.again.course, self.candidate.course
        self._waiting: tuple[list[Any], ...] = (
            *(some for course in self._courses for some in (course.fresh, course.over)),
            self.again.criticals.firsts,
            self.candidate.criticals.news,
        )
        self._look_at = since
        self.people = tuple(People(branch) for branch in self.branches)
        self.drift = Comparison(tolerance=DRIFT_TOLERANCE)
        self.effect = Comparison()
        self.watch = Watch(self.again.criticals, self.candidate.criticals)
        self.inputs: dict[str, int] = {}
        self.alerts = self.repeats = self.erased = self.deliveries = 0
        self.recorded.begin(prelude.state)
        for opening in self.recorded.openings.values():
            opening.recorded = opening.number
        self.drift.begin(self.recorded, self.again.course)
        self.effect.begin(self.again.course, self.candidate.course)
        for branch in self.branches:
            branch.run(since)
        self.again.take(Tick(), since, ACTOR)  # What is due at this very moment comes first in both.
        self.candidate.take(PolicyChanged(policy=candidate), since, ACTOR)

    def _branch(self, hours: Hours, *, keeps_news: bool) -> Branch:
        prelude = self._prelude
        state = copy_of(prelude.state, id_key=BRANCH_KEY)
        branch = Branch(
            state,
            self.ahead,
            hours,
            quiet=self._quiet,
            archive=prelude.archive,
            wanted=self._wanted_alerts,
            keeps_news=keeps_news,
        )
        branch.begin()
        for id_, span in prelude.seen.items():
            branch.repeats.knows(id_, span)
        return branch

    def take(self, header: bytes, decision: bytes, private: bytes, end: int) -> bool:
        """Take the next entry; False if it lies behind the end, and nothing came of it."""
        head = _read_head(header)
        at = head.at
        if at != self.at:
            if at >= end:
                return False
            self._move(at)
        take = _TAKE.get(head.kind)
        if take is not None:
            take(self, head, decision, private)
        elif head.kind == "policy":
            self._policy(header, decision, private)
        return True

    def end(self, at: int) -> None:
        """The period is over."""
        self._move(at)
        for course in self._courses:
            course.end()
        self._compare()
        self.watch.end()

    def _move(self, at: int) -> None:
        """Finish the turn that was, and let time pass."""
        self.again.run(at)
        self.candidate.run(at)
        self.at = at
        if at >= self._look_at:
            self._look_at = at + MINUTE
            for course in self._courses:
                course.move(at)
        for some in self._waiting:
            if some:
                self._compare()
                return

    def _pair(self) -> None:
        """Find what belongs together of that which began since the last time."""
        recorded, again, candidate = self._courses
        if not (recorded.fresh or again.fresh or candidate.fresh):
            return
        for opening in recorded.fresh:
            opening.recorded = opening.number
        self.drift.meet(recorded.fresh, again.fresh)
        self.effect.meet(again.fresh, candidate.fresh)
        for course in self._courses:
            course.fresh.clear()

    def _compare(self) -> None:
        recorded, again, candidate = self._courses
        self._pair()
        self.watch.look()
        if recorded.over:
            for opening in recorded.over:
                self.drift.over_earlier(opening)
                if opening.number in self.ahead.reopened:
                    self._wanted[opening.number] = opening
                    for id_ in opening.alerts:
                        self._wanted_alerts.pop(bytes.fromhex(id_), None)
            recorded.over.clear()
        if again.over:
            for opening in again.over:
                self.drift.over_later(opening)
                self.effect.over_earlier(opening)
            again.over.clear()
        if candidate.over:
            for opening in candidate.over:
                self.effect.over_later(opening)
            candidate.over.clear()

    def _count(self, kind: str, more: int = 1) -> None:
        self.inputs[kind] = self.inputs.get(kind, 0) + more

    # What each kind of entry is: an input of the world's, or only a part of the record

    def _record(self, head: "_Head", decision: bytes, private: bytes) -> None:
        self.recorded.take(_read_decision(decision).events, head.at)

    def _due(self, head: "_Head", decision: bytes, private: bytes) -> None:
        """A timer of the record: whatever is due in the branches by now has come before what follows."""
        if head.cause is None:
            for branch in self.branches:
                branch.run(head.at + 1)
        self._record(head, decision, private)

    def _outcome(self, head: "_Head", decision: bytes, private: bytes) -> None:
        self.again.send()
        self.candidate.send()
        if _TOLD[0] in decision or _TOLD[1] in decision:
            self._record(head, decision, private)

    def _alert(self, head: "_Head", decision: bytes, private: bytes) -> None:
        at, recorded, events = head.at, self.recorded, _read_decision(decision).events
        begun = len(recorded.fresh)
        look: Any = None
        manual = None
        for event in events:
            kind = type(event)
            note = NOTES.get(kind)
            if note is not None:
                note(recorded, event, at)
                if kind in LOOKS and look is None:
                    look = event
                elif type(event) is ev.Notified and event.kind is NotificationKind.MANUAL:
                    manual = Manual(channels=event.asked)
        if recorded.unnamed:
            recorded.name_openers()
        if self.ahead.reopened:
            self._note_wanted(events)
        if head.cause is not None:
            return
        kind = type(look)
        id_ = bytes.fromhex(look.id)
        span: Span | None = self._prelude.span(look, at)
        if kind is ev.AlertCleared:
            self._vouched.pop(id_, None)
            if look.status is not Status.GREEN:
                span = None
        elif kind is ev.AlertGreen:
            span = None
        elif span is not ONCE and span is not None and span.vouched:
            self._vouched[id_] = None
        elif self._vouched:
            self._vouched.pop(id_, None)
        alert = _read_private(private).alert if private else None
        if alert is None:
            self._erased(events)
            return
        self.alerts += 1
        if span is not None and span is not ONCE:
            self.repeats += span.repeats
        for opening in recorded.fresh[begun:]:
            opening.labels = opening.labels or alert.scope
        given = AlertReceived(alert, id_, b"", manual, id_)
        self.again.receive(given, at, head.actor, span)
        self.candidate.receive(given, at, head.actor, span)

    def _erased(self, events: tuple[ev.Decided, ...]) -> None:
        self.erased += 1
        for event in events:
            opening = self.recorded.openings.get(getattr(event, "incident", 0))
            if opening is not None:
                opening.left_out = True

    def _note_wanted(self, events: tuple[ev.Decided, ...]) -> None:
        for event in events:
            if isinstance(event, ev.AlertFired) and event.incident in self.ahead.reopened:
                self._wanted_alerts[bytes.fromhex(event.id)] = None

    def _send(self, head: "_Head", decision: bytes, private: bytes) -> None:
        alert = _read_private(private).alert if private else None
        if alert is None:
            self.erased += 1
            return
        self._count("sends")
        asked = next(e.asked for e in _read_decision(decision).events if isinstance(e, ev.Notified))
        given = AlertReceived(alert, bytes(32), b"", Manual(channels=asked, dry_run=True), bytes(16))
        for branch in self.branches:
            branch.take(given, head.at, head.actor)

    def _expiry(self, head: "_Head", decision: bytes, private: bytes) -> None:
        events = _read_decision(decision).events
        self.recorded.take(events, head.at)
        if head.cause is not None:
            return
        id_ = bytes.fromhex(look_of(events).id)
        if id_ in self._vouched:
            del self._vouched[id_]
            self._count("expiries")
            for branch in self.branches:
                branch.expire(id_, head.at)

    def _action(self, head: "_Head", decision: bytes, private: bytes) -> None:
        events = _read_decision(decision).events
        did = events[0]
        if type(did) in ACTIONS:
            self._count("actions")
            number: int = did.incident  # type: ignore[union-attr]  # all of them are about an incident
            self._pair()
            opening = self.recorded.openings.get(number) or self._wanted.get(number)
            twin = opening
            for people in self.people:
                twin = twin.later if twin is not None else None
                if opening is None:
                    people.nothing += 1
                else:
                    people.act(did, opening, twin, head.at, head.actor)
        else:
            self._count("notes")
        self.recorded.take(events, head.at)

    def _silence(self, head: "_Head", decision: bytes, private: bytes) -> None:
        did = _read_decision(decision).events[0]
        wanted = _read_private(private).silence if private else None
        if isinstance(did, ev.SilenceCreated) and wanted is None:
            self.erased += 1
            return
        self._count("silences")
        for people in self.people:
            if isinstance(did, ev.SilenceCreated) and wanted is not None:
                people.silence(did.silence, wanted, head.at, head.actor)
            elif isinstance(did, ev.SilenceMoved | ev.SilenceEnded):
                people.change(did, head.at, head.actor)

    def _maintenance(self, head: "_Head", decision: bytes, private: bytes) -> None:
        did = _read_decision(decision).events[0]
        wanted = _read_private(private).maintenance if private else None
        if isinstance(did, ev.MaintenanceCreated) and wanted is None:
            self.erased += 1
            return
        self._count("maintenances")
        for people in self.people:
            if isinstance(did, ev.MaintenanceCreated) and wanted is not None:
                people.maintain(did.maintenance, wanted, head.at, head.actor)
            elif isinstance(did, ev.MaintenanceEnded):
                people.change(did, head.at, head.actor)

    def _window(self, head: "_Head", decision: bytes, private: bytes) -> None:
        self._silence_due(head, decision, private)
        for event in _read_decision(decision).events:
            if isinstance(event, ev.SilenceCreated):
                for people in self.people:
                    people.made(event.silence, event.maintenance)

    def _silence_due(self, head: "_Head", decision: bytes, private: bytes) -> None:
        if head.cause is None:
            for branch in self.branches:
                branch.run(head.at + 1)

    def _policy(self, header: bytes, decision: bytes, private: bytes) -> None:
        entry = read_entry(header, decision, private)
        did = next(event for event in entry.decision.events if isinstance(event, ev.PolicyAdopted))
        if did.policy is None:
            self.erased += 1  # In version 1 the policy stood in the private part.
            return
        self._count("policies")
        addresses = entry.private.addresses if entry.private is not None else {}
        adopted = PolicyChanged(policy=with_addresses(did.policy, addresses))
        self.again.take(adopted, entry.header.at, entry.header.actor)

    def _node(self, head: "_Head", decision: bytes, private: bytes) -> None:
        self._count("nodes")
        for event in _read_decision(decision).events:
            if isinstance(event, ev.NodeStarted):
                for branch in self.branches:
                    branch.start_node(event.gap, head.at, head.actor)

    def _delivery(self, head: "_Head", decision: bytes, private: bytes) -> None:
        self.deliveries += 1
        self._record(head, decision, private)


class _Head(msgspec.Struct, gc=False):
    """The fields of a header that are asked for here."""

    actor: str
    at: int
    cause: int | None
    kind: str
    seq: int


_read_head = msgspec.json.Decoder(_Head).decode
_read_decision = msgspec.json.Decoder(Decision).decode
_read_private = msgspec.json.Decoder(Private).decode

_TAKE: dict[str, Callable[[Period, _Head, bytes, bytes], None]] = {
    "alert": Period._alert,
    "expiry": Period._expiry,
    "send": Period._send,
    "outcome": Period._outcome,
    "action": Period._action,
    "delivery": Period._delivery,
    "silence": Period._silence,
    "maintenance": Period._maintenance,
    "node": Period._node,
    "cancelled": Period._record,
    "due_flush": Period._due,
    "due_ack": Period._due,
    "due_unsilence": Period._due,
    "due_digest": Period._due,
    "due_maintenance": Period._window,
    "due_silence_begin": Period._silence_due,
    "due_silence_end": Period._silence_due,
}
"""What is not named here says nothing about alerts, incidents or telling."""
