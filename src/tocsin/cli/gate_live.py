"""Gate, live: is the installation in a data directory, or of a node, sound? Read beside a server that runs on it;
nothing is changed.

What the doctor looks at too is looked at by the doctor.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tocsin.cli import doctor_database, doctor_house, doctor_network, house_keys
from tocsin.cli.gate_check import Asked, Found, found_by_doctor, worst
from tocsin.cli.ledger import watched
from tocsin.core.ledger import verify
from tocsin.core.ledger.encoding import Segment
from tocsin.core.model.errors import TocsinError
from tocsin.runtime.metrics import unaccounted
from tocsin.settings import read_settings
from tocsin.wiring.ledgers import replay_ledger
from tocsin.wiring.machine import build_clock
from tocsin.wiring.stores import (
    SCHEMA_VERSION,
    database_bytes,
    mark_of,
    open_beside,
    open_ledger,
    open_reader,
)

VERIFY_S, VERIFY_QUICKLY_S = 300.0, 3.0
"""So long at most the ledger is verified; what is left then is told."""


def _data(asked: Asked) -> Path:
    assert asked.data is not None, "live checks are made of a data directory"
    return asked.data


def schema(asked: Asked) -> Found:
    """Look whether every page is sound, and whether the tables are those that this program makes."""
    if asked.db:
        return worst(doctor_database.sound(asked.db))
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

    reader = open_ledger(_data(asked), asked.db)
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
    needed, free = 2 * database_bytes(_data(asked), asked.db), shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        said = f"It was not replayed: that needs {needed >> 20} MiB for temporary files, and {free >> 20} are free."
        return Found("warn", said, "Make room, or name another place: TMPDIR.")
    with tempfile.TemporaryDirectory(prefix="tocsin-gate-") as folder:
        found, total, size = replay_ledger(_data(asked), Path(folder), watched, asked.db)
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
    store = open_beside(data, asked.db)
    try:
        wrong = house_keys.wrong(data, settings, store)
        signs = house_keys.is_signed(store)
    finally:
        store.close()
    if wrong:
        return Found("fail", f"{len(wrong)} things are wrong with the keys.", wrong=tuple(wrong))
    if not signs:
        return Found("warn", "No key signs this ledger yet.", "Start the server once: it makes one.")
    mark = mark_of(settings, data)
    if not mark.exists():
        said = f"{mark} is missing, so a database that was put back would not be noticed."
        return Found("warn", said, "Start the server: it writes it anew.")
    return Found(
        "ok", "The ledger's keys open and sign, the pepper is there, and nothing that was signed is lost."
    )


# What the doctor looks at


def clock(asked: Asked) -> Found:
    """Compare the clock with the ledger's last entry."""
    return found_by_doctor(doctor_house.clock(_data(asked), asked.db))


def backup(asked: Asked) -> Found:
    """Look how old the last backup is."""
    return found_by_doctor(doctor_house.last_backup(_data(asked), asked.db))


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
    store = open_beside(_data(asked), asked.db)
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
