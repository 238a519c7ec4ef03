"""One trial: one server with a fresh store, a sink, and what was measured and checked there.

An experiment's `measure(trial)` puts figures into `trial.measurement`; whatever turns out wrong goes into its
failures, and a row with a failure has no figure that counts.
"""

import json
import math
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.alerts import now_text
from benchmarks.generator import HOST, Sent, fetch, send
from benchmarks.machine import Cores, CpuReading, CpuUse
from benchmarks.processes import Child
from benchmarks.subjects import Alertmanager, Policy, Subject, Tocsin, groups_expected

LOAD_S_MAX = 120.0
CLOCK_TICKS_S = 0.06
"""Machine CPU time comes in ticks of 10 ms a core; less noise than this cannot be told from rounding."""


@dataclass(frozen=True)
class Row:
    """One line of the report.

    compare: whether the bars are for the ratio of our median to the peer's, or for our own median.
    at_least, aim: the bars, in the row's unit or as a ratio; for lower-is-better rows they are upper limits.
    """

    key: str
    title: str
    unit: str
    compare: Literal["ratio", "value"]
    better: Literal["higher", "lower"]
    at_least: float
    aim: float


@dataclass(frozen=True)
class Scale:
    """How much load: `--quick` is for seeing that all works, `--full` for the long scaling rows."""

    quick: bool = False
    full: bool = False

    def of(self, count: int) -> int:
        """This many, or a fifth of it when quick."""
        return count // 5 if self.quick else count

    @property
    def volume(self) -> int:
        """Open incidents in the memory and restart rows; their bars are for 100,000."""
        return self.of(100_000)

    @property
    def open_alerts_max(self) -> int:
        """How far the scaling rows go."""
        return 1_000_000 if self.full else self.of(200_000)


@dataclass
class Measurement:
    """What one trial found.

    figures: row key -> value. details: further numbers for the JSON, by name.
    load_cpu: the share of their core that generator and sink used, 0 to 1; near 1 they are the limit.
    noise: cores that others used meanwhile.
    log_tail: the end of the server's log if something failed; for the screen only, as it may name paths.
    """

    figures: dict[str, float] = field(default_factory=dict)
    details: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    log_tail: str = ""
    load_cpu: float = 0.0
    wall_s: float = 0.0
    noise_s: float = 0.0

    @property
    def noise(self) -> float:
        return 0.0 if self.noise_s <= CLOCK_TICKS_S else self.noise_s / self.wall_s


class Sink:
    """The webhook receiver's process, and questions to it."""

    def __init__(self, folder: Path, *, core: int) -> None:
        with socket.socket() as listener:
            listener.bind((HOST, 0))
            listener.listen(4096)  # From here on nobody is refused, though the process is still starting.
            self.port = int(listener.getsockname()[1])
            self.child = Child(
                "webhook sink",
                [sys.executable, "-m", "benchmarks.sink", str(listener.fileno())],
                core=core,
                log=folder / "sink.log",
                environment=os.environ,
                pass_fds=[listener.fileno()],
                folder=Path(__file__).parents[1],
            )
        try:
            self.summary()
        except OSError as error:
            self.child.kill()
            raise self.child.did_not_start(f"did not answer ({error})") from error

    def summary(self) -> dict[str, int]:
        """{posts, distinct, last_ns}: webhooks received, different alerts in them, when the last one came."""
        answer: dict[str, int] = json.loads(fetch(self.port, "/summary")[1])
        return answer

    def arrivals(self) -> dict[str, int]:
        """Alert id -> first arrival in ns, CLOCK_MONOTONIC."""
        answer: dict[str, int] = json.loads(fetch(self.port, "/arrivals")[1])
        return answer

    def reset(self) -> None:
        """Forget what arrived."""
        fetch(self.port, "/reset")

    def wait_for(self, distinct: int, *, idle_s: float, until_s: float) -> dict[str, int]:
        """Wait for that many different alerts, as long as more keep coming; the summary then."""
        deadline = time.monotonic() + until_s
        seen, seen_at = -1, time.monotonic()
        while True:
            summary = self.summary()
            now = time.monotonic()
            if summary["posts"] != seen:
                seen, seen_at = summary["posts"], now
            if summary["distinct"] >= distinct or now > deadline or now - seen_at > idle_s:
                return summary
            time.sleep(0.05)


