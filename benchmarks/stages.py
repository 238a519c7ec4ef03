"""Stages: CPU time per alert of each part of intake, in one process, without HTTP: where the time goes.

    python -m benchmarks.stages [BATCH] [ALERTS]

Each stage is timed in a run of its own, so that the clocks do not add to each other. Figures are microseconds of CPU
per alert; `store` and below are parts of `turn`.
"""

import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.alerts import as_tocsin, now_text
from tocsin.core.engine import step
from tocsin.core.ledger import encoding
from tocsin.core.model.input import PolicyChanged
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import HOUR, Policy, Route
from tocsin.intake import native
from tocsin.runtime import turn
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Turn
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.stores.sqlite import SqliteStore
from tocsin.web import hot

POLICY = Policy(
    routes=Route(name="all", group_by=("rule_id", "cluster"), group_wait=HOUR, group_interval=HOUR),
    targets=(Target(id="aa", channel="webhook", address="webhook"),),
    rate_limit=None,
)


def main() -> None:
    """Print one line a stage: of new alerts, and of the same ones once more."""
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    alerts = int(sys.argv[2]) if len(sys.argv) > 2 else 32_000
    stages: list[tuple[str, Any, str]] = [
        ("parse", native, "parse"),
        ("turn", Pump, "turn"),
        ("  decide and apply", turn, "advance"),
        ("    decide", step, "step"),
        ("  seal the entry", encoding, "seal"),
        ("  gather the rows", Turn, "batch"),
        ("  store: rows, pages, sync", SqliteStore, "commit"),
        ("answer", hot, "_accepted"),
    ]
    print(f"CPU microseconds per alert, batches of {batch}, {alerts} alerts")
    print(f"{'stage':<28}{'new':>8}{'repeated':>10}")
    for name, owner, function in stages:
        new, repeated = measure(owner, function, batch, alerts)
        print(f"{name:<28}{new:>8.2f}{repeated:>10.2f}")


def measure(owner: Any, function: str, batch: int, alerts: int) -> tuple[float, float]:
    """Run it all with a clock around one function; CPU microseconds per alert in it, new and repeated."""
    spent = [0.0]
    answers: list[Any] = []
    plain: Callable[..., Any] = getattr(owner, function)

    @functools.wraps(plain)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.process_time()
        try:
            return plain(*args, **kwargs)
        finally:
            spent[0] += time.process_time() - begun

    now = now_text()
    bodies = [
        json.dumps(
            [as_tocsin(i, "s", now) for i in range(start, start + batch)], separators=(",", ":")
        ).encode()
        for start in range(0, alerts, batch)
    ]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        clock = MachineClock()
        store = SqliteStore(Path(folder) / "data")
        house = Pump(store, clock, MachineIds(), origin="stages", on_committed=lambda committed: None)
        house.open()
        house.turn([Request((PolicyChanged(policy=POLICY),), "stages")])
        setattr(owner, function, timed)
        try:
            figures = []
            for _ in range(2):
                spent[0] = 0.0
                for body in bodies:
                    parsed = native.parse(body, clock.now())
                    house.turn([Request(parsed.alerts, "stages", lambda _, answer: answers.append(answer))])
                    hot._accepted(parsed, answers.pop())
                figures.append(spent[0] / alerts * 1e6)
        finally:
            setattr(owner, function, plain)
            store.close()
    return figures[0], figures[1]


if __name__ == "__main__":
    main()
