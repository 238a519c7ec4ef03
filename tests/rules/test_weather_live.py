"""End to end on real data: a rule on SQLite fires, is told, turns green, resolves, and all of it is in the ledger."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.running import tocsin
from tests.rules.weather import days
from tests.support.server import Server, SinkThread

from tocsin.core.ledger.encoding import read_private, unpack
from tocsin.core.model.alert import Alert
from tocsin.stores.sqlite import SqliteStore

HEAT = """
sources:
- {kind: sql, name: weather, url: "sqlite:///weather.db"}
channels:
- {kind: webhook, name: hook, url: "%s"}
outgoing: {allow_private: [127.0.0.0/8]}
rules:
- rule_id: heat
  description: Seattle is hot
  source: weather
  every: 1s
  window: 1h
  query: select city, at, high as value from weather where at >= :since_epoch and at < :until_epoch
  trigger: {kind: threshold, op: gte, limits: [{value: 32, severity: warning}, {value: 34, severity: critical}]}
  for: 2 of 3
  runbook: https://example.org/heat
"""


def until(condition: Callable[[], Any]) -> Any:
    """Return what it gives once that is something."""
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def test_a_hot_july_fires_is_told_and_is_over_when_it_cools_down(tmp_path: Path) -> None:
    july = [high for at, _, high in days() if 1_435_622_400 <= at < 1_436_745_600]  # 30 June to 12 July 2015
    database = tmp_path / "weather.db"
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("CREATE TABLE weather (city TEXT, at REAL, high REAL)")

    def day(high: float) -> None:
        writer.execute("INSERT INTO weather VALUES ('Seattle', ?, ?)", (time.time() - 1, high))

    with SinkThread() as sink:
        (tmp_path / "tocsin.yaml").write_text(HEAT % sink.url("/hook"))
        with Server(tmp_path / "data", {"TOCSIN_CONFIG": str(tmp_path / "tocsin.yaml")}) as server:
            day(july[0])
            until(lambda: server.request("GET", "/api/v1/rules/heat")[2]["state"] == "green")
            for high in july[1:5]:  # The days from 1 to 4 July had more than 32 degrees.
                day(high)
            opened = until(lambda: [json.loads(one.body) for one in sink.requests])[0]
            for high in july[5:]:
                day(high)
            resolved = until(lambda: [json.loads(one.body) for one in sink.requests][1:])[0]
            incident = server.request("GET", "/api/v1/incidents/1")[2]
            why = server.request("GET", "/api/v1/incidents/1/why")[2]
            verdict = tocsin("ledger", "verify", "--data", server.data, "-o", "json")
            replay = tocsin("ledger", "replay", "--data", server.data, "-o", "json")
            data = server.data

    assert opened["type"] == "notification.opened"
    assert opened["data"]["severity"] == "warning"
    assert resolved["type"] == "notification.resolved"
    assert incident["state"] == "RESOLVED"
    assert incident["labels"] == {"city": "Seattle"}
    assert "Seattle is hot: last = " in incident["title"]
    assert any("green" in line for line in why["summary"])
    assert json.loads(verdict.out)["sound"] is True
    assert replay.code == 0, replay.out
    firing = [one for one in alerts_of(data) if one.status == "firing"]
    assert firing
    for alert in firing:
        evidence: Any = alert.evidence
        assert evidence["formula"] in alert.message
        assert float(evidence["value"]) in july
        assert [link.href for link in alert.links] == ["https://example.org/heat"]
    writer.close()


def alerts_of(data: Path) -> list[Alert]:
    store = SqliteStore(data)
    try:
        return [
            found
            for segment in store.segments()
            for _, _, private in unpack(segment.data)
            if (found := read_private(private).alert) is not None
        ]
    finally:
        store.close()
