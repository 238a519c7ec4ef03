"""The ledger can be followed as it grows: nothing is missed, nothing comes twice, and nobody is waited for."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import serving
from tests.web.faces import ALERT, PEPPER, Face
from tests.web.following import Following, follow, following

from tocsin.core.ledger import encoding
from tocsin.core.model.access import Role
from tocsin.ports import StoreFailed
from tocsin.runtime.feed import CLIENTS_MAX
from tocsin.web.api import events
from tocsin.web.auth import make_token
from tocsin.web.connections import PatientProtocol


def listen(face: Face, query: str = "", *, role: Role = Role.ADMIN, **headers: str) -> Any:
    return following(face.port, face.tokens[role], query, **headers)


def ledger(face: Face, first: int = 0) -> list[int]:
    return list(range(first, face.entries()))


def fire(face: Face, rule: str, **more: Any) -> str:
    """Send an alert, and give its incident's id."""
    status, _, answer = face.post({**ALERT, "rule_id": rule, **more})
    assert status == 200
    return str(answer["results"][0]["incidents"][0]["incident_id"])


def gone(face: Face) -> None:
    """Return once the server has noticed that all who followed went away."""
    done = threading.Event()

    async def look() -> None:
        while face.node.feed.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        done.set()

    loop = face.node.gate._loop
    assert loop is not None
    asyncio.run_coroutine_threadsafe(look(), loop)
    assert done.wait(20)


@pytest.fixture(autouse=True)
def _nobody_is_left(face: Face) -> Iterator[None]:
    yield
    gone(face)


def test_it_begins_with_what_comes_next_and_says_how_to_come_back(face: Face) -> None:
    fire(face, "before")
    with listen(face) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        lines = stream.lines()
        assert [next(lines), next(lines)] == [b"retry: 1000\n", b"\n"]

        first = face.entries()
        fire(face, "after")

        assert next(lines) == b"id: %d\n" % first
        assert next(lines) == b"event: alert\n"
        data = json.loads(next(lines).removeprefix(b"data: "))
        assert next(lines) == b"\n"
        assert data["events"][0]["type"] == "incident_opened"


def test_an_event_says_what_the_ledger_says_and_nothing_private(face: Face) -> None:
    with listen(face) as stream:
        incident = fire(face, "private", message="anna@example.org is full", scope={"host": "secret-host"})

        (data,) = stream.take(1)

    entry = face.store.entry(data["seq"])
    header = encoding.read_header(entry[0])
    assert list(data) == [
        "seq", "at", "kind", "actor", "incident_id", "number", "policy", "cause", "events",
    ]  # fmt: skip
    assert data["incident_id"] == incident == header.incident
    assert data["number"] == face.store.find_incident(incident).number
    assert (data["actor"], data["policy"], data["cause"]) == (header.actor, header.policy, header.cause)
    assert data["at"].endswith("Z")
    assert data["events"] == json.loads(entry[1])["events"]
    assert "anna" not in str(data)
    assert "secret-host" not in str(data)


@pytest.mark.parametrize("way", ["header", "query", "both"])
def test_whoever_comes_back_goes_on_behind_what_they_saw(face: Face, way: str) -> None:
    fire(face, f"again-{way}")
    seen = face.entries() - 2
    query = {"header": "", "query": f"?after={seen}", "both": "?after=0"}[way]
    headers = {} if way == "query" else {"Last_Event_ID": str(seen)}

    with listen(face, query, **headers) as stream:
        fire(face, f"and-again-{way}")
        wanted = ledger(face, seen + 1)

        assert [data["seq"] for data in stream.take(len(wanted))] == wanted


def test_all_of_the_ledger_can_be_followed_from_its_beginning(face: Face) -> None:
    face.post([{**ALERT, "rule_id": f"many-{n}"} for n in range(3 * events.LINES_AT_ONCE)])
    wanted = ledger(face)

    with listen(face, "?after=-1") as stream:
        got = stream.take(len(wanted))

    assert [data["seq"] for data in got] == wanted
    assert got[0]["kind"] == "node"


