"""DuckDB reads the files of one folder, or one database file, and is kept from everything else."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.sources.asking import HOUR, NOON, an_ask, ask, at, failure, rows

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Point
from tocsin.ports import SourceFailed
from tocsin.sources.sql import Sql, SqlConfig
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query, look

ORDERS = "at,region,amount\n2026-11-18 11:30:00,eu,5\n2026-11-18 11:45:00,us,7.5\n2026-11-18 11:50:00,eu,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files, beside what nobody shall read."""
    folder = tmp_path / "it's data"
    (folder / "2026").mkdir(parents=True)
    (folder / "orders.csv").write_text(ORDERS)
    (folder / "2026" / "a.csv").write_text("region,amount\neu,1\n")
    (folder / "2026" / "b.csv").write_text("region,amount\nus,2\n")
    (folder / "semicolons.csv").write_text("region;amount\neu;1,5\n")
    (tmp_path / "secret.csv").write_text("amount\n42\n")
    with duckdb.connect() as made:
        made.read_csv(str(folder / "orders.csv")).write_parquet(str(folder / "orders.parquet"))
    return folder


def a_source(folder: Path | str, **more: Any) -> Sql:
    return Sql(SqlConfig(**{"name": "shop", "url": "duckdb://", "files": str(folder)} | more))


def bare(source: Sql, text: str, values: Mapping[str, Any] | None = None) -> Any:
    """Ask past the second fence."""
    return source._reader.read(Query((text,)), dict(values or {}), Course())


@pytest.mark.parametrize(
    "table",
    [
        "'orders.csv'",
        '"orders.csv"',
        "'orders.parquet'",
        "read_csv('orders.csv')",
        "read_parquet('orders.parquet')",
    ],
)
def test_a_window_of_a_file_is_asked_for(folder, table):
    query = f'SELECT "at", region, amount AS value FROM {table} WHERE "at" >= :since AND "at" < :until'

    (answer,) = ask(a_source(folder), query)

    assert [(series.labels, series.points) for series in answer] == [
        ({"region": "eu"}, (Point(at("2026-11-18T11:30:00"), 5.0),)),
        ({"region": "us"}, (Point(at("2026-11-18T11:45:00"), 7.5),)),
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT region, sum(amount) AS value FROM '2026/*.csv' GROUP BY region ORDER BY 1", [("eu", 1.0), ("us", 2.0)]),
        ("SELECT region, amount AS value FROM read_csv(['2026/a.csv', '2026/b.csv'])", [("eu", 1.0), ("us", 2.0)]),
        ("SELECT region, amount AS value FROM read_csv('semicolons.csv', delim = ';', decimal_separator = ',')", [("eu", 1.5)]),
        ("FROM '2026/a.csv' SELECT region, amount AS value", [("eu", 1.0)]),
        (
            "SELECT a.region, a.amount + sum(o.amount) AS value FROM '2026/a.csv' a JOIN 'orders.csv' o USING (region)"
            " GROUP BY a.region, a.amount",
            [("eu", 6.0)],
        ),
        ("SELECT 'orders.csv' AS region, :until_epoch - :since_epoch AS value FROM '2026/a.csv'", [("orders.csv", 3600.0)]),
        ("SELECT uuid() IS NOT NULL AS region, 2::HUGEINT AS value", [("true", 2.0)]),
    ],
)  # fmt: skip
def test_files_are_asked_in_duckdbs_own_ways(folder, query, said):
    assert [(labels["region"], value) for labels, value in rows(a_source(folder), query)] == said


def test_new_rows_of_a_file_are_seen(folder):
    source = a_source(folder)
    query = "SELECT count(*) AS value FROM 'orders.csv'"

    assert rows(source, query) == [({}, 3.0)]
    (folder / "orders.csv").write_text(ORDERS + "2026-11-18 11:55:00,eu,1\n")
    assert rows(source, query) == [({}, 4.0)]


