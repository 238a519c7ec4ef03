"""The servers under test, ourselves and the peer, behind one shape: how each is started, fed and asked.

Both get twin policies. Each is a real process that knows nothing of being measured.
"""

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import alerts
from benchmarks.generator import HOST, fetch
from benchmarks.processes import Child

START_S_MAX = 60.0
TOKEN_LINE = re.compile(r"^(toc_\S+)\s*$", re.MULTILINE)
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"not-a-secret-but-a-benchmark-key").decode()


@dataclass(frozen=True)
class Policy:
    """What both servers are told to do; rate limit and reminders are off on both sides.

    alone: each alert is a group (an incident) of its own; otherwise they are grouped by rule and cluster.
    wait_s: how long a new group waits before anybody is told.
    """

    alone: bool
    wait_s: int


GROUPED_WAITING = Policy(alone=False, wait_s=3600)
ALONE_WAITING = Policy(alone=True, wait_s=3600)
ALONE_NOW = Policy(alone=True, wait_s=0)


def groups_expected(policy: Policy, count: int) -> int:
    """How many groups (incidents) `count` different alerts must have made."""
    return count if policy.alone else alerts.groups_among(count)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Subject(ABC):
    """A server with one store of its own, in a folder of its own.

    name: as the report calls it; path: where alerts are posted; ready_path: 200 once it works.
    """

    name: str
    path: str
    ready_path: str

    def __init__(self, folder: Path, *, policy: Policy, sink_port: int, core: int) -> None:
        self.folder = folder
        self.policy = policy
        self.sink_url = f"http://{HOST}:{sink_port}/hook"
        self.core = core
        self.port = 0
        self.child: Child | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """How to start it on `self.port`."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment to start it with."""

    @abstractmethod
    def headers(self) -> str:
        """Header lines for every request, each ended by CRLF."""

    @abstractmethod
    def encode(self, number: int, seed: str, now: str) -> dict[str, object]:
        """One alert in its dialect."""

    @abstractmethod
    def groups(self) -> int:
        """How many groups (incidents) it holds now. Raises: LookupError if it does not say."""

    @abstractmethod
    def wrong(self, *, posted: int, accepted: int) -> str:
        """What contradicts `posted` alerts having been taken, each posting counted; empty if nothing does.

        accepted: what its answers added up to.
        """

    def knows_again(self, number: int, seed: str, now: str) -> str:
        """What is wrong with how it answers an alert that it has; empty if nothing is, or it cannot say."""
        return ""

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be run on this machine; empty if it can."""
        return ""

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} is not running"
        return self.child.pid

    @property
    def pids(self) -> Sequence[int]:
        """All processes that are at work for it, beside those that they started themselves."""
        return [self.pid]

    @property
    def ports(self) -> Sequence[int]:
        """Where it takes alerts; connections are spread over them."""
        return [self.port]

    def start(self) -> float:
        """Start the process and wait until it is ready: seconds from one to the other.

        Raises: DidNotStart, with the tail of its log.
        """
        self.port = free_port()
        self.child = child = Child(
            self.name,
            self.command(),
            core=self.core,
            log=self.folder / "log",
            environment=self.environment(),
            folder=self.folder,
        )
        deadline = child.started_s + START_S_MAX
        answer = "no connection"
        while time.monotonic() < deadline:
            if not child.is_running():
                raise child.did_not_start("ended instead of getting ready")
            try:
                status, body = fetch(self.port, self.ready_path, timeout_s=5)
            except (OSError, http.client.HTTPException) as error:
                answer = f"{type(error).__name__}: {error}"
            else:
                if status == 200:
                    return time.monotonic() - child.started_s
                answer = f"{status} {body[:200]!r}"
            time.sleep(0.003)
        raise child.did_not_start(f"was not ready after {START_S_MAX:.0f} s ({self.ready_path}: {answer})")

    def settled_groups(self, expected: int, *, until_s: float = 15) -> int:
        """`groups()`, asked until it is as expected or time is over: a peer may group after it answers."""
        deadline = time.monotonic() + until_s
        while (found := self.groups()) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def requests(self, numbers: range, *, batch: int, seed: str, now: str) -> list[bytes]:
        """Requests for it that carry these alerts."""
        return alerts.requests_for(
            numbers,
            batch=batch,
            encode=self.encode,
            seed=seed,
            now=now,
            path=self.path,
            headers=self.headers(),
        )

    def end(self) -> None:
        """Leave no process behind."""
        if self.child is not None:
            self.child.kill()


def _environment(**additional: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return {**inherited, **additional}


class Tocsin(Subject):
    """Ourselves: authentication on, every alert durable before its 2xx."""

    name = "tocsin"
    path = "/api/v1/alerts"
    ready_path = "/readyz"
    program: tuple[str, ...] = (str(Path(sys.executable).with_name("tocsin")),)
    """What is started with `serve ...`; `--tocsin` on the command line replaces it."""

    def __init__(self, folder: Path, *, policy: Policy, sink_port: int, core: int) -> None:
        super().__init__(folder, policy=policy, sink_port=sink_port, core=core)
        self.token = ""
        self._config_file = folder / "tocsin.yaml"
        self._config_file.write_text(json.dumps(self._config()))

    def _config(self) -> dict[str, object]:
        return {
            "routes": {
                "name": "default",
                "channels": ["webhook"],
                "group_by": ["..."] if self.policy.alone else ["rule_id", "cluster"],
                "group_wait": f"{self.policy.wait_s * 1000:.0f}ms",
                "group_interval": "1h",
                "repeat_interval": "1d",
            },
            "rate_limit": None,
        }

    def command(self) -> Sequence[str]:
        data = self.folder / "data"
        return [*self.program, "serve", "--data", str(data), "--host", HOST, "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        return _environment(
            TOCSIN_CONFIG=str(self._config_file),
            TOCSIN_WEBHOOK_URL=self.sink_url,
            TOCSIN_WEBHOOK_SECRET=WEBHOOK_SECRET,
            TOCSIN_ALLOW_PRIVATE="127.0.0.0/8",
            PYTHONUNBUFFERED="1",
        )

    def start(self) -> float:
        ready_s = super().start()
        if not self.token:
            assert self.child is not None
            found = TOKEN_LINE.search(self.child.log.read_text(errors="replace"))
            if found is None:
                raise self.child.did_not_start("printed no admin token (a line `toc_...`) at its first start")
            self.token = found.group(1)
        return ready_s

    def headers(self) -> str:
        return f"Authorization: Bearer {self.token}\r\n"

    def encode(self, number: int, seed: str, now: str) -> dict[str, object]:
        return alerts.as_tocsin(number, seed, now)

    def groups(self) -> int:
        status, body = fetch(self.port, "/api/v1/incidents?limit=1", token=self.token)
        if status != 200:
            raise LookupError(f"GET /api/v1/incidents answered {status} {body[:200]!r}")
        return int(json.loads(body)["total"])

    def wrong(self, *, posted: int, accepted: int) -> str:
        return "" if accepted == posted else f"{accepted} alerts accepted of {posted}"

    def knows_again(self, number: int, seed: str, now: str) -> str:
        body = json.dumps([self.encode(number, seed, now)]).encode()
        status, answer = fetch(self.port, self.path, method="POST", token=self.token, body=body)
        try:
            outcome = json.loads(answer)["results"][0]["outcome"]
        except (ValueError, LookupError, TypeError):
            outcome = f"{status} {answer[:200]!r}"
        return "" if outcome == "duplicate" else f"a repeated alert was answered {outcome}, not duplicate"


class Alertmanager(Subject):
    """The peer: Debian's prometheus-alertmanager, alone (no cluster), everything in its memory."""

    name = "alertmanager"
    path = "/api/v2/alerts"
    ready_path = "/-/ready"
    programs = ("prometheus-alertmanager", "alertmanager")

    def __init__(self, folder: Path, *, policy: Policy, sink_port: int, core: int) -> None:
        super().__init__(folder, policy=policy, sink_port=sink_port, core=core)
        group_by = "['...']" if policy.alone else "[alertname, cluster]"
        # By default an alert that is not repeated would end after 5 minutes, in the middle of a long row.
        (folder / "alertmanager.yml").write_text(
            "global: {resolve_timeout: 24h}\n"
            f"route: {{receiver: sink, group_by: {group_by}, group_wait: {policy.wait_s}s, "
            "group_interval: 1h, repeat_interval: 24h}\n"
            "receivers: [{name: sink, webhook_configs: "
            f"[{{url: '{self.sink_url}', send_resolved: false}}]}}]\n"
        )

    @classmethod
    def program(cls) -> str:
        """The installed program's path; empty if there is none."""
        return next(filter(None, map(shutil.which, cls.programs)), "")

    @classmethod
    def version(cls) -> str:
        """The installed version, or that there is none."""
        if not cls.program():
            return "not installed"
        said = subprocess.run(
            [cls.program(), "--version"], capture_output=True, text=True, timeout=20, check=False
        )
        found = re.search(r"version (\S+)", said.stdout + said.stderr)
        return found.group(1) if found else "unknown"

    @classmethod
    def missing(cls) -> str:
        return "" if cls.program() else "not installed"

    def command(self) -> Sequence[str]:
        return [
            self.program(),
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]

    def environment(self) -> dict[str, str]:
        return _environment(GOMAXPROCS="1")

    def headers(self) -> str:
        return ""

    def encode(self, number: int, seed: str, now: str) -> dict[str, object]:
        return alerts.as_alertmanager(number, seed, now)

    def _metric(self, name: str) -> int:
        status, body = fetch(self.port, "/metrics")
        for line in body.decode().splitlines():
            if line.startswith(name + " "):
                return int(float(line.rpartition(" ")[2]))
        raise LookupError(f"GET /metrics answered {status} without {name}")

    def groups(self) -> int:
        return self._metric("alertmanager_dispatcher_aggregation_groups")

    def wrong(self, *, posted: int, accepted: int) -> str:
        received = self._metric('alertmanager_alerts_received_total{status="firing",version="v2"}')
        return "" if received == posted else f"{received} alerts received of {posted}"
