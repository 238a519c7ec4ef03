"""Erasing over HTTP: what is erased is in no answer any more, what goes on cannot be, and the ledger stays sound."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.runtime.house import a_policy
from tests.support.http_sink import Reply
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face
from tests.web.following import following
from tests.web.waiting import on_its_loop, until

from tocsin.core.ledger.encoding import read_header, unpack
from tocsin.core.ledger.verify import verify
from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.input import Basis, PolicyChanged
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, Route
from tocsin.runtime.housekeeper import Housekeeper

ERASURES = "/api/v1/ledger/erasures"
ANNA = 'Anna "Canary" Müller'
IN_JSON = json.dumps(ANNA, ensure_ascii=False)[1:-1]


def erase(face: Face, **form: Any) -> tuple[int, dict[str, Any]]:
    status, _, answer = face.ask("POST", ERASURES, {"reason": "asked for by letter 7"} | form)
    return status, answer


def erased(face: Face, **form: Any) -> dict[str, Any]:
    status, answer = erase(face, **form)
    assert status == 200, answer
    return answer


def an_incident(face: Face, rule: str, **more: Any) -> int:
    status, _, answer = face.post(ALERT | {"rule_id": rule} | more)
    assert status == 200, answer
    number: int = answer["results"][0]["incidents"][0]["number"]
    return number


def act(face: Face, number: int, what: str, **form: Any) -> None:
    status, _, answer = face.ask("POST", f"/api/v1/incidents/{number}/{what}", form)
    assert status == 200, answer


def is_sound(face: Face) -> bool:
    store, head = face.node.store, face.node.store.head()
    found = verify(store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)
    assert found.is_sound, found
    return found.is_sound


def bare(face: Face) -> list[int]:
    """Give the entries without a private part."""
    return [
        segment.first_seq + place
        for segment in face.node.store.segments()
        for place, (_, _, private) in enumerate(unpack(segment.data))
        if not private
    ]


def entries_of(face: Face, number: int) -> list[int]:
    timeline = face.ask("GET", f"/api/v1/incidents/{number}/timeline?limit=200")[2]
    return sorted(entry["seq"] for entry in timeline["entries"])


def everything_said(face: Face) -> dict[str, str]:
    """Give what every route answers that shows something which was recorded."""
    said: dict[str, str] = {}

    def ask(path: str, method: str = "GET", body: object = None) -> Any:
        status, _, answer = face.ask(method, path, body)
        assert status == 200, (path, answer)
        said[f"{method} {path}"] = (
            answer.decode(errors="replace")
            if isinstance(answer, bytes)
            else json.dumps(answer, ensure_ascii=False)
        )
        return answer

    for one in ask("/api/v1/incidents?limit=200")["incidents"]:
        for part in ("", "/timeline?limit=200", "/why", "/proof"):
            ask(f"/api/v1/incidents/{one['number']}{part}")
    ask("/api/v1/incidents/stats")
    for one in ask("/api/v1/deliveries?limit=200")["deliveries"]:
        ask(f"/api/v1/deliveries/{one['number']}")
        ask(f"/api/v1/deliveries/{one['number']}/preview")
    for one in ask("/api/v1/silences")["silences"]:
        ask(f"/api/v1/silences/{one['silence_id']}")
    for one in ask("/api/v1/maintenances")["maintenances"]:
        ask(f"/api/v1/silences/{one['maintenance_id']}")
    for one in ask("/api/v1/policy/history")["policies"]:
        ask(f"/api/v1/policy/{one['version']}")
        ask(f"/api/v1/policy/diff?from=1&to={one['version']}")
    ask("/api/v1/silences/preview", "POST", {"matchers": ["rule_id=~.*"]})
    for path in ("/api/v1/policy", "/api/v1/tokens", "/api/v1/ledger", "/api/v1/channels", "/metrics", "/ledger/tile/entries/000.p/4"):  # fmt: skip
        ask(path)
    with following(face.port, face.tokens[Role.ADMIN], "?after=-1") as stream:
        said["events"] = json.dumps(stream.take(face.entries()), ensure_ascii=False)
    said["ledger"] = b"".join(segment.data for segment in face.node.store.segments()).decode(errors="replace")
    return said


def who_says(face: Face, text: str) -> set[str]:
    """Name the answers in which a text stands, as JSON writes it or as it is."""
    return {
        name
        for name, said in everything_said(face).items()
        if IN_JSON.casefold() in said.casefold() or text.casefold() in said.casefold()
    }


@pytest.fixture
def marked() -> Iterator[Face]:
    """A server on which Anna was everywhere, and on which all of that is over."""
    said_by_her = Reply(status=410, body=ANNA.encode())
    with SinkThread(said_by_her) as sink:
        policy = a_policy("hook")
        targets = (
            *policy.targets,
            Target(id="0a1b2c3d4e5f6071", channel="hook", address=f"{ANNA} <a@x.org>"),
        )
        with a_face(sink=sink, signs=True, policy=msgspec.structs.replace(policy, targets=targets)) as face:
            on_its_loop(face, face.node.ask(PolicyChanged(policy=policy), "settings"))
            by_text = an_incident(
                face, "disk", message=f"{ANNA} is on call", scope={"owner": ANNA}, annotations={"who": ANNA},
                evidence={"said": [ANNA]}, links=[{"href": "https://x.org", "text": ANNA}], source=ANNA,
            )  # fmt: skip
            by_note = an_incident(face, "net")
            until(
                lambda: all(one["state"] == "dead" for one in deliveries(face)) and len(deliveries(face)) >= 2
            )
            act(face, by_note, "ack", note=f"{ANNA} knows")
            act(face, by_note, "notes", note=ANNA)
            act(face, by_note, "resolve", note=ANNA)
            act(face, by_text, "resolve")
            status, _, made = face.ask("POST", "/api/v1/silences", {"matchers": [f"owner={ANNA}"], "comment": ANNA, "minutes": 9})  # fmt: skip
            assert status == 201, made
            face.ask("POST", f"/api/v1/silences/{made['silence_id']}/end")
            recurrence = {"rrule": "FREQ=DAILY", "zone": "UTC", "begins": "2030-01-01T00:00", "minutes": 5}
            status, _, made = face.ask("POST", "/api/v1/silences", {"matchers": ["a=b"], "comment": ANNA, "recurrence": recurrence})  # fmt: skip
            assert status == 201, made
            face.ask("POST", f"/api/v1/maintenances/{made['maintenance_id']}/end")
            status, _, token = face.ask("POST", "/api/v1/tokens", {"name": ANNA, "role": "viewer"})
            assert status == 201, token
            face.ask("DELETE", f"/api/v1/tokens/{token['id']}")
            yield face


def deliveries(face: Face) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = face.ask("GET", "/api/v1/deliveries?limit=200")[2]["deliveries"]
    return found


# Everything about somebody


def test_what_is_erased_about_somebody_is_in_no_answer_any_more(marked: Face) -> None:
    before = who_says(marked, ANNA)
    size = marked.entries()
    assert len(before) >= 15, before  # Else this test would show nothing.

    answer = erased(marked, subject=ANNA)

    assert who_says(marked, ANNA) == set()
    assert bare(marked) == answer["entries"]
    assert answer["incidents"] == [1, 2]
    assert is_sound(marked)
    (event,) = marked.events(size)
    assert isinstance(event, ev.PrivateErased)
    assert event.basis is Basis.SUBJECT
    entry = marked.node.store.entry(size)
    assert entry is not None
    assert read_header(entry[0]).kind == "erased"
    assert "asked for by letter 7" in entry[2].decode()


def test_what_was_decided_stays_when_its_words_are_gone(marked: Face) -> None:
    path = "/api/v1/incidents/1"
    before = marked.ask("GET", path)[2]

    erased(marked, subject=ANNA)

    after = marked.ask("GET", path)[2]
    assert (after["title"], after["labels"]) == ("", {})
    for name in ("incident_id", "number", "state", "severity", "rule_id", "opened_at", "resolved_at"):
        assert after[name] == before[name], name
    assert [one["state"] for one in after["deliveries"]] == [one["state"] for one in before["deliveries"]]
    assert {one["address"] for one in deliveries(marked)} <= {"hook", ""}


def test_the_same_is_found_once_and_whatever_its_case(marked: Face) -> None:
    planned = erased(marked, subject=f"  {ANNA.upper()} ", dry_run=True)

    answer = erased(marked, subject=ANNA.lower())
    size = marked.entries()
    again = erased(marked, subject=ANNA)

    assert answer == planned | {"dry_run": False}
    assert again == {"dry_run": False, "entries": [], "incidents": []}
    assert marked.entries() == size


def test_a_dry_run_erases_nothing(marked: Face) -> None:
    before, size = everything_said(marked), marked.entries()

    answer = erased(marked, subject=ANNA, dry_run=True)

    assert answer["dry_run"] is True
    assert len(answer["entries"]) > 6
    assert marked.entries() == size
    after = everything_said(marked)
    volatile = {name for name in before if re.search("proof|ledger|metrics|stats|me$", name)}
    assert {name: said for name, said in after.items() if name not in volatile} == {
        name: said for name, said in before.items() if name not in volatile
    }


def test_an_incident_whose_words_are_gone_is_still_proven(marked: Face) -> None:
    erased(marked, subject=ANNA)

    status, _, made = marked.ask("GET", "/api/v1/incidents/1/proof", role=Role.AUDITOR)

    assert status == 200
    assert None in [entry["private"] for entry in made["entries"]]
    assert all(entry["decision"] for entry in made["entries"])


# Single entries


def test_one_entry_is_erased_and_no_other() -> None:
    with a_face() as face:
        number, other = an_incident(face, "disk", message="Anna"), an_incident(face, "net", message="Ben")
        act(face, number, "resolve")
        first = entries_of(face, number)[0]

        answer = erased(face, entries=[first, first])

        assert answer == {"dry_run": False, "entries": [first], "incidents": [number]}
        assert bare(face) == [first]
        assert "Anna" not in json.dumps(face.ask("GET", f"/api/v1/incidents/{number}")[2])
        assert "Ben" in json.dumps(face.ask("GET", f"/api/v1/incidents/{other}")[2])
        assert is_sound(face)
        # Once more is on the record, and changes nothing.
        erased(face, entries=[first])
        assert bare(face) == [first]
        assert is_sound(face)


def test_an_incident_that_comes_back_after_its_words_were_erased_is_told_in_new_ones() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        trouble = {"scope": {"owner": "Anna"}, "message": "Anna's disk"}
        number = an_incident(face, "disk", **trouble)
        face.post(ALERT | trouble | {"status": "resolved"})
        until(
            lambda: len(sink.requests) == 2 and all(one["state"] == "delivered" for one in deliveries(face))
        )
        erased(face, entries=entries_of(face, number))
        assert "Anna" not in json.dumps(face.ask("GET", f"/api/v1/incidents/{number}")[2])

        again = an_incident(face, "disk", **trouble)
        until(lambda: len(sink.requests) == 3)

        found = face.ask("GET", f"/api/v1/incidents/{again}")[2]
        assert (again, found["generation"]) == (number, 2)
        # Its title was put together when it opened; its alerts say what is known now.
        assert found["title"] == ""
        assert [alert["message"] for alert in found["alerts"]] == ["Anna's disk"]
        assert '"title":"disk"' in sink.requests[2].body.decode()
        assert "Anna's disk" in sink.requests[2].body.decode()
        assert is_sound(face)


# What cannot be


def test_what_is_about_an_open_incident_cannot_be_erased() -> None:
    with a_face() as face:
        number = an_incident(face, "disk", message="Anna")
        first, size = entries_of(face, number)[0], face.entries()

        for form in ({"entries": [0, first]}, {"subject": "Anna"}):
            status, problem = erase(face, **form)
            assert (status, problem["state"]) == (409, "OPEN")
            assert f"#{number}" in problem["detail"]

        assert face.entries() == size
        assert bare(face) == []
        act(face, number, "resolve")
        assert erased(face, subject="Anna")["incidents"] == [number]


@pytest.mark.parametrize("kind", ["silences", "maintenances"])
def test_what_made_a_silence_that_acts_cannot_be_erased(kind: str) -> None:
    form: dict[str, Any] = {"matchers": ["a=b"], "comment": "Anna", "minutes": 60}
    if kind == "maintenances":
        del form["minutes"]
        form["recurrence"] = {
            "rrule": "FREQ=DAILY",
            "zone": "UTC",
            "begins": "2030-01-01T00:00",
            "minutes": 5,
        }
    with a_face() as face:
        made = face.ask("POST", "/api/v1/silences", form)[2]

        status, problem = erase(face, subject="Anna")
        assert (status, problem["state"]) == (409, "active")
        assert bare(face) == []

        name = made["maintenance_id" if kind == "maintenances" else "silence_id"]
        assert face.ask("POST", f"/api/v1/{kind}/{name}/end")[0] == 200
        assert len(erased(face, subject="Anna")["entries"]) >= 1
        assert is_sound(face)


def test_the_addresses_of_the_policy_in_force_cannot_be_erased() -> None:
    policy = msgspec.structs.replace(a_policy(), targets=(Target(id="0a1b2c3d4e5f6071", channel="hook", address="anna@x.org"),))  # fmt: skip
    with a_face(policy=policy, signs=True) as face:
        status, problem = erase(face, subject="anna@x.org")
        assert (status, problem["state"]) == (409, "in force")

        on_its_loop(face, face.node.ask(PolicyChanged(policy=a_policy()), "settings"))
        answer = erased(face, subject="anna@x.org")

        assert len(answer["entries"]) >= 1
        assert who_says(face, "anna@x.org") == set()
        assert is_sound(face)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({}, "entries"),
        ({"entries": [1], "subject": "Anna"}, "entries"),
        ({"entries": []}, "entries"),
        ({"subject": "ab"}, "subject"),
        ({"subject": "  a  "}, "subject"),
        ({"subject": "x" * 1001}, "subject"),
        ({"entries": [-1]}, "entries.0"),
        ({"entries": ["1"]}, "entries.0"),
        ({"entries": [True]}, "entries.0"),
        ({"entries": list(range(10_001))}, "entries"),
        ({"entries": [0], "reason": ""}, "reason"),
        ({"entries": [0], "dry_run": "yes"}, "dry_run"),
        ({"entries": [0], "more": 1}, "more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_form_that_does_not_say_what_is_refused(face: Face, form: dict[str, Any], field: str) -> None:
    size = face.entries()

    status, problem = erase(face, **form)

    assert status == 422, problem
    assert field in json.dumps(problem)
    assert face.entries() == size


def test_an_entry_that_is_not_there_is_not_erased(face: Face) -> None:
    size = face.entries()

    status, problem = erase(face, entries=[0, size])

    assert (status, face.entries()) == (404, size)
    assert str(size) in problem["detail"]


# What is no longer kept


def test_the_housekeeper_lets_go_of_what_is_old_and_the_answers_go_on() -> None:
    soon = Route(name="default", group_by=(ALL_LABELS,), reopen_within=0)
    with a_face(signs=True, policy=msgspec.structs.replace(a_policy(), routes=soon)) as face:
        numbers = [an_incident(face, f"rule-{n}", message="Anna") for n in range(3)]
        for number in numbers[:2]:
            face.post(ALERT | {"rule_id": f"rule-{number - 1}", "status": "resolved"})
        until(lambda: not any(face.node.store.is_live(number) for number in numbers[:2]))
        keep = 3_600_000_000
        in_an_hour = face.node.clock.now() + keep

        class Later:
            def now(self) -> int:
                return in_an_hour

        keeper = Housekeeper(face.node.store, Later(), face.node._keep_house, lambda: keep)

        async def keep_house() -> None:
            while await keeper.step():
                pass

        on_its_loop(face, keep_house())

        listed = face.ask("GET", "/api/v1/incidents")[2]
        assert [one["number"] for one in listed["incidents"]] == [numbers[2]]
        assert listed["total"] == 1
        for number in numbers[:2]:
            for part in ("", "/timeline", "/why", "/proof", "/envelope"):
                assert face.ask("GET", f"/api/v1/incidents/{number}{part}")[0] in (404, 409)
        everything_said(face)
        assert is_sound(face)
        assert any(isinstance(event, ev.IncidentsPruned) for event in face.events())
        assert "Anna" in json.dumps(face.ask("GET", f"/api/v1/incidents/{numbers[2]}")[2])
