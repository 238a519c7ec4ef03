"""Stores: which one is opened, read beside, moved, copied and restored, and how it is named for people."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tocsin.core.ledger.verify import Damaged
from tocsin.core.model.errors import Invalid, NotFound
from tocsin.core.model.input import StoreRestored
from tocsin.ports import Head, Store, StoreFailed, StoreHeld, StoreRefused
from tocsin.runtime import highwater
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings
from tocsin.stores.sqlite import SCHEMA_VERSION as SCHEMA_VERSION
from tocsin.stores.sqlite import SqliteStore, make_directory
from tocsin.stores.sqlite.beside import LedgerReader, open_store_reader
from tocsin.stores.sqlite.beside import open_reader as open_reader_of_sqlite
from tocsin.stores.sqlite.copying import DATABASE, fold_database, read_restored, restored_of
from tocsin.stores.sqlite.copying import DATABASE_FILES as DATABASE_FILES
from tocsin.stores.sqlite.copying import RESTORED as RESTORED
from tocsin.stores.sqlite.copying import check_database as check_database
from tocsin.stores.sqlite.copying import copy_database as copy_file
from tocsin.stores.sqlite.copying import database_bytes as file_bytes
from tocsin.stores.sqlite.copying import hold_directory as hold_directory
from tocsin.stores.sqlite.copying import store_versions as store_versions
from tocsin.stores.sqlite.filling import fill as fill_file
from tocsin.stores.tables.ledger import LedgerRows
from tocsin.wiring.machine import machine_name

if TYPE_CHECKING:
    from tocsin.stores.postgres.looking import Looked as Looked

HELD_LOOKS = 20
HELD_LOOK_S = 0.05


def open_store(directory: Path, failpoint: Callable[[str], None] = lambda name: None) -> SqliteStore:
    """Open the embedded store.

    Whoever only asks whether somebody holds it, holds it for that moment, so one refusal is not believed.
    Raises: StoreRefused, StoreFailed.
    """
    pause = threading.Event()
    for _ in range(HELD_LOOKS):
        try:
            return SqliteStore(directory, failpoint=failpoint)
        except StoreHeld:
            pause.wait(HELD_LOOK_S)
    return SqliteStore(directory, failpoint=failpoint)


@contextmanager
def opened_store(
    directory: Path,
    database: str = "",
    failpoint: Callable[[str], None] = lambda name: None,
    *,
    settings: Settings,
) -> Iterator[Store]:
    """Open the store: the one on a PostgreSQL if a database is named, else the embedded one; held until it is closed.

    directory: of the embedded store, and in any case of what is this machine's own; database: a URL for libpq.
    Raises: StoreRefused, also if a ledger was signed here and there is none in the store; StoreFailed, Invalid.
    """
    if not database:
        check_seen(settings, directory)
        store: Store = open_store(directory, failpoint)
        try:
            yield store
        finally:
            store.close()
        return
    with _driver():
        from tocsin.stores.postgres import PostgresStore
    if (directory / DATABASE).exists():
        raise StoreRefused(
            f"{directory} holds an embedded store, which nodes on PostgreSQL would leave behind. Move it: tocsin "
            f"migrate-store --data {directory} --db URL. Or choose another --data."
        )
    check_seen(settings, directory, database)
    try:
        make_directory(directory)
    except OSError as error:
        raise StoreRefused(f"{directory} cannot be made: {error}. Choose another --data.") from error
    with hold_directory(directory):
        name = f"{machine_name()}-{MachineIds().random_bytes(4).hex()}"
        on_server = PostgresStore(database, node_id=name)
        try:
            yield on_server
        finally:
            with suppress(StoreFailed):  # Then the others hear of it when its time is over.
                on_server.sign_off()
            on_server.close()


def mark_of(settings: Settings, data: Path) -> Path:
    """Name the file of the high-water mark."""
    return data / (settings.highwater or highwater.FILE)


def check_seen(settings: Settings, data: Path, database: str = "") -> None:
    """See that a store has a ledger if one was signed here before; nothing is made. See `open_ledger`.

    Raises: StoreRefused if it has none; StoreFailed, Invalid.
    """
    path = mark_of(settings, data)
    mark = highwater.read(path)
    if mark is None or _has_ledger(data, database):
        return
    raise StoreRefused(
        f"The ledger {mark.origin} was signed here up to entry {mark.size - 1} ({path}), but there is none in "
        f"{name_of_store(data, database)}. "
        "If it is on PostgreSQL, name that: --db, or TOCSIN_DB. If it was lost, put it back: tocsin restore. If a new "
        "one is meant, give it a new directory: --data."
    )


def _has_ledger(data: Path, database: str) -> bool:
    try:
        reader = open_ledger(data, database)
    except NotFound:
        return False
    except Damaged:
        return True  # Whoever opens it says what is wrong.
    try:
        return reader.end().size > 0
    except Damaged:
        return True
    finally:
        reader.close()


@contextmanager
def _driver() -> Iterator[None]:
    """Say what is missing if PostgreSQL's driver, which is imported meanwhile, is not here. Raises: Invalid."""
    try:
        yield
    except ImportError as error:
        raise Invalid(
            f"PostgreSQL needs a driver that is not here ({error}). Install it: pip install 'tocsin[postgres]'."
        ) from error


MOVED = f"{DATABASE}.moved"
"""What the database of a data directory is called once it was moved to a server, so that nobody starts on it again."""


