"""A server that is stopped for a while, or gets no memory, no descriptors or no larger files, loses nothing.

`TOCSIN_TEST_STOP_S` says how long it is stopped at most (2), `TOCSIN_TEST_STOPS` how often, `TOCSIN_TEST_SEED` when.
"""

import contextlib
import http.client
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.reliability.tally import tally
from tests.reliability.test_restore_drill import send, state_of
from tests.reliability.under_load import POLICY, Load, settings, told
from tests.support.server import Server, SinkThread

STOPS = int(os.environ.get("TOCSIN_TEST_STOPS", "4"))
STOP_S = float(os.environ.get("TOCSIN_TEST_STOP_S", "2"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
GAP_S = 60
"""Longer stops than that count as an absence of the server's, in which no lease runs out."""


def test_a_server_that_is_stopped_for_a_while_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} stops")
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            load = Load(server, chance, patient=True)
            for stop in range(STOPS):
                load.wait_for(chance.randrange(5, 200), f"load before stop {stop}")
                with stopped(server):
                    time.sleep(chance.uniform(STOP_S / 8, STOP_S))  # It is the stop, not a wait for anything.
                load.wait_for(5, f"load after stop {stop}")
            load.finish()
        ledger = load.holds()
        duplicates = told(ledger, sink, troubles=STOPS)
    tally("stops", stops=STOPS, answered=load.answered, duplicates=duplicates)


@pytest.mark.skipif(STOP_S <= GAP_S, reason=f"needs a stop of more than {GAP_S} s: TOCSIN_TEST_STOP_S=65")
def test_a_lease_that_ran_out_while_the_server_was_stopped_waits_for_its_sender(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        tank = send(server, "tank", ends_at=datetime.now(UTC) + timedelta(seconds=GAP_S / 2))

        with stopped(server):
            time.sleep(GAP_S + 3)

        send(server, "other")
        assert state_of(server, tank) == "OPEN"
        assert server.stop() == 0
    tally("absence", stops=1, leases=1)


def test_a_server_without_descriptors_accepts_nothing_that_it_cannot_keep(tmp_path: Path) -> None:
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            load = Load(server, random.Random(f"{SEED} descriptors"), patient=True)
            load.wait_for(50, "load before")
            held = len(os.listdir(f"/proc/{server.pid}/fd"))
            with limited(server, resource.RLIMIT_NOFILE, held + 3), connections(server, 60):
                unheard = sum(not hears(server, "/healthz") for _ in range(8))
                load.wait_for(5, "who is connected already is served")
                assert not server.is_dead
            load.wait_for(50, "load afterwards")
            assert server.request("GET", "/readyz")[0] == 200
            load.end()
            assert server.stop() == 0
        ledger = load.holds()
        told(ledger, sink, troubles=1)
    assert unheard, "there were descriptors enough"
    tally("descriptors", answered=load.answered, refused=load.refused, cut_off=load.cut_off)


@pytest.mark.parametrize("room_mib", [0, 2, 8, 32])
def test_a_server_without_memory_refuses_or_dies_and_loses_nothing(tmp_path: Path, room_mib: int) -> None:
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            load = Load(server, random.Random(f"{SEED} memory {room_mib}"), patient=True)
            load.wait_for(50, "load before")
            statuses: dict[int, int] = {}
            with limited(server, resource.RLIMIT_AS, _address_space(server) + (room_mib << 20)):
                for number in range(30):
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        body = [{**BIG, "rule_id": f"big-{number}-{one}"} for one in range(BIG_ONES)]
                        statuses[number] = server.request("POST", "/api/v1/alerts", body)[0]
                died = server.is_dead
            if died:
                load.hold()
                server.kill()
                server.start()
                load.go_on()
            load.wait_for(50, "load afterwards")
            load.end()
            assert server.stop() == 0
        ledger = load.holds(beside="big-")
        for number, status in statuses.items():
            assert status == 200 or status >= 500, "nothing was wrong with what was sent"
            kept = sum(rule_id.startswith(f"big-{number}-") for rule_id, _ in ledger.looks)
            assert kept in ((BIG_ONES,) if status == 200 else (0, BIG_ONES)), number
        assert room_mib > 8 or len(statuses) < 30 or max(statuses.values()) >= 500, "there was memory enough"
    tally("memory", died=int(died), answered=load.answered, refused=load.refused, cut_off=load.cut_off)


def test_a_server_whose_files_may_not_grow_accepts_nothing_until_they_may(tmp_path: Path) -> None:
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            load = Load(server, random.Random(f"{SEED} files"), patient=True)
            load.wait_for(50, "load before")
            with limited(server, resource.RLIMIT_FSIZE, 400_000):
                refuses(server, load)
            load.wait_for(50, "load afterwards")
            load.end()
            assert server.stop() == 0
        ledger = load.holds()
        told(ledger, sink, troubles=1)
    tally("files", limits=1, answered=load.answered, refused=load.refused)


BIG = {"scope": {}, "severity": "info", "message": "x" * 16_000}
BIG_ONES = 60
"""In a request of nearly 1 MiB."""


def refuses(server: Server, load: Load) -> None:
    """Wait until the server refuses what comes; it says so, and can be read. (What still fits is taken, and is kept.)"""
    seen = load.answered, load.refused

    def only_refuses() -> bool:
        nonlocal seen
        before, seen = seen, (load.answered, load.refused)
        if seen[0] == before[0] and seen[1] >= before[1] + 20:
            return True
        seen = before if seen[0] == before[0] else seen
        return False

    load.wait(only_refuses, "it refuses 20 requests in a row")
    for path in ("/api/v1/incidents", "/api/v1/incidents/stats"):
        assert server.request("GET", path)[0] == 200
    load.wait(lambda: server.request("GET", "/readyz")[0] == 503, "it says so")


def hears(server: Server, path: str) -> bool:
    """Say whether somebody who comes new is answered soon."""
    connection = server.connect(timeout_s=0.3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Let the process stand still."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextlib.contextmanager
def limited(server: Server, what: int, soft: int) -> Iterator[None]:
    """Let the process, which is ours, have no more of something than that for a while."""
    before = resource.prlimit(server.pid, what)
    resource.prlimit(server.pid, what, (soft, before[1]))
    try:
        yield
    finally:
        if not server.is_dead:
            resource.prlimit(server.pid, what, before)


@contextlib.contextmanager
def connections(server: Server, number: int) -> Iterator[None]:
    """Open connections that ask nothing."""
    with contextlib.ExitStack() as opened:
        for _ in range(number):
            connection = server.connect()
            opened.callback(connection.close)
            with contextlib.suppress(OSError):
                connection.connect()
        yield


def _address_space(server: Server) -> int:
    """Give how many bytes of addresses the process has."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()
