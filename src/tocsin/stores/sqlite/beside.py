"""Beside: reads the ledger without the directory's lock, so also while a server runs on it. Writes nothing.

What is damaged is raised as Damaged, because it is what whoever verifies is looking for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from tocsin.core.ledger.verify import Damaged
from tocsin.core.model.errors import NotFound
from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores.sqlite import BUSY_MS, SCHEMA_VERSION
from tocsin.stores.sqlite.sizes import ReadingFile
from tocsin.stores.tables.asking import Question
from tocsin.stores.tables.ledger import LedgerRows


class LedgerReader(LedgerRows):
    """The ledger's rows in one data directory, for one thread.

    Raises, everywhere: Damaged if the file is; StoreFailed if it cannot be read for another reason.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            self._connection = _open(path)

    def origins(self) -> list[tuple[int, str]]:
        """See `LedgerRows`."""
        first = self._ask("SELECT value FROM meta WHERE key = 'secret:origin'")
        named = [(0, name.decode()) for (name,) in first]
        if self._ask("SELECT 1 FROM sqlite_schema WHERE name = 'origins'"):
            named += [(seq, name) for seq, name in self._ask("SELECT seq, origin FROM origins ORDER BY seq")]
        return named

    def pragma(self, name: str) -> Any:
        """Ask for a pragma's first value, such as `user_version` or `quick_check(1)`."""
        return self._ask(f"PRAGMA {name}")[0][0]

    def programs(self) -> list[str]:
        """Name the triggers and views, which run when somebody else's statement does; Tocsin has none."""
        return [
            name for (name,) in self._ask("SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')")
        ]

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """Hold the file as it is now, for `apsw`'s backup, which would begin anew at each commit of a server."""
        with self._connection as connection:
            self._ask("SELECT size FROM head")
            yield connection

    def close(self) -> None:
        """Let the file go."""
        self._connection.close(True)

    def _ask(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        with _told(self._path):
            return self._connection.execute(sql, bindings).fetchall()


class StoreReader(ReadingFile):
    """All that is stored in one data directory, for one thread. Raises: as `LedgerReader`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            self._connection = _open(path)

    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        answers: list[list[Any]] = []
        with _told(self._path), self._connection as connection:
            answers += [connection.execute(*question).fetchall() for question in questions]
        return answers

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a table, these columns of each. Nobody may write meanwhile."""
        with _told(self._path):
            yield from self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}")

    def close(self) -> None:
        """Let the file go."""
        self._connection.close(True)


def open_store_reader(directory: Path) -> StoreReader:
    """Open all that is stored in a data directory, for reading only, whether a server runs on it or not.

    Raises: as `open_reader`, and StoreRefused for a schema that is not this program's own.
    """
    reader = open_reader(directory)
    try:
        version = reader.pragma("user_version")
    finally:
        reader.close()
    path = directory / "tocsin.db"
    if version != SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has schema {version}; this program works with {SCHEMA_VERSION}. Start a server on it once."
        )
    return StoreReader(path)


def open_reader(directory: Path) -> LedgerReader:
    """Open the ledger in a data directory for reading only, whether a server runs on it or not.

    Raises: NotFound if there is no ledger; StoreRefused if its schema is another; and as `LedgerReader`.
    """
    path = directory / "tocsin.db"
    if not path.is_file():
        raise NotFound(f"There is no ledger in {directory}. Name the server's data directory: --data DIR.")
    reader = LedgerReader(path)
    try:
        version = reader.pragma("user_version")
        if version == 0:
            raise NotFound(f"The ledger in {directory} was never begun. Start a server on it once.")
        if version not in range(
            1, SCHEMA_VERSION + 1
        ):  # The ledger's own tables are the same in all of them.
            raise StoreRefused(
                f"{path} has schema {version}; this program knows {SCHEMA_VERSION}. "
                "Verify it with the newer Tocsin that wrote it."
            )
    except BaseException:
        reader.close()
        raise
    return reader


def _open(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    try:
        connection.pragma("user_version")
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close(True)
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        # A directory that may not be written, such as an auditor's copy: nobody can be changing it.
        only = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=only)
    except BaseException:
        connection.close(True)
        raise
    return connection


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        raise Damaged(f"{path} is damaged: {error}") from error
    except apsw.Error as error:
        raise StoreFailed(f"{path} cannot be read: {type(error).__name__}: {error}") from error
