"""Tables are made once and led to a program's schema once, and the programs before it go on if they can."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.contracts.rows import a_batch, a_delivery, a_head, a_notification, a_segment, new, opened
from tests.stores.releases import BrokenStore, LaterStore, NextStore
from tests.support.databases import VERSIONS, a_database, drop
from tests.support.fakes import NOON

from tocsin.ports import Batch, IncidentFilter, StoreFailed, StoreRefused
from tocsin.stores import postgres
from tocsin.stores.postgres import PostgresStore, preparing
from tocsin.stores.postgres.beside import LedgerReader
from tocsin.stores.postgres.filling import fill
from tocsin.stores.postgres.preparing import Schema, Step, schema_of

THIS, EXPANDED, CONTRACTED = Schema(1, 1), Schema(2, 1), Schema(3, 2)


@pytest.fixture(params=VERSIONS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that this program made, with the rows of one turn."""
    url = a_database(request.param)
    store = PostgresStore(url)
    store.commit(turn(0))
    store.close()
    yield url
    drop(url)


def turn(number: int) -> Batch:
    """Give a turn that writes to most tables: two rows each, as one COPY, and then some one by one."""
    first = 2 * number + 1
    numbers = (first, first + 1)
    return a_batch(
        head=a_head(number + 1, at=NOON + number, alive_at=NOON),
        segment=a_segment(number),
        incidents=[opened(n) for n in numbers],
        alerts=[new(n, joined=(n,)) for n in numbers],
        notifications=[a_notification(n) for n in numbers],
        new_deliveries=[a_delivery(n, notification=n) for n in numbers],
    )


def shape(url: str) -> list[tuple[object, ...]]:
    """Give all that a migration may change: columns, indexes, functions, and what meta says."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), data_type || ' ' || is_nullable "
            "FROM information_schema.columns WHERE table_schema = 'public' "
            "UNION ALL SELECT CAST(tablename AS TEXT), CAST(indexname AS TEXT), indexdef FROM pg_indexes "
            "WHERE schemaname = 'public' "
            "UNION ALL SELECT 'function', CAST(proname AS TEXT), '' FROM pg_proc WHERE pronamespace = 2200 "
            "UNION ALL SELECT 'meta', key, convert_from(value, 'UTF8') FROM meta ORDER BY 1, 2, 3"
        ).fetchall()


def schema(url: str) -> Schema:
    with psycopg.connect(url) as connection:
        return schema_of(connection)


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def together(*calls: Callable[[], object]) -> list[Exception]:
    """Call them all at once, each in a thread; give what they raised."""
    raised: list[Exception] = []

    def call(one: Callable[[], object]) -> None:
        try:
            one()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=call, args=(one,)) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def wait_for_locks(url: str, count: int) -> None:
    """Come back once so many sessions wait for a lock there."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(100_000):
            ((waiting,),) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if waiting >= count:
                return
    raise AssertionError(f"there were never {count} that wait for a lock")


def test_a_new_database_says_its_schema_and_the_oldest_that_may_write_there(url: str) -> None:
    assert schema(url) == THIS


def test_a_new_database_says_the_same_as_one_that_was_migrated() -> None:
    url = a_database()

    LaterStore(url).close()

    assert schema(url) == CONTRACTED
    drop(url)


def test_a_database_of_the_first_programs_says_only_its_schema_and_is_led_on(url: str) -> None:
    run(url, "DELETE FROM meta WHERE key = 'oldest'")

    PostgresStore(url).close()
    assert schema(url) == THIS

    NextStore(url).close()
    assert schema(url) == EXPANDED


def test_the_program_before_goes_on_while_and_after_the_tables_are_expanded(url: str) -> None:
    before = PostgresStore(url)
    for number in range(1, 9):  # So often that the driver and the server prepare what they run.
        before.commit(turn(number))
        before.list_incidents(IncidentFilter(), 5)

    NextStore(url).close()

    for number in range(9, 18):
        before.commit(turn(number))
        before.list_incidents(IncidentFilter(), 5)
    assert schema(url) == EXPANDED
    assert before.head().size == 18
    assert len(before.load().incidents) == before.list_incidents(IncidentFilter(), 5)[1] == 36
    before.reopen()
    before.commit(turn(18))
    before.close()
    reader = LedgerReader(url)
    assert reader.end().size == len([*reader.segments()]) == 19
    reader.close()


