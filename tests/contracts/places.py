"""Where stores live: a place is opened again and again, as a data directory is by one process after another.

A new kind of store joins the contract by one more entry in PLACES.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from tests.stores.releases import NextStore
from tests.support.databases import VERSIONS, a_database, drop
from tests.support.fakes import NOON
from tests.support.shared import Rows, SharedMemory

from tocsin.ports import Store
from tocsin.stores.memory import MemoryStore
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.sqlite import SqliteStore


class Place:
    """A place for one store. Opening it again closes what was open: that is a restart."""

    def __init__(self, open_it: Callable[[], Store], leave: Callable[[], None] = lambda: None) -> None:
        self._open_it = open_it
        self._leave = leave
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

    def leave(self) -> None:
        """Close what is open, and keep nothing of it."""
        self.close()
        self._leave()


def memory(_: Path) -> Place:
    """Give a place in memory: the store itself outlives its openings."""
    store = MemoryStore()
    return Place(lambda: store)


def sqlite(directory: Path) -> Place:
    """Give a data directory."""
    return Place(lambda: SqliteStore(directory / "data"))


def postgres(version: str, _: Path) -> Place:
    """Give a database of its own on a server that all tests of this process share."""
    url = a_database(version)
    return Place(lambda: PostgresStore(url), lambda: drop(url))


def expanded(_: Path) -> Place:
    """Give a database that the next release has migrated already, as in a rolling upgrade."""
    url = a_database()
    PostgresStore(url).close()
    NextStore(url).close()
    return Place(lambda: PostgresStore(url), lambda: drop(url))


def shared(_: Path) -> Place:
    """Give a place in memory that several nodes could share."""
    rows, numbers = Rows(), count(1)
    return Place(lambda: SharedMemory(rows, node_id=f"node-{next(numbers)}", time=lambda: NOON))


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": memory,
    "shared": shared,
    "sqlite": sqlite,
    **{version: partial(postgres, version) for version in VERSIONS},
    f"{VERSIONS[-1]}-expanded": expanded,
}
