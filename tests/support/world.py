"""World: a house in which the core decides, driven by hand. Its clock moves only when a test says so.

It does what the runtime does around the core (begin, recall, leases, ticks, attempts) and keeps what was decided.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from tests.support.builders import NINE, a_matcher, an_alert

from tocsin.core.engine import deduplicate, fold
from tocsin.core.engine import state as live
from tocsin.core.engine.lifecycle import changes_the_past
from tocsin.core.engine.restore import restore
from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow, State
from tocsin.core.engine.step import advance
from tocsin.core.engine.verdict import SYSTEM, Step
from tocsin.core.ledger import encoding
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert
from tocsin.core.model.entry import Draft
from tocsin.core.model.input import (
    Acted,
    Action,
    AlertExpired,
    AlertReceived,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    Input,
    MaintenanceRequested,
    Manual,
    OutcomeReported,
    PolicyChanged,
    SilenceCut,
    SilenceRequested,
    Tick,
)
from tocsin.core.model.notification import Delivered, DeliveryState, Outcome
from tocsin.core.model.policy import HOUR, MINUTE, Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.intake.native import received

ID_KEY = b"0123456789abcdef0123456789abcdef"

Answers = Callable[[LiveDelivery, int, int], Outcome | None]
"""(delivery, attempt, at) -> its outcome, or None for one that stays on the wire."""


def delivers(delivery: LiveDelivery, attempt: int, at: int) -> Outcome:
    """The channel that never fails."""
    return Delivered()


def hangs(delivery: LiveDelivery, attempt: int, at: int) -> None:
    """The channel that never answers."""


class Entry(msgspec.Struct, frozen=True):
    """A decided entry, with its two parts as they would lie in the ledger."""

    at: int
    draft: Draft
    decision: bytes
    private: bytes


class Sent(msgspec.Struct, frozen=True):
    """An attempt that was made."""

    at: int
    target: str
    kind: str
    severity: str
    incident: int
    delivery: int
    attempt: int


class Head(msgspec.Struct, frozen=True):
    """See `restore.HeadLike`."""

    at: int
    counters: Counters


class Memory(msgspec.Struct, frozen=True):
    """What a store would remember; see `restore.MemoryLike`."""

    head: Head
    policies: list[tuple[int, Policy]]
    incidents: list[LiveIncident]
    alerts: list[LiveAlert]
    deliveries: list[LiveDelivery]
    rates: list[tuple[str, RateWindow]]
    silences: list[tuple[Silence, bool]]
    maintenances: list[tuple[Maintenance, int]]


class World:
    """One State and all that stands around it. Begins at 09:00 under the given policy."""

    def __init__(self, policy: Policy, *, at: int = NINE, answers: Answers = delivers) -> None:
        self.state = State(id_key=ID_KEY)
        self.at = at
        self.answers = answers
        self.entries: list[Entry] = []
        self._followed = 0
        self.sent: list[Sent] = []
        self.on_wire: dict[tuple[int, int], None] = {}
        self.forgotten: dict[bytes, LiveAlert] = {}
        self.archive = Archive()
        self.ended: dict[int, tuple[LiveDelivery, DeliveryState]] = {}
        self.feed(PolicyChanged(policy=policy), actor=SYSTEM)

    # What arrives

    def feed(self, given: Input, *, actor: str = "anna") -> Step:
        """Take one input now, and carry out what is due to be told."""
        step = self._take(given, actor)
        self._tell()
        return step

    def send(self, alert: Alert, *, manual: Manual | None = None, actor: str = "api") -> Step:
        """Take an alert; one without a window has looked at the last minute."""
        if not alert.window_end:
            alert = msgspec.structs.replace(alert, window_start=self.at - MINUTE, window_end=self.at)
        plain = received(alert)
        return self.feed(AlertReceived(alert, plain.fingerprint, plain.named, manual), actor=actor)

    def fire(self, rule_id: str = "disk", severity: str = "warning", **more: Any) -> Step:
        """An alert fires."""
        return self.send(an_alert(rule_id, severity, "firing", **more))

    def green(self, rule_id: str = "disk", **more: Any) -> Step:
        """A look at an alert finds nothing wrong."""
        return self.send(an_alert(rule_id, "warning", "green", **more))

    def clear(self, rule_id: str = "disk", **more: Any) -> Step:
        """An alert is over."""
        return self.send(an_alert(rule_id, "warning", "resolved", **more))

    def act(
        self, action: str, incident: int = 1, *, until: int = 0, note: str = "", actor: str = "anna"
    ) -> Step:
        """Somebody does something to an incident."""
        return self.feed(Acted(action=Action(action), incident=incident, until=until, note=note), actor=actor)

    def silence(self, matchers: str = "rule_id=disk", *, after: int = 0, lasting: int = HOUR) -> int:
        """Somebody asks for silence; gives its number."""
        self.feed(
            SilenceRequested(
                matchers=tuple(a_matcher(text) for text in matchers.split()),
                starts_at=self.at + after,
                ends_at=self.at + after + lasting,
                forced=True,
            )
        )
        return self.state.counters.silence

    def maintain(
        self,
        matchers: str = "rule_id=disk",
        *,
        rrule: str = "FREQ=DAILY",
        zone: str = "UTC",
        begins: str = "2026-03-02T09:30",
        lasting: int = HOUR,
    ) -> int:
        """Somebody asks for silence again and again; gives the maintenance's number."""
        self.feed(
            MaintenanceRequested(
                matchers=tuple(a_matcher(text) for text in matchers.split()),
                rrule=rrule,
                zone=zone,
                begins=begins,
                lasting=lasting,
            )
        )
        return self.state.counters.maintenance

    def cut(self, silence: int = 1) -> Step:
        """Somebody ends a silence."""
        return self.feed(SilenceCut(silence=silence))

    def adopt(self, policy: Policy) -> Step:
        """The rules of the house change."""
        return self.feed(PolicyChanged(policy=policy), actor=SYSTEM)

    def report(self, delivery: int, outcome: Outcome, *, attempt: int = 1) -> Step:
        """An attempt that was on the wire ends."""
        self.on_wire.pop((delivery, attempt), None)
        return self.feed(OutcomeReported(delivery=delivery, attempt=attempt, outcome=outcome), actor=SYSTEM)

    # Time

    def wait(self, duration: int) -> None:
        """Let time pass; whatever is due meanwhile happens in its moment."""
        self.until(self.at + duration)

    def until(self, at: int) -> None:
        """As `wait`, up to this instant (included)."""
        while True:
            times = [at, *self._due_times()]
            self.at = max(self.at, min(times))
            self.tick()
            if self.at == at and not any(time <= at for time in self._due_times()):
                return

    def jump(self, duration: int) -> None:
        """Let time pass in which nobody did anything; what became due meanwhile happens late."""
        self.at += duration
        self.tick()

    def tick(self) -> None:
        """Do what the runtime does when it wakes up."""
        live.begin(self.state, self.at)
        for alert in live.leases_due(self.state, self.at):
            self._take(AlertExpired(id=alert.id), SYSTEM)
        self._take(Tick(), SYSTEM)
        self._tell()

    def _due_times(self) -> list[int]:
        wakeup = live.next_wakeup(self.state)
        times = [wakeup] if wakeup is not None else []
        return times + [d.due for d in self._idle()]

    # What the runtime does

    def _take(self, given: Input, actor: str) -> Step:
        state = self.state
        live.begin(state, self.at)
        self._follow()
        recalled = repeated = None
        if isinstance(given, AlertReceived):
            given.id = state.alert_id(given.fingerprint)
            if given.id not in state.alerts and given.id in self.forgotten:
                recalled = self.forgotten.pop(given.id)
                live.recall(state, recalled)
            repeated = deduplicate.find_repeated(state, given, self.at)
        else:
            self._recall_for(given)
        try:
            drafts: list[Draft] = []
            step = advance(state, given, at=self.at, actor=actor, emit=drafts.append)
            assert repeated is None or (step.outcome, step.refreshed, step.drafts) == (
                "duplicate",
                repeated,
                (),
            )
        finally:
            self.archive.incidents.update((i.number, i) for i in live.dismiss(state))
            if recalled is not None and not recalled.incidents:
                del state.alerts[recalled.id]
                self.forgotten[recalled.id] = recalled
        for draft in drafts:
            sealed = encoding.seal(
                draft,
                seq=len(self.entries),
                at=self.at,
                policy=state.plans.version,
                cause=None,
                incident=None,
                nonce=bytes(16),
            )
            self.entries.append(Entry(self.at, draft, sealed.decision, sealed.private))
        self._follow()
        return step

    def _recall_for(self, given: Input) -> None:
        match given:
            case Acted(action=action, incident=number, note=note) if changes_the_past(action, note):
                self._recall_incident(number)
            case BulkActed(action=action, incidents=numbers, note=note) if changes_the_past(action, note):
                for number in numbers:
                    self._recall_incident(number)
            case DeliveryRetryAsked(delivery=number) | DeliveryDiscardAsked(delivery=number):
                if number in self.ended and number not in self.state.deliveries:
                    delivery, end = self.ended[number]
                    live.recall_delivery(self.state, delivery, end)
                    self._recall_incident(delivery.incident)
            case _:
                pass

    def _recall_incident(self, number: int) -> None:
        self.archive.recall(self.state, number, self.forgotten)

    def _follow(self) -> None:
        touched = self.state.touched
        self.archive.incidents.update(touched.forgotten_incidents)
        for alert in touched.forgotten_alerts.values():
            self.forgotten[alert.id] = alert
        for entry in self.entries[self._followed :]:
            for event in entry.draft.events:
                self.archive.note(event)
                if isinstance(event, ev.DeliveryEnded):
                    self.ended[event.delivery] = touched.ended[event.delivery], event.state
        self._followed = len(self.entries)
        self.state.touched = live.Touched()

    def _idle(self) -> list[LiveDelivery]:
        return [d for d in self.state.deliveries.values() if (d.number, d.attempts + 1) not in self.on_wire]

    def _tell(self) -> None:
        """Make every attempt that is due."""
        while due := [delivery for delivery in self._idle() if delivery.due <= self.at]:
            delivery = due[0]
            attempt = delivery.attempts + 1
            self.sent.append(
                Sent(
                    self.at,
                    delivery.target,
                    delivery.kind,
                    delivery.severity,
                    delivery.incident,
                    delivery.number,
                    attempt,
                )
            )
            outcome = self.answers(delivery, attempt, self.at)
            if outcome is None:
                self.on_wire[delivery.number, attempt] = None
            else:
                self._take(
                    OutcomeReported(delivery=delivery.number, attempt=attempt, outcome=outcome), SYSTEM
                )

    # What a test looks at

    def told(self, target: str | None = None) -> list[str]:
        """Give the kinds of what was sent (to a target), in order."""
        return [sent.kind for sent in self.sent if target in (None, sent.target)]

    def events(self, *kinds: type) -> list[Any]:
        """Give all events of these kinds, in order."""
        return [e for entry in self.entries for e in entry.draft.events if not kinds or isinstance(e, kinds)]

    def withheld(self) -> list[tuple[str, str]]:
        """Give (kind, reason) of what was withheld, in order."""
        return [(e.kind, e.reason) for e in self.events(ev.NotificationWithheld)]

    def incident(self, number: int = 1) -> LiveIncident:
        """Give an incident that state knows."""
        return self.state.incidents[number]

    # The same state by other ways

    def restart(self) -> None:
        """Forget the state, and build it again from what a store would remember."""
        self.state = restore(memory_of(self.state), ID_KEY)

    def folded(self) -> State:
        """Build the state from the entries alone."""
        state = State(id_key=ID_KEY)
        forgotten: dict[bytes, LiveAlert] = {}
        archive = Archive()
        for entry in self.entries:
            live.begin(state, entry.at)
            archive.incidents.update(state.touched.forgotten_incidents)
            forgotten.update((alert.id, alert) for alert in state.touched.forgotten_alerts.values())
            state.touched = live.Touched()
            archive.recall(state, entry.draft.incident, forgotten)
            private = encoding.read_private(entry.private).named()
            for event in encoding.read_decision(entry.decision).events:
                archive.note(event)
                if isinstance(event, ev.AlertFired):
                    id_ = bytes.fromhex(event.id)
                    if id_ not in state.alerts and id_ in forgotten:
                        live.recall(state, forgotten.pop(id_))
                fold.apply(state, event, entry.at, private)
        live.begin(state, self.state.at)
        return state


