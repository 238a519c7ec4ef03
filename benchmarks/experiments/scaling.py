"""Scaling: what an alert costs the server in CPU time when more and more are open.

The whole way is measured in stretches, so that no garbage collection and no checkpoint falls between two
samples. A row's value is the dearest stretch as a multiple of the first (1,000 to 5,000 open alerts).
"""

from functools import partial
from itertools import pairwise

import psutil

from benchmarks.subjects import ALONE_WAITING, GROUPED_WAITING, Alertmanager, Policy
from benchmarks.trial import Experiment, Row, Trial

CONNECTIONS = 4
BATCH = 250
REPEATED = 4_000
"""How many of a stretch's last alerts are sent once more at its end."""

STRETCHES = (1_000, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
PEER_BYTES_PER_GROUP = 12_000
"""What Alertmanager takes for an alert in a group of its own; a million of them need 12 GB."""


def measure(trial: Trial, *, name: str) -> None:
    """Open alerts stretch by stretch; after each, repeat its last ones. Nothing but posting is timed."""
    sizes = [size for size in STRETCHES if size <= trial.scale.open_alerts_max]
    if trial.subject.policy.alone and isinstance(trial.subject, Alertmanager):
        room = psutil.virtual_memory().available // PEER_BYTES_PER_GROUP
        sizes = [size for size in sizes if size <= room]
    warm_up = range(sizes[0])
    trial.post(trial.requests(warm_up, batch=BATCH), alerts=len(warm_up), connections=CONNECTIONS)

    costs: dict[str, list[float]] = {"new": [], "repeated": []}
    for start, end in pairwise(sizes):
        for kind, numbers in (("new", range(start, end)), ("repeated", range(end - REPEATED, end))):
            cost_us = _cost_us(trial, numbers)
            costs[kind].append(cost_us)
            trial.measurement.details[f"{kind}_us_per_alert_to_{end}"] = cost_us
    trial.check(different=sizes[-1])
    trial.check_known(0)
    for kind, values in costs.items():
        trial.measurement.figures[f"scaling_{name}_{kind}"] = max(values) / values[0]


def _cost_us(trial: Trial, numbers: range) -> float:
    """CPU microseconds of the server per alert, posted in pieces that bound the generator's memory."""
    server_s = 0.0
    for start in range(numbers.start, numbers.stop, 50_000):
        piece = range(start, min(start + 50_000, numbers.stop))
        requests = trial.requests(piece, batch=BATCH)
        _, use = trial.post(requests, alerts=len(piece), connections=CONNECTIONS)
        server_s += use.server_s
    return server_s / len(numbers) * 1e6


def experiment(name: str, words: str, policy: Policy) -> Experiment:
    """One way to scale: alerts that join incidents, or alerts that each open one."""
    rows = tuple(
        Row(
            key=f"scaling_{name}_{kind}",
            title=f"cost per alert with more open, {words}, {kind}",
            unit="x the first",
            compare="value",
            better="lower",
            at_least=1.5,
            aim=1.1,
        )
        for kind in ("new", "repeated")
    )
    return Experiment(f"scaling-{name}", rows, policy, partial(measure, name=name), rounds_max=2)


EXPERIMENTS = (
    experiment("joined", "80 incidents", GROUPED_WAITING),
    experiment("alone", "an incident each", ALONE_WAITING),
)
