"""What holds for every SQL source: its configuration, its binds, its threads, and SQLite as the first of them."""

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sources.asking import HOUR, NOON, SECOND, an_ask, ask, at, failure, rows

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Point
from tocsin.ports import SourceFailed
from tocsin.sources.sql import Sql, SqlConfig, binds
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query

FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS value FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a shop#%41.db"
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE orders (at TEXT, region, amount)")
        made.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)",
            [
                ("2026-11-18 11:30:00", "eu", 5),
                ("2026-11-18 11:45:00", "us", 7.5),
                ("2026-11-18 11:50:00", "eu", None),
            ],
        )
    return path


def a_source(path: Path | str, **more: Any) -> Sql:
    return Sql(SqlConfig(name="shop", url=f"sqlite:///{path}", **more))


# Configuration


def test_making_a_source_neither_connects_nor_imports_what_it_needs():
    code = (
        "import sys\n"
        "from tocsin.sources.sql import Sql, SqlConfig\n"
        "for url in ('sqlite:////nowhere/x.db', 'postgresql://a:b@192.0.2.1/x', 'duckdb:////nowhere/x'):\n"
        "    Sql(SqlConfig(name='shop', url=url))\n"
        "print(sorted(name for name in ('sqlalchemy', 'sqlglot', 'duckdb', 'psycopg') if name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("given", "field", "why"),
    [
        ({"url": "geheim"}, "url", "is none"),
        ({"url": "//geheim@x/y"}, "url", "is none"),
        ({"url": "sqlite://"}, "url", "names no file"),
        ({"url": "sqlite:///:memory:"}, "url", "names no file"),
        ({"url": "sqlite+aiosqlite:///geheim"}, "url", "names the driver aiosqlite"),
        ({"url": "postgresql+psycopg2://a:geheim@b/c"}, "url", "which takes psycopg"),
        ({"url": "postgresql+asyncpg://a:geheim@b/c"}, "url", "which takes psycopg"),
        ({"url": "duckdb://"}, "files", "nothing to read"),
        ({"url": "duckdb:///:memory:"}, "files", "nothing to read"),
        ({"url": "sqlite:///geheim", "files": "/x"}, "files", "only DuckDB reads"),
        ({"url": "oracle://a:geheim@b/c"}, "trust_readonly", "keep a connection to oracle from writing"),
        ({"url": "mssql+pyodbc://a:geheim@b/c"}, "trust_readonly", "trust_readonly: true"),
        ({"timeout_s": 0}, "timeout_s", "more than 0"),
        ({"timeout_s": float("nan")}, "timeout_s", "more than 0"),
        ({"timeout_s": 301}, "timeout_s", "at most 300"),
        ({"rows_max": 0}, "rows_max", "1 to 100,000"),
        ({"rows_max": 100_001}, "rows_max", "1 to 100,000"),
        ({"connections": 0}, "connections", "1 to 32"),
        ({"name": ""}, "name", "needs a name"),
    ],
)
def test_a_wrong_configuration_is_refused_without_its_secret(given, field, why):
    with pytest.raises(Invalid, match=why) as refused:
        Sql(SqlConfig(**{"name": "shop", "url": "sqlite:///geheim.db"} | given))

    assert refused.value.field == field
    assert "geheim" not in str(refused.value)


def test_a_database_that_only_its_account_guards_is_taken_on_the_operators_word():
    assert Sql(SqlConfig(name="shop", url="oracle://a:geheim@b/c", trust_readonly=True)).kind == "sql"


@pytest.mark.parametrize("url", ["mysql+pymysql://a:geheim@b/c", "mariadb+pymysql://a:geheim@b/c"])
def test_a_driver_that_is_not_installed_is_named(url):
    failed = failure(Sql(SqlConfig(name="shop", url=url)), "SELECT 1 AS value")

    assert failed.is_away
    assert str(failed) == (
        f"The driver for {url[: url.index('+')]} is not installed (No module named 'pymysql'). Install it: pip install"
        " pymysql."
    )
    assert "geheim" not in str(failed)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "mysql://a:geheim@b/c",
            "The driver for mysql is not installed (No module named 'MySQLdb'). Install it: pip install mysqlclient. Or"
            " install pymysql, and begin the URL with mysql+pymysql://.",
        ),
        (
            "mysql+geheimsql://a:b@b/c",
            "The driver for mysql is not installed (Can't load plugin: sqlalchemy.dialects:mysql.geheimsql). SQLAlchemy"
            " knows none of this name. Correct the URL, or install the package that brings it.",
        ),
        (
            "oracle://a:geheim@b/c",
            "The driver for oracle is not installed (No module named 'oracledb'). Install it: pip install oracledb.",
        ),
    ],
)
def test_a_driver_that_is_missing_is_found_before_anybody_asks(url, why):
    source = Sql(SqlConfig(name="shop", url=url, trust_readonly=True))

    with pytest.raises(Invalid) as refused:
        source.load_driver()

    assert (str(refused.value), refused.value.field) == (why, "url")


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql://a:geheim@b/c", "psycopg", "'tocsin[postgres]'"),
        ("duckdb:////x", "duckdb", "'tocsin[duckdb]'"),
    ],
)
def test_what_tocsin_itself_brings_is_installed_by_its_extra(monkeypatch, url, module, package):
    source = Sql(SqlConfig(name="shop", url=url))
    source.load_driver()
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(Invalid, match=f"Install it: pip install {re.escape(package)}[.]$"):
        source.load_driver()


