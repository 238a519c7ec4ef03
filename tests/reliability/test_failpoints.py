"""A server that dies where its load alone would not lead it: while it begins, reads its settings again, or erases."""

import gzip
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import environment, tocsin
from tests.reliability.ledgers import read_ledger
from tests.reliability.tally import tally
from tests.reliability.test_kills import UNDER_LOAD
from tests.reliability.test_restore_drill import found, says_that_it_was_restored, send, wait
from tests.reliability.under_load import POLICY
from tests.runtime.test_replaying import replayed
from tests.support.server import Server

from tocsin.settings.environment import FAILPOINTS
from tocsin.stores.sqlite import SqliteStore

GOLDEN = Path(__file__).parents[1] / "golden" / "ledger_v1.db.gz"
FIRST_START = [
    ("after-commit", 1), ("after-commit", 2), ("after-commit", 3), ("after-commit", 4),
    ("before-policy", 1), ("after-policy", 1), ("after-key", 1), ("before-mark", 1), ("after-mark", 1), ("after-token", 1),
]  # fmt: skip
RESTORED_START = [("before-commit", 1), ("after-commit", 1), ("before-policy", 1), ("after-restore", 1)]
RELOAD = [("before-policy", 2), ("after-policy", 2)]
MIGRATION = [("during-migration", 1), ("during-migration", 2), ("after-migration", 1)]
ERASURE = [("before-scrub", 1), ("before-scrub", 2)]


def test_every_point_has_a_server_that_dies_there() -> None:
    points = {point for point, _ in FIRST_START + RESTORED_START + RELOAD + MIGRATION + ERASURE}

    assert points | UNDER_LOAD.keys() == set(FAILPOINTS)


@pytest.mark.parametrize(("point", "hit"), FIRST_START)
def test_a_first_start_that_dies_is_made_good_by_the_next(tmp_path: Path, point: str, hit: int) -> None:
    server = Server(tmp_path / "data")
    assert not server.start(failpoint=f"{point}:{hit}")
    assert server.died == -signal.SIGKILL
    shown, server.token = server.token, ""

    with server:
        send(server, "disk")
        if shown:
            assert server.request("GET", "/api/v1/incidents", token=shown)[0] == 401
        assert server.stop() == 0

    assert read_ledger(server.data).looks.total() == 1
    verified = tocsin("ledger", "verify", "--data", server.data)
    assert verified.code == 0, verified.err
    assert ask(server.data, "SELECT count(*) FROM signers") == 1
    assert ask(server.data, "SELECT count(*) FROM policies") == 1
    tally("failpoint", cases=1)


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A backup, how many entries it has, and its admin's token."""
    folder = tmp_path_factory.mktemp("backup")
    with Server(folder / "data") as server:
        send(server, "kept")
        made = tocsin("backup", folder / "kept.tar", "--data", server.data)
    assert made.code == 0, made.err
    return folder / "kept.tar", json.loads(made.out)["entries"], server.token


@pytest.mark.parametrize(("point", "hit"), RESTORED_START)
def test_a_start_on_a_backup_that_dies_is_made_good_by_the_next(
    tmp_path: Path, backup: tuple[Path, int, str], point: str, hit: int
) -> None:
    archive, entries, token = backup
    server = Server(tmp_path / "data")
    server.token = token
    assert tocsin("restore", archive, "--data", server.data).code == 0
    assert not server.start(failpoint=f"{point}:{hit}")
    assert server.died == -signal.SIGKILL

    with server:
        assert len(found(server, "kept")) == 1
        send(server, "new")
        assert server.stop() == 0

    assert says_that_it_was_restored(server.data) == [entries]
    assert not (server.data / "restored.json").exists()
    assert len(set(names(server.data))) == len(names(server.data)) == 2
    verified = tocsin("ledger", "verify", "--data", server.data)
    assert verified.code == 0, verified.err
    tally("failpoint", cases=1)


