"""Record: what it takes to verify a ledger, to replay it and to decide it again under another policy.

    python -m benchmarks.record [ALERTS]

A year of alerts (1,000,000 of them unless told otherwise) goes through the real pump into a data directory: each fires,
some are seen again, and all end; whoever is told answers at once. Then the verbs run as people run them, one after the
other. Figures are seconds by the clock and of CPU, and the most memory that the process took.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import Input, OutcomeReported
from tocsin.core.model.notification import Accepted
from tocsin.intake.native import received
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.world import MachineIds
from tocsin.settings import read_settings
from tocsin.stores.sqlite import SqliteStore
from tocsin.wiring import node as wiring_node

SECOND = 1_000_000
DAY = 86_400 * SECOND
LENGTH = 365 * DAY
AT_ONCE = 200
HOSTS = 5_000
RULES = ("disk", "load", "latency", "errors", "certificate")
SEVERITIES = (Severity.INFO, *(Severity.WARNING,) * 6, *(Severity.ERROR,) * 2, Severity.CRITICAL)
CONFIG = """\
channels:
- {kind: webhook, name: ops, url: "https://ops.example.org/hook"}
- {kind: webhook, name: chat, url: "https://chat.example.org/hook"}
routes:
  name: default
  group_by: [rule_id, cell]
  group_wait: 30s
  group_interval: 5m
  channels: [chat]
  routes:
  - {name: critical, matchers: ["severity=critical"], group_wait: 0s, channels: [ops, chat]}
rate_limit: {limit: 10, window: 1h}
"""
STRICTER = CONFIG.replace("limit: 10", "limit: 2")


class HandClock:
    """Time as it is told."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def wall(self) -> int:
        return self.at

    def not_before(self, at: int) -> None:
        self.at = max(self.at, at)


def alerts(count: int, begin: int) -> Iterator[Alert]:
    """Give a year of looks at alerts: those that fire, and from time to time the same once more or its end."""
    chance = random.Random(1)
    firing: list[tuple[str, int, Severity, int]] = []
    for number in range(count):
        at = begin + LENGTH * number // count
        what = chance.random()
        if firing and what < 0.48:
            rule, host, severity, since = firing.pop(chance.randrange(len(firing)))
            window, status = (since, at), Status.RESOLVED
        elif firing and what < 0.52:
            rule, host, severity, since = chance.choice(firing)
            window, status = (at - SECOND, at), Status.FIRING
        else:
            rule, host, severity = chance.choice(RULES), chance.randrange(HOSTS), chance.choice(SEVERITIES)
            firing.append((rule, host, severity, at))
            window, status = (at - SECOND, at), Status.FIRING
        yield Alert(
            rule_id=rule,
            severity=severity,
            status=status,
            message=f"{rule} on host-{host:05d} is beyond what it should be, look at the graphs",
            scope={"host": f"host-{host:05d}", "cell": f"c{host % 500}"},
            window_start=window[0],
            window_end=window[1],
        )


def fill(data: Path, count: int) -> int:
    """Let a year pass in a data directory; how many entries its ledger has then."""
    clock = HandClock(time.time_ns() // 1_000 - LENGTH - DAY)
    due: list[tuple[int, int]] = []

    def committed(done: Committed) -> None:
        due.extend((one.delivery, one.attempt) for one in done.dispatches)

    (data.parent / "tocsin.yaml").write_text(CONFIG)
    store = SqliteStore(data)
    settings = read_settings(config=data.parent / "tocsin.yaml")
    wiring_node.MachineClock = lambda: clock  # type: ignore[assignment,misc]  # The house opens a year ago, too.
    node = wiring_node.build_node(settings, store, data=data)
    pump = Pump(store, clock, MachineIds(), origin=node.origin, on_committed=committed)
    pump.open()
    given = alerts(count, clock.at)
    while batch := [alert for _, alert in zip(range(AT_ONCE), given, strict=False)]:
        clock.at = max(clock.at, batch[-1].window_end or 0)
        inputs: list[Input] = [OutcomeReported(delivery=d, attempt=a, outcome=Accepted()) for d, a in due]
        due.clear()
        if inputs:
            pump.turn([Request(tuple(inputs), "system")])
        pump.turn([Request(tuple(map(received, batch)), "api")])
    pump.turn([])
    size = store.head().size
    store.close()
    return size


def run(*arguments: str | Path) -> tuple[int, float, float, float]:
    """Run a command to its end: exit code, seconds by the clock, of CPU, and the most memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in (0, 9):
        raise SystemExit(f"{arguments} ended with {code}: {said[-2000:]}")
    return code, time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000


def main() -> None:
    """Fill a data directory, run the verbs, print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="tocsin-record-"))
    try:
        data, export = folder / "data", folder / "export.zip"
        begun = time.perf_counter()
        with get_context("spawn").Pool(
            1
        ) as apart:  # A process begins with the memory of the one that starts it.
            size = apart.apply(fill, (data, count))
        console.print(f"{count:,} alerts, {size:,} entries: written in {time.perf_counter() - begun:.0f} s")
        (folder / "same.yaml").write_text(CONFIG)
        (folder / "stricter.yaml").write_text(STRICTER)
        tocsin = "-m", "tocsin.cli.main"
        whatif = *tocsin, "whatif", "--data", data, "-o", "json", "--policy"
        table = Table("command", "exit", "seconds", "CPU seconds", "memory, MB")

        def row(name: str, *arguments: str | Path) -> None:
            code, *figures = run(*arguments)
            table.add_row(name, str(code), *[f"{figure:,.1f}" for figure in figures])

        row("tocsin ledger export", *tocsin, "ledger", "export", export, "--data", data)
        with zipfile.ZipFile(export) as packed:
            packed.extract("verify_ledger.py", folder)
            key = packed.read("keys.txt").decode().split()[0]
        row("verify_ledger.py", folder / "verify_ledger.py", export, "--key", key)
        row("tocsin ledger verify", *tocsin, "ledger", "verify", "--data", data)
        row("tocsin ledger replay", *tocsin, "ledger", "replay", "--data", data)
        row("tocsin whatif, the same policy", *whatif, folder / "same.yaml")
        row("tocsin whatif, a stricter limit", *whatif, folder / "stricter.yaml")
        console.print(table)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
