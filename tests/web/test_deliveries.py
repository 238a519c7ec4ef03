"""Deliveries over HTTP: what went to whom, what it said, and what is done about one that did not arrive."""

import json
from typing import Any

import msgspec
import pytest
from tests.runtime.house import a_policy
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face
from tests.web.waiting import a_hanging_sink, on_its_loop, until

from tocsin.core.model.access import Role
from tocsin.core.model.policy import RateLimit

DELIVERIES = "/api/v1/deliveries"
GONE, DOWN, FINE = Reply(status=410), Reply(status=503, headers={"Retry-After": "3000"}), Reply(status=200)


def an_alert(rule: str, **more: Any) -> dict[str, Any]:
    return ALERT | {"rule_id": rule} | more


def shown(face: Face, number: int) -> dict[str, Any]:
    status, _, answer = face.ask("GET", f"{DELIVERIES}/{number}", role=Role.VIEWER)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def settled(face: Face, number: int, state: str, attempts: int = 1) -> dict[str, Any]:
    """Wait until a delivery has come to this state by so many attempts."""
    until(lambda: shown(face, number)["state"] == state and len(shown(face, number)["attempts"]) == attempts)
    return shown(face, number)


def ids(sink: HttpSink) -> list[str]:
    return [request.headers["webhook-id"] for request in sink.requests]


def test_a_delivery_is_shown_with_its_incident_and_address() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        incident = face.post(an_alert("disk"))[2]["results"][0]["incidents"][0]

        found = settled(face, 1, "delivered")

        assert found.pop("decided_at") <= found["at"]
        (attempt,) = found.pop("attempts")
        assert (attempt["attempt"], attempt["outcome"]) == (1, "delivered")
        (row,) = face.ask("GET", DELIVERIES, role=Role.VIEWER)[2]["deliveries"]
        assert row.pop("attempts") == 1
        assert row == found
        assert (found["number"], found["incident_number"]) == (1, 1)
        assert found["incident_id"] == incident["incident_id"]
        assert (found["channel"], found["address"], found["kind"]) == ("hook", "hook", "opened")
        assert found["key"] == ids(sink)[0]


def test_when_it_was_decided_stays_and_when_it_last_changed_moves() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        dead = settled(face, 1, "dead")
        opened = face.ask("GET", "/api/v1/incidents/1")[2]["opened_at"]

        face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "known"})

        discarded = shown(face, 1)
        assert dead["decided_at"] == discarded["decided_at"] == opened
        assert opened < dead["at"] < discarded["at"]


def test_what_was_discarded_already_is_no_change() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        settled(face, 1, "dead")

        first = face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "known"})[2]
        before = face.entries()
        again = face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "known"})[2]

        assert (first["changed"], again["changed"]) == (True, False)
        assert face.entries() == before
        assert face.ask("POST", f"{DELIVERIES}/1/retry")[2]["changed"] is True


def test_deliveries_are_listed_by_what_is_asked_in_pages() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        for position, rule in enumerate(("disk", "net", "disk", "cpu")):
            face.post(an_alert(rule, scope={"n": str(position)}))
        until(lambda: face.ask("GET", f"{DELIVERIES}?state=delivered")[2]["total"] == 4)

        for query, numbers in (
            ("", [4, 3, 2, 1]),
            ("rule_id=disk", [3, 1]),
            ("incident=2", [2]),
            ("channel=hook&state=delivered&state=dead", [4, 3, 2, 1]),
            ("channel=other", []),
            ("state=dead", []),
            ("until=2020-01-01T00:00:00Z", []),
            ("since=2020-01-01T00:00:00Z&limit=3", [4, 3, 2]),
        ):
            answer = face.ask("GET", f"{DELIVERIES}?{query}")[2]
            assert [one["number"] for one in answer["deliveries"]] == numbers, query
            assert answer["total"] == (4 if "limit" in query else len(numbers))
            if "limit" in query:
                rest = face.ask("GET", f"{DELIVERIES}?{query}&cursor={answer['next_cursor']}")[2]
                assert [one["number"] for one in rest["deliveries"]] == [1]
        by_id = face.ask("GET", f"{DELIVERIES}?incident={shown(face, 2)['incident_id']}")[2]
        assert [one["number"] for one in by_id["deliveries"]] == [2]
        assert face.ask("GET", f"{DELIVERIES}?incident=77")[0] == 404


def test_a_dead_delivery_that_is_retried_arrives_under_its_old_key() -> None:
    with SinkThread(GONE, FINE) as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        dead = settled(face, 1, "dead")
        assert [(one["attempt"], one["outcome"]) for one in dead["attempts"]][-1][0] == 1

        status, _, answer = face.ask("POST", f"{DELIVERIES}/1/retry")
        arrived = settled(face, 1, "delivered", attempts=2)

        assert status == 200
        assert answer["number"] == 1
        assert len(sink.requests) == 2
        assert set(ids(sink)) == {dead["key"]}
        assert sink.requests[0].body == sink.requests[1].body
        assert [one["attempt"] for one in arrived["attempts"]] == [1, 2]
        entry = face.ask("GET", "/api/v1/incidents/1")[2]["timeline"]
        assert any(event["type"] == "delivery_revived" for one in entry for event in one["events"])


