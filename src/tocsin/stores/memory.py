"""The store that forgets when the process ends: the reference that the real ones are held to, and fast for tests.

Everything lies here as bytes or frozen values, as in a database, so that whatever happens to a live record after its
commit cannot be seen here. A new pump on the same MemoryStore is a restart.
"""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tocsin.core.engine.compose import view_of
from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, Message
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Silence
from tocsin.ports import (
    Batch,
    DeliveryRow,
    DeliveryView,
    Head,
    IncidentFilter,
    IncidentRow,
    Memory,
    StoreFailed,
    Token,
    number_of,
)

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder(order="sorted").encode
_alert = msgspec.msgpack.Decoder(LiveAlert).decode
_incident = msgspec.msgpack.Decoder(LiveIncident).decode
_delivery = msgspec.msgpack.Decoder(LiveDelivery).decode
_rate = msgspec.msgpack.Decoder(RateWindow).decode
_silence = msgspec.msgpack.Decoder(Silence).decode
_head = msgspec.msgpack.Decoder(Head).decode
_policy = msgspec.json.Decoder(Policy).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_message = msgspec.json.Decoder(Message).decode


class _Alert(msgspec.Struct, frozen=True):
    id: bytes
    live: bool
    seen_at: int
    body: bytes


class _Incident(msgspec.Struct, frozen=True):
    id: str
    live: bool
    state: IncidentState
    severity: Severity
    rule_id: str
    title: str
    labels: bytes
    body: bytes


class _Delivery(msgspec.Struct, frozen=True):
    incident: int
    state: DeliveryState
    at: int
    why: str
    body: bytes


class _Silence(msgspec.Struct, frozen=True):
    began: bool
    body: bytes


class _Lease(msgspec.Struct, frozen=True):
    repeats: int
    seen_at: int
    lease: int


