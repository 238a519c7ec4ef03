"""Filling: all rows of another store, put into an empty one at once or not at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from tocsin.core.ledger.verify import Damaged, verify
from tocsin.ports import Head, StoreFailed, StoreRefused
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.connecting import said
from tocsin.stores.postgres.copying import holds_nothing
from tocsin.stores.postgres.dialect import adapt
from tocsin.stores.postgres.preparing import SCHEMA_VERSION, schema_of

OF_NODES = ("changes", "nodes", "owned")
"""Tables that an embedded store does not have."""

Rows = Callable[[str, Sequence[str]], Iterator[tuple[Any, ...]]]
"""Gives the rows of a table, with these columns."""


def fill(
    url: str, rows: Rows, told: Callable[[str], None], secrets: Mapping[str, bytes] | None = None
) -> Head:
    """Put all rows into a database that holds nothing yet, and verify its ledger. told: is given each table's name.

    secrets: what is put in besides, by name.
    Returns: where the ledger ends. Raises: StoreRefused if there is something already; StoreFailed; Damaged if what
    arrived is not sound; drop the database then.
    """
    store = PostgresStore(url, node_id="migration")
    try:
        if not holds_nothing(store):
            raise StoreRefused(
                "The database holds a Tocsin's data already. Name an empty one, or drop and create it."
            )
        with psycopg.connect(url) as connection:
            if schema_of(connection).version != SCHEMA_VERSION:
                raise StoreRefused(
                    "The database has the tables of a newer Tocsin. Migrate with that one, or drop and create it."
                )
            try:
                _copy(connection, rows, told)
                for name, value in (secrets or {}).items():
                    connection.execute("INSERT INTO meta VALUES (%s, %s)", (f"secret:{name}", value))
            except psycopg.Error as error:
                raise StoreFailed(f"The database took nothing: {said(error)}") from error
        head = store.head()
        told("verifying")
        verdict = verify(store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)
        if not verdict.is_sound:
            raise Damaged(f"entry {verdict.bad_seq}: {verdict.what}")
        return head
    finally:
        store.close()


def _copy(connection: psycopg.Connection[Any], rows: Rows, told: Callable[[str], None]) -> None:
    adapt(connection)
    columns: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
    ):
        if table not in OF_NODES and (table, column) != ("head", "turn"):
            columns.setdefault(table, []).append(column)
    connection.execute("LOCK TABLE head")
    connection.execute("DELETE FROM head")
    # Of a first start that came no further than the keys.
    connection.execute("DELETE FROM meta WHERE key LIKE 'secret:%'")
    for table, names in columns.items():
        told(table)
        with connection.cursor().copy(f"COPY {table} ({', '.join(names)}) FROM STDIN".encode()) as copy:
            for row in rows(table, names):
                copy.write_row(row)
    connection.execute("ANALYZE")
