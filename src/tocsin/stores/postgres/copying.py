"""Copying: reads all that is stored in a database beside the nodes that write it, for one thread, and writes nothing.

A copy is one instant of the ledger: its rows are read in one snapshot. Nobody waits for it; but PostgreSQL cannot
clean up what is changed meanwhile.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tocsin.core.model.errors import NotFound
from tocsin.ports import StoreRefused
from tocsin.stores.postgres.beside import LedgerReader
from tocsin.stores.postgres.connecting import connect, database_name, told
from tocsin.stores.postgres.dialect import in_postgres
from tocsin.stores.postgres.preparing import SCHEMA_VERSION, schema_of
from tocsin.stores.tables.asking import Question
from tocsin.stores.tables.reading import Reading

RESTORED = "restored"
"""The secret that says from which backup a database was filled, until the ledger says so."""

NOT_COPIED = {"meta": ("schema", "oldest", f"secret:{RESTORED}")}
"""Rows that belong to this one database, by their first column."""

OPTIONS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "repeatable\\ read",
    # Whatever the role is given: a copy of a large database may take its time.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class StoreReader(Reading):
    """All that is stored in a database. Raises: NotFound if it has no ledger; StoreRefused, StoreFailed."""

    def __init__(self, url: str) -> None:
        LedgerReader(url).close()  # It says what is wrong with a database that is not this program's.
        self._name = database_name(url)
        with self._told():
            self._connection = connect(url, called="tocsin beside", settings=OPTIONS)

    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        with self._told(), self._connection.transaction():
            return [
                self._connection.execute(in_postgres(sql).encode(), bindings, binary=True).fetchall()
                for sql, bindings in questions
            ]

    def _bytes(self) -> dict[str, int]:
        return {"bytes": self._ask("SELECT pg_database_size(current_database())")[0][0]}

    def copy_bytes(self) -> int:
        """Say about how large a copy would be. What PostgreSQL compresses is counted as it is without."""
        ((size,),) = self._ask(
            "SELECT CAST((SELECT coalesce(sum(octet_length(data)), 0) FROM segments) + "
            "(SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' "
            "AND relname <> 'segments' AND relnamespace = to_regnamespace(current_schema())) AS BIGINT)"
        )
        return int(size)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold all as it is now; what is asked meanwhile is answered from that.

        Raises: StoreRefused if the tables are not just those that this program makes, so that a copy would lack some.
        """
        with self._told(), self._connection.transaction():
            schema = schema_of(self._connection)  # With the first question the snapshot is taken.
            if schema.version != SCHEMA_VERSION:
                raise StoreRefused(
                    f"{self._name} has schema {schema.version}, and this program copies {SCHEMA_VERSION}. Use the "
                    "Tocsin that wrote it, or start a node of this one once."
                )
            yield

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a table by its first column, these columns of each; one after the other, as they come."""
        kinds = dict(
            self._ask(
                "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns "
                "WHERE table_schema = current_schema() AND table_name = ?",
                table,
            )
        )
        asked = f"COPY (SELECT {', '.join(columns)} FROM {table} ORDER BY 1) TO STDOUT (FORMAT BINARY)"
        left_out = NOT_COPIED.get(table, ())
        with self._told(), self._connection.cursor().copy(asked.encode()) as copy:
            copy.set_types([kinds[column] for column in columns])
            for row in copy.rows():
                if row[0] not in left_out:
                    yield row

    def close(self) -> None:
        """Let the database go."""
        self._connection.close()

    def _told(self) -> AbstractContextManager[None]:
        return told(self._name, "cannot be read")


def is_empty(url: str) -> bool:
    """Say whether a database holds nothing of a Tocsin's yet. Raises: StoreRefused, StoreFailed."""
    try:
        reader = StoreReader(url)
    except NotFound:
        return True
    try:
        return holds_nothing(reader)
    finally:
        reader.close()


def holds_nothing(store: Reading) -> bool:
    """Say whether a store was made, and nothing was put in yet."""
    return not (store.head().size or store.tokens() or store.secret("id_key"))
