"""Comparing: are two databases the same, table by table, but for what leaves no entry in the ledger?

Not compared, because no entry says it: leases, and what repeats since an alert's last entry changed in its own row;
when somebody last listened; hashes of tokens, and tokens that were made before there was a ledger; secrets; what rules
remember from one look to the next.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from tocsin.core.model.alert import CANONICAL
from tocsin.stores.tables.decoding import decode_alert, decode_message, encode

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
    "alerts": "number, id, live, decided_of(body, live)",
    "members": "incident, alert",
    "incidents": "number, id, live, state, severity, rule_id, opened_at, updated_at, resolved_at, "
    "CASE WHEN number > (SELECT incidents FROM temp.wording) THEN title ELSE '' END, labels, "
    "body, acked_at",
    "past_counts": "rule_id, severity, n",
    "past_durations": "days, first, measure, bucket, n",
    "notifications": "number, id, incident, kind, at, "
    "said_of(message, number > (SELECT notifications FROM temp.wording), "
    "number NOT IN (SELECT number FROM temp.incomplete))",
    "deliveries": "number, notification, incident, kind, channel, key, state, attempts, at, due, why, body",
    "delivery_counts": "state, n",
    "attempts": "delivery, attempt, at, outcome, why",
    "rates": "rule_id, body",
    "silences": "number, began, body, ended_at",
    "maintenances": "number, next_at, ended, body",
    "policies": "version, digest, body, at, actor",
    "withheld": "reason, count",
    "tokens": "id, name, role, revoked_at, scopes, per_minute, expires_at",
}
"""What is compared of each table; its key comes first."""

_SOURCES = {
    # Who was in which incident; in which order a commit linked them decides nothing.
    "members": """(
        WITH RECURSIVE chain (incident, alert, before) AS (
            SELECT i.number, m.alert, m.before FROM {0}.incidents i JOIN {0}.members m ON m.number = i.last_member
            UNION ALL
            SELECT c.incident, m.alert, m.before FROM chain c JOIN {0}.members m ON m.number = c.before
        )
        SELECT incident, alert FROM chain
    )""",
}

NOT_COMPARED = ("meta", "leases", "checkpoints", "evaluations")

_ZEROS = {"delivery_counts": "n <> 0", "past_counts": "n <> 0", "past_durations": "n <> 0"}
_ONLY = {"tokens": "id IN (SELECT id FROM replayed.tokens)"}


def compare(
    live: Path,
    replayed: Path,
    *,
    incidents_before: int = 0,
    notifications_before: int = 0,
    incomplete: Sequence[int] = (),
) -> tuple[list[Difference], int]:
    """Compare two databases that nobody writes: the first differences, and how many rows differ in all.

    incidents_before, notifications_before, incomplete: whose words are not compared, see `Replay`.
    Raises: apsw.Error if one cannot be read.
    """
    connection = apsw.Connection(str(live), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("ATTACH ? AS replayed", (str(replayed),)).fetchall()
        given: dict[str, Any] = {"decided_of": _decided_of, "said_of": _said_of}
        for name, function in given.items():
            connection.create_scalar_function(name, function, deterministic=True)
        connection.execute(
            "CREATE TEMP TABLE wording AS SELECT ?1 AS incidents, ?2 AS notifications",
            (incidents_before, notifications_before),
        ).fetchall()
        connection.execute("CREATE TEMP TABLE incomplete (number INTEGER PRIMARY KEY)").fetchall()
        connection.executemany(
            "INSERT OR IGNORE INTO incomplete VALUES (?)", [(number,) for number in incomplete]
        )
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
    source = _SOURCES.get(table, f"{{0}}.{table}")
    there = f"SELECT {columns} FROM {source.format('main')} WHERE {where}"
    again = f"SELECT {columns} FROM {source.format('replayed')} WHERE {where}"
    rows: dict[Any, tuple[Any, ...]] = {}
    width = {"tiles": 2, "members": 2, "past_counts": 2, "past_durations": 4, "attempts": 2}.get(table, 1)
    for row in connection.execute(f"{there} EXCEPT {again}"):
        rows[row[:width]] = row
    for row in connection.execute(f"{again} EXCEPT {there}"):
        yield Difference(table, _key(row[:width]), rows.pop(row[:width], None), row)
    for key, row in rows.items():
        yield Difference(table, _key(key), row, None)


def _key(key: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in key)


def _decided_of(body: Any, live: Any) -> Any:
    """Give what decisions left in an alert, without what repeats did.

    In which incidents an alert was when it was forgotten decides nothing: who recalls it forgets that too. It depends
    on whether it was seen in the very turn in which it was forgotten, which leaves no entry.
    """
    try:
        alert = msgspec.structs.replace(decode_alert(body), lease=0, timer=0, repeats=0, seen_at=0)
        if not live:
            alert.incidents = alert.firing_in = ()
        return encode(alert)
    except msgspec.MsgspecError:
        return body


def _said_of(message: Any, is_todays: Any, is_complete: Any) -> Any:
    """Give what a notification said, in today's form.

    is_todays: in today's wording; else only what no wording changes is given. is_complete: nothing of it was erased.
    """
    try:
        said = decode_message(message)
    except msgspec.MsgspecError:
        return message  # Then it is not what the ledger says, and is to be shown as it is.
    replace = msgspec.structs.replace
    if not is_todays:
        view = said.incident
        view = replace(view, title="", silenced=0) if view is not None else None
        said = replace(said, title="", text="", record="", incident=view)
    if not is_complete:
        said = replace(said, title="", text="", alerts=(), more=0)
    return CANONICAL.encode(said)
