"""The embedded store: one SQLite file, WAL, synchronous=FULL, one writing connection which alone checkpoints.

The writer belongs to the pump's thread. Readers have a connection a thread, and cannot write.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import msgspec

from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.access import Role
from tocsin.core.model.alert import severity_rank
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import DeliveryState, Message, NotificationKind
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Silence
from tocsin.ports import (
    AlertRow,
    Batch,
    DeliveryRow,
    DeliveryView,
    Head,
    IncidentFilter,
    IncidentRow,
    Memory,
    StoreFailed,
    StoreRefused,
    Token,
)

SCHEMA_VERSION = 1
CHECKPOINT_PAGES = 4000
"""The WAL is folded into the file about every 16 MiB."""

_encode = msgspec.msgpack.Encoder().encode
_alert = msgspec.msgpack.Decoder(LiveAlert).decode
_incident = msgspec.msgpack.Decoder(LiveIncident).decode
_delivery = msgspec.msgpack.Decoder(LiveDelivery).decode
_rate = msgspec.msgpack.Decoder(RateWindow).decode
_counters = msgspec.msgpack.Decoder(Counters).decode
_silence = msgspec.msgpack.Decoder(Silence).decode
_policy = msgspec.json.Decoder(Policy).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_message = msgspec.json.Decoder(Message).decode
_to_json = msgspec.json.Encoder(order="sorted").encode


class SqliteStore:
    """See `tocsin.ports.Store`. Opening takes an exclusive lock on the data directory.

    Raises: StoreRefused if another process holds the directory, or its schema is newer than this program.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / "tocsin.db"
        self._lock = _lock(directory)
        self._readers = threading.local()
        self._all_readers: list[apsw.Connection] = []
        self._all_readers_lock = threading.Lock()
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        try:
            self._writer = apsw.Connection(str(self._path))
            self._path.chmod(0o600)
            self._writer.set_busy_timeout(5000)
            for pragma in (
                "journal_mode = wal",
                "synchronous = full",
                "foreign_keys = off",
                "cache_size = -65536",
            ):
                list(self._writer.execute(f"PRAGMA {pragma}"))
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
            mode = self._writer.pragma("journal_mode"), self._writer.pragma("synchronous")
            if mode != ("wal", 2):
                raise StoreRefused(
                    f"{self._path} runs with journal_mode, synchronous = {mode} instead of ('wal', 2), so what is "
                    "accepted might be lost. Is the directory on a network file system? Use a local disk."
                )
            version = self._writer.pragma("user_version")
            if version == 0:
                schema = resources.files("tocsin.stores").joinpath("sqlite.sql").read_text()
                with self._writer:
                    list(self._writer.execute(schema))
                    list(
                        self._writer.execute(
                            "INSERT INTO head VALUES (1, 0, ?, x'', 0, ?)", (EMPTY_ROOT, _encode(Counters()))
                        )
                    )
                    list(self._writer.execute("INSERT INTO alive VALUES (1, 0)"))
                    list(self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}"))
            elif version != SCHEMA_VERSION:
                raise StoreRefused(
                    f"{self._path} has schema {version}; this program knows {SCHEMA_VERSION}. "
                    "Start the newer Tocsin that wrote it."
                )
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be opened: {error}") from error

    def reopen(self) -> None:
        """Begin anew with the file as it is, after a failure. Raises: StoreFailed."""
        try:
            self._writer.close(True)
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be closed: {error}") from error
        self._open()

    # Writing

    def commit(self, batch: Batch) -> None:
        writer = self._writer
        try:
            with writer:
                for sql, rows in _rows(batch):
                    if rows:
                        writer.executemany(sql, rows)
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} did not commit: {type(error).__name__}: {error}") from error

    def alive(self, at: int) -> None:
        self._write("UPDATE alive SET at = ?", (at,))

    def keep_secret(self, name: str, value: bytes) -> None:
        self._write("INSERT INTO meta VALUES (?, ?)", (f"secret:{name}", value))

    def put_token(self, token: Token) -> None:
        self._write(
            "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?)",
            (token.id, token.name, token.role.value, token.hash, token.created_at, token.revoked_at),
        )

    def _write(self, sql: str, bindings: tuple[Any, ...]) -> None:
        try:
            with self._writer:
                list(self._writer.execute(sql, bindings))
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} did not commit: {type(error).__name__}: {error}") from error

    # Reading what state needs, on the writer's own connection

    def load(self) -> Memory:
        try:
            alerts = [
                _alert(body)
                for (body,) in self._all("SELECT body FROM alerts WHERE live = 1 ORDER BY number")
            ]
            leases = self._all(
                "SELECT l.number, l.repeats, l.seen_at, l.lease FROM leases l JOIN alerts a USING (number) "
                "WHERE a.live = 1"
            )
            if leases:
                by_number = {alert.number: alert for alert in alerts}
                for number, repeats, seen_at, lease in leases:
                    alert = by_number[number]
                    if seen_at >= alert.seen_at:
                        alert.repeats, alert.seen_at, alert.lease = repeats, seen_at, lease
            return Memory(
                head=self._head(self._all),
                policies=[
                    (v, _policy(b))
                    for v, b in self._all("SELECT version, body FROM policies ORDER BY version")
                ],
                incidents=[
                    _incident(body)
                    for (body,) in self._all("SELECT body FROM incidents WHERE live = 1 ORDER BY number")
                ],
                alerts=alerts,
                deliveries=[
                    _delivery(body)
                    for (body,) in self._all(
                        "SELECT body FROM deliveries WHERE state = 'pending' ORDER BY number"
                    )
                ],
                rates=[
                    (rule, _rate(b))
                    for rule, b in self._all("SELECT rule_id, body FROM rates ORDER BY rule_id")
                ],
                silences=[
                    (_silence(body), bool(began))
                    for body, began in self._all(
                        "SELECT body, began FROM silences WHERE ended = 0 ORDER BY number"
                    )
                ],
            )
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {error}") from error

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        found: list[LiveAlert] = []
        try:
            if not self._all("SELECT 1 FROM alerts INDEXED BY alerts_past WHERE live = 0 LIMIT 1"):
                return found
            for start in range(0, len(ids), 500):
                some = ids[start : start + 500]
                marks = ",".join("?" * len(some))
                found += [
                    _alert(body)
                    for (body,) in self._all(
                        f"SELECT body FROM alerts WHERE live = 0 AND id IN ({marks}) ORDER BY number",
                        tuple(some),
                    )
                ]
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {error}") from error
        return found

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        try:
            return {
                number: lease
                for alert in alerts
                for number, lease in self._all("SELECT number, lease FROM leases WHERE number = ?", (alert,))
            }
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {error}") from error

    def _all(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        return self._writer.execute(sql, bindings).fetchall()

    # Reading for everybody

    def _ask(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        connection: apsw.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(5000)
            list(connection.execute("PRAGMA wal_autocheckpoint = 0"))
            list(connection.execute("PRAGMA query_only = on"))
            self._readers.connection = connection
            with self._all_readers_lock:
                self._all_readers.append(connection)
        try:
            return connection.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {error}") from error

    def _head(self, ask: Callable[[str], list[Any]]) -> Head:
        ((size, root, edge, at, counters, alive_at),) = ask(
            "SELECT h.size, h.root, h.edge, h.at, h.counters, a.at FROM head h, alive a"
        )
        return Head(size=size, root=root, edge=edge, at=at, alive_at=alive_at, counters=_counters(counters))

    def head(self) -> Head:
        return self._head(self._ask)

    def secret(self, name: str) -> bytes | None:
        rows = self._ask("SELECT value FROM meta WHERE key = ?", (f"secret:{name}",))
        return rows[0][0] if rows else None

    def tokens(self) -> list[Token]:
        return [
            Token(id=i, name=n, role=Role(r), hash=h, created_at=c, revoked_at=v)
            for i, n, r, h, c, v in self._ask(
                "SELECT id, name, role, hash, created_at, revoked_at FROM tokens ORDER BY created_at, id"
            )
        ]

    def segments(self, first_seq: int = 0) -> Iterator[Segment]:
        at = self._ask("SELECT max(first_seq) FROM segments WHERE first_seq <= ?", (first_seq,))[0][0]
        position = -1 if at is None else at - 1
        while True:
            rows = self._ask(
                "SELECT first_seq, count, root, data FROM segments WHERE first_seq > ? ORDER BY first_seq LIMIT 16",
                (position,),
            )
            if not rows:
                return
            for first, count, root, data in rows:
                yield Segment(first_seq=first, count=count, root=root, data=data)
                position = first

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        rows = self._ask(
            "SELECT first_seq, count, data FROM segments WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
            (seq,),
        )
        if not rows or seq >= rows[0][0] + rows[0][1]:
            return None
        for position, entry in enumerate(unpack(rows[0][2]), rows[0][0]):
            if position == seq:
                return entry
        return None

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        rows = self._ask("SELECT title, labels FROM incidents WHERE number = ?", (number,))
        return (rows[0][0], _labels(rows[0][1])) if rows else None

    def message(self, notification: int) -> Message | None:
        rows = self._ask("SELECT message FROM notifications WHERE number = ?", (notification,))
        return _message(rows[0][0]) if rows else None

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        where, bindings = ["1"], []
        if wanted.states:
            where.append(f"state IN ({','.join('?' * len(wanted.states))})")
            bindings += [state.value for state in wanted.states]
        if wanted.severity is not None:
            where.append("severity = ?")
            bindings.append(severity_rank[wanted.severity])  # type: ignore[arg-type]
        if wanted.rule_id is not None:
            where.append("rule_id = ?")
            bindings.append(wanted.rule_id)
        condition = " AND ".join(where)
        total = self._ask(f"SELECT count(*) FROM incidents WHERE {condition}", tuple(bindings))[0][0]
        if wanted.after is not None:
            condition += " AND number < ?"
            bindings.append(wanted.after)  # type: ignore[arg-type]
        rows = self._ask(
            f"SELECT title, labels, body FROM incidents WHERE {condition} ORDER BY number DESC LIMIT ?",
            (*bindings, limit),
        )
        return [view(_incident(body), title, _labels(labels)) for title, labels, body in rows], total

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        number = number_of(id_or_number)
        rows = (
            self._ask("SELECT id, body FROM incidents WHERE number = ?", (number,))
            if number is not None
            else []
        )
        if not rows or id_or_number not in (rows[0][0], str(number)):
            return None
        return _incident(rows[0][1])

    def incident_view(self, number: int) -> IncidentView | None:
        rows = self._ask("SELECT title, labels, body FROM incidents WHERE number = ?", (number,))
        return view(_incident(rows[0][2]), rows[0][0], _labels(rows[0][1])) if rows else None

    def members(self, incident: int) -> list[LiveAlert]:
        return [
            _alert(body)
            for (body,) in self._ask(
                "SELECT a.body FROM members m JOIN alerts a ON a.number = m.alert WHERE m.incident = ? "
                "ORDER BY m.alert",
                (incident,),
            )
        ]

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        return [
            DeliveryView(
                number=number,
                key=key,
                channel=channel,
                kind=NotificationKind(kind),
                state=DeliveryState(state),
                attempts=attempts,
                at=at,
                due=due if state == "pending" else None,
                why=why,
            )
            for number, key, channel, kind, state, attempts, at, due, why in self._ask(
                "SELECT number, key, channel, kind, state, attempts, at, due, why FROM deliveries "
                "WHERE incident = ? AND incident > 0 ORDER BY number",
                (incident,),
            )
        ]

    def counts(self) -> dict[str, int]:
        counts = dict(self._ask("SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state"))
        counts.update(
            (f"withheld:{reason}", count)
            for reason, count in self._ask("SELECT reason, count FROM withheld ORDER BY reason")
        )
        return counts

    def close(self) -> None:
        """Close readers first and the writer last, so that the last one to checkpoint is the writer."""
        with self._all_readers_lock:
            for reader in self._all_readers:
                reader.close(True)
            self._all_readers.clear()
        self._writer.close(True)
        os.close(self._lock)


def _lock(directory: Path) -> int:
    """Take the exclusive lock on the directory; the kernel gives it back when the process ends, however it ends."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreRefused(
            f"Another Tocsin runs on {directory}. Talk to it (--url), stop it, or choose another --data."
        ) from error
    return descriptor


def number_of(id_or_number: str) -> int | None:
    """Read the number out of a public id (its last 8 or more hex digits) or a decimal number."""
    try:
        number = int(id_or_number[24:], 16) if len(id_or_number) >= 32 else int(id_or_number)
    except ValueError:
        return None
    return number if 0 < number < 1 << 62 else None


def view(incident: LiveIncident, title: str, labels: dict[str, str]) -> IncidentView:
    """Show a stored incident."""
    from tocsin.core.engine.compose import view_of

    return view_of(incident, title, labels)


def _rows(batch: Batch) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Give one statement a table, with its rows."""
    if batch.segment is not None:
        s = batch.segment
        yield "INSERT INTO segments VALUES (?, ?, ?, ?)", [(s.first_seq, s.count, s.root, s.data)]
    yield (
        "INSERT INTO alerts VALUES (?, ?, ?, ?)",
        [(r.alert.number, r.alert.id, r.live, _encode(r.alert)) for r in batch.alerts if r.is_new],
    )
    yield (
        "UPDATE alerts SET live = ?2, body = ?3 WHERE number = ?1",
        [(r.alert.number, r.live, _encode(r.alert)) for r in batch.alerts if not r.is_new],
    )
    yield (
        "INSERT OR IGNORE INTO members VALUES (?, ?)",
        [(incident, r.alert.number) for r in batch.alerts for incident in r.joined],
    )
    yield (
        "INSERT INTO leases VALUES (?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET repeats = excluded.repeats, "
        "seen_at = excluded.seen_at, lease = excluded.lease",
        [(a.number, a.repeats, a.seen_at, a.lease) for a in batch.leases],
    )
    yield (
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                r.incident.number,
                r.incident.id,
                r.live,
                *_incident_columns(r.incident),
                r.title,
                _to_json(r.labels),
                _encode(r.incident),
            )
            for r in batch.incidents
            if r.title is not None
        ],
    )
    yield (
        "UPDATE incidents SET live = ?2, state = ?3, severity = ?4, rule_id = ?5, opened_at = ?6, updated_at = ?7, "
        "resolved_at = ?8, body = ?9 WHERE number = ?1",
        [
            (r.incident.number, r.live, *_incident_columns(r.incident), _encode(r.incident))
            for r in batch.incidents
            if r.title is None
        ],
    )
    yield (
        "INSERT INTO notifications VALUES (?, ?, ?, ?, ?, ?)",
        [(n.number, n.id, n.incident, n.kind.value, n.at, n.message) for n in batch.notifications],
    )
    yield (
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                r.delivery.number,
                r.delivery.notification,
                r.delivery.incident,
                r.delivery.kind.value,
                r.delivery.channel,
                r.delivery.key,
                r.state.value,
                r.delivery.attempts,
                r.at,
                r.delivery.due,
                r.why,
                _encode(r.delivery),
            )
            for r in batch.new_deliveries
        ],
    )
    yield (
        "UPDATE deliveries SET state = ?2, attempts = ?3, at = ?4, due = ?5, why = ?6, body = ?7 WHERE number = ?1",
        [
            (
                r.delivery.number,
                r.state.value,
                r.delivery.attempts,
                r.at,
                r.delivery.due,
                r.why,
                _encode(r.delivery),
            )
            for r in batch.deliveries
        ],
    )
    yield (
        "INSERT OR REPLACE INTO rates VALUES (?, ?)",
        [(rule, _encode(window)) for rule, window in batch.rates],
    )
    yield (
        "INSERT OR REPLACE INTO silences VALUES (?, ?, 0, ?)",
        [(silence.number, began, _encode(silence)) for silence, began in batch.silences],
    )
    yield "UPDATE silences SET ended = 1 WHERE number = ?", [(number,) for number in batch.ended_silences]
    if batch.policy is not None:
        version, digest, policy = batch.policy
        yield "INSERT INTO policies VALUES (?, ?, ?)", [(version, digest, _to_json(policy))]
    yield (
        "INSERT INTO withheld VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count",
        [tuple(row) for row in batch.withheld],
    )
    h = batch.head
    yield (
        "UPDATE head SET size = ?, root = ?, edge = ?, at = ?, counters = ?",
        [(h.size, h.root, h.edge, h.at, _encode(h.counters))],
    )
    yield "UPDATE alive SET at = ?", [(h.alive_at,)]


def _incident_columns(incident: LiveIncident) -> tuple[Any, ...]:
    return (
        incident.state.value,
        severity_rank[incident.severity],
        incident.rule_id,
        incident.opened_at,
        incident.updated_at,
        incident.resolved_at,
    )


__all__ = ["AlertRow", "DeliveryRow", "IncidentRow", "SqliteStore", "number_of"]