class Trial:
    """A running server with what is needed to load it and to check it."""

    def __init__(self, subject: Subject, sink: Sink, scale: Scale, *, seed: str) -> None:
        self.subject = subject
        self.sink = sink
        self.scale = scale
        self.seed = seed
        self.now = now_text()
        self.measurement = Measurement()
        self._posted = 0
        self._accepted = 0

    def requests(self, numbers: range, *, batch: int) -> list[bytes]:
        """Requests for this server that carry these alerts."""
        return self.subject.requests(numbers, batch=batch, seed=self.seed, now=self.now)

    def fail(self, why: str) -> None:
        """Mark the trial as failed."""
        self.measurement.failures.append(f"{self.subject.name}: {why}")

    @contextmanager
    def metered(self) -> Iterator[list[CpuUse]]:
        """Account for the CPUs while the block runs; afterwards the list holds the use."""
        uses: list[CpuUse] = []
        before = CpuReading.of(self.subject.pids, self.sink.child.pid)
        yield uses
        use = CpuUse.between(before, CpuReading.of(self.subject.pids, self.sink.child.pid))
        uses.append(use)
        self.measurement.wall_s += use.wall_s
        self.measurement.noise_s += use.noise_s
        self.measurement.load_cpu = max(self.measurement.load_cpu, (use.load_s + use.sink_s) / use.wall_s)

    def post(self, requests: Sequence[bytes], *, alerts: int, connections: int) -> tuple[Sent, CpuUse]:
        """Send requests that carry this many alerts; every answer must be 2xx."""
        with self.metered() as uses:
            sent = send(self.subject.ports, requests, connections=connections, until_s=LOAD_S_MAX)
        if sent.succeeded != len(requests):
            self.fail(
                f"{sent.succeeded} of {len(requests)} requests answered 2xx "
                f"(statuses {dict(sent.statuses)}, {sent.unanswered} unanswered) {sent.first_error}".rstrip()
            )
        self._posted += alerts
        self._accepted += sent.accepted
        return sent, uses[0]

    def check(self, *, different: int) -> None:
        """Check that the server holds what `different` alerts make, and took everything posted so far.

        Where the policy waits, nobody may have been told yet.
        """
        policy: Policy = self.subject.policy
        expected = groups_expected(policy, different)
        try:
            found = self.subject.settled_groups(expected)
            wrong = self.subject.wrong(posted=self._posted, accepted=self._accepted)
        except (LookupError, ValueError, OSError) as error:
            self.fail(f"could not be asked what it holds: {error}")
            return
        if found != expected:
            self.fail(f"{found} incidents, not {expected}, after {different} different alerts")
        if wrong:
            self.fail(wrong)
        if policy.wait_s and (told := self.sink.summary()["posts"]):
            self.fail(f"{told} webhooks were sent though the policy waits")

    def check_known(self, number: int) -> None:
        """Check that the server answers this alert, which it has, as one that it has."""
        if wrong := self.subject.knows_again(number, self.seed, self.now):
            self.fail(wrong)


@dataclass(frozen=True)
class Experiment:
    """Rows that are measured together.

    rounds_max: an upper limit for the slow ones. ours, peer: who is compared; None if nobody else has such a thing.
    """

    name: str
    rows: tuple[Row, ...]
    policy: Policy
    measure: Callable[[Trial], None]
    rounds_max: int = 1000
    ours: type[Subject] = Tocsin
    peer: type[Subject] | None = Alertmanager


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile. share: 0 < share <= 1; values: at least one, in any order."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


def run_trial(
    experiment: Experiment, kind: type[Subject], *, scale: Scale, cores: Cores, stores: Path, seed: str
) -> Measurement:
    """Measure once: a fresh store in a folder below `stores` that is gone afterwards, as are the processes.

    Raises: DidNotStart.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-", dir=stores) as name:
        folder = Path(name)
        sink = Sink(folder, core=cores.load)
        try:
            subject = kind(folder, policy=experiment.policy, sink_port=sink.port, core=cores.server)
            try:
                subject.start()
                trial = Trial(subject, sink, scale, seed=seed)
                try:
                    experiment.measure(trial)
                except (OSError, LookupError, ValueError) as error:
                    trial.fail(f"{type(error).__name__}: {error}")
                if trial.measurement.failures and subject.child is not None:
                    trial.measurement.log_tail = subject.child.log_tail()
                return trial.measurement
            finally:
                subject.end()
        finally:
            sink.child.kill()