class MemoryStore:
    """See `tocsin.ports.Store`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._head = _encode(
            Head(size=0, root=EMPTY_ROOT, edge=b"", at=0, alive_at=0, counters=Counters()),
        )
        self._segments: list[Segment] = []
        self._alerts: dict[int, _Alert] = {}
        self._members: dict[int, set[int]] = {}
        self._leases: dict[int, _Lease] = {}
        self._incidents: dict[int, _Incident] = {}
        self._messages: dict[int, bytes] = {}
        self._deliveries: dict[int, _Delivery] = {}
        self._rates: dict[str, bytes] = {}
        self._silences: dict[int, _Silence] = {}
        self._policies: dict[int, bytes] = {}
        self._withheld: Counter[str] = Counter()
        self._secrets: dict[str, bytes] = {}
        self._tokens: dict[str, Token] = {}

    # Writing

    def commit(self, batch: Batch) -> None:
        """See `tocsin.ports.Store`, as for every method here."""
        with self._lock:
            changes = self._changes(batch)
            for change in changes:
                change()

    def _changes(self, batch: Batch) -> list[Callable[[], object]]:
        """Check and encode everything before anything changes.

        Raises: StoreFailed; AssertionError for an update of what is not there, which a database would not notice.
        """
        new_alerts = {r.alert.number: _alert_row(r.alert, r.live) for r in batch.alerts if r.is_new}
        old_alerts = {r.alert.number: _alert_row(r.alert, r.live) for r in batch.alerts if not r.is_new}
        new_incidents = {r.incident.number: _opened(r) for r in batch.incidents if r.title is not None}
        old_incidents = {
            r.incident.number: self._follow(r, new_incidents) for r in batch.incidents if r.title is None
        }
        messages = {n.number: bytes(n.message) for n in batch.notifications}
        new_deliveries = {r.delivery.number: _delivery_row(r) for r in batch.new_deliveries}
        old_deliveries = {r.delivery.number: _delivery_row(r) for r in batch.deliveries}
        policies = {batch.policy[0]: _encode_json(batch.policy[2])} if batch.policy else {}
        segments = [batch.segment] if batch.segment is not None else []

        for what, numbers, known, given in (
            ("alert", new_alerts, self._alerts, sum(r.is_new for r in batch.alerts)),
            ("incident", new_incidents, self._incidents, sum(r.title is not None for r in batch.incidents)),
            ("notification", messages, self._messages, len(batch.notifications)),
            ("delivery", new_deliveries, self._deliveries, len(batch.new_deliveries)),
            ("policy", policies, self._policies, len(policies)),
        ):
            if len(numbers) < given or not numbers.keys().isdisjoint(known):
                raise StoreFailed(f"The memory store did not commit: there is such a {what} already.")
        if any(segment.first_seq == one.first_seq for segment in segments for one in self._segments[-1:]):
            raise StoreFailed("The memory store did not commit: there is such a segment already.")
        assert old_alerts.keys() <= self._alerts.keys() | new_alerts.keys(), "an unknown alert is updated"
        assert old_deliveries.keys() <= self._deliveries.keys() | new_deliveries.keys(), (
            "an unknown delivery is updated"
        )

        leases = {a.number: _Lease(a.repeats, a.seen_at, a.lease) for a in batch.leases}
        rates = {rule: _encode(window) for rule, window in batch.rates}
        silences = {silence.number: _Silence(began, _encode(silence)) for silence, began in batch.silences}
        head = _encode(batch.head)
        withheld = Counter[str]()
        for reason, count in batch.withheld:
            withheld[reason] += count
        joined = [(incident, r.alert.number) for r in batch.alerts for incident in r.joined]

        def join() -> None:
            for incident, alert in joined:
                self._members.setdefault(incident, set()).add(alert)

        def drop_leases() -> None:
            for row in batch.alerts:
                if not row.live:
                    self._leases.pop(row.alert.number, None)

        def end() -> None:
            for number in batch.ended_silences:
                self._silences.pop(number, None)

        def set_head() -> None:
            self._head = head

        return [
            lambda: self._segments.extend(segments),
            lambda: self._alerts.update(new_alerts | old_alerts),
            join,
            lambda: self._leases.update(leases),
            drop_leases,
            lambda: self._incidents.update(new_incidents | old_incidents),
            lambda: self._messages.update(messages),
            lambda: self._deliveries.update(new_deliveries | old_deliveries),
            lambda: self._rates.update(rates),
            lambda: self._silences.update(silences),
            end,
            lambda: self._policies.update(policies),
            lambda: self._withheld.update(withheld),
            set_head,
        ]

    def _follow(self, row: IncidentRow, opened: dict[int, _Incident]) -> _Incident:
        """Give the incident as it is now; its id, title and labels stay as they were given at its opening."""
        number = row.incident.number
        before = opened.get(number) or self._incidents.get(number)
        assert before is not None, f"incident {number} is updated, but was never opened"
        return _incident_row(row, before.id, before.title, before.labels)

    def alive(self, at: int) -> None:
        with self._lock:
            self._head = _encode(msgspec.structs.replace(_head(self._head), alive_at=at))

    def keep_secret(self, name: str, value: bytes) -> None:
        with self._lock:
            if name in self._secrets:
                raise StoreFailed(f"The memory store has a secret {name} already.")
            self._secrets[name] = bytes(value)

    def put_token(self, token: Token) -> None:
        with self._lock:
            self._tokens[token.id] = token

    # Reading what state needs

    def load(self) -> Memory:
        with self._lock:
            alerts = []
            for number, row in sorted(self._alerts.items()):
                if row.live:
                    alert = _alert(row.body)
                    lease = self._leases.get(number)
                    if lease is not None and lease.seen_at > alert.seen_at:
                        alert.repeats, alert.seen_at, alert.lease = lease.repeats, lease.seen_at, lease.lease
                    alerts.append(alert)
            return Memory(
                head=self.head(),
                policies=[(version, _policy(body)) for version, body in sorted(self._policies.items())],
                incidents=[_incident(row.body) for _, row in sorted(self._incidents.items()) if row.live],
                alerts=alerts,
                deliveries=[
                    _delivery(row.body)
                    for _, row in sorted(self._deliveries.items())
                    if row.state is DeliveryState.PENDING
                ],
                rates=[(rule, _rate(body)) for rule, body in sorted(self._rates.items())],
                silences=[(_silence(row.body), row.began) for _, row in sorted(self._silences.items())],
            )

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        wanted = {*ids}
        with self._lock:
            return [
                _alert(row.body)
                for _, row in sorted(self._alerts.items())
                if not row.live and row.id in wanted
            ]

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        with self._lock:
            return {
                number: self._leases[number].lease
                for number in sorted({*alerts})
                if number in self._leases
                and number in self._alerts
                and self._leases[number].seen_at > self._alerts[number].seen_at
            }

    # Reading for everybody

    def head(self) -> Head:
        return _head(self._head)

    def segments(self, first_seq: int = 0) -> Iterator[Segment]:
        position = max(0, self._position(first_seq))
        while position < len(self._segments):
            yield self._segments[position]
            position += 1

    def _position(self, seq: int) -> int:
        """Find the last segment that begins at or before `seq`, -1 if none does."""
        with self._lock:
            return bisect_right(self._segments, seq, key=lambda segment: segment.first_seq) - 1

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        position = self._position(seq)
        if position < 0:
            return None
        segment = self._segments[position]
        for number, entry in enumerate(unpack(segment.data), segment.first_seq):
            if number == seq:
                return entry
        return None

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        row = self._incidents.get(number)
        return (row.title, _labels(row.labels)) if row is not None else None

    def message(self, notification: int) -> Message | None:
        body = self._messages.get(notification)
        return _message(body) if body is not None else None

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        with self._lock:
            fitting = [
                (number, row)
                for number, row in sorted(self._incidents.items(), reverse=True)
                if (not wanted.states or row.state in wanted.states)
                and (wanted.severity is None or row.severity is wanted.severity)
                and (wanted.rule_id is None or row.rule_id == wanted.rule_id)
            ]
        page = [row for number, row in fitting if wanted.after is None or number < wanted.after]
        return [_view(row) for row in page[:limit]], len(fitting)

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        number = number_of(id_or_number)
        row = self._incidents.get(number) if number is not None else None
        if row is None or id_or_number not in (row.id, str(number)):
            return None
        return _incident(row.body)

    def members(self, incident: int) -> list[LiveAlert]:
        with self._lock:
            return [_alert(self._alerts[alert].body) for alert in sorted(self._members.get(incident, ()))]

    def incident_view(self, number: int) -> IncidentView | None:
        row = self._incidents.get(number)
        return _view(row) if row is not None else None

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        with self._lock:
            rows = [row for _, row in sorted(self._deliveries.items()) if row.incident == incident > 0]
        return [_delivery_view(row) for row in rows]

    def counts(self) -> dict[str, int]:
        with self._lock:
            states = Counter(row.state.value for row in self._deliveries.values())
            withheld = {f"withheld:{reason}": count for reason, count in sorted(self._withheld.items())}
        return {**dict(sorted(states.items())), **withheld}

    def secret(self, name: str) -> bytes | None:
        return self._secrets.get(name)

    def tokens(self) -> list[Token]:
        with self._lock:
            return sorted(self._tokens.values(), key=lambda token: (token.created_at, token.id))

    def close(self) -> None:
        """Do nothing: who opens it again finds what was committed."""


def _alert_row(alert: LiveAlert, live: bool) -> _Alert:
    return _Alert(bytes(alert.id), live, alert.seen_at, _encode(alert))


def _opened(row: IncidentRow) -> _Incident:
    assert row.title is not None
    return _incident_row(row, row.incident.id, row.title, _encode_json(row.labels))


def _incident_row(row: IncidentRow, id_: str, title: str, labels: bytes) -> _Incident:
    incident = row.incident
    return _Incident(
        id_,
        row.live,
        incident.state,
        incident.severity,
        incident.rule_id,
        title,
        labels,
        _encode(incident),
    )


def _delivery_row(row: DeliveryRow) -> _Delivery:
    return _Delivery(row.delivery.incident, row.state, row.at, row.why, _encode(row.delivery))


def _delivery_view(row: _Delivery) -> DeliveryView:
    delivery = _delivery(row.body)
    return DeliveryView(
        number=delivery.number,
        key=delivery.key,
        channel=delivery.channel,
        kind=delivery.kind,
        state=row.state,
        attempts=delivery.attempts,
        at=row.at,
        due=delivery.due if row.state is DeliveryState.PENDING else None,
        why=row.why,
    )


def _view(row: _Incident) -> IncidentView:
    return view_of(_incident(row.body), row.title, _labels(row.labels))
