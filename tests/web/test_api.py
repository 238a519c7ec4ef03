"""The questions and the manual send: filters, pages, cursors, details, and errors in one form."""

import asyncio
import base64
import json
from typing import Any

import pytest
from tests.runtime.house import events_of
from tests.support.http_sink import HttpSink
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face

from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.notification import NotificationKind
from tocsin.ports import StoreFailed

LIST = "/api/v1/incidents"
SEND = "/api/v1/notify/send"


@pytest.fixture(scope="module")
def filled(face: Face) -> Face:
    """25 incidents: even ones critical, every fifth resolved."""
    for number in range(25):
        severity = "critical" if number % 2 == 0 else "warning"
        alert = ALERT | {"rule_id": f"rule-{number % 3}", "scope": {"n": str(number)}, "severity": severity}
        face.post(alert)
        if number % 5 == 0:
            face.post(alert | {"status": "resolved", "window_end": 4_000_000_000_000_000, "window_start": 0})
    return face


def test_incidents_are_listed_newest_first(filled: Face) -> None:
    status, _, answer = filled.ask("GET", LIST, role=Role.VIEWER)

    assert status == 200
    assert sorted(answer) == ["filters", "incidents", "next_cursor", "total"]
    assert [incident["number"] for incident in answer["incidents"]] == list(range(25, 0, -1))
    assert (answer["total"], answer["filters"], answer["next_cursor"]) == (25, {}, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=RESOLVED", 5),
        ("state=OPEN", 20),
        ("state=OPEN&state=RESOLVED", 25),
        ("state=ACK", 0),
        ("severity=critical", 13),
        ("severity=info", 0),
        ("rule_id=rule-1", 8),
        ("rule_id=rule-1&severity=critical&state=RESOLVED", 1),
        ("rule_id=nothing", 0),
    ],
)
def test_filters_narrow_the_list_and_are_repeated_in_the_answer(
    filled: Face, query: str, expected: int
) -> None:
    answer = filled.ask("GET", f"{LIST}?{query}")[2]

    assert answer["total"] == len(answer["incidents"]) == expected
    assert set(answer["filters"]) == {part.split("=")[0] for part in query.split("&")}


@pytest.mark.parametrize("limit", [1, 4, 24, 25, 26])
def test_pages_give_everything_once(filled: Face, limit: int) -> None:
    numbers: list[int] = []
    cursor = ""
    while True:
        answer = filled.ask("GET", f"{LIST}?limit={limit}{cursor}")[2]
        assert answer["total"] == 25
        assert len(answer["incidents"]) <= limit
        numbers += [incident["number"] for incident in answer["incidents"]]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"

    assert numbers == list(range(25, 0, -1))


def _cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "!!!!", "%00", "%C3%A4", "e30", _cursor({"before": 0}), _cursor({"before": -1}),
        _cursor({"before": 1 << 62}), _cursor({"before": 1 << 70}), _cursor({"before": "7"}), _cursor({"before": 7.0}),
        _cursor({"before": 7, "x": 1}), _cursor({"before": True}), _cursor([7]), _cursor({"before": 7}) + "=",
        _cursor({"before": 7}) + "A", base64.urlsafe_b64encode(b'{"before": 7}').decode().rstrip("="),
    ],
)  # fmt: skip
def test_a_cursor_that_tocsin_did_not_give_is_refused(filled: Face, cursor: str) -> None:
    status, headers, answer = filled.ask("GET", f"{LIST}?cursor={cursor}")

    assert status == 400
    assert headers["content-type"] == "application/problem+json"
    assert answer["field"] == "cursor"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"), ("state=BURNING", "state.0"),
        ("severity=loud", "severity"), ("cursor=" + "x" * 65, "cursor"), ("rule_id=" + "x" * 257, "rule_id"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(filled: Face, query: str, field: str) -> None:
    status, _, answer = filled.ask("GET", f"{LIST}?{query}")

    assert status == 422
    assert answer["type"] == "urn:tocsin:problem:invalid"
    assert [error["field"] for error in answer["errors"]] == [field]


def test_an_incident_is_shown_by_its_id_and_by_its_number(filled: Face) -> None:
    listed = filled.ask("GET", f"{LIST}?limit=1")[2]["incidents"][0]

    by_number = filled.ask("GET", f"{LIST}/{listed['number']}")[2]
    by_id = filled.ask("GET", f"{LIST}/{listed['incident_id']}")[2]

    assert by_number == by_id
    assert by_id["alerts"][0]["message"] == ALERT["message"]
    assert by_id["alerts"][0]["scope"] == {"n": "24"}
    assert by_id["timeline"][-1]["events"][0]["type"] == "incident_opened"
    assert {name: by_id[name] for name in listed} == listed


@pytest.mark.parametrize(
    "name",
    [
        "0",
        "26",
        "-1",
        "01",
        "+1",
        "1.0",
        "x",
        "%00",
        "%C2%B2",
        "%D9%A1",
        "f" * 32,
        "9" * 40,
        "9" * 5000,
        "1%20",
    ],
)
def test_an_incident_that_does_not_exist_is_not_found(filled: Face, name: str) -> None:
    status, headers, answer = filled.ask("GET", f"{LIST}/{name}")

    assert status == 404
    assert headers["content-type"] == "application/problem+json"
    assert answer["type"] == "urn:tocsin:problem:not-found"


def test_an_unknown_path_is_not_found_in_the_same_form(face: Face) -> None:
    status, headers, answer = face.ask("GET", "/api/v1/nothing")

    assert status == answer["status"] == 404
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("DELETE", LIST, "GET"), ("GET", SEND, "POST"), ("PUT", "/healthz", "GET")]
)
def test_another_method_is_not_allowed(face: Face, method: str, path: str, allow: str) -> None:
    status, headers, answer = face.ask(method, path)

    assert status == 405
    assert headers["allow"] == allow
    assert answer["type"] == "urn:tocsin:problem:method-not-allowed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", LIST, f"{LIST}/1"])
