"""SQLite: a file that is opened to be read, by a connection that can neither write, attach, nor load anything.

Every question has a connection of its own: one that is kept would go on reading a file that was replaced or deleted
meanwhile, as nightly exports are. Opening costs 0.3 ms.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tocsin.ports import SourceFailed
from tocsin.sources.sql.binds import Moments
from tocsin.sources.sql.engine import Engine

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError

VALUE_BYTES_MAX = 1_000_000
"""No text or blob becomes longer, in between neither."""

_DENIED = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
_FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer")


class Sqlite(Engine):
    """A SQLite file; a missing one is an error, and is not made."""

    moments = Moments.TEXT

    def load(self) -> None:
        """Nothing to do: Python brings it along."""

    def _url(self) -> "sqlalchemy.URL":
        import sqlalchemy

        return sqlalchemy.make_url("sqlite://")  # The file is opened by `_open`.

    def _create(self, **options: Any) -> "sqlalchemy.Engine":
        import sqlalchemy

        return sqlalchemy.create_engine(
            self._url(), poolclass=sqlalchemy.NullPool, creator=self._open, hide_parameters=True
        )

    def _open(self) -> sqlite3.Connection:
        if not Path(self._config.path).exists():
            raise SourceFailed(f"The database file of {self._config.name!r} is not there.", is_away=True)
        uri = f"file:{quote(str(Path(self._config.path).absolute()))}?mode=ro"
        connection = sqlite3.connect(
            uri, uri=True, timeout=min(5.0, self._config.timeout_s / 2), check_same_thread=False
        )
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.text_factory = _text
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # Is it a database at all?
        connection.set_authorizer(_judge)
        return connection

    def _ender(self, connection: "sqlalchemy.Connection") -> Callable[[], object] | None:
        driver: Any = connection.connection.driver_connection
        interrupt: Callable[[], object] = driver.interrupt
        return interrupt

    def _is_too_long(self, error: "DBAPIError") -> bool:
        return str(error.orig) == "interrupted"


def _text(data: bytes) -> str:
    # SQLite's own error for text that is no UTF-8 would quote it.
    return data.decode("utf-8", "replace")


def _judge(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Answer SQLite, which asks at each statement what it may do (sqlite3_set_authorizer)."""
    if action in _DENIED or (action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and second is not None:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