def test_times_with_a_zone_are_taken(folder):
    asked = an_ask(
        "SELECT TIMESTAMPTZ '2026-11-18 12:30:00+01' AS time, DATE '2026-11-18' AS day, 1 AS value"
    )

    (answer,) = ask(a_source(folder), asked)

    assert [(series.labels, series.points[0].at) for series in answer] == [
        ({"day": "2026-11-18"}, NOON - HOUR // 2)
    ]


STATEMENTS = [
    "COPY (SELECT 1) TO '{folder}/new.csv'",
    "SELECT 1 AS value; COPY (SELECT 1) TO '{folder}/new.csv'",
    "COPY (SELECT 1) TO '{folder}/../new.csv'",
    "ATTACH '{folder}/new.duckdb' AS new",
    "EXPORT DATABASE '{folder}/new'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET threads = 8",
    "CREATE TABLE x (y INT)",
    "CALL pragma_version()",
    "PRAGMA database_list",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('{folder}/../secret.csv')",
    "SELECT * FROM '{folder}/../secret.csv'",
    "SELECT * FROM '../secret.csv'",
    "SELECT * FROM read_csv('/etc/pass' || 'wd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM 'https://127.0.0.1:1/x.csv'",
    "SELECT * FROM statements",  # a variable of the code that asks
    "SELECT getenv('HOME')",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_duckdb_itself_stays_in_its_folder_and_writes_nothing_when_the_second_fence_is_gone(
    folder, statement
):
    before = sorted(folder.parent.rglob("*"))

    with pytest.raises(SourceFailed) as failed:
        bare(a_source(folder), statement.format(folder=str(folder).replace("'", "''")))

    assert not failed.value.is_away
    assert sorted(folder.parent.rglob("*")) == before
    assert "42" not in str(failed.value)
    assert str(folder) not in str(failed.value)


@pytest.mark.parametrize("statement", [one for one in STATEMENTS if "FROM statements" not in one])
def test_the_second_fence_refuses_the_same_before_duckdb_is_asked(folder, statement):
    source = a_source(folder)
    source._reader = None  # type: ignore[assignment]

    with pytest.raises(SourceFailed) as failed:
        source._answer(an_ask(statement.format(folder="/data")), Course())
    assert not failed.value.is_away


def test_what_the_first_fence_lets_through_is_read(folder):
    """Without the second fence a good query passes, so the refusals above are not for another reason."""
    assert bare(a_source(folder), "SELECT 1 AS value") == (["value"], [(1,)])
    assert a_source(folder)._reader.read(look("SELECT amount FROM '2026/a.csv'", "duckdb"), {}, Course())[
        1
    ] == [(1,)]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT amount AS value FROM 'gone.csv'", "No files found"),
        ("SELECT nix AS value FROM 'orders.csv'", 'Referenced column "nix" not found'),
        ("SELECT 1 AS value FROM nowhere", "Table with name nowhere does not exist"),
        ("SELECT region::INT AS value FROM 'orders.csv'", "ConversionException"),
        ("SELECT error('geheim') AS value", "InvalidInputException"),
        ("SELECT [1] AS it, 1 AS value", "'it' holds list"),
        ("SELECT at FROM 'orders.csv'", "a word that DuckDB reserves"),
    ],
)
def test_what_the_statement_gets_wrong_is_not_taken_for_files_that_are_away(folder, query, why):
    failed = failure(a_source(folder), query)

    assert not failed.is_away
    assert any(one in str(failed) for one in why.split("|")), failed
    assert "geheim" not in str(failed)
    assert str(folder) not in str(failed)
    assert "\n" not in str(failed)


def test_a_folder_or_a_database_that_is_not_there_is_away_and_not_made(tmp_path):
    for more in (
        {"files": str(tmp_path / "geheim")},
        {"files": "", "url": f"duckdb:///{tmp_path / 'geheim.duckdb'}"},
    ):
        failed = failure(a_source("", **more), "SELECT 1 AS value")

        assert failed.is_away
        assert "is not there" in str(failed)
        assert "geheim" not in str(failed)
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_no_database_is_away(tmp_path):
    (tmp_path / "geheim.duckdb").write_text("geheim" * 10_000)

    failed = failure(a_source("", url=f"duckdb:///{tmp_path / 'geheim.duckdb'}"), "SELECT 1 AS value")

    assert failed.is_away
    assert "geheim" not in str(failed)


def test_a_database_file_is_read_and_may_be_written_by_others_in_between(tmp_path):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(path) as made:
        made.execute(
            "CREATE SCHEMA eu; CREATE TABLE eu.orders AS SELECT 1 AS amount; CREATE TABLE orders AS SELECT 2 AS amount"
        )
    source = a_source("", url=f"duckdb:///{path}")

    assert rows(source, "SELECT amount AS value FROM orders") == [({}, 2.0)]
    assert rows(source, "SELECT amount AS value FROM eu.orders") == [({}, 1.0)]
    with duckdb.connect(path) as made:
        made.execute("UPDATE orders SET amount = 3")
    assert rows(source, "SELECT amount AS value FROM shop.main.orders") == [({}, 3.0)]
    for statement in (
        "DELETE FROM orders",
        "SELECT 1; DELETE FROM orders",
        "DROP TABLE orders",
        f"SELECT * FROM read_text('{path}')",
    ):
        with pytest.raises(SourceFailed):
            bare(source, statement)
    assert rows(source, "SELECT count(*) AS value FROM orders") == [({}, 1.0)]