def test_head_is_get_without_the_body(filled: Face, path: str) -> None:
    status, headers, body = filled.ask("GET", path)
    status_of_head, headers_of_head, nothing = filled.ask("HEAD", path)

    assert status == status_of_head == 200
    assert nothing == b""
    assert body != b""
    assert headers_of_head["content-length"] == headers["content-length"]


def test_a_store_that_cannot_be_read_is_503_without_its_secrets(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise StoreFailed("/secret/path/tocsin.db cannot be read")

    monkeypatch.setattr(face.store, "list_incidents", fails, raising=False)

    status, headers, answer = face.ask("GET", LIST)

    assert status == 503
    assert headers["retry-after"] == "1"
    assert "secret" not in json.dumps(answer)


def _sent(**more: Any) -> dict[str, Any]:
    return {"rule_id": "drill", "severity": "info", "message": "a drill"} | more


def test_a_manual_send_reaches_its_channel_and_is_recorded() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        status, _, answer = face.ask("POST", SEND, _sent(channels=["hook"]), role=Role.SERVICE)
        asyncio.run(_received(sink, 1))

        assert status == 200
        assert answer["dry_run"] is False
        assert answer["outcome"] == "opened"
        assert answer["incidents"][0]["number"] == 1
        assert [json.loads(request.body)["data"]["kind"] for request in sink.requests] == ["manual"]
        assert [n.kind for n in events_of(face.node.store, ev.Notified)] == [NotificationKind.MANUAL]


async def _received(sink: HttpSink, count: int) -> None:
    async with asyncio.timeout(20):
        while len(sink.requests) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # The receiver lives on another loop.


def test_a_dry_run_says_so_and_opens_no_connection() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        status, _, answer = face.ask("POST", SEND, _sent(dry_run=True))

        assert status == 200
        assert answer["dry_run"] is True
        (manual,) = [n for n in events_of(face.node.store, ev.Notified) if n.kind is NotificationKind.MANUAL]
        assert manual.dry_run


def test_an_unknown_channel_is_refused_and_the_known_ones_are_named() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        before = face.entries()

        status, _, answer = face.ask("POST", SEND, _sent(channels=["hook", "pager"]))

        assert status == 422
        assert answer["field"] == "channels"
        assert "'pager'" in answer["detail"]
        assert "hook" in answer["detail"]
        assert face.entries() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", ""), (b"", ""), (b"[]", ""), (b"null", ""),
        (_sent(colour="red"), "colour"), (_sent(rule_id=""), "rule_id"), (_sent(rule_id=7), "rule_id"),
        (_sent(severity="loud"), "severity"), (_sent(scope={"a": 1}), "scope.a"), (_sent(channels="hook"), "channels"),
        (_sent(window_start="soon"), "window_start"), (_sent(message="x" * 20_000), "message"),
        (b'{"rule_id":"\\ud800","severity":"info","message":"m"}', "rule_id"),
        (b'{"rule_id":"r","severity":"info","message":"m","scope":{"\\ud800":"x"}}', None),
        (b'{"rule_id":"r","severity":"info","message":"m","annotations":{"a":"\\udc00"}}', "annotations.a"),
        (b'{"rule_id":"r","severity":"info","message":"\xff"}', None),
        (b'{"rule_id":"r","rule_id":"s","severity":"info","message":"m"}', None),
        (_sent(window_end="2026-01-01T00:00:00"), None),
        (_sent(window_start="2026-01-02T00:00:00Z", window_end="2026-01-01T00:00:00Z"), None),
        (_sent(window_start="0001-01-01T00:00:00Z", window_end="0001-01-01T00:00:00Z"), None),
    ],
)  # fmt: skip
def test_a_wrong_form_is_refused_and_nothing_is_stored(face: Face, body: object, field: str | None) -> None:
    before = face.entries()

    status, headers, answer = face.ask("POST", SEND, body)

    assert status in (400, 422), answer
    assert headers["content-type"] == "application/problem+json"
    if field is not None:
        assert answer["errors"][0]["field"] == field
    assert face.entries() == before


def test_a_key_that_stands_twice_is_named(face: Face) -> None:
    status, _, answer = face.ask(
        "POST", SEND, b'{"rule_id":"r","rule_id":"s","severity":"info","message":"m"}'
    )

    assert (status, answer["field"]) == (422, "rule_id")


def test_a_form_that_is_too_large_is_refused(face: Face) -> None:
    status, headers, answer = face.ask("POST", SEND, b'{"message":"' + b"x" * 1_100_000)

    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert answer["type"] == "urn:tocsin:problem:too-large"