def test_only_what_was_asked_for_is_sent(face: Face) -> None:
    first, other = fire(face, "first"), fire(face, "other")
    number = face.store.find_incident(first).number
    for query in (f"?incident={first}", f"?incident={number}&kind=alert", f"?kind=alert&incident={first}"):
        with listen(face, query) as stream:
            fire(face, "other", window_start=1, window_end=2)
            fire(face, "first", window_start=1, window_end=face.entries())
            assert {data["incident_id"] for data in stream.take(1)} == {first} != {other}

    with listen(face, "?kind=node&kind=token&after=-1") as stream:
        assert stream.take(1)[0]["kind"] == "node"


def test_only_who_may_read_the_ledger_sees_who_came_in(face: Face) -> None:
    fire(face, "seen by all")
    counted = ledger(face)

    with listen(face, "?after=-1", role=Role.AUDITOR) as stream:
        kinds = [data["kind"] for data in stream.take(len(counted))]
    assert "policy" in kinds
    hidden = [seq for seq, kind in zip(counted, kinds, strict=True) if kind in events.FOR_AUDITORS]
    with listen(face, "?after=-1", role=Role.VIEWER) as stream:
        shown = [data["seq"] for data in stream.take(len(counted) - len(hidden))]
    assert shown == [seq for seq in counted if seq not in hidden]


@pytest.mark.parametrize(
    ("query", "headers", "status", "field"),
    [
        ("?after=999999", {}, 422, "after"),
        ("", {"Last_Event_ID": "999999"}, 422, "Last-Event-ID"),
        ("?after=-2", {}, 422, None),
        ("?after=x", {}, 422, None),
        ("", {"Last_Event_ID": "x"}, 422, None),
        ("", {"Last_Event_ID": "9" * 30}, 422, None),
        ("?incident=999999", {}, 404, None),
        ("?incident=0000000000000000000000000000000f", {}, 404, None),
    ],
)
def test_what_cannot_be_followed_is_refused(
    face: Face, query: str, headers: dict[str, str], status: int, field: str | None
) -> None:
    with listen(face, query, **headers) as stream:
        answer = json.loads(stream.read())

    assert stream.status == answer["status"] == status
    if field is not None:
        assert answer["field"] == field
        assert f"the ledger has {face.entries()}" in answer["detail"]


def test_head_gives_the_headers_and_ends(face: Face) -> None:
    stream = follow(face.port, face.tokens[Role.VIEWER], method="HEAD")

    assert (stream.status, stream.read()) == (200, b"")
    assert stream.headers["content-type"] == "text/event-stream"
    stream.close()


def test_there_is_a_sign_of_life_when_nothing_happens(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 0.02)

    with listen(face, "?kind=nothing-of-this-kind") as stream:
        lines = stream.lines()

        assert [next(lines) for _ in range(6)] == [b"retry: 1000\n", b"\n", b": \n", b"\n", b": \n", b"\n"]


