"""`tocsin backup` and `tocsin restore` on real data directories, and on archives that somebody made to hurt us."""

import io
import json
import os
import shutil
import signal
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result
from tests.cli.running import run_without_room
from tests.core.ledger.ledgers import Ledger, make_ledger

from tocsin.cli import archive
from tocsin.cli.main import main
from tocsin.stores.sqlite import SqliteStore

PEPPER = bytes(range(32))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    """A data directory with everything in it that a server leaves there, and its ledger."""
    data = tmp_path_factory.mktemp("written")
    ledger = make_ledger(data, seed=3, turns=80)
    (data / "pepper").write_bytes(PEPPER)
    (data / "checkpoint.key").write_bytes(b"key")
    (data / "tocsin.yaml").write_text("channels: []\n")
    for name in ("url", "operator-token", "notes.txt"):
        (data / name).write_text("not in a backup")
    return data, ledger


@pytest.fixture
def data(written: tuple[Path, Ledger], tmp_path: Path) -> Path:
    """A copy of the directory, to be damaged."""
    return Path(shutil.copytree(written[0], tmp_path / "data"))


@pytest.fixture(scope="module")
def kept(written: tuple[Path, Ledger], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    file = tmp_path_factory.mktemp("kept") / "kept.tar"
    assert tocsin("backup", file, "--data", written[0]).exit_code == 0
    return file


def tocsin(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file, "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def everything_in(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Backup


def test_a_backup_holds_the_database_its_keys_and_the_configuration_and_nothing_else(
    data: Path, written: tuple[Path, Ledger], tmp_path: Path
) -> None:
    ran = tocsin("backup", tmp_path / "b.tar", "--data", data)

    answer = json.loads(ran.stdout)
    held = members(tmp_path / "b.tar")
    root = written[1].end.root.hex()
    assert ran.exit_code == 0
    assert set(held) == {"manifest.json", "tocsin.db", "pepper", "checkpoint.key", "tocsin.yaml"}
    assert held["pepper"] == PEPPER
    assert mode(tmp_path / "b.tar") == 0o600
    assert answer["entries"] == written[1].end.size
    assert answer["short"] == f"{written[1].end.size}:{root[:8]}"
    assert answer["bytes"] == (tmp_path / "b.tar").stat().st_size
    assert json.loads(held["manifest.json"])["root"] == root
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "data"]


def test_a_backup_is_made_while_another_process_holds_the_directory(data: Path, tmp_path: Path) -> None:
    store = SqliteStore(data)
    try:
        ran = tocsin("backup", tmp_path / "b.tar", "--data", data)
    finally:
        store.close()

    assert ran.exit_code == 0


def test_what_a_killed_server_left_in_its_wal_is_in_the_backup(data: Path, tmp_path: Path) -> None:
    store = SqliteStore(data)
    try:
        store.keep_secret("late", b"still in the WAL")
        assert (data / "tocsin.db-wal").stat().st_size > 0
        killed = Path(shutil.copytree(data, tmp_path / "killed"))
    finally:
        store.close()

    assert tocsin("backup", tmp_path / "b.tar", "--data", killed).exit_code == 0
    assert tocsin("restore", tmp_path / "b.tar", "--data", tmp_path / "new").exit_code == 0
    store = SqliteStore(tmp_path / "new")
    try:
        assert store.secret("late") == b"still in the WAL"
    finally:
        store.close()


def test_a_file_that_is_there_is_replaced_only_by_force(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    file.write_text("precious")

    refused = tocsin("backup", file, "--data", data)

    assert refused.exit_code == 4
    assert "--force" in refused.stderr
    assert file.read_text() == "precious"
    assert tocsin("backup", file, "--data", data, "--force").exit_code == 0
    assert "tocsin.db" in members(file)


def test_a_link_in_the_data_directory_is_not_followed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("somebody else's")
    (data / "stolen.key").symlink_to(tmp_path / "elsewhere")

    tocsin("backup", tmp_path / "b.tar", "--data", data)

    assert "stolen.key" not in members(tmp_path / "b.tar")


def test_a_place_without_room_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil._ntuple_diskusage(1 << 30, (1 << 30) - 4096, 4096)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)

    ran = tocsin("backup", tmp_path / "b.tar", "--data", data)

    assert ran.exit_code == 1
    assert "0 MiB free" in ran.stderr
    assert "Make room" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("where", ["at once", "in the copy", "in the archive"])
def test_a_write_that_fails_half_way_leaves_nothing_and_the_old_file_as_it_was(
    data: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "b.tar").write_text("the old one")
    size = (data / "tocsin.db").stat().st_size
    limit = {"at once": 1024, "in the copy": size // 2, "in the archive": size + 512}[where]

    ran = run_without_room(limit, "backup", tmp_path / "b.tar", "--data", data, "--force")

    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "b.tar").read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "data"]


