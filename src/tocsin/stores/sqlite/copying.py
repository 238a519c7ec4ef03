"""Copying: takes a copy of the database beside whoever writes it, and checks a copy from its first page to its last
entry.

A copy is one instant of the ledger: the pages are read inside one transaction. While it runs, the server's WAL cannot
start over, so it grows by what is written meanwhile; nobody waits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from tocsin.core.ledger.verify import Damaged, verify
from tocsin.core.model.input import StoreRestored
from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores.sqlite import BUSY_MS, SCHEMA_VERSION, lock_directory
from tocsin.stores.sqlite.beside import LedgerReader, open_reader

DATABASE = "tocsin.db"
DATABASE_FILES = (DATABASE, "tocsin.db-wal", "tocsin.db-shm")
"""What makes up the database in a data directory; the first is what a backup holds."""

RESTORED = "restored.json"
"""In a data directory that was restored and not started since: from which backup."""

PAGES_AT_ONCE = 256
"""1 MiB: after each such step, an interrupt or a full disk is noticed."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What RESTORED holds. size, root (64 hex digits): of the ledger as it was put back; archive: its file's name."""

    made_at: datetime
    size: int
    root: str
    archive: str
    restored_at: datetime


class Copy(NamedTuple):
    """A database that was found sound. root: of its ledger, 32 bytes; at: of its last entry; schema: its version."""

    size: int
    root: bytes
    at: int
    schema: int


def store_versions() -> tuple[str, str]:
    """Name the versions of apsw and of the SQLite in it."""
    return apsw.apsw_version(), apsw.sqlite_lib_version()


def database_bytes(directory: Path) -> int:
    """Say how large a copy would be. Raises: as `open_reader`."""
    reader = open_reader(directory)
    try:
        return int(reader.pragma("page_count")) * int(reader.pragma("page_size"))
    finally:
        reader.close()


def copy_database(directory: Path, to: Path) -> None:
    """Copy the database of a data directory to a new file, whether a server runs on it or not.

    Raises: as `open_reader`; StoreFailed if the copy cannot be written, and it is half a copy then.
    """
    reader = open_reader(directory)
    try:
        os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        target = apsw.Connection(str(to), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # Nobody else knows of the copy: it needs no journal, and one fsync at its end.
            for setting in ("journal_mode = off", "synchronous = off"):
                target.execute(f"PRAGMA {setting}").fetchall()
            with reader.snapshot() as source, target.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(PAGES_AT_ONCE)
        finally:
            target.close(True)
        sync(to)
    except apsw.Error as error:
        raise StoreFailed(
            f"{directory / DATABASE} could not be copied to {to}: {type(error).__name__}: {error}"
        ) from error
    finally:
        reader.close()


def fold_database(directory: Path) -> None:
    """Have the database be its one file, without a WAL and its index. Whoever asks holds the directory.

    Raises: StoreFailed.
    """
    path = directory / DATABASE
    try:
        # Who closes a database last folds the WAL into it, but not if it may only read.
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise StoreFailed(f"{path} could not be closed: {type(error).__name__}: {error}") from error


def check_database(path: Path, *, quickly: bool = False) -> Copy:
    """Check every page of a database file and recompute its whole ledger.

    quickly: check the pages but not what is in the indexes, and leave the ledger alone.
    Raises: Damaged if anything is wrong; StoreRefused if its schema is newer than this program; StoreFailed.
    """
    reader = LedgerReader(path)
    try:
        schema = int(reader.pragma("user_version"))
        if not 0 < schema <= SCHEMA_VERSION:
            raise StoreRefused(
                f"{path.name} has schema {schema}; this program knows {SCHEMA_VERSION}. Use the Tocsin that wrote it."
            )
        if found := reader.programs():
            raise Damaged(f"{path.name} holds programs that Tocsin did not put there: {', '.join(found)}")
        said = str(reader.pragma("quick_check(1)" if quickly else "integrity_check(1)"))
        if said != "ok":
            raise Damaged(f"{path.name} is damaged: {said}")
        end = reader.end()
        if not quickly:
            verdict = verify(reader.segments(), size=end.size, root=end.root, edge=end.edge, at=end.at)
            if not verdict.is_sound:
                raise Damaged(f"the ledger is wrong from entry {verdict.bad_seq}: {verdict.what}")
        return Copy(end.size, end.root, end.at, schema)
    finally:
        reader.close()


@contextmanager
def hold_directory(directory: Path) -> Iterator[None]:
    """Hold a data directory, so that no server starts on it meanwhile. Raises: StoreRefused if somebody else does."""
    lock = lock_directory(directory)
    try:
        yield
    finally:
        os.close(lock)


def read_restored(directory: Path, size: int) -> StoreRestored | None:
    """Say which backup a data directory was put back from, None if from none, or if the ledger says so already.

    size: of the ledger now; it grows by the very entry that records the restore.
    Raises: StoreRefused if what is there cannot be read.
    """
    path = directory / RESTORED
    try:
        return restored_of(path.read_bytes(), size)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreRefused(
            f"{path} cannot be read ({error}). Restore again, or remove it; then the ledger will not say that it was."
        ) from error


def restored_of(said: bytes, size: int) -> StoreRestored | None:
    """Say the same of what RESTORED holds. Raises: msgspec.MsgspecError."""
    restored = msgspec.json.decode(said, type=Restored)
    if restored.size != size:
        return None
    made_at = (restored.made_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return StoreRestored(size=size, made_at=made_at)


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
