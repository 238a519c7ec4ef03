"""The store on PostgreSQL: which servers it refuses, and what becomes of a turn when somebody else comes between."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.contracts.rows import a_batch, a_head, a_segment
from tests.support.databases import a_database
from tests.support.postgres import PASSWORD, a_postgres, why_not

from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores import postgres
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.dialect import escape, in_postgres, unescape
from tocsin.stores.tables.asking import GIVEN


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT a FROM t WHERE b = ? AND c < ?", "SELECT a FROM t WHERE b = $1 AND c < $2"),
        ("UPDATE t SET a = ?2 WHERE b = ?1", "UPDATE t SET a = $2 WHERE b = $1"),
        ("SELECT 1 FROM t INDEXED BY t_live WHERE a = ?", "SELECT 1 FROM t WHERE a = $1"),
        ("SELECT 1 FROM t NOT INDEXED WHERE a = ?", "SELECT 1 FROM t WHERE a = $1"),
        (
            f"SELECT 1 FROM t WHERE a = ? AND b IN {GIVEN}",
            "SELECT 1 FROM t WHERE a = $1 AND b IN (SELECT CAST(value AS BIGINT) FROM "
            "json_array_elements_text(CAST(convert_from($2, 'UTF8') AS JSON)))",
        ),
    ],
)
def test_what_sqlite_is_asked_is_said_in_the_words_of_postgresql(asked: str, said: str) -> None:
    assert in_postgres(asked) == said


@pytest.mark.parametrize(
    "text", ["", "plain", "\0", "a\0b\0", "\ue000", "\ue0000", "\ue000\0\ue0001", "0\0001"]
)
def test_a_text_with_a_nul_comes_through(text: str) -> None:
    assert "\0" not in escape(text)
    assert unescape(escape(text)) == text


def test_a_server_that_does_not_keep_what_it_confirms_is_refused() -> None:
    if why := why_not():
        pytest.skip(why)
    with (
        a_postgres(fsync="off") as server,
        pytest.raises(StoreRefused, match="fsync = off, so a loss of power") as e,
    ):
        PostgresStore(server.url())
    assert PASSWORD not in str(e.value)


def test_a_database_of_somebody_else_is_left_alone() -> None:
    url = a_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE customers (id int)")

    with pytest.raises(
        StoreRefused, match="somebody else's: it has tables that Tocsin did not make, such as customers"
    ):
        PostgresStore(url)

    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200"
        ).fetchall()
    assert tables == [("customers",)]


def test_a_newer_schema_is_refused() -> None:
    url = a_database()
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")

    with pytest.raises(StoreRefused, match=r"has schema 99; this program knows 1\. Start the newer Tocsin"):
        PostgresStore(url)


def test_another_encoding_is_refused() -> None:
    server = a_database()
    name = server.rsplit("/", 1)[1] + "_ascii"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode()
        )

    with pytest.raises(StoreRefused, match="is encoded as SQL_ASCII"):
        PostgresStore(f"{server.rsplit('/', 1)[0]}/{name}")


def test_a_server_that_is_not_there_has_failed_and_its_password_is_not_told() -> None:
    with pytest.raises(StoreFailed, match=r"127\.0\.0\.1/tocsin cannot be opened") as failed:
        PostgresStore("postgresql://anna:geheim@127.0.0.1:1/tocsin")

    assert "geheim" not in str(failed.value)


def test_nodes_that_start_together_make_the_tables_once() -> None:
    url = a_database()
    stores: list[PostgresStore] = []
    failed: list[Exception] = []

    def start(number: int) -> None:
        try:
            stores.append(PostgresStore(url, node_id=f"node-{number}"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()

    assert failed == []
    assert len(stores) == 6


@contextmanager
def two_nodes() -> Iterator[tuple[PostgresStore, PostgresStore]]:
    """Open a new database twice, as two nodes do."""
    url = a_database()
    one, other = PostgresStore(url, node_id="one"), PostgresStore(url, node_id="other")
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def test_whoever_waits_too_long_for_another_nodes_turn_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCKING_MS", 200)
    monkeypatch.setattr(postgres, "IDLE_MS", 60_000)
    with two_nodes() as (one, other):
        one.begin()
        with pytest.raises(StoreFailed, match="lock timeout"):
            other.begin()

        one.release()
        other.reopen()
        other.begin()
        other.commit(a_batch(head=a_head(1), segment=a_segment(0)))
        assert one.head().size == 1


def test_a_reader_whose_connection_was_ended_asks_over_another() -> None:
    url = a_database()
    store = PostgresStore(url)
    try:
        assert store.head().size == 0
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tocsin' "
                "AND datname = current_database()"
            )

        assert store.head().size == 0
    finally:
        store.close()