def test_a_backup_that_is_told_to_stop_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_now(path: Path) -> None:
        assert path.stat().st_size > 0  # The copy is there, the archive is not.
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("tocsin.wiring.stores.check_database", stop_now)

    ran = tocsin("backup", tmp_path / "b.tar", "--data", data)

    assert ran.exit_code == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_ledger_that_was_changed_makes_no_backup(data: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(data / "tocsin.db"))
    connection.execute("UPDATE segments SET root = zeroblob(32) WHERE first_seq = 0").fetchall()
    connection.close()

    ran = tocsin("backup", tmp_path / "b.tar", "--data", data)

    assert ran.exit_code == 7
    assert "the ledger is wrong from entry" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_pages_that_were_overwritten_make_no_backup(data: Path, tmp_path: Path) -> None:
    with (data / "tocsin.db").open("r+b") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(16 * 4096))

    ran = tocsin("backup", tmp_path / "b.tar", "--data", data)

    assert ran.exit_code == 7
    assert not (tmp_path / "b.tar").exists()


def test_a_directory_without_a_ledger_is_not_found(tmp_path: Path) -> None:
    assert tocsin("backup", tmp_path / "b.tar", "--data", tmp_path / "nothing").exit_code == 3
    assert tocsin("backup", tmp_path / "no" / "b.tar", "--data", tmp_path).exit_code == 3
    assert [*tmp_path.iterdir()] == []


# Restore


def test_a_restored_directory_is_the_one_that_was_kept(
    kept: Path, written: tuple[Path, Ledger], tmp_path: Path
) -> None:
    ran = tocsin("restore", kept, "--data", tmp_path / "new")

    new = tmp_path / "new"
    said = json.loads((new / "restored.json").read_text())
    assert ran.exit_code == 0
    assert mode(new) == 0o700
    assert {path.name: mode(path) for path in new.iterdir()} == dict.fromkeys(
        ["lock", "tocsin.db", "pepper", "checkpoint.key", "tocsin.yaml", "restored.json"], 0o600
    )
    assert (new / "pepper").read_bytes() == PEPPER
    assert {name: said[name] for name in ("size", "root", "archive")} == {
        "size": written[1].end.size,
        "root": written[1].end.root.hex(),
        "archive": "kept.tar",
    }
    assert said["made_at"] <= said["restored_at"]
    assert tocsin("ledger", "verify", "--data", new).exit_code == 0


def test_what_is_in_the_directory_is_left_alone(kept: Path, data: Path) -> None:
    before = everything_in(data)

    ran = tocsin("restore", kept, "--data", data)

    assert ran.exit_code == 4
    assert "--replace" in ran.stderr
    assert everything_in(data) | {"lock": b""} == before | {"lock": b""}


def test_a_key_that_is_there_already_is_not_overwritten(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "pepper").write_bytes(b"mine")

    ran = tocsin("restore", kept, "--data", tmp_path / "new")

    assert ran.exit_code == 4
    assert (tmp_path / "new" / "pepper").read_bytes() == b"mine"


