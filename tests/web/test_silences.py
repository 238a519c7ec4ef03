"""Silences over HTTP: made, shown, moved and ended; maintenances; and what a preview foretells."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.runtime.house import events_of
from tests.support.server import SinkThread
from tests.web.faces import ALERT, Face, a_face
from tests.web.waiting import until

from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.notification import Withheld

SILENCES = "/api/v1/silences"
MAINTENANCES = "/api/v1/maintenances"
PREVIEW = "/api/v1/silences/preview"
HOSTILE = '"; DROP TABLE silences; --\x00\x1b[2J<script>\u202e{{7*7}}'


def an_alert(rule: str, **more: Any) -> dict[str, Any]:
    return ALERT | {"rule_id": rule} | more


def make(face: Face, *matchers: str, **more: Any) -> dict[str, Any]:
    status, _, answer = face.ask("POST", SILENCES, {"matchers": list(matchers), "minutes": 60} | more)
    assert status == 201, answer
    found: dict[str, Any] = answer
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_silence_is_shown_as_it_was_asked_for(face: Face) -> None:
    made = make(face, 'team =~ "db|web"', "host!=db-9", comment="new disks", minutes=30)

    assert made["matchers"] == ["team=~db|web", "host!=db-9"]
    assert (made["state"], made["ended_at"], made["maintenance_id"]) == ("active", None, None)
    assert made["comment"] == "new disks"
    assert made["created_by"].startswith("token:")
    assert made["created_by_name"] == "admin"
    length = at(made["ends_at"]) - at(made["starts_at"])
    assert timedelta(minutes=29) < length <= timedelta(minutes=30)
    for name in (made["silence_id"], made["number"]):
        assert face.ask("GET", f"{SILENCES}/{name}", role=Role.VIEWER)[::2] == (200, made)


def test_a_silence_withholds_and_its_end_tells_what_is_still_wrong() -> None:
    with SinkThread() as sink, a_face(sink=sink) as face:
        made = make(face, "rule_id=covered")
        face.post(an_alert("covered"))
        face.post(an_alert("other"))
        until(lambda: len(sink.requests) == 1)

        status, _, ended = face.ask("POST", f"{SILENCES}/{made['silence_id']}/end")
        until(lambda: len(sink.requests) == 2)

        assert (status, ended["state"]) == (200, "ended")
        withheld = events_of(face.node.store, ev.NotificationWithheld)
        assert [event.reason for event in withheld] == [Withheld.SUPPRESSED]
        bodies = [request.body for request in sink.requests]
        assert b'"rule_id":"other"' in bodies[0]
        assert b'"rule_id":"covered"' in bodies[1]


def test_an_incident_says_which_silences_cover_it(face: Face) -> None:
    answer = face.post(an_alert("hidden", scope={"host": "a"}))[2]
    number = answer["results"][0]["incidents"][0]["number"]
    seen = face.ask("GET", f"/api/v1/incidents/{number}", role=Role.VIEWER)[2]
    first, second = make(face, "rule_id=hidden")["number"], make(face, "host=a", "rule_id=hidden")["number"]

    detail = face.ask("GET", f"/api/v1/incidents/{number}", role=Role.VIEWER)[2]
    (listed,) = face.ask("GET", "/api/v1/incidents?rule_id=hidden", role=Role.VIEWER)[2]["incidents"]
    unacked = face.ask("POST", f"/api/v1/incidents/{number}/ack")[2]

    assert (seen["silenced"], seen["silenced_by"], seen["alerts"][0]["silenced_by"]) == (0, [], [])
    assert (detail["state"], detail["silenced"], detail["silenced_by"]) == ("OPEN", 1, [first, second])
    assert detail["alerts"][0]["silenced_by"] == [first, second]
    assert (listed["firing"], listed["silenced"]) == (1, 1)
    assert unacked["silenced_by"] == [first, second]
    status, _, refused = face.ask("POST", f"/api/v1/incidents/{number}/unsilence")
    assert status == 409
    assert (
        f"Silences S{first} and S{second} cover it: tocsin unsilence S{first} S{second}." in refused["detail"]
    )
    bulk = {"action": "unsilence", "ids": [number, number]}
    (result,) = face.ask("POST", "/api/v1/incidents/actions", bulk)[2]["results"]
    assert f"Silences S{first} and S{second} cover it" in result["detail"]
    for one in (first, second):
        face.ask("POST", f"{SILENCES}/{one}/end")
    after = face.ask("GET", f"/api/v1/incidents/{number}")[2]
    assert (after["silenced"], after["silenced_by"]) == (0, [])
    assert "cover" not in face.ask("POST", f"/api/v1/incidents/{number}/unsilence")[2]["detail"]


def test_a_silence_is_moved_and_ended(face: Face) -> None:
    made = make(face, "rule_id=moved")
    where = f"{SILENCES}/{made['number']}"
    later = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)

    moved = face.ask("POST", f"{where}/extend", {"ends_at": later.isoformat()})[2]
    sooner = face.ask("POST", f"{where}/extend", {"minutes": 5})[2]
    ended = face.ask("POST", f"{where}/end")[2]
    before = face.entries()
    again = face.ask("POST", f"{where}/end")

    assert at(moved["ends_at"]) == later
    assert at(sooner["ends_at"]) < datetime.now(UTC) + timedelta(minutes=6)
    assert ended["state"] == "ended"
    assert ended["ended_at"] is not None
    assert again[0] == 200
    assert (ended["changed"], again[2]) == (True, ended | {"changed": False})
    assert face.entries() == before
    status, _, answer = face.ask("POST", f"{where}/extend", {"minutes": 5})
    assert (status, answer["state"]) == (409, "ended")


def test_a_silence_that_begins_later_is_pending(face: Face) -> None:
    begin = datetime.now(UTC) + timedelta(days=2)

    made = make(face, "rule_id=later", starts_at=begin.isoformat(), minutes=90)

    assert made["state"] == "pending"
    assert at(made["ends_at"]) - at(made["starts_at"]) == timedelta(minutes=90)
    assert at(made["starts_at"]) == begin


def test_silences_are_listed_by_state_in_pages() -> None:
    with a_face() as face:
        numbers: dict[str, list[int]] = {"pending": [], "active": [], "ended": []}
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        for position in range(9):
            if position % 3 == 0:
                numbers["pending"].append(make(face, f"n={position}", starts_at=tomorrow)["number"])
                continue
            number = make(face, f"n={position}")["number"]
            if position % 3 == 1:
                numbers["active"].append(number)
            else:
                face.ask("POST", f"{SILENCES}/{number}/end")
                numbers["ended"].append(number)

        for state in (None, "pending", "active", "ended"):
            query = f"state={state}" if state else ""
            expected = sorted(
                numbers[state] if state else [n for some in numbers.values() for n in some], reverse=True
            )
            found, cursor = [], ""
            while cursor is not None:
                page = face.ask(
                    "GET", f"{SILENCES}?limit=2&{query}" + (f"&cursor={cursor}" if cursor else "")
                )[2]
                assert page["total"] == len(expected)
                assert page["filters"] == ({"state": state} if state else {})
                assert len(page["silences"]) <= 2
                found += [silence["number"] for silence in page["silences"]]
                cursor = page["next_cursor"]
            assert found == expected, state


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"matchers": [], "minutes": 5}, "matchers"),
        ({"matchers": ["rule_id=~.*"], "minutes": 5}, "matchers"),
        ({"matchers": ["host!=\"\\u2603\""], "minutes": 5, "ends_at": "2099-01-01T00:00:00Z"}, "ends_at"),
        ({"matchers": ["host=a"]}, "ends_at"),
        ({"matchers": ["host=a", "nothing"], "minutes": 5}, "matchers[1]"),
        ({"matchers": ["host=~(?=a)"], "minutes": 5}, "matchers[0]"),
        ({"matchers": ["host=~((("], "minutes": 5}, "matchers[0]"),
        ({"matchers": ["host=a"], "ends_at": "2001-01-01T00:00:00Z"}, "ends_at"),
        (
            {"matchers": ["host=a"], "starts_at": "2099-01-02T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"},
            "ends_at",
        ),
        (
            {
                "matchers": ["host=a"],
                "minutes": 5,
                "recurrence": {
                    "rrule": "FREQ=DAILY", "zone": "UTC", "begins": "2026-01-01T00:00", "minutes": 5,
                },
            },
            "recurrence",
        ),
    ],
)  # fmt: skip
def test_a_silence_that_cannot_be_is_refused_and_nothing_is_stored(
    face: Face, form: dict[str, Any], field: str
) -> None:
    before = face.entries()

    status, headers, answer = face.ask("POST", SILENCES, form)

    assert (status, answer.get("field")) == (422, field), answer
    assert headers["content-type"] == "application/problem+json"
    assert face.entries() == before


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"colour": 1}, "colour"), ({"matchers": "host=a"}, "matchers"), ({"matchers": [7]}, "matchers.0"),
        ({"matchers": ["a=b"] * 33}, "matchers"), ({"matchers": ["a=" + "b" * 3000]}, "matchers.0"),
        ({"minutes": 0}, "minutes"), ({"minutes": "5"}, "minutes"), ({"minutes": 525_601}, "minutes"),
        ({"starts_at": "soon"}, "starts_at"), ({"starts_at": "2026-01-01T00:00:00"}, "starts_at"),
        ({"ends_at": 5}, "ends_at"), ({"force": 1}, "force"), ({"comment": "\ud800"}, "comment"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(face: Face, more: dict[str, Any], field: str) -> None:
    status, _, answer = face.ask("POST", SILENCES, {"matchers": ["a=b"], "minutes": 5} | more)

    assert status == 422
    assert answer["errors"][0]["field"] == field


@pytest.mark.parametrize("matchers", [[], ["rule_id=~.*"], ["severity=~info|warning|error|critical"]])
def test_a_silence_over_everything_wants_to_be_insisted_on(matchers: list[str]) -> None:
    with a_face() as face:
        refused = face.ask("POST", SILENCES, {"matchers": matchers, "minutes": 1})
        made = face.ask("POST", SILENCES, {"matchers": matchers, "minutes": 1, "force": True})

        assert refused[0] == 422
        assert "force" in refused[2]["detail"]
        assert made[0] == 201
        assert made[2]["state"] == "active"


def test_hostile_text_comes_back_as_it_was_given(face: Face) -> None:
    made = make(face, f'host="{HOSTILE}"', f"{'x' * 200}!~{HOSTILE[:8]}", comment=HOSTILE)

    shown = face.ask("GET", f"{SILENCES}/{made['silence_id']}")[2]

    assert shown["comment"] == HOSTILE
    assert make(face, *shown["matchers"])["matchers"] == shown["matchers"]
    assert HOSTILE in shown["matchers"][0]


@pytest.mark.parametrize("name", ["0", "-1", "999999", "x", "f" * 32, "%00", "9" * 4000, "01"])
def test_what_is_not_there_is_not_found(face: Face, name: str) -> None:
    for method, path, body in (
        ("GET", f"{SILENCES}/{name}", None),
        ("POST", f"{SILENCES}/{name}/extend", {"minutes": 5}),
        ("POST", f"{SILENCES}/{name}/end", None),
        ("POST", f"{MAINTENANCES}/{name}/end", None),
    ):
        status, headers, answer = face.ask(method, path, body)
        assert status == 404, (method, path)
        assert headers["content-type"] == "application/problem+json"
        assert "List them" in answer["detail"]


def test_a_cursor_of_somebody_else_is_refused(face: Face) -> None:
    for path in (SILENCES, f"{SILENCES}?state=active&", MAINTENANCES):
        status, _, answer = face.ask("GET", f"{path}{'' if '?' in path else '?'}cursor=e30")
        assert (status, answer["field"]) == (400, "cursor")


# Maintenances


def recur(face: Face, **more: Any) -> dict[str, Any]:
    recurrence = {"rrule": "FREQ=DAILY", "zone": "UTC", "begins": "2026-01-01T02:00", "minutes": 60}
    status, _, answer = face.ask(
        "POST",
        SILENCES,
        {"matchers": ["rule_id=backup"], "recurrence": recurrence | more, "comment": "nightly"},
    )
    assert status == 201, answer
    found: dict[str, Any] = answer
    return found


def test_a_maintenance_shows_its_coming_windows(face: Face) -> None:
    made = recur(face, rrule="FREQ=WEEKLY;BYDAY=SU", zone="Europe/Berlin", minutes=90)

    assert (made["rrule"], made["zone"], made["begins"]) == (
        "FREQ=WEEKLY;BYDAY=SU",
        "Europe/Berlin",
        "2026-01-01T02:00",
    )
    assert (made["minutes"], made["over"], made["comment"]) == (90, False, "nightly")
    assert len(made["next"]) == 5
    begins = [at(window["starts_at"]) for window in made["next"]]
    assert all(at(w["ends_at"]) - at(w["starts_at"]) == timedelta(minutes=90) for w in made["next"])
    assert all(begin.isoweekday() == 7 for begin in begins)
    assert made["next_at"] in [window["starts_at"] for window in made["next"]]
    assert face.ask("GET", f"{SILENCES}/{made['maintenance_id']}")[2] == made
    assert made in face.ask("GET", MAINTENANCES)[2]["maintenances"]


def last_sunday(month: int) -> date:
    """Give the day of next year on which Europe's clocks change."""
    end = date(datetime.now(UTC).year + 1, month, 31)
    return end - timedelta(days=end.isoweekday() % 7)


