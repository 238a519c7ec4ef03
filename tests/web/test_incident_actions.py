"""What people do to incidents over HTTP: one at a time, many at once, and what is refused."""

import json
from typing import Any

import pytest
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Answer, Face, a_face
from tests.web.waiting import until

from tocsin.core.model.access import Role

LIST = "/api/v1/incidents"
BULK = f"{LIST}/actions"


def an_incident(face: Face, host: str, **more: Any) -> int:
    """Open an incident of its own; gives its number."""
    answer = face.post(ALERT | {"scope": {"host": host}} | more)[2]
    number: int = answer["results"][0]["incidents"][0]["number"]
    return number


def act(face: Face, number: object, action: str, body: object = None, **more: Any) -> Answer:
    """Do something to an incident."""
    return face.ask("POST", f"{LIST}/{number}/{action}", body, **more)


def newest(face: Face, number: int) -> dict[str, Any]:
    """The newest entry of an incident that a person made."""
    entries = face.ask("GET", f"{LIST}/{number}/timeline")[2]["entries"]
    found: dict[str, Any] = next(entry for entry in entries if entry["kind"] == "action")
    return found


def test_an_incident_lives_through_all_states(face: Face) -> None:
    number = an_incident(face, "lives")
    steps = [
        ("ack", {"note": "mine"}, "ACK"), ("unack", None, "OPEN"), ("silence", {"minutes": 5}, "SILENCED"),
        ("unsilence", {}, "OPEN"), ("resolve", {"note": ""}, "RESOLVED"), ("reopen", None, "OPEN"),
    ]  # fmt: skip

    for action, body, state in steps:
        status, _, answer = act(face, number, action, body)

        assert (status, answer["state"], answer["changed"]) == (200, state, True), action
        assert answer["number"] == number

    assert answer["generation"] == 2


def test_who_did_it_and_what_they_wrote_stands_in_the_timeline(face: Face) -> None:
    number = an_incident(face, "noted")

    act(face, number, "ack", {"note": "looking <b>at</b> it"}, role=Role.ANALYST)
    act(face, number, "notes", {"note": "disk ordered"})
    detail = face.ask("GET", f"{LIST}/{number}")[2]

    assert [note["note"] for note in detail["notes"]] == ["disk ordered", "looking <b>at</b> it"]
    assert detail["notes"][1]["actor"].startswith("token:")
    assert detail["acked_by"] == detail["notes"][1]["actor"]
    assert detail["acked_at"] is not None
    assert newest(face, number)["note"] == "disk ordered"


def test_whoever_did_it_has_a_name_beside_the_one_of_the_ledger(face: Face) -> None:
    number = an_incident(face, "named")

    acked = act(face, number, "ack", {"note": "on it"}, role=Role.ANALYST)[2]
    detail = face.ask("GET", f"{LIST}/{number}", role=Role.VIEWER)[2]
    listed = face.ask("GET", f"{LIST}?scope=host=named", role=Role.VIEWER)[2]["incidents"]
    timeline = face.ask("GET", f"{LIST}/{number}/timeline", role=Role.VIEWER)[2]["entries"]
    why = face.ask("GET", f"{LIST}/{number}/why", role=Role.VIEWER)[2]

    assert {one["acked_by_name"] for one in (acked, detail, *listed)} == {"analyst"}
    assert {one["acked_by"][:6] for one in (acked, detail, *listed)} == {"token:"}
    assert [note["actor_name"] for note in detail["notes"]] == ["analyst"]
    assert [entry["actor_name"] for entry in timeline] == ["analyst", "admin"]
    assert why["steps"][-1]["changed"]["by_name"] == "analyst"
    assert why["steps"][-1]["changed"]["because"].startswith("token:")
    assert why["summary"][-1].startswith("analyst has it")
    act(face, number, "unack", role=Role.ANALYST)
    unacked = face.ask("GET", f"{LIST}/{number}", role=Role.VIEWER)[2]
    assert (unacked["acked_by"], unacked["acked_by_name"]) == (None, None)
    said = face.ask("GET", f"{LIST}/{number}/why", role=Role.VIEWER)[2]["summary"][-1]
    assert "analyst asked for unack while it was ACK" in said


