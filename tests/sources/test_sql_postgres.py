"""A real PostgreSQL is only read, in bounded time, whoever asks what; and its password is never shown."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from tests.sources.asking import HOUR, NOON, an_ask, ask, at, failure, rows
from tests.support.postgres import PASSWORD, Server, a_postgres, why_not

from tocsin.core.model.rule import Point
from tocsin.ports import SourceFailed
from tocsin.sources.sql import Sql, SqlConfig
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_postgres() as server:
        server.run(
            "CREATE TABLE orders (at timestamptz, region text, amount numeric, id uuid, day date, ok boolean)",
            "INSERT INTO orders VALUES"
            " ('2026-11-18 11:30Z', 'eu', 5, '5f3a0000-0000-4000-8000-000000000000', '2026-11-18', true),"
            " ('2026-11-18 11:45Z', 'us', 7.5, null, null, null), ('2026-11-18 11:50Z', 'eu', 'NaN', null, null, false)",
            "CREATE SEQUENCE numbers",
            "CREATE ROLE anna LOGIN PASSWORD 'anna' IN ROLE pg_read_all_data",
        )
        yield server


def a_source(server: Server, **more: Any) -> Sql:
    return Sql(SqlConfig(**{"name": "shop", "url": server.url(), "timeout_s": 5.0} | more))


def bare(source: Sql, text: str, values: Mapping[str, Any] | None = None) -> Any:
    """Ask past the second fence."""
    return source._reader.read(Query((text,)), dict(values or {}), Course())


def test_a_window_is_asked_for_by_its_binds(server):
    query = (
        "SELECT at, region, amount AS value FROM orders WHERE at >= :since AND at < :until AND day IS NULL"
    )

    (answer,) = ask(a_source(server), query)

    assert [(series.labels, series.points) for series in answer] == [
        ({"region": "us"}, (Point(at("2026-11-18T11:45:00"), 7.5),))
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT (:since::timestamptz = '2026-11-18 11:00Z')::int AS value", 1.0),
        ("SELECT (:until::timestamp = '2026-11-18 12:00')::int AS value", 1.0),
        ("SELECT (:since < :until)::int AS value", 1.0),
        ("SELECT :until_epoch - :since_epoch AS value", 3600.0),
        ("SELECT (:since_date = '2026-11-18'::date)::int AS value", 1.0),
        (
            "SELECT count(*) AS value FROM orders WHERE region LIKE '%u%' AND amount % 5 = 0 AND at::date = :since_date",
            1.0,
        ),
        ("SELECT count(*) AS value FROM orders WHERE at BETWEEN :since AND :until", 3.0),
        ("SELECT (current_setting('TimeZone') = 'UTC')::int AS value", 1.0),
        ("SELECT (current_setting('application_name') = 'tocsin')::int AS value", 1.0),
        ("SELECT (current_setting('transaction_read_only') = 'on')::int AS value", 1.0),
        ("SELECT extract(epoch FROM :until - :since) AS value", 3600.0),
    ],
)
def test_binds_have_types_that_postgresql_knows(server, query, said):
    assert rows(a_source(server), query) == [({}, said)]


def test_columns_of_many_types_are_labels(server):
    query = "SELECT id, day, ok, 'a:b' AS text, count(*) AS value FROM orders WHERE region = 'eu' AND ok GROUP BY 1, 2, 3"

    assert rows(a_source(server), query) == [
        (
            {"id": "5f3a0000-0000-4000-8000-000000000000", "day": "2026-11-18", "ok": "true", "text": "a:b"},
            1.0,
        )
    ]


def test_a_date_is_midnight_of_the_zone(server):
    asked = an_ask(
        "SELECT day AS at, 1 AS value FROM orders WHERE day IS NOT NULL",
        since=NOON - 24 * HOUR,
        zone="Europe/Berlin",
    )

    (answer,) = ask(a_source(server), asked)

    assert answer[0].points == (Point(at("2026-11-17T23:00:00"), 1.0),)


def test_nan_and_null_are_no_points(server):
    assert rows(a_source(server), "SELECT amount AS value FROM orders WHERE NOT ok") == []
    assert rows(a_source(server), "SELECT 'Infinity'::float8 AS value") == []
    assert rows(a_source(server), "SELECT sum(amount) AS value FROM orders WHERE false") == []


STATEMENTS = [
    "DELETE FROM orders",
    "INSERT INTO orders (region) VALUES ('x')",
    "UPDATE orders SET region = 'x'",
    "TRUNCATE orders",
    "DROP TABLE orders",
    "CREATE TABLE x (y int)",
    "WITH d AS (DELETE FROM orders RETURNING 1) SELECT count(*) AS value FROM d",
    "SELECT 1 AS value INTO x",
    "SELECT region, 1 AS value FROM orders FOR UPDATE",
    "SELECT nextval('numbers') AS value",
    "SELECT 1 AS value; DELETE FROM orders",
    "SELECT 1 AS value; COMMIT; DELETE FROM orders",
    "COMMIT; DELETE FROM orders",
    "COPY orders TO PROGRAM 'true'",
    "DO $$ BEGIN DELETE FROM orders; END $$",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_postgresql_itself_refuses_to_write_when_the_second_fence_is_gone(server, statement):
    source = a_source(server)

    with pytest.raises(SourceFailed):
        bare(source, statement)
    assert bare(source, "SELECT count(*) AS value FROM orders") == (["value"], [(3,)])
    source._reader.close()

    assert server.run(
        "SELECT count(*), count(*) FILTER (WHERE region = 'x') FROM orders", "SELECT to_regclass('x')", "SELECT is_called FROM numbers"
    ) == [[(3, 0)], [(None,)], [(False,)]]  # fmt: skip


def test_what_a_reading_transaction_may_still_do_is_undone(server):
    source = a_source(server)
    with contextlib.suppress(SourceFailed):  # Newer versions refuse it.
        bare(source, "SELECT lo_create(0) AS value")
    source._reader.close()

    assert server.run("SELECT count(*) FROM pg_largeobject_metadata") == [[(0,)]]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_second_fence_refuses_to_write_before_postgresql_is_asked(server, statement):
    source = a_source(server)
    source._reader = None  # type: ignore[assignment]

    with pytest.raises(SourceFailed) as failed:
        source._answer(an_ask(statement), Course())
    assert not failed.value.is_away


def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_the_connection_serves_on(server):
    source = a_source(server, timeout_s=0.3, connections=1)
    forever = "SELECT count(*) AS value FROM generate_series(1, 1000000000) a"
    process = "SELECT pg_backend_pid() AS value"

    before, slow, after = ask(source, process, forever, process)

    assert isinstance(slow, SourceFailed)
    assert not slow.is_away
    assert str(slow).startswith("The statement took longer than 0.3 s and was ended.")
    assert before == after
    assert not isinstance(after, SourceFailed)


def test_the_deadline_holds_for_rows_that_drip(server):
    """PostgreSQL counts its timeout anew for each part of the rows; the whole has one deadline."""
    server.run(
        "CREATE OR REPLACE FUNCTION drip(n int) RETURNS int LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.001); RETURN n; END'"
    )
    source = a_source(server, timeout_s=1.0, connections=1, rows_max=100_000)

    slow, good = ask(
        source, "SELECT n, drip(n) AS value FROM generate_series(1, 100000) n", "SELECT 1 AS value"
    )

    assert isinstance(slow, SourceFailed)
    assert not slow.is_away
    assert not isinstance(good, SourceFailed)


def test_rows_are_taken_up_to_the_cap_without_making_the_others(server):
    query = "SELECT n, 1 AS value FROM generate_series(1, {}) n"

    exact, more = ask(a_source(server, rows_max=1_000), query.format(1_000), query.format(1_001))
    (endless,) = ask(
        a_source(server, rows_max=1_000),
        "SELECT 1 AS value FROM generate_series(1, 1000) a, generate_series(1, 1000) b, generate_series(1, 1000) c",
    )

    assert not isinstance(exact, SourceFailed)
    assert len(exact) == 1_000
    assert "more than 1,000 rows" in str(more)
    assert "more than 1,000 rows" in str(endless)


def test_a_wrong_password_is_not_shown(server):
    wrong = "gehe im/%41:@'\"\\"
    for url in (server.url(password=wrong), server.url() + "?password=" + quote(wrong, safe="")):
        failed = failure(Sql(SqlConfig(name="shop", url=url)), "SELECT 1 AS value")

        assert failed.is_away
        assert "password authentication failed" in str(failed)
        for secret in (wrong, quote(wrong, safe=""), PASSWORD, quote(PASSWORD, safe="")):
            assert secret not in str(failed)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "postgresql://anna:geheim@127.0.0.1:1/shop",
            "No connection to the database of 'shop': connection failed",
        ),
        ("postgresql://anna:geheim@name.invalid/shop", "No connection to the database of 'shop': "),
        ("postgresql://anna:geheim@127.0.0.1:x/shop", "cannot be asked"),
        (
            "postgresql://anna:geheim@127.0.0.1/shop?sslmode=geheim",
            "No connection to the database of 'shop': ",
        ),
    ],
)
def test_a_server_that_is_not_there_is_away(url, why):
    failed = failure(Sql(SqlConfig(name="shop", url=url, timeout_s=5)), "SELECT 1 AS value")

    assert failed.is_away
    assert why in str(failed)
    assert "geheim" not in str(failed)


def test_a_database_that_there_is_not_is_away(server):
    failed = failure(Sql(SqlConfig(name="shop", url=server.url(database="nowhere"))), "SELECT 1 AS value")

    assert failed.is_away
    assert 'database "nowhere" does not exist' in str(failed)


def test_a_server_that_takes_connections_and_says_nothing_meets_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://anna:geheim@127.0.0.1:{silent.getsockname()[1]}/shop"
        begun = time.monotonic()
        failed = failure(Sql(SqlConfig(name="shop", url=url, timeout_s=0.3)), "SELECT 1 AS value")

    assert time.monotonic() - begun < 2.5
    assert failed.is_away
    assert str(failed) == "The database of 'shop' did not answer in time (at most 0.3 s)."


def test_a_server_that_falls_silent_in_a_statement_meets_the_deadline_and_frees_its_thread(server):
    """A proxy passes everything on until it is told to stop, and then keeps its connections open."""

    async def run():
        passing = True

        async def pipe(reader, writer):
            while data := await reader.read(65_536):
                if not passing:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
            writer.close()

        async def proxy(reader, writer):
            inner, outer = await asyncio.open_connection("127.0.0.1", server.port)
            writers.extend((outer, writer))
            tasks.append(asyncio.gather(pipe(reader, outer), pipe(inner, writer), return_exceptions=True))

        tasks: list[asyncio.Future[Any]] = []
        writers: list[asyncio.StreamWriter] = []
        listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        url = server.url().replace(f":{server.port}/", f":{port}/")
        source = Sql(SqlConfig(name="shop", url=url, timeout_s=0.5, connections=1))
        answer = await source.ask(an_ask("SELECT 1 AS value"))
        passing = False
        with pytest.raises(SourceFailed) as silent:
            await source.ask(an_ask("SELECT 2 AS value"))
        passing = True
        again = await source.ask(an_ask("SELECT 3 AS value"))
        await source.close()
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        return answer, silent.value, again

    answer, silent, again = asyncio.run(run())

    assert answer[0].points[0].value == 1.0
    assert silent.is_away
    assert again[0].points[0].value == 3.0


def test_a_server_that_ends_the_session_is_away_and_asked_anew(server):
    source = a_source(server, connections=1)
    suicide = "SELECT pg_backend_pid() AS value"

    async def run():
        (series,) = await source.ask(an_ask(suicide))
        process = int(series.points[0].value)
        server.run(f"SELECT pg_terminate_backend({process}, 10000)")  # and wait for its end
        again = await source.ask(an_ask("SELECT 1 AS value"))
        await source.close()
        return again

    assert asyncio.run(run())[0].points[0].value == 1.0


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT nix AS value FROM orders", 'The statement failed: column "nix" does not exist'),
        ("SELECT 1 AS value FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 1/0 AS value", "DivisionByZero"),
        ("SELECT region::int AS value FROM orders", "InvalidTextRepresentation"),
        ("SELECT 'geheim'::int AS value", "InvalidTextRepresentation"),
        ("SELECT amount::text AS value FROM orders", "no number, but text"),
        ("SELECT ARRAY[1] AS it, 1 AS value", "'it' holds list"),
        ("SELECT '{}'::jsonb AS it, 1 AS value", "'it' holds dict"),
    ],
)
def test_what_the_statement_itself_gets_wrong_is_not_taken_for_a_server_that_is_away(server, query, why):
    failed = failure(a_source(server), query)

    assert not failed.is_away
    assert why in str(failed)
    assert "geheim" not in str(failed)
    assert "\n" not in str(failed)


def test_an_account_that_may_not_read_a_table_is_told_so(server):
    server.run("CREATE TABLE IF NOT EXISTS safe (a int)", "CREATE ROLE ben LOGIN PASSWORD 'ben'")

    failed = failure(Sql(SqlConfig(name="shop", url=server.url("ben", "ben"))), "SELECT a AS value FROM safe")

    assert not failed.is_away
    assert "permission denied for table safe" in str(failed)


def test_nothing_is_left_behind_on_the_server(server):
    ask(a_source(server), "SELECT 1 AS value", "SELECT nix AS value")

    (found,) = server.run(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tocsin' AND state <> 'idle'"
    )
    assert found == [(0,)]