def test_windows_keep_their_wall_time_when_the_clocks_change(face: Face) -> None:
    spring, autumn, day = last_sunday(3), last_sunday(10), timedelta(days=1)

    def starts(first: date) -> list[str]:
        made = recur(
            face, rrule="FREQ=DAILY;COUNT=3", zone="Europe/Berlin", begins=f"{first}T02:00", minutes=30
        )
        assert made["next_at"] == made["next"][0]["starts_at"]
        return [window["starts_at"] for window in made["next"]]

    # On that Sunday in spring there is no 02:00; it is taken as 03:00 summer time, which is 01:00 UTC.
    assert starts(spring - day) == [
        f"{spring - day}T01:00:00Z",
        f"{spring}T01:00:00Z",
        f"{spring + day}T00:00:00Z",
    ]
    # In autumn 02:00 comes twice; the first one is taken.
    assert starts(autumn - day) == [
        f"{autumn - day}T00:00:00Z",
        f"{autumn}T00:00:00Z",
        f"{autumn + day}T01:00:00Z",
    ]


def test_an_open_window_acts_as_a_silence_and_both_end_together() -> None:
    with a_face() as face:
        begins = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M")
        made = recur(face, begins=begins, minutes=60)
        until(lambda: face.ask("GET", f"{SILENCES}?state=active")[2]["total"] == 1)
        (silence,) = face.ask("GET", f"{SILENCES}?state=active")[2]["silences"]

        assert silence["maintenance_id"] == made["maintenance_id"]
        assert (silence["matchers"], silence["comment"]) == (made["matchers"], made["comment"])

        for _ in range(2):
            ended = face.ask("POST", f"{MAINTENANCES}/{made['number']}/end")
            assert ended[0] == 200
            assert (ended[2]["over"], ended[2]["next"], ended[2]["next_at"]) == (True, [], None)
        assert face.ask("GET", f"{SILENCES}/{silence['number']}")[2]["state"] == "ended"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"rrule": "FREQ=SECONDLY"}, "rrule"), ({"rrule": "nonsense"}, "rrule"), ({"zone": "Mars/Base"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"), ({"begins": "tomorrow"}, "begins"),
        ({"begins": "2026-01-01T02:00Z"}, "begins"), ({"rrule": "FREQ=DAILY;UNTIL=20260102T000000"}, "rrule"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "rrule"),
    ],
)  # fmt: skip
def test_a_recurrence_that_cannot_be_is_refused(face: Face, more: dict[str, Any], field: str) -> None:
    recurrence = {"rrule": "FREQ=DAILY", "zone": "UTC", "begins": "2026-01-01T02:00", "minutes": 60}
    before = face.entries()

    status, _, answer = face.ask("POST", SILENCES, {"matchers": ["a=b"], "recurrence": recurrence | more})

    assert (status, answer["field"]) == (422, field)
    assert face.entries() == before


