"""Channels over HTTP: what there is and how it fares, without its secrets; and a test of one."""

import json

import pytest
from tests.support.http_sink import Reply
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face
from tests.web.waiting import until

from tocsin.core.model.access import Role

CHANNELS = "/api/v1/channels"
GONE, DOWN, FINE = Reply(status=410), Reply(status=503, headers={"Retry-After": "3000"}), Reply(status=200)


def test_a_channel_is_listed_without_its_secret_address() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        status, _, answer = face.ask("GET", CHANNELS, role=Role.VIEWER)

        assert status == 200
        assert (answer["total"], answer["filters"], answer["next_cursor"]) == (1, {}, None)
        assert answer["channels"] == [
            {
                "name": "hook",
                "kind": "webhook",
                "addresses": ["hook"],
                "dry_run": False,
                "pending": 0,
                "dead": 0,
                "last_outcome": None,
                "failing": False,
            }
        ]
        assert str(sink.port) not in json.dumps(answer)


def test_a_channel_that_fails_says_so_and_what_waits_for_it() -> None:
    with SinkThread(GONE, DOWN, FINE) as sink, a_face(sink=sink) as face:

        def channel() -> tuple[object, ...]:
            (one,) = face.ask("GET", CHANNELS)[2]["channels"]
            return one["failing"], one["pending"], one["dead"], (one["last_outcome"] or {}).get("outcome")

        face.post(ALERT | {"rule_id": "a"})
        until(lambda: channel() == (True, 0, 1, "refused"))
        face.post(ALERT | {"rule_id": "b"})
        until(lambda: channel() == (True, 1, 1, "retry"))
        face.post(ALERT | {"rule_id": "c"})
        until(lambda: channel() == (False, 1, 1, "delivered"))


def test_channels_come_in_pages(face: Face) -> None:
    assert face.ask("GET", CHANNELS)[2]["channels"] == []
    assert face.ask("GET", f"{CHANNELS}?limit=1&cursor=e30")[0] == 400


def test_a_test_arrives_and_is_not_recorded() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        before = face.entries()

        status, _, answer = face.ask("POST", f"{CHANNELS}/hook/test")

        assert status == 200
        assert answer == {
            "channel": "hook",
            "dry_run": False,
            "results": [{"address": "hook", "outcome": "delivered", "why": "HTTP 200 OK"}],
        }
        (request,) = sink.requests
        body = json.loads(request.body)
        assert (body["type"], body["data"]["incident"]) == ("notification.test", None)
        assert body["data"]["because"] == "admin asked for a test of channel hook"
        assert request.headers["webhook-id"] == body["data"]["key"]
        assert face.entries() == before
        face.ask("POST", f"{CHANNELS}/hook/test", {"dry_run": False})
        assert sink.requests[1].headers["webhook-id"] != request.headers["webhook-id"]


def test_a_dry_test_opens_no_connection() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        answer = face.ask("POST", f"{CHANNELS}/hook/test", {"dry_run": True})[2]

        assert answer["dry_run"] is True
        assert answer["results"][0]["outcome"] == "dry_run"
        assert "This is a test" in answer["results"][0]["why"]
        assert sink.connections == 0


def test_a_test_that_is_refused_says_how() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        status, _, answer = face.ask("POST", f"{CHANNELS}/hook/test", {})

        assert status == 200
        assert answer["results"] == [{"address": "hook", "outcome": "refused", "why": "HTTP 410 Gone"}]


@pytest.mark.parametrize("name", ["pager", "%00", "x" * 3000])
def test_a_channel_that_is_not_configured_is_not_found(face: Face, name: str) -> None:
    status, _, answer = face.ask("POST", f"{CHANNELS}/{name}/test")

    assert status == 404
    assert "not configured" in answer["detail"]


def test_only_who_administers_may_test(face: Face) -> None:
    for role in (Role.SERVICE, Role.ANALYST, Role.AUDITOR, Role.VIEWER):
        assert face.ask("POST", f"{CHANNELS}/hook/test", role=role)[0] == 403