def test_people_are_told_the_name_of_whoever_has_it() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        number = an_incident(face, "told", severity="warning")
        until(lambda: len(sink.requests) == 1)
        act(face, number, "ack", role=Role.ANALYST)
        an_incident(face, "told", severity="critical", window_end="2026-03-01T09:00:00Z")
        until(lambda: len(sink.requests) == 2)

        incident = json.loads(sink.requests[1].body)["data"]["incident"]

        assert incident["acked_by"].startswith("token:")
        assert incident["acked_by_name"] == "analyst"


def test_people_are_told_who_ended_it_and_who_took_it_up_again_also_where_many_are_ended() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        number = an_incident(face, "ended")
        until(lambda: len(sink.requests) == 1)
        act(face, number, "resolve", role=Role.ANALYST)
        until(lambda: len(sink.requests) == 2)
        act(face, number, "reopen", role=Role.ANALYST)
        until(lambda: len(sink.requests) == 3)
        bulk(face, action="resolve", ids=[number])
        until(lambda: len(sink.requests) == 4)
        preview = face.ask("GET", "/api/v1/deliveries/2/preview")[2]["body"]

        said = [json.loads(request.body)["data"]["text"] for request in sink.requests]

        assert said[1:] == [
            "Over: analyst resolved it. 1 alert had not cleared.",
            "Reopened by analyst. 1 alert firing.",
            "Over: admin resolved it. 1 alert had not cleared.",
        ]
        assert "analyst resolved it" in preview
        stored = face.node.store.message(2)
        assert stored is not None
        assert stored.text.startswith("Over: token:")


def test_people_are_told_what_the_alert_said_that_is_over() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        number = an_incident(face, "over")
        until(lambda: len(sink.requests) == 1)
        face.post(ALERT | {"scope": {"host": "over"}, "status": "resolved", "message": "fine again"})
        until(lambda: len(sink.requests) == 2)

        said = json.loads(sink.requests[1].body)["data"]["text"]
        entry = face.ask("GET", f"{LIST}/{number}/timeline")[2]["entries"][1]

        assert said == "Over: all alerts cleared. The last one said: fine again"
        assert (entry["kind"], entry["message"]) == ("alert", "fine again")


def test_what_is_so_already_is_no_change_and_no_entry(face: Face) -> None:
    number = an_incident(face, "twice")
    act(face, number, "ack")
    before = face.entries()

    status, _, answer = act(face, number, "ack")

    assert (status, answer["state"], answer["changed"]) == (200, "ACK", False)
    assert face.entries() == before


@pytest.mark.parametrize(
    ("prepare", "action", "state", "possible"),
    [
        ([], "unack", "OPEN", ["ack", "silence", "resolve", "note"]),
        ([], "reopen", "OPEN", ["ack", "silence", "resolve", "note"]),
        (["ack"], "unsilence", "ACK", ["ack", "unack", "silence", "resolve", "note"]),
        (["silence"], "unack", "SILENCED", ["ack", "silence", "unsilence", "resolve", "note"]),
        (["resolve"], "ack", "RESOLVED", ["resolve", "reopen", "note"]),
        (["resolve"], "silence", "RESOLVED", ["resolve", "reopen", "note"]),
    ],
)
def test_a_conflict_says_the_state_as_it_is_and_what_is_possible(
    face: Face, prepare: list[str], action: str, state: str, possible: list[str]
) -> None:
    number = an_incident(face, f"conflict-{action}-{state}")
    for step in prepare:
        act(face, number, step)
    before = face.entries()

    status, headers, answer = act(face, number, action)

    assert status == 409
    assert headers["content-type"] == "application/problem+json"
    assert (answer["type"], answer["state"]) == ("urn:tocsin:problem:conflict", state)
    assert answer["possible"] == possible
    assert f"#{number}" in answer["detail"]
    assert face.entries() == before


def test_a_silence_until_an_instant_says_so(face: Face) -> None:
    number = an_incident(face, "until")

    act(face, number, "silence", {"until": "2099-01-01T02:00:00+02:00", "note": "move"})

    assert face.ask("GET", f"{LIST}/{number}")[2]["silenced_until"] == "2099-01-01T00:00:00Z"


