"""A server that is killed again and again loses nothing that it answered for, and tells everybody what it decided.

`TOCSIN_TEST_KILLS` says how often it is killed (25), `TOCSIN_TEST_SEED` with which seed.
"""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.reliability.ledgers import Ledger, read_ledger
from tests.reliability.load import Sender, Sent
from tests.reliability.tally import tally
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import Server, SinkThread

from tocsin.core.model.notification import DeliveryState
from tocsin.runtime.dispatcher import PLACES

KILLS = int(os.environ.get("TOCSIN_TEST_KILLS", "25"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
SENDERS = 4
POLICY = {"routes": {"name": "default", "group_by": ["..."], "repeat_interval": "1d"}, "rate_limit": None}
SETTLE_S = 60.0

IN_A_TURN = ("before-commit", "after-commit", "before-answer", "before-announce")
OF_AN_ATTEMPT = ("before-send", "after-send", "after-outcome")
OF_A_CHECKPOINT = ("before-mark", "after-mark")
"""One is signed before the start is over, one right after it, and one every two seconds."""
UNDER_LOAD = dict.fromkeys(IN_A_TURN + OF_AN_ATTEMPT, (1, 2, 7)) | dict.fromkeys(OF_A_CHECKPOINT, (1, 2, 3))
"""point -> at which hits the server dies there while it is sent alerts. `test_failpoints.py` has the others."""


def test_what_was_answered_survives_every_kill_and_is_told(tmp_path: Path) -> None:
    print(
        f"TOCSIN_TEST_KILLS={KILLS} TOCSIN_TEST_SEED={SEED} python -m pytest {Path(__file__).name} -k every_kill"
    )
    chance = random.Random(SEED)
    kinds = (Reply(status=503), Reply(reset="before"), Reply(reset="body", body=b"half of it"))
    faults = [chance.choice(kinds) if number % 17 == 5 else Reply() for number in range(400)]
    with SinkThread(*faults, Reply()) as sink:
        server = Server(tmp_path / "data", _settings(sink), POLICY)
        with server:
            senders, up, enough = _senders(server, chance)
            for kill in range(KILLS):
                goal = _answered(senders) + chance.randrange(5, 250)
                delay = chance.random() * 0.02
                _wait(lambda goal=goal: _answered(senders) >= goal, senders, f"load before kill {kill}")
                time.sleep(
                    delay
                )  # Not to wait for anything: the moment of the kill is what chance decides here.
                up.clear()
                server.kill()
                server.start()
                up.set()
            _finish(server, senders, enough)
        sent = [sender.sent for sender in senders]
        ledger = read_ledger(tmp_path / "data")

        _holds(sent, ledger)
        duplicates = _told(ledger, sink, faults, kills=KILLS)
        answered, cut_off = sum(one.answered for one in sent), sum(one.unknown for one in sent)
        tally(
            "kills",
            kills=KILLS,
            answered=answered,
            cut_off=cut_off,
            entries=ledger.size,
            deliveries=len(ledger.keys),
            duplicates=duplicates,
        )
        print(f"{answered=} {cut_off=} entries={ledger.size} deliveries={len(ledger.keys)} {duplicates=}")


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
        server = Server(tmp_path / "data", _settings(sink), POLICY)
        server.token = token

        with contextlib.ExitStack() as ended:
            ended.callback(server.kill)
            came = server.start(failpoint=f"{point}:{hit}")
            senders, up, enough = _senders(server, chance)
            if came:
                _wait(lambda: server.is_dead, senders, f"it dies {point} {hit}")
            up.clear()
            server.kill()
            assert server.died == -signal.SIGKILL, "it did not die there"
            before = _answered(senders)
            server.start()
            up.set()
            goal = before + 20
            _wait(lambda: _answered(senders) >= goal, senders, "load after it came back")
            _finish(server, senders, enough)
        ledger = read_ledger(tmp_path / "data")

        sent = [sender.sent for sender in senders]
        _holds(sent, ledger)
        _told(ledger, sink, [], kills=1)
        tally("failpoint", cases=1, answered=sum(one.answered for one in sent))


def test_a_failpoint_that_does_not_exist_is_refused_at_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")

    came = server.start(failpoint="after-lunch:1")

    assert not came
    assert "TOCSIN_FAILPOINT" in server.log.read_text()


def _settings(sink: HttpSink) -> dict[str, str]:
    return {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}


def _senders(server: Server, chance: random.Random) -> tuple[list[Sender], threading.Event, threading.Event]:
    up, enough = threading.Event(), threading.Event()
    up.set()
    senders = [
        Sender(f"rule-{number}", server, random.Random(chance.random()), up, enough)
        for number in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    return senders, up, enough


def _answered(senders: list[Sender]) -> int:
    return sum(sender.sent.answered for sender in senders)


def _wait(condition: object, senders: list[Sender], what: str) -> None:
    deadline = time.monotonic() + SETTLE_S
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        assert not any(sender.sent.wrong for sender in senders), [s.sent.wrong[:3] for s in senders]
        time.sleep(0.002)


def _finish(server: Server, senders: list[Sender], enough: threading.Event) -> None:
    """No more faults: let the senders end, and every delivery too; then stop in order."""
    enough.set()
    for sender in senders:
        sender.join(SETTLE_S)
        assert not sender.is_alive(), "a request was never answered"
        assert sender.sent.wrong == []
    database = sqlite3.connect(f"file:{server.data}/tocsin.db?mode=ro", uri=True)
    try:
        question = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
        _wait(lambda: database.execute(question).fetchone() == (0,), senders, "all deliveries end")
    finally:
        database.close()
    assert server.stop() == 0
    log = server.log.read_text()
    assert "Traceback" not in log, log[-4000:]
    assert "Unclosed" not in log, "a connection was left open at the stop"


def _holds(sent: list[Sent], ledger: Ledger) -> None:
    """Whatever was answered is in the ledger: one entry a look, one count a repeat; the cut-off ones at most once."""
    for one in sent:
        assert all(count == 1 for count in one.looks.values()), "the load numbers its looks"
        assert {look: ledger.looks[look] for look in one.looks} == dict(one.looks)
        for rule_id, answered in one.repeats.items():
            counted = ledger.repeats[rule_id]
            assert answered <= counted <= one.attempts[rule_id], f"{rule_id}: {answered} answered, {counted}"
    looks = {look for one in sent for look in one.looks}
    assert set(ledger.looks) == looks, "the ledger has a look that nobody sent, or that was never answered"


def _told(ledger: Ledger, sink: HttpSink, faults: list[Reply], *, kills: int) -> int:
    """Every delivery that was decided arrived, under its own key, and hardly ever twice. Returns: how often it did."""
    merged = {key for key, state in ledger.ended.items() if state is DeliveryState.MERGED}
    taken: Counter[str] = Counter()
    bodies: dict[str, set[str]] = {}
    for number, request in enumerate(sink.requests):
        key = request.headers["webhook-id"]
        bodies.setdefault(key, set()).add(request.body.decode())
        reply = faults[number] if number < len(faults) else Reply()
        if reply.status == 200 and reply.reset != "before":  # A status that arrived is an answer.
            taken[key] += 1

    assert set(ledger.ended) == set(ledger.keys), "a delivery has no end"
    assert set(ledger.ended.values()) <= {DeliveryState.DELIVERED, DeliveryState.MERGED}
    assert set(ledger.keys) - merged <= set(taken), "a decided delivery never arrived"
    assert set(bodies) <= set(ledger.keys), "something was sent that was not decided"
    assert all(len(said) == 1 for said in bodies.values()), "one key, two bodies"
    extra = sum(taken.values()) - len(taken)
    assert max(taken.values(), default=0) <= 1 + kills
    assert extra <= kills * PLACES, f"{extra} duplicates by {kills} kills"
    return extra
