"""The drill: a server under load is backed up, lost, and put back from the backup on another disk."""

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import tocsin
from tests.reliability.load import Sender
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import Server, SinkThread

CONFIG = {
    "routes": {"name": "default", "group_by": ["..."], "repeat_interval": "24h"},
    "rate_limit": None,
}
PATIENCE_S = 60.0
LEASE_S = 8
"""So long a look at the tank counts; it runs out while nothing listens."""


def test_what_a_backup_holds_goes_on_where_it_was(tmp_path: Path) -> None:
    with SinkThread() as sink:
        lost = Server(tmp_path / "lost", settings(sink), CONFIG)
        with lost:
            ends_at = datetime.now(UTC) + timedelta(seconds=LEASE_S)
            tank = send(lost, "tank", ends_at=ends_at)
            wait(lambda: sent(sink, "tank"), "the tank is told")
            analyst = a_token(lost)
            sink.script = (Reply(status=503),)
            pending = send(lost, "pending")
            wait(lambda: sent(sink, "pending"), "it is attempted in vain")
            with Load(lost) as load:
                kept = tocsin("backup", tmp_path / "kept.tar", "--data", lost.data)
                load.goes_on()
            assert datetime.now(UTC) < ends_at, "this machine is too slow for this lease"
            send(lost, "after")
            lost.kill()
        backup = json.loads(kept.out)
        (key,) = {request.headers["webhook-id"] for request in sent(sink, "pending")}
        wait(lambda: datetime.now(UTC) > ends_at, "the lease of the tank runs out")

        restored = tocsin("restore", tmp_path / "kept.tar", "--data", tmp_path / "new")

        assert (kept.code, restored.code) == (0, 0), kept.err + restored.err
        until_now = len(sink.requests)
        sink.script = (Reply(),)
        new = Server(tmp_path / "new", settings(sink), CONFIG)
        new.token = lost.token
        with new:
            wait(lambda: sent(sink, "pending", since=until_now), "what was pending is told")
            here = send(new, "here")
            wait(lambda: sent(sink, "here"), "the server tells what is new")

            assert state_of(new, tank) == "OPEN"  # Its source still vouches for it: only we were away.
            assert state_of(new, pending) == "OPEN"
            assert state_of(new, here) == "OPEN"
            assert found(new, "after") == []
            assert {request.headers["webhook-id"] for request in sent(sink, "pending", since=until_now)} == {
                key
            }
            assert sent(sink, "tank", since=until_now) == []
            assert new.request("GET", "/api/v1/incidents", token=analyst)[0] == 200
            assert new.request("GET", "/api/v1/tokens", token=analyst)[0] == 403
            assert new.request("GET", "/api/v1/incidents", token="toc_00000000_" + "0" * 64)[0] == 401
            assert says_that_it_was_restored(new.data) == [backup["entries"]]
            assert not (new.data / "restored.json").exists()
            assert tocsin("ledger", "verify", "--data", new.data).code == 0
            assert new.stop() == 0

            new.start()
            assert new.stop() == 0

        assert says_that_it_was_restored(new.data) == [backup["entries"]], "it was put back once"
        entry = json.loads(tocsin("ledger", "show", str(backup["entries"]), "--data", new.data).out)
        (event,) = entry["decision"]["events"]
        made_at = datetime.fromisoformat(backup["made_at"])
        assert entry["header"]["kind"] == "restored"
        assert event["size"] == backup["entries"]
        assert event["made_at"] == (made_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        assert "backup" in event["because"]


def test_a_server_does_not_start_on_a_note_of_a_restore_that_cannot_be_read(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        server.stop()
        (server.data / "restored.json").write_text("{")

        with pytest.raises(AssertionError, match=r"restored\.json cannot be read"):
            server.start()


class Load:
    """Senders that post all the time; at the end they stop, and each had an answer to all that it sent."""

    def __init__(self, server: Server) -> None:
        self._enough, up = threading.Event(), threading.Event()
        up.set()
        self._senders = [
            Sender(f"load-{number}", server, random.Random(number), up, self._enough) for number in range(2)
        ]

    def __enter__(self) -> "Load":
        for sender in self._senders:
            sender.start()
        self.goes_on()
        return self

    def goes_on(self) -> None:
        goal = self._answered() + 20
        wait(lambda: self._answered() >= goal, "alerts are accepted")

    def _answered(self) -> int:
        return sum(sender.sent.answered for sender in self._senders)

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for sender in self._senders:
            sender.join(PATIENCE_S)
            assert not sender.is_alive(), "a request was never answered"
            assert sender.sent.wrong == []


def settings(sink: HttpSink) -> dict[str, str]:
    return {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}


def send(server: Server, rule_id: str, ends_at: datetime | None = None) -> str:
    """Send an alert that opens an incident; the incident's id."""
    alert: dict[str, Any] = {
        "rule_id": rule_id,
        "scope": {"host": "db-1"},
        "severity": "critical",
        "message": "x",
    }
    if ends_at is not None:
        alert["ends_at"] = ends_at.isoformat()
    status, _, answer = server.request("POST", "/api/v1/alerts", alert)
    assert status == 200, answer
    (incident,) = answer["results"][0]["incidents"]
    id_: str = incident["incident_id"]
    return id_


def a_token(server: Server) -> str:
    status, _, answer = server.request("POST", "/api/v1/tokens", {"name": "anna", "role": "analyst"})
    assert status == 201, answer
    token: str = answer["token"]
    return token


def state_of(server: Server, incident: str) -> str:
    status, _, answer = server.request("GET", f"/api/v1/incidents/{incident}")
    assert status == 200, answer
    state: str = answer["state"]
    return state


def found(server: Server, rule_id: str) -> list[Any]:
    answer = server.request("GET", f"/api/v1/incidents?rule_id={rule_id}")[2]
    incidents: list[Any] = answer["incidents"]
    return incidents


def sent(sink: HttpSink, rule_id: str, since: int = 0) -> list[Any]:
    return [
        request
        for request in sink.requests[since:]
        if json.loads(request.body)["data"]["incident"]["rule_id"] == rule_id
    ]


def says_that_it_was_restored(data: Path) -> list[int]:
    """The entries of the ledger that say so."""
    from tocsin.core.ledger.encoding import read_header, unpack
    from tocsin.wiring.stores import open_reader

    reader = open_reader(data)
    try:
        reader.end()
        headers = [read_header(parts[0]) for segment in reader.segments() for parts in unpack(segment.data)]
    finally:
        reader.close()
    return [header.seq for header in headers if header.kind == "restored"]


def wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.01)
