"""Demo storm: the story that `tocsin demo` plays: the database of a payments company fails over.

`storm.jsonl` beside this file is what `record` gives, line by line; it was written by

    python -m tocsin.cli.demo_storm > src/tocsin/cli/storm.jsonl

and a test holds the two together. Nothing in it is random. Each line is {"at": s, "by": sender, "alert": {...}}, in
order of `at`, seconds from the beginning of the story; windows are seconds on the same scale.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

SECOND = 1_000_000
LOOK_S = 60


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One rule that fires on several instances for a while.

    begins, ends: minutes; the n-th instance begins and ends `spread` minutes after the one before it.
    every: seconds between looks. severities: (minute, severity) from when on. twins: two senders report each look.
    ends_by: `resolved`, `greens` (three of them), or `nothing`: it is still there when the story ends.
    """

    rule: str
    service: str
    label: str
    instances: tuple[str, ...]
    begins: float
    ends: float
    severities: tuple[tuple[float, str], ...]
    message: str
    spread: float = 0.25
    every: int = 30
    twins: bool = False
    ends_by: str = "resolved"
    evidence: dict[str, str] = field(default_factory=dict)


STORY = (
    Trouble(rule="postgres_primary_down", service="payments-db", label="host", instances=("db-1",), begins=2, ends=6,
            severities=((0, "critical"),), message="Primary {i} does not answer (3 of 3 probes failed)", twins=True),
    Trouble(rule="replication_lag", service="payments-db", label="host", instances=("db-2", "db-3"), begins=4.5,
            ends=15, severities=((0, "warning"), (7, "error")), message="Replica {i} is behind the primary",
            ends_by="greens", evidence={"lag_s": "184.5", "threshold_s": "30"}),
    Trouble(rule="wal_disk_filling", service="payments-db", label="host", instances=("db-3",), begins=9, ends=20,
            severities=((0, "warning"),), message="WAL volume of {i} is 91 % full and growing", ends_by="nothing"),
    Trouble(rule="connection_pool_exhausted", service="payments-api", label="host",
            instances=("api-1", "api-2", "api-3", "api-4", "api-5", "api-6"), begins=2.5, ends=8,
            severities=((0, "error"), (4, "critical")), message="{i}: all 40 database connections are in use"),
    Trouble(rule="http_5xx_rate", service="payments-api", label="region", instances=("eu", "us"), begins=3, ends=9,
            severities=((0, "error"),), message="38 % of requests in {i} end with a 5xx", twins=True),
    Trouble(rule="checkout_failures", service="checkout", label="country",
            instances=("DE", "ES", "FR", "IT", "NL", "PL"), begins=3.5, ends=10,
            severities=((0, "error"), (5, "critical")), message="Payments fail in {i}: 7 of 10 checkouts are abandoned",
            evidence={"failed_percent": "71.2", "baseline_percent": "2.4"}),
    Trouble(rule="synthetic_purchase", service="edge", label="city",
            instances=("Frankfurt", "Madrid", "Paris", "Warsaw"), begins=3.5, ends=10, severities=((0, "error"),),
            message="The test purchase from {i} did not succeed", twins=True),
    Trouble(rule="queue_depth", service="settlement", label="queue", instances=("capture", "payout", "refund"),
            begins=5, ends=17, severities=((0, "warning"), (11, "error")), ends_by="greens",
            message="Queue {i} holds more than 50,000 messages"),
    Trouble(rule="worker_crash_loop", service="ledger-worker", label="pod",
            instances=("w-0", "w-1", "w-2", "w-3", "w-4"), begins=4, ends=9, severities=((0, "error"),),
            message="Pod {i} restarts: could not serialize access due to read/write dependencies", twins=True),
    Trouble(rule="scoring_latency", service="fraud-scoring", label="host", instances=("score-1", "score-2"), begins=5,
            ends=9, severities=((0, "warning"),), message="{i} answers in 2.4 s (p99); checkouts wait for 0.8 s"),
    Trouble(rule="scoring_latency", service="fraud-scoring", label="host", instances=("score-1", "score-2"), begins=13,
            ends=16, severities=((0, "warning"),), message="{i} answers in 1.9 s (p99); checkouts wait for 0.8 s"),
    Trouble(rule="callback_backlog", service="merchant-callbacks", label="shard",
            instances=("a-f", "g-m", "n-s", "t-z"), begins=6, ends=18, severities=((0, "warning"),),
            message="Merchants of shard {i} wait for their callbacks", every=60),
)  # fmt: skip

BEATS: tuple[tuple[float, str], ...] = (
    (2.0, "The primary of the payments database stops answering."),
    (3.5, "Checkouts fail in six countries. Whatever needs it calls for help."),
    (5.5, "A replica takes over. The workers crash; the queues grow."),
    (8.0, "The API is back. What waited for it drains."),
    (13.0, "Fraud scoring slows down once more: the same incident comes back."),
    (18.0, "All is well again, but for one disk."),
)
"""(minute, what happens): the story in words."""


def record() -> list[dict[str, Any]]:
    """Play the story and give every alert that it sends, in order."""
    lines = [line for number, trouble in enumerate(STORY) for line in _lines(trouble, number)]
    lines.sort(key=lambda line: line[:3])
    return [{"at": at, "by": by, "alert": alert} for at, _, by, alert in lines]


def _lines(trouble: Trouble, number: int) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    for position, instance in enumerate(trouble.instances):
        begins = round((trouble.begins + position * trouble.spread) * 60)
        ends = round((trouble.ends + position * trouble.spread) * 60)
        order = number * 100 + position
        for at in range(begins, ends, trouble.every):
            alert = _alert(trouble, instance, at, "firing")
            yield at, order, "prometheus-a", alert
            if trouble.twins:
                yield at, order, "prometheus-b", alert
        if trouble.ends_by == "resolved":
            yield ends, order, "prometheus-a", _alert(trouble, instance, ends, "resolved")
        elif trouble.ends_by == "greens":
            for look in range(3):
                at = ends + look * trouble.every
                yield at, order, "prometheus-a", _alert(trouble, instance, at, "green")


def _alert(trouble: Trouble, instance: str, at: int, status: str) -> dict[str, Any]:
    severity = [severity for since, severity in trouble.severities if at >= since * 60][-1]
    alert: dict[str, Any] = {
        "rule_id": trouble.rule,
        "scope": {"service": trouble.service, trouble.label: instance},
        "severity": severity,
        "status": status,
        "message": trouble.message.format(i=instance),
        "window_start": at - LOOK_S,
        "window_end": at,
    }
    if trouble.evidence and status == "firing":
        alert["evidence"] = trouble.evidence
    return alert


def read_storm(now: int) -> list[dict[str, Any]]:
    """Read the recording, with its windows moved so that the story ends now (microseconds UTC)."""
    recorded = resources.files("tocsin.cli").joinpath("storm.jsonl").read_text()
    lines: list[dict[str, Any]] = [json.loads(line) for line in recorded.splitlines()]
    begin = now // SECOND - lines[-1]["at"]
    for line in lines:
        for end in ("window_start", "window_end"):
            line["alert"][end] = (line["alert"][end] + begin) * SECOND
    return lines


if __name__ == "__main__":
    for recorded_line in record():
        sys.stdout.write(json.dumps(recorded_line, separators=(",", ":")) + "\n")
