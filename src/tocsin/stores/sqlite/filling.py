"""Filling: all rows of another store, put into a new file. Whoever asked for it verifies it, and then believes it."""

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import apsw

from tocsin.ports import StoreFailed
from tocsin.stores.sqlite import CACHE_KIB, SCHEMA_VERSION
from tocsin.stores.sqlite.copying import sync

Rows = Callable[[str, Sequence[str]], Iterator[tuple[Any, ...]]]
"""Gives the rows of a table, with these columns, in the order of the first."""


def fill(path: Path, rows: Rows) -> None:
    """Make a database file that only its owner may read, and put all rows into it. Few are in memory at a time.

    Raises: StoreFailed if it cannot be written, and what `rows` does; it is half a copy then.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # Nobody else knows of the file: it needs no journal, and one fsync at its end.
            for setting in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE_KIB}"):
                connection.execute(f"PRAGMA {setting}").fetchall()
            with connection:
                _fill(connection, rows)
        finally:
            connection.close(True)
        sync(path)
    except apsw.Error as error:
        raise StoreFailed(f"{path} could not be written: {type(error).__name__}: {error}") from error


def _fill(connection: apsw.Connection, rows: Rows) -> None:
    connection.execute(resources.files(__package__).joinpath("schema.sql").read_text()).fetchall()
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    for (table,) in tables:
        columns = [
            str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        ]
        places = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows(str(table), columns)
        )
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}").fetchall()
