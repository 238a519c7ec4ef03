"""Three nodes on one PostgreSQL, while they are killed, stopped and cut off, and the database crashes.

Beside the senders there are people, whose histories must be ones that a single server could have given.

`TOCSIN_TEST_NODE_HITS` says how often something is hit (12), `TOCSIN_TEST_SEED` with which seed.
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
        self._chance = chance
        self.nodes = [
            Server(folder / name, settings(sink) | {"TOCSIN_DB": self.url}, POLICY) for name in NODES
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

    def crash(self, node: Server) -> None:
        """Let the database crash, and come again by itself."""
        ((pid,), *_) = self._ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'tocsin'")
        os.kill(pid, signal.SIGKILL)

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
                hit = (cluster.kill, cluster.stop, cluster.cut, cluster.crash)[number % 4]
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
        duplicates = told(ledger, sink, faults, troubles=3 * (HITS + 1))
    counts = {"answered": load.answered, "refused": load.refused, "cut_off": load.cut_off} | people.hold(
        ledger
    )
    tally(
        "nodes", hits=HITS, deliveries=len(ledger.keys), duplicates=duplicates, entries=ledger.size, **counts
    )
    print(f"{dict(hits)} {counts} entries={ledger.size} deliveries={len(ledger.keys)} {duplicates=}")
