"""Comparing: are two databases the same, table by table, but for what leaves no entry in the ledger?

Not compared, because no entry says it: leases, and what repeats since an alert's last entry changed in its own row;
when somebody last listened; hashes of tokens, and tokens that were made before there was a ledger; secrets.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from tocsin.stores.sqlite.decoding import decode_alert, encode

SHOWN_MAX = 20


class Difference(NamedTuple):
    """A row that is not the same. live, replayed: its columns, None where there is no such row."""

    table: str
    key: str
    live: tuple[Any, ...] | None
    replayed: tuple[Any, ...] | None


TABLES: dict[str, str] = {
    "head": "one, size, root, edge, counters",
    "segments": "first_seq, count, root, data",
    "tiles": "level, number, hash",
    "signers": "vkey, adopted_seq, retired_seq",
    "origins": "seq, origin",
    "alerts": "number, id, live, decided_of(body)",
    "members": "number, alert, before",
    "incidents": "number, id, live, state, severity, rule_id, opened_at, updated_at, resolved_at, title, labels, "
    "last_member, body, acked_at",
    "past_counts": "rule_id, severity, n",
    "past_durations": "days, first, measure, bucket, n",
    "notifications": "number, id, incident, kind, at, message",
    "deliveries": "number, notification, incident, kind, channel, key, state, attempts, at, due, why, body",
    "delivery_counts": "state, n",
    "attempts": "delivery, attempt, at, outcome, why",
    "rates": "rule_id, body",
    "silences": "number, began, body, ended_at",
    "maintenances": "number, next_at, ended, body",
    "policies": "version, digest, body, at, actor",
    "withheld": "reason, count",
    "tokens": "id, name, role, revoked_at, scopes, per_minute, expires_at, created_by",
}
"""What is compared of each table; its key comes first."""

NOT_COMPARED = ("meta", "leases", "checkpoints")

_ZEROS = {"delivery_counts": "n <> 0", "past_counts": "n <> 0", "past_durations": "n <> 0"}
_ONLY = {"tokens": "id IN (SELECT id FROM replayed.tokens)"}


def compare(live: Path, replayed: Path) -> tuple[list[Difference], int]:
    """Compare two databases that nobody writes: the first differences, and how many rows differ in all.

    Raises: apsw.Error if one cannot be read.
    """
    connection = apsw.Connection(str(live), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("ATTACH ? AS replayed", (str(replayed),)).fetchall()
        connection.create_scalar_function("decided_of", _decided_of, deterministic=True)
        found: list[Difference] = []
        total = 0
        for table, columns in TABLES.items():
            for difference in _differences(connection, table, columns):
                total += 1
                if len(found) < SHOWN_MAX:
                    found.append(difference)
        return found, total
    finally:
        connection.close(True)


def _differences(connection: apsw.Connection, table: str, columns: str) -> Iterator[Difference]:
    where = " AND ".join(one for one in (_ZEROS.get(table), _ONLY.get(table)) if one) or "1"
    there = f"SELECT {columns} FROM main.{table} WHERE {where}"
    again = f"SELECT {columns} FROM replayed.{table} WHERE {where}"
    rows: dict[Any, tuple[Any, ...]] = {}
    width = {"tiles": 2, "past_counts": 2, "past_durations": 4, "attempts": 2}.get(table, 1)
    for row in connection.execute(f"{there} EXCEPT {again}"):
        rows[row[:width]] = row
    for row in connection.execute(f"{again} EXCEPT {there}"):
        yield Difference(table, _key(row[:width]), rows.pop(row[:width], None), row)
    for key, row in rows.items():
        yield Difference(table, _key(key), row, None)


def _key(key: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in key)


def _decided_of(body: Any) -> bytes:
    """Give what decisions left in an alert, without what repeats did."""
    return encode(msgspec.structs.replace(decode_alert(body), lease=0, timer=0, repeats=0, seen_at=0))
