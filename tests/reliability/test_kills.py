"""A server that is killed again and again loses nothing that it answered for, and tells everybody what it decided.

`TOCSIN_TEST_KILLS` says how often it is killed (25), `TOCSIN_TEST_SEED` with which seed.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from tests.reliability.tally import tally
from tests.reliability.under_load import POLICY, Load, settings, told
from tests.support.http_sink import Reply
from tests.support.server import Server, SinkThread

KILLS = int(os.environ.get("TOCSIN_TEST_KILLS", "25"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
KILLS_A_HOUSE = 50

IN_A_TURN = ("before-commit", "after-commit", "before-answer", "before-announce")
OF_AN_ATTEMPT = ("before-send", "after-send", "after-outcome")
OF_A_CHECKPOINT = ("before-mark", "after-mark")
"""One is signed before the start is over, one right after it, and one every two seconds."""
UNDER_LOAD = dict.fromkeys(IN_A_TURN + OF_AN_ATTEMPT, (1, 2, 7)) | dict.fromkeys(OF_A_CHECKPOINT, (1, 2, 3))
"""point -> at which hits the server dies there while it is sent alerts. `test_failpoints.py` has the others."""


@pytest.mark.parametrize("house", range(-(-KILLS // KILLS_A_HOUSE)))
def test_what_was_answered_survives_every_kill_and_is_told(tmp_path: Path, house: int) -> None:
    print(
        f"TOCSIN_TEST_KILLS={KILLS} TOCSIN_TEST_SEED={SEED} python -m pytest "
        f"tests/reliability/{Path(__file__).name} -k 'every_kill and {house}'"
    )
    chance = random.Random(f"{SEED} {house}")
    kills = min(KILLS_A_HOUSE, KILLS - house * KILLS_A_HOUSE)
    kinds = (Reply(status=503), Reply(reset="before"), Reply(reset="body", body=b"half of it"))
    faults = [chance.choice(kinds) if number % 17 == 5 else Reply() for number in range(400)]
    with SinkThread(*faults, Reply()) as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            load = Load(server, chance)
            for kill in range(kills):
                load.wait_for(chance.randrange(5, 250), f"load before kill {kill}")
                # Not to wait for anything: the moment of the kill is what chance decides here.
                time.sleep(chance.random() * 0.02)
                load.hold()
                server.kill()
                server.start()
                load.go_on()
            load.finish()
        ledger = load.holds()
        duplicates = told(ledger, sink, troubles=kills)
    counts = {"answered": load.answered, "cut_off": load.cut_off, "entries": ledger.size}
    tally("kills", kills=kills, deliveries=len(ledger.keys), duplicates=duplicates, **counts)
    print(f"{counts} deliveries={len(ledger.keys)} {duplicates=}")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory on which a server ran once, and its admin's token."""
    with Server(tmp_path_factory.mktemp("begun") / "data") as server:
        server.stop()
    return server.data, server.token


@pytest.mark.parametrize(
    ("point", "hit"), [(point, hit) for point, hits in UNDER_LOAD.items() for hit in hits]
)
def test_a_server_that_dies_at_a_named_point_goes_on_where_it_was(
    tmp_path: Path, begun: tuple[Path, str], point: str, hit: int
) -> None:
    data, token = begun
    shutil.copytree(data, tmp_path / "data")
    chance = random.Random(f"{SEED} {point} {hit}")
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        server.token = token
        with contextlib.ExitStack() as ended:
            ended.callback(server.kill)
            came = server.start(failpoint=f"{point}:{hit}")
            load = Load(server, chance)
            if came:
                load.wait(lambda: server.is_dead, f"it dies {point} {hit}")
            load.hold()
            server.kill()
            assert server.died == -signal.SIGKILL, "it did not die there"
            server.start()
            load.go_on()
            load.wait_for(20, "load after it came back")
            load.finish()
        told(load.holds(), sink, troubles=1)
    tally("failpoint", cases=1, answered=load.answered)


def test_a_failpoint_that_does_not_exist_is_refused_at_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")

    came = server.start(failpoint="after-lunch:1")

    assert not came
    assert "TOCSIN_FAILPOINT" in server.log.read_text()