def test_sqlite_needs_no_driver():
    Sql(SqlConfig(name="shop", url="sqlite:////nowhere.db")).load_driver()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://anna:geheim@db/shop",
        "postgresql://anna:gehe%69m@db/shop",
        "postgresql://db/shop?user=anna&password=geheim",
        "mssql://anna:a@geheim@db/shop",
        "sqlite:///geheim",
    ],
)
def test_the_secret_is_in_no_repr(url):
    config = SqlConfig(name="shop", url=url, trust_readonly=True)

    for said in (repr(config), str(config), repr(Sql(config)), f"{[config]}"):
        assert "geheim" not in said
        assert "gehe%69m" not in said


def test_a_password_is_hidden_in_each_way_in_which_it_may_be_written():
    hidden = SqlConfig(name="shop", url="postgresql://anna:it%27s%2Fme@db/shop?password=zwei").hidden

    assert {"it%27s%2Fme", "it's/me", "zwei"} <= {*hidden}


# Binds


def test_each_database_gets_moments_in_its_own_types():
    ask = an_ask("", since=NOON - HOUR - 1)

    zoned, plain, text = (binds.values(ask, binds.NAMES, moments) for moments in binds.Moments)

    assert [*text.values()] == [
        "2026-11-18 10:59:59", "2026-11-18 12:00:00", 1794999599, 1795003200, "2026-11-18", "2026-11-18"
    ]  # fmt: skip
    assert plain["since"] == datetime(2026, 11, 18, 10, 59, 59, 999_999)
    assert zoned["since"] == datetime(2026, 11, 18, 10, 59, 59, 999_999, tzinfo=UTC)
    assert plain["until_date"] == zoned["until_date"] == date(2026, 11, 18)


@pytest.mark.parametrize(
    ("since", "until", "zone", "days"),
    [
        ("2026-11-17T00:00:00", "2026-11-18T00:00:00", "UTC", ("2026-11-17", "2026-11-17")),
        ("2026-11-17T00:00:00", "2026-11-18T00:00:00", "Europe/Berlin", ("2026-11-17", "2026-11-18")),
        (
            "2026-03-28T23:00:00",
            "2026-03-29T22:00:00",
            "Europe/Berlin",
            ("2026-03-29", "2026-03-29"),
        ),  # 23 hours long
        (
            "2026-10-24T22:00:00",
            "2026-10-25T23:00:00",
            "Europe/Berlin",
            ("2026-10-25", "2026-10-25"),
        ),  # 25 hours long
        ("2026-11-18T00:00:00", "2026-11-18T00:00:00.000001", "UTC", ("2026-11-18", "2026-11-18")),
        ("2026-11-17T10:00:00", "2026-11-18T10:00:00", "Pacific/Kiritimati", ("2026-11-18", "2026-11-18")),
    ],
)
def test_dates_are_those_of_the_zone_and_a_window_ends_before_its_end(since, until, zone, days):
    values = binds.values(
        an_ask("", since=at(since), until=at(until), zone=zone),
        ("since_date", "until_date"),
        binds.Moments.TEXT,
    )

    assert (*values.values(),) == days


