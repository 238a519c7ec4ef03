"""What somebody is told who is turned away, by the routes of the API and by the hot one alike."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.web.faces import ALERT, PEPPER, Face, a_face

from tocsin.core.model import event as ev
from tocsin.core.model.access import Permission, Role
from tocsin.core.model.input import Denial
from tocsin.web import hot
from tocsin.web.auth import make_token

DOORS = [("POST", hot.PATH, ALERT), ("POST", "/api/v1/notify/send", ALERT)]


@pytest.fixture(scope="module")
def face() -> Iterator[Face]:
    """A server that tells an address to wait after three failed sign-ins."""
    with a_face(failures_max=3) as one:
        yield one


def bearer(
    face: Face, role: Role = Role.SERVICE, stored: dict[str, Any] | None = None, **more: Any
) -> dict[str, str]:
    """Give the header of a new token. stored: what is changed of it in the store."""
    ids, at = face.node.ids, face.node.clock.now()
    shown, token = make_token(ids.random_bytes(36), name="x", role=role, at=at, pepper=PEPPER, **more)
    face.node.store.put_token(msgspec.structs.replace(token, **(stored or {})))
    face.doorkeeper.forget()
    return {"Authorization": f"Bearer {shown}"}


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_a_limit_answers_429_and_says_when_to_come_back(
    face: Face, method: str, path: str, body: object
) -> None:
    header = bearer(face, per_minute=2)

    answers = [face.ask(method, path, body, role=None, headers=header) for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    _, headers, problem = answers[2]
    assert headers["content-type"] == "application/problem+json"
    assert 1 <= int(headers["retry-after"]) <= 30
    assert problem["type"] == "urn:tocsin:problem:limit"
    assert "2 times a minute" in problem["detail"]


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_a_missing_permission_is_named(face: Face, method: str, path: str, body: object) -> None:
    narrow = bearer(face, Role.ADMIN, scopes=(Permission.READ,))

    status, _, problem = face.ask(method, path, body, role=None, headers=narrow)

    assert status == 403
    assert problem["type"] == "urn:tocsin:problem:forbidden"
    assert problem["permission"] == "send"
    assert problem["detail"].startswith("This token lacks the permission send.")


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
@pytest.mark.parametrize(
    ("stored", "said"), [({"expires_at": 1}, "has expired"), ({"revoked_at": 1}, "was revoked")]
)
def test_who_had_a_token_is_told_what_became_of_it(
    face: Face, method: str, path: str, body: object, stored: dict[str, int], said: str
) -> None:
    header = bearer(face, stored=stored) | {"X-Forwarded-For": f"198.51.100.{len(path) + len(said)}"}

    status, headers, problem = face.ask(method, path, body, role=None, headers=header)

    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert said in problem["detail"]


def test_an_address_that_keeps_failing_waits_and_a_valid_token_from_there_passes(face: Face) -> None:
    there = {"X-Forwarded-For": "203.0.113.9"}
    wrong = {"Authorization": "Bearer toc_00000000_00"} | there

    answers = [
        face.ask(method, path, body, role=None, headers=wrong)
        for method, path, body in DOORS
        for _ in range(2)
    ]

    assert [status for status, _, _ in answers] == [401, 401, 401, 429]
    assert 1 <= int(answers[3][1]["retry-after"]) <= 60
    assert face.ask("GET", "/api/v1/incidents", headers=there)[0] == 200
    assert face.ask("GET", "/api/v1/incidents", role=None, headers=there)[0] == 401


@pytest.mark.parametrize(
    ("forwarded", "known"),
    [
        ("203.0.113.77", "203.0.113.77"),
        ("2001:db8::17", "2001:db8::/64"),
        ("<script>", ""),
        ("1.2.3.4.5", ""),
    ],
)
def test_a_denial_stands_in_the_ledger_with_where_it_came_from_in_its_private_part(
    face: Face, forwarded: str, known: str
) -> None:
    before = face.settle()

    wrong = {"Authorization": f"Bearer {forwarded}", "X-Forwarded-For": forwarded}
    face.ask("GET", "/api/v1/incidents", role=None, headers=wrong)

    face.settle()
    seen = [event for event in face.events(before) if isinstance(event, ev.AccessRefused)]
    assert [(event.reason, event.count) for event in seen] == [(Denial.SIGN_IN, 1)]
    entry = face.node.store.entry(face.entries() - 1)
    assert entry is not None
    header, decision, private = entry
    assert msgspec.json.decode(header)["actor"] == "anonymous"
    assert known.encode() not in header + decision or not known
    assert known.encode() in private
    assert b"script" not in b"".join(entry)


def test_a_token_that_is_made_opens_at_once_and_one_that_is_revoked_nothing(face: Face) -> None:
    form = {"name": "ci", "role": "service", "scopes": ["send"], "per_minute": 60, "expires_in_days": 1}
    status, _, made = face.ask("POST", "/api/v1/tokens", form)
    assert status == 201
    header = {"Authorization": f"Bearer {made['token']}", "X-Forwarded-For": "203.0.113.50"}

    assert face.post(ALERT, role=None, headers=header)[0] == 200
    assert face.ask("GET", "/api/v1/incidents", role=None, headers=header)[0] == 403
    assert face.ask("DELETE", f"/api/v1/tokens/{made['id']}")[0] == 200
    assert face.post(ALERT, role=None, headers=header)[0] == 401
    assert face.ask("GET", "/api/v1/incidents", role=None, headers=header)[0] == 401


@pytest.mark.parametrize(
    "value",
    [
        "Bearer toc_00000000_" + "0" * 64,
        "Bearer ",
        "Bearer",
        "",
        "Basic YWRtaW46YWRtaW4=",
        "toc_00000000",
        "Bearer \xff\xfe",
        "Bearer a b",
        "Bearer a.b.c",
        "Bearer " + "A" * 20_000,
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", hot.PATH), ("GET", "/api/v1/incidents")])
def test_a_wrong_token_is_no_token(method: str, path: str, value: str, patient: Face) -> None:
    status, headers, _ = patient.ask(method, path, role=None, headers={"Authorization": value})

    assert status == 401
    assert headers["www-authenticate"] == "Bearer"


def test_the_scheme_is_read_as_the_standard_has_it(patient: Face) -> None:
    for value in ("bearer {}", "BEARER {}", "Bearer  {} "):
        header = {"Authorization": value.format(patient.tokens[Role.VIEWER])}
        assert patient.ask("GET", "/api/v1/incidents", role=None, headers=header)[0] == 200


@pytest.fixture(scope="module")
def patient() -> Iterator[Face]:
    """A server that tells nobody to wait."""
    with a_face() as one:
        yield one
