"""Archive: the one file that a backup is: what of a data directory belongs in it, how it is packed and how it is read.

A plain tar of files in one level, the manifest first. Whoever reads one cannot know who made it: only regular files
of the names that are known here are accepted, each once, and no larger than the archive itself.
"""

import fnmatch
import hashlib
import os
import stat
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

DATABASE = "tocsin.db"
BESIDE = ("pepper", "*.key", "tocsin.yaml")
"""Patterns of the files beside the database that belong to it: without them, it could not be used or trusted."""

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 65_536
FORMAT = 1
NAME_CHARACTERS_MAX = 100
"""A longer one would need a header of its own in the tar."""

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadArchive(Exception):
    """The file is no archive of ours, or was changed since it was written. Says what is wrong."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the archive. sha256: 64 hex digits."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself. made_at: ISO 8601; size, root (64 hex digits): of the ledger in it."""

    format: int
    program: str
    made_at: str
    size: int
    root: str
    schema: int
    members: tuple[Member, ...]


class Place(NamedTuple):
    """Where a file lies in the archive."""

    offset: int
    bytes: int


def instant(at: int) -> str:
    """Microseconds UTC as ISO 8601."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(iso: str) -> int:
    """ISO 8601 with an offset as microseconds UTC. Raises: ValueError, also without an offset."""
    moment = datetime.fromisoformat(iso)
    if moment.tzinfo is None:
        raise ValueError(f"{iso} has no offset")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def belongs(name: str) -> bool:
    """Say whether a file of this name may be in an archive."""
    is_plain = name.isascii() and name.isprintable() and "/" not in name and len(name) < NAME_CHARACTERS_MAX
    return is_plain and any(fnmatch.fnmatchcase(name, pattern) for pattern in (DATABASE, *BESIDE))


def found_beside(directory: Path) -> list[Path]:
    """Give the regular files of a data directory that belong to its database, by name; no links."""
    names = sorted(name for name in os.listdir(directory) if name != DATABASE and belongs(name))
    return [path for name in names if stat.S_ISREG((path := directory / name).lstat().st_mode)]


def digest(path: Path) -> Member:
    """Describe a file as a member."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(name=path.name, bytes=file.tell(), sha256=found)


def pack(to: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write an archive to a new file that only its owner can read, and have it on the disk.

    files: member name -> where it lies now.
    """
    said = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    made_s = microseconds(manifest.made_at) // 1_000_000
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        first = to.with_name(MANIFEST)
        first.write_bytes(said)
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, path in {MANIFEST: first, **files}.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = path.stat().st_size, made_s, 0o600
                with path.open("rb") as member:
                    tar.addfile(info, member)
        file.flush()
        os.fsync(file.fileno())


class Archive:
    """An archive that is read. Its members are as its manifest says once `take` has given them all.

    Raises: BadArchive, OSError.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        # What is checked shall be what is on the disk, not what is still in memory from writing it.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._places = _places(file)
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        place = self._places.pop(MANIFEST, None)
        if place is None or place.bytes > MANIFEST_BYTES_MAX:
            raise BadArchive("it holds no manifest")
        self._file.seek(place.offset)
        try:
            manifest = msgspec.json.decode(self._file.read(place.bytes), type=Manifest)
            microseconds(manifest.made_at)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadArchive(f"its manifest cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise BadArchive(f"it has format {manifest.format}; this program knows {FORMAT}")
        named = {member.name: member.bytes for member in manifest.members}
        if DATABASE not in named or named != {name: place.bytes for name, place in self._places.items()}:
            raise BadArchive("it does not hold the files that its manifest names")
        return manifest

    def take(self, member: Member, to: Path | None = None) -> None:
        """Check a member, and write it to a new file that only its owner can read.

        Raises: BadArchive if its digest is another; what was written is wrong then.
        """
        self._file.seek(self._places[member.name].offset)
        found, left = hashlib.sha256(), member.bytes
        target = os.devnull if to is None else to
        flags = os.O_WRONLY | (0 if to is None else os.O_CREAT | os.O_EXCL)
        with os.fdopen(os.open(target, flags | os.O_CLOEXEC, 0o600), "wb") as file:
            while left and (chunk := self._file.read(min(left, CHUNK))):
                found.update(chunk)
                file.write(chunk)
                left -= len(chunk)
            file.flush()
            if to is not None:
                os.fsync(file.fileno())
        if found.hexdigest() != member.sha256:
            raise BadArchive(f"{member.name} in it was changed: its digest is not the one in the manifest")


def _places(file: IO[bytes]) -> dict[str, Place]:
    """Find the members by the headers alone, of which each must be a plain one: no links, no long names, no holes."""
    file.seek(0, os.SEEK_END)
    end, offset = file.tell(), 0
    places: dict[str, Place] = {}
    while offset < end:
        file.seek(offset)
        block = file.read(BLOCK)
        if block == bytes(BLOCK):
            return places
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise BadArchive(f"it is no tar file, or a broken one ({error})") from error
        offset += BLOCK
        if info.type != tarfile.REGTYPE or not (info.name == MANIFEST or belongs(info.name)):
            raise BadArchive(f"it holds {info.name[:80]!r}, which no backup has")
        if info.name in places:
            raise BadArchive(f"it holds {info.name} twice")
        if not 0 <= info.size <= end - offset:
            raise BadArchive(f"it ends in the middle of {info.name}")
        places[info.name] = Place(offset, info.size)
        offset += -(-info.size // BLOCK) * BLOCK
    raise BadArchive("it ends before its end mark")
