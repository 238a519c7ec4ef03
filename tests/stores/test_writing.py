"""Writing to PostgreSQL: what is said for many rows at once does what it does for each of them."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.support.databases import a_database

from tocsin.stores.postgres.connecting import Connection
from tocsin.stores.postgres.dialect import adapt, in_postgres
from tocsin.stores.postgres.writing import columns_of, run_many
from tocsin.stores.tables.asking import add, insert, put

TABLE = """
CREATE TABLE things (
    number BIGINT PRIMARY KEY, name TEXT, body BYTEA, n BIGINT NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT 'none'
)
"""
"""The last column is one that a newer release added."""
UPDATE = "UPDATE things SET name = ?2, body = coalesce(?3, body), n = ?4 WHERE number = ?1"
HOSTILE = ("", "a\0b", "'; DROP TABLE things", '{"a",NULL}', "\\x00", "\ue000", "\u202edrow", "NULL")


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    with psycopg.connect(a_database(), autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        adapt(connection)
        yield connection


@pytest.fixture(autouse=True)
def table(connection: Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS things")
    connection.execute(TABLE)


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT number, name, body, n FROM things ORDER BY number").fetchall()


def one_by_one(connection: Connection, sql: str, given: list[tuple[Any, ...]]) -> None:
    for row in given:
        connection.execute(in_postgres(sql).encode(), row)


INSERT = insert("things", "number", "name", "body", "n")
KNOWN = [(1, "one", b"1", 1), (2, "two", b"2", 2), (3, "three", b"3", 3)]


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        (INSERT, [(number, text, text.encode(), number) for number, text in enumerate(HOSTILE, 10)]),
        (INSERT, [(10, None, None, 0), (11, None, None, 0)]),
        (INSERT, [(10, None, b"", 0), (11, "a", None, -1)]),
        (put("things", "number", "name", "body", "n"), [(2, "new", None, 9), (4, None, b"", 4)]),
        (put("things", "number", "name", "body", "n"), [(2, "first", b"", 1), (2, "last", b"", 2)]),
        (add("things", "number, name, body"), [(4, "a", b"", 5), (5, "b", b"", -5)]),
        (UPDATE, [(1, "a\0", None, 9), (3, None, b"new", 8), (99, "nobody", b"", 0)]),
        (UPDATE, [(1, "first", b"1", 1), (1, "last", None, 2)]),
        (UPDATE, [(1, None, None, 0), (2, None, None, 0)]),
        ("UPDATE things SET n = ? WHERE number = ?", [(7, 1), (8, 2)]),
        ("DELETE FROM things WHERE number = ?", [(1,), (3,)]),
    ],
)
def test_many_rows_become_what_each_of_them_would(
    connection: Connection, sql: str, given: list[tuple[Any, ...]]
) -> None:
    if "ON CONFLICT (number, name, body)" in sql:
        connection.execute(
            "ALTER TABLE things DROP CONSTRAINT things_pkey, ADD PRIMARY KEY (number, name, body)"
        )
    one_by_one(connection, INSERT, KNOWN)
    one_by_one(connection, sql, given)
    expected = rows(connection)
    connection.execute("TRUNCATE things")
    one_by_one(connection, INSERT, KNOWN)

    run_many(connection, columns_of(connection), sql, given)

    assert rows(connection) == expected


def test_an_insert_of_many_fails_on_a_number_that_is_there(connection: Connection) -> None:
    one_by_one(connection, INSERT, KNOWN)
    with pytest.raises(psycopg.errors.UniqueViolation):
        run_many(connection, columns_of(connection), INSERT, [(9, "nine", b"", 9), (2, "again", b"", 2)])
    assert rows(connection) == KNOWN