def test_a_stream_ends_soon_after_its_token_is_revoked(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 0.02)
    at = face.node.clock.now()
    random = face.node.ids.random_bytes(36)
    token, stored = make_token(random, name="short", role=Role.VIEWER, at=at, pepper=PEPPER)
    face.store.put_token(stored)
    face.doorkeeper.forget()
    with following(face.port, token) as stream:
        assert stream.next() is None
        fire(face, "while it is good")
        assert stream.take(1)

        face.store.put_token(type(stored)(**{**_fields(stored), "revoked_at": at + 1}))
        face.doorkeeper.forget()

        stream.rest()
        with following(face.port, token) as again:
            assert again.status == 401


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_a_store_that_fails_ends_the_stream_and_refuses_others(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StoreFailed("/var/lib/secret/tocsin.db is gone")

    with listen(face) as stream, monkeypatch.context() as broken_store:
        broken_store.setattr(face.store, "segments", broken, raising=False)
        last = face.entries()
        fire(face, "while it cannot be read")
        assert stream.rest() == []
        broken_store.setattr(face.store, "head", broken, raising=False)
        with listen(face) as other:
            assert other.status == 503
            assert b"secret" not in other.read()

    with listen(face, Last_Event_ID=str(last - 1)) as stream:
        assert stream.take(1)[0]["seq"] == last


def test_fifty_follow_and_one_who_does_not_read_holds_up_nobody_and_misses_nothing(face: Face) -> None:
    first = face.entries()
    slow = follow(face.port, face.tokens[Role.VIEWER], narrow=True)
    streams = [follow(face.port, face.tokens[Role.VIEWER]) for _ in range(50)]
    alerts = [{**ALERT, "rule_id": f"storm-{n}", "annotations": {"a": "x"}} for n in range(1_000)]
    for start in range(0, len(alerts), 100):
        face.post(alerts[start : start + 100])
    wanted = ledger(face, first)

    def read_all(stream: Following) -> list[int]:
        return [data["seq"] for data in stream.take(len(wanted))]

    with ThreadPoolExecutor(8) as pool:
        assert all(got == wanted for got in pool.map(read_all, streams))
    assert read_all(slow) == wanted
    for stream in (*streams, slow):
        stream.close()


def test_one_who_sends_without_end_is_not_followed_any_further(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {face.tokens[Role.VIEWER]}\r\n"
        f"Content-Length: {3 << 20}\r\n\r\n"
    )

    answer = face.raw(head.encode() + b"x" * (2 << 20))

    assert answer.startswith(b"HTTP/1.1 200")
    assert [record for record in caplog.records if record.exc_info] == []


def test_one_who_never_reads_is_given_up(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "unread_s", 0.3)
    monkeypatch.setattr(PatientProtocol, "look_every_s", 0.05)
    deaf = follow(face.port, face.tokens[Role.VIEWER], "?after=-1", narrow=True)
    for storm in range(5):
        face.post([{**ALERT, "rule_id": f"deaf-{storm}-{n}"} for n in range(1_000)])

    gone(face)

    with pytest.raises((OSError, http.client.HTTPException)):
        deaf.rest()
    deaf.close()


def test_only_so_many_may_follow_and_a_place_that_is_free_is_given_again(face: Face) -> None:
    tokens = [face.tokens[role] for role in (Role.VIEWER, Role.ANALYST)] * (
        CLIENTS_MAX // 2
    )  # One alone may not.
    streams = [follow(face.port, token) for token in tokens]
    assert {stream.status for stream in streams} == {200}

    with listen(face) as refused:
        assert refused.status == 503
        assert json.loads(refused.read())["type"] == "urn:tocsin:problem:unavailable"
    for stream in streams:
        stream.close()
    gone(face)

    with listen(face) as stream:
        assert stream.status == 200


def send(port: int, token: str, alerts: object) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/alerts", json.dumps(alerts), headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    got: list[int] = []
    token, last = "", {}
    for start in range(3):
        with serving(tmp_path) as server:
            token = token or server.token
            port = int(server.url.rpartition(":")[2])
            with following(port, token, "?after=-1", **last) as stream:
                assert stream.status == 200
                send(port, token, [{**ALERT, "rule_id": f"rule-{start}-{n}"} for n in range(20)])
                got += [data["seq"] for data in stream.take(10)]
                code, _, errors = server.stop()
                got += [data["seq"] for data in stream.rest()]
            assert (code, errors) == (0, "")
        last = {"Last_Event_ID": str(got[-1])}

    assert len(got) >= 60
    assert got == list(range(len(got)))


def test_a_server_stops_within_its_grace_although_many_follow(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        streams = [follow(port, server.token, "?after=-1") for _ in range(50)]
        for stream in streams:
            stream.take(1)

        code, out, errors = server.stop()

        assert (code, errors) == (0, "")
        assert "Tocsin has stopped." in out
        for stream in streams:
            stream.rest()  # It ends as it should: http.client raises for a stream that breaks off.
            stream.close()


def test_not_even_one_who_does_not_read_keeps_it_from_stopping(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        for storm in range(3):
            send(port, server.token, [{**ALERT, "rule_id": f"rule-{storm}-{n}"} for n in range(2_000)])
        deaf = follow(port, server.token, "?after=-1", narrow=True)
        reads = follow(port, server.token)

        code, out, errors = server.stop()

        assert (code, errors) == (0, "")
        assert "Tocsin has stopped." in out
        reads.rest()
        reads.close()
        deaf.close()