def test_replace_moves_the_old_one_aside_and_deletes_nothing(kept: Path, data: Path) -> None:
    (data / "pepper").write_bytes(b"another pepper")
    (data / "other.key").write_bytes(b"another key")
    before = everything_in(data)

    ran = tocsin("restore", kept, "--data", data, "--replace")

    aside = Path(json.loads(ran.stdout)["moved_to"])
    assert ran.exit_code == 0
    assert aside.parent == data
    assert mode(aside) == 0o700
    moved = {"tocsin.db", "pepper", "checkpoint.key", "other.key", "tocsin.yaml"}
    assert {name: content for name, content in everything_in(aside).items() if name in moved} == {
        name: before[name] for name in moved
    }
    assert (data / "pepper").read_bytes() == PEPPER
    assert not (data / "other.key").exists()
    assert (data / "notes.txt").exists()


def test_a_directory_that_somebody_holds_is_not_restored_into(kept: Path, data: Path) -> None:
    store = SqliteStore(data)
    try:
        ran = tocsin("restore", kept, "--data", data, "--replace")
    finally:
        store.close()

    assert ran.exit_code == 1
    assert "Another Tocsin runs on" in ran.stderr
    assert not (data / "restored.json").exists()


def test_an_archive_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    ran = tocsin("restore", tmp_path / "gone.tar", "--data", tmp_path / "new")

    assert ran.exit_code == 3
    assert not (tmp_path / "new").exists()


# Archives that somebody changed, or made

Entries = list[tuple[tarfile.TarInfo, bytes]]


def tar(entries: Entries) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as made:
        for info, content in entries:
            made.addfile(info, io.BytesIO(content))
    return file.getvalue()


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entries:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return [(info, content)]


def entries_of(kept: Path, **changed: bytes) -> Entries:
    return [
        (one, content)
        for name, old in members(kept).items()
        for one, content in entry(name, changed.get(name.replace(".", "_"), old))
    ]


def manifest(kept: Path, **changed: object) -> bytes:
    return json.dumps(json.loads(members(kept)["manifest.json"]) | changed).encode()


def naming(kept: Path, name: str, content: bytes) -> bytes:
    """A manifest that also names this file, so that only its name can be what is wrong."""
    path = kept.with_name("described")
    path.write_bytes(content)
    described = archive.digest(path)
    named = json.loads(members(kept)["manifest.json"])["members"]
    return manifest(
        kept, members=[*named, {"name": name, "bytes": described.bytes, "sha256": described.sha256}]
    )


def with_member(kept: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    content = b"evil" if kind == tarfile.REGTYPE else b""
    return tar(
        entries_of(kept, manifest_json=naming(kept, name, content))
        + entry(name, content, kind=kind, link=link)
    )


def flipped(kept: Path, at: int) -> bytes:
    content = bytearray(kept.read_bytes())
    content[at] ^= 1
    return bytes(content)


def with_size(kept: Path, size: int) -> bytes:
    """The last member says that it has so many bytes."""
    info = tarfile.TarInfo("zz.key")
    info.size = size
    whole = tar(entries_of(kept)).rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    return whole + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def with_database(kept: Path, *statements: str) -> bytes:
    """An archive that is consistent in itself, with a database that somebody worked on."""
    path = kept.with_name("tocsin.db")
    path.write_bytes(members(kept)["tocsin.db"])
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "delete")
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()
    old = json.loads(members(kept)["manifest.json"])["members"]
    described = archive.digest(path)
    named = [
        {"name": described.name, "bytes": described.bytes, "sha256": described.sha256}
        if one["name"] == "tocsin.db"
        else one
        for one in old
    ]
    return tar(entries_of(kept, manifest_json=manifest(kept, members=named), tocsin_db=path.read_bytes()))


