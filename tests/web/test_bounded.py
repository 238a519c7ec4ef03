"""Bounded: what looks at very much never takes all threads, and whoever comes too much is told to come back."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.web.faces import ALERT, Face, a_face
from tests.web.waiting import until

from tocsin.core.model.access import Role
from tocsin.web.api.events import EACH_MAX
from tocsin.web.bounded import AT_ONCE, WAITING_MAX

PREVIEW = "/api/v1/silences/preview"
MATCHERS = {"matchers": ["host=~db-.*"]}
MOST = AT_ONCE + WAITING_MAX


@contextmanager
def stuck(face: Face, name: str) -> Iterator[list[int]]:
    """Let this question to the store not be answered until the block ends. Yields: one item for each that is asked."""
    asked: list[int] = []
    answer = threading.Event()
    real: Any = getattr(face.store, name)

    def slow(*args: Any) -> Any:
        asked.append(1)
        assert answer.wait(20)
        return real(*args)

    setattr(face.store, name, slow)
    try:
        yield asked
    finally:
        answer.set()


@pytest.mark.parametrize(
    ("question", "call"),
    [
        ("alerts_seen", ("POST", PREVIEW, MATCHERS)),
        ("list_incidents", ("GET", "/api/v1/incidents?text=disk")),
        ("list_incidents", ("GET", "/api/v1/incidents?scope=host%3Ddb-1")),
    ],
)
def test_few_look_at_once_few_wait_and_the_others_hear_when_to_come_back(
    question: str, call: tuple[Any, ...]
) -> None:
    with a_face() as face, ThreadPoolExecutor(100) as people:
        face.post(ALERT)
        with stuck(face, question) as asked:
            answers = [people.submit(face.ask, *call) for _ in range(60)]
            until(lambda: sum(one.done() for one in answers) == 60 - MOST)
            refused = [one.result() for one in answers if one.done()]

            assert len(asked) == AT_ONCE
            assert {status for status, _, _ in refused} == {503}
            assert all(int(headers["retry-after"]) >= 1 for _, headers, _ in refused)
            assert face.ask("POST", "/api/v1/incidents/1/ack")[0] == 200
            assert face.post({**ALERT, "scope": {"host": "db-2"}})[0] == 200

        assert sorted(one.result()[0] for one in answers) == [200] * MOST + [503] * (60 - MOST)
        assert face.ask(*call)[0] == 200


def test_long_stories_leave_threads_to_those_who_act() -> None:
    with a_face() as face, ThreadPoolExecutor(100) as people:
        face.post(ALERT)
        with stuck(face, "members") as asked:
            answers = [people.submit(face.ask, "GET", "/api/v1/incidents/1/why") for _ in range(60)]
            until(lambda: len(asked) > 0)

            assert face.ask("POST", "/api/v1/incidents/1/ack")[0] == 200

            assert len(asked) <= 4

        assert {one.result()[0] for one in answers} == {200}


def follower(face: Face, role: Role) -> tuple[http.client.HTTPConnection, int]:
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=20)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {face.tokens[role]}"})
    return connection, connection.getresponse().status


def test_nobody_alone_takes_every_place_of_those_who_follow() -> None:
    with a_face() as face, ExitStack() as stack:
        statuses = []
        for _ in range(EACH_MAX + 5):
            connection, status = follower(face, Role.VIEWER)
            stack.callback(connection.close)
            statuses.append(status)

        connection, other = follower(face, Role.ADMIN)
        stack.callback(connection.close)

        assert statuses == [200] * EACH_MAX + [503] * 5
        assert other == 200


def test_who_stops_following_may_follow_again() -> None:
    with a_face() as face:
        for _ in range(EACH_MAX + 5):
            connection, status = follower(face, Role.VIEWER)
            connection.close()
            until(lambda: face.node.feed.clients == 0)
            assert status == 200
