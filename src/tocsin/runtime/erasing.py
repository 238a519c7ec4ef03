"""Erasing: what goes when private parts are erased: the parts themselves, and all that was made from them.

What is said of an incident was put together from its alerts, so if one of these goes, so do its title, its labels,
what its notifications said, and what providers answered. Decided by the decision parts alone, which stay; so it does
not matter whether the private ones are still there.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tocsin.core.engine.state import LiveAlert, Touched
from tocsin.core.ledger import encoding
from tocsin.core.ledger.encoding import Sealed, Segment
from tocsin.core.model import event as ev
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.entry import Decision, Header
from tocsin.core.model.notification import Message
from tocsin.core.model.policy import with_addresses
from tocsin.core.model.silence import ERASED, Maintenance, Silence
from tocsin.ports import AlertRow, PolicyRow, Redacted, Store, number_of


class Erasing:
    """What the erasures of one commit take away. Reads what was committed before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: list[tuple[int, int]] = []
        self._segments: dict[int, Segment] = {}
        self._alerts: dict[bytes, None] = {}
        self._incidents: dict[int, None] = {}
        self._deliveries: dict[int, None] = {}
        self._notifications: dict[int, None] = {}
        self._silences: dict[int, None] = {}
        self._maintenances: dict[int, None] = {}
        self._policies: dict[int, None] = {}
        self._tokens: dict[str, None] = {}

    def erase(self, first: int, last: int) -> None:
        """Erase the private parts of the entries from `first` to `last`, both included."""
        self._runs.append((first, last))
        for stored in self._store.segments(first):
            if stored.first_seq > last:
                return
            segment = self._segments.get(stored.first_seq, stored)
            entries = []
            for seq, (header, decision, private) in enumerate(
                encoding.unpack(segment.data), segment.first_seq
            ):
                if first <= seq <= last:
                    self._follow(encoding.read_header(header), encoding.read_decision(decision))
                    private = b""
                entries.append(Sealed(header, decision, private, b""))
            self._segments[segment.first_seq] = msgspec.structs.replace(segment, data=encoding.pack(entries))

    def erases(self, seq: int) -> bool:
        """Say whether the private part of this entry goes."""
        return any(first <= seq <= last for first, last in self._runs)

    @property
    def incidents(self) -> Iterable[int]:
        """Name the incidents whose titles and labels go."""
        return self._incidents

    def _follow(self, header: Header, decision: Decision) -> None:
        """Note what was made from an entry."""
        incident = number_of(header.incident) if header.incident is not None else None
        for event in decision.events:
            match event:
                case ev.AlertFired(id=id_) | ev.AlertSeen(id=id_):
                    self._alerts[bytes.fromhex(id_)] = None
                    if incident is not None:
                        self._incidents[incident] = None
                case ev.Notified(notification=number):
                    self._notifications[number] = None
                case ev.DeliveryRetried(delivery=number) | ev.DeliveryEnded(delivery=number):
                    self._deliveries[number] = None
                case ev.SilenceCreated(silence=number):
                    self._silences[number] = None
                case ev.MaintenanceCreated(maintenance=number):
                    self._maintenances[number] = None
                case ev.PolicyAdopted(version=version):
                    self._policies[version] = None
                case ev.TokenCreated(token=token):
                    self._tokens[token] = None
                case _:
                    pass

    def silence(self, notifications: Sequence[int]) -> None:
        """Take away the words of these notifications too."""
        self._notifications.update((number, None) for number in notifications)

    def alerts(self, touched: Touched) -> list[AlertRow]:
        """Give the alerts whose labels go: those that are not live."""
        found = self._store.recall(list(self._alerts))
        return [
            AlertRow(alert=redact_alert(alert), live=False, is_new=False)
            for alert in found
            if alert.id not in touched.alerts and alert.number not in touched.forgotten_alerts
        ]

    def redacted(self) -> Redacted:
        """Give what goes from the other rows."""
        for incident in self._incidents:
            self._notifications.update((number, None) for number in self._notifications_of(incident))
        return Redacted(
            segments=list(self._segments.values()),
            incidents=list(self._incidents),
            deliveries=list(self._deliveries),
            notifications=[
                (number, CANONICAL.encode(redact_message(message)))
                for number in self._notifications
                if (message := self._store.message(number)) is not None
            ],
            silences=self._silences_left(),
            maintenances=[
                redact_maintenance(one)
                for one, _, _ in self._store.list_maintenances()
                if one.number in self._maintenances
            ],
            policies=[
                redact_policy(row)
                for version in self._policies
                if (row := self._store.policy(version)) is not None
            ],
            tokens=list(self._tokens),
        )

    def _silences_left(self) -> Sequence[Silence]:
        views = (self._store.find_silence(str(number)) for number in self._silences)
        return [redact_silence(view.silence) for view in views if view is not None]

    def _notifications_of(self, incident: int) -> Iterator[int]:
        """Walk back along an incident's entries."""
        found = self._store.find_incident(str(incident))
        seq: int | None = found.last_seq if found is not None else None
        while seq is not None and seq >= 0:
            entry = self._store.entry(seq)
            if entry is None:
                return
            for event in encoding.read_decision(entry[1]).events:
                if isinstance(event, ev.Notified):
                    yield event.notification
            seq = encoding.read_header(entry[0]).incident_prev


def redact_alert(alert: LiveAlert) -> LiveAlert:
    """Give an alert without its labels."""
    return msgspec.structs.replace(alert, scope=b"", source="")


def redact_message(message: Message) -> Message:
    """Give what a notification was, without what it said."""
    view = message.incident
    return msgspec.structs.replace(
        message,
        title="",
        text="",
        alerts=(),
        more=0,
        incident=msgspec.structs.replace(view, title="", labels={}) if view is not None else None,
    )


def redact_silence(silence: Silence) -> Silence:
    """Give a silence without what it matched, and why."""
    return msgspec.structs.replace(silence, matchers=ERASED, created_by="", comment="")


def redact_maintenance(maintenance: Maintenance) -> Maintenance:
    """Give a maintenance without what it matched, when, and why."""
    return msgspec.structs.replace(
        maintenance, matchers=ERASED, rrule="", zone="", begins="", lasting=0, created_by="", comment=""
    )


def redact_policy(row: PolicyRow) -> PolicyRow:
    """Give a version of the policy without its addresses."""
    return msgspec.structs.replace(row, policy=with_addresses(row.policy, {}))
