"""Notary: signs checkpoints of what is committed, every few seconds when there is something new.

Works behind the commits: nobody waits for it, and it may end at any time. Everything that it signs can be computed
again from the entries, and the same size never gets two roots, because the tree is part of the commits.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from tocsin.core.ledger import checkpoint, prove
from tocsin.core.ledger.checkpoint import Checkpoint
from tocsin.core.ledger.note import Signer, read_key
from tocsin.core.model.errors import Conflict, TocsinError
from tocsin.core.model.input import LedgerFork
from tocsin.ports import Ids, SignerRow, Store, StoreFailed, StoreRefused
from tocsin.runtime import highwater, signing
from tocsin.runtime.highwater import HighWater
from tocsin.runtime.tree import reader

log = logging.getLogger("tocsin.notary")

EVERY_S = 2.0


class Notary:
    """Keeps the keys of one ledger and signs its checkpoints.

    origin: what the ledger is called; kek: gives the key-encryption key, 32 bytes; mark: the file of the high-water
    mark, None for none (then nothing is noticed).
    """

    def __init__(
        self,
        store: Store,
        ids: Ids,
        *,
        origin: str,
        kek: Callable[[], bytes],
        mark: Path | None,
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.origin = origin
        self._store = store
        self._ids = ids
        self._kek = kek
        self._mark = mark
        self._failpoint = failpoint
        self._latest: tuple[int, bytes] | None = None
        self._signers: list[Signer] | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._checked = False

    # What must hold before anything is decided

    def check(self) -> None:
        """Compare the database with the high-water mark.

        Raises: StoreRefused if it is an older state than one of which a checkpoint was signed, or another ledger.
        """
        why = self.lost()
        self._checked = not why
        if why:
            raise StoreRefused(
                f"{why} It seems to have been put back from an older copy. If that was meant, say so, and the ledger "
                'goes on under another name: tocsin ledger fork --reason "..."'
            )

    def lost(self) -> str:
        """Say what the ledger lacks of what was signed here, "" if nothing. Raises: StoreRefused, StoreFailed."""
        mark = self._read_mark()
        if mark is None or self._mark is None:
            return ""
        return highwater.lost(
            mark,
            self._mark,
            names=[*(name for _, name in self._store.origins()), self.origin],
            size=self._store.head().size,
            root_of=lambda size: prove.root(size, reader(self._store)),
        )

    def _read_mark(self) -> HighWater | None:
        return highwater.read(self._mark) if self._mark is not None else None

    def check_fork(self) -> None:
        """See whether there is anything to fork for, and whether what a fork must sign can be signed.

        Raises: Conflict if nothing that was signed here is lost, or if there is no key that opens; StoreRefused;
        StoreFailed; signing.Locked.
        """
        mark = self._read_mark()
        if mark is not None and not self.lost():
            raise Conflict(
                f"All that was signed here is in the ledger ({self._mark}: {mark.size} entries), so there is nothing "
                "to fork for. If a node does not start, name its directory: --data.",
                state="nothing lost",
            )
        self._active()
        if mark is not None and self._mark is not None:
            self._write_mark(self._mark, mark)  # As it is: so it is known that it can be written.

    def fork(self, reason: str) -> LedgerFork:
        """Say how the ledger goes on from a state that was put back: under which name, and what is known of before."""
        head = self._store.head()
        mark = self._read_mark()
        known = Checkpoint(self.origin, head.size, head.root)
        if mark is not None and (mark.origin, mark.size) > (self.origin, head.size):
            known = Checkpoint(mark.origin, mark.size, bytes.fromhex(mark.root))
        number = max(_number(self.origin), _number(known.origin)) + 1
        # The same backup may be put back twice, in a drill and in earnest: the two must not have one name.
        own = self._ids.random_bytes(2).hex()
        return LedgerFork(
            origin=f"{self.origin.partition('/')[0]}/{number}-{own}",
            known_size=known.size,
            known_root=known.root.hex(),
            reason=reason,
        )

    # Keys

    def make_key(self) -> str:
        """Make a key and keep it, wrapped; its vkey. It signs once an entry says that it was adopted.

        Raises: StoreFailed, or what is wrong with the key-encryption key.
        """
        seed = self._ids.random_bytes(signing.SEED_BYTES)
        vkey = signing.SigningKey(seed).named(self.origin).key.text()
        name = _secret_name(vkey)
        nonce = self._ids.random_bytes(signing.NONCE_BYTES)
        self._store.keep_secret(name, signing.wrap(seed, name=name, kek=self._kek(), nonce=nonce))
        return vkey

    def keys_changed(self) -> bytes:
        """Hear that keys came or went: the next checkpoint is signed by those that are there now. Gives it.

        One that hands over from an older key to a newer one is kept, because whoever knows only the older one needs
        it. Raises: as `latest`.
        """
        with self._lock:
            self._signers = self._latest = None
            size, note = self._sign_head()
        rows = [row for row in self._store.signers() if row.retired_seq is None]
        newest = max((row.adopted_seq or 0 for row in rows), default=0)
        if len(rows) > 1 and all(size <= newest for size, _ in self._store.checkpoints()):
            self._store.put_checkpoint(size, note)
        return note

    def check_retiring(self, vkey: str) -> None:
        """Say whether a key may be retired. Raises: Conflict if it may not."""
        rows = {row.vkey: row for row in self._store.signers() if row.retired_seq is None}
        row = rows.pop(vkey, None)
        if row is None:
            raise Conflict("No key that signs is called so. List them: tocsin ledger keys.", state="unknown")
        if not any((other.adopted_seq or 0) > (row.adopted_seq or 0) for other in rows.values()):
            raise Conflict(
                "This is the newest key. Make another one first: tocsin ledger rotate-key.", state="newest"
            )

    def _active(self) -> list[Signer]:
        if self._signers is None:
            rows = [row for row in self._store.signers() if row.retired_seq is None]
            kek = self._kek() if rows else b""
            self._signers = [_signer(self._store, row, kek) for row in rows]
        return self._signers

    # Checkpoints

    def latest(self) -> bytes:
        """Give a signed checkpoint of all that is committed.

        Raises: Conflict if there is nothing to sign, nobody to sign it, or if this is an older state of the ledger;
        StoreFailed; signing.Locked.
        """
        with self._lock:
            return self._sign_head()[1]

    def _sign_head(self) -> tuple[int, bytes]:
        if not self._checked:  # Else an older state would be signed, and the mark of the newer one be lost.
            try:
                self.check()
            except StoreRefused as refused:
                raise Conflict(str(refused), state="put back") from refused
        head = self._store.head()
        if self._latest is not None and self._latest[0] == head.size:
            return self._latest
        signers = self._active()
        if not head.size or not signers:
            raise Conflict(
                "There is no key that signs checkpoints yet. Start a server here once.", state="unsigned"
            )
        note = checkpoint.sign(Checkpoint(self.origin, head.size, head.root), signers)
        self._failpoint("before-mark")
        if self._mark is not None:
            self._write_mark(self._mark, HighWater(origin=self.origin, size=head.size, root=head.root.hex()))
        self._failpoint("after-mark")
        self._latest = head.size, note
        return self._latest

    def _write_mark(self, path: Path, mark: HighWater) -> None:
        try:
            highwater.write(path, mark)
        except OSError as error:
            raise StoreFailed(
                f"{path} cannot be written ({error.strerror}), so nothing is signed. Mend it."
            ) from error

    def published(self) -> bytes:
        """Give the checkpoint that was signed last, or sign one. Raises: as `latest`."""
        return self._latest[1] if self._latest is not None else self.latest()

    # Its life

    def start(self) -> None:
        """Sign from time to time; on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Sign what there is, and stop."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        await asyncio.to_thread(self._sign)

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self._sign)
            await asyncio.sleep(EVERY_S)

    def _sign(self) -> None:
        try:
            self.latest()
        except (TocsinError, StoreFailed) as error:
            log.error("no checkpoint was signed: %s", error)


def _signer(store: Store, row: SignerRow, kek: bytes) -> Signer:
    name = _secret_name(row.vkey)
    wrapped = store.secret(name)
    if wrapped is None:
        raise signing.Locked(f"The key {row.vkey} is not in the store. Put the database back from a backup.")
    return signing.SigningKey(signing.unwrap(wrapped, name=name, kek=kek)).named(read_key(row.vkey).name)


def _secret_name(vkey: str) -> str:
    """Name the secret of a key by its id."""
    return f"signer:{read_key(vkey).id.hex()}"


def _number(origin: str) -> int:
    """Say the how-manieth name of a ledger this is: 1 for the first, 2 for `.../2-5f3a`."""
    number = origin.partition("/")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 1
