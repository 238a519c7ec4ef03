"""Turn: one turn's work: inputs become entries, in order, and what they changed becomes rows, committed at once.

It is made for one turn and thrown away; what lives longer is the pump's.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from tocsin.core.engine import compose, deduplicate
from tocsin.core.engine.route import group_labels
from tocsin.core.engine.state import LiveAlert, LiveDelivery, State, refresh
from tocsin.core.engine.step import advance
from tocsin.core.ledger import encoding
from tocsin.core.ledger.encoding import NONCE_BYTES, Sealed, Segment
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model import event as ev
from tocsin.core.model.access import Token
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import TocsinError, Unavailable
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import AlertReceived, Input, OutcomeReported, PolicyChanged, TokenIssued
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
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import (
    AlertRow,
    Attempt,
    Batch,
    DeliveryRow,
    Head,
    Ids,
    IncidentRow,
    NotificationRow,
    PolicyRow,
    Store,
)
from tocsin.runtime.names import Names

_read_message = msgspec.json.Decoder(Message).decode

TEXTS_KEPT = 2_000
NONCES_AT_ONCE = 64


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one input. incidents: (id, number, outcome); refused: why nothing came of it."""

    outcome: str
    incidents: tuple[tuple[str, int, str], ...] = ()
    refused: Exception | None = None


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery to be attempted. message: None if whoever holds the delivery has it already.

    since: when it was decided, or its target began to be out of reach (see NewDelivery.since).
    """

    delivery: int
    attempt: int
    due: int
    since: int
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
    size: of the ledger now, 0 if that is not said; at: of the turn.
    tally: what happened, counted: `input:<outcome>`, `withheld:<reason>` (targets), `state:<STATE>` (incidents that
    entered it), `auto_resolved`, `notified:<kind>`, `delivery:<channel>:<state>` (`retry` for a failed attempt),
    `entries`, `commit_us` (how long the store took).
    """

    dispatches: tuple[Dispatch, ...] | list[Dispatch]
    ended: tuple[int, ...] | list[int]
    is_all: bool = False
    size: int = 0
    at: int = 0
    tally: dict[str, int] = {}


