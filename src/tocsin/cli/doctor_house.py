"""The doctor at home: versions, the data directory, its disk, the embedded store in it, the last backup, the clock."""

import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tocsin.cli.archive import DATABASE, microseconds
from tocsin.cli.backup import LAST_BACKUP
from tocsin.cli.doctor_check import Check, State, checked
from tocsin.core.model.errors import NotFound
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND
from tocsin.ports import StoreFailed
from tocsin.runtime.node import CLOCK_BEHIND_MAX
from tocsin.wiring.machine import build_clock
from tocsin.wiring.stores import check_database, open_ledger, store_versions

PYTHON_MENDED = {(3, 11): 15, (3, 12): 13, (3, 13): 12, (3, 14): 3}
"""(major, minor) -> the first patch without CVE-2024-6923 and CVE-2026-1299: line breaks in the headers of e-mail."""

SQLITE_BROKEN = ((3, 7, 0), (3, 51, 2))
"""From, to: a WAL that is reset while another connection checkpoints may corrupt the file (sqlite.org/wal.html)."""

FREE_FAIL, FREE_WARN = 64 << 20, 1 << 30
SYNCS = 50
SYNC_BYTES = 4096
SYNC_WARN_MS = 20.0
BACKUP_AGE_WARN = 7 * DAY
NETWORK_DISKS = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "fuse.sshfs",
)


def look(data: Path, db: str = "") -> list[Check]:
    """Look at all of it. Every question about the directory is skipped while there is none.

    db: see `open_ledger`; what lies there is another doctor's.
    """
    checks = [checked("versions", versions), checked("python", python)]
    if not data.is_dir():
        said = f"There is no directory {data} yet; the first start makes it."
        return [*checks, Check("data", "skipped", said, "If it is elsewhere, name it: --data.")]
    of_store: tuple[tuple[str, Callable[[Path], Check]], ...] = (
        ("disk", disk),
        ("disk sync", disk_sync),
        ("database", database),
    )
    of_all: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("backup", lambda: last_backup(data, db)),
        ("clock", lambda: clock(data, db)),
    )
    checks.append(checked("data", lambda: directory(data)))
    if not db:
        checks += [checked(name, lambda look=look: look(data)) for name, look in of_store]  # type: ignore[misc]
    checks += [checked(name, look) for name, look in of_all]
    return [*checks, checked("time service", time_service)]


def versions() -> Check:
    from importlib.metadata import version

    apsw, sqlite = store_versions()
    said = f"Tocsin {version('tocsin')}, Python {platform.python_version()}, apsw {apsw}, SQLite {sqlite}."
    low, high = SQLITE_BROKEN
    if low <= tuple(int(part) for part in sqlite.split(".")[:3]) <= high:
        return Check(
            "versions", "warn", said, f"SQLite up to {_dotted(high)} can corrupt a WAL: install a newer apsw."
        )
    return Check("versions", "ok", said)


def python(running: tuple[int, int, int] = sys.version_info[:3]) -> Check:
    """Compare the running Python with the first one of its line that is mended."""
    mended = PYTHON_MENDED.get(running[:2], 0)
    if running[:2] < min(PYTHON_MENDED) or running[2] < mended:
        said = f"Python {_dotted(running)} lets line breaks into the headers of e-mail (CVE-2024-6923, CVE-2026-1299)."
        step = f"Tocsin checks them itself; still, update to {_dotted((*running[:2], mended))}."
        return Check("python", "warn", said, step)
    return Check("python", "ok", f"Python {_dotted(running)} has no hole that Tocsin knows of.")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def directory(data: Path) -> Check:
    found = data.stat()
    if not os.access(data, os.W_OK | os.X_OK):
        return Check(
            "data", "fail", f"{data} may not be written by this user.", "Run this as the user of the server."
        )
    if found.st_uid != os.geteuid():
        said = f"{data} belongs to user {found.st_uid}, and this is user {os.geteuid()}."
        return Check("data", "warn", said, "Run this as the user of the server.")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        said = f"{data} has mode {mode:04o}, so other users may enter it."
        return Check("data", "warn", said, f"chmod 0700 {data}")
    return Check("data", "ok", f"{data} belongs to this user and to nobody else.")


def disk(data: Path) -> Check:
    free = shutil.disk_usage(data).free
    kind = file_system(data.resolve(), Path("/proc/self/mountinfo"))
    room = f"{free >> 20} MiB are free"
    if kind in NETWORK_DISKS:
        said = (
            f"{data} is on a network file system ({kind}), whose locks and syncs cannot be relied on; {room}."
        )
        return Check("disk", "fail", said, "Move it to a local disk.")
    if free < FREE_WARN:
        state: State = "fail" if free < FREE_FAIL else "warn"
        return Check(
            "disk", state, f"Only {room} for {data}.", "Make room; without any, nothing is accepted."
        )
    return Check("disk", "ok", f"It is a local disk ({kind or 'of unknown kind'}); {room}.")


