"""Send and status, with a server and without one."""

import asyncio
import json
import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Ran, serving, tocsin
from tests.support.http_sink import HttpSink, Reply

LOOPBACK = "127.0.0.0/8"


@contextmanager
def webhook(*script: Reply) -> Iterator[HttpSink]:
    sink = HttpSink(*script)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(sink.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(sink.__aexit__())
        loop.close()


def send(data: Path, *more: str, message: str = "Disk 97 %", **settings: str) -> Ran:
    return tocsin(
        "send", "--data", data, "--rule-id", "disk", "--severity", "ERROR", "--message", message,
        "--scope", '{"host": "db-1"}', *more, **settings,
    )  # fmt: skip


def to(sink: HttpSink) -> dict[str, str]:
    return {"WEBHOOK_URL": sink.url("/hook"), "ALLOW_PRIVATE": LOOPBACK}


def kinds(sink: HttpSink) -> list[str]:
    return [json.loads(request.body)["type"] for request in sink.requests]


def test_a_dry_run_is_the_default_and_sends_nothing(tmp_path: Path) -> None:
    with webhook() as sink, serving(tmp_path / "d", **to(sink)) as server:
        ran = send(server.data)
        server.stop()

        assert sink.requests == []
    answer = json.loads(ran.out)
    assert ran.code == 0
    assert answer["dry_run"] is True
    assert answer["tells"] == [{"channel": "webhook", "address": "webhook"}]
    assert answer["incidents"] == []
    assert "DRY RUN: nothing was sent to anybody" in ran.err
    assert "--no-dry-run" in ran.err


def test_a_real_one_is_sent_and_says_what_became_of_it(tmp_path: Path) -> None:
    with webhook() as sink, serving(tmp_path / "d", **to(sink)) as server:
        ran = send(server.data, "--no-dry-run", "--channel", "webhook", "-o", "table")

        assert "notification.manual" in kinds(sink)
    assert ran.code == 0
    assert "Incident #1: opened" in ran.out
    assert "delivered" in ran.out
    assert "DRY RUN" not in ran.err


def test_one_that_is_refused_ends_with_an_error(tmp_path: Path) -> None:
    with webhook(Reply(status=410)) as sink, serving(tmp_path / "d", **to(sink)) as server:
        ran = send(server.data, "--no-dry-run")

    assert ran.code == 1
    assert "could not be sent" in ran.err


def test_one_that_is_still_on_its_way_is_no_error(tmp_path: Path) -> None:
    with webhook(Reply(status=503)) as sink, serving(tmp_path / "d", **to(sink)) as server:
        ran = send(server.data, "--no-dry-run", "--wait", "0.2")

    assert ran.code == 0
    assert "keeps trying" in ran.err


def test_with_nobody_to_tell_it_is_only_partly_done(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as server:
        ran = send(server.data, "--no-dry-run")

    assert ran.code == 8
    assert "nobody to tell" in ran.err


def test_without_a_server_the_verb_runs_the_same_code_as_the_user_of_the_system(tmp_path: Path) -> None:
    with webhook() as sink:
        ran = send(tmp_path / "d", "--no-dry-run", **to(sink))

        assert ran.code == 0
        assert "notification.manual" in kinds(sink)
    shown = tocsin("status", "1", "--data", tmp_path / "d")
    assert shown.code == 0
    actors = {entry["actor"] for entry in json.loads(shown.out)["timeline"]}
    assert f"os:{pwd.getpwuid(os.getuid()).pw_name}" in actors


def test_the_first_server_after_such_a_verb_still_prints_the_admins_token(tmp_path: Path) -> None:
    send(tmp_path / "d")

    with serving(tmp_path / "d") as server:
        assert server.token


def test_a_shell_without_the_servers_settings_does_not_decide_in_its_place(tmp_path: Path) -> None:
    with webhook() as sink:
        send(tmp_path / "d", **to(sink))

    ran = send(tmp_path / "d")

    assert ran.code == 4
    assert "webhook" in ran.err


USAGE = [
    ("no JSON", ["--scope", "{"]),
    ("no object", ["--scope", "[]"]),
    ("numbers", ["--scope", '{"a": 1}']),
    ("an unknown channel", ["--channel", "pigeon"]),
    ("a time without its zone", ["--window-end", "2026-01-01T00:00:00"]),
    (
        "a window that ends first",
        ["--window-start", "2026-01-02T00:00:00Z", "--window-end", "2026-01-01T00:00:00Z"],
    ),
    ("an unknown severity", ["--severity", "dire"]),
]


@pytest.mark.parametrize("wrong", [case[1] for case in USAGE], ids=[case[0] for case in USAGE])
def test_what_cannot_be_sent_is_a_usage_error(tmp_path: Path, wrong: list[str]) -> None:
    ran = send(tmp_path / "d", *wrong)

    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with three incidents, one of them hostile; no server runs on it."""
    data = tmp_path_factory.mktemp("known") / "d"
    alerts: list[dict[str, Any]] = [
        {"rule_id": "disk", "severity": "warning", "message": "97 %"},
        {"rule_id": "disk", "severity": "warning", "status": "resolved", "message": "fine"},
        {
            "rule_id": "cpu",
            "severity": "critical",
            "message": "\x1b[31mhot\u202e",
            "scope": {"host": "\x1b]0;x\x07"},
        },
        {"rule_id": "net", "severity": "info", "message": "slow"},
    ]
    with serving(data) as server:
        from tocsin.cli.client import Server

        Server(server.url, server.token).request("POST", "/api/v1/alerts", body=alerts)
        server.stop()
    return data


FILTERS: list[tuple[list[str], list[int]]] = [
    ([], [3, 2, 1]),
    (["--state", "OPEN"], [3, 2]),
    (["--state", "resolved"], [1]),
    (["--state", "OPEN", "--state", "RESOLVED"], [3, 2, 1]),
    (["--severity", "critical"], [2]),
    (["--rule-id", "net"], [3]),
    (["--limit", "2"], [3, 2]),
]


@pytest.mark.parametrize(("filters", "numbers"), FILTERS)
def test_status_lists_what_fits_newest_first(known: Path, filters: list[str], numbers: list[int]) -> None:
    ran = tocsin("status", "--data", known, *filters)

    assert ran.code == 0
    assert [incident["number"] for incident in json.loads(ran.out)["incidents"]] == numbers


def test_status_fits_80_columns_and_shows_hostile_text_as_text(known: Path) -> None:
    ran = tocsin("status", "--data", known, "-o", "table")

    assert "cpu (host=<U+001B>]0;x<U+0007>" in ran.out
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_an_incident_is_shown_with_its_alerts_and_why(known: Path) -> None:
    ran = tocsin("status", "#2", "--data", known, "-o", "table")

    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "host=<U+001B>]0;x<U+0007>" in ran.out
    assert "it opened the incident" in " ".join(ran.out.split())


def test_an_incident_is_found_by_its_id(known: Path) -> None:
    by_number = json.loads(tocsin("status", "2", "--data", known).out)

    by_id = json.loads(tocsin("status", by_number["incident_id"], "--data", known).out)

    assert by_id == by_number


@pytest.mark.parametrize(("incident", "code"), [("99", 3), ("f" * 32, 3), ("../tokens", 2), ("1?x=1", 2)])
def test_an_incident_that_is_not_there_is_said_so(known: Path, incident: str, code: int) -> None:
    ran = tocsin("status", incident, "--data", known)

    assert ran.code == code
    assert ran.out == ""


def test_looking_changes_nothing(known: Path) -> None:
    before = tocsin("status", "1", "--data", known).out

    assert tocsin("status", "1", "--data", known).out == before


def test_a_token_that_may_not_is_told_so(known: Path) -> None:
    with serving(known) as server:
        ran = tocsin("status", "--url", server.url, "--data", known / "other", "--token", "toc_nobody")

    assert ran.code == 5
    assert "toc_nobody" not in ran.err
