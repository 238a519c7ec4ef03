"""Where the server's time goes while it takes alerts: one ingest round watched by py-spy, from outside.

py-spy is no dependency of ours; without it this says so and does nothing.
"""

import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Cores
from benchmarks.processes import Child
from benchmarks.subjects import GROUPED_WAITING, Tocsin
from benchmarks.trial import Scale, Sink, Trial

SAMPLES_PER_S = 250
TOP = 25
CONNECTIONS = 8


def find_py_spy() -> str:
    """The sampler's path, beside this Python or on the search path; empty if there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy") or ""


def run(console: Console, *, batch: int, count: int, cores: Cores, stores: Path, results: Path) -> int:
    """Profile one round, new alerts and repeats; print the dearest functions and keep the collapsed stacks.

    Returns the exit code. Raises: DidNotStart.
    """
    sampler = find_py_spy()
    if not sampler:
        console.print("profile: py-spy is not installed, so there is nothing to do (`pip install py-spy`).")
        return 0
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-", dir=stores) as name:
        folder = Path(name)
        sink = Sink(folder, core=cores.load)
        try:
            subject = Tocsin(folder, policy=GROUPED_WAITING, sink_port=sink.port, core=cores.server)
            try:
                subject.start()
                trial = Trial(subject, sink, Scale(), seed="profile")
                requests = trial.requests(range(count), batch=batch)
                for kind in ("new", "repeated"):
                    stacks = folder / f"{kind}.stacks"
                    watcher = _watch(sampler, subject.pid, stacks, folder=folder, core=cores.load)
                    try:
                        sent, _ = trial.post(requests, alerts=count, connections=CONNECTIONS)
                    finally:
                        watcher.stop(signal.SIGINT, until_s=30)  # It writes its file when it is interrupted.
                    if not stacks.exists():
                        console.print(
                            f"profile: py-spy wrote nothing. Its log:\n{watcher.log_tail()}", markup=False
                        )
                        return 1
                    console.print(
                        f"{count / sent.wall_s:,.0f} alerts/s, {kind}, batch {batch}, while being watched"
                    )
                    lines = stacks.read_text().splitlines()
                    console.print(_table(lines, title=f"{kind}, batch {batch}"))
                    console.print(f"kept: {_keep(results, kind, batch, lines).name}")
                for why in trial.measurement.failures:
                    console.print(f"FAILED: {why}", style="red", markup=False)
                return 1 if trial.measurement.failures else 0
            finally:
                subject.end()
        finally:
            sink.child.kill()


def _watch(sampler: str, pid: int, stacks: Path, *, folder: Path, core: int) -> Child:
    """Start sampling; the sampler runs on the load's core, so that it does not take the server's."""
    command = [sampler, "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--format", "raw"]
    command += ["--nonblocking", "--output", str(stacks), "--duration", "300"]
    return Child("py-spy", command, core=core, log=folder / "py-spy.log", environment={})


def _table(stacks: Sequence[str], *, title: str) -> Table:
    """The dearest functions. stacks: lines `outer;...;inner count`."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = [re.sub(r":\d+\)$", ")", frame) for frame in frames.split(";")]
        own[names[-1]] += int(count)
        for name in dict.fromkeys(names):
            total[name] += int(count)
    samples = own.total() or 1
    table = Table(title=title, title_justify="left")
    for column in ("own", "with callees", "function"):
        table.add_column(column, justify="left" if column == "function" else "right")
    for name, taken in own.most_common(TOP):
        table.add_row(f"{taken / samples:.1%}", f"{total[name] / samples:.1%}", name)
    return table


def _keep(results: Path, kind: str, batch: int, stacks: Sequence[str]) -> Path:
    """Keep collapsed stacks, which flame graph tools read; paths are cut to what lies in a package."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"profile-{datetime.now(UTC):%Y-%m-%d}-batch-{batch}-{kind}.stacks"
    path.write_text("\n".join(re.sub(r"/\S*/(site-packages|src|lib)/", "", line) for line in stacks) + "\n")
    return path
