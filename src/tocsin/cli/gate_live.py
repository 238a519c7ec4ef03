"""Gate, live: is the installation in a data directory sound? Read beside a server that runs on it; nothing is changed.

What the doctor looks at too is looked at by the doctor.
"""

import asyncio
import contextlib
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tocsin.cli import doctor_house, doctor_network
from tocsin.cli.archive import DATABASE
from tocsin.cli.gate_check import Asked, Found, found_by_doctor, worst
from tocsin.cli.ledger import watched
from tocsin.core.ledger import checkpoint, verify
from tocsin.core.ledger.encoding import Segment
from tocsin.core.ledger.note import read_key
from tocsin.core.model.errors import TocsinError
from tocsin.ports import Store, StoreRefused
from tocsin.runtime import highwater, signing
from tocsin.runtime.kek import KEY_FILE, read_key_file, read_key_text
from tocsin.runtime.metrics import unaccounted
from tocsin.runtime.notary import Notary
from tocsin.settings import Settings, read_settings
from tocsin.web.auth import PEPPER_BYTES
from tocsin.web.pepper import PEPPER_FILE, is_operators
from tocsin.wiring import (
    SCHEMA_VERSION,
    build_clock,
    build_ids,
    database_bytes,
    open_beside,
    open_reader,
    replay_ledger,
)

VERIFY_S, VERIFY_QUICKLY_S = 300.0, 3.0
"""So long at most the ledger is verified; what is left then is told."""


def _data(asked: Asked) -> Path:
    assert asked.data is not None, "live checks are made of a data directory"
    return asked.data


def schema(asked: Asked) -> Found:
    """Look whether every page is sound, and whether the tables are those that this program makes."""
    looked = doctor_house.database(_data(asked))
    if looked.state != "ok":
        return found_by_doctor(looked)
    reader = open_reader(_data(asked))
    try:
        version = reader.pragma("user_version")
    finally:
        reader.close()
    if version != SCHEMA_VERSION:
        said = f"The database has schema {version}, and this program works with {SCHEMA_VERSION}."
        return Found("fail", said, "Start the server once: it migrates. Make a backup before.")
    return found_by_doctor(looked)


class _Enough(Exception):
    """The time is over."""


def ledger(asked: Asked) -> Found:
    """Recompute the whole ledger, or as much of it as there is time for."""
    clock = build_clock()
    until = clock.now() + int((VERIFY_QUICKLY_S if asked.quick else VERIFY_S) * 1e6)
    count = 0

    def timed(segments: Iterable[Segment]) -> Iterator[Segment]:
        nonlocal count
        for segment in segments:
            if clock.now() > until:
                raise _Enough
            yield segment
            count += segment.count

    reader = open_reader(_data(asked))
    try:
        end = reader.end()
        segments = watched(timed(reader.segments()), end.size)
        verdict = verify.verify(segments, size=end.size, root=end.root, edge=end.edge, at=end.at)
    except _Enough:
        said = f"The first {count} of {end.size} entries are sound; there was no time for the others."
        return Found("ok" if asked.quick else "warn", said, "Verify all of it: tocsin ledger verify")
    finally:
        reader.close()
    if verdict.is_sound:
        return Found("ok", f"All {verdict.size} entries are sound; root {verdict.root.hex()[:8]}.")
    said = f"The ledger is NOT sound. First wrong entry: {verdict.bad_seq}: {verdict.what}."
    return Found("fail", said, "Keep the directory as it is, and compare with a backup: tocsin ledger verify")


def replay(asked: Asked) -> Found:
    """Read the ledger again into an empty store, and compare it with the tables."""
    if asked.quick:
        return Found("skipped", "The record is not replayed in a quick run.")
    needed, free = 2 * database_bytes(_data(asked)), shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        said = f"It was not replayed: that needs {needed >> 20} MiB for temporary files, and {free >> 20} are free."
        return Found("warn", said, "Make room, or name another place: TMPDIR.")
    with tempfile.TemporaryDirectory(prefix="tocsin-gate-") as folder:
        found, total, size = replay_ledger(_data(asked), Path(folder), watched)
    if not total:
        return Found("ok", f"The tables are what the {size} entries of the ledger say.")
    wrong = tuple(f"{one.table} {one.key} is not as the ledger says" for one in found)
    said = f"{total} rows are not what the ledger says."
    return Found("fail", said, "Look at them: tocsin ledger replay", wrong=wrong)