def test_a_silence_without_an_end_has_none(face: Face) -> None:
    number = an_incident(face, "open-ended")

    act(face, number, "silence")

    assert face.ask("GET", f"{LIST}/{number}")[2]["silenced_until"] is None


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("silence", {"until": "2099-01-01T00:00:00Z", "minutes": 5}, "until"),
        ("silence", {"until": "2001-01-01T00:00:00Z"}, "until"),
        ("silence", {"until": "soon"}, "until"), ("silence", {"until": "2099-01-01T00:00:00"}, "until"),
        ("silence", {"until": 1_800_000_000}, "until"), ("silence", {"minutes": 0}, "minutes"),
        ("silence", {"minutes": 525_601}, "minutes"), ("silence", {"minutes": "5"}, "minutes"),
        ("silence", {"minutes": True}, "minutes"), ("silence", {"minutes": None}, "minutes"),
        ("ack", {"reason": "x"}, "reason"), ("ack", {"note": 1}, "note"), ("ack", {"note": "\udfff"}, "note"),
        ("ack", {"note": "x" * 16_385}, "note"), ("ack", [], ""), ("ack", b"{", ""),
        ("notes", {"note": ""}, "note"), ("notes", {}, "note"), ("notes", None, ""),
    ],
)  # fmt: skip
def test_a_wrong_form_is_refused_by_its_field(face: Face, action: str, body: object, field: str) -> None:
    number = an_incident(face, "wrong-form")
    before = face.entries()

    status, _, answer = act(face, number, action, body)

    assert status == 422, answer
    assert answer["type"] == "urn:tocsin:problem:invalid"
    assert field in (answer.get("field"), *[error["field"] for error in answer.get("errors", [])])
    assert "Value error" not in answer["detail"]
    assert face.entries() == before


@pytest.mark.parametrize("path", ["ack", "notes", "silence"])
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
def test_a_body_that_is_not_json_is_not_read(face: Face, path: str, content_type: str) -> None:
    number = an_incident(face, "other-type")

    status, _, answer = act(face, number, path, b"note=x", headers={"Content-Type": content_type})

    assert (status, answer["type"]) == (415, "urn:tocsin:problem:content-type")


@pytest.mark.parametrize("action", ["ack", "unack", "resolve", "reopen", "silence", "unsilence"])
def test_what_does_not_exist_cannot_be_acted_on(face: Face, action: str) -> None:
    status, _, answer = act(face, 999_999, action)

    assert (status, answer["type"]) == (404, "urn:tocsin:problem:not-found")
    assert "GET /api/v1/incidents" in answer["detail"]


def test_an_incident_is_found_by_its_id_too(face: Face) -> None:
    number = an_incident(face, "by-id")
    id_ = face.ask("GET", f"{LIST}/{number}")[2]["incident_id"]

    assert act(face, id_, "ack")[2]["number"] == number


# Many at once


COUNTED = ("action", "dry_run", "matched", "changed", "unchanged", "refused", "not_found")


def bulk(face: Face, **form: Any) -> dict[str, Any]:
    status, _, answer = face.ask("POST", BULK, form)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def test_many_are_changed_at_once_and_each_says_how(face: Face) -> None:
    opened, acked, resolved = (an_incident(face, f"bulk-{n}") for n in range(3))
    act(face, acked, "ack")
    act(face, resolved, "resolve")
    id_ = face.ask("GET", f"{LIST}/{opened}")[2]["incident_id"]

    answer = bulk(face, action="ack", ids=[id_, acked, str(resolved), "nothing", opened], note="one cause")

    assert {name: answer[name] for name in COUNTED} == {
        "action": "ack", "dry_run": False, "matched": 3, "changed": 1, "unchanged": 1, "refused": 1, "not_found": 1,
    }  # fmt: skip
    title = face.ask("GET", f"{LIST}/{opened}")[2]["title"]
    assert [r["title"] for r in answer["results"]][0::3] == [title, None]
    assert [(r["number"], r["outcome"], r["state"]) for r in answer["results"]] == [
        (opened, "changed", "ACK"), (acked, "unchanged", "ACK"), (resolved, "conflict", "RESOLVED"),
        (None, "not_found", None),
    ]  # fmt: skip
    assert "Possible now: resolve, reopen, note" in answer["results"][2]["detail"]
    assert newest(face, opened)["note"] == "one cause"


