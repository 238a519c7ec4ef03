"""Latency: from the first byte of a POST to the webhook's last byte at the sink, one new alert at a time."""

import time

from benchmarks.alerts import alert_id
from benchmarks.generator import Line
from benchmarks.subjects import ALONE_NOW
from benchmarks.trial import Experiment, Row, Trial, percentile

GAP_S = 0.015
WARM_UP = 20


def measure(trial: Trial) -> None:
    """Post one alert every 15 ms over one connection; the first 20 warm both sides up and are not counted."""
    count = WARM_UP + trial.scale.of(500)
    line = Line(trial.subject.port)
    sent_at: dict[str, int] = {}
    answers_ms: list[float] = []
    requests = trial.requests(range(count), batch=1)
    with trial.metered():
        for number, request in enumerate(requests):
            status, _, at_ns = line.ask(request)
            answers_ms.append((time.monotonic_ns() - at_ns) / 1e6)
            if not 200 <= status < 300:
                trial.fail(f"alert {number} was answered {status}")
                return
            sent_at[alert_id(number, trial.seed)] = at_ns
            time.sleep(GAP_S)
        summary = trial.sink.wait_for(count, idle_s=3, until_s=15)
    line.close()

    if summary["distinct"] != count or summary["posts"] != count:
        trial.fail(f"{summary['distinct']} of {count} alerts arrived, in {summary['posts']} webhooks")
        return
    arrivals = trial.sink.arrivals()
    if arrivals.keys() != sent_at.keys():
        trial.fail("other alerts arrived than were sent")
        return
    measured = list(sent_at)[WARM_UP:]
    latencies_ms = [(arrivals[key] - sent_at[key]) / 1e6 for key in measured]
    trial.measurement.figures["latency_p50"] = percentile(latencies_ms, 0.50)
    trial.measurement.figures["latency_p99"] = percentile(latencies_ms, 0.99)
    trial.measurement.details["latency_ms_max"] = max(latencies_ms)
    trial.measurement.details["answer_ms_p50"] = percentile(answers_ms[WARM_UP:], 0.50)
    trial.measurement.details["answer_ms_p99"] = percentile(answers_ms[WARM_UP:], 0.99)


EXPERIMENT = Experiment(
    "latency",
    (
        Row("latency_p50", "POST to webhook, p50", "ms", "value", "lower", at_least=4, aim=2.5),
        Row("latency_p99", "POST to webhook, p99", "ms", "value", "lower", at_least=10, aim=5),
    ),
    ALONE_NOW,
    measure,
)
