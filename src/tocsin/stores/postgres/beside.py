"""Beside: reads the ledger on a PostgreSQL beside the nodes that write it, and writes nothing."""

from typing import Any

from tocsin.core.model.errors import NotFound
from tocsin.ports import StoreRefused
from tocsin.stores.postgres.connecting import connect, database_name, told
from tocsin.stores.postgres.dialect import in_postgres
from tocsin.stores.postgres.preparing import SCHEMA_VERSION, schema_of
from tocsin.stores.tables.ledger import LedgerRows


class LedgerReader(LedgerRows):
    """The ledger's rows in a database. Raises: NotFound if there is none; StoreRefused, StoreFailed."""

    def __init__(self, url: str) -> None:
        self._name = database_name(url)
        with told(self._name, "cannot be opened"):
            self._connection = connect(
                url, called="tocsin beside", settings={"default_transaction_read_only": "on"}
            )
        try:
            ((there,),) = self._ask(
                "SELECT to_regclass('meta') IS NOT NULL AND to_regclass('head') IS NOT NULL"
            )
            if not there:
                raise NotFound(f"There is no ledger in {self._name}. Start a node on it once.")
            # The ledger's own tables are the same in all that went before.
            if refused := schema_of(self._connection).refuses(SCHEMA_VERSION):
                raise StoreRefused(f"{self._name} {refused} Use the newer Tocsin that wrote it.")
        except BaseException:
            self.close()
            raise

    def origins(self) -> list[tuple[int, str]]:
        """See `LedgerRows`."""
        first = self._ask("SELECT value FROM meta WHERE key = 'secret:origin'")
        return [(0, name.decode()) for (name,) in first] + self._ask(
            "SELECT seq, origin FROM origins ORDER BY seq"
        )

    def living(self) -> list[tuple[str, int]]:
        """Name the nodes that count as living, each with how much longer it does if it says nothing, microseconds."""
        return self._ask(
            "SELECT id, left_us FROM (SELECT id, until_at - CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS "
            "BIGINT) AS left_us FROM nodes) AS known WHERE left_us > 0 ORDER BY id"
        )

    def close(self) -> None:
        self._connection.close()

    def _ask(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        with told(self._name, "cannot be read"):
            return self._connection.execute(in_postgres(sql).encode(), bindings, binary=True).fetchall()
