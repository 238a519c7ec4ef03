"""Ledgers: who signs one, and how one is forked, missed and replayed."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.core.ledger.encoding import Segment
from tocsin.core.ledger.verify import Damaged, Verdict, verify
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.input import LedgerFork
from tocsin.ports import Ids, Store, StoreFailed, StoreRefused
from tocsin.runtime import highwater
from tocsin.runtime.kek import KEY_FILE, read_key_file, read_key_text
from tocsin.runtime.pump import Pump
from tocsin.runtime.replaying import Replay
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.beside import LedgerReader
from tocsin.stores.sqlite.comparing import Difference, compare
from tocsin.stores.sqlite.copying import DATABASE
from tocsin.stores.tables.ledger import LedgerRows
from tocsin.wiring.stores import (
    check_nobody_lives,
    copy_database,
    mark_of,
    open_reader,
    opened_store,
    restored_from,
)

if TYPE_CHECKING:
    from tocsin.runtime.notary import Notary


def origin_of(store: Store, ids: Ids) -> str:
    """Say what the ledger is called; a new one gets its name here."""
    if origins := store.origins():
        return origins[-1][1]
    origin = store.secret("origin")
    if origin is None:
        origin = b"tocsin-" + ids.random_bytes(4).hex().encode()
        store.keep_secret("origin", origin)
    return origin.decode()


def build_notary(
    settings: Settings,
    store: Store,
    ids: Ids,
    data: Path,
    failpoint: Callable[[str], None] = lambda name: None,
) -> "Notary":
    """Make who signs the checkpoints of the ledger in a data directory."""
    # Cryptography takes its time to load, and most verbs do without.
    from tocsin.runtime.notary import Notary

    def kek() -> bytes:
        return read_kek(settings, store, ids, data)

    mark = mark_of(settings, data)
    return Notary(store, ids, origin=origin_of(store, ids), kek=kek, mark=mark, failpoint=failpoint)


def read_kek(settings: Settings, store: Store, ids: Ids, data: Path) -> bytes:
    """Give the key that the ledger's own keys are wrapped with, which a first start makes. Raises: Conflict."""
    if settings.ledger_key is not None:
        return read_key_text(settings.ledger_key.value)
    return read_key_file(data / KEY_FILE, ids, may_make=not store.signers())


def fork_ledger(
    settings: Settings, data: Path, database: str = "", *, reason: str, actor: str
) -> tuple[LedgerFork, str]:
    """Let the ledger of an older state of the store go on under another name.

    Returns: under which, and why that was not signed yet, "" if it was. All that can be known is looked at before.
    Raises: Conflict if nothing is lost; NotFound; StoreFailed, StoreRefused. Nothing was changed then, unless the first
    says that this is not known.
    """
    if database:
        check_nobody_lives(database)  # First, because opening the store may change its tables.
    ids, clock = MachineIds(), MachineClock()
    with opened_store(data, database, settings=settings) as store:
        notary = build_notary(settings, store, ids, data)
        notary.check_fork()
        fork = notary.fork(reason)
        clock.not_before(store.head().at)
        pump = Pump(store, clock, ids, origin=fork.origin, on_committed=lambda committed: None)
        try:
            pump.open((fork,), actor=actor)
        except StoreFailed:
            if not _is_called(store, fork.origin):
                raise
        notary.origin = fork.origin
        try:
            notary.latest()
        except (TocsinError, StoreFailed, StoreRefused) as error:
            return fork, str(error)
        return fork, ""


def _is_called(store: Store, origin: str) -> bool:
    """Say whether a fork took effect that seemed to fail: its answer may have been lost.

    Raises: StoreFailed if that cannot be said.
    """
    reopen = getattr(store, "reopen", None)
    try:
        if reopen is not None:
            reopen()
        return any(name == origin for _, name in store.origins())
    except StoreFailed as failed:
        raise StoreFailed(
            f"Whether the ledger was forked is not known: {failed} Do it again once the store can be read; if it was "
            "done, that says so and changes nothing."
        ) from failed


def lost_by(
    settings: Settings, data: Path, mark: highwater.HighWater, reader: LedgerRows, verdict: Verdict
) -> str:
    """Say what a sound ledger lacks of what was signed in a data directory, "" if nothing.

    mark: as it was read before the ledger was, for servers go on meanwhile. verdict: over the ledger, and of the root
    that it had at the mark. What was put back from a backup, and not started since, lacks nothing that it does not say.
    Raises: StoreFailed, StoreRefused, Damaged.
    """
    if (
        restored_from(data, verdict.size, None if isinstance(reader, LedgerReader) else reader.secret)
        is not None
    ):
        return ""
    return highwater.lost(
        mark,
        mark_of(settings, data),
        names=[name for _, name in reader.origins()],
        size=verdict.size,
        root_of=lambda size: verdict.root_then,
    )


def replay_ledger(
    data: Path,
    folder: Path,
    watched: Callable[[Iterable[Segment], int, str], Iterator[Segment]],
    database: str = "",
) -> tuple[list[Difference], int, int]:
    """Read the ledger of a data directory, or of a PostgreSQL, again into an empty store, and compare the two.

    folder: an empty one, for the copy and the store; database: see `open_ledger`.
    Returns: the first differences, how many there are, and the size.
    Raises: NotFound, StoreRefused, StoreFailed; Damaged, naming the entry, if the ledger itself is not sound.
    """
    live = folder / "live"
    live.mkdir()
    copy_database(data, live / DATABASE, database)
    reader = open_reader(live)
    again = SqliteStore(folder / "again", is_scratch=True)
    try:
        end = reader.end()
        segments = watched(reader.segments(), end.size, "verifying")
        verdict = verify(segments, size=end.size, root=end.root, edge=end.edge, at=end.at)
        if not verdict.is_sound:
            raise Damaged(f"entry {verdict.bad_seq}: {verdict.what}")
        origins: list[tuple[int, str]] = reader.origins()
        replay = Replay(again, origins=origins)
        for segment in watched(reader.segments(), end.size, "replaying"):
            try:
                replay.take(segment)
            except (ValueError, LookupError, AssertionError, TypeError, AttributeError) as error:
                # Every hash is right, but no Tocsin decided this.
                raise Damaged(
                    f"what entry {segment.first_seq} or one behind it says cannot be: {error!r}"
                ) from error
        replay.end(end.at)
    finally:
        again.close()
        reader.close()
    found, total = compare(
        live / "tocsin.db",
        folder / "again" / "tocsin.db",
        incidents_before=replay.incidents_before,
        notifications_before=replay.notifications_before,
        incomplete=replay.incomplete,
    )
    return found, total, end.size
