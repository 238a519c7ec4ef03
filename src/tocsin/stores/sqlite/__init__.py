"""The embedded store: one SQLite file, WAL, synchronous=FULL, one writing connection which alone checkpoints.

Turns belong to the pump's thread; a lock keeps a token that another thread puts from falling into one of them.
Readers have connections of their own, and cannot write.
"""

import fcntl
import gc
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import msgspec

from tocsin.core.engine.state import Counters, LiveAlert
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.ports import Batch, Memory, StoreFailed, StoreHeld, StoreRefused
from tocsin.stores.sqlite.leftover import write_again
from tocsin.stores.sqlite.migrating import migrate
from tocsin.stores.sqlite.sizes import ReadingFile
from tocsin.stores.sqlite.tiles import fill_tiles
from tocsin.stores.tables.asking import Question
from tocsin.stores.tables.chains import Chains
from tocsin.stores.tables.decoding import encode
from tocsin.stores.tables.keeping import Keeping
from tocsin.stores.tables.loading import leases, load, recall
from tocsin.stores.tables.readers import Readers
from tocsin.stores.tables.rows import PUT_EVALUATION, statements

SCHEMA_VERSION = 4
CHECKPOINT_PAGES = 4000
"""The WAL is folded into the file about every 16 MiB."""
WAL_BYTES_KEPT = 32 << 20
"""A WAL that one large batch made longer than this is cut back after its checkpoint."""
CACHE_KIB = 16_384
BUSY_MS = 5000


