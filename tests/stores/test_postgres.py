"""The store on PostgreSQL: which servers it refuses, and what becomes of a turn when somebody else comes between."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from tests.contracts.rows import NOON, a_batch, a_delivery, a_head, a_segment, opened
from tests.support.databases import VERSIONS, a_database, drop
from tests.support.postgres import PASSWORD, Installed, a_postgres, chosen, why_not

from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores import postgres
from tocsin.stores.postgres import LEASE, VOUCH_EVERY, PostgresStore
from tocsin.stores.postgres.connecting import database_name
from tocsin.stores.postgres.dialect import escape, in_postgres, unescape
from tocsin.stores.tables.asking import GIVEN


@pytest.fixture(params=VERSIONS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database, on each version of PostgreSQL."""
    url = a_database(request.param)
    yield url
    drop(url)


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


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("programs", chosen(), ids=lambda programs: f"pg{programs.version}")
def test_a_server_that_does_not_keep_what_it_confirms_is_refused(programs: Installed) -> None:
    with (
        a_postgres(programs, fsync="off") as server,
        pytest.raises(StoreRefused, match="fsync = off, so a loss of power") as e,
    ):
        PostgresStore(server.url())
    assert PASSWORD not in str(e.value)


def test_a_database_of_somebody_else_is_left_alone(url: str) -> None:
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


@pytest.mark.parametrize(
    "oldest",
    ["UPDATE meta SET value = '99' WHERE key = 'oldest'", "DELETE FROM meta WHERE key = 'oldest'"],
    ids=["said", "not said"],
)
def test_a_newer_schema_is_refused(url: str, oldest: str) -> None:
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
        connection.execute(oldest.encode())

    with pytest.raises(StoreRefused, match=r"has schema 99; this program knows 1\. Start the newer Tocsin"):
        PostgresStore(url)


def test_another_encoding_is_refused(url: str) -> None:
    name = url.rsplit("/", 1)[1] + "_ascii"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode()
        )

    with pytest.raises(StoreRefused, match="is encoded as SQL_ASCII"):
        PostgresStore(f"{url.rsplit('/', 1)[0]}/{name}")


def test_a_server_that_is_not_there_has_failed_and_its_password_is_not_told() -> None:
    with pytest.raises(StoreFailed, match=r"127\.0\.0\.1:1/tocsin cannot be opened") as failed:
        PostgresStore("postgresql://anna:geheim@127.0.0.1:1/tocsin")

    assert "geheim" not in str(failed.value)


def test_nodes_that_start_together_make_the_tables_once(url: str) -> None:
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
def two_nodes(url: str) -> Iterator[tuple[PostgresStore, PostgresStore]]:
    """Open a database twice, as two nodes do."""
    one, other = PostgresStore(url, node_id="one"), PostgresStore(url, node_id="other")
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def test_whoever_waits_too_long_for_another_nodes_turn_gives_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCKING_MS", 200)
    monkeypatch.setattr(postgres, "IDLE_MS", 60_000)
    with two_nodes(url) as (one, other):
        one.begin()
        with pytest.raises(StoreFailed, match="lock timeout"):
            other.begin()

        one.release()
        other.reopen()
        other.begin()
        other.commit(a_batch(head=a_head(1), segment=a_segment(0)))
        assert one.head().size == 1


def test_whoever_begins_while_another_decides_waits_and_learns_what_that_one_decided(url: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with (
        psycopg.connect(url, autocommit=True) as observer,
        two_nodes(url) as (one, other),
        ThreadPoolExecutor() as pool,
    ):
        one.begin()
        begins = pool.submit(other.begin)
        while not begins.done() and not observer.execute(waiting).fetchall():
            pass  # It gives up after LOCKING_MS.
        one.commit(a_batch(head=a_head(1), segment=a_segment(0)))

        news = begins.result().news

        assert news is not None, "it began while another node's turn was open"
        assert news.head.size == 1
        other.release()


def test_a_reader_whose_connection_was_ended_asks_over_another(url: str) -> None:
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


WAITS_FOR_MORE = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
    "AND wait_event = 'ClientRead' AND query LIKE '%FOR UPDATE%'"
)


def test_a_node_that_stops_in_the_middle_of_a_question_is_ended_by_whoever_waits(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres, "LOCKING_MS", 500)
    monkeypatch.setattr(postgres, "IDLE_MS", 200)
    with two_nodes(url) as (stops, waits):
        begun = stops._writer.pipeline()
        begun.__enter__()
        stops._writer.execute("BEGIN")
        stops._writer.execute("SELECT turn FROM head FOR UPDATE")
        with psycopg.connect(url, autocommit=True) as looks:
            while looks.execute(WAITS_FOR_MORE).fetchall() == [(0,)]:
                stops._writer.pgconn.flush()  # And nothing follows: the server waits for more, and holds the lock.

        with pytest.raises(StoreFailed, match="lock timeout"):
            waits.begin()
        assert waits.begin().holds
        waits.release()

        assert "stood still in the middle of a turn" in caplog.text
        with pytest.raises(psycopg.OperationalError):
            begun.__exit__(None, None, None)
        stops._pumps.close()


