"""Lists: how long a page of incidents and the statistics take; 10,000 open ones, alone and among 1,000,000 resolved.

    python -m benchmarks.lists [OPEN] [RESOLVED]

The rows go into the embedded store by `commit`, without HTTP; the open ones are scattered evenly among the resolved.
What is written are incidents alone: nothing else is read by what is measured. Figures are milliseconds.
"""

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tocsin.core.engine.state import Counters, LiveIncident, Told
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.ports import Batch, Head, IncidentFilter, IncidentRow, Store
from tocsin.stores.sqlite import SqliteStore

AT_ONCE = 5_000
CALLS = 100
SCANS = 5
PAGE = 50
RULES = 200
PAGE_WIDTH = 120
SECOND = 1_000_000
DAY = 86_400 * SECOND
LENGTH = 365 * DAY
SEVERITIES = (Severity.INFO, *(Severity.WARNING,) * 12, *(Severity.ERROR,) * 5, *(Severity.CRITICAL,) * 2)
OPEN_STATES = (*(IncidentState.OPEN,) * 18, IncidentState.ACK, IncidentState.SILENCED)

Ask = Callable[[Store], object]


def incidents(count: int, open_each: int, now: int) -> Iterator[IncidentRow]:
    """Give so many incidents of the last year, of which each so-manieth is not over."""
    chance = random.Random(1)
    for number in range(1, count + 1):
        is_open = number % open_each == 0
        opened_at = now - LENGTH + LENGTH * number // (count + 1)
        acked_at = opened_at + int(chance.lognormvariate(5, 1) * SECOND)
        resolved_at = min(now, acked_at + int(chance.lognormvariate(7, 1.5) * SECOND))
        host = f"db-{chance.randrange(2_000)}.example.org"
        incident = LiveIncident(
            number=number,
            id=f"{chance.getrandbits(96):024x}{number:08x}",
            key=chance.randbytes(32),
            route="databases",
            policy=3,
            state=chance.choice(OPEN_STATES) if is_open else IncidentState.RESOLVED,
            severity=chance.choice(SEVERITIES),
            rule_id=f"rule-{int(RULES * chance.random() ** 2)}",
            opened_at=opened_at,
            updated_at=opened_at if is_open else resolved_at,
            acked_at=0 if is_open else acked_at,
            resolved_at=0 if is_open else resolved_at,
            firing=int(is_open),
            cleared=int(not is_open),
            fire_change=number * 4,
            told=tuple(Told(target=f"{target:032x}", change=number * 4, at=opened_at) for target in (1, 2)),
            entries=5,
            last_seq=number * 5,
        )
        yield IncidentRow(
            incident=incident,
            live=is_open,
            title=f"disk-full: {host} has {chance.randrange(100)} % left on /var/lib/data{number}",
            labels={"host": host, "cluster": f"c{number % 20}", "rule_id": incident.rule_id},
        )


def fill(store: Store, rows: Iterator[IncidentRow]) -> int:
    """Commit the rows, thousands at a time; how many there were."""
    done = 0
    while batch := [row for _, row in zip(range(AT_ONCE), rows, strict=False)]:
        done += len(batch)
        head = Head(
            size=done, root=EMPTY_ROOT, edge=b"", at=done, alive_at=done, counters=Counters(incident=done)
        )
        store.commit(Batch(head=head, incidents=batch))
    return done


def questions(count: int, now: int) -> dict[str, tuple[Ask, int]]:
    """Give what is asked, and how often."""
    chance = random.Random(2)

    def page(**wanted: object) -> Ask:
        return lambda store: store.list_incidents(IncidentFilter(**wanted), PAGE)  # type: ignore[arg-type]

    return {
        "newest": (page(), CALLS),
        "after some number": (lambda store: page(after=chance.randrange(1, count))(store), CALLS),
        "state OPEN": (page(states=(IncidentState.OPEN,)), CALLS),
        "state ACK (1 in 20)": (page(states=(IncidentState.ACK,)), CALLS),
        "state RESOLVED": (page(states=(IncidentState.RESOLVED,)), CALLS),
        "severity critical": (page(severity=Severity.CRITICAL), CALLS),
        "a rule": (page(rule_id="rule-20"), CALLS),
        "a rule, after some number": (
            lambda store: page(rule_id="rule-20", after=chance.randrange(1, count))(store),
            CALLS,
        ),
        "a rule, severity, OPEN": (
            page(rule_id="rule-20", severity=Severity.INFO, states=(IncidentState.OPEN,)),
            CALLS,
        ),
        "opened in the last day": (page(since=now - DAY), CALLS),
        "statistics, 30 days": (lambda store: store.stats(now - 30 * DAY, now), CALLS),
        "statistics, 365 days": (lambda store: store.stats(now - LENGTH, now), CALLS),
        "text, OPEN": (page(text="DATA4242", states=(IncidentState.OPEN,)), CALLS),
        "text, in few (a scan)": (page(text="DATA4242"), SCANS),
        "text, in all (a scan)": (page(text="disk-full"), SCANS),
        "scope (a scan)": (page(scope=(("host", "db-7.example.org"),)), SCANS),
    }


def measure(store: Store, count: int, now: int) -> dict[str, tuple[float, float]]:
    """Ask everything; p50 and p95 in milliseconds."""
    figures = {}
    for name, (ask, calls) in questions(count, now).items():
        ask(store)
        took = []
        for _ in range(calls):
            begun = time.perf_counter()
            ask(store)
            took.append((time.perf_counter() - begun) * 1_000)
        figures[name] = statistics.median(took), sorted(took)[int(len(took) * 0.95) - 1]
    return figures


def main() -> None:
    """Fill two stores, ask both, print the figures side by side."""
    few = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    many = few + (int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    now = time.time_ns() // 1_000
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    sides = []
    for count in (few, many):
        folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
        try:
            store = SqliteStore(folder / "data")
            begun = time.perf_counter()
            fill(store, incidents(count, count // few, now))
            took_s = time.perf_counter() - begun
            console.print(f"{count} incidents, {few} of them open: written in {took_s:.0f} s; {store.kept()}")
            sides.append(measure(store, count, now))
            store.close()
        finally:
            shutil.rmtree(folder)
    table = Table("asked for", "p50", "p95", "p50 with all", "p95 with all", "p95, how much more")
    for name, (p50, p95) in sides[0].items():
        more = sides[1][name]
        table.add_row(name, *[f"{ms:.1f}" for ms in (p50, p95, *more)], f"{more[1] / p95:.2f} x")
    console.print(table)


if __name__ == "__main__":
    main()