class SqliteStore(ReadingFile, Keeping):
    """See `tocsin.ports.Store`. Opening takes an exclusive lock on the data directory.

    is_scratch: what is in it may be lost, since it can be made again.
    Raises: StoreRefused if another process holds the directory, its schema is newer than this program, or the file
    is damaged or not Tocsin's; StoreFailed if the file cannot be read or written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        is_scratch: bool = False,
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._path = directory / "tocsin.db"
        self._failpoint = failpoint
        self._synchronous = 0 if is_scratch else 2
        try:
            make_directory(directory)
            self._lock = lock_directory(directory)
        except OSError as error:
            raise StoreRefused(
                f"{directory} cannot hold the data: {error}. Choose another --data."
            ) from error
        self._writing = threading.Lock()
        self._readers = Readers(self._new_reader)
        self._closed = False
        self._unscrubbed = False
        self._chains = Chains(self._ask_writer)
        try:
            self._create()
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _create(self) -> None:
        """Make an empty file that only its owner may read, unless there is one.

        One that is there is not opened: when a descriptor is closed beside SQLite's, SQLite's locks go with it.
        """
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self._path.chmod(0o600)
        except OSError as error:
            raise StoreFailed(f"{self._path} cannot be opened: {error}") from error

    def _open(self) -> None:
        try:
            # It may hold what was erased since, if whoever left it came no further.
            self._unscrubbed |= write_again(self._path)
            self._writer = writer = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be opened: {_said(error)}") from error
        try:
            self._prepare(writer)
            fill_tiles(writer)
        except msgspec.MsgspecError as error:
            writer.close(True)
            raise StoreRefused(
                f"{self._path} holds what this program cannot read ({error}). Restore it from a backup."
            ) from error
        except (apsw.NotADBError, apsw.CorruptError) as error:
            writer.close(True)
            raise StoreRefused(
                f"{self._path} is damaged, or not an SQLite file ({error}). Restore it from a backup."
            ) from error
        except apsw.Error as error:
            writer.close(True)
            raise StoreFailed(f"{self._path} cannot be opened: {_said(error)}") from error
        except BaseException:
            writer.close(True)
            raise

    def _prepare(self, writer: apsw.Connection) -> None:
        """Set the pragmas, and make the tables if there are none."""
        writer.set_busy_timeout(BUSY_MS)
        for setting in (
            "journal_mode = wal",
            f"synchronous = {self._synchronous}",
            "foreign_keys = off",
            f"cache_size = -{CACHE_KIB}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            f"journal_size_limit = {WAL_BYTES_KEPT}",
            "secure_delete = fast",
        ):
            writer.execute(f"PRAGMA {setting}").fetchall()
        mode = writer.pragma("journal_mode"), writer.pragma("synchronous")
        if mode != ("wal", self._synchronous):
            raise StoreRefused(
                f"{self._path} runs with journal_mode, synchronous = {mode} instead of ('wal', 2), so what is accepted "
                "might be lost. Is the directory on a network file system? Use a local disk."
            )
        version = writer.pragma("user_version")
        if version == SCHEMA_VERSION:
            return
        if 0 < version < SCHEMA_VERSION:
            migrate(writer, version, SCHEMA_VERSION, self._failpoint)
            self._failpoint("after-migration")
            return
        if version:
            raise StoreRefused(
                f"{self._path} has schema {version}; this program knows {SCHEMA_VERSION}. "
                "Start the newer Tocsin that wrote it."
            )
        if writer.execute("SELECT 1 FROM sqlite_schema").fetchall():
            raise StoreRefused(
                f"{self._path} is somebody else's: it has tables that Tocsin did not make. Choose another --data."
            )
        with writer:
            writer.execute(resources.files(__name__).joinpath("schema.sql").read_text()).fetchall()
            writer.execute(
                "INSERT INTO head VALUES (1, 0, ?, x'', 0, 0, ?)", (EMPTY_ROOT, encode(Counters()))
            ).fetchall()
            writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}").fetchall()

    def reopen(self) -> None:
        """Begin anew with the file as it is, after a failure; readers too, when they are next asked.

        Raises: StoreFailed, also while the file still takes no writes; it may be tried again.
        """
        with self._writing:
            if self._closed:
                raise StoreFailed(f"{self._path} is closed.")
            self._readers.close()
            self._writer.close(True)
            try:
                self._open()
            except StoreRefused as refused:
                raise StoreFailed(str(refused)) from refused
        # To load 100,000 incidents only to find that the disk is still full helps nobody.
        self._write("UPDATE head SET alive_at = alive_at", ())

    # Writing

    def commit(self, batch: Batch) -> None:
        """See `tocsin.ports.Store`, as for every method here."""
        erases = batch.redacted is not None or bool(batch.pruned)
        try:
            with self._writing:
                if erases:
                    self._writer.execute("PRAGMA secure_delete = on").fetchall()
                with self._writer as writer:
                    for sql, rows in statements(batch, self._chains, self._ask_writer):
                        if rows:
                            writer.executemany(sql, rows)
        except BaseException as error:
            self._chains.forget()
            if isinstance(error, apsw.Error):
                raise self._failed(error) from error
            raise
        if erases:
            self._chains.forget()
            self._unscrubbed = True
            self._failpoint("before-scrub")
        if self._unscrubbed:
            self._scrub()

    def _scrub(self) -> None:
        """Fold the WAL into the file and cut it off, so that no older copy of what was erased is left in it.

        Waits for nobody: while somebody reads it cannot be, and the next commit tries again.
        """
        with self._writing:
            self._writer.set_busy_timeout(0)
            try:
                ((busy, _, _),) = self._writer.execute("PRAGMA wal_checkpoint(truncate)").fetchall()
                self._unscrubbed = bool(busy)
                self._writer.execute("PRAGMA secure_delete = fast").fetchall()
            except apsw.Error:
                pass  # What is committed stays so; a disk that fails will fail the next commit, too.
            finally:
                self._writer.set_busy_timeout(BUSY_MS)

    def alive(self, at: int) -> None:
        self._write("UPDATE head SET alive_at = ?", (at,))

    def put_evaluations(self, rows: Mapping[str, bytes | None]) -> None:
        kept = [(rule_id, body) for rule_id, body in rows.items() if body is not None]
        gone = [(rule_id,) for rule_id, body in rows.items() if body is None]
        try:
            with self._writing, self._writer as writer:
                if kept:
                    writer.executemany(PUT_EVALUATION, kept)
                if gone:
                    writer.executemany("DELETE FROM evaluations WHERE rule_id = ?", gone)
        except apsw.Error as error:
            raise self._failed(error) from error

    def _write(self, sql: str, bindings: tuple[Any, ...]) -> None:
        try:
            with self._writing, self._writer as writer:
                writer.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error

    def _ask_writer(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        """Ask in the middle of a turn."""
        return self._writer.execute(sql, bindings).fetchall()

    def _failed(self, error: apsw.Error) -> StoreFailed:
        return StoreFailed(f"{self._path} did not commit: {_said(error)}")

    # Reading what state needs, on the writer's own connection

    def load(self) -> Memory:
        was_on = gc.isenabled()
        gc.disable()  # Half a million objects that will stay: looking for garbage among them takes as long as loading.
        try:
            with self._writing:
                memory = load(self._writer.execute)
                self._writer.execute("PRAGMA shrink_memory").fetchall()
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {_said(error)}") from error
        except msgspec.MsgspecError as error:
            raise StoreFailed(
                f"{self._path} holds what this program cannot read ({error}). Restore it from a backup."
            ) from error
        finally:
            if was_on:
                gc.enable()
        return memory

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        return recall(self._all, ids)

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        return leases(self._all, alerts)

    def _all(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        try:
            with self._writing:
                return self._writer.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {_said(error)}") from error

    # Reading for everybody

    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        try:
            return self._readers.ask(questions)
        except apsw.Error as error:
            raise StoreFailed(f"{self._path} cannot be read: {_said(error)}") from error

    def _new_reader(self) -> "_Reader":
        if self._closed:
            raise StoreFailed(f"{self._path} is closed.")
        return _Reader(self._path)

    def close(self) -> None:
        """Let running questions end, and close the writer last: the last one to go checkpoints and removes the WAL."""
        with self._writing:
            if not self._closed:
                self._closed = True
                self._readers.close()
                self._writer.close(True)
                os.close(self._lock)


class _Reader:
    """A connection that one thread after the other asks over."""

    def __init__(self, path: Path) -> None:
        self._asking = threading.Lock()
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_MS)
            for setting in ("wal_autocheckpoint = 0", "query_only = on"):
                connection.execute(f"PRAGMA {setting}").fetchall()
        except BaseException:
            connection.close(True)
            raise
        self.connection: apsw.Connection | None = connection

    def answer(self, questions: Sequence[Question]) -> list[list[Any]] | None:
        """Answer all questions from one commit; None if this reader was closed."""
        with self._asking:
            connection = self.connection
            if connection is None:
                return None
            if len(questions) == 1:
                return [connection.execute(*questions[0]).fetchall()]
            with connection:
                answers = [connection.execute(*question).fetchall() for question in questions]
        return answers

    def close(self) -> None:
        """Close the connection, once the question that runs has its answer."""
        with self._asking:
            if self.connection is not None:
                self.connection.close(True)
                self.connection = None


def make_directory(directory: Path) -> None:
    """Make a directory with those above it, unless it is there; it survives a loss of power. Raises: OSError."""
    new = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in new:
        descriptor = os.open(one.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock_directory(directory: Path) -> int:
    """Take the exclusive lock on the directory: a descriptor to close.

    The kernel gives it back when the process ends, however it ends. Raises: StoreHeld if another has it.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreHeld(
            f"Another Tocsin runs on {directory}. Talk to it (--url), stop it, or choose another --data."
        ) from error
    return descriptor


def _said(error: apsw.Error) -> str:
    return f"{type(error).__name__}: {error}"


__all__ = ["SqliteStore"]
