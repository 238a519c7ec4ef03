"""`POST /api/v1/alerts`: all or nothing unless asked otherwise, and nothing stored of what is refused."""

import http.client
import json
import socket
import threading
from typing import Any

import pytest
from tests.runtime.house import events_of, once
from tests.web.faces import ALERT, Face, a_face

from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.alert import fingerprint
from tocsin.intake.native import ALERTS_MAX, BODY_BYTES_MAX
from tocsin.runtime import gate
from tocsin.web.hot import PATH


def an_alert(rule: str, **more: Any) -> dict[str, Any]:
    return ALERT | {"rule_id": rule} | more


def test_an_alert_is_answered_with_its_names_and_its_incident(face: Face) -> None:
    status, headers, answer = face.post(an_alert("answered"), role=Role.SERVICE)

    assert status == 200
    assert headers["content-type"] == "application/json"
    (result,) = answer["results"]
    (incident,) = result["incidents"]
    assert answer == {"accepted": 1, "results": [result]}
    assert result["fingerprint"] == fingerprint("answered", ALERT["scope"])
    assert len(result["idempotency_key"]) == 64
    assert result["outcome"] == incident["outcome"] == "opened"
    detail = face.ask("GET", f"/api/v1/incidents/{incident['incident_id']}")[2]
    assert detail["number"] == incident["number"]
    assert detail["timeline"][-1]["actor"].startswith("token:")


def test_many_alerts_are_answered_in_their_order(face: Face) -> None:
    rules = [f"order-{number}" for number in range(50)]

    answer = face.post([an_alert(rule) for rule in [*rules, rules[0]]])[2]

    assert answer["accepted"] == 51
    names = [fingerprint(rule, ALERT["scope"]) for rule in [*rules, rules[0]]]
    assert [result["fingerprint"] for result in answer["results"]] == names
    assert [result["outcome"] for result in answer["results"]] == ["opened"] * 50 + ["duplicate"]


def test_one_wrong_alert_refuses_all_and_every_error_is_listed(face: Face) -> None:
    before = face.entries()

    status, headers, answer = face.post(
        [
            an_alert("good"),
            an_alert("bad", severity="loud"),
            an_alert("bad", colour="red"),
            an_alert("good-2"),
            7,
        ]
    )

    assert status == 422
    assert headers["content-type"] == "application/problem+json"
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(1, "severity"), (2, "colour"), (4, "")]
    assert answer["errors_total"] == 3
    assert "Alert [1], field severity" in answer["detail"]
    assert face.entries() == before


def test_asked_for_part_the_good_ones_are_accepted_and_the_wrong_ones_listed(face: Face) -> None:
    status, _, answer = face.post(
        [7, an_alert("part-1"), an_alert("x", severity=1), an_alert("part-2")], "?partial=true"
    )

    assert status == 200
    assert answer["accepted"] == 2
    assert [result["index"] for result in answer["results"]] == [1, 3]
    assert [(p["index"], p["field"]) for p in answer["problems"]] == [(0, ""), (2, "severity")]


def test_nothing_good_is_a_refusal_even_if_part_was_asked_for(face: Face) -> None:
    before = face.entries()

    assert face.post([7], "?partial=true")[0] == 422
    assert face.post(b"{", "?partial=true")[0] == 422
    assert face.entries() == before


@pytest.mark.parametrize(
    "query", ["?partial=maybe", "?partial", "?colour=red", "?partial=true&partial=false"]
)
def test_a_parameter_that_is_not_understood_is_refused(face: Face, query: str) -> None:
    status, _, answer = face.post(an_alert("asked"), query)

    assert (status, answer["field"]) == (422, "partial")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"nonsense", b"\xff", b"[[[", json.dumps([ALERT])[:-1].encode()]
)
def test_every_refusal_is_a_problem_of_rfc_9457(face: Face, body: bytes) -> None:
    status, headers, answer = face.post(body)

    assert status == answer["status"] == 422
    assert headers["content-type"] == "application/problem+json"
    assert answer["type"] == "urn:tocsin:problem:invalid-alerts"
    assert answer["title"]
    assert answer["detail"]
    assert answer["errors"]


def test_an_empty_list_says_that_there_are_no_alerts(face: Face) -> None:
    assert "no alerts" in face.post(b"[]")[2]["detail"]


