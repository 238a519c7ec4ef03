"""Tokens over HTTP: shown once, never worth more than their maker, dead when they should be, and never all gone."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.runtime.house import events_of
from tests.web.faces import Answer, Face, a_face
from tests.web.waiting import until

from tocsin.core.model import event as ev
from tocsin.core.model.access import Permission, Role

TOKENS = "/api/v1/tokens"
INCIDENTS = "/api/v1/incidents"
HOSTILE = "ops\x1b[2J<script>\u202e"


def make(face: Face, name: str = "ci", role: str = "viewer", **more: Any) -> dict[str, Any]:
    status, headers, answer = face.ask("POST", TOKENS, {"name": name, "role": role} | more)
    assert status == 201, answer
    assert headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer
    return found


def use(face: Face, token: str, method: str = "GET", path: str = INCIDENTS, body: object = None) -> Answer:
    return face.ask(method, path, body, role=None, headers={"Authorization": f"Bearer {token}"})


def test_a_token_is_shown_once_and_works_at_once() -> None:
    with a_face() as face:
        made = make(face, HOSTILE, "service", per_minute=600)

        assert made["token"].startswith("toc_")
        assert (made["name"], made["role"], made["scopes"], made["per_minute"]) == (
            HOSTILE,
            "service",
            [],
            600,
        )
        assert (made["expires_at"], made["revoked_at"]) == (None, None)
        assert use(face, made["token"])[0] == 200
        listed = face.ask("GET", TOKENS, role=Role.AUDITOR)[2]
        assert listed["total"] == len(listed["tokens"]) == len(Role) + 1
        assert listed["tokens"][0] == {name: made[name] for name in made if name != "token"}
        secret = made["token"].rpartition("_")[2]
        assert secret not in json.dumps(listed)
        assert all("hash" not in token for token in listed["tokens"])
        assert not any(secret.encode() in segment.data for segment in face.node.store.segments())
        (created,) = events_of(face.node.store, ev.TokenCreated)
        assert (created.token, created.role) == (made["id"], Role.SERVICE)


def test_scopes_narrow_what_a_role_may(face: Face) -> None:
    made = make(face, role="admin", scopes=["read", "silence"])

    assert made["scopes"] == ["read", "silence"]
    assert use(face, made["token"])[0] == 200
    status, _, answer = use(face, made["token"], "GET", TOKENS)
    assert (status, answer["permission"]) == (403, "read-ledger")


def test_an_expired_token_opens_nothing(face: Face) -> None:
    soon = datetime.now(UTC) + timedelta(days=2)
    made = make(face, expires_at=soon.isoformat())
    by_days = make(face, expires_in_days=3)

    assert datetime.fromisoformat(made["expires_at"]) == soon
    assert datetime.fromisoformat(by_days["expires_at"]) - datetime.now(UTC) > timedelta(days=2, hours=23)
    assert use(face, made["token"])[0] == use(face, by_days["token"])[0] == 200

    face.node.clock.not_before(int((soon + timedelta(seconds=1)).timestamp()) * 1_000_000)

    assert use(face, made["token"])[0] == 401
    assert use(face, by_days["token"])[0] == 200


def test_a_revoked_token_opens_nothing_from_the_answer_on() -> None:
    with a_face() as face:
        made = make(face)
        assert use(face, made["token"])[0] == 200

        status, _, answer = face.ask("DELETE", f"{TOKENS}/{made['id']}")

        assert (status, answer["id"]) == (200, made["id"])
        assert use(face, made["token"])[0] == 401
        assert face.ask("DELETE", f"{TOKENS}/{made['id']}")[::2] == (200, answer)
        assert [e.token for e in face.events() if isinstance(e, ev.TokenRevoked)] == [made["id"]]
        (listed,) = [one for one in face.ask("GET", TOKENS)[2]["tokens"] if one["id"] == made["id"]]
        assert listed["revoked_at"] == answer["revoked_at"]


def test_the_last_admin_stays_unless_it_is_insisted() -> None:
    with a_face() as face:
        (only,) = [one for one in face.ask("GET", TOKENS)[2]["tokens"] if one["role"] == "admin"]
        make(face, role="admin", scopes=["read"])  # It cannot make tokens, so it does not count.

        status, _, answer = face.ask("DELETE", f"{TOKENS}/{only['id']}")

        assert (status, answer["state"]) == (409, "last")
        assert face.ask("GET", TOKENS)[0] == 200
        assert face.ask("DELETE", f"{TOKENS}/{only['id']}?force=true")[0] == 200
        assert face.ask("GET", TOKENS)[0] == 401


def test_two_admins_cannot_revoke_each_other_at_once() -> None:
    with a_face() as face:
        first = next(one["id"] for one in face.ask("GET", TOKENS)[2]["tokens"] if one["role"] == "admin")
        made = make(face, role="admin")
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(face.ask("DELETE", f"{TOKENS}/{made['id']}")[0])),
            threading.Thread(
                target=lambda: statuses.append(use(face, made["token"], "DELETE", f"{TOKENS}/{first}")[0])
            ),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        # Whoever comes second is not admitted any more, or may not revoke the last one.
        assert sorted(statuses)[0] == 200
        assert sorted(statuses)[1] in (401, 409)


def test_nobody_makes_a_token_that_may_more_than_they_may() -> None:
    with a_face() as face:
        narrow = make(face, role="admin", scopes=["read", "administer"])["token"]

        status, _, answer = use(face, narrow, "POST", TOKENS, {"name": "more", "role": "admin"})

        assert status == 403
        assert answer["permission"] in set(Permission)
        assert len(events_of(face.node.store, ev.TokenCreated)) == 1
        until(lambda: len(events_of(face.node.store, ev.AccessRefused)) == 1)
        same = {"name": "same", "role": "admin", "scopes": ["administer"]}
        assert use(face, narrow, "POST", TOKENS, same)[0] == 201


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"role": "viewer"}, "name"), ({"name": "", "role": "viewer"}, "name"), ({"name": "a", "role": "root"}, "role"),
        ({"name": "a", "role": "viewer", "scopes": ["send"]}, "scopes"),
        ({"name": "a", "role": "viewer", "scopes": ["fly"]}, "scopes.0"),
        ({"name": "a", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "role": "viewer", "expires_in_days": 0}, "expires_in_days"),
        (
            {"name": "a", "role": "viewer", "expires_in_days": 1, "expires_at": "2099-01-01T00:00:00Z"},
            "expires_at",
        ),
        ({"name": "a", "role": "viewer", "per_minute": -1}, "per_minute"),
        ({"name": "a", "role": "viewer", "token": "toc_mine"}, "token"),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_is_refused(face: Face, form: dict[str, Any], field: str) -> None:
    before = face.entries()

    status, _, answer = face.ask("POST", TOKENS, form)

    assert status == 422
    assert field in (answer.get("field"), answer.get("errors", [{}])[0].get("field"))
    assert face.entries() == before


def test_tokens_come_in_pages_newest_first() -> None:
    with a_face() as face:
        made = [make(face, f"t{number}")["id"] for number in range(5)]
        found, query = [], ""
        while True:
            answer = face.ask("GET", f"{TOKENS}?limit=3{query}")[2]
            found += [token["id"] for token in answer["tokens"]]
            if answer["next_cursor"] is None:
                break
            query = f"&cursor={answer['next_cursor']}"

        assert found[:5] == made[::-1]
        assert len(found) == len(set(found)) == answer["total"]


@pytest.mark.parametrize("name", ["nobody", "%00", "x" * 3000])
def test_a_token_that_is_not_there_is_not_found(face: Face, name: str) -> None:
    assert face.ask("DELETE", f"{TOKENS}/{name}")[0] == 404


def test_only_an_auditor_lists_and_only_an_admin_changes(face: Face) -> None:
    for role in (Role.SERVICE, Role.ANALYST, Role.VIEWER):
        assert face.ask("GET", TOKENS, role=role)[0] == 403
    for role in (Role.SERVICE, Role.ANALYST, Role.VIEWER, Role.AUDITOR):
        assert face.ask("POST", TOKENS, {"name": "a", "role": "viewer"}, role=role)[0] == 403
        assert face.ask("DELETE", f"{TOKENS}/x", role=role)[0] == 403
