"""Rules: what looking costs: on memory data, and a thousand rules a minute in a running server.

    python -m benchmarks.rules [SECONDS]

The first table is 200 rules of all kinds, each over 60 points, judged one after the other as one sweep. The second is a
real `tocsin serve` with 1,000 rules over one SQLite file, each looking once a minute, for so long (120 s unless told
otherwise): CPU seconds that the server took for each minute, and how many looks it made.
"""

import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tocsin.cli.client import TOKEN_FILE
from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import HOUR, MINUTE
from tocsin.core.model.rule import (
    Absent,
    Break,
    DeltaPct,
    Interval,
    Limit,
    Op,
    Outlier,
    Period,
    Point,
    Rule,
    Series,
    Slope,
    Threshold,
    Trigger,
)
from tocsin.core.rules import evaluate
from tocsin.core.rules.evaluate import Memory

RULES = 200
SWEEPS = 100
AT = 1_800_000_000_000_000
LIMITS = (Limit(50.0, Severity.ERROR),)
TRIGGERS: tuple[Trigger, ...] = (
    Threshold(op=Op.GT, limits=LIMITS),
    DeltaPct(op=Op.LT, limits=LIMITS, against=Period.WEEK),
    Slope(op=Op.GT, limits=LIMITS),
    Break(limits=LIMITS),
    Outlier(limits=LIMITS),
    Absent(limits=LIMITS),
)


def sweeps() -> list[float]:
    """Judge all rules, again and again; milliseconds of each sweep."""
    points = tuple(Point(AT - (60 - n) * MINUTE, 40.0 + n * 7 % 13) for n in range(60))
    series = (Series({"region": "north"}, points),)
    rules = [
        Rule(
            rule_id=f"rule-{n}",
            source="memory",
            query="q",
            every=Interval(MINUTE),
            window=HOUR,
            trigger=TRIGGERS[n % len(TRIGGERS)],
        )
        for n in range(RULES)
    ]
    memories = [Memory() for _ in rules]
    took = []
    for _ in range(SWEEPS):
        begun = time.perf_counter()
        for rule, memory in zip(rules, memories, strict=True):
            evaluate.look(rule, AT, {"now": series, "before": series}, memory)
        took.append((time.perf_counter() - begun) * 1_000)
    return took


def write(folder: Path, count: int) -> None:
    """Write a database and a configuration with so many rules over it, of which one in fifty fires."""
    database = sqlite3.connect(folder / "shop.db")
    database.execute("CREATE TABLE orders (at INTEGER, region TEXT, n INTEGER)")
    now = int(time.time())
    database.executemany(
        "INSERT INTO orders VALUES (?, ?, ?)",
        [
            (now + second, region, second % 10)
            for second in range(-600, 3600)
            for region in ("north", "south")
        ],
    )
    database.execute("CREATE INDEX by_at ON orders (at)")
    database.commit()
    database.close()
    query = "SELECT region, sum(n) AS value FROM orders WHERE at >= :since_epoch AND at < :until_epoch GROUP BY region"
    rules = [
        {
            "rule_id": f"rule-{n}",
            "source": "shop",
            "severity": "error",
            "query": query,
            "every": "1m",
            "trigger": {"kind": "threshold", "op": "gt", "value": 1 if n % 50 == 0 else 1_000_000},
        }
        for n in range(count)
    ]
    sources = [{"name": "shop", "kind": "sql", "url": f"sqlite:///{folder / 'shop.db'}"}]
    (folder / "tocsin.yaml").write_text(json.dumps({"sources": sources, "rules": rules}))


def serve(count: int, seconds: float) -> dict[str, float]:
    """Let a server look for so long; what that took, for each minute."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place)
        write(folder, count)
        command = [sys.executable, "-m", "tocsin.cli.main", "serve", "--data", str(folder / "data")]
        process = subprocess.Popen(
            [*command, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TOCSIN_CONFIG": str(folder / "tocsin.yaml")},
        )
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Tocsin listens on "))
            url = line.removeprefix("Tocsin listens on ").partition(";")[0]
            token = (folder / "data" / TOKEN_FILE).read_text().strip()
            time.sleep(5.0)  # What a start takes is not what looking takes.
            before = figures(url, token, process.pid)
            time.sleep(seconds)
            after = figures(url, token, process.pid)
        finally:
            process.terminate()
            process.wait()
    minutes = seconds / 60
    return {name: (after[name] - before[name]) / minutes for name in after} | {"memory": after["memory"]}


def figures(url: str, token: str, pid: int) -> dict[str, float]:
    """Read the server's own counters, and its CPU seconds and memory (MB)."""
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        text = answer.read().decode()
    looks = {
        outcome: float(value)
        for outcome, value in re.findall(r'tocsin_rule_evaluations_total\{outcome="(\w+)"\} (\S+)', text)
    }
    took = re.search(r"tocsin_rule_evaluation_seconds_sum (\S+)", text)
    assert took is not None
    process = psutil.Process(pid)
    used = process.cpu_times()
    return {
        **looks,
        "seconds in looks": float(took[1]),
        "CPU seconds": used.user + used.system,
        "memory": process.memory_info().rss / 1e6,
    }


def main() -> None:
    """Print both tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    console = Console(width=100)
    took = sweeps()
    table = Table("200 rules on memory data, ms", "p50", "p95", "p99")
    ranked = sorted(took)
    table.add_row(
        f"{SWEEPS} sweeps",
        f"{statistics.median(took):.1f}",
        f"{ranked[int(len(ranked) * 0.95) - 1]:.1f}",
        f"{ranked[int(len(ranked) * 0.99) - 1]:.1f}",
    )
    console.print(table)
    found = serve(1_000, seconds)
    table = Table("1,000 rules in a server, each minute", "")
    for name, value in found.items():
        table.add_row(name if name != "memory" else "memory at the end, MB", f"{value:,.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
