"""A data directory as Tocsin of schema 1 left it, with something in every table."""

from pathlib import Path
from typing import Any

import apsw
import msgspec
from tests.contracts.rows import a_delivery, a_message, a_segment, a_silence, an_alert, an_incident
from tests.support.fakes import NOON

from tocsin.core.engine.durations import DAY
from tocsin.core.engine.state import Counters, RateWindow
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.alert import CANONICAL, Severity, severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState

SCHEMA_1 = Path(__file__).with_name("schema_1.sql")
HEAD_AT = NOON + DAY
PAST = range(2, 102)
"""The incidents and alerts that are over; 1 and 102 are live."""

encode = msgspec.msgpack.encode


def old_store(data: Path, *, damage: str = "") -> None:
    """Make the directory. damage: SQL that is run at the end."""
    data.mkdir(mode=0o700)
    connection = apsw.Connection(str(data / "tocsin.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute(SCHEMA_1.read_text()).fetchall()
    with connection:
        fill(connection)
        if damage:
            connection.execute(damage).fetchall()
        connection.execute("PRAGMA user_version = 1").fetchall()
    connection.close()


def past_incident(number: int) -> Any:
    """Give an incident that took as many minutes as its number says, and ended that many days before noon."""
    opened_at = NOON - number * DAY
    return an_incident(
        number,
        state=IncidentState.RESOLVED,
        severity=Severity.CRITICAL if number % 2 else Severity.WARNING,
        rule_id=f"rule-{number % 3}",
        opened_at=opened_at,
        updated_at=opened_at,
        resolved_at=opened_at + number * 60_000_000,
    )


def old_body(incident: Any) -> bytes:
    """Give an incident's body as it was before `acked_at` came to its end."""
    return encode(msgspec.to_builtins(incident, builtin_types=(bytes,))[:-1])


def fill(connection: apsw.Connection) -> None:
    """Put something into every table."""

    def insert(table: str, *rows: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    one = a_segment(0, 2)
    insert("head", (1, 2, EMPTY_ROOT, b"edge", HEAD_AT, HEAD_AT, encode(Counters(incident=102))))
    insert("meta", ("secret:id_key", b"k" * 32))
    insert("segments", (one.first_seq, one.count, one.root, one.data))
    for number in (1, *PAST, 102):
        live = number not in PAST
        incident = an_incident(number, rule_id="live") if live else past_incident(number)
        insert(
            "incidents",
            (
                number,
                incident.id,
                live,
                incident.state.value,
                severity_rank[incident.severity],
                incident.rule_id,
                incident.opened_at,
                incident.updated_at,
                incident.resolved_at,
                f"title {number}",
                CANONICAL.encode({"host": f"db-{number}"}),
                number,
                old_body(incident),
            ),
        )
        alert = an_alert(number, seen_at=NOON + number)
        insert("alerts", (number, alert.id, live, encode(alert)))
        insert("members", (number, number, 0))
    insert("leases", (1, 7, NOON + 50, NOON + 99))
    insert("notifications", (1, "n" * 32, 1, "opened", NOON, CANONICAL.encode(a_message())))
    for number, state in enumerate((DeliveryState.PENDING, DeliveryState.DEAD, DeliveryState.DEAD), 1):
        delivery = a_delivery(number, state, notification=1).delivery
        columns = (number, 1, 1, "opened", "webhook", delivery.key, state.value, 0, NOON, NOON, "why")
        insert("deliveries", (*columns, encode(delivery)))
    insert("rates", ("rule-1", encode(RateWindow(times=[1]))))
    later = msgspec.structs.replace(a_silence(3), ends_at=HEAD_AT + DAY)
    for silence, ended in ((a_silence(1), 0), (a_silence(2), 1), (later, 1)):
        insert("silences", (silence.number, 1, ended, encode(silence)))
    insert("policies", (1, "digest", b"{}"))
    insert("withheld", ("muted", 3))
    insert("tokens", ("t1", "anna", "admin", "h" * 64, NOON, None))
