"""Volume: memory with 100,000 open incidents, and how soon a restarted server is ready with them again.

Each alert is its own incident, waiting. The server is ended twice: as a power cut would, and with SIGTERM.
The page cache stays warm, as it does when only the process dies.
"""

import time

from benchmarks.machine import resident_mb
from benchmarks.subjects import ALONE_WAITING, Alertmanager
from benchmarks.trial import Experiment, Row, Trial

CONNECTIONS = 4
BATCH = 1000
SETTLE_S = 2.0


def measure(trial: Trial) -> None:
    """Fill, weigh, kill, start, check, stop, start, check."""
    subject, figures, details = trial.subject, trial.measurement.figures, trial.measurement.details
    count = trial.scale.volume
    sent, _ = trial.post(trial.requests(range(count), batch=BATCH), alerts=count, connections=CONNECTIONS)
    details["filled_per_s"] = count / sent.wall_s
    trial.check(different=count)
    time.sleep(SETTLE_S)
    figures["memory"] = resident_mb(subject.pid)

    # What the peer held is gone by design; that it holds nothing afterwards is a finding, not a failure.
    keeps = not isinstance(subject, Alertmanager)
    for how in ("kill", "stop"):
        assert subject.child is not None
        if how == "kill":
            subject.child.kill()
        elif not subject.child.stop():
            trial.fail("did not end within 15 s of SIGTERM")
        figures[f"ready_after_{how}"] = subject.start()
        left = subject.groups()
        details[f"incidents_after_{how}"] = left
        details[f"memory_mb_after_{how}"] = resident_mb(subject.pid)
        if keeps and left != count:
            trial.fail(f"{left} incidents of {count} after the restart ({how})")
        if keeps:
            trial.check_known(count - 1)


EXPERIMENT = Experiment(
    "volume",
    (
        Row("memory", "memory, 100k open incidents", "MB", "value", "lower", at_least=300, aim=180),
        Row(
            "ready_after_kill",
            "ready again with 100k, after kill -9",
            "s",
            "value",
            "lower",
            at_least=1.5,
            aim=0.7,
        ),
        Row(
            "ready_after_stop",
            "ready again with 100k, after SIGTERM",
            "s",
            "value",
            "lower",
            at_least=1.5,
            aim=0.7,
        ),
    ),
    ALONE_WAITING,
    measure,
    rounds_max=3,
)
