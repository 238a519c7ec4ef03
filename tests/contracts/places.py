"""Where stores live: a place is opened again and again, as a data directory is by one process after another.

A new kind of store joins the contract by one more entry in PLACES.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.support.databases import a_database
from tests.support.fakes import NOON
from tests.support.shared import Rows, SharedMemory

from tocsin.ports import Store
from tocsin.stores.memory import MemoryStore
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.sqlite import SqliteStore


class Place:
    """A place for one store. Opening it again closes what was open: that is a restart."""

    def __init__(self, open_it: Callable[[], Store]) -> None:
        self._open_it = open_it
        self._opened: Store | None = None

    def open(self) -> Store:
        """Open the store, as the next process would."""
        self.close()
        self._opened = self._open_it()
        return self._opened

    def close(self) -> None:
        """Close what is open."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def memory(_: Path) -> Place:
    """Give a place in memory: the store itself outlives its openings."""
    store = MemoryStore()
    return Place(lambda: store)


def sqlite(directory: Path) -> Place:
    """Give a data directory."""
    return Place(lambda: SqliteStore(directory / "data"))


def postgres(_: Path) -> Place:
    """Give a database of its own on a server that all tests of this process share."""
    url = a_database()
    return Place(lambda: PostgresStore(url))


def shared(_: Path) -> Place:
    """Give a place in memory that several nodes could share."""
    rows, numbers = Rows(), count(1)
    return Place(lambda: SharedMemory(rows, node_id=f"node-{next(numbers)}", time=lambda: NOON))


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": memory,
    "shared": shared,
    "sqlite": sqlite,
    "postgres": postgres,
}
