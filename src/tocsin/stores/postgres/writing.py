"""Writing: how the statements of a batch reach PostgreSQL: all rows of a statement at once, as one array a column.

A statement a row costs both sides as much as the row itself; an array costs them next to nothing.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tocsin.stores.postgres.connecting import Connection
from tocsin.stores.postgres.dialect import in_postgres

Columns = Mapping[str, Mapping[str, str]]
"""Table -> column -> type."""

_INSERT = re.compile(r"INSERT INTO (\w+) \(([\w, ]+)\) VALUES \([?, ]+\)( ON CONFLICT \(([\w, ]+)\).*)?")
_UPDATE = re.compile(r"UPDATE (\w+) SET (.*) WHERE (\w+) = \?1")
_GIVEN = re.compile(r"\?(\d+)")
_COLUMN = re.compile(r"(\w+) = (?:coalesce\()?\?(\d+)")


class _Bulk(NamedTuple):
    """A statement for many rows. key: how many of its first values tell them apart, 0 if it does not matter."""

    sql: bytes
    key: int


def columns_of(connection: Connection) -> Columns:
    """Ask of which type each column is."""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in connection.execute(
        b"SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT), format_type(a.atttypid, NULL) "
        b"FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        b"WHERE c.relkind = 'r' AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE) "
        b"AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum"
    ):
        found.setdefault(table, {})[column] = type_
    return found


def run_many(connection: Connection, columns: Columns, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement for each of its rows, in their order where that could matter."""
    if len(rows) == 1:
        connection.execute(in_postgres(sql).encode(), rows[0])
        return
    bulk = _bulk(sql, columns)
    if bulk is None or (bulk.key and len({row[: bulk.key] for row in rows}) < len(rows)):
        with connection.cursor() as cursor:
            cursor.executemany(in_postgres(sql).encode(), rows)
        return
    connection.execute(bulk.sql, [list(values) for values in zip(*rows, strict=True)])


def _bulk(sql: str, columns: Columns) -> _Bulk | None:
    """Say for many rows what is said for one; None if this cannot."""
    if insert := _INSERT.fullmatch(sql):
        return _insert(sql, tuple(columns[insert[1]].items()))
    if update := _UPDATE.fullmatch(sql):
        return _update(sql, tuple(columns[update[1]].items()))
    return None


@lru_cache(maxsize=100)
def _insert(sql: str, columns: Sequence[tuple[str, str]]) -> _Bulk:
    insert = _INSERT.fullmatch(sql)
    assert insert is not None
    table, names, conflict, key = insert.groups()
    types = dict(columns)
    arrays = _arrays([types[name] for name in names.split(", ")])
    said = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){conflict or ''}"
    return _Bulk(said.encode(), len(key.split(",")) if key else 0)


@lru_cache(maxsize=100)
def _update(sql: str, columns: Sequence[tuple[str, str]]) -> _Bulk:
    update = _UPDATE.fullmatch(sql)
    assert update is not None
    table, changes, key = update.groups()
    types = {int(number): dict(columns)[name] for name, number in _COLUMN.findall(f"{key} = ?1, {changes}")}
    names = ", ".join(f"given{number}" for number in sorted(types))
    changes = _GIVEN.sub(r"given\1", changes)
    said = (
        f"UPDATE {table} SET {changes} "
        f"FROM unnest({_arrays([types[number] for number in sorted(types)])}) AS given ({names}) "
        f"WHERE {table}.{key} = given1"
    )
    return _Bulk(said.encode(), 1)


def _arrays(types: Sequence[str]) -> str:
    return ", ".join(f"CAST(${number} AS {type_}[])" for number, type_ in enumerate(types, 1))