def test_only_what_is_named_is_given():
    assert binds.values(an_ask(""), ("until_epoch",), binds.Moments.ZONED) == {"until_epoch": NOON // SECOND}


# SQLite


def test_a_window_is_asked_for_by_its_binds(path):
    query = "SELECT at, region, amount AS value FROM orders WHERE at >= :since AND at < :until"

    (answer,) = ask(a_source(path), query)

    assert [(series.labels, series.points) for series in answer] == [
        ({"region": "eu"}, (Point(at("2026-11-18T11:30:00"), 5.0),)),
        ({"region": "us"}, (Point(at("2026-11-18T11:45:00"), 7.5),)),
    ]


def test_a_colon_in_a_text_and_a_percent_sign_stay_as_they_are(path):
    query = "SELECT ':since' AS a, '10%s' AS b, '\\:until' AS c, 'x' LIKE 'x%' AS value"

    assert rows(a_source(path), query) == [({"a": ":since", "b": "10%s", "c": "\\:until"}, 1.0)]


@pytest.mark.parametrize("text", ["'; DROP TABLE orders; --", "ä🎺\u202e", "a\nb", "<script>", "%(since)s"])
def test_hostile_text_is_a_label_like_any_other(path, text):
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("INSERT INTO orders VALUES ('2026-11-18 11:55:00', ?, 1)", (text,))

    query = "SELECT region, sum(amount) AS value FROM orders WHERE at > '2026-11-18 11:52' GROUP BY 1"
    assert rows(a_source(path), query) == [({"region": text}, 1.0)]


def test_text_that_is_no_utf8_is_neither_an_error_nor_quoted(path):
    assert rows(a_source(path), "SELECT CAST(x'67ff' AS TEXT) AS it, 1 AS value") == [
        ({"it": "g\ufffd"}, 1.0)
    ]


def test_a_file_that_is_missing_is_an_error_and_is_not_made(tmp_path):
    failed = failure(a_source(tmp_path / "geheim.db"), "SELECT 1 AS value")

    assert failed.is_away
    assert str(failed) == "The database file of 'shop' is not there."
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_replaced_is_read_anew(path):
    """As a nightly export does it: the new one is made beside the old one, and gets its name."""
    source = a_source(path)
    query = "SELECT count(*) AS value FROM orders"

    async def run():
        before = await source.ask(an_ask(query))
        with contextlib.closing(sqlite3.connect(path.with_name("new.db"))) as made, made:
            made.execute("CREATE TABLE orders (at TEXT)")
        path.with_name("new.db").replace(path)
        after = await source.ask(an_ask(query))
        path.unlink()
        with pytest.raises(SourceFailed) as gone:
            await source.ask(an_ask(query))
        await source.close()
        return before[0].points[0].value, after[0].points[0].value, gone.value

    before, after, gone = asyncio.run(run())

    assert (before, after) == (3.0, 0.0)
    assert gone.is_away
    assert str(gone) == "The database file of 'shop' is not there."


def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "x.db").write_text("geheim" * 1_000)

    failed = failure(a_source(tmp_path / "x.db"), "SELECT 1 AS value")

    assert failed.is_away
    assert str(failed) == "No connection to the database of 'shop': file is not a database."


def bare(source: Sql, text: str, values: Mapping[str, Any] | None = None) -> Any:
    """Ask past the second fence."""
    return source._reader.read(Query((text,)), dict(values or {}), Course())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (1, 2, 3)",
        "UPDATE orders SET amount = 0",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "DROP TABLE orders",
        "ATTACH '{folder}/new.db' AS x",
        "VACUUM INTO '{folder}/new.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version = 7",
        "SELECT load_extension('x') AS value",
        "SELECT 1 AS value; DELETE FROM orders",
        "REINDEX",
    ],
)
def test_sqlite_itself_refuses_to_write_when_the_second_fence_is_gone(path, statement):
    before = path.read_bytes()
    source = a_source(path)

    with pytest.raises(SourceFailed):
        bare(source, statement.format(folder=path.parent))
    assert bare(source, "SELECT count(*) AS value FROM orders") == (["value"], [(3,)])
    assert bare(source, "PRAGMA query_only") == (["query_only"], [(1,)])

    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    "statement", ["DELETE FROM orders", "ATTACH 'x' AS x", "SELECT 1 AS value; DELETE FROM orders"]
)
def test_the_second_fence_refuses_to_write_before_sqlite_is_asked(path, statement):
    source = a_source(path)
    source._reader = None  # type: ignore[assignment]

    with pytest.raises(Invalid):
        source.check(statement)
    assert not failure_without_reader(source, statement).is_away


def failure_without_reader(source: Sql, statement: str) -> SourceFailed:
    with pytest.raises(SourceFailed) as failed:
        source._answer(an_ask(statement), Course())
    return failed.value


def test_a_text_that_grows_without_end_is_not_made(path):
    failed = failure(a_source(path), "SELECT length(zeroblob(2000000000)) AS value")

    assert not failed.is_away
    assert "DataError" in str(failed)


def test_a_statement_that_takes_too_long_is_ended_and_its_connection_serves_on(path):
    source = a_source(path, timeout_s=0.2, connections=1)

    slow, good = ask(source, FOREVER, "SELECT 1 AS value")

    assert isinstance(slow, SourceFailed)
    assert not slow.is_away
    assert str(slow).startswith("The statement took longer than 0.2 s and was ended.")
    assert not isinstance(good, SourceFailed)