def test_a_database_file_that_is_replaced_is_read_anew(tmp_path):
    path = tmp_path / "shop.duckdb"
    source = a_source("", url=f"duckdb:///{path}")
    query = "SELECT amount AS value FROM orders"

    async def run():
        values = []
        for amount in (1, 2):
            with duckdb.connect(tmp_path / "new.duckdb") as made:
                made.execute(f"CREATE TABLE orders AS SELECT {amount} AS amount")
            (tmp_path / "new.duckdb").replace(path)
            values.append((await source.ask(an_ask(query)))[0].points[0].value)
        path.unlink()
        with pytest.raises(SourceFailed, match="is not there") as gone:
            await source.ask(an_ask(query))
        await source.close()
        return values, gone.value

    values, gone = asyncio.run(run())

    assert values == [1.0, 2.0]
    assert gone.is_away


BARE = [
    "SELECT at, amount AS value FROM 'orders.csv'",
    "SELECT amount AS value FROM 'orders.csv' WHERE at >= :since AND at < :until",
    "SELECT AT, amount AS value FROM 'orders.csv'",
    "SELECT at::DATE AS day, 1 AS value FROM 'orders.csv'",
    "SELECT count(*) AS value FROM 'orders.csv' GROUP BY at",
    "SELECT max(at) AS value FROM 'orders.csv'",
    "SELECT amount AS value, 'x' at FROM 'orders.csv'",
    "WITH t(at) AS (SELECT 1) SELECT 1 AS value FROM t",
    "SELECT * EXCLUDE (at), 1 AS value FROM 'orders.csv'",
]


@pytest.mark.parametrize("query", BARE)
def test_a_bare_at_is_refused_when_the_rule_is_written_because_duckdb_reserves_the_word(folder, query):
    with pytest.raises(SourceFailed, match="syntax error"):
        bare(a_source(folder), query.replace(":since", "1").replace(":until", "2"))

    with pytest.raises(Invalid) as refused:
        look(query, "duckdb")

    assert str(refused.value) == (
        'The query has a bare `at` at line 1, a word that DuckDB reserves. Put it in quotes: "at".'
    )


@pytest.mark.parametrize(
    "query",
    [
        """SELECT o.at, o."at" AS at, o.amount AS value FROM 'orders.csv' o""",
        "SELECT (TIMESTAMPTZ '2026-11-18 12:00:00Z' AT TIME ZONE 'UTC') AS t, 1 AS value",
        "SELECT struct_pack(at := 1).at AS value",
        "SELECT 'at' AS a, 1 AS value -- at",
    ],
)
def test_an_at_that_duckdb_takes_is_taken(folder, query):
    look(query, "duckdb")

    bare(a_source(folder), query.replace("'orders.csv'", '(SELECT 1 AS amount, 2 AS "at")'))


def test_other_databases_reserve_no_at():
    for database in ("sqlite", "postgresql", "mysql"):
        look("SELECT at, amount AS value FROM orders", database)


def test_a_statement_that_takes_too_long_is_ended_and_the_next_one_served(folder):
    source = a_source(folder, timeout_s=0.4, connections=1)

    slow, good = ask(source, "SELECT count(*) AS value FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 7",
                     "SELECT 1 AS value")  # fmt: skip

    assert isinstance(slow, SourceFailed)
    assert not slow.is_away
    assert str(slow).startswith("The statement took longer than 0.4 s and was ended.")
    assert not isinstance(good, SourceFailed)


def test_a_statement_that_wants_too_much_memory_is_ended(folder):
    failed = failure(
        a_source(folder, timeout_s=30), "SELECT count(DISTINCT hash(range)) AS value FROM range(1000000000)"
    )

    assert not failed.is_away
    assert "Out of Memory" in str(failed)


def test_rows_are_taken_up_to_the_cap(folder):
    source = a_source(folder, rows_max=600)

    exact, more = ask(
        source,
        "SELECT range, 1 AS value FROM range(600)",
        "SELECT range, 1 AS value FROM range(1000000000000)",
    )

    assert not isinstance(exact, SourceFailed)
    assert len(exact) == 600
    assert "more than 600 rows" in str(more)


def test_hostile_text_is_a_label_like_any_other(folder):
    texts = ["'; DROP TABLE orders; --", "ä🎺", '"', "$since"]
    (folder / "hostile.csv").write_text(
        "region,amount\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}",1\n' for text in texts)
    )

    found = rows(
        a_source(folder),
        "SELECT region, amount AS value FROM read_csv('hostile.csv', quote = '\"', escape = '\"', header = true)",
    )

    assert sorted(labels["region"] for labels, _ in found) == sorted(texts)


def test_many_ask_at_once(folder):
    async def run():
        source = a_source(folder, connections=4)
        answers = await asyncio.gather(
            *(source.ask(an_ask(f"SELECT {n} AS value, count(*) AS it FROM 'orders.csv'")) for n in range(20))
        )
        await source.close()
        return [answer[0].points[0].value for answer in answers]

    assert asyncio.run(run()) == [*range(20)]
