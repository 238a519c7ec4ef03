"""The store that forgets when the process ends: the reference that the real ones are held to, and fast for tests.

Everything lies here as bytes or frozen values, as in a database, so that whatever happens to a live record after its
commit cannot be seen here. A new pump on the same MemoryStore is a restart.
"""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tocsin.core.engine.state import Counters, LiveAlert, LiveIncident
from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.access import Token
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, Message
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import (
    Attempt,
    Batch,
    DeliveryFilter,
    DeliveryRow,
    DeliveryView,
    Head,
    IncidentFilter,
    IncidentRow,
    Memory,
    NotificationRow,
    PolicyRow,
    Redacted,
    SignerRow,
    SilenceView,
    Stats,
    StoreFailed,
    number_of,
)
from tocsin.stores.memory.counting import stats_of
from tocsin.stores.memory.rows import (
    KeptAlert,
    KeptDelivery,
    KeptIncident,
    KeptLease,
    KeptMaintenance,
    KeptSilence,
    decode_alert,
    decode_delivery,
    decode_head,
    decode_incident,
    decode_labels,
    decode_maintenance,
    decode_message,
    decode_policy,
    decode_rate,
    decode_silence,
    delivery_row_of,
    encode,
    fits,
    kept_alert,
    kept_delivery,
    kept_incident,
    kept_opening,
    page_of,
    shown_delivery,
    shown_incident,
    shown_silence,
)


