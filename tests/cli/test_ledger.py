"""`tocsin ledger` on real data directories: sound ones, changed ones, and one that a server writes meanwhile."""

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner
from tests.cli.running import serving
from tests.core.ledger.ledgers import make_ledger, write_ledger

from tocsin.cli.main import main
from tocsin.core.ledger.encoding import unpack
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.stores.sqlite import SqliteStore

DOCS = Path(__file__).parents[2] / "docs" / "ledger.md"
TOCSIN = [sys.executable, "-m", "tocsin.cli.main"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data directory, and the ledger that was written in it."""
    directory = tmp_path_factory.mktemp("written")
    return directory, make_ledger(directory, seed=3, turns=80)


@pytest.fixture
def ledger(written):
    return written[1]


@pytest.fixture
def data(written, tmp_path):
    """A copy of the directory, to be damaged."""
    return Path(shutil.copytree(written[0], tmp_path / "data"))


def tocsin(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def verify(data):
    result = tocsin("ledger", "verify", "--data", data)
    assert result.exit_code in (0, 7), result.output
    return result.exit_code, json.loads(result.stdout)


def sql(data, statement, *bindings):
    connection = apsw.Connection(str(data / "tocsin.db"))
    try:
        with connection:
            return connection.execute(statement, bindings).fetchall()
    finally:
        connection.close()


# Sound


def test_a_sound_ledger_is_told_with_its_size_and_root(data, ledger):
    code, answer = verify(data)

    root = ledger.end.root.hex()
    assert code == 0
    assert answer["seconds"] >= 0
    assert answer["entries_per_s"] > 0
    assert {name: answer[name] for name in ("sound", "bad_seq", "what", "size", "root", "short")} == {
        "sound": True,
        "bad_seq": None,
        "what": "",
        "size": ledger.end.size,
        "root": root,
        "short": f"{ledger.end.size}:{root[:8]}",
    }


def test_people_read_it_as_text(data, ledger):
    result = tocsin("ledger", "verify", "--data", data, "--output", "table")

    assert result.exit_code == 0
    assert result.stdout.startswith("The ledger is sound")
    assert f"{ledger.end.size} entries\n" in result.stdout
    assert f"root    {ledger.end.root.hex()}\n" in result.stdout
    assert f"short   {ledger.end.size}:{ledger.end.root.hex()[:8]}\n" in result.stdout
    assert re.search(r"time    \d+\.\d\d s, \d+ entries/s\n", result.stdout)
    assert result.stderr == ""


def test_verifying_changes_no_file(data):
    before = {path.name: path.read_bytes() for path in data.iterdir()}

    assert verify(data)[0] == 0

    after = {path.name: path.read_bytes() for path in data.iterdir() if path.stat().st_size}
    assert {name: content for name, content in after.items() if name in before} == {
        name: content for name, content in before.items() if content
    }
    assert set(after) <= {*before, "tocsin.db-shm"}


def test_a_directory_that_may_not_be_written_can_be_verified(data):
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    data.chmod(0o555)
    try:
        assert verify(data)[0] == 0
    finally:
        data.chmod(0o755)


# Changed


def test_one_flipped_byte_in_a_segment_is_found_in_its_entry(data, ledger):
    segment = max(ledger.segments, key=lambda segment: segment.count)
    seq = segment.first_seq + segment.count // 2
    _, _, private = list(unpack(segment.data))[seq - segment.first_seq]
    changed = bytearray(segment.data)
    changed[segment.data.index(private) + len(private) // 2] ^= 1
    sql(data, "UPDATE segments SET data = ? WHERE first_seq = ?", bytes(changed), segment.first_seq)

    code, answer = verify(data)

    assert (code, answer["sound"], answer["bad_seq"]) == (7, False, seq)
    assert answer["what"] == "the private part was changed"
    assert answer["size"] == seq


def test_people_are_told_what_is_wrong_and_where(data, ledger):
    sql(data, "DELETE FROM segments WHERE first_seq = ?", ledger.segments[4].first_seq)

    result = tocsin("ledger", "verify", "--data", data, "-o", "table")

    assert result.exit_code == 7
    first, after = ledger.segments[4].first_seq, ledger.segments[5].first_seq
    assert result.stdout.startswith(
        f"The ledger is NOT sound. First wrong entry: {first}: "
        f"entries are missing: the next segment begins at {after}.\n"
    )


def test_a_last_segment_that_is_gone_is_found(data, ledger):
    last = ledger.segments[-1].first_seq
    sql(data, "DELETE FROM segments WHERE first_seq = ?", last)

    code, answer = verify(data)

    assert (code, answer["bad_seq"]) == (7, last)
    assert answer["what"] == f"the head counts {ledger.end.size} entries, there are {last}"


def test_a_segment_after_the_end_is_found(data, ledger):
    segment = ledger.segments[-1]
    sql(
        data,
        "INSERT INTO segments VALUES (?, ?, ?, ?)",
        ledger.end.size,
        segment.count,
        segment.root,
        segment.data,
    )

    code, answer = verify(data)

    assert (code, answer["bad_seq"]) == (7, ledger.end.size)


def test_a_segment_before_the_beginning_is_found(data, ledger):
    segment = ledger.segments[0]
    sql(data, "INSERT INTO segments VALUES (?, ?, ?, ?)", -(1 << 63), 1, segment.root, segment.data)

    assert verify(data)[0] == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("size = size - 1", "the head counts"),
        ("size = 0", "the head counts 0 entries"),
        ("root = zeroblob(32)", "the head's root"),
        ("edge = zeroblob(33)", "the head's edge"),
        ("edge = x''", "the head's edge"),
        ("at = 1", "ended before its last entry"),
    ],
)
def test_a_head_that_was_edited_is_found(data, change, said):
    sql(data, f"UPDATE head SET {change}")

    code, answer = verify(data)

    assert code == 7
    assert said in answer["what"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM head", "the head has 0 rows instead of one"),
        ("DROP TABLE head", "no such table: head"),
        ("DROP TABLE segments", "no such table: segments"),
        ("DELETE FROM segments", "the head counts"),
    ],
)
def test_a_ledger_without_one_of_its_tables_is_found(data, statement, said):
    sql(data, statement)

    code, answer = verify(data)

    assert (code, answer["bad_seq"]) == (7, 0)
    assert said in answer["what"]


def test_a_file_whose_beginning_is_torn_is_found(data):
    with (data / "tocsin.db").open("r+b") as file:
        file.write(b"x" * 40)

    code, answer = verify(data)

    assert code == 7
    assert "not a database" in answer["what"]


def test_a_file_whose_pages_are_torn_is_found_from_there_on(data, ledger):
    path = data / "tocsin.db"
    ((page_size,),) = sql(data, "PRAGMA page_size")
    content = bytearray(path.read_bytes())
    needle = ledger.segments[-1].data[:300]
    position = content.index(needle) // page_size * page_size
    content[position : position + page_size] = b"\xff" * page_size
    path.write_bytes(content)

    code, answer = verify(data)

    assert code == 7
    assert answer["bad_seq"] <= ledger.end.size


# Not there


def test_where_no_ledger_is_none_is_found(tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "tocsin.db").touch()

    for data in (tmp_path, tmp_path / "nothing", tmp_path / "begun"):
        result = tocsin("ledger", "verify", "--data", data)
        assert (result.exit_code, result.stdout) == (3, "")
        assert str(data) in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_ledger_of_a_newer_tocsin_is_left_to_it(data):
    sql(data, "PRAGMA user_version = 99")

    result = tocsin("ledger", "verify", "--data", data)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "schema 99" in result.stderr


# Beside those who write


def test_a_ledger_that_is_being_written_is_sound_at_every_look(tmp_path):
    store = SqliteStore(tmp_path)
    failed = []

    def write():
        try:
            write_ledger(store, seed=5, turns=120)
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    while writer.is_alive():
        code, answer = verify(tmp_path)
        assert code == 0, answer
        sizes.append(answer["size"])
    writer.join()
    code, answer = verify(tmp_path)

    assert failed == []
    assert code == 0
    assert sizes == sorted(sizes)
    assert answer["size"] == store.head().size > sizes[0]
    store.close()


def test_beside_a_running_server_and_after_it_was_killed_the_ledger_is_sound(tmp_path):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [*TOCSIN, "serve", "--data", str(tmp_path), "--port", "0"]
    with (tmp_path / "err").open("wb") as err:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, env=environment, text=True)
    try:
        token = url = None
        for line in server.stdout:
            found = re.search(r"\b(toc_\S+)", line)
            token = found.group(1) if found else token
            found = re.search(r"(http://127\.0\.0\.1:\d+)", line)
            url = found.group(1) if found else url
            if token and url:
                break
        sizes = []
        for number in range(5):
            body = {"rule_id": "disk", "scope": {"n": str(number)}, "severity": "error", "message": "full"}
            request = urllib.request.Request(
                f"{url}/api/v1/alerts",
                json.dumps(body).encode(),
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=20) as response:
                assert response.status < 300
            code, answer = verify(tmp_path)
            assert code == 0, answer
            sizes.append(answer["size"])
        assert sizes == sorted(set(sizes)), "each accepted alert is in the ledger"
        server.send_signal(signal.SIGKILL)
    finally:
        server.kill()
        server.wait(20)
        server.stdout.close()

    code, answer = verify(tmp_path)

    assert (code, answer["size"] >= sizes[-1]) == (0, True)


def test_at_a_terminal_the_progress_goes_to_stderr_and_the_answer_stays_clean(data, ledger):
    theirs, ours = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [*TOCSIN, "ledger", "verify", "--data", str(data), "--output", "json"]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=ours,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=60,
        )
        os.set_blocking(theirs, False)
        shown = os.read(theirs, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == 0
    assert json.loads(done.stdout)["size"] == ledger.end.size
    assert b"verifying" in shown


# Single entries


def test_an_entry_is_shown_in_its_three_parts(data, ledger):
    parts = next(unpack(ledger.segments[3].data))

    result = tocsin("ledger", "show", ledger.segments[3].first_seq, "--data", data)

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "header": json.loads(parts[0]),
        "decision": json.loads(parts[1]),
        "private": json.loads(parts[2]),
        "leaf": hash_leaf(parts[0]).hex(),
    }


def an_alerts_seq(ledger):
    return next(
        seq
        for segment in ledger.segments
        for seq, parts in enumerate(unpack(segment.data), segment.first_seq)
        if b"nearly full" in parts[2]
    )


@pytest.mark.parametrize("output", ["table", "json"])
def test_nothing_in_an_entry_can_control_the_terminal(data, ledger, output):
    seq = an_alerts_seq(ledger)
    ((first, blob),) = sql(
        data, "SELECT first_seq, data FROM segments WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1", seq
    )
    evil = "\x9b2J\u202e\x7fh"  # clears the screen, turns the text around, deletes
    blob = blob.replace(b"nearly full", evil.encode() + b"full")
    assert len(evil.encode()) + 4 == len("nearly full") + 2
    begin = 0
    for _ in range(seq - first):
        begin += 12 + sum(int.from_bytes(blob[begin + i : begin + i + 4], "little") for i in (0, 4, 8))
    length = int.from_bytes(blob[begin + 8 : begin + 12], "little") + 2
    blob = blob[: begin + 8] + length.to_bytes(4, "little") + blob[begin + 12 :]
    sql(data, "UPDATE segments SET data = ? WHERE first_seq = ?", blob, first)

    result = tocsin("ledger", "show", seq, "--data", data, "-o", output)

    assert result.exit_code == 0
    assert [c for c in result.stdout if not c.isprintable() and c != "\n"] == []
    assert "2J" in result.stdout


def test_a_part_is_given_byte_for_byte(data, ledger):
    seq = an_alerts_seq(ledger)
    header, decision, private = (
        tocsin("ledger", "show", seq, "--part", part, "--data", data).stdout_bytes
        for part in ("header", "decision", "private")
    )

    assert json.loads(header)["seq"] == seq
    assert json.loads(header)["decision_hash"] == hashlib.sha256(decision).hexdigest()
    assert json.loads(header)["private_hash"] == hashlib.sha256(private).hexdigest()


def test_an_entry_that_is_not_there_is_not_found(data, ledger):
    for seq in (ledger.end.size, 1 << 60):
        result = tocsin("ledger", "show", seq, "--data", data)
        assert (result.exit_code, result.stdout) == (3, "")


def test_an_entry_whose_lengths_are_garbage_is_told_as_damaged(data, ledger):
    sql(
        data,
        "UPDATE segments SET data = x'ffffffffffffffff' WHERE first_seq = ?",
        ledger.segments[2].first_seq,
    )

    result = tocsin("ledger", "show", ledger.segments[2].first_seq, "--data", data)

    assert (result.exit_code, result.stdout) == (7, "")


def test_a_part_that_is_gone_or_no_json_is_shown_as_it_is(data, ledger):
    blob = (1).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes(4) + b"{" + b"\xff\x00z"
    sql(data, "UPDATE segments SET data = ? WHERE first_seq = ?", blob, ledger.segments[2].first_seq)

    result = tocsin("ledger", "show", ledger.segments[2].first_seq, "--data", data)

    shown = json.loads(result.stdout)
    assert (shown["header"], shown["decision"], shown["private"]) == ("{", "\\xff\x00z", None)


@pytest.mark.skipif(shutil.which("xxd") is None, reason="the page uses xxd")
def test_what_the_documentation_computes_by_hand_is_the_root(tmp_path):
    with serving(tmp_path) as server:
        server.stop()
    (script,) = re.findall(r"```sh\n(.*?)```", DOCS.read_text().partition("## By hand")[2], flags=re.DOTALL)
    prelude = f'set -eu; tocsin() {{ {" ".join(TOCSIN)} "$@"; }}\n'

    done = subprocess.run(
        ["bash", "-c", prelude + script],
        env={**os.environ, "DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    _, answer = verify(tmp_path)
    lines = done.stdout.splitlines()
    assert answer["size"] == 4
    for entry in (lines[at : at + 4] for at in range(0, 16, 4)):
        assert entry[2] == f'"decision_hash":"{entry[0]}"'
        assert entry[3] == f'"private_hash":"{entry[1]}"'
    assert lines[16] == lines[17] == answer["root"]
    assert lines[18].startswith("The ledger is sound")
