"""What the server refuses is told in its words, with the next step as somebody at a terminal takes it."""

import json
from typing import Any

import pytest

from tocsin.cli.answers import Query, collect, read_answer
from tocsin.cli.exits import UNEXPECTED, Failure


def refused(status: int, **problem: Any) -> Failure:
    with pytest.raises(Failure) as raised:
        read_answer(status, json.dumps(problem).encode(), "http://there")
    return raised.value


REFUSALS: list[tuple[int, dict[str, Any], str]] = [
    (
        409,
        {"detail": "It cannot take ack.", "state": "RESOLVED", "possible": ["reopen", "note"]},
        "It cannot take ack. It is RESOLVED. Possible now: reopen, note.",
    ),
    (409, {"detail": "#1 is OPEN. Possible now: ack.", "state": "OPEN", "possible": ["ack"]}, "#1 is OPEN. Possible now: ack."),
    (403, {"detail": "No.", "permission": "silence"}, "No. It needs the permission silence."),
    (403, {"detail": "You may not silence.", "permission": "silence"}, "You may not silence."),
    (404, {"detail": "None. List them: GET /api/v1/incidents."}, "None. List them: tocsin status"),
    (
        404,
        {"detail": "/api/v1/stats"},
        "http://there does not know /api/v1/stats. Is it older than this command? Compare: tocsin --version",
    ),
    (409, {"detail": "Told. To tell it again, insist with force."}, "Told. To tell it again, insist with --force."),
    (422, {"detail": "x", "errors": [{"field": "a", "message": "b"}, {"field": "", "message": "c"}]}, "2 things are wrong:\na: b\nbody: c"),
    (422, {"detail": "f has 2 errors.\nf:1: x\nf:2: y", "errors": [{"field": "f:1", "message": "x"}, {"field": "f:2", "message": "y"}]}, "f has 2 errors.\nf:1: x\nf:2: y"),
    (422, {"detail": "f has 1 error.\nf:1: x", "errors": [{"field": "f:1", "message": "x"}]}, "f has 1 error.\nf:1: x"),
    (422, {"detail": "Field a: b.", "errors": [{"field": "a", "message": "b"}]}, "Field a: b."),
    (500, {}, "http://there answered with HTTP 500."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "problem", "told"), REFUSALS)
def test_a_refusal_says_what_happened_and_what_to_do(status: int, problem: dict[str, Any], told: str) -> None:
    failure = refused(status, **problem)

    assert failure.message == told
    assert failure.problem == problem


class Pages:
    """A list of five, in pages."""

    def __init__(self) -> None:
        self.asked: list[Query | None] = []

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        self.asked.append(query)
        assert query is not None
        start, limit = int(str(query["cursor"] or 0)), int(str(query["limit"]))
        end = min(5, start + min(limit, 2))
        return {
            "things": [{"n": n} for n in range(start, end)],
            "total": 5,
            "next_cursor": str(end) if end < 5 else None,
        }

    def now(self) -> Any:
        raise AssertionError("nobody asked for the time")


@pytest.mark.parametrize(
    ("limit", "count", "cursor"), [(1, 1, "1"), (2, 2, "2"), (3, 3, "3"), (5, 5, None), (9, 5, None)]
)
def test_pages_are_collected_up_to_the_limit(limit: int, count: int, cursor: str | None) -> None:
    found = collect(Pages(), "/things", "things", {}, limit)

    assert [one["n"] for one in found["things"]] == list(range(count))
    assert (found["total"], found["next_cursor"]) == (5, cursor)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[1]", b"null", b'"x"', b"<html>", b"\xff"],
    ids=["deep", "list", "null", "text", "html", "not-utf-8"],
)  # fmt: skip
def test_what_no_tocsin_answers_is_told_as_that(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        read_answer(200, body, "http://elsewhere")

    assert raised.value.exit_code == UNEXPECTED
    assert "Is this a Tocsin?" in raised.value.message
