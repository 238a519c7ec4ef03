"""Three nodes on one PostgreSQL, while they are killed, stopped and cut off, and the database crashes.

Beside the senders there are people, whose histories must be ones that a single server could have given.

`TOCSIN_TEST_NODE_HITS` says how often something is hit (12), `TOCSIN_TEST_SEED` with which seed. From 40 on one of the
hits is a node that stands still for so long that the others take it for dead.
"""

import http.client
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tests.reliability.histories import NOBODY, Operation, backwards, is_linearizable, lost, owner
from tests.reliability.ledgers import Ledger, ledger_of
from tests.reliability.people import Desk, Person
from tests.reliability.tally import tally
from tests.reliability.under_load import POLICY, Load, settings, told
from tests.support.http_sink import Reply
from tests.support.postgres import Server as Database
from tests.support.postgres import a_postgres, why_not
from tests.support.server import Server, SinkThread

from tocsin.stores.postgres import PostgresStore

HITS = int(os.environ.get("TOCSIN_TEST_NODE_HITS", "12"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
NODES = ("ada", "bob", "eve")
PEOPLE = ("kim", "lea", "max", "noa")
DESK = "people"
PATIENCE_S = 5.0
STOPPED_S = 3.0
"""Longer than a node may keep the others from deciding, and shorter than what makes it count as dead."""
HITS_LONG = 40
ASKED_S = 75
"""So long a receiver asks for peace, while a node is taken for dead (35 s at most) and comes back."""
ASKED = 20
"""So many deliveries of that node at least are then others'."""
LOST = "others took over what it had to deliver"


@pytest.fixture
def database() -> Iterator[Database]:
    if why := why_not():
        pytest.skip(why)
    with a_postgres(fsync="on", restart_after_crash="on", max_connections=100) as server:
        yield server


class Cluster:
    """Nodes that are one to whoever asks: each connection is to one that is up."""

    def __init__(self, folder: Path, database: Database, sink: Any, chance: random.Random) -> None:
        self.url = database.url()
        self._port = database.port
        self._chance = chance
        # Each tells the same receiver at a path of its own, by which one sees who made an attempt.
        self.nodes = [
            Server(
                folder / name,
                settings(sink) | {"TOCSIN_WEBHOOK_URL": sink.url(path_of(name)), "TOCSIN_DB": self.url},
                POLICY,
            )
            for name in NODES
        ]
        self.up = list(self.nodes)
        first, *others = self.nodes
        first.start()
        for node in others:
            node.data.mkdir()
            for name in ("pepper", "ledger.key"):
                shutil.copy(first.data / name, node.data / name)
            node.token = first.token
            node.start()

    def connect(self) -> http.client.HTTPConnection:
        """Connect to a node that is up."""
        return self._chance.choice(self.up).connect(timeout_s=PATIENCE_S)

    def headers(self) -> dict[str, str]:
        """Give the headers of a JSON request."""
        return self.nodes[0].headers()

    def request(self, method: str, path: str) -> tuple[int, dict[str, str], Any]:
        """Ask a node that is up."""
        return self._chance.choice(self.up).request(method, path)

    def kill(self, node: Server) -> None:
        """Let a node die, and come again."""
        self.up.remove(node)
        node.kill()
        node.start()
        self.up.append(node)

    def stop(self, node: Server) -> None:
        """Let a node stand still for a while."""
        os.kill(node.pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)  # Not to wait for anything: this long it stands still.
        os.kill(node.pid, signal.SIGCONT)

    def cut(self, node: Server) -> None:
        """End all connections to the database, whoever's they are."""
        self._ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tocsin'")

    def cut_off(self, node: Server) -> None:
        """End the connections of one node to the database; the others keep theirs."""
        ended: list[Any] = []
        deadline = time.monotonic() + PATIENCE_S
        while not any(ended):  # What was hit before may have left it without one for a moment.
            assert time.monotonic() < deadline, f"{node.data.name} does not come back to the database"
            ports = [
                one.laddr.port
                for one in psutil.Process(node.pid).net_connections("tcp")
                if one.raddr and one.raddr.port == self._port
            ]
            ended = self._ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE application_name = 'tocsin' AND client_port = ANY (ARRAY{ports}::integer[])"
            )

    def crash(self, node: Server) -> None:
        """Let the database crash, and come again by itself."""
        ((pid,), *_) = self._ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'tocsin'")
        os.kill(pid, signal.SIGKILL)

    def pending(self) -> dict[str, int]:
        """Give how often each delivery that has not ended was attempted, by its key."""
        return dict(self._ask("SELECT key, attempts FROM deliveries WHERE state = 'pending'"))

    def logged(self, what: str) -> int:
        """Count how often the nodes said it."""
        return sum(node.log.read_text().count(what) for node in self.nodes)

    def _ask(self, sql: str) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def ledger(self) -> Ledger:
        """Read what they wrote."""
        store = PostgresStore(self.url, node_id="reader")
        try:
            return ledger_of(store)
        finally:
            store.close()


class People:
    """Clients that act at any of the nodes until they are ended."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._enough = threading.Event()
        desk = Desk(DESK)
        self.all = []
        for name in PEOPLE:
            status, _, made = cluster.nodes[0].request(
                "POST", "/api/v1/tokens", {"name": name, "role": "admin"}
            )
            assert status == 201, made
            person = Person(name, cluster, made["token"], desk, random.Random(chance.random()), self._enough)
            self.all.append(person)
        for person in self.all:
            person.start()

    def end(self) -> None:
        """Let every request come to its end."""
        self._enough.set()
        for person in self.all:
            person.join(60)
            assert not person.is_alive(), "a request was never answered"
            assert person.wrong == []

    def hold(self, ledger: Ledger) -> Counter[str]:
        """One server could have answered all of it, and the ledger begins with all that was read of it.

        Returns: how much was checked.
        """
        histories: dict[int, list[Operation]] = {}
        added: dict[int, float] = {}
        for person in self.all:
            added |= person.added
            for incident, operations in person.history.items():
                histories.setdefault(incident, []).extend(operations)
        for incident, operations in histories.items():
            said = "\n".join(f"{one}" for one in sorted(operations, key=lambda one: one.asked))
            assert is_linearizable(operations, owner, NOBODY), f"incident {incident}\n{said}"
        for person in self.all:
            assert lost(added, person.pages) == []
            assert backwards(person.totals) == []
            assert backwards(person.sizes) == []
            assert {size: ledger.roots[size].hex() for size in person.roots} == person.roots
        return Counter(
            operations=sum(len(one) for one in histories.values()),
            pages=sum(len(person.pages) for person in self.all),
            sizes=sum(len(person.sizes) for person in self.all),
            unknown=sum(person.unknown for person in self.all),
        )


def path_of(node: str) -> str:
    return f"/{node}"


def come_back(cluster: Cluster, node: Server, sink: Any, load: Load) -> int:
    """Let a node stand still until the others have taken over what was its own, and then go on.

    Each of those deliveries is due only after it is back, and is attempted once, by another: a node that did not let
    go would attempt it too. The database crashes meanwhile. Returns: how many of them were told.
    """
    path = path_of(node.data.name)
    script, sink.script = sink.script, (Reply(status=503, headers={"Retry-After": str(ASKED_S)}),)
    load.wait(lambda: len(put_off(cluster, sink, path)) >= ASKED, "its receiver asks it for peace")
    theirs = put_off(cluster, sink, path)
    lost = cluster.logged(LOST)
    os.kill(node.pid, signal.SIGSTOP)
    try:
        sink.script = script
        with psycopg.connect(cluster.url, autocommit=True) as looking:
            owned = "SELECT node FROM owned JOIN deliveries ON number = delivery WHERE key = ANY (%s)"
            ((stopped,),) = set(looking.execute(owned, [[*theirs]]))
            load.wait(lambda: (stopped,) not in set(looking.execute(owned, [[*theirs]])), "others take over")
        cluster.crash(node)
        load.wait_for(50, "load beside a node that stands still")
    finally:
        os.kill(node.pid, signal.SIGCONT)
    load.wait(lambda: cluster.logged(LOST) > lost, "it hears that it was taken for dead")
    assert not theirs & {key for key, _ in arrivals(sink)}, "it came back too late for this test"
    load.wait(lambda: not theirs & cluster.pending().keys(), "the others tell what it had to")
    load.wait_for(50, "load at all of them")
    since = len(sink.requests)
    load.wait(lambda: path in {one.path for one in sink.requests[since:]}, "it tells what is its own")
    told_by = [
        (key, by) for key, by in arrivals(sink) if key in theirs
    ]  # Not all: newer news may speak for it.
    assert told_by
    assert path not in {by for _, by in told_by}, "it told what was no longer its own"
    assert len(told_by) == len(dict(told_by)), "what changed hands was told twice"
    return len(told_by)


def put_off(cluster: Cluster, sink: Any, path: str) -> set[str]:
    """Give the keys of the deliveries that wait since this node was asked for peace."""
    asked = {
        request.headers["webhook-id"]
        for request, reply in zip(sink.requests, sink.replies, strict=False)
        if request.path == path and "Retry-After" in reply.headers
    }
    return asked & {key for key, attempts in cluster.pending().items() if attempts}


def arrivals(sink: Any) -> list[tuple[str, str]]:
    """Give the key of each delivery that was taken, with the path of who told it."""
    return [
        (request.headers["webhook-id"], request.path)
        for request, reply in zip(sink.requests, sink.replies, strict=False)
        if reply.status == 200
    ]


def test_three_nodes_lose_nothing_whatever_is_hit(tmp_path: Path, database: Database) -> None:
    print(f"TOCSIN_TEST_NODE_HITS={HITS} TOCSIN_TEST_SEED={SEED} python -m pytest {Path(__file__).name}")
    chance = random.Random(f"nodes {SEED}")
    faults = [Reply(status=503) if number % 17 == 5 else Reply() for number in range(400)]
    hits: Counter[str] = Counter()
    with SinkThread(*faults, Reply()) as sink:
        cluster = Cluster(tmp_path, database, sink, chance)
        try:
            people = People(cluster, chance)
            load = Load(cluster, chance, patient=True)
            for number in range(HITS):
                load.wait_for(chance.randrange(20, 200), f"load before hit {number}")
                if number == HITS // 2 and HITS >= HITS_LONG:
                    moved = come_back(cluster, chance.choice(cluster.nodes), sink, load)
                    tally("returns", returns=1, deliveries=moved)
                    continue
                hit = (cluster.kill, cluster.stop, cluster.cut, cluster.cut_off, cluster.crash)[number % 5]
                hits[hit.__name__] += 1
                hit(chance.choice(cluster.nodes))
            # The last one to die stays dead, and others do what it was about to.
            load.wait_for(50, "load after the last hit")
            gone = chance.choice(cluster.nodes)
            cluster.up.remove(gone)
            gone.kill()
            load.wait_for(50, "load beside a dead node")
            people.end()
            load.end()
            for node in cluster.up:
                assert node.stop() == 0
            for node in cluster.nodes:
                log = node.log.read_text()
                assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:6000]
        finally:
            for node in cluster.nodes:
                node.kill()
        ledger = load.holds(beside=DESK, ledger=cluster.ledger())
        duplicates = told(ledger, sink, troubles=3 * (HITS + 1))
    counts = {"answered": load.answered, "refused": load.refused, "cut_off": load.cut_off} | people.hold(
        ledger
    )
    tally(
        "nodes", hits=HITS, deliveries=len(ledger.keys), duplicates=duplicates, entries=ledger.size, **counts
    )
    print(f"{dict(hits)} {counts} entries={ledger.size} deliveries={len(ledger.keys)} {duplicates=}")
