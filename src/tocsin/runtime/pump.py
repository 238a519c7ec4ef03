"""Pump: the one writer. Takes what waits, decides it in order, commits it once, then answers everybody.

`turn` is synchronous and takes its time from the clock it was given, so that a simulator drives the real thing.
An answer without an error is a promise: it is given only after the commit that holds what it speaks of.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tocsin.core.engine import compose, deduplicate
from tocsin.core.engine.restore import restore
from tocsin.core.engine.route import group_labels
from tocsin.core.engine.state import (
    LiveAlert,
    LiveIncident,
    State,
    begin,
    leases_due,
    next_wakeup,
    plan_lease,
    recall,
    refresh,
)
from tocsin.core.engine.step import SYSTEM, advance
from tocsin.core.ledger import encoding
from tocsin.core.ledger.encoding import NONCE_BYTES, Sealed, Segment
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model import event as ev
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import TocsinError, Unavailable
from tocsin.core.model.input import (
    AlertExpired,
    AlertReceived,
    Input,
    NodeStart,
    OutcomeReported,
    PolicyChanged,
    Tick,
)
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DeliveryState,
    DryRun,
    Message,
    NotificationKind,
    Refused,
    Retry,
    Target,
)
from tocsin.core.model.silence import Silence
from tocsin.ports import (
    AlertRow,
    Batch,
    Clock,
    DeliveryRow,
    Head,
    Ids,
    IncidentRow,
    NotificationRow,
    Store,
    StoreFailed,
)

log = logging.getLogger("tocsin.pump")

_read_message = msgspec.json.Decoder(Message).decode

TEXTS_KEPT = 2_000
NONCES_AT_ONCE = 64
ALIVE_EVERY = 10_000_000
GAP_MIN = 60_000_000
"""Shorter times without a turn or a commit, in microseconds, do not count as an absence of ours."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one input. incidents: (id, number, outcome); refused: why nothing came of it."""

    outcome: str
    incidents: tuple[tuple[str, int, str], ...] = ()
    refused: Exception | None = None


class Request(msgspec.Struct, frozen=True, gc=False):
    """Inputs that one caller waits for; they go into one commit. answer: called once, on the pump's thread."""

    inputs: Sequence[Input]
    actor: str
    answer: Callable[["Request", Sequence[Result] | Exception], None] | None = None


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery to be attempted. message: None if whoever holds the delivery has it already."""

    delivery: int
    attempt: int
    due: int
    channel: str
    target: Target | None
    key: str
    urgent: bool
    dry_run: bool
    notification: int
    message: Message | None = None


class Committed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a turn committed that others act on. ended: deliveries without a further attempt.

    is_all: the dispatches are all that is pending; whatever else somebody holds has ended.
    """

    dispatches: Sequence[Dispatch]
    ended: Sequence[int]
    is_all: bool = False


