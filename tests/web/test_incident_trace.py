"""What is asked about incidents over HTTP: narrower lists, numbers, the timeline page by page, and why."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face

from tocsin.core.model.access import Role

LIST = "/api/v1/incidents"


@pytest.fixture(scope="module")
def told() -> Iterator[Face]:
    """A server with one channel that answers."""
    with SinkThread() as sink, a_face(sink=sink) as face:
        yield face


def an_incident(face: Face, host: str, **more: Any) -> int:
    answer = face.post(ALERT | {"scope": {"host": host, "n": "x"}} | more)[2]
    number: int = answer["results"][0]["incidents"][0]["number"]
    return number


def numbers(face: Face, query: str) -> list[int]:
    status, _, answer = face.ask("GET", f"{LIST}?{query}", role=Role.VIEWER)
    assert status == 200, answer
    return [incident["number"] for incident in answer["incidents"]]


def test_the_list_is_narrowed_by_labels_text_and_time(face: Face) -> None:
    first = an_incident(face, "list-1", message="The DISK is full")
    second = an_incident(face, "list-2", message="disk slow")
    opened = face.ask("GET", f"{LIST}/{second}")[2]["opened_at"]

    assert numbers(face, "scope=host=list-1") == [first]
    assert numbers(face, "scope=host=list-1&scope=n=x") == [first]
    assert numbers(face, "scope=host=list-1&scope=n=y") == []
    assert numbers(face, "scope=host=") == []
    assert set(numbers(face, "text=disk")) >= {first, second}
    assert first in numbers(face, "text=disk%20is")
    assert second not in numbers(face, "text=disk%20is")
    assert numbers(face, f"since={opened}&scope=host=list-2") == [second]
    assert numbers(face, f"until={opened}&scope=host=list-2") == []
    assert numbers(face, "until=1969-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("scope=host", "scope.0"), ("scope==x", "scope.0"), ("text=" + "x" * 257, "text"),
        ("since=yesterday", "since"), ("since=2026-01-01", "since"), ("until=2026-01-01T00:00:00", "until"),
        ("since=1700000000", "since"), ("since=2026-02-30T00:00:00Z", "since"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_named(face: Face, query: str, field: str) -> None:
    status, _, answer = face.ask("GET", f"{LIST}?{query}")

    assert status == 422
    assert [error["field"] for error in answer["errors"]] == [field]


def test_filters_are_repeated_in_the_answer(face: Face) -> None:
    answer = face.ask("GET", f"{LIST}?scope=a=b&text=x&since=2026-01-01T00:00:00%2B02:00&limit=1")[2]

    assert answer["filters"] == {"scope": ["a=b"], "text": "x", "since": "2025-12-31T22:00:00Z"}


def test_stats_count_what_is_there(face: Face) -> None:
    before = face.ask("GET", f"{LIST}/stats")[2]
    number = an_incident(face, "stats", rule_id="stats-rule", severity="critical")
    face.ask("POST", f"{LIST}/{number}/ack")

    after = face.ask("GET", f"{LIST}/stats", role=Role.VIEWER)[2]

    assert after["total"] == before["total"] + 1
    assert after["by_state"]["ACK"] == before["by_state"]["ACK"] + 1
    assert after["by_severity"]["critical"] == before["by_severity"]["critical"] + 1
    assert {"rule_id": "stats-rule", "incidents": 1, "active": 1} in after["by_rule"]
    assert set(after["by_state"]) == {"OPEN", "ACK", "SILENCED", "RESOLVED"}
    assert set(after["by_severity"]) == {"info", "warning", "error", "critical"}


def test_stats_say_how_long_people_took(face: Face) -> None:
    span = "since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z"
    before = face.ask("GET", f"{LIST}/stats?{span}")[2]
    number = an_incident(face, "mttr")
    face.ask("POST", f"{LIST}/{number}/ack")
    face.ask("POST", f"{LIST}/{number}/resolve")

    after = face.ask("GET", f"{LIST}/stats?{span}")[2]
    never = face.ask("GET", f"{LIST}/stats?since=2000-01-01T00:00:00Z&until=2001-01-01T00:00:00Z")[2]

    assert after["time_to_acknowledge"]["incidents"] == before["time_to_acknowledge"]["incidents"] + 1
    assert 0 <= after["time_to_resolve"]["p50_s"] <= after["time_to_resolve"]["p90_s"]
    assert never["time_to_resolve"] == {"incidents": 0, "p50_s": None, "p90_s": None}
    assert (after["since"], after["until"]) == ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")


def test_stats_that_end_before_they_begin_are_refused(face: Face) -> None:
    status, _, answer = face.ask("GET", f"{LIST}/stats?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z")

    assert (status, answer["field"]) == (422, "until")


# The timeline


def test_the_timeline_gives_every_entry_once_newest_first(face: Face) -> None:
    number = an_incident(face, "pages")
    for n in range(6):
        face.ask("POST", f"{LIST}/{number}/notes", {"note": f"note {n}"})
    whole = face.ask("GET", f"{LIST}/{number}/timeline?limit=500")[2]

    paged: list[Any] = []
    cursor = ""
    while True:
        answer = face.ask("GET", f"{LIST}/{number}/timeline?limit=2{cursor}")[2]
        assert len(answer["entries"]) <= 2
        assert answer["total"] == len(whole["entries"])
        paged += answer["entries"]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"

    assert paged == whole["entries"]
    assert [entry["seq"] for entry in paged] == sorted((entry["seq"] for entry in paged), reverse=True)
    assert [entry["note"] for entry in paged][:6] == [f"note {n}" for n in reversed(range(6))]
    assert all(entry["because"] and all(entry["because"]) for entry in paged)
    assert paged[-1]["events"][0]["type"] == "incident_opened"


def _cursor(before: int) -> str:
    return (
        base64.urlsafe_b64encode(json.dumps({"before": before}, separators=(",", ":")).encode())
        .decode()
        .rstrip("=")
    )


def test_a_cursor_of_another_incident_or_of_no_entry_is_refused(face: Face) -> None:
    mine, other = an_incident(face, "mine"), an_incident(face, "other")
    seq = face.ask("GET", f"{LIST}/{other}/timeline")[2]["entries"][0]["seq"]

    for cursor in (_cursor(seq), _cursor(10**9), "x"):
        status, _, answer = face.ask("GET", f"{LIST}/{mine}/timeline?cursor={cursor}")
        assert (status, answer["type"]) == (400, "urn:tocsin:problem:cursor")


@pytest.mark.parametrize("part", ["timeline", "why"])
def test_what_does_not_exist_has_no_story(face: Face, part: str) -> None:
    assert face.ask("GET", f"{LIST}/999999/{part}")[0] == 404


# Why


def test_why_says_who_was_told_and_why(told: Face) -> None:
    number = an_incident(told, "why", severity="critical")

    status, _, answer = told.ask("GET", f"{LIST}/{number}/why", role=Role.VIEWER)

    assert status == 200
    assert (answer["number"], answer["left_out"]) == (number, 0)
    step = answer["steps"][0]
    assert step["received"]["scope"] == {"host": "why", "n": "x"}
    assert (step["received"]["message"], step["received"]["formula"]) == ("full", None)
    assert step["dedup"]["outcome"] == "opened"
    assert step["silences"] == {"matched": [], "because": "no silence matched it"}
    assert step["route"]["name"] == "default"
    assert [(n["kind"], n["channel"], n["address"]) for n in step["notified"]] == [("opened", "hook", "hook")]
    assert step["rate_window"]["charged"] is False
    assert 2 <= len(answer["summary"]) <= 6
    assert "rule disk (host=why, n=x) fired at critical" in answer["summary"][0]
    assert ": hook (opened" in answer["summary"][1]


def test_why_says_who_was_not_told_and_names_the_silence(told: Face) -> None:
    silence = told.ask(
        "POST", "/api/v1/silences", {"matchers": ["host=hushed"], "minutes": 60, "comment": "move"}
    )[2]
    number = an_incident(told, "hushed")

    answer = told.ask("GET", f"{LIST}/{number}/why")[2]

    (step,) = answer["steps"]
    assert step["silences"]["matched"] == [
        {"number": silence["number"], "silence_id": silence["silence_id"], "comment": "move"}
    ]
    assert [(w["reason"], w["address"]) for w in step["withheld"]] == [("suppressed", "hook")]
    assert answer["summary"][1] == "Nobody has been notified."
    assert "move" in answer["summary"][2]


def test_why_tells_what_people_did(told: Face) -> None:
    number = an_incident(told, "people")
    told.ask("POST", f"{LIST}/{number}/resolve", {"note": "unplugged"})

    answer = told.ask("GET", f"{LIST}/{number}/why")[2]

    changed = [step["changed"] for step in answer["steps"] if step["changed"]]
    assert [(c["state"], c["note"], c["until"]) for c in changed] == [("RESOLVED", "unplugged", None)]
    assert changed[0]["by"].startswith("token:")
    assert answer["summary"][-1].startswith("It is RESOLVED since")


def test_a_story_that_is_too_long_is_cut_at_its_beginning_and_says_so(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.web.api.trace.STEPS_SHOWN", 3)
    number = an_incident(face, "long")
    for _ in range(3):
        face.ask("POST", f"{LIST}/{number}/ack")
        face.ask("POST", f"{LIST}/{number}/unack")

    answer = face.ask("GET", f"{LIST}/{number}/why")[2]

    total = face.ask("GET", f"{LIST}/{number}/timeline")[2]["total"]
    assert len(answer["steps"]) == 3
    assert 0 < answer["left_out"] == total - 3
    assert f"its first {answer['left_out']} entries are left out" in answer["summary"][0]


def test_an_incident_of_the_past_can_still_be_asked_why(face: Face) -> None:
    number = an_incident(face, "past")
    face.post(ALERT | {"scope": {"host": "past", "n": "x"}, "status": "resolved"})

    answer = face.ask("GET", f"{LIST}/{number}/why")[2]

    assert answer["steps"][-1]["changed"]["state"] == "RESOLVED"
    assert answer["steps"][-1]["dedup"]["outcome"] == "resolved"


# Who is asking


@pytest.mark.parametrize("role", list(Role))
def test_everybody_may_ask_who_they_are(face: Face, role: Role) -> None:
    status, _, answer = face.ask("GET", "/api/v1/me", role=role)

    assert (status, answer["role"], answer["expires_at"]) == (200, role, None)
    assert answer["actor"].startswith("token:")
    assert "read" in answer["permissions"]
    assert ("administer" in answer["permissions"]) == (role is Role.ADMIN)


def test_a_token_that_ends_says_when(face: Face) -> None:
    made = face.ask(
        "POST", "/api/v1/tokens", {"name": "short", "role": "viewer", "expires_at": "2099-01-01T00:00:00Z"}
    )[2]
    header = {"Authorization": f"Bearer {made['token']}"}

    answer = face.ask("GET", "/api/v1/me", role=None, headers=header)[2]

    assert (answer["actor"], answer["expires_at"]) == (f"token:{made['id']}", "2099-01-01T00:00:00Z")