def move_store(data: Path, database: str, told: Callable[[str], None]) -> Head:
    """Move the embedded store of a data directory to an empty PostgreSQL; its keys stay. Give where the ledger ends.

    told: is given what is done next. Raises: as `open_reader` and `opened_store`, and Damaged.
    """
    with _driver():
        from tocsin.stores.postgres.filling import fill

    open_store(
        data
    ).close()  # It brings the schema up to date, and refuses a directory on which a server runs.
    with hold_directory(data):
        source = open_store_reader(data)
        try:
            head = fill(database, source.rows, told)
        finally:
            source.close()
        fold_database(data)
        (data / DATABASE).rename(data / MOVED)
    return head


def name_of_store(directory: Path, database: str = "") -> str:
    """Name a store for people, as `open_ledger` opens it. Raises: Invalid, StoreRefused."""
    return name_of_database(database) if database else str(directory)


def name_of_database(database: str) -> str:
    """Name a PostgreSQL without its password. Raises: Invalid, StoreRefused."""
    with _driver():
        from tocsin.stores.postgres.connecting import database_name
    return database_name(database)


def is_empty(database: str) -> bool:
    """Say whether a PostgreSQL holds nothing of a Tocsin's yet. Raises: Invalid, StoreRefused, StoreFailed."""
    with _driver():
        from tocsin.stores.postgres.copying import is_empty as is_empty_on_server
    return is_empty_on_server(database)


def restore_into(database: str, folder: Path, restored: bytes, told: Callable[[str], None]) -> Head:
    """Put the embedded store that was unpacked into a folder into an empty PostgreSQL. Give where the ledger ends.

    restored: what RESTORED would hold; the first node to start there records it.
    Raises: as `move_store`; nothing was put in then, but for Damaged.
    """
    with _driver():
        from tocsin.stores.postgres.copying import RESTORED as NOTE
        from tocsin.stores.postgres.filling import fill

    open_store(folder).close()  # It brings the schema up to date.
    source = open_store_reader(folder)
    try:
        return fill(database, source.rows, told, {NOTE: restored})
    finally:
        source.close()


def restored_from(
    data: Path, size: int, secret: Callable[[str], bytes | None] | None
) -> StoreRestored | None:
    """Say from which backup a store was put back, None if from none, or if the ledger says so already.

    size: of the ledger; secret: gives those of a store on PostgreSQL, where the note lies; None for an embedded one.
    """
    if secret is None:
        return read_restored(data, size)
    from tocsin.stores.postgres.copying import RESTORED as NOTE

    note = secret(NOTE)
    return restored_of(note, size) if note is not None else None


def look_at_server(database: str) -> "Looked":
    """Look at a PostgreSQL and what is in it; nothing is changed. Raises: Invalid, StoreRefused, StoreFailed."""
    with _driver():
        from tocsin.stores.postgres.looking import look
    return look(database, MachineClock())


def copy_database(data: Path, to: Path, database: str = "") -> None:
    """Copy all that is stored to a new file of the embedded store, beside whoever writes it; see `open_ledger`.

    Raises: as `open_reader`; StoreFailed if the copy cannot be written, and it is half a copy then.
    """
    if not database:
        copy_file(data, to)
        return
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    reader = StoreReader(database)
    try:
        with reader.snapshot():
            fill_file(to, reader.rows)
    finally:
        reader.close()


def database_bytes(data: Path, database: str = "") -> int:
    """Say about how large a copy would be. Raises: as `open_reader`."""
    if not database:
        return file_bytes(data)
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    reader = StoreReader(database)
    try:
        return reader.copy_bytes()
    finally:
        reader.close()


def build_memory_store() -> Store:
    """Make a store that forgets when the process ends, for whoever tries something out."""
    from tocsin.stores.memory import MemoryStore

    return MemoryStore()


def open_reader(directory: Path) -> LedgerReader:
    """Open the ledger of the embedded store beside whoever writes it.

    Raises: NotFound if there is none; StoreRefused, StoreFailed, Damaged.
    """
    return open_reader_of_sqlite(directory)


def open_ledger(directory: Path, database: str = "") -> LedgerRows:
    """Open the ledger in that PostgreSQL if a database is named, else the one in the directory.

    Raises: as `open_reader`.
    """
    if not database:
        return open_reader(directory)
    with _driver():
        from tocsin.stores.postgres.beside import LedgerReader as LedgerOnPostgres
    return LedgerOnPostgres(database)


def open_beside(directory: Path, database: str = "") -> Store:
    """Open the store for reading only, beside whoever writes it; what would write is not there. See `open_ledger`.

    Raises: as `open_reader`.
    """
    if not database:
        return cast(Store, open_store_reader(directory))
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    return cast(Store, StoreReader(database))


def check_nobody_lives(database: str) -> None:
    """See that no node lives on a PostgreSQL. Raises: StoreRefused if one does; as `open_ledger`."""
    with _driver():
        from tocsin.stores.postgres.beside import LedgerReader as LedgerOnPostgres
    reader = LedgerOnPostgres(database)
    try:
        living = reader.living()
    finally:
        reader.close()
    if living:
        named = ", ".join(name for name, _ in living)
        seconds = -(-max(left for _, left in living) // 1_000_000)
        raise StoreRefused(
            f"Nodes are running on {name_of_database(database)}, or were killed just now: {named}. Nothing was "
            f"changed. Stop all of them (one that was killed counts as running for {seconds} s more), and do it again."
        )
