"""Ingest: alerts taken per second in batches of 1, 64 and 1,000, new ones and the same ones once more.

Grouped and waiting on both sides, so that nobody sends; 8 connections.
"""

from dataclasses import replace
from functools import partial

from benchmarks.cluster import OneNode, ThreeNodes
from benchmarks.subjects import GROUPED_WAITING, Tocsin
from benchmarks.trial import Experiment, Row, Trial

CONNECTIONS = 8


def measure(trial: Trial, *, batch: int, count: int) -> None:
    """Post `count` alerts, then post them again."""
    count = trial.scale.of(count)
    requests = trial.requests(range(count), batch=batch)
    trial.measurement.details["bytes_per_alert"] = round(sum(map(len, requests)) / count)

    for kind in ("new", "repeated"):
        sent, use = trial.post(requests, alerts=count, connections=CONNECTIONS)
        trial.measurement.figures[f"ingest_{batch}_{kind}"] = count / sent.wall_s
        trial.measurement.details[f"{kind}_server_us_per_alert"] = use.server_s / count * 1e6
        trial.measurement.details[f"{kind}_generator_us_per_request"] = use.load_s / len(requests) * 1e6
        trial.check(different=count)
    trial.check_known(count // 2)


def experiment(
    batch: int, count: int, *, new: tuple[float, float], repeated: tuple[float, float]
) -> Experiment:
    """One batch size. new, repeated: (at least, aim) as ratios to the peer."""
    rows = tuple(
        Row(
            key=f"ingest_{batch}_{kind}",
            title=f"ingest, batch {batch:,}, {kind}",
            unit="alerts/s",
            compare="ratio",
            better="higher",
            at_least=at_least,
            aim=aim,
        )
        for kind, (at_least, aim) in (("new", new), ("repeated", repeated))
    )
    return Experiment(f"ingest-{batch}", rows, GROUPED_WAITING, partial(measure, batch=batch, count=count))


def on_postgres(
    name: str, words: str, ours: type[OneNode], *, new: tuple[float, float], repeated: tuple[float, float]
) -> Experiment:
    """Batches of 64 by nodes on PostgreSQL, beside ourselves on SQLite. new, repeated: as ratios to that."""
    plain = experiment(64, 64_000, new=new, repeated=repeated)
    rows = tuple(replace(row, title=f"{row.title}, {words} beside SQLite") for row in plain.rows)
    return replace(plain, name=name, rows=rows, ours=ours, peer=Tocsin)


EXPERIMENTS = (
    experiment(1, 30_000, new=(0.4, 0.7), repeated=(0.5, 1.0)),
    experiment(64, 64_000, new=(1.0, 1.4), repeated=(3.0, 6.0)),
    experiment(1000, 100_000, new=(1.2, 1.8), repeated=(3.0, 8.0)),
    on_postgres("postgres-1", "one node on PostgreSQL", OneNode, new=(0.5, 0.7), repeated=(0.5, 0.7)),
    on_postgres("postgres-3", "three nodes on PostgreSQL", ThreeNodes, new=(0.2, 0.3), repeated=(0.2, 0.3)),
)
