"""Burst: 5,000 alerts at once, each a webhook of its own; notifications per second until the last arrived."""

import time

from benchmarks.subjects import ALONE_NOW
from benchmarks.trial import Experiment, Row, Trial

CONNECTIONS = 4
BATCH = 1000


def measure(trial: Trial) -> None:
    """Post them in batches of 1,000 over 4 connections and wait for the sink to have them all, once each."""
    count = trial.scale.of(5_000)
    requests = trial.requests(range(count), batch=min(BATCH, count // CONNECTIONS))
    with trial.metered() as uses:
        started_ns = time.monotonic_ns()
        sent, _ = trial.post(requests, alerts=count, connections=CONNECTIONS)
        summary = trial.sink.wait_for(count, idle_s=10, until_s=120)
    trial.check(different=count)
    summary = trial.sink.summary()  # Asked once more: a webhook that came twice would show by now.
    if summary["distinct"] != count or summary["posts"] != count:
        trial.fail(f"{summary['distinct']} of {count} alerts arrived, in {summary['posts']} webhooks")
        return
    trial.measurement.figures["burst"] = count / ((summary["last_ns"] - started_ns) / 1e9)
    trial.measurement.details["posted_after_s"] = sent.wall_s
    trial.measurement.details["server_us_per_notification"] = uses[0].server_s / count * 1e6
    trial.measurement.details["sink_cpu_s"] = uses[0].sink_s


EXPERIMENT = Experiment(
    "burst",
    (
        Row(
            "burst",
            "burst of 5,000, each its own webhook",
            "notifications/s",
            "ratio",
            "higher",
            at_least=0.8,
            aim=1.2,
        ),
    ),
    ALONE_NOW,
    measure,
)
