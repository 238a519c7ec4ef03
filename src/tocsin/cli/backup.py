"""Backup: one verified file with everything in it, taken beside a running server or nodes; and the way back.

Whatever a store is on, a backup holds it as an embedded one, so each can be put back on either.

Nothing is put in place before it was checked: an archive appears under its name only when it was read back and its
ledger recomputed, and a data directory is filled only from files that went through the same.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tocsin.cli.client import DATA, db_option
from tocsin.cli.exits import CONFLICT, NOT_FOUND, UNEXPECTED, VERIFICATION_FAILED, Failure, told
from tocsin.cli.plain import plain
from tocsin.cli.show import doing, output_option, show_json, wants_json

if TYPE_CHECKING:
    from tocsin.cli.archive import Archive

LAST_BACKUP = "last-backup.json"
"""In the data directory: when the last backup was made, and of what. `tocsin doctor` reads it."""

ROOM_SPARED = 16 << 20
"""Bytes that are left free beside what is written."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True,
    help="The data directory, whether a server runs on it or not.",
)  # fmt: skip
@db_option
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@output_option
def backup(file: Path, data: Path, db: str, force: bool, output: str | None) -> None:
    """Write everything that is stored to FILE, and verify it.

    That is what the data directory holds, or for a node its PostgreSQL. Servers may go on running. FILE holds the
    database with its keys, the key files and tocsin.yaml, so keep it as you keep those: it is readable by its owner
    only. Exits 7 if what was read back is not sound.
    """
    with told(), _failing(f"{file} was not written"):
        answer = _back_up(file, data, db, force)
    if wants_json(output):
        show_json(answer)
        return
    click.echo(f"{plain(file)} was verified after writing. It holds the ledger up to {answer['short']}.")
    click.echo(f"of       {plain(answer['of'])}")
    _echo(answer)


def _back_up(file: Path, data: Path, db: str, force: bool) -> dict[str, Any]:
    from importlib.metadata import version

    from tocsin.cli import archive
    from tocsin.wiring.machine import build_clock
    from tocsin.wiring.stores import check_database, copy_database, database_bytes, name_of_store

    _check_target(file, force)
    clock = build_clock()
    began = clock.now()
    # The copy, and the archive that it is then packed into.
    _check_room(file.parent, 2 * database_bytes(data, db))
    with _staging(file.parent, file.name) as staging:
        copies = {archive.DATABASE: staging / archive.DATABASE}
        copy_database(data, copies[archive.DATABASE], db)
        if db:
            _check_keys(data, staging)
        for path in archive.found_beside(data):  # After the database, whose tokens need them.
            copies[path.name] = staging / path.name
            copies[path.name].write_bytes(path.read_bytes())
        members = tuple(archive.digest(path) for path in copies.values())
        copied = check_database(copies[archive.DATABASE])
        manifest = archive.Manifest(
            format=archive.FORMAT,
            program=version("tocsin"),
            made_at=archive.instant(began),
            size=copied.size,
            root=copied.root.hex(),
            schema=copied.schema,
            members=members,
        )
        packed = staging / "archive.tar"
        archive.pack(packed, manifest, copies)
        with packed.open("rb") as written:
            read = archive.Archive(written)
            assert read.manifest == manifest
            for (
                member
            ) in members:  # The database that was verified above is, byte for byte, the one in there.
                read.take(member)
        size = packed.stat().st_size
        _check_target(file, force)
        packed.replace(file)
    _sync(file.parent)
    answer = {
        "file": str(file),
        "of": name_of_store(data, db),
        "short": f"{copied.size}:{copied.root.hex()[:8]}",
        "entries": copied.size,
        "root": copied.root.hex(),
        "made_at": manifest.made_at,
        "members": [member.name for member in members],
        "bytes": size,
        "seconds": round((clock.now() - began) / 1_000_000, 3),
    }
    kept = {name: answer[name] for name in ("made_at", "entries", "root", "bytes")}
    with contextlib.suppress(OSError):  # Whoever may only read the directory may still back it up.
        _write(data / LAST_BACKUP, kept)
    return answer