def test_too_many_alerts_are_refused_as_a_whole(face: Face) -> None:
    before = face.entries()

    status, _, answer = face.post(b"[" + b",".join([json.dumps(ALERT).encode()] * (ALERTS_MAX + 1)) + b"]")

    assert status == 422
    assert answer["errors"][0]["index"] is None
    assert face.entries() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonp"]
)
def test_only_json_is_taken(face: Face, kind: str) -> None:
    status, _, answer = face.post(an_alert("xml"), headers={"Content-Type": kind})

    assert status == 415
    assert answer["type"] == "urn:tocsin:problem:content-type"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;v=1"]
)
def test_json_may_be_named_in_several_ways(face: Face, kind: str) -> None:
    assert face.post(an_alert("kinds"), headers={"Content-Type": kind})[0] == 200


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(face: Face) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {face.tokens[Role.ADMIN]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n["
    )

    answer = face.raw(head.encode())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"urn:tocsin:problem:too-large" in answer


def test_a_body_that_does_not_say_its_size_is_refused_once_it_is_too_large(face: Face) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=20)
    try:
        piece = b" " * (1024 * 1024)
        connection.request(
            "POST",
            PATH,
            iter([piece] * 17),
            {"Authorization": f"Bearer {face.tokens[Role.ADMIN]}", "Content-Type": "application/json"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 413
    finally:
        connection.close()


def test_a_body_in_chunks_is_taken(face: Face) -> None:
    pieces = iter([b'[{"rule_id":"chunks",', b'"severity":"info","message":"m"}', b"]"])
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {face.tokens[Role.ADMIN]}", "Content-Type": "application/json"}
        connection.request("POST", PATH, pieces, headers, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["accepted"] == 1
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(face: Face, method: str) -> None:
    status, headers, _ = face.ask(method, PATH)

    assert status == 405
    assert headers["allow"] == "POST"


def test_a_sender_that_goes_away_in_the_middle_leaves_nothing(face: Face) -> None:
    before = face.entries()
    body = json.dumps(an_alert("half")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {face.tokens[Role.ADMIN]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 20}\r\n\r\n"
    ).encode()

    for part in (head, head + body, head + body[: len(body) // 2]):
        with socket.create_connection(("127.0.0.1", face.port)) as connection:
            connection.sendall(part)
    face.post(an_alert("whole"))

    assert face.entries() == before + 1
    assert events_of(face.node.store, ev.AlertFired)[-1].rule_id == "whole"


def test_a_store_that_fails_is_503_and_says_when_to_come_back(face: Face) -> None:
    face.store.before = once(lambda batch: True)

    status, headers, answer = face.post(an_alert("unstored"))

    assert status == 503
    assert headers["retry-after"] == "1"
    assert answer["type"] == "urn:tocsin:problem:unavailable"
    assert "disk" not in answer["detail"]
    assert face.post(an_alert("unstored"))[2]["results"][0]["outcome"] == "opened"


def test_readiness_follows_the_store() -> None:
    with a_face() as face:
        assert face.ask("GET", "/readyz", role=None)[0] == 200
        face.store.before = lambda batch: once(lambda b: True)(batch)

        face.post(an_alert("unstored"))

        status, _, answer = face.ask("GET", "/readyz", role=None)
        assert status == 503
        assert answer["why"]
        assert face.ask("GET", "/healthz", role=None)[0] == 200
        face.store.before = lambda batch: None
        face.post(an_alert("stored"))
        assert face.ask("GET", "/readyz", role=None)[0] == 200


def test_it_is_not_ready_when_deliveries_stand_still() -> None:
    with a_face() as face:
        face.node.dispatcher.stuck = "deliveries stand still: the dispatcher has ended"

        status, _, answer = face.ask("GET", "/readyz", role=None)

        assert (status, answer["why"]) == (503, "deliveries stand still: the dispatcher has ended")
        assert b"tocsin_ready 0.0" in face.ask("GET", "/metrics")[2]


def test_when_too_much_waits_it_is_503_and_nothing_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "INPUTS_WAITING_MAX", 2)
    begun, go_on = threading.Event(), threading.Event()

    def hold(batch: object) -> None:
        begun.set()
        assert go_on.wait(20)

    with a_face() as face:
        face.store.before = hold
        first = threading.Thread(target=face.post, args=(an_alert("first"),))
        first.start()
        assert begun.wait(20)
        status, headers, answer = face.post([an_alert("one"), an_alert("two"), an_alert("three")])
        go_on.set()
        first.join()

        assert status == 503
        assert headers["retry-after"] == "1"
        assert "Nothing was accepted" in answer["detail"]
        assert [event.rule_id for event in events_of(face.node.store, ev.AlertFired)] == ["first"]


def test_a_mistake_of_ours_is_500_tells_nothing_and_is_in_the_log(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(face.app._gate, "submit", broken)

    status, headers, answer = face.post(an_alert("mistake"))

    assert status == 500
    assert headers["content-type"] == "application/problem+json"
    assert "secret" not in json.dumps(answer)
    assert "secret detail" in caplog.text
