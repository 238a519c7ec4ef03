"""`python -m benchmarks [rows] [--rounds N] [--quick] [--no-peer]`: measure, compare, write down.

Exit codes: 0 measured; 1 a row failed its checks or a server did not start; 2 wrong usage; 3 with --strict,
a row is below its bar; 130 interrupted.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine, profile, report
from benchmarks.experiments import EXPERIMENTS
from benchmarks.processes import DidNotStart
from benchmarks.rounds import Plan, Result, judge, run
from benchmarks.subjects import Alertmanager, Subject, Tocsin
from benchmarks.trial import Experiment, Scale

RESULTS = Path(__file__).with_name("results")
PAGE_WIDTH = 140


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for, checked as far as it can be without measuring."""
    names = [experiment.name for experiment in EXPERIMENTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Tocsin beside Alertmanager on this machine.",
        epilog=f"Rows: {', '.join(names)}; the beginning of a name stands for all that begin so. "
        "`profile` samples one ingest round with py-spy instead.",
    )
    parser.add_argument("rows", nargs="*", help="which rows; none means all")
    parser.add_argument("--rounds", type=int, help="rounds of each row (default 5, with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the load: to see that all works")
    parser.add_argument("--full", action="store_true", help="the scaling rows up to 1,000,000 open alerts")
    parser.add_argument("--no-peer", action="store_true", help="measure only ourselves")
    parser.add_argument("--no-ours", action="store_true", help="measure only the peer")
    parser.add_argument("--strict", action="store_true", help="exit 3 if a row is below its bar")
    parser.add_argument(
        "--attempts", type=int, default=3, help="how often a noisy trial is made at most (default 3)"
    )
    parser.add_argument("--tocsin", metavar="COMMAND", help="what to start as `COMMAND serve ...`")
    parser.add_argument(
        "--stores", type=Path, help="folder for the servers' data; a disk, not tmpfs (/var/tmp)"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for the JSON and Markdown files"
    )
    parser.add_argument(
        "--batch", type=int, default=64, help="with profile: alerts in a request (default 64)"
    )
    asked = parser.parse_args(argv)

    unknown = [
        row for row in asked.rows if row != "profile" and not any(name.startswith(row) for name in names)
    ]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are: {', '.join(names)}")
    if asked.no_peer and asked.no_ours:
        parser.error("--no-peer and --no-ours together leave nothing to measure")
    if min(asked.attempts, asked.batch, 1 if asked.rounds is None else asked.rounds) < 1:
        parser.error("--rounds, --attempts and --batch must be at least 1")
    return asked


def chosen(rows: Sequence[str]) -> list[Experiment]:
    """The experiments whose names begin with one of these words; all without words."""
    return [one for one in EXPERIMENTS if not rows or any(one.name.startswith(row) for row in rows)]


def stores_folder(asked: Path | None) -> Path:
    """Where the servers keep their data: /var/tmp is on a disk by convention, where /tmp often is not."""
    if asked is not None:
        return asked
    kept = Path("/var/tmp")
    return kept if os.access(kept, os.W_OK) else Path(tempfile.gettempdir())


def end_in_order(number: int, frame: object) -> None:
    """SIGTERM unwinds like Ctrl-C, so that every server is stopped and every folder removed."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for; the exit code."""
    asked = arguments(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)  # A log has no width of its own; the table needs this one.
    if sys.platform != "linux":
        console.print("The benchmarks need Linux: they pin processes to cores and read /proc.")
        return 1
    signal.signal(signal.SIGTERM, end_in_order)
    if asked.tocsin:
        Tocsin.program = tuple(shlex.split(asked.tocsin))

    cores = machine.choose_cores()
    stores = stores_folder(asked.stores)
    os.sched_setaffinity(0, {cores.load})  # This process is the generator.
    results: list[Result] = []
    try:
        if "profile" in asked.rows:
            count = 100_000 if asked.batch > 1 else 30_000
            return profile.run(
                console, batch=asked.batch, count=count, cores=cores, stores=stores, results=asked.results
            )
        return measure(console, asked, cores=cores, stores=stores, results=results)
    except DidNotStart as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; all servers are stopped. Measured so far (nothing was written):")
        report.show(console, [result for result in results if result.measurements])
        return 130


def measure(
    console: Console, asked: argparse.Namespace, *, cores: machine.Cores, stores: Path, results: list[Result]
) -> int:
    """Run the chosen rows into `results`, show and write them. Raises: DidNotStart, when all is shown."""
    started_s = time.monotonic()
    scale = Scale(quick=asked.quick, full=asked.full)
    words = "quick (a fifth of the load, not judged)" if asked.quick else "full" if asked.full else "default"
    plan = Plan(
        rounds=asked.rounds or (2 if asked.quick else 5),
        attempts=asked.attempts,
        scale=scale,
        cores=cores,
        stores=stores,
    )
    facts = machine.facts(stores=stores, cores=cores, peer=Alertmanager.version())
    for name, value in facts.items():
        console.print(f"{name}: {value}", style="dim", highlight=False)

    for experiment in chosen(asked.rows):
        if missing := experiment.ours.missing():
            console.print(f"{experiment.name} is left out: {missing}", markup=False, highlight=False)
            continue
        peer = experiment.peer
        peer_absent = "" if peer is None else "left out" if asked.no_peer else peer.missing()
        kinds: list[type[Subject]] = []
        if peer is not None and not peer_absent:
            kinds.append(peer)
        if not asked.no_ours:
            kinds.append(experiment.ours)
        result = Result(experiment, judged=not asked.quick, peer_absent=peer_absent)
        results.append(result)
        try:
            run(
                experiment,
                kinds,
                plan,
                result,
                say=lambda line: console.print(line, markup=False, highlight=False),
            )
        except DidNotStart:
            finished = [one for one in results if one.measurements]
            if finished:
                report.show(console, finished)
            raise

    report.show(console, results)
    written = report.write(asked.results, results, machine=facts, scale=words)
    minutes = (time.monotonic() - started_s) / 60
    console.print(
        f"{minutes:.1f} minutes. Written: {', '.join(path.name for path in written)}", highlight=False
    )

    verdicts = [judge(result, row).word for result in results for row in result.experiment.rows]
    if "failed" in verdicts:
        return 1
    return 3 if asked.strict and "below" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