class MemoryStore:
    """See `tocsin.ports.Store`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._head = encode(
            Head(size=0, root=EMPTY_ROOT, edge=b"", at=0, alive_at=0, counters=Counters()),
        )
        self._segments: list[Segment] = []
        self._alerts: dict[int, KeptAlert] = {}
        self._members: dict[int, set[int]] = {}
        self._leases: dict[int, KeptLease] = {}
        self._incidents: dict[int, KeptIncident] = {}
        self._notifications: dict[int, NotificationRow] = {}
        self._deliveries: dict[int, KeptDelivery] = {}
        self._rates: dict[str, bytes] = {}
        self._silences: dict[int, KeptSilence] = {}
        self._maintenances: dict[int, KeptMaintenance] = {}
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._policies: dict[int, bytes] = {}
        self._withheld: Counter[str] = Counter()
        self._secrets: dict[str, bytes] = {}
        self._tokens: dict[str, Token] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._signers: dict[str, SignerRow] = {}
        self._origins: dict[int, str] = {}
        self._checkpoints: dict[int, bytes] = {}
        self._evaluations: dict[str, bytes] = {}
        self._pruned = 0

    # Writing

    def commit(self, batch: Batch) -> None:
        """See `tocsin.ports.Store`, as for every method here."""
        with self._lock:
            self._change(batch)()

    def _change(self, batch: Batch) -> Callable[[], None]:
        """Check and encode everything, and give what changes it all.

        Raises: StoreFailed; AssertionError for an update of what is not there, which a database would not notice.
        """
        new_alerts = {r.alert.number: kept_alert(r.alert, r.live) for r in batch.alerts if r.is_new}
        old_alerts = {r.alert.number: kept_alert(r.alert, r.live) for r in batch.alerts if not r.is_new}
        new_incidents = {r.incident.number: kept_opening(r) for r in batch.incidents if r.title is not None}
        old_incidents = {
            r.incident.number: self._follow(r, new_incidents) for r in batch.incidents if r.title is None
        }
        notifications = {n.number: n for n in batch.notifications}
        new_deliveries = {r.delivery.number: kept_delivery(r) for r in batch.new_deliveries}
        old_deliveries = {r.delivery.number: kept_delivery(r) for r in batch.deliveries}
        policies = {batch.policy.version: encode(batch.policy)} if batch.policy else {}
        tokens = {token.id: token for token in batch.tokens}
        segments = [batch.segment] if batch.segment is not None else []

        checks: tuple[tuple[str, Mapping[Any, object], Mapping[Any, object], int], ...] = (
            ("alert", new_alerts, self._alerts, sum(r.is_new for r in batch.alerts)),
            ("incident", new_incidents, self._incidents, sum(r.title is not None for r in batch.incidents)),
            ("notification", notifications, self._notifications, len(batch.notifications)),
            ("delivery", new_deliveries, self._deliveries, len(batch.new_deliveries)),
            ("policy", policies, self._policies, len(policies)),
            ("token", tokens, self._tokens, len(batch.tokens)),
        )
        for what, numbers, known, given in checks:
            if given and (len(numbers) < given or not numbers.keys().isdisjoint(known)):
                raise StoreFailed(f"The memory store did not commit: there is such a {what} already.")
        if any(segment.first_seq == one.first_seq for segment in segments for one in self._segments[-1:]):
            raise StoreFailed("The memory store did not commit: there is such a segment already.")
        for number in old_alerts:
            assert number in self._alerts or number in new_alerts, "an unknown alert is updated"
        for number in old_deliveries:
            assert number in self._deliveries or number in new_deliveries, "an unknown delivery is updated"
        for row in batch.incidents:
            assert row.live or row.incident.state is IncidentState.RESOLVED, (
                f"incident {row.incident.number} leaves unresolved"
            )

        leases = {a.number: KeptLease(a.repeats, a.seen_at, a.lease) for a in batch.leases}
        rates = {rule: encode(window) for rule, window in batch.rates}
        silences = {s.number: KeptSilence(began, None, encode(s)) for s, began in batch.silences}
        maintenances = {m.number: KeptMaintenance(at, False, encode(m)) for m, at in batch.maintenances}
        attempts = {(a.delivery, a.attempt): a for a in batch.attempts}
        at = batch.head.at
        head = encode(batch.head)
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
            replace = msgspec.structs.replace
            for number in batch.ended_silences:
                if number in self._silences:
                    self._silences[number] = replace(self._silences[number], ended_at=at)
            for number in batch.ended_maintenances:
                if number in self._maintenances:
                    self._maintenances[number] = replace(self._maintenances[number], is_over=True, next_at=0)
            for id_ in batch.revoked:
                if id_ in self._tokens and self._tokens[id_].revoked_at is None:
                    self._tokens[id_] = replace(self._tokens[id_], revoked_at=at)

        def change() -> None:
            self._segments += segments
            self._alerts |= new_alerts
            self._alerts |= old_alerts
            join()
            self._leases |= leases
            drop_leases()
            self._incidents |= new_incidents
            self._incidents |= old_incidents
            self._notifications |= notifications
            self._deliveries |= new_deliveries
            self._deliveries |= old_deliveries
            self._rates |= rates
            self._attempts |= attempts
            self._silences |= silences
            self._maintenances |= maintenances
            self._policies |= policies
            self._tokens |= tokens
            end()
            self._withheld.update(withheld)
            self._tiles |= {(level, number): hash_ for level, number, hash_ in batch.tiles}
            self._sign(batch)
            self._origins.update(batch.origins)
            self._redact(batch.redacted)
            self._prune(batch.pruned)
            self._head = head

        return change

    def _sign(self, batch: Batch) -> None:
        for row in batch.signers:
            known = self._signers.get(row.vkey)
            self._signers[row.vkey] = (
                row if known is None else msgspec.structs.replace(known, retired_seq=row.retired_seq)
            )

    def _redact(self, redacted: Redacted | None) -> None:
        if redacted is None:
            return
        replace = msgspec.structs.replace
        for segment in redacted.segments:
            self._segments[self._position(segment.first_seq)] = segment
        wordless = {*redacted.deliveries}
        for number in redacted.incidents:
            self._incidents[number] = replace(self._incidents[number], title="", labels=b"{}")
            wordless.update(n for n, row in self._deliveries.items() if row.incident == number > 0)
        for number in wordless & self._deliveries.keys():
            self._deliveries[number] = replace(self._deliveries[number], why="")
        for key, attempt in self._attempts.items():
            if key[0] in wordless:
                self._attempts[key] = replace(attempt, why="")
        for number, message in redacted.notifications:
            self._notifications[number] = replace(self._notifications[number], message=message)
        for silence in redacted.silences:
            self._silences[silence.number] = replace(self._silences[silence.number], body=encode(silence))
        for one in redacted.maintenances:
            self._maintenances[one.number] = replace(self._maintenances[one.number], body=encode(one))
        for row in redacted.policies:
            self._policies[row.version] = encode(row)
        for token in redacted.tokens:
            if token in self._tokens:
                self._tokens[token] = replace(self._tokens[token], name="")

    def _prune(self, runs: Sequence[tuple[int, int]]) -> None:
        if not runs:
            return
        gone = [
            number
            for first, last in runs
            for number in range(first, last + 1)
            if number in self._incidents and not self._incidents[number].live
        ]
        candidates: set[int] = set()
        for number in gone:
            del self._incidents[number]
            candidates |= self._members.pop(number, set())
        for number, row in list(self._deliveries.items()):
            if row.incident in gone:
                del self._deliveries[number]
                self._notifications.pop(row.notification, None)
                self._pruned += 1
                for key in [key for key in self._attempts if key[0] == number]:
                    del self._attempts[key]
        elsewhere = {alert for members in self._members.values() for alert in members}
        for alert in candidates - elsewhere:
            if not self._alerts[alert].live:
                del self._alerts[alert]

    def _follow(self, row: IncidentRow, opened: dict[int, KeptIncident]) -> KeptIncident:
        """Give the incident as it is now; its id, title and labels stay as they were given at its opening."""
        number = row.incident.number
        before = opened.get(number) or self._incidents.get(number)
        assert before is not None, f"incident {number} is updated, but was never opened"
        return kept_incident(row, before.id, before.title, before.labels)

    def alive(self, at: int) -> None:
        with self._lock:
            self._head = encode(msgspec.structs.replace(decode_head(self._head), alive_at=at))

    def keep_secret(self, name: str, value: bytes) -> None:
        with self._lock:
            if name in self._secrets:
                raise StoreFailed(f"The memory store has a secret {name} already.")
            self._secrets[name] = bytes(value)

    def put_secret(self, name: str, value: bytes) -> None:
        with self._lock:
            self._secrets[name] = bytes(value)

    def put_token(self, token: Token) -> None:
        with self._lock:
            self._tokens[token.id] = token

    # Reading what state needs

    def load(self) -> Memory:
        with self._lock:
            return Memory(
                head=self.head(),
                policies=self._loaded_policies(),
                incidents=[
                    decode_incident(row.body) for _, row in sorted(self._incidents.items()) if row.live
                ],
                alerts=[
                    self._loaded_alert(number) for number, row in sorted(self._alerts.items()) if row.live
                ],
                deliveries=[
                    decode_delivery(row.body)
                    for _, row in sorted(self._deliveries.items())
                    if row.state is DeliveryState.PENDING
                ],
                rates=[(rule, decode_rate(body)) for rule, body in sorted(self._rates.items())],
                silences=self._loaded_silences(),
                maintenances=self._loaded_maintenances(),
            )

    def _loaded_alert(self, number: int) -> LiveAlert:
        alert, lease = decode_alert(self._alerts[number].body), self._leases.get(number)
        if lease is not None and lease.seen_at > alert.seen_at:
            alert.repeats, alert.seen_at, alert.lease = lease.repeats, lease.seen_at, lease.lease
        return alert

    def _loaded_policies(self) -> list[tuple[int, Policy]]:
        return [(row.version, row.policy) for row in reversed(self.policies(None, 1 << 62))]

    def _loaded_silences(self) -> list[tuple[Silence, bool]]:
        rows = sorted(self._silences.items())
        return [(decode_silence(row.body), row.began) for _, row in rows if row.ended_at is None]

    def _loaded_maintenances(self) -> list[tuple[Maintenance, int]]:
        rows = sorted(self._maintenances.items())
        return [(decode_maintenance(row.body), row.next_at) for _, row in rows if not row.is_over]

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        wanted = {*ids}
        with self._lock:
            return [
                decode_alert(row.body)
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
        return decode_head(self._head)

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
        return (row.title, decode_labels(row.labels)) if row is not None else None

    def message(self, notification: int) -> Message | None:
        row = self._notifications.get(notification)
        return decode_message(row.message) if row is not None else None

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        with self._lock:
            fitting = {n: row for n, row in self._incidents.items() if fits(row, wanted)}
        rows, total = page_of(fitting, wanted.after, limit)
        return [shown_incident(row) for row in rows], total

    def stats(self, since: int, until: int) -> Stats:
        with self._lock:
            rows = list(self._incidents.values())
        return stats_of(rows, since, until)

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        number = number_of(id_or_number)
        row = self._incidents.get(number) if number is not None else None
        if row is None or id_or_number not in (row.id, str(number)):
            return None
        return decode_incident(row.body)

    def is_live(self, incident: int) -> bool:
        row = self._incidents.get(incident)
        return row is not None and row.live

    def resolved_before(self, before: int, limit: int) -> list[int]:
        with self._lock:
            past = [n for n, row in sorted(self._incidents.items()) if not row.live]
            return [n for n in past if decode_incident(self._incidents[n].body).resolved_at < before][:limit]

    def members(self, incident: int) -> list[LiveAlert]:
        with self._lock:
            return [
                decode_alert(self._alerts[alert].body) for alert in sorted(self._members.get(incident, ()))
            ]

    def incident_view(self, number: int) -> IncidentView | None:
        row = self._incidents.get(number)
        return shown_incident(row) if row is not None else None

    def alerts_seen(self, since: int) -> Iterator[LiveAlert]:
        with self._lock:
            rows = sorted(self._alerts.items())
            past = [(row.seen_at, number, row.body) for number, row in rows if not row.live]
        for _, row in rows:
            if row.live:
                yield decode_alert(row.body)
        for seen_at, _, body in sorted(past):
            if seen_at >= since:
                yield decode_alert(body)

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        with self._lock:
            rows = [row for _, row in sorted(self._deliveries.items()) if row.incident == incident > 0]
        return [shown_delivery(row) for row in rows]

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> tuple[list[DeliveryView], int]:
        with self._lock:
            fitting = {n: row for n, row in self._deliveries.items() if self._is_wanted(row, wanted)}
        rows, total = page_of(fitting, wanted.after, limit)
        return [shown_delivery(row) for row in rows], total

    def _is_wanted(self, row: KeptDelivery, wanted: DeliveryFilter) -> bool:
        notification = self._notifications.get(row.notification)
        incident = self._incidents.get(row.incident)
        at = notification.at if notification is not None else None
        return (
            (not wanted.states or row.state in wanted.states)
            and (wanted.channel is None or row.channel == wanted.channel)
            and (wanted.incident is None or row.incident == wanted.incident > 0)
            and (wanted.rule_id is None or (incident is not None and incident.rule_id == wanted.rule_id))
            and (wanted.since is None or (at is not None and at >= wanted.since))
            and (wanted.until is None or (at is not None and at < wanted.until))
        )

    def delivery(self, number: int) -> DeliveryRow | None:
        row = self._deliveries.get(number)
        return None if row is None else delivery_row_of(row)

    def delivery_view(self, number: int) -> DeliveryView | None:
        row = self._deliveries.get(number)
        return shown_delivery(row) if row is not None else None

    def attempts_of(self, delivery: int) -> list[Attempt]:
        with self._lock:
            return [attempt for key, attempt in sorted(self._attempts.items()) if key[0] == delivery]

    def list_silences(
        self, *, ended: bool | None, after: int | None, limit: int
    ) -> tuple[list[SilenceView], int]:
        with self._lock:
            fitting = {
                number: row
                for number, row in self._silences.items()
                if ended is None or (row.ended_at is not None) is ended
            }
        rows, total = page_of(fitting, after, limit)
        return [shown_silence(row) for row in rows], total

    def find_silence(self, id_or_number: str) -> SilenceView | None:
        number = number_of(id_or_number)
        row = self._silences.get(number) if number is not None else None
        view = shown_silence(row) if row is not None else None
        return view if view is not None and id_or_number in (view.silence.id, str(number)) else None

    def list_maintenances(self) -> list[tuple[Maintenance, int, bool]]:
        with self._lock:
            rows = sorted(self._maintenances.items(), reverse=True)
        return [(decode_maintenance(row.body), row.next_at, row.is_over) for _, row in rows]

    def policies(self, after: int | None, limit: int) -> list[PolicyRow]:
        with self._lock:
            rows, _ = page_of(self._policies, after, limit)
        return [decode_policy(row) for row in rows]

    def policy(self, version: int) -> PolicyRow | None:
        body = self._policies.get(version)
        return decode_policy(body) if body is not None else None

    def kept(self) -> dict[str, int]:
        """Give rows only: there is no file."""
        return {
            "entries": self.head().size,
            "alerts": len(self._alerts),
            "incidents": len(self._incidents),
            "notifications": len(self._notifications),
            "deliveries": len(self._deliveries),
        }

    def counts(self) -> dict[str, int]:
        with self._lock:
            states = Counter(row.state.value for row in self._deliveries.values())
            withheld = {f"withheld:{reason}": count for reason, count in sorted(self._withheld.items())}
        pruned = {"pruned": self._pruned} if self._pruned else {}
        return {**dict(sorted(states.items())), **pruned, **withheld}

    def secret(self, name: str) -> bytes | None:
        return self._secrets.get(name)

    def put_checkpoint(self, size: int, note: bytes) -> None:
        with self._lock:
            self._checkpoints[size] = bytes(note)

    def tiles(self, level: int, first: int, count: int) -> list[bytes]:
        with self._lock:
            there = (self._tiles.get((level, number)) for number in range(first, first + count))
            return [hash_ for hash_ in there if hash_ is not None]

    def signers(self) -> list[SignerRow]:
        with self._lock:
            return sorted(self._signers.values(), key=lambda row: (row.adopted_seq or 0, row.vkey))

    def origins(self) -> list[tuple[int, str]]:
        with self._lock:
            return sorted(self._origins.items())

    def put_evaluations(self, rows: Mapping[str, bytes | None]) -> None:
        with self._lock:
            for rule_id, body in rows.items():
                if body is None:
                    self._evaluations.pop(rule_id, None)
                else:
                    self._evaluations[rule_id] = bytes(body)

    def evaluations(self) -> dict[str, bytes]:
        with self._lock:
            return dict(sorted(self._evaluations.items()))

    def checkpoints(self) -> list[tuple[int, bytes]]:
        with self._lock:
            return sorted(self._checkpoints.items())

    def tokens(self) -> list[Token]:
        with self._lock:
            return sorted(self._tokens.values(), key=lambda token: (token.created_at, token.id))

    def close(self) -> None:
        """Do nothing: who opens it again finds what was committed."""