# Preview


@pytest.fixture(scope="module")
def seen() -> Any:
    """30 alerts of `disk` that fire, 5 of `net` that are over."""
    with a_face() as face:
        for number in range(30):
            face.post(an_alert("disk", scope={"host": f"db-{number}"}, severity="critical"))
        for number in range(5):
            over = an_alert("net", scope={"host": f"web-{number}"})
            face.post(over)
            face.post(over | {"status": "resolved"})
        yield face


def ask(face: Face, *matchers: str, **more: Any) -> dict[str, Any]:
    status, _, answer = face.ask("POST", PREVIEW, {"matchers": list(matchers)} | more, role=Role.VIEWER)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def test_a_preview_says_what_would_be_silent_now_and_decides_nothing(seen: Face) -> None:
    before = seen.entries()

    answer = ask(seen, "rule_id=disk", "host=~db-.*")

    assert (answer["matches_now"]["alerts"], answer["matches_now"]["incidents_total"]) == (30, 30)
    assert [incident["number"] for incident in answer["matches_now"]["incidents"]] == list(range(30, 10, -1))
    assert (answer["last_days"]["days"], answer["last_days"]["alerts"]) == (7, 30)
    assert answer["last_days"]["alerts_total_seen"] == 35
    assert answer["covers_everything"] is False
    assert answer["matchers"] == ["rule_id=disk", "host=~db-.*"]
    sample = answer["last_days"]["sample"]
    assert [one["scope"]["host"] for one in sample] == [f"db-{number}" for number in range(29, 9, -1)]
    assert {one["severity"] for one in sample} == {"critical"}
    assert seen.entries() == before


