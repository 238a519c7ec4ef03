"""A disk that loses what was not synced: a VFS beneath SQLite that knows what each file would be after a loss of power.

What is written goes to the real files, which play the page cache. Beside them the disk keeps what was synced, and
what was written since. A cut makes a new directory of the first, and of as much of the second as chance decides.

    with Disk(directory, random.Random(7), cut_to=after) as disk:
        disk.cut_at = 120          # the 120th write, sync, truncation, deletion or creation ends in PowerCut
        ...                        # whatever opens a database in `directory` now, opens it on this disk
"""

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import pytest

SECTORS = (512, 4096)
FATES = ("lost", "some", "torn", "late", "early", "kept", "junk")
"""What becomes of writes that nobody synced: none of them arrives; each by chance; each sector by chance; the last
ones only; the first ones only, and half of the one behind; all of them; the file only grows, and holds what lay there."""

_CREATES = apsw.SQLITE_OPEN_CREATE
_SYNCS_ITS_NAME = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
"""SQLite syncs the directory with the first sync of such a file (os_unix.c, UNIXFILE_DIRSYNC)."""


class PowerCut(BaseException):
    """The power is gone; whoever would go on has not survived it."""


@dataclass
class File:
    """durable: what was synced; pending: since then, in order, (offset, bytes) or (size, None) for a truncation."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)


@dataclass
class Fault:
    """Which operations of a kind fail. first: counted from now on, 1 for the next; times: how many from there on."""

    first: int
    times: int
    error: Callable[[], Exception]


def eio() -> Exception:
    """Make what SQLite gets to hear when the disk did not take it."""
    error = apsw.IOError("the disk says EIO")
    error.extendedresult = apsw.SQLITE_IOERR_FSYNC
    return error


def full() -> Exception:
    """Make what SQLite gets to hear when there is no room."""
    return apsw.FullError("the disk is full")


class Disk(apsw.VFS):
    """The disk beneath one directory, for as long as it is entered; files elsewhere are as ever.

    cut_to: where what survives is put, a directory that does not exist yet.
    """

    def __init__(self, directory: Path, chance: random.Random, *, cut_to: Path) -> None:
        self._directory = directory
        self._chance = chance
        self._cut_to = cut_to
        self.done = self.syncs = self.failed = 0
        self.cut_at: int | None = None
        self.is_dead = False
        self.fate = ""
        self._faults: dict[str, Fault] = {}
        self._files: dict[str, File] = {}
        if directory.is_dir():
            self._files = {path.name: File(bytearray(path.read_bytes())) for path in directory.iterdir()}
        self._named = dict(self._files)
        super().__init__("powerless", "unix", makedefault=True)

    def __enter__(self) -> Self:
        self._patched = pytest.MonkeyPatch()
        self._patched.setattr(apsw, "Connection", Connection)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._patched.undo()
        self.unregister()

    def fail(self, kind: str, first: int, times: int, error: Callable[[], Exception]) -> None:
        """Let some operations fail. kind: read, write or sync."""
        self._faults[kind] = Fault(first, times, error)

    def cut(self, fate: str = "") -> None:
        """Put what survives where it is to be. fate: one of FATES, "" for any. Raises: PowerCut, always."""
        self.is_dead = True
        self.fate = fate or self._chance.choice(FATES)
        self._cut_to.mkdir(parents=True)
        for name in sorted(self._files.keys() | self._named.keys()):
            was, now = self._named.get(name), self._files.get(name)
            # A name that came or went since the directory was synced may have done so, or not.
            file = was if was is now or self._chance.random() < 0.5 else now
            if file is not None and not name.endswith("-shm"):
                (self._cut_to / name).write_bytes(survivor(file, self.fate, self._chance))
        raise PowerCut(f"cut at operation {self.done}: {self.fate}")

    # What SQLite asks of it

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "/")
        if path.parent != self._directory:
            return apsw.VFSFile("unix", name, flags)
        if path.name not in self._files:
            if not path.exists() and flags[0] & _CREATES:
                self.step()
            self._files[path.name] = File(bytearray(path.read_bytes()) if path.exists() else bytearray())
        return Handle(self, self._files[path.name], bool(flags[0] & _SYNCS_ITS_NAME), name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        path = Path(name)
        super().xDelete(name, sync)
        if path.parent == self._directory:
            self._files.pop(path.name, None)
            self.step()
            if sync:
                self.sync_names()

    # What its files tell it

    def step(self) -> None:
        """Count an operation. Raises: PowerCut if it is the last one."""
        if not self.is_dead:
            self.done += 1
            if self.done == self.cut_at:
                self.cut()

    def try_to(self, kind: str) -> None:
        """Raises: what was said to happen to an operation of this kind."""
        if (fault := self._faults.get(kind)) is not None and not self.is_dead:
            fault.first -= 1
            if fault.first <= 0 < fault.times:
                fault.times -= 1
                self.failed += 1
                raise fault.error()

    def lose(self, file: File) -> None:
        """Forget what a sync that failed should have saved, as Linux does: the cache calls it clean from now on."""
        file.durable[:] = survivor(file, self._chance.choice(("lost", "some", "early")), self._chance)
        file.pending.clear()

    def sync_names(self) -> None:
        """Let the names in the directory survive as they are."""
        self._named = dict(self._files)


class Connection(apsw.Connection):
    """A connection that closes as it does over a disk of the operating system.

    SQLite says nothing if what it does last, folding the WAL, fails; apsw also tells what a VFS in Python raised.
    """

    def close(self, force: bool = False) -> None:
        with contextlib.suppress(apsw.Error, PowerCut):
            super().close(force)


class Handle(apsw.VFSFile):
    """A file that SQLite has open on the disk."""

    def __init__(self, disk: Disk, file: File, syncs_its_name: bool, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._file = file
        self._syncs_its_name = syncs_its_name

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.try_to("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.try_to("write")
        super().xWrite(data, offset)
        self._file.pending.append((offset, bytes(data)))
        self._disk.step()

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._file.pending.append((newsize, None))
        self._disk.step()

    def xSync(self, flags: int) -> None:
        self._disk.step()
        try:
            self._disk.try_to("sync")
        except apsw.Error:
            self._disk.lose(self._file)
            raise
        self._disk.syncs += 1
        apply(self._file.durable, self._file.pending)
        self._file.pending.clear()
        if self._syncs_its_name:
            self._disk.sync_names()


def survivor(file: File, fate: str, chance: random.Random) -> bytes:
    """Say what a file holds after the loss of power."""
    pending = file.pending
    match fate:
        case "lost":
            kept = []
        case "some":
            kept = [one for one in pending if chance.random() < 0.5]
        case "torn":
            sector = chance.choice(SECTORS)
            kept = [piece for one in pending for piece in _pieces(one, sector) if chance.random() < 0.7]
        case "late":
            kept = pending[chance.randrange(len(pending) + 1) :]
        case "early":
            kept = pending[: chance.randrange(len(pending) + 1)]
            if len(kept) < len(pending):
                pieces = _pieces(pending[len(kept)], chance.choice(SECTORS))
                kept = kept + pieces[: len(pieces) // 2]
        case "kept":
            kept = pending
        case _:
            kept = [
                (offset, chance.randbytes(len(data)))
                for offset, data in pending
                if data is not None and offset >= len(file.durable)
            ]
    data = bytearray(file.durable)
    apply(data, kept)
    return bytes(data)


def apply(data: bytearray, writes: list[tuple[int, bytes | None]]) -> None:
    """Do what was written, in order."""
    for offset, piece in writes:
        if piece is None:
            del data[offset:]
            continue
        if len(data) < offset:
            data.extend(bytes(offset - len(data)))
        data[offset : offset + len(piece)] = piece


def _pieces(write: tuple[int, bytes | None], sector: int) -> list[tuple[int, bytes | None]]:
    """Cut a write where sectors end."""
    offset, data = write
    if data is None:
        return [write]
    pieces: list[tuple[int, bytes | None]] = []
    end = offset + len(data)
    at = offset
    while at < end:
        until = min(end, (at // sector + 1) * sector)
        pieces.append((at, data[at - offset : until - offset]))
        at = until
    return pieces