def file_system(path: Path, mounts: Path) -> str:
    """Name the kind of file system that a path is on, "" if the machine does not say.

    mounts: as /proc/self/mountinfo, see proc(5): the fifth word is where, the one after ` - ` what.
    """
    best, kind = -1, ""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        where = Path(left.split()[4].replace("\\040", " "))
        if (
            path.is_relative_to(where) and len(where.parts) >= best
        ):  # The later of two at one place covers the other.
            best, kind = len(where.parts), right.split()[0]
    return kind


def disk_sync(data: Path) -> Check:
    """Measure what every commit waits for."""
    now = build_clock().now
    took = []
    with tempfile.TemporaryFile(dir=data) as file:
        for _ in range(SYNCS):
            began = now()
            file.write(bytes(SYNC_BYTES))
            file.flush()
            os.fsync(file.fileno())
            took.append((now() - began) / 1000)
    took.sort()
    median, late = took[SYNCS // 2], took[SYNCS * 99 // 100]
    said = f"Writing {SYNC_BYTES >> 10} KiB durably takes {median:.2f} ms (median), {late:.2f} ms (p99), of {SYNCS}."
    if median > SYNC_WARN_MS:
        step = "Each commit waits for it. Use a faster disk, or find what else uses it."
        return Check("disk sync", "warn", said, step)
    return Check("disk sync", "ok", said)


def database(data: Path) -> Check:
    path = data / DATABASE
    if not path.exists():
        return Check("database", "skipped", f"Nothing is stored in {data} yet.", "Start it: tocsin serve.")
    try:
        found = check_database(path, quickly=True)
    except Exception as error:
        step = "Keep the directory as it is, and restore a backup into another one: tocsin restore."
        return Check("database", "fail", f"{error}.".replace("..", "."), step)
    said = f"Its pages are sound; schema {found.schema}; {found.size} entries, root {found.root.hex()[:8]}."
    return Check("database", "ok", said)


def last_backup(data: Path, db: str = "") -> Check:
    """Tell the age of the last backup that was made here."""
    if not db and not (data / DATABASE).exists():
        return Check("backup", "skipped", f"Nothing is stored in {data} yet.")
    step = f"Make one: tocsin backup FILE --data {data}{' --db URL' * bool(db)}"
    try:
        made_at = microseconds(json.loads((data / LAST_BACKUP).read_text())["made_at"])
    except FileNotFoundError:
        return Check("backup", "warn", "No backup by `tocsin backup` is known of.", step)
    age = build_clock().wall() - made_at
    said = f"The last backup is {_age(age)} old."
    return Check("backup", "warn", said, step) if age > BACKUP_AGE_WARN else Check("backup", "ok", said)


def clock(data: Path, db: str = "") -> Check:
    """Compare the wall clock with the ledger's last entry; no time server is asked."""
    try:
        reader = open_ledger(data, db)
    except NotFound:
        return Check("clock", "skipped", "There is no ledger to compare it with yet.")
    except StoreFailed:
        if not db:
            raise
        return Check("clock", "skipped", "The database, whose ledger it is compared with, is not to be had.")
    try:
        end = reader.end()
    finally:
        reader.close()
    if not end.size:
        return Check("clock", "skipped", "There is no entry to compare it with yet.")
    age = build_clock().wall() - end.at
    if age < -CLOCK_BEHIND_MAX:
        said = f"The clock stands {_age(-age)} before the ledger's last entry, so a server would not start."
        return Check("clock", "fail", said, "Set it; or, if it is right: tocsin serve --accept-clock.")
    if age < -SECOND:
        said = f"The clock stands {_age(-age)} before the ledger's last entry."
        return Check("clock", "warn", said, "See that a time service keeps it.")
    return Check("clock", "ok", f"The ledger's last entry is {_age(max(age, 0))} old.")


def _age(microseconds_: int) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if microseconds_ >= 2 * unit:
            return f"{microseconds_ // unit} {name}"
    return f"{microseconds_ // SECOND} seconds"


def time_service() -> Check:
    """Ask systemd, which knows whether something keeps the clock."""
    asked = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=3, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return Check("time service", "skipped", "timedatectl does not answer here.")
    if said == "yes":
        return Check("time service", "ok", "The clock is kept by a time service.")
    step = "Switch one on: timedatectl set-ntp true."
    return Check("time service", "warn", "No time service keeps the clock.", step)