def _check_keys(data: Path, copied: Path) -> None:
    """See that the key files of a data directory are those of the store that was copied from elsewhere.

    The ledger's key may lie elsewhere too, as the settings say; that is told. Raises: Failure (3).
    """
    from tocsin.cli import house_keys
    from tocsin.runtime.kek import KEY_FILE
    from tocsin.settings import Settings
    from tocsin.wiring.stores import open_beside

    store = open_beside(copied)
    try:
        wrong = [*house_keys.pepper(data, store)]
        if not (data / KEY_FILE).exists():
            said = f"{KEY_FILE} is not in {plain(data)}. Wherever it is: keep it too, nothing can be signed without."
            click.echo(said, err=True)
        elif house_keys.is_signed(store):
            wrong += house_keys.signs(data, Settings(), store)
    finally:
        store.close()
    if wrong:
        said = ". ".join(one.rstrip(".") for one in wrong)
        raise Failure(
            f"{data} has not the keys of this database: {said}. Name the directory of a node: --data.",
            NOT_FOUND,
        )


def _check_target(file: Path, force: bool) -> None:
    if not file.parent.is_dir():
        raise Failure(f"{file.parent} is no directory. Make it, or name another FILE.", NOT_FOUND)
    if file.is_dir():
        raise Failure(f"{file} is a directory. Name the file: {file / 'tocsin-backup.tar'}.", CONFLICT)
    if os.path.lexists(file) and not force:
        raise Failure(f"{file} is there already. Name another, or replace it: --force.", CONFLICT)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True,
    help="The data directory to fill; made if it is not there.",
)  # fmt: skip
@click.option(
    "--db",
    metavar="URL",
    default="",
    envvar="TOCSIN_DB",
    help="Fill this empty PostgreSQL, for nodes; only keys and settings go to the data directory then.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Move what is in the data directory to a folder in it, instead of refusing.",
)
@output_option
def restore(file: Path, data: Path, db: str, replace: bool, output: str | None) -> None:
    """Fill a data directory, or a PostgreSQL, from FILE, which `tocsin backup` wrote.

    FILE is checked first: its digests, every page of the database, every entry of the ledger. Exits 7, and changes
    nothing, if it is not sound; 4 if something is in the directory or the PostgreSQL; 1 if a server runs on it.
    """
    with told(), _failing(f"{data} was not restored"):
        answer = _restore(file, data, db, replace)
    if wants_json(output):
        show_json(answer)
        return
    where = answer["database"] or data
    click.echo(f"{plain(where)} holds the ledger as it was at {answer['made_at']}, up to {answer['short']}.")
    if answer["moved_to"]:
        click.echo(f"What was in it is in {plain(answer['moved_to'])}. Nothing was deleted.")
    _echo(answer)
    if answer["database"]:
        click.echo(f"Start a node, then the others: tocsin serve --data {plain(data)} --db URL")
        click.echo(f"Each needs pepper and ledger.key as they are in {plain(data)}.")
    else:
        click.echo(f"Start it: tocsin serve --data {plain(data)}")


def _restore(file: Path, data: Path, db: str, replace: bool) -> dict[str, Any]:
    from tocsin.cli import archive
    from tocsin.wiring.machine import build_clock
    from tocsin.wiring.stores import RESTORED, hold_directory, name_of_database

    clock = build_clock()
    began = clock.now()
    with file.open("rb") as opened:
        source = archive.Archive(opened)
        manifest = source.manifest
        database = name_of_database(db) if db else ""
        if db:
            _check_empty(db, database)
        _make_directory(data)
        with hold_directory(data):
            if (there := _there(data)) and not replace:
                raise Failure(
                    f"{data} holds {', '.join(there)} already. Name another --data, or have it moved aside: --replace.",
                    CONFLICT,
                )
            _check_room(data, sum(member.bytes for member in manifest.members))
            with _staging(data, "restoring") as staging:
                _take_all(source, staging)
                names = [member.name for member in manifest.members if member.name != archive.DATABASE]
                note = {
                    "made_at": manifest.made_at,
                    "size": manifest.size,
                    "root": manifest.root,
                    "archive": file.name,
                    "restored_at": archive.instant(began),
                }
                if db:
                    _fill(db, database, staging, note)
                else:
                    _write(staging / RESTORED, note)
                    # The database comes last: while it is missing, the directory is not taken for a whole one.
                    names += [RESTORED, archive.DATABASE]
                placed = [member.name for member in manifest.members if member.name in names]
                moved_to = _move_aside(data, there, began) if there else None
                for name in names:
                    _give_to_owner(staging / name, data)
                    (staging / name).replace(data / name)
                _sync(data)
    return {
        "data": str(data),
        "database": database,
        "short": f"{manifest.size}:{manifest.root[:8]}",
        "entries": manifest.size,
        "root": manifest.root,
        "made_at": manifest.made_at,
        "members": placed,
        "bytes": sum(member.bytes for member in manifest.members),
        "moved_to": None if moved_to is None else str(moved_to),
        "seconds": round((clock.now() - began) / 1_000_000, 3),
    }