TRIGGER = "CREATE TRIGGER evil AFTER INSERT ON segments BEGIN DELETE FROM tokens; END"
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "nothing": (lambda kept: b"", "end mark"),
    "no tar": (lambda kept: b"hello" * 1000, "no tar file"),
    "compressed": (lambda kept: b"\x1f\x8b" + bytes(1000), "no tar file"),
    "cut": (lambda kept: kept.read_bytes()[:300_000], "in the middle of tocsin.db"),
    "no end": (lambda kept: kept.read_bytes().rstrip(b"\0"), "e"),
    "a way out": (lambda kept: with_member(kept, "../evil.key"), "which no backup has"),
    "a way to the root": (lambda kept: with_member(kept, "/tmp/evil.key"), "which no backup has"),
    "a folder": (lambda kept: with_member(kept, "a.key", tarfile.DIRTYPE), "which no backup has"),
    "a link": (lambda kept: with_member(kept, "a.key", tarfile.SYMTYPE, "/etc/passwd"), "which no backup has"),
    "a hard link": (lambda kept: with_member(kept, "a.key", tarfile.LNKTYPE, "tocsin.db"), "which no backup has"),
    "a device": (lambda kept: with_member(kept, "a.key", tarfile.CHRTYPE), "which no backup has"),
    "a long name": (lambda kept: with_member(kept, "a" * 200 + ".key"), "which no backup has"),
    "another file": (lambda kept: with_member(kept, "operator-token"), "which no backup has"),
    "a name for terminals": (lambda kept: with_member(kept, "\x1b[2J.key"), "which no backup has"),
    "the lock": (lambda kept: with_member(kept, "lock"), "which no backup has"),
    "twice": (lambda kept: tar(entries_of(kept) + entry("pepper", PEPPER)), "pepper twice"),
    "not in the manifest": (lambda kept: tar(entries_of(kept) + entry("b.key", b"x")), "manifest names"),
    "not in the archive": (lambda kept: tar(entries_of(kept)[:-1]), "manifest names"),
    "no manifest": (lambda kept: tar(entries_of(kept)[1:]), "no manifest"),
    "a large manifest": (lambda kept: tar(entries_of(kept, manifest_json=b" " * 100_000)), "no manifest"),
    "a broken manifest": (lambda kept: tar(entries_of(kept, manifest_json=b"{")), "cannot be read"),
    "no moment": (lambda kept: tar(entries_of(kept, manifest_json=manifest(kept, made_at="now"))), "cannot be read"),
    "format": (lambda kept: tar(entries_of(kept, manifest_json=manifest(kept, format=2))), "format 2"),
    "another size": (lambda kept: tar(entries_of(kept, manifest_json=manifest(kept, size=7))), "manifest names"),
    "a changed page": (lambda kept: flipped(kept, 300_000), "tocsin.db in it was changed"),
    "a changed key": (lambda kept: tar(entries_of(kept, pepper=bytes(32))), "pepper in it was changed"),
    "too large": (lambda kept: with_size(kept, 1 << 50), "in the middle of zz.key"),
    "less than nothing": (lambda kept: with_size(kept, -4096), "in the middle of zz.key"),
    "a trigger": (lambda kept: with_database(kept, TRIGGER), "programs that Tocsin did not put there: evil"),
    "an older entry": (
        lambda kept: with_database(kept, "UPDATE segments SET root = zeroblob(32) WHERE first_seq = 0"),
        "wrong from entry",
    ),
    "fewer entries": (
        lambda kept: with_database(kept, "DELETE FROM segments WHERE first_seq > 100"),
        "wrong from entry",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_that_is_not_as_it_was_written_changes_nothing(
    kept: Path, data: Path, tmp_path: Path, make: Callable[[Path], bytes], said: str
) -> None:
    (tmp_path / "hostile.tar").write_bytes(make(kept))
    before = everything_in(tmp_path)

    ran = tocsin("restore", tmp_path / "hostile.tar", "--data", data, "--replace")

    assert ran.exit_code == 7, ran.output
    assert said in ran.stderr
    assert "\x1b" not in ran.output
    assert everything_in(tmp_path) | {"data/lock": b""} == before | {"data/lock": b""}


def test_a_newer_schema_is_refused_with_the_next_step(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "newer.tar").write_bytes(with_database(kept, "PRAGMA user_version = 999"))

    ran = tocsin("restore", tmp_path / "newer.tar", "--data", tmp_path / "new")

    assert ran.exit_code == 1
    assert "schema 999" in ran.stderr
    assert not (tmp_path / "new" / "tocsin.db").exists()
