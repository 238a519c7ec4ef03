"""Replay: tells again what was told, under the same keys; never twice unless it is insisted, and dry unless asked."""

from typing import Any

import pytest
from tests.runtime.house import a_policy
from tests.support.http_sink import Reply
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face
from tests.web.waiting import a_hanging_sink, on_its_loop, until

from tocsin.core.model.access import Role
from tocsin.core.model.input import DeliveryRetryAsked
from tocsin.ports import StoreFailed

REPLAY = "/api/v1/notify/replay"
DELIVERIES = "/api/v1/deliveries"
LONG_AGO = "2020-01-01T00:00:00Z"
GONE, FINE = Reply(status=410), Reply(status=200)


def fire(face: Face, *rules: str) -> None:
    for rule in rules:
        face.post(ALERT | {"rule_id": rule})


def replay(face: Face, **more: Any) -> dict[str, Any]:
    status, _, answer = face.ask("POST", REPLAY, {"since": LONG_AGO} | more)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def outcomes(answer: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["number"], one["outcome"]) for one in answer["results"]]


def ended(face: Face, count: int, state: str) -> None:
    until(lambda: face.ask("GET", f"{DELIVERIES}?state={state}")[2]["total"] == count)


def test_a_dry_run_says_what_would_be_sent_and_does_nothing() -> None:
    with SinkThread(GONE, GONE, FINE) as sink, a_face(sink=sink) as face:
        fire(face, "a", "b", "c")
        ended(face, 2, "dead")
        ended(face, 1, "delivered")
        before = face.entries()
        dead = {one["number"] for one in face.ask("GET", f"{DELIVERIES}?state=dead")[2]["deliveries"]}

        answer = replay(face)

        assert (answer["dry_run"], answer["matched"], answer["again"], answer["skipped"]) == (True, 3, 2, 1)
        assert outcomes(answer) == [
            (number, "would send" if number in dead else "already told") for number in (1, 2, 3)
        ]
        assert face.entries() == before
        assert len(sink.requests) == 3


def test_what_was_dead_is_sent_again_under_its_key_and_a_second_replay_tells_nobody() -> None:
    with SinkThread(GONE, GONE, FINE) as sink, a_face(sink=sink) as face:
        fire(face, "a", "b", "c")
        ended(face, 2, "dead")

        first = replay(face, dry_run=False)
        ended(face, 3, "delivered")
        second = replay(face, dry_run=False)

        assert (first["again"], second["again"], second["skipped"]) == (2, 0, 3)
        assert [outcome for _, outcome in outcomes(second)] == ["already told"] * 3
        keys = [request.headers["webhook-id"] for request in sink.requests]
        assert sorted(keys[3:]) == sorted(one["key"] for one in first["results"] if one["outcome"] == "again")
        assert set(keys[3:]) <= set(keys[:3])
        assert len(keys) == 5


def test_by_force_all_are_told_once_more_and_receivers_can_tell() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        fire(face, "a", "b")
        ended(face, 2, "delivered")

        answer = replay(face, dry_run=False, force=True)
        until(lambda: len(sink.requests) == 4)

        assert outcomes(answer) == [(1, "again"), (2, "again")]
        keys = [request.headers["webhook-id"] for request in sink.requests]
        assert sorted(keys[:2]) == sorted(keys[2:])


def test_what_somebody_gave_up_stays_so_unless_it_is_insisted() -> None:
    with SinkThread(GONE, GONE, FINE) as sink, a_face(sink=sink) as face:
        fire(face, "a", "b")
        ended(face, 2, "dead")
        face.ask("POST", f"{DELIVERIES}/1/discard", {"reason": "told by phone"})

        foreseen, done = replay(face), replay(face, dry_run=False)
        ended(face, 1, "delivered")
        forced = replay(face, force=True)

        assert outcomes(foreseen) == [(1, "discarded"), (2, "would send")]
        assert outcomes(done) == [(1, "discarded"), (2, "again")]
        assert (done["again"], done["skipped"]) == (1, 1)
        assert face.ask("GET", f"{DELIVERIES}/1")[2]["state"] == "discarded"
        assert outcomes(forced) == [(1, "would send"), (2, "would send")]