# Keys


def keys(asked: Asked) -> Found:
    """Look whether what signs can be opened, whether tokens can be known, and whether nothing signed was lost."""
    data = _data(asked)
    settings = read_settings(config=asked.config, data=data)
    store = open_beside(data)
    try:
        wrong = [*_modes(data), *_pepper(data, store)]
        signs = any(row.retired_seq is None for row in store.signers()) and bool(store.origins())
        if signs and not wrong:
            wrong += [*_signing(data, settings, store), *_mark(data, settings, store)]
    finally:
        store.close()
    if wrong:
        return Found("fail", f"{len(wrong)} things are wrong with the keys.", wrong=tuple(wrong))
    if not signs:
        return Found("warn", "No key signs this ledger yet.", "Start the server once: it makes one.")
    if not _mark_of(data, settings).exists():
        said = f"{_mark_of(data, settings)} is missing, so a database that was put back would not be noticed."
        return Found("warn", said, "Start the server: it writes it anew.")
    return Found(
        "ok", "The ledger's keys open and sign, the pepper is there, and nothing that was signed is lost."
    )


def _modes(data: Path) -> Iterator[str]:
    for name in (DATABASE, PEPPER_FILE, KEY_FILE):
        path = data / name
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                yield f"{path} has mode {mode:04o}, so others may read it: chmod 0600 {path}"


def _pepper(data: Path, store: Store) -> Iterator[str]:
    path = data / PEPPER_FILE
    try:
        length = len(path.read_bytes())
    except FileNotFoundError:
        if not all(is_operators(token) for token in store.tokens()):
            yield f"{path} is missing, so no token can be recognised: restore it from a backup"
        return
    if length != PEPPER_BYTES:
        yield f"{path} has {length} bytes instead of {PEPPER_BYTES}: restore it from a backup"


def _signing(data: Path, settings: Settings, store: Store) -> Iterator[str]:
    """Sign a checkpoint that nobody gets to see, and verify it."""

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


def _mark_of(data: Path, settings: Settings) -> Path:
    return data / (settings.highwater or highwater.FILE)


def _mark(data: Path, settings: Settings, store: Store) -> Iterator[str]:
    """Compare the database with the high-water mark. A server beside us may sign in between, so twice if need be."""
    origin = store.origins()[-1][1]
    notary = Notary(store, build_ids(), origin=origin, kek=bytes, mark=_mark_of(data, settings))
    for is_last in (False, True):
        try:
            notary.check()
        except StoreRefused as error:
            if is_last:
                yield str(error)
        else:
            return


# What the doctor looks at


def clock(asked: Asked) -> Found:
    """Compare the clock with the ledger's last entry."""
    return found_by_doctor(doctor_house.clock(_data(asked)))


def backup(asked: Asked) -> Found:
    """Look how old the last backup is."""
    return found_by_doctor(doctor_house.last_backup(_data(asked)))


def channels(asked: Asked) -> Found:
    """Connect to every channel as a delivery would, and send nothing."""
    try:
        settings = read_settings(config=asked.config, data=asked.data)
        return worst(asyncio.run(doctor_network.channels(settings)))
    except TocsinError as error:
        return Found("fail", str(error), "Mend it; until then, no channel can be tried.")


def server(asked: Asked) -> Found:
    """Ask the server that runs whether it lives and accepts."""
    return found_by_doctor(doctor_network.server(_data(asked), asked.url, asked.token))


# Nothing is dropped silently


def accounting(asked: Asked) -> Found:
    """Compare how many intents were decided with how many are told of."""
    store = open_beside(_data(asked))
    try:
        before = store.head().counters.intents
        counts = store.counts()
        after = store.head().counters.intents
    finally:
        store.close()
    lost = unaccounted(before, sum(counts.values()), after)
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"
    if lost:
        what = f"{lost} are told of nowhere" if lost > 0 else f"{-lost} are told of twice"
        step = "Find which: tocsin ledger replay"
        return Found("fail", f"Of {after} intents {what} ({said}).", step, figures={"counts": counts})
    return Found(
        "ok", f"All {after} intents that were decided are accounted for: {said}.", figures={"counts": counts}
    )
