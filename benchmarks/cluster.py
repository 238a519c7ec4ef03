"""Ourselves on PostgreSQL: one node or several, all on the server's core, and a PostgreSQL that may use every core.

The nodes are equal, and the connections of the load are spread over them.
"""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.support.postgres import a_postgres, why_not

from benchmarks.generator import fetch
from benchmarks.subjects import Policy, Tocsin


class OneNode(Tocsin):
    """One node on a PostgreSQL with its usual settings: fsync, full_page_writes and synchronous_commit are on."""

    name = "tocsin-postgres"
    size = 1

    def __init__(self, folder: Path, *, policy: Policy, sink_port: int, core: int) -> None:
        super().__init__(folder, policy=policy, sink_port=sink_port, core=core)
        self._sink_port = sink_port
        self._others: list[_Further] = []
        self._running = contextlib.ExitStack()
        self._url = ""
        self._database_pid = 0

    @classmethod
    def missing(cls) -> str:
        return why_not()

    def environment(self) -> dict[str, str]:
        return super().environment() | {"TOCSIN_DB": self._url}

    def start(self) -> float:
        if not self._url:
            # Not in our own folder, which its user may not enter.
            database = self._running.enter_context(
                a_postgres(
                    folder=self.folder.parent,
                    fsync="on",
                    shared_buffers="128MB",
                    max_connections=100,
                    autovacuum="on",
                )
            )
            self._url = database.url()
            self._database_pid = int((database.directory / "postmaster.pid").read_text().split()[0])
        ready_s = super().start()
        for number in range(2, self.size + 1):
            further = _Further(self, number, sink_port=self._sink_port)
            self._others.append(further)
            further.start()
        return ready_s

    @property
    def url(self) -> str:
        return self._url

    @property
    def pids(self) -> Sequence[int]:
        return [self.pid, *[one.pid for one in self._others], self._database_pid]

    @property
    def ports(self) -> Sequence[int]:
        return [self.port, *[one.port for one in self._others]]

    def wrong(self, *, posted: int, accepted: int) -> str:
        for port in self.ports:
            status, body = fetch(port, "/readyz")
            if status != 200:
                return f"a node is not ready: {status} {body[:200]!r}"
        return super().wrong(posted=posted, accepted=accepted)

    def end(self) -> None:
        for one in self._others:
            one.end()
        super().end()
        self._running.close()


class ThreeNodes(OneNode):
    """Three nodes, as a house has that must not hang on one machine."""

    name = "tocsin-postgres-3"
    size = 3


class _Further(Tocsin):
    """A node beside the first, with the same files and the same token."""

    def __init__(self, first: OneNode, number: int, *, sink_port: int) -> None:
        folder = first.folder / f"node-{number}"
        (folder / "data").mkdir(parents=True)
        for name in ("pepper", "ledger.key"):
            shutil.copy(first.folder / "data" / name, folder / "data" / name)
        super().__init__(folder, policy=first.policy, sink_port=sink_port, core=first.core)
        self.token = first.token
        self._first = first

    def environment(self) -> dict[str, str]:
        return super().environment() | {"TOCSIN_DB": self._first.url}