def test_one_that_waits_for_its_next_attempt_is_attempted_now() -> None:
    with SinkThread(DOWN, FINE) as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        waiting = settled(face, 1, "pending")
        assert waiting["due_at"] is not None

        assert face.ask("POST", f"{DELIVERIES}/1/retry", {})[0] == 200

        settled(face, 1, "delivered", attempts=2)
        assert ids(sink) == [waiting["key"]] * 2


def test_one_that_was_told_is_told_again_only_by_force() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        told = settled(face, 1, "delivered")
        before = face.entries()

        status, _, answer = face.ask("POST", f"{DELIVERIES}/1/retry")

        assert (status, answer["state"]) == (409, "delivered")
        assert "force" in answer["detail"]
        assert face.entries() == before
        assert face.ask("POST", f"{DELIVERIES}/1/retry", {"force": True})[0] == 200
        until(lambda: len(sink.requests) == 2)
        assert ids(sink) == [told["key"]] * 2


def test_a_drill_that_is_retried_stays_a_drill() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        drill = {"rule_id": "drill", "severity": "info", "message": "a drill", "dry_run": True}
        face.ask("POST", "/api/v1/notify/send", drill)
        settled(face, 1, "dry_run")

        assert face.ask("POST", f"{DELIVERIES}/1/retry", {"force": True})[0] == 200

        until(lambda: shown(face, 1)["state"] != "pending")
        assert (shown(face, 1)["state"], sink.connections) == ("dry_run", 0)
        assert shown(face, 1)["attempts"][-1]["attempt"] == 2


def test_one_on_the_wire_is_not_sent_twice() -> None:
    with a_hanging_sink() as (sink, hang_up), a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        until(lambda: len(sink.requests) == 1)

        status, _, answer = face.ask("POST", f"{DELIVERIES}/1/retry", {"force": True})

        assert (status, answer["state"]) == (409, "pending")
        assert len(sink.requests) == 1
        hang_up()


def test_a_discarded_delivery_never_arrives() -> None:
    with SinkThread(DOWN, FINE) as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        settled(face, 1, "pending")

        status, _, answer = face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "the host is gone\x1b[2J"})

        assert (status, answer["state"], answer["due_at"]) == (200, "discarded", None)
        assert face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "again"})[0] == 200
        # Another alert does arrive, by the same lane and later: what was discarded would have come before it.
        face.post(an_alert("net"))
        settled(face, 2, "delivered")
        assert ids(sink) == [shown(face, 1)["key"], shown(face, 2)["key"]]
        assert shown(face, 1)["state"] == "discarded"


def test_one_that_was_told_cannot_be_discarded() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        settled(face, 1, "delivered")

        status, _, answer = face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "no"})

        assert (status, answer["state"]) == (409, "delivered")


def test_a_preview_is_what_the_channel_sends() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk", message='<script>"\x1b[2J'))
        settled(face, 1, "delivered")

        status, _, answer = face.ask("GET", f"{DELIVERIES}/1/preview", role=Role.VIEWER)

        assert status == 200
        assert answer["body"].encode() == sink.requests[0].body
        assert (answer["channel"], answer["kind"], answer["subject"]) == ("hook", "webhook", None)
        assert json.loads(answer["body"])["data"]["alerts"][0]["message"] == '<script>"\x1b[2J'
        assert str(sink.port) not in json.dumps(answer)


def test_whom_it_was_for_is_known_after_the_address_is_gone() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        face.post(an_alert("disk"))
        settled(face, 1, "delivered")
        before = face.ask("GET", f"{DELIVERIES}/1/preview")
        for limit in (3, 4):  # Two versions later, so that it is not simply the one before.
            policy = msgspec.structs.replace(a_policy(), rate_limit=RateLimit(limit=limit))
            on_its_loop(face, face.node.adopt(policy, {}, actor="token:test", dry_run=False))

        status, _, answer = face.ask("GET", f"{DELIVERIES}/1/preview")

        assert before[0] == 200
        assert shown(face, 1)["address"] == "hook"
        assert (status, "no longer configured" in answer["detail"]) == (404, True)
        assert face.ask("POST", f"{DELIVERIES}/1/retry", {"force": True})[0] == 409


@pytest.mark.parametrize("number", ["0", "-1", "99", "9" * 30])
def test_a_delivery_that_is_not_there_is_not_found(face: Face, number: str) -> None:
    before = face.entries()
    for method, path, body in (
        ("GET", "", None), ("GET", "/preview", None), ("POST", "/retry", {}), ("POST", "/discard", {"reason": "x"}),
    ):  # fmt: skip
        status, _, answer = face.ask(method, f"{DELIVERIES}/{number}{path}", body)
        assert status == 404, (path, answer)
        assert "List them" in answer["detail"]
    assert face.entries() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("1/discard", {}),
        ("1/discard", {"reason": ""}),
        ("1/discard", None),
        ("1/retry", {"force": 1}),
        ("1/retry", {"x": 1}),
        ("x/retry", {}),
    ],
)
def test_a_wrong_form_is_refused(face: Face, path: str, body: Any) -> None:
    assert face.ask("POST", f"{DELIVERIES}/{path}", body)[0] == 422
