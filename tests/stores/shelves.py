"""Shelves: what several nodes share, as their tests want it: on PostgreSQL, and in memory, which stands in for it."""

from collections.abc import Callable

import psycopg
from tests.support.databases import a_database
from tests.support.shared import Rows, SharedMemory

from tocsin.stores import postgres
from tocsin.stores.postgres import PostgresStore

Time = Callable[[], int]


class OnPostgres:
    """A database of its own. time: what all nodes go by, microseconds UTC."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._url = a_database()

    def open(self, name: str) -> PostgresStore:
        """Open it as the node of that name."""
        store = PostgresStore(self._url, node_id=name)
        store.time = self._time
        return store

    def owners(self) -> dict[int, str]:
        """Give who owns which pending delivery."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return dict(connection.execute("SELECT delivery, node FROM owned ORDER BY delivery").fetchall())

    def cut_off(self) -> None:
        """End all connections."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'tocsin' AND datname = current_database()"
            )


class InMemory:
    """The same in memory."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._rows = Rows(changes_kept=postgres.CHANGES_KEPT)
        self._opened: list[SharedMemory] = []

    def open(self, name: str) -> SharedMemory:
        """Open it as the node of that name."""
        self._opened.append(SharedMemory(self._rows, node_id=name, time=self._time))
        return self._opened[-1]

    def owners(self) -> dict[int, str]:
        """Give who owns which pending delivery."""
        return dict(sorted(self._rows.owned.items()))

    def cut_off(self) -> None:
        """End all connections."""
        for one in self._opened:
            one.cut_off("the connection is lost")


SHELVES = {"postgres": OnPostgres, "memory": InMemory}