class Archive:
    """The incidents that state forgot, and who was ever in which; as a store has them."""

    def __init__(self) -> None:
        self.incidents: dict[int, LiveIncident] = {}
        self.members: dict[int, dict[bytes, None]] = {}

    def note(self, event: Any) -> None:
        """Follow who joins which incident."""
        if isinstance(event, ev.AlertFired):
            self.members.setdefault(event.incident, {})[bytes.fromhex(event.id)] = None

    def recall(self, state: State, number: int, forgotten: dict[bytes, LiveAlert]) -> None:
        """Give an incident back to state, if it is not there."""
        if number not in state.incidents and number in self.incidents:
            ids = self.members[number]
            members = [state.alerts[id_] if id_ in state.alerts else forgotten.pop(id_) for id_ in ids]
            live.recall_incident(state, self.incidents.pop(number), sorted(members, key=lambda a: a.number))


def memory_of(state: State) -> Memory:
    """Give what a store would remember of a state, as copies that went through bytes."""

    def copies(kind: Any, values: Iterator[Any]) -> list[Any]:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(list(values)), type=list[kind])

    return Memory(
        head=Head(state.at, *copies(Counters, iter([state.counters]))),
        policies=[(version, plans.policy) for version, plans in state.policies.items()],
        incidents=sorted(copies(LiveIncident, iter(state.incidents.values())), key=lambda i: i.number),
        alerts=sorted(copies(LiveAlert, iter(state.alerts.values())), key=lambda a: a.number),
        deliveries=sorted(copies(LiveDelivery, iter(state.deliveries.values())), key=lambda d: d.number),
        rates=sorted(copies(tuple[str, RateWindow], iter(state.rates.items()))),
        silences=[(silence.silence, silence.began) for silence in state.silences.values()],
        maintenances=[(one.maintenance, one.next_at) for one in state.maintenances.values()],
    )