def test_the_loop_runs_on_while_a_statement_does(path):
    async def run():
        source = a_source(path, timeout_s=0.3)
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(SourceFailed):
            await source.ask(an_ask(FOREVER))
        ticking.cancel()
        await source.close()
        return ticks

    assert asyncio.run(run()) >= 3


def test_who_finds_no_free_connection_in_time_is_told_that_nobody_answers(path):
    async def run():
        source = a_source(path, timeout_s=0.3, connections=1)
        first, second = await asyncio.gather(
            source.ask(an_ask(FOREVER)), source.ask(an_ask("SELECT 1 AS value")), return_exceptions=True
        )
        await source.close()
        return first, second

    first, second = asyncio.run(run())

    assert not first.is_away
    assert second.is_away
    assert str(second) == "The database of 'shop' did not answer in time (at most 0.3 s)."


def test_a_question_that_nobody_waits_for_any_more_is_ended(path):
    async def run():
        source = a_source(path, timeout_s=60, connections=1)
        asking = asyncio.create_task(source.ask(an_ask(FOREVER)))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait([asking])
        answer = await asyncio.wait_for(source.ask(an_ask("SELECT 1 AS value")), 10)
        await source.close()
        return asking.cancelled(), answer

    cancelled, answer = asyncio.run(run())

    assert cancelled
    assert len(answer) == 1


def test_closing_ends_what_still_runs(path):
    async def run():
        source = a_source(path, timeout_s=60)
        asking = asyncio.create_task(source.ask(an_ask(FOREVER)))
        await asyncio.sleep(0.1)
        await source.close()
        with pytest.raises(SourceFailed):
            await asyncio.wait_for(asking, 10)

    asyncio.run(run())


def test_rows_are_taken_up_to_the_cap_and_not_beyond(path):
    query = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {}) SELECT x, 1 AS value FROM n"
    )

    exact, more, endless = ask(
        a_source(path, rows_max=600, timeout_s=5),
        query.format(600),
        query.format(601),
        query.format(2_000_000_000),
    )

    assert not isinstance(exact, SourceFailed)
    assert len(exact) == 600
    for failed in (more, endless):
        assert isinstance(failed, SourceFailed)
        assert not failed.is_away
        assert (
            str(failed) == "The answer has more than 600 rows. Group them, or raise rows_max of the source."
        )


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT amount FROM orders", "No column is called `value`. There are: amount."),
        ("SELECT region AS value FROM orders", "no number, but text"),
        ("SELECT amount AS value FROM orders", "no labels, and no column `at`"),
        ("SELECT amount AS value, 1.5 AS rate FROM orders", "'rate' holds a number with fractions"),
        ("SELECT nix AS value FROM orders", "no such column: nix"),
        ("SELECT 1 AS value FROM nowhere", "no such table: nowhere"),
        ("SELECT nofunction(1) AS value", "no such function: nofunction"),
    ],
)
def test_an_answer_that_is_no_series_is_refused_with_what_to_do(path, query, why):
    failed = failure(a_source(path), query)

    assert not failed.is_away
    assert why in str(failed)


def test_data_is_not_quoted_in_errors(path):
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("INSERT INTO orders VALUES ('geheim', 'geheim', 'geheim')")

    for query in (
        "SELECT amount AS value FROM orders ORDER BY 1 DESC",
        "SELECT at, 1 AS value, rowid FROM orders ORDER BY at DESC",
    ):
        assert "geheim" not in str(failure(a_source(path), query))


def test_a_database_that_another_writes_is_read(path):
    source = a_source(path)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO orders VALUES ('2026-11-18 11:55:00', 'eu', 1)")

        assert rows(source, "SELECT count(*) AS value FROM orders") == [({}, 3.0)]
        writer.commit()
        assert rows(source, "SELECT count(*) AS value FROM orders") == [({}, 4.0)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "SELECT at, region, amount AS value FROM orders",
            "2 rows came and all lie outside the window. Name it in the query: WHERE at >= :since_epoch AND at <"
            " :until_epoch.",
        ),
        ("SELECT at, region, amount AS value FROM orders WHERE at < :until AND :since > ''", ""),
        ("SELECT at, region, amount AS value FROM orders WHERE amount > 100", ""),
        ("SELECT region, amount AS value FROM orders WHERE amount > 5", ""),
    ],
)
def test_a_query_that_names_no_window_and_finds_nothing_in_it_is_told_so(path, query, said):
    later = an_ask(query, since=NOON, until=NOON + HOUR)

    (answer,) = ask(a_source(path), later)

    assert (str(answer) if isinstance(answer, SourceFailed) else "") == said
    assert not getattr(answer, "is_away", False)