def test_a_node_that_decides_nothing_lives_all_the_same(url: str) -> None:
    with two_nodes(url) as (idle, other):
        for seconds in range(0, 120, 5):
            for node in (idle, other):
                node.time = lambda seconds=seconds: NOON + seconds * 1_000_000
            assert idle.begin().leads
            idle.release()

        begun = other.begin()

        assert not begun.leads
        assert other.living == 2
        other.release()


def test_a_node_that_says_nothing_is_taken_for_dead(url: str) -> None:
    with two_nodes(url) as (silent, other):
        for node in (silent, other):
            node.time = lambda: NOON
        silent.begin()
        silent.commit(
            a_batch(head=a_head(1), segment=a_segment(0), new_deliveries=[a_delivery(1), a_delivery(2)])
        )
        other.begin()
        other.release()

        other.time = lambda: NOON + LEASE
        assert other.begin().taken == []
        other.release()
        silent.time = other.time = lambda: NOON + LEASE + VOUCH_EVERY
        begun = other.begin()
        other.release()

        assert begun.taken == [1, 2]
        assert begun.leads
        assert silent.begin().dispossessed
        silent.release()
        assert not silent.owns(1)
        assert other.owns(1)


def test_what_a_node_leaves_when_it_stops_is_taken_over_at_the_next_sign_of_life(url: str) -> None:
    with two_nodes(url) as (stops, other):
        for node in (stops, other):
            node.time = lambda: NOON
        stops.begin()
        stops.commit(a_batch(head=a_head(1), segment=a_segment(0), new_deliveries=[a_delivery(1)]))
        other.begin()
        other.release()

        stops.sign_off()
        stops.close()
        other.time = lambda: NOON + VOUCH_EVERY
        begun = other.begin()

        assert begun.taken == [1]
        assert begun.leads
        assert other.living == 1
        other.release()


def test_a_turn_that_failed_was_never_there(url: str) -> None:
    with two_nodes(url) as (one, other):
        for number in range(10):  # More than it takes until psycopg prepares what it is asked.
            with pytest.raises(StoreFailed, match="did not commit"):
                one.commit(a_batch(head=a_head(99), new_deliveries=[a_delivery(9), a_delivery(9)]))
            one.commit(a_batch(head=a_head(number + 1), segment=a_segment(number)))
        assert other.head().size == 10
        assert other.deliveries_of(1) == []


def test_a_node_that_missed_much_holds_up_nobody_while_it_catches_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "HELD_UP_MAX", 3)
    with two_nodes(url) as (one, other):
        other.load()
        for number in range(7):
            one.commit(
                a_batch(head=a_head(number + 1), segment=a_segment(number), incidents=[opened(number + 1)])
            )

        begun = other.begin()

        assert not begun.holds
        assert begun.news is not None
        assert [incident.number for incident in begun.news.incidents] == [*range(1, 8)]
        assert begun.news.head.size == 7
        one.commit(a_batch(head=a_head(8), segment=a_segment(7)))  # It waits for nobody.
        begun = other.begin()
        assert begun.holds
        assert begun.news is not None
        assert begun.news.head.size == 8
        other.commit(a_batch(head=a_head(9), segment=a_segment(8)))


def test_whoever_only_commits_catches_up_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "HELD_UP_MAX", 1)
    with two_nodes(url) as (one, other):
        other.load()
        for number in range(3):
            one.commit(a_batch(head=a_head(number + 1), segment=a_segment(number)))
        other.commit(a_batch(head=a_head(4), segment=a_segment(3)))
        assert one.head().size == 4


NAMED = [
    ("postgresql://anna:geheim@db.example.org/tocsin", "db.example.org/tocsin"),
    ("postgresql://anna:geheim@db.example.org:5432/tocsin", "db.example.org/tocsin"),
    ("postgresql://anna@db.example.org:6543/tocsin", "db.example.org:6543/tocsin"),
    ("postgresql://a:5432,b:6543/tocsin", "a,b:6543/tocsin"),
    ("host=a,b port=6543 dbname=tocsin password=geheim", "a:6543,b:6543/tocsin"),
    ("postgresql://[::1]:6543/tocsin", "[::1]:6543/tocsin"),
    ("postgresql://anna@/", "localhost/anna"),
    ("host=/run/postgresql port=6543 dbname=tocsin", "/run/postgresql:6543/tocsin"),
]


@pytest.mark.parametrize(("url", "name"), NAMED)
def test_a_database_is_named_by_its_server_and_without_its_password(url: str, name: str) -> None:
    assert database_name(url) == f"PostgreSQL {name}"
