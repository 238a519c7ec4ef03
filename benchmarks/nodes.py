"""Nodes: what it takes several nodes on one PostgreSQL to know of each other, and to do what a dead one was about to.

    python -m benchmarks.nodes [OPEN]

OPEN incidents (100,000 unless told otherwise) are opened by one node; then another one starts, misses turns and catches
up; then real nodes are killed while they have something to deliver. Seconds by the clock; the PostgreSQL and its disk
are this machine's.
"""

import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from tests.support.http_sink import Reply
from tests.support.postgres import a_postgres
from tests.support.server import Server, SinkThread

from benchmarks.alerts import as_tocsin, now_text
from tocsin.core.model.input import PolicyChanged
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import HOUR, Policy, Route
from tocsin.intake import native
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.stores.postgres import LEASE, PostgresStore

BATCH = 64
MISSED = (1, 10, 100, 1_000, 9_000)
DEATHS = 3
POLICY = Policy(
    routes=Route(name="all", group_by=("...",), group_wait=HOUR, group_interval=HOUR),
    targets=(Target(id="aa", channel="webhook", address="webhook"),),
    rate_limit=None,
)


class Node:
    """A pump over a store of its own, without the rest of a node."""

    def __init__(self, url: str, name: str) -> None:
        self.store = PostgresStore(url, node_id=name)
        self.clock = MachineClock()
        self.pump = Pump(
            self.store, self.clock, MachineIds(), origin="nodes", on_committed=lambda committed: None
        )
        self.pump.open()

    def look(self, numbers: range, seed: str) -> None:
        """Post alerts in one turn."""
        now = now_text()
        body = json.dumps([as_tocsin(number, seed, now) for number in numbers]).encode()
        self.pump.turn([Request(native.parse(body, self.clock.now()).alerts, "nodes")])


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Note how long a block takes, in seconds."""
    gc.collect()
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


def knowing(url: str, count: int) -> list[tuple[str, str]]:
    """Measure starting and catching up. Returns: rows of words."""
    first = Node(url, "first")
    first.pump.turn([Request((PolicyChanged(policy=POLICY),), "nodes")])
    opening: list[float] = []
    with timed(opening):
        for start in range(0, count, BATCH):
            first.look(range(start, min(start + BATCH, count)), "open")
    rows = [(f"{count:,} incidents opened, {BATCH} a turn", f"{count / opening[0]:,.0f} alerts/s")]

    starting: list[float] = []
    with timed(starting):
        second = Node(url, "second")
    rows.append((f"a node that starts knows {count:,} open incidents", f"{starting[0]:.2f} s"))
    first.look(range(1), "open")

    number = count
    for missed in MISSED:
        for _ in range(missed):
            first.look(range(number, number + BATCH), "missed")
            number += BATCH
        catching: list[float] = []
        with timed(catching):
            second.pump.turn([])
        words = f"a node that missed {missed:,} turn{'s' * (missed > 1)} ({missed * BATCH:,} alerts) has caught up"
        rows.append((words, f"{catching[0] * 1000:,.1f} ms"))
    for node in (first, second):
        node.store.close()
    return rows


def taking_over(url: str, folder: Path) -> list[tuple[str, str]]:
    """Measure how long what a dead node was about to deliver waits for another one. Returns: rows of words."""
    policy = {"routes": {"name": "default", "group_by": ["..."], "repeat_interval": "1d"}, "rate_limit": None}
    took: list[float] = []
    answered: list[float] = []
    with SinkThread(Reply(hang="before")) as sink:
        settings = {
            "TOCSIN_DB": url,
            "TOCSIN_WEBHOOK_URL": sink.url("/hook"),
            "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8",
        }
        nodes = [Server(folder / name, settings, policy) for name in ("one", "two")]
        nodes[0].start()
        nodes[1].data.mkdir()
        for name in ("pepper", "ledger.key"):
            shutil.copy(nodes[0].data / name, nodes[1].data / name)
        nodes[1].token = nodes[0].token
        nodes[1].start()
        try:
            for death in range(DEATHS):
                dies, lives = nodes if death % 2 == 0 else nodes[::-1]
                known = len(sink.requests)
                status, _, said = dies.request("POST", "/api/v1/alerts", _alert(death))
                assert status == 200, said
                _wait(lambda known=known: len(sink.requests) > known, "its first attempt")
                dies.kill()
                began = time.perf_counter()
                status, _, said = lives.request("POST", "/api/v1/alerts", _alert(death))
                assert status == 200, said
                answered.append(time.perf_counter() - began)
                # The same delivery, by the other node: the second request with its key.
                key = sink.requests[known].headers["webhook-id"]
                _wait(
                    lambda key=key: [one.headers["webhook-id"] for one in sink.requests].count(key) > 1,
                    "the other node's attempt",
                )
                took.append(time.perf_counter() - began)
                dies.start()
        finally:
            for node in nodes:
                node.kill()
    return [
        ("the other node answers, once one was killed", f"{max(answered) * 1000:,.0f} ms at most"),
        (
            f"what the dead one was about to deliver is sent by the other (lease: {LEASE / 1e6:.0f} s)",
            f"{median(took):.1f} s; {max(took):.1f} s at most, of {DEATHS}",
        ),
    ]


def _alert(number: int) -> object:
    now = now_text()
    return {
        "rule_id": f"death-{number}", "scope": {}, "severity": "critical", "status": "firing",
        "message": "about to be told", "window_start": now, "window_end": now,
    }  # fmt: skip


def _wait(condition: object, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come")
        time.sleep(0.01)


def main() -> None:
    """See the module."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    table = Table("what", "how long", title="Nodes on one PostgreSQL")
    settings = {"fsync": "on", "shared_buffers": "128MB", "max_connections": 100, "autovacuum": "on"}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for measure in (knowing, taking_over):
            with a_postgres(folder=Path("/var/tmp"), **settings) as server:
                rows = (
                    knowing(server.url(), count)
                    if measure is knowing
                    else taking_over(server.url(), Path(folder))
                )
            for row in rows:
                table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