@pytest.mark.parametrize(("point", "hit"), RELOAD)
def test_a_server_that_dies_while_it_takes_over_a_policy_has_it_once(
    tmp_path: Path, point: str, hit: int
) -> None:
    server = Server(tmp_path / "data", config=POLICY)
    assert server.start(failpoint=f"{point}:{hit}")
    send(server, "before")
    (tmp_path / "data.yaml").write_text(json.dumps({**POLICY, "rate_limit": {"limit": 3, "window": "1h"}}))

    os.kill(server.pid, signal.SIGHUP)

    wait(lambda: server.is_dead, f"it dies {point} {hit}")
    server.kill()
    assert server.died == -signal.SIGKILL
    with server:
        send(server, "after")
        assert server.stop() == 0
    assert read_ledger(server.data).looks.total() == 2
    assert ask(server.data, "SELECT count(*) FROM policies") == 2
    tally("failpoint", cases=1)


@pytest.mark.parametrize(("point", "hit"), MIGRATION)
def test_a_migration_that_dies_is_made_whole_by_the_next_start(tmp_path: Path, point: str, hit: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "tocsin.db").write_bytes(gzip.decompress(GOLDEN.read_bytes()))
    program = (
        "import sys; from pathlib import Path; from tocsin.wiring.machine import build_failpoint; "
        "from tocsin.wiring.outside import read_configuration; from tocsin.wiring.stores import open_store;"
        "open_store(Path(sys.argv[1]), build_failpoint(read_configuration(None, None)))"
    )

    died = subprocess.run(
        [sys.executable, "-c", program, str(data)], env=environment(FAILPOINT=f"{point}:{hit}"), timeout=60
    )

    assert died.returncode == -signal.SIGKILL
    SqliteStore(data).close()
    assert replayed(data, tmp_path / "again") == ([], 0)
    assert ask(data, "SELECT count(*) FROM tiles") == ask(data, "SELECT size >> 8 FROM head") > 0
    tally("failpoint", cases=1)


@pytest.mark.parametrize(("point", "hit"), ERASURE)
def test_what_was_erased_is_nowhere_once_the_server_is_back(tmp_path: Path, point: str, hit: int) -> None:
    server = Server(tmp_path / "data")
    assert server.start(failpoint=f"{point}:{hit}")
    texts = [f"canary-{number}" for number in range(hit)]
    for text in texts:
        alert = {"rule_id": text[-1], "scope": {}, "severity": "error", "message": text}
        for status in ("firing", "resolved"):
            assert server.request("POST", "/api/v1/alerts", {**alert, "status": status})[0] == 200
    assert all(holds(server.data, text) for text in texts)

    for text in texts:
        erase(server, text)

    wait(lambda: server.is_dead, f"it dies {point} {hit}")
    server.kill()
    assert server.died == -signal.SIGKILL
    assert holds(server.data, texts[-1]), "there would be nothing left to do"
    with server:
        assert not any(holds(server.data, text) for text in texts)
        assert server.stop() == 0
    assert tocsin("ledger", "verify", "--data", server.data).code == 0
    tally("failpoint", cases=1)


def erase(server: Server, text: str) -> None:
    """Have it erased; the server may die of it."""
    form = {"subject": text, "reason": "asked for"}
    try:
        status, _, answer = server.request("POST", "/api/v1/ledger/erasures", form)
    except (OSError, http.client.HTTPException):
        return
    assert status == 200, answer


def holds(data: Path, text: str) -> bool:
    """Say whether a text stands anywhere on the disk."""
    return any(text.encode() in path.read_bytes() for path in data.iterdir() if path.is_file())


def names(data: Path) -> list[str]:
    """Give what the ledger was called, in order."""
    store = SqliteStore(data)
    try:
        return [name for _, name in store.origins()]
    finally:
        store.close()


def ask(data: Path, question: str) -> int:
    """Ask the database of a stopped server for a number."""
    database = sqlite3.connect(data / "tocsin.db")
    try:
        (number,) = database.execute(question).fetchone()
    finally:
        database.close()
    assert isinstance(number, int)
    return number