@pytest.mark.parametrize(
    ("matchers", "now", "lately"),
    [
        (["rule_id=net"], 0, 5),
        (["severity=critical"], 30, 30),
        (["severity!=critical"], 0, 5),
        (["team="], 30, 35),  # An absent label reads as the empty one,
        (["team!=db"], 30, 35),  # so it is different from any other.
        (["team=~.+"], 0, 0),
        (["host=~db-1"], 1, 1),  # Patterns are anchored at both ends.
        (["host!~db-.*"], 0, 5),
        (["host=db-1", "host=db-2"], 0, 0),
        (["rule_id=~.*"], 30, 35),
    ],
)
def test_matchers_mean_the_same_as_in_a_silence(
    seen: Face, matchers: list[str], now: int, lately: int
) -> None:
    answer = ask(seen, *matchers, days=1)

    assert (answer["matches_now"]["alerts"], answer["last_days"]["alerts"]) == (now, lately)


def test_a_preview_warns_of_what_covers_everything(seen: Face) -> None:
    assert ask(seen, "rule_id=~.*")["covers_everything"] is True


@pytest.mark.parametrize(
    "form", [{"matchers": []}, {"matchers": ["a=b"], "days": 0}, {"matchers": ["a=b"], "days": 91}, {}]
)
def test_a_preview_of_nothing_is_refused(seen: Face, form: dict[str, Any]) -> None:
    assert seen.ask("POST", PREVIEW, form)[0] == 422


def test_a_pattern_that_would_hold_others_up_takes_no_longer_than_its_text(seen: Face) -> None:
    seen.post(an_alert("long", scope={"host": "a" * 10_000}))

    answer = ask(seen, "host=~(a+)+b", "host=~(a|a)*(a|a)*(a|a)*c")

    assert answer["matches_now"]["alerts"] == 0


def test_alerts_are_accepted_while_previews_look(seen: Face) -> None:
    inside, go_on = threading.Event(), threading.Event()
    looked = seen.node.store.alerts_seen
    answers: list[dict[str, Any]] = []

    def held(since: int) -> Any:
        inside.set()
        assert go_on.wait(20)
        return looked(since)

    seen.store.alerts_seen = held  # type: ignore[method-assign]
    try:
        asking = threading.Thread(target=lambda: answers.append(ask(seen, "rule_id=meanwhile")))
        asking.start()
        assert inside.wait(20)
        accepted = seen.post(an_alert("meanwhile"))[0]
        go_on.set()
        asking.join(20)
    finally:
        del seen.store.alerts_seen

    assert accepted == 200
    assert answers[0]["matches_now"]["alerts"] == 1