SEEN_WITHOUT_ENTRY = ("lease", "timer", "repeats", "seen_at")
"""What a repeat that leaves no entry changes in an alert."""


def dump(state: State, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give all that decides, in a form that compares. without: fields of alerts to leave out."""
    alerts = {}
    for alert in state.alerts.values():
        fields = msgspec.structs.asdict(alert)
        alerts[alert.number] = {name: value for name, value in fields.items() if name not in without}
    return {
        "at": state.at,
        "counters": msgspec.structs.asdict(state.counters),
        "policy": state.plans.version,
        "alerts": dict(sorted(alerts.items())),
        "incidents": {n: msgspec.structs.asdict(i) for n, i in sorted(state.incidents.items())},
        "members": {n: sorted(a.number for a in members) for n, members in sorted(state.members.items())},
        "by_key": sorted((key.hex(), incident.number) for key, incident in state.by_key.items()),
        "deliveries": {n: msgspec.structs.asdict(d) for n, d in sorted(state.deliveries.items())},
        "rates": {rule: msgspec.structs.asdict(window) for rule, window in sorted(state.rates.items())},
        "silences": {n: (s.silence, s.began) for n, s in sorted(state.silences.items())},
        "maintenances": {n: (m.maintenance, m.next_at) for n, m in sorted(state.maintenances.items())},
    }