def test_a_drill_is_told_to_nobody_however_it_is_insisted() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        drill = {"rule_id": "drill", "severity": "info", "message": "a drill", "dry_run": True}
        face.ask("POST", "/api/v1/notify/send", drill)
        ended(face, 1, "dry_run")
        before = face.entries()

        for force in (False, True):
            answer = replay(face, dry_run=False, force=force)
            assert (outcomes(answer), answer["again"]) == ([(1, "drill")], 0)

        assert face.entries() == before
        assert sink.connections == 0


def test_rule_channel_and_span_narrow_it() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        fire(face, "a", "b", "c")
        ended(face, 3, "dead")
        decided = face.ask("GET", f"{DELIVERIES}/2")[2]["at"]

        assert outcomes(replay(face, rule_id="b")) == [(2, "would send")]
        assert len(replay(face, channel="hook")["results"]) == 3
        assert replay(face, until="2021-01-01T00:00:00Z")["matched"] == 0
        assert replay(face, since=decided)["matched"] < 3
        limited = replay(face, limit=2)
        assert (limited["matched"], outcomes(limited)) == (3, [(2, "would send"), (3, "would send")])


def test_what_is_under_way_is_left_alone() -> None:
    with a_hanging_sink() as (sink, hang_up), a_face(sink=sink) as face:
        fire(face, "a")
        until(lambda: len(sink.requests) == 1)
        before = face.entries()

        assert outcomes(replay(face, dry_run=False, force=True)) == [(1, "under way")]
        assert face.entries() == before
        hang_up()


def test_what_has_no_address_any_more_is_gone() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        fire(face, "a")
        ended(face, 1, "dead")
        on_its_loop(face, face.node.adopt(a_policy(), {}, actor="token:test", dry_run=False))

        assert outcomes(replay(face)) == [(1, "gone")]
        assert outcomes(replay(face, dry_run=False, force=True)) == [(1, "gone")]
        assert replay(face)["results"][0]["address"] == "hook"
        assert len(sink.requests) == 1


def test_all_of_it_is_one_commit() -> None:
    with SinkThread(GONE) as sink, a_face(sink=sink) as face:
        fire(face, "a", "b", "c")
        ended(face, 3, "dead")
        asked = []
        submit = face.node.gate.submit
        face.node.gate.submit = lambda inputs, actor: (asked.append(inputs), submit(inputs, actor))[1]  # type: ignore[method-assign,func-returns-value]

        replay(face, dry_run=False)

        (inputs,) = [inputs for inputs in asked if isinstance(inputs[0], DeliveryRetryAsked)]
        assert [one.delivery for one in inputs] == [1, 2, 3]


def test_a_store_that_fails_sends_nothing() -> None:
    with SinkThread(GONE, FINE) as sink, a_face(sink=sink) as face:
        fire(face, "a")
        ended(face, 1, "dead")

        def fail(batch: Any) -> None:
            raise StoreFailed("the disk is gone, said the test")

        face.store.before = fail
        status = face.ask("POST", REPLAY, {"since": LONG_AGO, "dry_run": False})[0]
        face.store.before = lambda batch: None

        assert status == 503
        fire(face, "b")
        ended(face, 1, "delivered")
        assert len(sink.requests) == 2


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({}, "since"), ({"since": "yesterday"}, "since"), ({"since": LONG_AGO, "limit": 1001}, "limit"),
        ({"since": LONG_AGO, "until": LONG_AGO}, "until"), ({"since": LONG_AGO, "channel": "pager"}, "channel"),
        ({"since": LONG_AGO, "dry_run": "no"}, "dry_run"), ({"since": LONG_AGO, "all": True}, "all"),
    ],
)  # fmt: skip
def test_a_wrong_form_is_refused(face: Face, form: dict[str, Any], field: str) -> None:
    status, _, answer = face.ask("POST", REPLAY, form)

    assert status == 422
    assert field in (answer.get("field"), answer.get("errors", [{}])[0].get("field"))


def test_only_who_administers_may(face: Face) -> None:
    for role in (Role.SERVICE, Role.ANALYST, Role.AUDITOR, Role.VIEWER):
        assert face.ask("POST", REPLAY, {"since": LONG_AGO}, role=role)[0] == 403