def test_a_turn_is_not_met_halfway_not_even_by_what_it_does_not_touch(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_MS", 60_000)
    (tmp_path / "0002_table.sql").write_text("CREATE TABLE teams (number BIGINT PRIMARY KEY)")

    class TableStore(PostgresStore):
        steps = (Step(tmp_path / "0002_table.sql"),)

    before = PostgresStore(url)
    before.load()
    before.begin()
    opening = threading.Thread(target=lambda: TableStore(url).close())

    opening.start()
    wait_for_locks(url, 1)
    assert schema(url) == THIS
    before.commit(turn(1))
    opening.join()

    assert schema(url) == EXPANDED
    before.commit(turn(2))
    assert before.head().size == 3
    before.close()


def test_turns_go_on_while_another_node_migrates(url: str) -> None:
    before = PostgresStore(url)
    is_done = threading.Event()
    count = 0

    def take_turns() -> None:
        nonlocal count
        while not is_done.is_set() or count < 10:
            count += 1
            before.commit(turn(count))
            before.list_incidents(IncidentFilter(), 5)

    def migrate() -> None:
        try:
            NextStore(url).close()
        finally:
            is_done.set()

    assert together(take_turns, migrate) == []
    assert schema(url) == EXPANDED
    assert before.head().size == count + 1
    before.close()


def test_nodes_that_start_together_migrate_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCKING_MS", 60_000)
    stores: list[PostgresStore] = []
    turn_of_another = psycopg.connect(url)
    turn_of_another.execute("SELECT 1 FROM head FOR UPDATE")

    def end_it() -> None:
        wait_for_locks(url, 5)
        turn_of_another.close()

    raised = together(
        end_it,
        *(
            lambda number=number: stores.append(NextStore(url, node_id=f"node-{number}"))
            for number in range(5)
        ),
    )

    for store in stores:
        store.close()
    assert raised == []
    assert len(stores) == 5
    assert schema(url) == EXPANDED
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM teams").fetchall() == [(1,)]


def test_what_is_migrated_is_not_touched_again(url: str) -> None:
    NextStore(url).close()
    before = shape(url)

    NextStore(url).close()
    PostgresStore(url).close()

    assert shape(url) == before


def test_a_program_that_is_too_old_is_refused_and_changes_nothing(url: str) -> None:
    LaterStore(url).close()
    before = shape(url)

    said = r"has schema 3, for programs that know 2 or newer; this program knows 1\. "
    with pytest.raises(StoreRefused, match=said + "Start the newer Tocsin that wrote it"):
        PostgresStore(url)
    with pytest.raises(StoreRefused, match=said + "Use the newer Tocsin that wrote it"):
        LedgerReader(url)

    assert shape(url) == before
    NextStore(url).close()
    assert shape(url) == before


def test_a_node_that_runs_and_became_too_old_is_refused_once_it_begins_anew(url: str) -> None:
    before = PostgresStore(url)
    LaterStore(url).close()

    with pytest.raises(StoreFailed, match="kind"):
        before.commit(turn(1))
    with pytest.raises(StoreFailed, match="has schema 3, for programs that know 2 or newer"):
        before.reopen()

    before.close()
    reader = NextStore(url)
    assert reader.head().size == 1
    reader.close()


def test_a_migration_that_fails_halfway_leaves_everything_as_it_was(url: str) -> None:
    before = shape(url)

    with pytest.raises(
        StoreFailed,
        match=r"has schema 1 and could not be led to 2: .*no_such_column.* Nothing was changed",
    ):
        BrokenStore(url)

    assert shape(url) == before
    PostgresStore(url).close()
    NextStore(url).close()
    assert schema(url) == EXPANDED


def test_a_migration_gives_way_to_whoever_reads_all_the_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "GIVING_WAY_MS", 50)
    monkeypatch.setattr(preparing, "TRIES", 3)
    before = shape(url)
    node = PostgresStore(url)
    with psycopg.connect(url) as backup:
        backup.execute("SELECT count(*) FROM incidents")

        with pytest.raises(StoreFailed, match="somebody held its tables all the time"):
            NextStore(url)

        assert shape(url) == before
        node.commit(turn(1))
    NextStore(url).close()
    assert schema(url) == EXPANDED
    node.close()


def test_another_store_is_not_filled_into_tables_of_a_newer_program() -> None:
    url = a_database()
    PostgresStore(url).close()
    NextStore(url).close()

    with pytest.raises(StoreRefused, match="has the tables of a newer Tocsin"):
        fill(url, lambda table, columns: iter(()), lambda table: None)

    assert schema(url) == EXPANDED
    drop(url)