class Poisoned(Exception):
    """An input broke the rules of the house while it was applied: the state cannot be trusted any more."""

    def __init__(self, request: int, position: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.request, self.position, self.cause = request, position, cause


class Pump:
    """Drives the core over one store. Not safe for several threads: whoever calls `turn` is the writer."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        *,
        origin: str,
        on_committed: Callable[[Committed], None],
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._origin = origin
        self._on_committed = on_committed
        self._failpoint = failpoint
        self._alerts: dict[int, Alert] = {}
        self._titles: dict[int, tuple[str, dict[str, str]]] = {}
        self._state: State | None = None
        self._edge = Frontier()
        self._alive_at = 0
        self._resumed = False

    # The life of the pump

    def open(self) -> None:
        """Load the state, and record that a node listens. Raises: StoreFailed."""
        self._load()
        state = self._ready()
        gap = max(0, self._clock.now() - self._alive_at) if self._alive_at else 0
        failed: list[Exception] = []

        def answer(_: Request, results: Sequence[Result] | Exception) -> None:
            if isinstance(results, Exception):
                failed.append(results)

        self.turn([Request((NodeStart(gap=gap),), SYSTEM, answer)])
        if failed:
            raise StoreFailed(str(failed[0]))
        self._announce(state)

    def _announce(self, state: State) -> None:
        """Tell whoever delivers of all that is pending in what is committed."""
        pending = [_dispatch(state, number) for number in state.deliveries]
        self._on_committed(Committed(dispatches=pending, ended=(), is_all=True))

    def _load(self) -> State:
        id_key = self._store.secret("id_key")
        if id_key is None:
            id_key = self._ids.random_bytes(32)
            self._store.keep_secret("id_key", id_key)
        # Numbers that a failed turn gave are given again, so what was kept under them may be wrong.
        self._alerts.clear()
        self._titles.clear()
        memory = self._store.load()
        self._edge = Frontier.unpack(memory.head.edge)
        self._alive_at = memory.head.alive_at
        self._state = restore(memory, id_key)
        return self._state

    def _ready(self) -> State:
        if self._state is None:
            reopen = getattr(self._store, "reopen", None)
            if reopen is not None:
                reopen()
            # A commit that failed may have taken effect all the same: nobody was told what it decided to send.
            self._announce(self._load())
            self._resumed = True
        assert self._state is not None
        return self._state

    def next_wakeup(self) -> int | None:
        """Say when `turn` wants to be called even if nothing waits (microseconds UTC)."""
        return next_wakeup(self._state) if self._state is not None else None

    @property
    def state(self) -> State:
        """The state, for those on the pump's own thread."""
        return self._ready()

    # A turn

    def turn(self, requests: Sequence[Request]) -> None:
        """Decide all that waits and whatever is due, commit it once, and answer.

        A store that fails answers everybody with Unavailable; the state is then read anew from what is committed.
        """
        refused: dict[tuple[int, int], Exception] = {}
        while True:
            try:
                turned = self._try(requests, refused)
                break
            except Poisoned as poisoned:
                log.exception("an input was refused: applying it failed", exc_info=poisoned.cause)
                refused[poisoned.request, poisoned.position] = poisoned.cause
                self._state = None
            except StoreFailed as failed:
                log.error("nothing was accepted: %s", failed)
                self._state = None
                unavailable = Unavailable(
                    "Tocsin cannot store anything right now, so it accepted nothing. Try again."
                )
                for request in requests:
                    if request.answer is not None:
                        request.answer(request, unavailable)
                return
            except Exception:
                self._state = None  # Whatever it was, this state has seen half a turn.
                raise
        self._failpoint("before-answer")
        answers, committed = turned
        for request, results in zip(requests, answers, strict=True):
            if request.answer is not None:
                request.answer(request, results)
        if committed.dispatches or committed.ended:
            self._on_committed(committed)

    def _try(
        self, requests: Sequence[Request], refused: dict[tuple[int, int], Exception]
    ) -> tuple[list[list[Result]], Committed]:
        state = self._ready()
        at = max(self._clock.now(), state.at + 1)
        turn = Turn(self, state, at)
        begin(state, at)  # Before the recall: what is forgotten now is asked for again.
        if self._resumed and at - self._alive_at > GAP_MIN:
            # While nothing could be stored nobody was heard, so what fires must not expire for that.
            turn.take(NodeStart(gap=at - self._alive_at), SYSTEM, None)
        recalled = self._recall(state, requests)
        answers: list[list[Result]] = []
        for request_number, request in enumerate(requests):
            results: list[Result] = []
            for position, given in enumerate(request.inputs):
                broken = refused.get((request_number, position))
                if broken is not None:
                    results.append(Result("refused", refused=broken))
                    continue
                results.append(turn.take(given, request.actor, (request_number, position)))
            answers.append(results)
        for alert in recalled:
            if not alert.incidents:  # Nothing came of it: it stays in the store.
                del state.alerts[alert.id], state.touched.alerts[alert.id]
        for alert in self._expired(state, at):
            turn.take(AlertExpired(id=alert.id), SYSTEM, None)
        turn.take(Tick(), SYSTEM, None)
        return answers, turn.commit()

    def _recall(self, state: State, requests: Sequence[Request]) -> list[LiveAlert]:
        """Take back the alerts that state does not know, asking the store once."""
        unknown: dict[bytes, None] = {}
        for request in requests:
            for given in request.inputs:
                if type(given) is AlertReceived:
                    id_ = given.id = state.alert_id(given.fingerprint)
                    if id_ not in state.alerts:
                        unknown[id_] = None
        # What this turn forgot is not yet in the store as forgotten: take it back from where it went.
        recalled = [alert for alert in state.touched.forgotten_alerts.values() if alert.id in unknown]
        for alert in recalled:
            del unknown[alert.id]
        if unknown:
            recalled += self._store.recall(list(unknown))
        for alert in recalled:
            recall(state, alert)
        return recalled

    def _expired(self, state: State, at: int) -> list[LiveAlert]:
        """Find alerts whose lease ran out; the store's side table has the last word."""
        due = leases_due(state, at)
        if not due:
            return due
        stored = self._store.leases([alert.number for alert in due])
        expired = []
        for alert in due:
            alert.lease = max(alert.lease, stored.get(alert.number, 0))
            if alert.lease > at:
                plan_lease(state, alert)
            else:
                expired.append(alert)
        return expired

    # Texts, which state does not hold

    def keep_alert(self, number: int, alert: Alert) -> None:
        """Keep an alert's text at hand for the next message about it."""
        if len(self._alerts) >= TEXTS_KEPT:
            self._alerts.clear()
        self._alerts[number] = alert

    def keep_title(self, number: int, text: tuple[str, dict[str, str]]) -> None:
        """Keep an incident's title and labels at hand."""
        if len(self._titles) >= TEXTS_KEPT:
            self._titles.clear()
        self._titles[number] = text


class Turn:
    """One turn's work: entries in order, and what they changed."""

    def __init__(self, pump: Pump, state: State, at: int) -> None:
        self._pump = pump
        self._state = state
        self._at = at
        self._edge = pump._edge.copy()
        self._first = self._edge.size
        self._entries: list[Sealed] = []
        self._nonces = b""
        self._refreshed: dict[int, LiveAlert] = {}
        self._new_alerts: set[int] = set()
        self._joined: dict[int, list[int]] = {}
        self._opened: dict[int, tuple[str, dict[str, str]]] = {}
        self._messages: list[NotificationRow] = []
        self._dispatches: list[Dispatch] = []
        self._new_deliveries: dict[int, DeliveryRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        self._silences: dict[int, tuple[Silence, bool]] = {}
        self._ended: list[int] = []
        self._ended_silences: list[int] = []
        self._policy: Any = None
        self._withheld: dict[str, int] = {}

    def take(self, given: Input, actor: str, where: tuple[int, int] | None) -> Result:
        """Decide one input. Raises: Poisoned if it broke while it was applied."""
        state = self._state
        if self._policy is not None and isinstance(given, PolicyChanged):
            return Result(
                "refused", refused=Unavailable("Another policy came at the same moment. Try again.")
            )
        if type(given) is AlertReceived:
            live = deduplicate.find_repeated(state, given, self._at)
            if live is not None:
                refresh(state, live, given.alert.ends_at, self._at)
                self._refreshed[live.number] = live
                known = state.incidents
                return Result(
                    "duplicate", tuple([(known[number].id, number, "duplicate") for number in live.firing_in])
                )
        before = len(self._entries)
        try:
            decided, drafts = advance(state, given, at=self._at, actor=actor)
            if decided.refreshed is not None:
                self._refreshed[decided.refreshed.number] = decided.refreshed
            cause: int | None = None
            for draft in drafts:
                seq = self._first + len(self._entries)
                self._project(draft, seq, given)
                self._seal(draft, seq, cause if draft.follows else None)
                if not draft.follows:
                    cause = seq
        except TocsinError as error:
            if len(self._entries) > before:
                raise
            return Result("refused", refused=error)
        except Exception as error:
            if where is None:
                raise
            raise Poisoned(*where, error) from error
        incidents = state.incidents
        return Result(
            decided.outcome,
            tuple(
                [
                    (incidents[number].id if number in incidents else "", number, outcome)
                    for number, outcome in decided.incidents
                ]
            ),
        )

    def _project(self, draft: Draft, seq: int, given: Input) -> None:
        """Follow an entry's events into rows."""
        state = self._state
        alert: Any = draft.private.get("alert")
        for event in draft.events:
            match event:
                case ev.AlertFired():
                    live = state.alerts[bytes.fromhex(event.id)]
                    if live.text_seq < 0:
                        self._new_alerts.add(live.number)
                    live.text_seq = seq
                    self._joined.setdefault(live.number, []).append(event.incident)
                    self._pump.keep_alert(live.number, alert)
                case ev.AlertSeen():
                    live = state.alerts[bytes.fromhex(event.id)]
                    live.text_seq = seq
                    self._pump.keep_alert(live.number, alert)
                case ev.IncidentOpened():
                    plan = state.policies[event.policy].by_name[event.route]
                    text = compose.title_of(plan, alert), group_labels(plan, alert)
                    self._opened[event.incident] = text
                    self._pump.keep_title(event.incident, text)
                case ev.Notified():
                    self._notified(event, given, alert)
                case ev.NotificationWithheld():
                    self._withheld[event.reason] = self._withheld.get(event.reason, 0) + len(event.targets)
                case ev.DeliveryRetried():
                    # Unless a flush that was due with it merged it into newer news already.
                    if event.delivery in state.deliveries:
                        delivery = state.deliveries[event.delivery]
                        self._delivery(delivery, DeliveryState.PENDING, _why(given))
                        self._dispatches.append(_dispatch(state, event.delivery))
                case ev.DeliveryEnded():
                    self._delivery_ended(event, given)
                case ev.SilenceCreated() | ev.SilenceBegan():
                    if event.silence in state.silences:
                        silence = state.silences[event.silence]
                        self._silences[event.silence] = silence.silence, silence.began
                case ev.SilenceEnded():
                    self._ended_silences.append(event.silence)
                case ev.PolicyAdopted():
                    self._policy = event.version, event.digest, draft.private["policy"]
                case _:
                    pass  # The others change live records only, and `touched` names those.

    def _seal(self, draft: Draft, seq: int, cause: int | None) -> None:
        """Give an entry its place, while what it speaks of is still at hand."""
        state = self._state
        link = None
        if draft.incident:
            incident = state.incidents.get(draft.incident)
            if incident is not None:
                state.touched.incidents[draft.incident] = incident
            else:
                incident = state.touched.forgotten_incidents[draft.incident]
            link = incident.id, incident.entries, incident.last_seq if incident.entries else None
            incident.entries += 1
            incident.last_seq = seq
        if not self._nonces:
            self._nonces = self._pump._ids.random_bytes(NONCE_BYTES * NONCES_AT_ONCE)
        nonce, self._nonces = self._nonces[:NONCE_BYTES], self._nonces[NONCE_BYTES:]
        sealed = encoding.seal(
            draft,
            seq=seq,
            at=self._at,
            policy=state.plans.version,
            cause=cause,
            incident=link,
            nonce=nonce,
        )
        self._edge.append(sealed.leaf)
        self._entries.append(sealed)

    def _alert_text(self, live: LiveAlert) -> Alert | None:
        """Give an alert as it was last told; None if its text was erased."""
        alert = self._pump._alerts.get(live.number)
        if alert is not None:
            return alert
        if live.text_seq >= self._first:
            private = self._entries[live.text_seq - self._first].private
        else:
            entry = self._pump._store.entry(live.text_seq)
            private = entry[2] if entry is not None else b""
        return encoding.read_private(private).alert if private else None

    def _incident_text(self, incident: LiveIncident) -> tuple[str, dict[str, str]]:
        """Give an incident's title and labels."""
        number = incident.number
        text = self._pump._titles.get(number) or self._opened.get(number)
        return text or self._pump._store.incident_text(number) or ("", {})

    def _delivery(self, delivery: Any, end: DeliveryState, why: str) -> None:
        rows = self._new_deliveries if delivery.number in self._new_deliveries else self._deliveries
        rows[delivery.number] = DeliveryRow(delivery=delivery, state=end, at=self._at, why=why)

    def _delivery_ended(self, event: ev.DeliveryEnded, given: Input) -> None:
        self._ended.append(event.delivery)
        by_us = event.state in (DeliveryState.MERGED, DeliveryState.CANCELLED)
        why = event.because if by_us else _why(given)
        self._delivery(self._state.touched.ended[event.delivery], event.state, why)

    def _notified(self, event: ev.Notified, given: Input, alert: Alert | None) -> None:
        state = self._state
        incident = state.incidents.get(event.incident)
        lines, silenced, view = [], 0, None
        if incident is not None:
            view = compose.view_of(incident, *self._incident_text(incident))
            members = state.members[incident.number]
            if incident.silenced:
                heard = [member for member in members if not member.silenced_by]
                if heard:  # Else somebody insists to tell of what silences cover, and sees it all.
                    silenced, members = len(members) - len(heard), heard
            for live in compose.pick(members, incident.number):
                text = self._alert_text(live)
                if text is not None:
                    lines.append(compose.line_of(live, text, incident.number))
        elif event.dry_run and alert is not None:
            lines.append(compose.line_of_alert(alert))
        failed = ""
        if event.kind is NotificationKind.META and isinstance(given, OutcomeReported):
            ending = state.touched.ended[given.delivery]
            failed = (
                f"The {ending.kind} notification through channel {ending.channel} could not be delivered and will not "
                f"be tried again: {_why(given)}."
            )
        message = compose.message(
            event,
            at=self._at,
            origin=self._pump._origin,
            incident=incident,
            view=view,
            lines=lines,
            silenced=silenced,
            digest=event.because[:1].upper() + event.because[1:] + ".",
            failed=failed,
        )
        said = CANONICAL.encode(message)
        message = _read_message(
            said
        )  # As it will be read after a restart, so that each attempt has the same bytes.
        self._messages.append(
            NotificationRow(
                number=event.notification,
                id=event.id,
                incident=event.incident,
                kind=event.kind,
                at=self._at,
                message=said,
            )
        )
        for new in event.deliveries:
            live_delivery = state.deliveries[new.delivery]
            self._new_deliveries[new.delivery] = DeliveryRow(
                delivery=live_delivery, state=DeliveryState.PENDING, at=self._at
            )
            self._dispatches.append(_dispatch(state, new.delivery, message))

    def commit(self) -> Committed:
        """Seal the entries, write everything, and take the new edge as ours. Raises: StoreFailed."""
        pump, state, at = self._pump, self._state, self._at
        touched = state.touched
        entries = self._entries
        if not entries and not self._refreshed and not touched.forgotten_incidents:
            if at - pump._alive_at >= ALIVE_EVERY:
                pump._store.alive(at)
                pump._alive_at = at
            return Committed(dispatches=(), ended=())
        root = self._edge.root()
        new_alerts = self._new_alerts
        joined = self._joined
        head = Head(
            size=self._edge.size,
            root=root,
            edge=self._edge.pack(),
            at=at,
            alive_at=at,
            counters=state.counters,
        )
        batch = Batch(
            head=head,
            segment=Segment(first_seq=self._first, count=len(entries), root=root, data=encoding.pack(entries))
            if entries
            else None,
            incidents=[
                IncidentRow(
                    incident=i, live=True, title=text[0] if text else None, labels=text[1] if text else None
                )
                for i in touched.incidents.values()
                for text in (self._opened.get(i.number),)
            ]
            + [IncidentRow(incident=i, live=False) for i in touched.forgotten_incidents.values()],
            alerts=[
                AlertRow(
                    alert=a, live=True, is_new=a.number in new_alerts, joined=tuple(joined.get(a.number, ()))
                )
                for a in touched.alerts.values()
            ]
            + [
                AlertRow(alert=a, live=False, is_new=False)
                for a in touched.forgotten_alerts.values()
                if a.id not in touched.alerts
            ],
            leases=[a for a in self._refreshed.values() if a.id not in touched.alerts],
            notifications=self._messages,
            new_deliveries=list(self._new_deliveries.values()),
            deliveries=list(self._deliveries.values()),
            rates=list(touched.rates.items()),
            silences=list(self._silences.values()),
            ended_silences=self._ended_silences,
            policy=self._policy,
            withheld=list(self._withheld.items()),
        )
        pump._failpoint("before-commit")
        pump._store.commit(batch)
        pump._failpoint("after-commit")
        pump._resumed = False
        pump._edge = self._edge
        pump._alive_at = at
        state.touched = type(touched)()
        # What was planned and then merged in the same turn is not attempted any more.
        dispatches = [dispatch for dispatch in self._dispatches if dispatch.delivery in state.deliveries]
        return Committed(dispatches=dispatches, ended=self._ended)


def _dispatch(state: State, number: int, message: Message | None = None) -> Dispatch:
    delivery = state.deliveries[number]
    return Dispatch(
        delivery=number,
        attempt=delivery.attempts + 1,
        due=delivery.due,
        channel=delivery.channel,
        target=state.plans.targets.get(delivery.target),
        key=delivery.key,
        urgent=delivery.severity == "critical",
        dry_run=delivery.dry_run,
        notification=delivery.notification,
        message=message,
    )


def _why(given: Input) -> str:
    """Say an attempt's outcome in words, for people."""
    if not isinstance(given, OutcomeReported):
        return ""
    match given.outcome:
        case Delivered(detail=detail) | Accepted(detail=detail):
            return detail
        case Retry(why=why) | Refused(why=why):
            return why
        case DryRun():
            return "dry run"
