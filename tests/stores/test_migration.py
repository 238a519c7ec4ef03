"""An older schema becomes this one when the store is opened: all of it or nothing, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.contracts.rows import a_batch, a_head, a_policy, a_segment, a_silence, an_incident, incident_id
from tests.stores.old import HEAD_AT, PAST, old_store, past_incident
from tests.support.fakes import NOON

from tocsin.core.engine.durations import DAY
from tocsin.core.engine.state import RateWindow
from tocsin.core.model.access import Role, Token
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import Policy
from tocsin.ports import DeliveryFilter, IncidentFilter, IncidentRow, SilenceView, StoreRefused
from tocsin.stores.sqlite import SCHEMA_VERSION, SqliteStore
from tocsin.stores.sqlite.beside import open_reader


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[SqliteStore]:
    old_store(data)
    store = SqliteStore(data)
    yield store
    store.close()


def ask(data: Path, sql: str) -> list[tuple]:
    """Run SQL on a closed store's file."""
    connection = apsw.Connection(str(data / "tocsin.db"))
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def shape(data: Path) -> list[tuple]:
    """Give every table's columns and every index's columns and condition, without how they came about."""
    columns = ask(
        data,
        'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_schema t, '
        "pragma_table_xinfo(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid",
    )
    indexes = ask(
        data, "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    )
    return [*columns, *indexes]


def test_a_migrated_file_has_the_shape_of_a_new_one(tmp_path: Path, data: Path):
    SqliteStore(tmp_path / "new").close()
    old_store(data)

    SqliteStore(data).close()

    assert shape(data) == shape(tmp_path / "new")
    assert ask(data, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert ask(data, "PRAGMA integrity_check") == [("ok",)]


def test_what_was_live_is_loaded(store: SqliteStore):
    memory = store.load()

    assert (memory.head.size, memory.head.at, memory.head.counters.incident) == (2, HEAD_AT, 102)
    assert memory.incidents == [an_incident(1, rule_id="live"), an_incident(102, rule_id="live")]
    assert [(alert.number, alert.repeats, alert.lease) for alert in memory.alerts] == [
        (1, 7, NOON + 99),
        (102, 0, 0),
    ]
    assert [delivery.number for delivery in memory.deliveries] == [1]
    assert memory.silences == [(a_silence(1), True)]
    assert memory.policies == [(1, Policy())]
    assert memory.rates == [("rule-1", RateWindow(times=[1]))]
    assert memory.maintenances == []


def test_what_was_past_is_counted_and_found(store: SqliteStore):
    stats = store.stats(NOON - 200 * DAY, NOON)

    assert (stats.total, stats.by_state[IncidentState.RESOLVED]) == (102, len(PAST))
    assert stats.by_rule == [("rule-2", 34, 0), ("rule-0", 33, 0), ("rule-1", 33, 0), ("live", 2, 2)]
    assert stats.resolved.count == len(PAST)
    assert stats.resolved.p50 == pytest.approx(51 * 60_000_000, rel=0.05)
    assert store.stats(NOON - 10 * DAY, NOON - 8 * DAY).resolved.count == 3
    assert stats.acknowledged.count == 0
    critical, total = store.list_incidents(IncidentFilter(severity=Severity.CRITICAL, rule_id="rule-0"), 3)
    assert ([view.number for view in critical], total) == ([99, 93, 87], 17)
    assert store.find_incident(incident_id(50)) == past_incident(50)
    assert [alert.number for alert in store.members(50)] == [50]


def test_alerts_that_were_over_are_found_by_when_they_were_seen(store: SqliteStore):
    assert [alert.number for alert in store.alerts_seen(NOON + 100)] == [1, 102, 100, 101]


def test_deliveries_are_counted_and_listed(store: SqliteStore):
    assert store.counts() == {"dead": 2, "pending": 1, "withheld:muted": 3}
    dead, total = store.list_deliveries(DeliveryFilter(states=(DeliveryState.DEAD,), since=NOON), 9)
    assert ([view.number for view in dead], total) == ([3, 2], 2)


def test_intents_that_were_decided_are_accounted_for(store: SqliteStore):
    assert store.head().counters.intents == sum(store.counts().values()) == 6


def test_silences_that_had_ended_did_so_as_planned_or_before_now(store: SqliteStore):
    ended, total = store.list_silences(ended=True, after=None, limit=9)

    assert [(view.silence.number, view.ended_at) for view in ended] == [(3, HEAD_AT), (2, NOON + 1)]
    assert total == 2
    assert store.find_silence("1") == SilenceView(silence=a_silence(1), began=True, ended_at=None)


def test_tokens_policies_and_secrets_are_as_they_were(store: SqliteStore):
    assert store.tokens() == [Token(id="t1", name="anna", role=Role.ADMIN, hash="h" * 64, created_at=NOON)]
    assert store.policies(None, 9) == [a_policy(1, digest="digest", at=0, actor="")]
    assert store.secret("id_key") == b"k" * 32
    assert [*store.segments()] == [a_segment(0, 2)]


def test_turns_go_on_after_it(store: SqliteStore):
    back = an_incident(50, opened_at=HEAD_AT)

    store.commit(
        a_batch(
            head=a_head(3, at=HEAD_AT + 1),
            segment=a_segment(2),
            incidents=[IncidentRow(incident=back, live=True)],
            recalled=[past_incident(50)],
            policy=a_policy(2),
        )
    )

    assert store.stats(NOON - 200 * DAY, NOON).resolved.count == len(PAST) - 1
    assert [incident.number for incident in store.load().incidents] == [1, 50, 102]
    assert store._ask("SELECT * FROM past_durations WHERE n < 1 OR first % days") == []
    assert store._ask("SELECT * FROM past_counts WHERE n < 1") == []


def test_it_is_made_once(data: Path):
    old_store(data)
    SqliteStore(data).close()
    before = (data / "tocsin.db").read_bytes()

    SqliteStore(data).close()

    assert (data / "tocsin.db").read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    ["UPDATE silences SET body = x'c1' WHERE number = 2", "UPDATE alerts SET body = x'c1' WHERE number = 50"],
)
def test_what_cannot_be_read_leaves_the_file_as_it_was(data: Path, damage: str):
    old_store(data, damage=damage)
    before = shape(data)

    for _ in range(2):
        with pytest.raises(
            StoreRefused, match=r"holds what this program cannot read .* Restore it from a backup"
        ):
            SqliteStore(data)

    assert ask(data, "PRAGMA user_version") == [(1,)]
    assert shape(data) == before
    assert ask(data, "SELECT count(*) FROM incidents") == [(102,)]


def test_the_ledger_of_an_older_schema_is_read_without_changing_it(data: Path):
    old_store(data)
    before = (data / "tocsin.db").read_bytes()

    reader = open_reader(data)

    assert reader.end().size == 2
    assert [*reader.segments()] == [a_segment(0, 2)]
    reader.close()
    assert (data / "tocsin.db").read_bytes() == before


def test_the_ledger_of_a_newer_schema_is_not_read(data: Path):
    old_store(data)
    ask(data, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    with pytest.raises(StoreRefused, match=f"has schema {SCHEMA_VERSION + 1}"):
        open_reader(data)
