"""What is exported is what there is, in the layout that auditors' tools know, and the same each time."""

import io
import json
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from tests.cli.exports import (
    START,
    House,
    Signer,
    a_life,
    checkpoint,
    contents,
    root_over,
    sealed,
)
from tests.core.ledger.ledgers import make_ledger

from tocsin.core.ledger.encoding import Sealed, Segment, pack, unpack
from tocsin.runtime.export import ExportFailed, verify_ledger, write_export

FIRST = Signer("first")
TEXT = Path(verify_ledger.__file__).with_name("readme.txt")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    ledger = make_ledger(tmp_path_factory.mktemp("ledger"), seed=3, turns=300, is_whole=True)
    return [entry for segment in ledger.segments for entry in unpack(segment.data)]


def segments(entries, length=7):
    """Lay entries in segments, as a store gives them; erased parts are empty there."""
    for start in range(0, len(entries), length):
        some = [
            Sealed(one.header, one.decision, one.private or b"", b"")
            for one in entries[start : start + length]
        ]
        yield Segment(first_seq=start, count=len(some), root=b"", data=pack(some))


def exported(house, entries=None, file=None, **changes):
    """Write an export of this house, and give its bytes."""
    file = file or io.BytesIO()
    given = {
        "segments": segments(house.entries if entries is None else entries),
        "checkpoint": house.checkpoint(),
        "keys": [signer.vkey for signer in house.keys],
        "transitions": {size: house.checkpoint(size, *by) for size, by in house.transitions.items()},
    }
    write_export(file, **(given | changes))
    return file.getvalue()


def small(size):
    return House(
        [sealed({"at": START, "seq": seq}, b'{"events":[]}', b"{}") for seq in range(size)], [FIRST], [FIRST]
    )


@pytest.mark.parametrize("size", [31, 255, 256, 257, 600])
def test_the_export_of_a_real_ledger_holds_what_it_must(parts, size):
    house = a_life(parts, size)
    beside = {
        "README.txt": TEXT.read_bytes(),
        "verify_ledger.py": Path(verify_ledger.__file__).read_bytes(),
    }

    assert contents(exported(house)) == sorted((house.files() | beside).items())


@pytest.mark.parametrize("size", [0, 1, 65_537])
def test_so_does_one_of_any_size(size):
    house = small(size)

    names = {
        name: content for name, content in contents(exported(house)) if name.startswith(("tile/", "entries"))
    }

    expected = {
        name: content for name, content in house.files().items() if name.startswith(("tile/", "entries"))
    }
    assert names == expected


@pytest.mark.parametrize("size", [31, 600])
def test_what_is_written_is_sound(parts, size, tmp_path, capsys):
    house = a_life(parts, size)
    (tmp_path / "export.zip").write_bytes(exported(house))

    code = verify_ledger.main([str(tmp_path / "export.zip"), "--key", FIRST.vkey, "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["what"], answer["size"], answer["erased"]) == (0, "", size, 5)
    assert len(answer["notes"]) == 1  # The fork; not that the verifier in it is another one.


def test_the_same_ledger_gives_the_same_bytes(parts):
    house = a_life(parts, 300)

    once = exported(house)

    assert exported(house) == once
    assert exported(house, segments=segments(house.entries, 41)) == once
    with zipfile.ZipFile(io.BytesIO(once)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} <= {
            zipfile.ZIP_DEFLATED,
            zipfile.ZIP_STORED,
        }


def test_what_came_after_the_checkpoint_is_left_out(parts):
    house = a_life(parts, 300)
    older = house.cut(150)

    assert exported(older, [*older.entries, *house.entries[150:]]) == exported(older)


def test_entries_that_are_not_those_of_the_checkpoint_are_not_exported():
    house = small(20)

    with pytest.raises(ExportFailed, match="counts 20 entries, there are 19"):
        exported(house, house.entries[:-1])
    with pytest.raises(ExportFailed, match="root of the first 20 entries"):
        exported(house, [*house.entries[:-1], house.entries[0]])
    with pytest.raises(ExportFailed, match="root of the first 20 entries"):
        exported(house, checkpoint=checkpoint(20, bytes(32), FIRST))
    with pytest.raises(ExportFailed, match="entry 1 has 65536 bytes"):
        exported(house, [house.entries[0], house.entries[1]._replace(header=b"x" * 65_536)])


@pytest.mark.parametrize(
    "wrong", [b"", b"x", b"tocsin\n5\n", b"tocsin\nx\ny\n\n", b"tocsin\n-1\nAAAA\n\n", b"\xff"]
)
def test_what_is_no_checkpoint_is_refused(wrong):
    with pytest.raises(ExportFailed, match="as the checkpoint is none"):
        exported(small(2), checkpoint=wrong)


class Pipe(io.RawIOBase):
    """Somewhere to write that cannot go back, such as a pipe."""

    def __init__(self):
        self.got = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.got += data
        return len(data)

    def getvalue(self):
        return bytes(self.got)


def test_it_can_be_written_where_there_is_no_way_back(parts):
    house = a_life(parts, 300)

    assert contents(exported(house, file=Pipe())) == contents(exported(house))


def test_it_needs_no_more_memory_for_more_entries(tmp_path):
    peaks = []
    for size in (1_000, 9_000):
        house = small(size)
        with (tmp_path / "export.zip").open("w+b") as file:
            file.getvalue = lambda: b""
            given = segments(house.entries)
            note = house.checkpoint()
            tracemalloc.start()
            write_export(file, segments=given, checkpoint=note, keys=[FIRST.vkey], scratch=tmp_path)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    assert peaks[1] < peaks[0] + 200_000, peaks


def test_the_steps_by_hand_in_its_readme_give_what_they_say(parts, tmp_path):
    missing = [
        tool for tool in ("bash", "unzip", "openssl", "xxd", "od", "sha256sum") if shutil.which(tool) is None
    ]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    for size in (31, 600):
        house = a_life(parts, size)
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "export.zip").write_bytes(exported(house))
        text = TEXT.read_text().partition("BY HAND\n")[2].partition("\nThe rest is hashing")[0]
        script = textwrap.dedent(text[text.index("    unzip") :])

        ran = subprocess.run(
            ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=False
        )

        assert ran.returncode == 0, ran.stderr
        decision_hash, private_hash, header, leaf, in_tile, verdict = ran.stdout.splitlines()
        said = json.loads(header)
        assert header.encode() == house.entries[0].header
        assert decision_hash.split()[0] == said["decision_hash"]
        assert private_hash.split()[0] == said["private_hash"]
        assert leaf.split()[0] == in_tile == root_over(house.entries[:1]).hex()
        assert verdict == "Signature Verified Successfully"


def test_the_verifier_in_it_verifies_it(parts, tmp_path):
    house = a_life(parts, 31)
    (tmp_path / "export.zip").write_bytes(exported(house))
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        archive.extract("verify_ledger.py", tmp_path)
    command = [sys.executable, "-I", "-S", "verify_ledger.py", "export.zip", "--key", house.keys[1].vkey]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "another than this one" not in ran.stdout