def test_a_dry_run_says_the_same_and_changes_nothing(face: Face) -> None:
    opened, resolved = an_incident(face, "dry-1"), an_incident(face, "dry-2")
    act(face, resolved, "resolve")
    form = {"action": "silence", "ids": [opened, resolved, 999_999], "minutes": 5}
    before = face.entries()

    dry = bulk(face, **form, dry_run=True)
    entries = face.entries()
    wet = bulk(face, **form)

    assert entries == before
    assert [result["outcome"] for result in dry["results"]] == ["changed", "conflict", "not_found"]
    assert [result["outcome"] for result in wet["results"]] == ["changed", "conflict", "not_found"]
    assert [result["state"] for result in dry["results"]] == ["OPEN", "RESOLVED", None]
    assert [result["state"] for result in wet["results"]] == ["SILENCED", "RESOLVED", None]


def test_a_filter_means_all_that_fit_it(face: Face) -> None:
    numbers = [an_incident(face, f"filter-{n}", rule_id="bulk-filter") for n in range(3)]
    act(face, numbers[0], "resolve")
    other = an_incident(face, "filter-other")

    answer = bulk(face, action="resolve", filter={"rule_id": "bulk-filter", "state": ["OPEN", "ACK"]})

    assert sorted(result["number"] for result in answer["results"]) == numbers[1:]
    assert answer["changed"] == 2
    assert face.ask("GET", f"{LIST}/{other}")[2]["state"] == "OPEN"


def test_a_filter_that_fits_nothing_changes_nothing(face: Face) -> None:
    before = face.entries()

    answer = bulk(face, action="resolve", filter={"rule_id": "no such rule"})

    assert (answer["matched"], answer["results"], face.entries()) == (0, [], before)


def test_a_note_for_many_is_welcome_in_every_state(face: Face) -> None:
    opened, resolved = an_incident(face, "note-1"), an_incident(face, "note-2")
    act(face, resolved, "resolve")

    answer = bulk(face, action="note", ids=[opened, resolved], note="same rack")

    assert answer["changed"] == 2
    assert newest(face, resolved)["note"] == "same rack"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"action": "ack"}, "ids"), ({"action": "ack", "ids": [1], "filter": {"rule_id": "x"}}, "ids"),
        ({"action": "ack", "ids": []}, "ids"), ({"action": "ack", "ids": [True]}, "ids.0"),
        ({"action": "ack", "ids": [1.5]}, "ids.0"), ({"action": "ack", "ids": [""]}, "ids.0"),
        ({"action": "ack", "ids": ["1"] * 1001}, "ids"), ({"action": "ack", "filter": {}}, "filter"),
        ({"action": "ack", "filter": {"colour": "red"}}, "filter.colour"), ({"action": "burn", "ids": [1]}, "action"),
        ({"action": "ack", "ids": [1], "minutes": 5}, "until"), ({"action": "note", "ids": [1]}, "note"),
        ({"action": "silence", "ids": [1], "until": "2001-01-01T00:00:00Z"}, "until"),
        ({"action": "silence", "ids": [1], "until": "2099-01-01T00:00:00Z", "minutes": 5}, "until"),
        ({"action": "ack", "ids": [1], "dry_run": "true"}, "dry_run"), ({"ids": [1]}, "action"),
    ],
)  # fmt: skip
def test_a_wrong_bulk_form_changes_nothing(face: Face, form: dict[str, Any], field: str) -> None:
    an_incident(face, "bulk-wrong")
    before = face.entries()

    status, _, answer = face.ask("POST", BULK, form)

    assert status == 422, answer
    assert field in (answer.get("field"), *[error["field"] for error in answer.get("errors", [])])
    assert face.entries() == before


def test_silencing_many_needs_the_permission_to_silence(face: Face) -> None:
    number = an_incident(face, "bulk-role")

    status, _, answer = face.ask("POST", BULK, {"action": "silence", "ids": [number]}, role=Role.ANALYST)
    allowed = face.ask("POST", BULK, {"action": "ack", "ids": [number]}, role=Role.ANALYST)[0]

    assert (status, answer["permission"], allowed) == (403, "silence", 200)


def test_a_filter_that_fits_more_than_a_thousand_is_refused_with_their_number(face: Face) -> None:
    face.post([ALERT | {"rule_id": "flood", "scope": {"n": str(n)}} for n in range(1001)])
    before = face.entries()

    status, _, answer = face.ask("POST", BULK, {"action": "ack", "filter": {"rule_id": "flood"}})

    assert (status, answer["field"]) == (422, "filter")
    assert "1001 incidents fit" in answer["detail"]
    assert face.entries() == before