class Poisoned(Exception):
    """An input broke the rules of the house while it was applied: the state cannot be trusted any more."""

    def __init__(self, request: int, position: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.request, self.position, self.cause = request, position, cause


class Texts:
    """The texts that state does not hold, kept at hand for the next message about them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alerts: dict[int, Alert] = {}
        self._titles: dict[int, tuple[str, dict[str, str]]] = {}
        self.names = Names(store)

    def forget(self) -> None:
        """Begin anew: numbers that a failed turn gave are given again, so what was kept under them may be wrong."""
        self._alerts.clear()
        self._titles.clear()

    def keep_alert(self, number: int, alert: Alert) -> None:
        """Keep an alert as it was last told."""
        if len(self._alerts) >= TEXTS_KEPT:
            self._alerts.clear()
        self._alerts[number] = alert

    def has_alert(self, number: int) -> bool:
        """Say whether an alert's text is at hand."""
        return number in self._alerts

    def alert(self, live: LiveAlert) -> Alert | None:
        """Give an alert as it was last told; None if its text was erased. Its entry is committed, or it is at hand."""
        alert = self._alerts.get(live.number)
        if alert is None:
            entry = self._store.entry(live.text_seq)
            alert = encoding.read_private(entry[2]).alert if entry is not None and entry[2] else None
        return alert

    def keep_title(self, number: int, text: tuple[str, dict[str, str]]) -> None:
        """Keep an incident's title and labels."""
        if len(self._titles) >= TEXTS_KEPT:
            self._titles.clear()
        self._titles[number] = text

    def title(self, number: int) -> tuple[str, dict[str, str]]:
        """Give an incident's title and labels."""
        return self._titles.get(number) or self._store.incident_text(number) or ("", {})


class Turn:
    """One turn's work: entries in order, and what they changed."""

    def __init__(self, state: State, edge: Frontier, at: int, *, texts: Texts, ids: Ids, origin: str) -> None:
        self._state = state
        self._at = at
        self._texts = texts
        self._ids = ids
        self._origin = origin
        self.edge = edge.copy()
        self._first = edge.size
        self._entries: list[Sealed] = []
        self._nonces = b""
        self._tally: Counter[str] = Counter()
        self._repeats = 0
        self._refreshed: dict[int, LiveAlert] = {}
        self._new_alerts: set[int] = set()
        self._joined: dict[int, list[int]] = {}
        self._opened: dict[int, tuple[str, dict[str, str]]] = {}
        self._messages: list[NotificationRow] = []
        self._dispatches: list[Dispatch] = []
        self._new_deliveries: dict[int, DeliveryRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        self._attempts: list[Attempt] = []
        self._silences: dict[int, tuple[Silence, bool]] = {}
        self._ended: list[int] = []
        self._ended_silences: list[int] = []
        self._maintenances: dict[int, tuple[Maintenance, int]] = {}
        self._ended_maintenances: list[int] = []
        self._policy: PolicyRow | None = None
        self._tokens: list[Token] = []
        self._revoked: list[str] = []
        self._withheld: Counter[str] = Counter()

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
                self._repeats += 1
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
                for event in draft.events:
                    follow = _FOLLOW.get(type(event))
                    if follow is not None:
                        follow(self, event, draft, seq, given)
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
        if decided.outcome:
            self._tally["input:" + decided.outcome] += 1
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

    # What an event means for the rows; the others change live records only, and `touched` names those.

    def _alert_fired(self, event: ev.AlertFired, draft: Draft, seq: int, given: Input) -> None:
        live = self._state.alerts[bytes.fromhex(event.id)]
        if live.text_seq < 0:
            self._new_alerts.add(live.number)
        live.text_seq = seq
        self._joined.setdefault(live.number, []).append(event.incident)
        self._texts.keep_alert(live.number, _alert_of(draft))

    def _alert_seen(self, event: ev.AlertSeen, draft: Draft, seq: int, given: Input) -> None:
        live = self._state.alerts[bytes.fromhex(event.id)]
        live.text_seq = seq
        self._texts.keep_alert(live.number, _alert_of(draft))

    def _incident_opened(self, event: ev.IncidentOpened, draft: Draft, seq: int, given: Input) -> None:
        plan = self._state.policies[event.policy].by_name[event.route]
        alert = _alert_of(draft)
        text = compose.title_of(plan, alert), group_labels(plan, alert)
        self._opened[event.incident] = text
        self._texts.keep_title(event.incident, text)
        self._tally["state:OPEN"] += 1

    def _state_entered(self, event: ev.Decided, draft: Draft, seq: int, given: Input) -> None:
        self._tally[f"state:{_ENTERS[type(event)]}"] += 1
        if isinstance(event, ev.IncidentResolved) and event.auto:
            self._tally["auto_resolved"] += 1

    def _withheld_from(self, event: ev.NotificationWithheld, draft: Draft, seq: int, given: Input) -> None:
        self._withheld[event.reason] += len(event.targets)
        self._tally[f"withheld:{event.reason}"] += len(event.targets)

    def _delivery_retried(self, event: ev.DeliveryRetried, draft: Draft, seq: int, given: Input) -> None:
        delivery = self._state.deliveries.get(event.delivery)
        failed = isinstance(given, OutcomeReported)
        if delivery is not None:  # Else a flush that was due with it merged it into newer news already.
            row = self._deliveries.get(delivery.number)
            why = _why(given) if failed or row is None else row.why
            self._delivery(delivery, DeliveryState.PENDING, why)
            self._dispatches.append(dispatch(self._state, event.delivery))
            if failed:
                self._tally[f"delivery:{delivery.channel}:retry"] += 1
        if failed:
            self._attempt(event.delivery, event.attempts, given)

    def _delivery_revived(self, event: ev.DeliveryRevived, draft: Draft, seq: int, given: Input) -> None:
        if event.delivery in self._state.deliveries:  # Else it was discarded in the same entry.
            self._delivery(self._state.deliveries[event.delivery], DeliveryState.PENDING, event.because)
            self._dispatches.append(dispatch(self._state, event.delivery))

    def _delivery_ended(self, event: ev.DeliveryEnded, draft: Draft, seq: int, given: Input) -> None:
        self._ended.append(event.delivery)
        delivery = self._state.touched.ended[event.delivery]
        why = (
            _why(given)
            if isinstance(given, OutcomeReported) and event.state in _BY_OUTCOME
            else event.because
        )
        if event.state is DeliveryState.DISCARDED and draft.private.get("note"):
            why = str(draft.private["note"])
        self._delivery(delivery, event.state, why)
        self._tally[f"delivery:{delivery.channel}:{event.state}"] += 1
        if event.state is DeliveryState.DEAD:
            self._attempt(event.delivery, event.attempts, given)

    def _attempt(self, delivery: int, attempt: int, given: Input) -> None:
        assert isinstance(given, OutcomeReported)
        outcome = "refused" if isinstance(given.outcome, Refused) else "retry"
        self._attempts.append(
            Attempt(delivery=delivery, attempt=attempt, at=self._at, outcome=outcome, why=_why(given))
        )

    def _silence_changed(
        self,
        event: ev.SilenceCreated | ev.SilenceBegan | ev.SilenceMoved,
        draft: Draft,
        seq: int,
        given: Input,
    ) -> None:
        if event.silence in self._state.silences:
            silence = self._state.silences[event.silence]
            self._silences[event.silence] = silence.silence, silence.began

    def _silence_ended(self, event: ev.SilenceEnded, draft: Draft, seq: int, given: Input) -> None:
        self._ended_silences.append(event.silence)

    def _maintenance_changed(
        self, event: ev.MaintenanceCreated | ev.MaintenanceMoved, draft: Draft, seq: int, given: Input
    ) -> None:
        live = self._state.maintenances.get(event.maintenance)
        if live is not None:
            self._maintenances[event.maintenance] = live.maintenance, live.next_at

    def _maintenance_ended(self, event: ev.MaintenanceEnded, draft: Draft, seq: int, given: Input) -> None:
        self._ended_maintenances.append(event.maintenance)

    def _policy_adopted(self, event: ev.PolicyAdopted, draft: Draft, seq: int, given: Input) -> None:
        assert isinstance(given, PolicyChanged)
        self._policy = PolicyRow(
            version=event.version,
            digest=event.digest,
            policy=given.policy,
            at=self._at,
            actor=draft.actor,
        )

    def _token_created(self, event: ev.TokenCreated, draft: Draft, seq: int, given: Input) -> None:
        assert isinstance(given, TokenIssued)
        self._tokens.append(given.token)

    def _token_revoked(self, event: ev.TokenRevoked, draft: Draft, seq: int, given: Input) -> None:
        self._revoked.append(event.token)

    def _notified(self, event: ev.Notified, draft: Draft, seq: int, given: Input) -> None:
        state = self._state
        self._tally["notified:" + event.kind] += 1
        incident = state.incidents.get(event.incident)
        lines, silenced, view = [], 0, None
        if incident is not None:
            title, labels = self._texts.title(incident.number)
            acked_by_name = self._texts.names.of(incident.acked_by)
            view = compose.view_of(incident, title, labels, acked_by_name=acked_by_name)
            members = state.members[incident.number]
            if incident.silenced:
                heard = [member for member in members if not member.silenced_by]
                if heard:  # Else somebody insists to tell of what silences cover, and sees it all.
                    silenced, members = len(members) - len(heard), heard
            for live in compose.pick(members, incident.number):
                text = self._alert_text(live)
                if text is not None:
                    lines.append(compose.line_of(live, text, incident.number))
        elif event.dry_run:
            lines.append(compose.line_of_alert(_alert_of(draft)))
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
            origin=self._origin,
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
            self._dispatches.append(dispatch(state, new.delivery, message))

    def _delivery(self, delivery: LiveDelivery, end: DeliveryState, why: str) -> None:
        rows = self._new_deliveries if delivery.number in self._new_deliveries else self._deliveries
        rows[delivery.number] = DeliveryRow(delivery=delivery, state=end, at=self._at, why=why)

    def _seal(self, draft: Draft, seq: int, cause: int | None) -> None:
        """Give an entry its place, while what it speaks of is still at hand."""
        state = self._state
        link = None
        if draft.incident:
            incident = state.incidents[draft.incident]
            state.touched.incidents[draft.incident] = incident
            link = incident.id, incident.entries, incident.last_seq if incident.entries else None
            incident.entries += 1
            incident.last_seq = seq
        if not self._nonces:
            self._nonces = self._ids.random_bytes(NONCE_BYTES * NONCES_AT_ONCE)
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
        self.edge.append(sealed.leaf)
        self._entries.append(sealed)

    def _alert_text(self, live: LiveAlert) -> Alert | None:
        """Give an alert as it was last told; None if its text was erased."""
        if live.text_seq < self._first or self._texts.has_alert(live.number):
            return self._texts.alert(live)
        return encoding.read_private(self._entries[live.text_seq - self._first].private).alert

    def batch(self) -> Batch | None:
        """Give all that this turn changed, to be written at once; None if that is nothing."""
        state, at = self._state, self._at
        touched = state.touched
        entries = self._entries
        if not entries and not self._refreshed and not touched.forgotten_incidents:
            return None
        root = self.edge.root()
        new_alerts = self._new_alerts
        joined = self._joined
        head = Head(
            size=self.edge.size,
            root=root,
            edge=self.edge.pack(),
            at=at,
            alive_at=at,
            counters=state.counters,
        )
        return Batch(
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
            recalled=list(touched.recalled_incidents.values()),
            attempts=self._attempts,
            maintenances=list(self._maintenances.values()),
            ended_maintenances=self._ended_maintenances,
            policy=self._policy,
            tokens=self._tokens,
            revoked=self._revoked,
            withheld=list(self._withheld.items()),
        )

    def committed(self, commit_us: int) -> Committed:
        """Give what others act on, once the batch is durable. commit_us: how long the store took."""
        state = self._state
        tally = self._tally
        state.touched = type(state.touched)()
        if self._repeats:
            tally["input:duplicate"] += self._repeats
        tally["entries"] = len(self._entries)
        tally["commit_us"] = commit_us
        # What was planned and then merged in the same turn is not attempted any more.
        dispatches = [one for one in self._dispatches if one.delivery in state.deliveries]
        return Committed(
            dispatches=dispatches, ended=self._ended, size=self.edge.size, at=self._at, tally=tally
        )


_FOLLOW: dict[type, Callable[..., None]] = {
    ev.AlertFired: Turn._alert_fired,
    ev.AlertSeen: Turn._alert_seen,
    ev.IncidentOpened: Turn._incident_opened,
    ev.IncidentReopened: Turn._state_entered,
    ev.IncidentAcknowledged: Turn._state_entered,
    ev.IncidentUnacknowledged: Turn._state_entered,
    ev.IncidentSilenced: Turn._state_entered,
    ev.IncidentUnsilenced: Turn._state_entered,
    ev.IncidentResolved: Turn._state_entered,
    ev.Notified: Turn._notified,
    ev.NotificationWithheld: Turn._withheld_from,
    ev.DeliveryRetried: Turn._delivery_retried,
    ev.DeliveryRevived: Turn._delivery_revived,
    ev.DeliveryEnded: Turn._delivery_ended,
    ev.SilenceCreated: Turn._silence_changed,
    ev.SilenceBegan: Turn._silence_changed,
    ev.SilenceMoved: Turn._silence_changed,
    ev.SilenceEnded: Turn._silence_ended,
    ev.MaintenanceCreated: Turn._maintenance_changed,
    ev.MaintenanceMoved: Turn._maintenance_changed,
    ev.MaintenanceEnded: Turn._maintenance_ended,
    ev.PolicyAdopted: Turn._policy_adopted,
    ev.TokenCreated: Turn._token_created,
    ev.TokenRevoked: Turn._token_revoked,
}

_ENTERS: dict[type, IncidentState] = {
    ev.IncidentReopened: IncidentState.OPEN,
    ev.IncidentAcknowledged: IncidentState.ACK,
    ev.IncidentUnacknowledged: IncidentState.OPEN,
    ev.IncidentSilenced: IncidentState.SILENCED,
    ev.IncidentUnsilenced: IncidentState.OPEN,
    ev.IncidentResolved: IncidentState.RESOLVED,
}

_BY_OUTCOME = (
    DeliveryState.DELIVERED,
    DeliveryState.ACCEPTED,
    DeliveryState.DEAD,
    DeliveryState.DRY_RUN,
)
"""How an attempt may end a delivery; the other ends are decided here."""


def _alert_of(draft: Draft) -> Alert:
    alert = draft.private["alert"]
    assert isinstance(alert, Alert)
    return alert


def dispatch(state: State, number: int, message: Message | None = None) -> Dispatch:
    """Give the next attempt of a delivery."""
    delivery = state.deliveries[number]
    return Dispatch(
        delivery=number,
        attempt=delivery.attempts + 1,
        due=delivery.due,
        since=delivery.first_at,
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
