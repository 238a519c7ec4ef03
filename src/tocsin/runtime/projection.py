"""Projection: what entries mean for the tables. Each event of an entry becomes the rows that it changes.

It reads entries and the state after them, and nothing else that is not in the ledger; so the same rows come out when
the ledger is read again as did when it was written.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from tocsin.core.engine import compose, deliver
from tocsin.core.engine.route import group_labels
from tocsin.core.engine.state import LiveAlert, LiveDelivery, State
from tocsin.core.ledger import encoding
from tocsin.core.ledger.encoding import Sealed, Segment
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model import event as ev
from tocsin.core.model.access import Token
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.entry import Draft
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DeliveryState,
    DryRun,
    Message,
    NotificationKind,
    Refused,
    Retry,
)
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import (
    AlertRow,
    Attempt,
    Batch,
    DeliveryRow,
    Head,
    IncidentRow,
    NotificationRow,
    PolicyRow,
    SignerRow,
    Store,
)
from tocsin.runtime.committed import Dispatch, dispatch
from tocsin.runtime.erasing import Erasing
from tocsin.runtime.texts import Texts

_read_message = msgspec.json.Decoder(Message).decode


class Projection:
    """The rows of the entries of one commit. entries: as they lie in its segment; tally: see `Committed`.

    incomplete: numbers of notifications that lack an alert's text, because it was erased.
    token_hash: of the token that the next entry makes, "" where nobody knows it any more.
    """

    def __init__(
        self, state: State, store: Store, texts: Texts, *, first: int, at: int, origin: str, record: str
    ) -> None:
        self._state = state
        self._store = store
        self._texts = texts
        self._first = first
        self._at = at
        self._origin = origin
        self._record = record
        self.entries: list[Sealed] = []
        self.tally: Counter[str] = Counter()
        self.dispatches: list[Dispatch] = []
        self.ended: list[int] = []
        # (notification, target) -> the delivery that is merged into it there.
        self._merged: dict[tuple[int, str], int] = {}
        self.token_hash = ""
        self.incomplete: list[int] = []
        self._new_alerts: set[int] = set()
        self._joined: dict[int, list[int]] = {}
        self._opened: dict[int, tuple[str, dict[str, str]]] = {}
        self._messages: list[NotificationRow] = []
        self._new_deliveries: dict[int, DeliveryRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        self._attempts: list[Attempt] = []
        self._silences: dict[int, tuple[Silence, bool]] = {}
        self._ended_silences: list[int] = []
        self._maintenances: dict[int, tuple[Maintenance, int]] = {}
        self._ended_maintenances: list[int] = []
        self._policy: PolicyRow | None = None
        self._tokens: list[Token] = []
        self._revoked: list[str] = []
        self._withheld: Counter[str] = Counter()
        self._signers: list[SignerRow] = []
        self._origins: list[tuple[int, str]] = []
        self._erasing: Erasing | None = None
        self._pruned: list[tuple[int, int]] = []

    @property
    def has_policy(self) -> bool:
        """Say whether one of the entries adopts a policy; there may be one in a commit."""
        return self._policy is not None

    def follow(self, draft: Draft, seq: int) -> None:
        """Take the entry at `seq`, whose events have been applied to the state."""
        for event in draft.events:
            follow = _FOLLOW.get(type(event))
            if follow is not None:
                follow(self, event, draft, seq)

    # What an event means for the rows; the others change live records only, and `touched` names those.

    def _alert_fired(self, event: ev.AlertFired, draft: Draft, seq: int) -> None:
        live = self._state.alerts[bytes.fromhex(event.id)]
        if live.text_seq < 0:
            self._new_alerts.add(live.number)
        live.text_seq = seq
        self._joined.setdefault(live.number, []).append(event.incident)
        self._keep_text(live, draft)

    def _alert_seen(self, event: ev.AlertSeen, draft: Draft, seq: int) -> None:
        live = self._state.alerts[bytes.fromhex(event.id)]
        live.text_seq = seq
        self._keep_text(live, draft)

    def _incident_opened(self, event: ev.IncidentOpened, draft: Draft, seq: int) -> None:
        plan = self._state.policies[event.policy].by_name[event.route]
        alert = _alert_of(draft)
        text = ("", {}) if alert is None else (compose.title_of(plan, alert), group_labels(plan, alert))
        self._opened[event.incident] = text
        self._texts.keep_title(event.incident, text)
        self.tally["state:OPEN"] += 1

    def _state_entered(self, event: ev.Decided, draft: Draft, seq: int) -> None:
        self.tally[f"state:{_ENTERS[type(event)]}"] += 1
        if isinstance(event, ev.IncidentResolved) and event.auto:
            self.tally["auto_resolved"] += 1

    def _withheld_from(self, event: ev.NotificationWithheld, draft: Draft, seq: int) -> None:
        self._withheld[event.reason] += len(event.targets)
        self.tally[f"withheld:{event.reason}"] += len(event.targets)

    def _delivery_retried(self, event: ev.DeliveryRetried, draft: Draft, seq: int) -> None:
        delivery = self._state.deliveries.get(event.delivery)
        failed = draft.kind == "outcome"
        if delivery is not None:  # Else a flush that was due with it merged it into newer news already.
            row = self._deliveries.get(delivery.number)
            why = _why(draft) if failed or row is None else row.why
            self._delivery(delivery, DeliveryState.PENDING, why)
            self.dispatches.append(dispatch(self._state, event.delivery))
            if failed:
                self.tally[f"delivery:{delivery.channel}:retry"] += 1
        if failed:
            self._attempt(event.delivery, event.attempts, "retry", _why(draft))

    def _delivery_revived(self, event: ev.DeliveryRevived, draft: Draft, seq: int) -> None:
        if event.delivery in self._state.deliveries:  # Else it was discarded in the same entry.
            self._delivery(self._state.deliveries[event.delivery], DeliveryState.PENDING, event.because)
            self.dispatches.append(dispatch(self._state, event.delivery))

    def _delivery_ended(self, event: ev.DeliveryEnded, draft: Draft, seq: int) -> None:
        self.ended.append(event.delivery)
        delivery = self._state.touched.ended[event.delivery]
        if event.into:
            self._merged[event.into, delivery.target] = event.delivery
        by_outcome = draft.kind == "outcome" and event.state in _BY_OUTCOME
        why = _why(draft) if by_outcome else event.because
        if event.state is DeliveryState.DISCARDED:
            why = _text(draft, "note") or why
        self._delivery(delivery, event.state, why)
        self.tally[f"delivery:{delivery.channel}:{event.state}"] += 1
        if event.state is DeliveryState.DEAD:
            outcome = "refused" if event.because == deliver.REFUSED else "retry"
            self._attempt(event.delivery, event.attempts, outcome, why)

    def _attempt(self, delivery: int, attempt: int, outcome: str, why: str) -> None:
        self._attempts.append(
            Attempt(delivery=delivery, attempt=attempt, at=self._at, outcome=outcome, why=why)
        )

    def _silence_changed(
        self,
        event: ev.SilenceCreated | ev.SilenceBegan | ev.SilenceMoved,
        draft: Draft,
        seq: int,
    ) -> None:
        if event.silence in self._state.silences:
            silence = self._state.silences[event.silence]
            self._silences[event.silence] = silence.silence, silence.began

    def _silence_ended(self, event: ev.SilenceEnded, draft: Draft, seq: int) -> None:
        self._ended_silences.append(event.silence)

    def _maintenance_changed(
        self, event: ev.MaintenanceCreated | ev.MaintenanceMoved, draft: Draft, seq: int
    ) -> None:
        live = self._state.maintenances.get(event.maintenance)
        if live is not None:
            self._maintenances[event.maintenance] = live.maintenance, live.next_at

    def _maintenance_ended(self, event: ev.MaintenanceEnded, draft: Draft, seq: int) -> None:
        self._ended_maintenances.append(event.maintenance)

    def _policy_adopted(self, event: ev.PolicyAdopted, draft: Draft, seq: int) -> None:
        self._policy = PolicyRow(
            version=event.version,
            digest=event.digest,
            policy=self._state.policies[event.version].policy,
            at=self._at,
            actor=draft.actor,
        )

    def _token_created(self, event: ev.TokenCreated, draft: Draft, seq: int) -> None:
        self._tokens.append(
            Token(
                id=event.token,
                name=_text(draft, "name"),
                role=event.role,
                hash=self.token_hash,
                created_at=self._at,
                scopes=event.scopes,
                per_minute=event.per_minute,
                expires_at=event.expires_at,
                created_by=draft.actor,
            )
        )

    def _token_revoked(self, event: ev.TokenRevoked, draft: Draft, seq: int) -> None:
        self._revoked.append(event.token)

    def _notified(self, event: ev.Notified, draft: Draft, seq: int) -> None:
        state = self._state
        self.tally["notified:" + event.kind] += 1
        incident = state.incidents.get(event.incident)
        lines, silenced, view = [], 0, None
        if incident is not None:
            title, labels = self._texts.title(incident.number)
            view = compose.view_of(incident, title or incident.rule_id, labels)
            members = state.members[incident.number]
            if incident.silenced:
                heard = [member for member in members if not member.silenced_by]
                if heard:  # Else somebody insists to tell of what silences cover, and sees it all.
                    silenced, members = len(members) - len(heard), heard
            for live in compose.pick(members, incident.number):
                text = self._alert_text(live)
                if text is not None:
                    lines.append(compose.line_of(live, text, incident.number))
                else:
                    self.incomplete.append(event.notification)
        elif event.dry_run and (alert := _alert_of(draft)) is not None:
            lines.append(compose.line_of_alert(alert))
        failed = ""
        if event.kind is NotificationKind.META:
            dead = next(one for one in draft.events if isinstance(one, ev.DeliveryEnded))
            ending = state.touched.ended[dead.delivery]
            failed = (
                f"The {ending.kind} notification through channel {ending.channel} could not be delivered and will not "
                f"be tried again: {_why(draft)}."
            )
        by = last_said = ""
        if draft.kind == "action" and any(isinstance(one, _BY_HAND) for one in draft.events):
            by = draft.actor
        if any(isinstance(one, ev.AlertCleared) for one in draft.events):
            over = _alert_of(draft)
            last_said = over.message if over is not None else ""
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
            by=by,
            last_said=last_said,
            record=self._record,
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
            replaces = self._merged.get((event.notification, new.target), 0)
            self.dispatches.append(dispatch(state, new.delivery, message, replaces=replaces))

    def _delivery(self, delivery: LiveDelivery, end: DeliveryState, why: str) -> None:
        rows = self._new_deliveries if delivery.number in self._new_deliveries else self._deliveries
        rows[delivery.number] = DeliveryRow(delivery=delivery, state=end, at=self._at, why=why)

    def _keep_text(self, live: LiveAlert, draft: Draft) -> None:
        alert = _alert_of(draft)
        if alert is not None:
            self._texts.keep_alert(live.number, alert)
        else:
            self._texts.drop_alert(live.number)

    def _named(self, event: ev.LedgerBegan | ev.LedgerForked, draft: Draft, seq: int) -> None:
        self._origins.append((seq, event.origin))

    def _key_adopted(self, event: ev.KeyAdopted, draft: Draft, seq: int) -> None:
        self._signers.append(SignerRow(vkey=event.vkey, adopted_seq=seq))

    def _key_retired(self, event: ev.KeyRetired, draft: Draft, seq: int) -> None:
        self._signers.append(SignerRow(vkey=event.vkey, retired_seq=seq))

    def _private_erased(self, event: ev.PrivateErased, draft: Draft, seq: int) -> None:
        if self._erasing is None:
            self._erasing = Erasing(self._store)
        for first, last in event.entries:
            self._erasing.erase(first, last)
        self._erasing.silence(event.notifications)
        # The store still has what goes, until this is committed.
        self._texts.forget()
        for number in self._erasing.incidents:
            self._texts.keep_title(number, ("", {}))

    def _incidents_pruned(self, event: ev.IncidentsPruned, draft: Draft, seq: int) -> None:
        self._pruned += event.incidents

    def _alert_text(self, live: LiveAlert) -> Alert | None:
        """Give an alert as it was last told; None if its text was erased."""
        if self._erasing is not None and self._erasing.erases(live.text_seq):
            return None
        if live.text_seq < self._first or self._texts.has_alert(live.number):
            return self._texts.alert(live)
        position = live.text_seq - self._first
        if position == len(self.entries):
            return None  # It stands in the entry that is being followed, which lost it.
        private = self.entries[position].private
        return encoding.read_private(private).alert if private else None

    def batch(self, edge: Frontier, leases: Mapping[int, LiveAlert]) -> Batch | None:
        """Give all that changed, to be written at once; None if that is nothing.

        edge: of the tree after the entries; leases: alerts that were merely seen again, by number.
        """
        state, at = self._state, self._at
        touched = state.touched
        entries = self.entries
        if not entries and not leases and not touched.forgotten_incidents:
            return None
        root = edge.root()
        new_alerts = self._new_alerts
        joined = self._joined
        head = Head(
            size=edge.size,
            root=root,
            edge=edge.pack(),
            at=at,
            alive_at=at,
            counters=state.counters,
        )
        erased = self._erasing
        return Batch(
            head=head,
            segment=Segment(first_seq=self._first, count=len(entries), root=root, data=encoding.pack(entries))
            if entries
            else None,
            tiles=edge.completed,
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
            ]
            + (erased.alerts(touched) if erased is not None else []),
            leases=[a for a in leases.values() if a.id not in touched.alerts],
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
            signers=self._signers,
            origins=self._origins,
            redacted=erased.redacted() if erased is not None else None,
            pruned=self._pruned,
        )


_FOLLOW: dict[type, Callable[..., None]] = {
    ev.AlertFired: Projection._alert_fired,
    ev.AlertSeen: Projection._alert_seen,
    ev.IncidentOpened: Projection._incident_opened,
    ev.IncidentReopened: Projection._state_entered,
    ev.IncidentAcknowledged: Projection._state_entered,
    ev.IncidentUnacknowledged: Projection._state_entered,
    ev.IncidentSilenced: Projection._state_entered,
    ev.IncidentUnsilenced: Projection._state_entered,
    ev.IncidentResolved: Projection._state_entered,
    ev.Notified: Projection._notified,
    ev.NotificationWithheld: Projection._withheld_from,
    ev.DeliveryRetried: Projection._delivery_retried,
    ev.DeliveryRevived: Projection._delivery_revived,
    ev.DeliveryEnded: Projection._delivery_ended,
    ev.SilenceCreated: Projection._silence_changed,
    ev.SilenceBegan: Projection._silence_changed,
    ev.SilenceMoved: Projection._silence_changed,
    ev.SilenceEnded: Projection._silence_ended,
    ev.MaintenanceCreated: Projection._maintenance_changed,
    ev.MaintenanceMoved: Projection._maintenance_changed,
    ev.MaintenanceEnded: Projection._maintenance_ended,
    ev.PolicyAdopted: Projection._policy_adopted,
    ev.TokenCreated: Projection._token_created,
    ev.TokenRevoked: Projection._token_revoked,
    ev.LedgerBegan: Projection._named,
    ev.LedgerForked: Projection._named,
    ev.KeyAdopted: Projection._key_adopted,
    ev.KeyRetired: Projection._key_retired,
    ev.PrivateErased: Projection._private_erased,
    ev.IncidentsPruned: Projection._incidents_pruned,
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


_BY_HAND = (ev.IncidentResolved, ev.IncidentReopened)
"""What a message says of whoever did it."""


def _alert_of(draft: Draft) -> Alert | None:
    """Give the alert of an entry, None if it was erased."""
    alert = draft.private.get("alert")
    assert alert is None or isinstance(alert, Alert)
    return alert


def _text(draft: Draft, name: str) -> str:
    return str(draft.private.get(name, ""))


def _why(draft: Draft) -> str:
    """Say an attempt's outcome in words, for people; "" for an entry of another kind, or where it was erased."""
    match draft.private.get("outcome"):
        case Delivered(detail=detail) | Accepted(detail=detail):
            return detail
        case Retry(why=why) | Refused(why=why):
            return why
        case DryRun():
            return "dry run"
        case _:
            return ""
