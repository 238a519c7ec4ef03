"""Reading the ledger again fills the tables with what they hold."""

import shutil

import apsw
import pytest
from tests.core.ledger.ledgers import CountedBytes, HandClock, write_ledger
from tests.support.builders import HOUR, MINUTE, a_route, an_alert

from tocsin.core.model.input import PolicyChanged, received
from tocsin.core.model.policy import Policy
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.replaying import Replay
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.comparing import NOT_COMPARED, TABLES, compare


def replayed(directory, to):
    """Read the ledger of a data directory again; the head's instant is when it was last written."""
    source = SqliteStore(directory)
    scratch = SqliteStore(to, is_scratch=True)
    try:
        replay = Replay(scratch, origins=[(0, "tests")])
        for segment in source.segments():
            replay.take(segment)
        replay.end(source.head().at)
        assert replay.size == source.head().size
    finally:
        scratch.close()
        source.close()
    return compare(
        directory / "tocsin.db",
        to / "tocsin.db",
        incidents_before=replay.incidents_before,
        notifications_before=replay.notifications_before,
        incomplete=replay.incomplete,
    )


@pytest.mark.parametrize("number", range(8))
def test_the_live_tables_are_what_the_ledger_says(tmp_path, number):
    store = SqliteStore(tmp_path / "live")
    write_ledger(store, seed=number, turns=200)
    store.close()

    assert replayed(tmp_path / "live", tmp_path / "again") == ([], 0)


def test_tables_without_any_entry_are_what_an_empty_ledger_says(tmp_path):
    SqliteStore(tmp_path / "live").close()

    assert replayed(tmp_path / "live", tmp_path / "again") == ([], 0)


def test_an_alert_that_is_seen_in_the_turn_that_forgets_it_is_what_the_ledger_says(tmp_path):
    store = SqliteStore(tmp_path / "live")
    clock = HandClock()
    pump = Pump(store, clock, CountedBytes(), origin="tests", on_committed=lambda committed: None)
    pump.open()
    pump.turn(
        [
            Request(
                (
                    PolicyChanged(
                        policy=Policy(routes=a_route("default", group_by=("...",), reopen_within=MINUTE))
                    ),
                ),
                "settings",
            )
        ]
    )
    for after, status in ((0, "firing"), (MINUTE, "resolved"), (HOUR, "green")):
        clock.at += after
        look = an_alert(status=status, window=(clock.at - MINUTE, clock.at), host="a")
        other = an_alert("other", window=(clock.at - MINUTE, clock.at), host="b")
        pump.turn([Request((received(look), received(other)), "api")])
    assert not [alert for alert in pump.state.alerts.values() if alert.rule_id == "disk"]
    store.close()

    assert replayed(tmp_path / "live", tmp_path / "again") == ([], 0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("written")
    store = SqliteStore(directory)
    write_ledger(store, seed=3, turns=120)
    store.close()
    return directory


CHANGES = {
    "incidents": "UPDATE incidents SET title = title || '!' WHERE number = (SELECT min(number) FROM incidents)",
    "alerts": "DELETE FROM alerts WHERE number = (SELECT min(number) FROM alerts)",
    "members": "UPDATE members SET alert = alert + 1 WHERE number = (SELECT min(number) FROM members)",
    "notifications": "UPDATE notifications SET message = x'7b7d' WHERE number = (SELECT min(number) FROM notifications)",
    "deliveries": "UPDATE deliveries SET state = 'dead' WHERE number = (SELECT min(number) FROM deliveries WHERE state <> 'dead')",
    "delivery_counts": "UPDATE delivery_counts SET n = n + 1",
    "attempts": "DELETE FROM attempts",
    "silences": "UPDATE silences SET began = 1 - began",
    "maintenances": "UPDATE maintenances SET next_at = next_at + 1",
    "policies": "UPDATE policies SET actor = 'somebody else'",
    "withheld": "UPDATE withheld SET count = count + 1",
    "rates": "DELETE FROM rates",
    "past_counts": "UPDATE past_counts SET n = n + 1",
    "past_durations": "DELETE FROM past_durations",
    "head": "UPDATE head SET counters = x'00'",
    "segments": "UPDATE segments SET root = x'00' WHERE first_seq = 0",
    "tiles": "INSERT OR REPLACE INTO tiles VALUES (1, 0, x'00')",
    "signers": "UPDATE signers SET retired_seq = NULL",
    "origins": "DELETE FROM origins",
    "tokens": "UPDATE tokens SET role = 'admin'",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_change_of_any_table_is_seen(written, tmp_path, table):
    directory = tmp_path / "live"
    shutil.copytree(written, directory)
    connection = apsw.Connection(str(directory / "tocsin.db"))
    # Before the change, so that what is spoiled is not what the replay reads.
    scratch = SqliteStore(tmp_path / "again", is_scratch=True)
    source = SqliteStore(written)
    replay = Replay(scratch, origins=[(0, "tests")])
    for segment in source.segments():
        replay.take(segment)
    replay.end(source.head().at)
    scratch.close()
    source.close()
    assert compare(directory / "tocsin.db", tmp_path / "again" / "tocsin.db") == ([], 0)

    connection.execute(CHANGES[table]).fetchall()
    changed = connection.changes()
    connection.close(True)

    found, total = compare(directory / "tocsin.db", tmp_path / "again" / "tocsin.db")
    assert changed
    assert {one.table for one in found} == {table}
    assert total


def test_every_table_is_compared_or_named_as_one_that_is_not(written):
    connection = apsw.Connection(str(written / "tocsin.db"), flags=apsw.SQLITE_OPEN_READONLY)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close(True)

    assert tables == {*TABLES, *NOT_COMPARED}
