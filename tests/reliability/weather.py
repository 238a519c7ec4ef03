"""Weather: the long form of everything that tries to break Tocsin, and the numbers for `docs/reliability.md`.

    python -m tests.reliability.weather [--seeds 5000] [--kills 500] [--cuts 1000] [--rounds 6] [--examples 400] [--hits 40]
                                        [--stops 12] [--stop-s 65] [--mutations 10000]

runs the simulator, the planted bugs, and the tests of the real process: kills, disks, networks, hostile input; then it
measures how much later a receiver is told beside 50 that never answer. If all of it passes, it writes what was done
between the marks of the report; otherwise it writes nothing, and exits with 1.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- numbers -->\n", "<!-- end of numbers -->\n"
TESTS = (
    "tests/simulation",
    "tests/planted",
    "tests/reliability",
    "tests/hostile",
    "tests/core/ledger/test_verify.py",
    "tests/cli/test_verify_ledger_mutations.py",
)
HOLES = 50
DELAY_MS_MAX = 1_000
"""So much later, at p99, a receiver may be told beside so many that never answer."""

Numbers = Mapping[str, Counter[str]]
"""What was done -> count -> how many; the sum of all that tests noted with `tally`."""

ROWS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Simulated stories", "simulated stories", (
        ("stories", "stories"), ("several", "of them with several nodes"), ("hours", "simulated hours"), ("starts", "starts of a node"),
        ("entries", "entries decided"), ("answered", "looks answered"), ("arrived", "messages arrived"),
        ("repeated", "of them again"),
    )),
    ("Planted bugs", "planted bugs", (("planted", "planted"), ("found", "found"))),
    ("`kill -9` under load", "kills", (
        ("kills", "kills"), ("answered", "alerts answered"), ("deliveries", "deliveries"),
        ("duplicates", "arrived twice"),
    )),
    ("Killed at a named point", "failpoint", (("cases", "cases"),)),
    ("Loss of power", "power", (
        ("cuts", "cuts"), ("answered", "looks answered"), ("refused", "refused"), ("faults", "disk errors"),
    )),
    ("Full disk", "full", (("fills", "fills"), ("answered", "alerts answered"), ("refused", "requests refused"))),
    ("Files that may not grow (RLIMIT_FSIZE)", "files", (
        ("limits", "limits"), ("answered", "alerts answered"), ("refused", "requests refused"),
    )),
    ("Disk turned read-only", "read_only", (("disks", "disks"), ("refused", "requests refused"))),
    ("Stopped (SIGSTOP)", "stops", (("stops", "stops"), ("answered", "alerts answered"))),
    ("Stopped for more than a minute, in which a lease ran out", "absence", (
        ("stops", "stops"), ("leases", "alerts that waited for their sender"),
    )),
    ("Out of descriptors", "descriptors", (("answered", "alerts answered"), ("cut_off", "cut off"))),
    ("Out of memory", "memory", (("answered", "alerts answered"), ("cut_off", "cut off"), ("died", "deaths"))),
    ("Monotonic clock set ahead", "clocks", (("moves", "moves"), ("answered", "alerts answered"))),
    ("Bad network, by webhook, HTTPS and mail", "network", (
        ("alerts", "alerts"), ("attempts", "attempts"), ("arrivals", "arrived"), ("extra", "of them again"),
    )),
    ("50 receivers that never answer", "silent", (
        ("alerts", "alerts beside them"), ("arrivals", "arrived before any of them gave up"),
        ("delay_ms", "ms later at p99, at most, than without them"),
    )),
    ("Names that fail or lead inside", "dns", (("attempts", "attempts"), ("arrivals", "arrived in the end"))),
    ("Hostile texts, through every channel and face", "hostile texts", (("texts", "texts"), ("screens", "screens"))),
    ("Hostile requests and bodies", "hostile re", (("requests", "requests"), ("bodies", "bodies"))),
    ("Hostile answers of receivers", "hostile answers", (("answers", "answers"),)),
    ("Fuzzed inputs of parsers", "fuzzed inputs", (("inputs", "inputs"),)),
    ("Three nodes on one PostgreSQL", "nodes", (
        ("hits", "kills, stops, cuts and crashes"), ("answered", "looks answered"), ("deliveries", "deliveries"),
        ("duplicates", "arrived twice"), ("operations", "answers to people that one server could have given"),
    )),
    ("A node taken for dead that comes back", "returns", (
        ("returns", "returns"), ("deliveries", "deliveries that others had taken over, told once each"),
    )),
    ("Addresses that lead inside", "denied", (("spellings", "spellings"), ("addresses", "addresses"))),
    ("Ledgers changed by a bit or more", "ledgers changed", (
        ("changes", "changes"), ("found", "of them found and placed, 0 missed"),
    )),
    ("Exports changed by a bit or more", "exports changed", (
        ("changes", "changes"), ("found", "of them of meaning and found, 0 missed"),
    )),
    ("Planted secrets", "planted secrets", (("secrets", "secrets"), ("places", "places searched"))),
)  # fmt: skip
"""A row of the table: its name, how what it adds up begins, and its counts with the words for them."""

ALIASES = (("hostile HTTP", "hostile answers"), ("hostile SMTP", "hostile answers"),
           ("hostile requests", "hostile re"), ("hostile bodies", "hostile re"), ("hostile", "hostile texts"))  # fmt: skip
"""What tests call it -> the row that it belongs to."""


def read(lines: Sequence[str]) -> Numbers:
    """Add up what tests noted."""
    numbers: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        noted = json.loads(line)
        what = noted.pop("what")
        what = next((row for begin, row in ALIASES if what.startswith(begin)), what)
        numbers[what].update(noted)
    return numbers


def table(numbers: Numbers) -> str:
    """Write the numbers as Markdown. Raises: ValueError if a row has none: then its tests did not run."""
    lines = ["| what was done | how much |", "|---|---|"]
    for name, begin, counts in ROWS:
        total: Counter[str] = sum(
            (one for what, one in numbers.items() if what.startswith(begin)), start=Counter()
        )
        said = [f"{total[key]:,} {word}" for key, word in counts if total[key]]
        if not said:
            raise ValueError(f"Nothing was noted of {name!r}.")
        lines.append(f"| {name} | {', '.join(said)} |")
    lines += ["", "Faults in the simulated stories, by kind:", "", "| fault | times |", "|---|---:|"]
    lines += [f"| {kind} | {times:,} |" for kind, times in sorted(numbers["faults in stories"].items())]
    return "\n".join(lines) + "\n"


def delay_ms(said: str) -> int:
    """Read what `benchmarks.blackholes --json` found: how much later a receiver is told beside the holes, at p99.

    Returns: milliseconds, rounded up, at least 1. Raises: ValueError if that is too much, or something never arrived.
    """
    found = json.loads(said)
    if found["missing"] or not {"alone", "holes"} <= found["p99_ms"].keys():
        raise ValueError(
            f"Beside {HOLES} receivers, {found['missing']} alerts never arrived, or none did: {said.strip()}"
        )
    later = found["p99_ms"]["holes"] - found["p99_ms"]["alone"]
    if later > DELAY_MS_MAX:
        raise ValueError(
            f"{HOLES} black holes add {later:,.0f} ms at p99 to what a receiver waits; the bar is {DELAY_MS_MAX:,} ms."
        )
    return max(1, math.ceil(later))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.weather")
    for name, usual in (
        ("seeds", 5_000),
        ("kills", 500),
        ("cuts", 1_000),
        ("rounds", 6),
        ("examples", 400),
        ("hits", 40),
        ("stops", 12),
        ("stop-s", 65),
        ("mutations", 10_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--jobs", default="auto")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = Path(folder, "tally.jsonl")
        environment = os.environ | {
            "TOCSIN_TALLY": str(tally),
            "TOCSIN_TEST_KILLS": str(given.kills),
            "TOCSIN_TEST_CUTS": str(given.cuts),
            "TOCSIN_TEST_NETWORK_ROUNDS": str(given.rounds),
            "TOCSIN_TEST_FUZZ_EXAMPLES": str(given.examples),
            "TOCSIN_TEST_NODE_HITS": str(given.hits),
            "TOCSIN_TEST_STOPS": str(given.stops),
            "TOCSIN_TEST_STOP_S": str(given.stop_s),
            "TOCSIN_TEST_MUTATIONS": str(given.mutations),
            "TOCSIN_TEST_EXPORT_MUTATIONS": str(given.mutations),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            given.jobs,
            "--dist",
            "worksteal",
            "-o",
            "faulthandler_timeout=3000",  # What is long here would have hung there.
            "--seeds",
            str(given.seeds),
            *TESTS,
        ]
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if code:
            print("Something broke, so the report stays as it was.", file=sys.stderr)
            return 1
        measured = subprocess.run(
            [sys.executable, "-m", "benchmarks.blackholes", str(HOLES), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        try:
            if measured.returncode:
                raise ValueError("benchmarks.blackholes did not come to its end.")
            silent = json.dumps({"what": "silent measured", "delay_ms": delay_ms(measured.stdout)})
        except ValueError as error:
            print(f"{error} The report stays as it was.", file=sys.stderr)
            return 1
        said = table(read([*tally.read_text("utf-8").splitlines(), silent]))
    minutes = round((time.monotonic() - begun) / 60)
    words = (
        f"Seen on {datetime.now(UTC):%Y-%m-%d} with Tocsin {version('tocsin')} and SQLite {apsw.sqlite_lib_version()}"
        f" on {platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" in {minutes} minutes: **nothing that was answered with success was lost, and no receiver was forgotten.**\n\n"
    )
    text = REPORT.read_text("utf-8")
    before, rest = text.split(BEGIN)
    REPORT.write_text(f"{before}{BEGIN}\n{words}{said}\n{END}{rest.split(END)[1]}", "utf-8")
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
