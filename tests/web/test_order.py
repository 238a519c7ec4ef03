"""Order: who asks, then what they may, and only then what they sent; a body that can be read in two ways is none."""

from typing import Any

import pytest
from tests.runtime.house import events_of
from tests.web.faces import ALERT, Face, a_face

from tocsin.core.model import event as ev
from tocsin.core.model.access import Permission, Role

TOKENS = "/api/v1/tokens"
ACTIONS = "/api/v1/incidents/actions"


@pytest.mark.parametrize(
    "body",
    [b'{"nam', b"\xff", b"[" * 900_000, b'{"a":1,"a":2}', b"x" * 2_000_000],
    ids=["cut", "not-utf-8", "deep", "twice", "huge"],
)
def test_who_may_not_hears_so_whatever_they_sent(body: bytes) -> None:
    with a_face() as face:
        status, _, answer = face.ask("POST", TOKENS, body, role=Role.VIEWER)

        assert (status, answer.get("permission")) == (403, "administer"), answer
        face.settle()
        (refused,) = events_of(face.node.store, ev.AccessRefused)
        assert refused.permission is Permission.ADMINISTER


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_a_stranger_is_not_told_what_the_intake_takes(face: Face, method: str) -> None:
    assert face.ask(method, "/api/v1/alerts", role=None)[0] == 401

    status, headers, _ = face.ask(method, "/api/v1/alerts", role=Role.VIEWER)
    assert (status, headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (ACTIONS, b'{"action":"ack","ids":[1],"dry_run":true,"dry_run":false}', "dry_run"),
        (ACTIONS, b'{"action":"ack","filter":{"text":"a","text":"b"}}', "filter.text"),
        (TOKENS, b'{"name":"a","role":"viewer","role":"admin"}', "role"),
        ("/api/v1/silences", b'{"matchers":["a=b"],"minutes":1,"minutes":9}', "minutes"),
        ("/api/v1/incidents/1/ack", b'{"note":"a","note":"b"}', "note"),
    ],
)
def test_a_key_that_stands_twice_changes_nothing(path: str, body: bytes, field: str) -> None:
    with a_face() as face:
        face.post(ALERT)
        before = face.settle()

        status, _, answer = face.ask("POST", path, body)

        assert (status, answer["field"]) == (422, field), answer
        assert "twice" in answer["detail"]
        assert face.settle() == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a":' * 40 + b"1" + b"}" * 40, "levels deep"),
        (b"[" * 900_000, "levels deep"),
        (b'{"action', "no JSON"),
        (b'{"action":NaN}', "no JSON"),
        ('{"action":"ack","ids":[1]}'.encode("utf-16"), "no JSON"),
        (b'{"action":"\xff"}', "no JSON"),
        (b'{"action":"ack","ids":[' + b"9" * 5_000 + b"]}", "digits"),
    ],
    ids=["deep", "very-deep", "cut", "nan", "utf-16", "not-utf-8", "digits"],
)
def test_what_is_no_json_is_told_as_what_it_is(face: Face, body: bytes, said: str) -> None:
    status, headers, answer = face.ask("POST", ACTIONS, body)

    assert status in (400, 422)
    assert headers["content-type"] == "application/problem+json"
    assert said in answer["detail"]


def test_nobody_is_sent_to_where_a_request_says_that_it_went(face: Face) -> None:
    status, headers, _ = face.ask("GET", "/api/v1/incidents/", headers={"Host": "evil.example"})

    assert status == 404
    assert "location" not in headers


class Worn:
    """Chance that gives what was given before, once."""

    def __init__(self, real: Any, given: bytes) -> None:
        self._real, self._given = real, [given]

    def random_bytes(self, count: int) -> bytes:
        fresh: bytes = self._real.random_bytes(count)
        return self._given.pop() + fresh[4:] if count == 36 and self._given else fresh


def test_a_new_token_never_takes_the_place_of_another() -> None:
    with a_face() as face:
        first = face.ask("POST", TOKENS, {"name": "first", "role": "viewer"})[2]
        face.node.ids = Worn(face.node.ids, bytes.fromhex(first["id"]))  # type: ignore[assignment]

        status, _, second = face.ask("POST", TOKENS, {"name": "second", "role": "admin"})

        assert status == 201
        assert second["id"] != first["id"]
        for made in (first, second):
            answer = face.ask(
                "GET", "/api/v1/me", role=None, headers={"Authorization": f"Bearer {made['token']}"}
            )
            assert answer[2]["actor"] == f"token:{made['id']}"
