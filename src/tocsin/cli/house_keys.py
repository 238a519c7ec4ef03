"""House keys: do the files of a data directory fit the store, and does nobody else read them? No secret is shown."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from tocsin.cli.archive import DATABASE
from tocsin.core.ledger import checkpoint
from tocsin.core.ledger.note import read_key
from tocsin.core.model.errors import TocsinError
from tocsin.ports import Store, StoreRefused
from tocsin.runtime import signing
from tocsin.runtime.kek import KEY_FILE, read_key_file, read_key_text
from tocsin.runtime.notary import Notary
from tocsin.settings import Settings
from tocsin.web.auth import PEPPER_BYTES
from tocsin.web.pepper import FINGERPRINT, PEPPER_FILE, fingerprint, is_operators
from tocsin.wiring.machine import build_ids
from tocsin.wiring.stores import mark_of


def is_signed(store: Store) -> bool:
    """Say whether a key signs this ledger."""
    return any(row.retired_seq is None for row in store.signers()) and bool(store.origins())


def wrong(data: Path, settings: Settings, store: Store) -> list[str]:
    """Say all that is wrong with the keys of a data directory, a sentence each."""
    return [*modes(data), *foreign(data, settings, store), *lost(data, settings, store)]


def foreign(data: Path, settings: Settings, store: Store) -> list[str]:
    """Say which keys are not there, or not those of the store."""
    found = [*pepper(data, store)]
    # Whoever signs closes a file that others may read, and here nothing is to be changed.
    if is_signed(store) and not found and not any(modes(data)):
        found += signs(data, settings, store)
    return found


def lost(data: Path, settings: Settings, store: Store) -> list[str]:
    """Say what was signed here and is not in the store any more."""
    return [*_mark(data, settings, store)] if is_signed(store) else []


def modes(data: Path) -> Iterator[str]:
    """Say which files others may read."""
    for name in (DATABASE, PEPPER_FILE, KEY_FILE):
        path = data / name
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                yield f"{path} has mode {mode:04o}, so others may read it: chmod 0600 {path}"


def pepper(data: Path, store: Store) -> Iterator[str]:
    """Say what is wrong with the key that tokens are hashed with."""
    path = data / PEPPER_FILE
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        if store.secret(FINGERPRINT) or not all(is_operators(token) for token in store.tokens()):
            yield f"{path} is missing, so no token can be recognised: restore it from a backup"
        return
    if len(there) != PEPPER_BYTES:
        yield f"{path} has {len(there)} bytes instead of {PEPPER_BYTES}: restore it from a backup"
    elif store.secret(FINGERPRINT) not in (None, fingerprint(there)):
        yield f"{path} is not the one that this store's tokens were hashed with: restore it from a backup"


def signs(data: Path, settings: Settings, store: Store) -> Iterator[str]:
    """Sign a checkpoint that nobody gets to see, and verify it; say what is wrong with that."""

    def kek() -> bytes:
        if settings.ledger_key is not None:
            return read_key_text(settings.ledger_key.value)
        return read_key_file(data / KEY_FILE, build_ids(), may_make=False)

    origin = store.origins()[-1][1]
    known = [read_key(row.vkey) for row in store.signers() if row.retired_seq is None]
    try:
        note = Notary(store, build_ids(), origin=origin, kek=kek, mark=None).latest()
        signed = checkpoint.read_signed(note, known, signing.verify, origin=origin)[1]
    except TocsinError as error:
        yield str(error)
        return
    yield from (
        f"the key {key.text()} in the store is another one than the ledger says"
        for key in known
        if key not in signed.signers
    )


def _mark(data: Path, settings: Settings, store: Store) -> Iterator[str]:
    """Compare the store with the high-water mark. A server beside us may sign in between, so twice if need be."""
    origin = store.origins()[-1][1]
    notary = Notary(store, build_ids(), origin=origin, kek=bytes, mark=mark_of(settings, data))
    for is_last in (False, True):
        try:
            notary.check()
        except StoreRefused as error:
            if is_last:
                yield str(error)
        else:
            return
