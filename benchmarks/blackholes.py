"""Black holes: how much later a receiver that works is told because others take every connection and never answer.

    python -m benchmarks.blackholes [HOLES] [ALERTS] [--files N] [--json]

Three servers, each in a process of its own with a fresh store, get the same alerts at the same pace; each alert is an
incident that every channel is told of. One has the receiver alone, one has it beside so many that work, and one beside
as many black holes: ports that take a connection and never answer. Figures are milliseconds from the first byte of the
POST to the arrival at the receiver, and how many notifications of the others ended meanwhile.

--files: how many files and connections the server may have (RLIMIT_NOFILE, soft and hard).
--json: print {"p99_ms": {"alone": ..., "well": ..., "holes": ...}, "missing": ...} and nothing else; a side of which
nothing arrived has no figure, and missing is how many alerts never reached the receiver.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.alerts import alert_id, now_text
from benchmarks.generator import HOST, Line, fetch
from benchmarks.machine import Cores
from benchmarks.subjects import ALONE_NOW, Tocsin
from benchmarks.trial import Sink, percentile

GAP_S = 0.05
WARM_UP = 20
LATE_S = 60.0
BACKLOG = 64
"""More than a channel ever has on its way at once."""
PAGE_WIDTH = 120


@dataclass
class Figures:
    """latencies_ms: of each alert that is counted, in order of sending. others: state -> deliveries to the others."""

    latencies_ms: list[float] = field(default_factory=list)
    answers_ms: list[float] = field(default_factory=list)
    missing: int = 0
    others: dict[str, int] = field(default_factory=dict)
    load_1m: float = 0.0


class Crowd(Tocsin):
    """Ourselves with one receiver that works, and others."""

    others: Sequence[str] = ()
    files = 0

    def _config(self) -> dict[str, object]:
        urls = {"webhook": self.sink_url} | {f"other-{n}": url for n, url in enumerate(self.others)}
        return super()._config() | {
            "channels": [{"kind": "webhook", "name": name, "url": url} for name, url in urls.items()],
            "routes": {"name": "default", "group_by": ["..."], "repeat_interval": "1d"},
            "outgoing": {"allow_private": ["127.0.0.0/8"]},
        }

    def environment(self) -> dict[str, str]:
        kept = ("TOCSIN_WEBHOOK_URL", "TOCSIN_WEBHOOK_SECRET", "TOCSIN_ALLOW_PRIVATE")
        return {name: value for name, value in super().environment().items() if name not in kept}

    def start(self) -> float:
        ready_s = super().start()
        if self.files and self.child is not None:
            resource.prlimit(self.child.pid, resource.RLIMIT_NOFILE, (self.files, self.files))
        return ready_s


def black_hole() -> socket.socket:
    """Make a port that takes connections, and what comes over them as far as the kernel has room, and never answers."""
    hole = socket.socket()
    hole.bind((HOST, 0))
    hole.listen(BACKLOG)
    return hole


def count(server: Crowd, state: str) -> int:
    """Give how many deliveries are in a state; -1 if the server does not answer, as one that may open no more files."""
    try:
        asked = fetch(server.port, f"/api/v1/deliveries?state={state}&limit=1", token=server.token)
        return int(json.loads(asked[1])["total"])
    except (OSError, HTTPException, LookupError):
        return -1


def measure(kind: str, others: int, alerts: int, files: int, cores: Cores) -> Figures:
    """Send alerts to one server. kind: `alone`, `well` or `holes`."""
    figures = Figures()
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    with ExitStack() as ended:
        ended.callback(shutil.rmtree, folder)
        (folder / "well").mkdir()
        sink, well = Sink(folder, core=cores.load), Sink(folder / "well", core=cores.load)
        ended.callback(sink.child.kill)
        ended.callback(well.child.kill)
        Crowd.files, Crowd.others = files, []
        for number in range(others if kind != "alone" else 0):
            hole = ended.enter_context(black_hole())
            port = well.port if kind == "well" else hole.getsockname()[1]
            Crowd.others = [*Crowd.others, f"http://{HOST}:{port}/{number}"]
        server = Crowd(folder, policy=ALONE_NOW, sink_port=sink.port, core=cores.server)
        server.start()
        ended.callback(server.end)

        sent_at: dict[str, int] = {}
        line = Line(server.port)
        for number, request in enumerate(
            server.requests(range(WARM_UP + alerts), batch=1, seed="hole", now=now_text())
        ):
            status, answer, at_ns = line.ask(request)
            assert status == 200, answer
            figures.answers_ms.append((time.monotonic_ns() - at_ns) / 1e6)
            sent_at[alert_id(number, "hole")] = at_ns
            time.sleep(GAP_S)
        line.close()
        sink.wait_for(WARM_UP + alerts, idle_s=LATE_S, until_s=LATE_S)
        arrivals = sink.arrivals()
        counted = list(sent_at)[WARM_UP:]
        figures.latencies_ms = [(arrivals[key] - sent_at[key]) / 1e6 for key in counted if key in arrivals]
        figures.missing = sum(key not in arrivals for key in counted)
        for state in ("delivered", "pending"):
            figures.others[state] = count(server, state)
        figures.others["delivered"] -= len(arrivals)
        figures.load_1m = os.getloadavg()[0]
    return figures


def main() -> None:
    """Measure the three side by side, print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.blackholes", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("holes", type=int, nargs="?", default=50)
    parser.add_argument("alerts", type=int, nargs="?", default=300)
    parser.add_argument("--files", type=int, default=0, help="RLIMIT_NOFILE of the server (its own)")
    parser.add_argument("--json", action="store_true", help="print the p99 of each as JSON")
    asked = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    cores = machine.choose_cores()

    columns = ("p50", "p99", "max", "never", "answer p99", "others told", "others wait", "load")
    table = Table("beside the receiver", *columns)
    p99: dict[str, float] = {}
    missing = 0
    sides = {"alone": "nobody", "well": f"{asked.holes} that work", "holes": f"{asked.holes} black holes"}
    for kind, name in sides.items():
        found = measure(kind, asked.holes, asked.alerts, asked.files, cores)
        missing += found.missing
        if not found.latencies_ms:
            table.add_row(name, "-", "-", "-", str(found.missing))
            continue
        p99[kind] = percentile(found.latencies_ms, 0.99)
        figures = (statistics.median(found.latencies_ms), p99[kind], max(found.latencies_ms))
        table.add_row(
            name,
            *[f"{ms:.1f}" for ms in figures],
            str(found.missing),
            f"{percentile(found.answers_ms, 0.99):.1f}",
            str(found.others["delivered"]),
            str(found.others["pending"]),
            f"{found.load_1m:.1f}",
        )
    if asked.json:
        print(json.dumps({"p99_ms": p99, "missing": missing}))
        return
    console.print(table)
    if {"alone", "holes"} <= p99.keys():
        console.print(f"Black holes add {p99['holes'] - p99['alone']:.1f} ms at p99; the bar is 1,000 ms.")


if __name__ == "__main__":
    main()
