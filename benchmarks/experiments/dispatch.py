"""Dispatch: one notification sent by hand in a dry run, start to answer; p95 of 100, one after another."""

import time

import msgspec

from benchmarks.alerts import alert_id, as_request
from benchmarks.generator import Line
from benchmarks.subjects import ALONE_NOW
from benchmarks.trial import Experiment, Row, Trial, percentile

COUNT = 100
WARM_UP = 10
PATH = "/api/v1/notify/send"


def body(number: int, seed: str, now: str) -> dict[str, object]:
    """What is asked to be sent: everything but the network, to the webhook channel."""
    return {
        "rule_id": "HighRequestLatency",
        "scope": {"instance": alert_id(number, seed)},
        "severity": "warning",
        "message": f"p99 request latency above 1.5s on {alert_id(number, seed)}",
        "window_start": now,
        "window_end": now,
        "channels": ["webhook"],
        "dry_run": True,
    }


def measure(trial: Trial) -> None:
    """Ask for 100 over one connection, after 10 that are not counted; nothing may reach the sink."""
    encode = msgspec.json.Encoder().encode
    headers = trial.subject.headers()
    line = Line(trial.subject.port)
    taken_ms = []
    with trial.metered():
        for number in range(WARM_UP + COUNT):
            request = as_request(PATH, encode(body(number, trial.seed, trial.now)), headers)
            status, answer, at_ns = line.ask(request)
            taken_ms.append((time.monotonic_ns() - at_ns) / 1e6)
            if not 200 <= status < 300:
                trial.fail(f"POST {PATH} was answered {answer[:600].decode('latin1')}")
                return
    line.close()
    if told := trial.sink.summary()["posts"]:
        trial.fail(f"{told} webhooks were sent in a dry run")
    trial.measurement.figures["dispatch_p95"] = percentile(taken_ms[WARM_UP:], 0.95)
    trial.measurement.details["dispatch_ms_p50"] = percentile(taken_ms[WARM_UP:], 0.50)


EXPERIMENT = Experiment(
    "dispatch",
    (Row("dispatch_p95", "dispatch p95, 100 in a dry run", "ms", "value", "lower", at_least=50, aim=5),),
    ALONE_NOW,
    measure,
    peer=None,
)
