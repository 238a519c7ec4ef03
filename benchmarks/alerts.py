"""What the load is: alert number n in each server's own words, and requests made of them beforehand.

Both dialects say the same thing in about 690 bytes. The instance label makes an alert unique;
20 rules times 4 clusters give the groups of the grouped rows.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

Encode = Callable[[int, str, str], dict[str, object]]
"""(number, seed, now) -> the alert as that server wants it, before JSON."""

ALERT_ID = re.compile(rb"app-[a-z0-9]+-[0-9]{7}")
"""Finds an alert's id in any payload that mentions it, whatever the payload's shape."""

RULES = 20
CLUSTERS = 4
DESCRIPTION = (
    "The 99th percentile of the request duration over the last 10 minutes is 2.317s, "
    "threshold 1.5s; 14 of 20 pods affected."
)
RUNBOOK = "https://runbooks.example.net/payments/high-request-latency"
GRAPH = "http://prometheus.example.net:9090/graph?g0.expr=job%3Alatency"


def alert_id(number: int, seed: str) -> str:
    """The part of an alert that no other alert has. seed: lower-case letters and digits."""
    return f"app-{seed}-{number:07d}"


def rule_of(number: int) -> str:
    """The rule that this alert belongs to, one of RULES."""
    return f"HighRequestLatency{number % RULES:02d}"


def group_of(number: int) -> tuple[str, str]:
    """(rule, cluster): what the grouped policy groups by."""
    return rule_of(number), f"prod-eu-west-{number // RULES % CLUSTERS}"


def groups_among(count: int) -> int:
    """How many groups the first `count` alerts make under the grouped policy."""
    return len({group_of(number) for number in range(min(count, RULES * CLUSTERS))})


def now_text() -> str:
    """This moment as ISO 8601. The load is always fresh: Alertmanager treats stale instants differently."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _scope(number: int, seed: str) -> dict[str, str]:
    return {
        "severity": ("critical", "warning", "info")[number % 3],
        "instance": f"{alert_id(number, seed)}.prod.eu-west-1.example.net:9100",
        "job": "node-exporter",
        "cluster": group_of(number)[1],
        "namespace": "payments",
        "team": "sre-payments",
        "service": "checkout-api",
        "env": "production",
    }


def _summary(number: int, seed: str) -> str:
    return f"p99 request latency above 1.5s on {alert_id(number, seed)} for 10 minutes"


def as_alertmanager(number: int, seed: str, now: str) -> dict[str, object]:
    """The alert as Prometheus would send it to Alertmanager's API v2."""
    return {
        "labels": {"alertname": rule_of(number), **_scope(number, seed)},
        "annotations": {
            "summary": _summary(number, seed),
            "description": DESCRIPTION,
            "runbook_url": RUNBOOK,
        },
        "startsAt": now,
        "generatorURL": GRAPH,
    }


def as_tocsin(number: int, seed: str, now: str) -> dict[str, object]:
    """The same alert for Tocsin's own `POST /api/v1/alerts`."""
    scope = _scope(number, seed)
    return {
        "rule_id": rule_of(number),
        "scope": scope,
        "severity": scope["severity"],
        "status": "firing",
        "message": _summary(number, seed),
        "window_start": now,
        "window_end": now,
        "annotations": {"description": DESCRIPTION, "runbook_url": RUNBOOK},
        "links": [{"href": GRAPH, "text": "source"}],
    }


def as_request(path: str, body: bytes, headers: str) -> bytes:
    """One whole HTTP/1.1 POST. headers: further header lines, each ended by CRLF."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def requests_for(
    numbers: range, *, batch: int, encode: Encode, seed: str, now: str, path: str, headers: str
) -> list[bytes]:
    """Requests that together carry these alerts in order, `batch` to a request; the last may hold fewer."""
    to_json = msgspec.json.Encoder().encode
    return [
        as_request(path, to_json([encode(number, seed, now) for number in numbers[at : at + batch]]), headers)
        for at in range(0, len(numbers), batch)
    ]