def _check_empty(db: str, name: str) -> None:
    from tocsin.wiring.stores import is_empty

    if not is_empty(db):
        raise Failure(
            f"{name} holds a Tocsin's data already. Name an empty database, or drop and create it; to fill the data "
            "directory instead, say so: --db ''.",
            CONFLICT,
        )


def _fill(db: str, name: str, staging: Path, note: dict[str, Any]) -> None:
    """Fill the database from what was unpacked. Raises: Failure (7) if what arrived is not sound."""
    from tocsin.core.ledger.verify import Damaged
    from tocsin.wiring.stores import restore_into

    try:
        with doing("Restoring") as tell:
            head = restore_into(db, staging, json.dumps(note).encode(), tell)
    except Damaged as error:
        raise Failure(
            f"What arrived in {name} is not sound ({error}). Drop that database.", VERIFICATION_FAILED
        ) from error
    assert (head.size, head.root.hex()) == (note["size"], note["root"])


def _take_all(source: "Archive", staging: Path) -> None:
    """Unpack the members beside their place, and check them all."""
    from tocsin.cli import archive
    from tocsin.wiring.stores import check_database

    for member in source.manifest.members:
        source.take(member, staging / member.name)
    found = check_database(staging / archive.DATABASE)
    if (found.size, found.root.hex()) != (source.manifest.size, source.manifest.root):
        raise archive.BadArchive("its ledger is not the one that its manifest names")


def _make_directory(data: Path) -> None:
    if not data.exists():
        data.mkdir(mode=0o700, parents=True)
    if not data.is_dir():
        raise Failure(f"{data} is no directory. Name another --data.", CONFLICT)


def _there(data: Path) -> list[str]:
    """Name what is in the directory and belongs to a database, or would be taken for it."""
    from tocsin.cli import archive
    from tocsin.wiring.stores import DATABASE_FILES, RESTORED

    also = (*DATABASE_FILES, RESTORED, LAST_BACKUP)
    return sorted(name for name in os.listdir(data) if name in also or archive.belongs(name))


def _move_aside(data: Path, names: list[str], at: int) -> Path:
    from tocsin.cli import archive

    stem = f"replaced-{archive.instant(at)[:19].replace(':', '')}Z"
    number, aside = 1, data / stem
    while aside.exists():
        number += 1
        aside = data / f"{stem}-{number}"
    aside.mkdir(mode=0o700)
    _give_to_owner(aside, data)
    for name in names:
        (data / name).rename(aside / name)
    return aside


def _give_to_owner(path: Path, directory: Path) -> None:
    """Let root restore for the user of the service."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _check_room(directory: Path, wanted: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < wanted + ROOM_SPARED:
        raise Failure(
            f"{directory} has {free >> 20} MiB free, and {(wanted + ROOM_SPARED >> 20) + 1} MiB are needed. "
            "Make room, or name a place on another disk.",
            UNEXPECTED,
        )


@contextlib.contextmanager
def _staging(directory: Path, name: str) -> Iterator[Path]:
    """Give a folder that only we can read and that is gone afterwards, also when we are told to stop."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as made:
            yield Path(made)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    """Tell what a file or a file system can do to us. what: what did not happen."""
    from tocsin.cli.archive import BadArchive
    from tocsin.core.ledger.verify import Damaged

    try:
        yield
    except BadArchive as error:
        raise Failure(
            f"{what}: the archive cannot be used: {error}. Use another.", VERIFICATION_FAILED
        ) from error
    except Damaged as error:
        raise Failure(
            f"{what}: {error}. Look with: tocsin ledger verify; and use an older backup.", VERIFICATION_FAILED
        ) from error
    except FileNotFoundError as error:
        raise Failure(f"{what}: {error.filename} is not there. Look at its name.", NOT_FOUND) from error
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        raise Failure(f"{what}: {why}. Look at the disk, and at who may write there.") from error


def _write(path: Path, value: object) -> None:
    """Write JSON that only its owner can read, at once or not at all, and have it on the disk."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _echo(answer: dict[str, Any]) -> None:
    click.echo(f"entries  {answer['entries']}")
    click.echo(f"root     {answer['root']}")
    click.echo(f"files    {plain(', '.join(answer['members']))}")
    click.echo(f"bytes    {answer['bytes']}")
    click.echo(f"time     {answer['seconds']:.2f} s")
