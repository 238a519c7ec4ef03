"""What-if over HTTP: line by line from a process of its own, which ends with whoever asked."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import tocsin
from tests.support.server import Server
from tests.web.faces import Face
from tests.web.waiting import until

from tocsin.core.model.access import Role
from tocsin.runtime.simulations import NICE, Simulations

PATH = "/api/v1/whatif"
SAME = "routes: {name: default}\n"
SLOWER = "routes: {name: default, group_wait: 10m}\n"
ALERT = {"rule_id": "disk", "scope": {"host": "db-1"}, "severity": "critical", "message": "full"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("whatif")
    nobody = {"TOCSIN_WEBHOOK_URL": "http://127.0.0.1:9/", "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}
    with Server(place / "data", nobody) as one:
        assert one.request("POST", "/api/v1/alerts", [ALERT])[0] == 200
        yield one


@contextmanager
def asking(port: int, token: str, form: dict[str, Any]) -> Iterator[http.client.HTTPConnection]:
    """Ask, and leave with the block."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", PATH, json.dumps(form), headers)
        yield connection
    finally:
        connection.close()


def asked(server: Server, form: dict[str, Any]) -> tuple[int, str, list[dict[str, Any]]]:
    """Ask to the end: status, type, and the lines."""
    with asking(server.port, server.token, form) as connection:
        answer = connection.getresponse()
        kind = answer.getheader("content-type", "")
        return answer.status, kind, [json.loads(line) for line in answer.read().splitlines()]


def test_progress_comes_first_and_the_report_last_as_the_terminal_has_it(
    server: Server, tmp_path: Path
) -> None:
    status, kind, lines = asked(server, {"policy": SLOWER, "zone": "Europe/Berlin"})

    assert (status, kind) == (200, "application/x-ndjson")
    assert [sorted(line) for line in lines[:-1]] == [["doing", "entries", "of"]] * (len(lines) - 1)
    assert len(lines) > 1
    report = lines[-1]["report"]
    assert report["zone"] == "Europe/Berlin"
    assert report["numbers"]["opened"] == {"recorded": 1, "again": 1, "candidate": 1}
    assert not report["same"]
    (tmp_path / "new.yaml").write_text(SLOWER)
    said = tocsin(
        "whatif",
        "--policy",
        tmp_path / "new.yaml",
        "--data",
        server.data,
        "--zone",
        "Europe/Berlin",
        "-o",
        "json",
    )
    assert json.loads(said.out)["effect"] == report["effect"]


def test_the_policy_in_force_changes_nothing(server: Server) -> None:
    assert asked(server, {"policy": SAME})[2][-1]["report"]["same"] is True


def test_a_period_is_kept_to(server: Server) -> None:
    lines = asked(server, {"policy": SLOWER, "until": "2020-01-01T00:00:00Z"})[2]

    assert lines[-1]["report"]["numbers"]["opened"]["again"] == 0


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({"policy": "routes: {name: default, group_wait: 10}\n"}, "policy.yaml:1:", "group_wait"),
        ({"policy": "routes: ["}, "policy.yaml:2:1", "not YAML"),
        ({"policy": SAME, "zone": "Nowhere/Land"}, "zone", "Nowhere/Land"),
        ({"policy": SAME, "zone": "--help"}, "zone", "--help"),
        ({"policy": SAME, "zone": "a\0b"}, "", "zone"),
        ({"policy": SAME, "since": "2027-01-02T00:00:00Z", "until": "2027-01-01T00:00:00Z"}, "until", "Swap"),
        ({"policy": SAME, "since": "2999-01-01T00:00:00Z"}, "until", "Swap"),
        ({"policy": ""}, "", "at least 1"),
        ({}, "", "policy"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_decided(
    server: Server, form: dict[str, Any], field: str, said: str
) -> None:
    status, kind, (problem,) = asked(server, form)

    assert (status, kind) == (422, "application/problem+json")
    assert said in problem["detail"]
    assert problem.get("field", "").startswith(field)
    assert "/tmp" not in json.dumps(problem)


@pytest.fixture
def started(face: Face, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Let a shell script stand for the one that decides; it writes its number to the path that this gives."""
    usual = face.node.simulations

    def use(script: str) -> Path:
        pid = tmp_path / "pid"
        face.node.simulations = Simulations(
            ["/bin/sh", "-c", f"echo $$ > {pid}.new; mv {pid}.new {pid}; {script}"]
        )
        return pid

    yield use
    face.node.simulations = usual


def is_there(pid: Path) -> bool:
    return Path("/proc", pid.read_text().strip()).exists()


PROGRESS = '{"doing": "reading", "entries": 1, "of": 2}'


@pytest.mark.parametrize("script", ["exec sleep 1000", f"echo '{PROGRESS}'; exec sleep 1000"])
def test_there_is_room_for_one_and_it_ends_with_whoever_asked(
    face: Face, started: Callable[[str], Path], script: str
) -> None:
    pid = started(script)
    with asking(face.port, face.tokens[Role.AUDITOR], {"policy": SAME}):
        until(pid.exists)
        until(lambda: os.getpriority(os.PRIO_PROCESS, int(pid.read_text())) == NICE)

        status, headers, problem = face.ask("POST", PATH, {"policy": SAME})

        assert status == 503
        assert "room for one" in problem["detail"]
        assert int(headers["retry-after"]) >= 1
        assert is_there(pid)

    until(lambda: not is_there(pid))
    face.node.simulations._command = ("/bin/sh", "-c", """echo '{"report": 1}'""")
    until(lambda: face.ask("POST", PATH, {"policy": SAME})[0] == 200)


def test_one_that_dies_before_it_says_anything_is_no_answer(
    face: Face, started: Callable[[str], Path]
) -> None:
    started("kill -9 $$")

    status, _, problem = face.ask("POST", PATH, {"policy": SAME})

    assert status == 503
    assert "before it was done" in problem["detail"]


def test_one_that_dies_on_the_way_is_told_as_such(face: Face, started: Callable[[str], Path]) -> None:
    started(f"echo '{PROGRESS}'; kill -9 $$")

    status, _, answer = face.ask("POST", PATH, {"policy": SAME})

    assert status == 200
    assert "before it was done" in json.loads(answer.splitlines()[-1])["error"]["detail"]


def test_a_ledger_that_cannot_be_read_is_a_conflict(face: Face, started: Callable[[str], Path]) -> None:
    started("""echo '{"error": {"detail": "torn", "invalid": false, "field": "", "errors": []}}'""")

    status, _, problem = face.ask("POST", PATH, {"policy": SAME})

    assert (status, problem["detail"]) == (409, "torn")


def test_a_ledger_in_memory_cannot_be_read_by_another_process(face: Face) -> None:
    status, _, problem = face.ask("POST", PATH, {"policy": SAME})

    assert status == 409
    assert problem["state"] == "in memory"
