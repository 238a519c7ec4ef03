"""How a verb finds its server, and what its exit code says of the answer."""

import asyncio
import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.running import tocsin
from tests.support.http_sink import HttpSink, Reply, Request

from tocsin.cli.answers import path_of
from tocsin.cli.client import LOCK_FILE, TOKEN_FILE, URL_FILE, Server, find_server
from tocsin.cli.exits import USAGE, Failure


@contextmanager
def answering(*script: Reply) -> Iterator[HttpSink]:
    """A server in a thread of its own, for a client that blocks."""
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


def ask(script: Reply, *, token: str = "toc_1") -> tuple[object, list[Request]]:
    with answering(script) as sink:
        return Server(sink.url(), token).request("GET", "/api/v1/incidents"), sink.requests


CODES = [
    (400, 2),
    (401, 5),
    (403, 5),
    (404, 3),
    (409, 4),
    (413, 2),
    (422, 2),
    (429, 6),
    (500, 1),
    (502, 6),
    (503, 6),
]


@pytest.mark.parametrize(("status", "code"), CODES)
def test_an_exit_code_says_what_the_status_said(status: int, code: int) -> None:
    with pytest.raises(Failure, match="Fix it like this") as raised:
        ask(Reply(status=status, body=b'{"detail": "Fix it like this."}'))

    assert raised.value.exit_code == code


def test_the_token_is_shown_to_the_server_and_to_nobody_else() -> None:
    answer, requests = ask(Reply(body=b'{"incidents": []}'))

    assert answer == {"incidents": []}
    assert requests[0].headers["authorization"] == "Bearer toc_1"
    with pytest.raises(Failure) as raised:
        ask(Reply(status=401, body=b'{"detail": "This token is not known."}'), token="toc_secret")
    assert "secret" not in raised.value.message
    assert "--token" in raised.value.message


def test_an_answer_that_is_no_json_is_from_something_else() -> None:
    with pytest.raises(Failure, match="Is this a Tocsin") as raised:
        ask(Reply(body=b"<html>"))

    assert raised.value.exit_code == 1


def test_what_the_server_says_cannot_act_on_the_terminal() -> None:
    with pytest.raises(Failure) as raised:
        ask(Reply(status=404, body=b'{"detail": "no \\u001b[31m\\u202e"}'))

    assert raised.value.message == "no <U+001B>[31m<U+202E>"


@pytest.mark.parametrize(
    "reply", [Reply(reset="before"), Reply(raw=b"SSH-2.0-x\r\n"), Reply(reset="body", body=b"{}" * 9)]
)
def test_a_server_that_cannot_be_understood_is_unreachable(reply: Reply) -> None:
    with pytest.raises(Failure, match="cannot be reached") as raised:
        ask(reply)

    assert raised.value.exit_code == 6


def test_a_server_that_hangs_leaves_it_open_whether_it_did_it() -> None:
    with answering(Reply(hang="before")) as sink, pytest.raises(Failure, match="unknown") as raised:
        Server(sink.url(), "", timeout_s=0.05).request("GET", "/")

    assert raised.value.exit_code == 6


@pytest.mark.parametrize(
    "url", ["", "localhost", "ftp://x", "http://", "http://u:p@x", "http://x:y", "http://[x"]
)
def test_a_url_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Failure) as raised:
        Server(url, "")

    assert raised.value.exit_code == 2


def test_a_token_with_a_line_break_is_refused() -> None:
    with pytest.raises(Failure) as raised:
        Server("http://127.0.0.1:1", "toc_1\r\nX-Evil: 1")

    assert raised.value.exit_code == 2
    assert "Evil" not in raised.value.message


def test_a_query_leaves_out_what_is_not_asked_for() -> None:
    assert path_of("/x", None) == "/x"
    assert path_of("/x", {"a": None, "b": (), "c": ""}) == "/x"
    assert (
        path_of("/x", {"state": ("OPEN", "ACK"), "rule_id": "a b&c"})
        == "/x?state=OPEN&state=ACK&rule_id=a+b%26c"
    )


def test_a_prefix_in_the_url_is_kept() -> None:
    with answering(Reply(body=b"{}")) as sink:
        Server(sink.url("/tocsin/"), "").request("GET", "/api/v1/incidents")

        assert sink.requests[0].path == "/tocsin/api/v1/incidents"
        assert "authorization" not in sink.requests[0].headers


def test_now_is_what_the_server_says() -> None:
    with answering(Reply(headers={"Date": "Wed, 04 Mar 2026 12:00:00 GMT"}, body=b"{}")) as sink:
        assert Server(sink.url(), "").now() == datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def test_a_server_that_does_not_say_the_time_is_asked_for_none() -> None:
    with (
        answering(Reply(headers={"Date": "soon"}, body=b"{}")) as sink,
        pytest.raises(Failure, match="ISO 8601"),
    ):
        Server(sink.url(), "").now()


@contextmanager
def held(data: Path) -> Iterator[None]:
    with (data / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_the_server_on_the_data_directory_is_found_with_its_token(tmp_path: Path) -> None:
    (tmp_path / URL_FILE).write_text("http://127.0.0.1:1\n")
    (tmp_path / TOKEN_FILE).write_text("toc_local_1\n")

    with held(tmp_path):
        found = find_server(tmp_path, None, None)

    assert found is not None
    assert (found.url, found._token) == ("http://127.0.0.1:1", "toc_local_1")


def test_what_a_killed_server_left_behind_is_not_believed(tmp_path: Path) -> None:
    # Something else may listen there by now; it must not be shown the operator's token.
    (tmp_path / LOCK_FILE).touch()
    (tmp_path / URL_FILE).write_text("http://127.0.0.1:1\n")
    (tmp_path / TOKEN_FILE).write_text("toc_local_1\n")

    assert find_server(tmp_path, None, None) is None


def test_the_local_token_is_not_shown_to_another_server(tmp_path: Path) -> None:
    (tmp_path / URL_FILE).write_text("http://127.0.0.1:1\n")
    (tmp_path / TOKEN_FILE).write_text("toc_local_1\n")

    with held(tmp_path):
        same = find_server(tmp_path, "http://127.0.0.1:1/", None)
        other = find_server(tmp_path, "http://127.0.0.1:2", None)

    assert same is not None
    assert other is not None
    assert (same._token, other._token) == ("toc_local_1", "")


def test_without_server_and_without_data_there_is_nothing_to_ask(tmp_path: Path) -> None:
    ran = tocsin("status", "--data", tmp_path / "none")

    assert ran.code == 6
    assert "tocsin serve" in ran.err
    assert not (tmp_path / "none").exists()


def test_a_verb_that_talks_to_a_server_does_not_load_one() -> None:
    import subprocess
    import sys

    program = """if True:
        import sys
        from tocsin.cli.main import main
        try:
            main(["status", "--url", "http://127.0.0.1:1"])
        except SystemExit as end:
            assert end.code == 6, end.code
        heavy = {"fastapi", "starlette", "aiohttp", "pydantic", "apsw", "uvicorn", "rich", "msgspec"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert ran.returncode == 0, ran.stderr


def test_a_damaged_file_of_the_server_is_told_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / URL_FILE).write_bytes(b"x\xff\n")
    with (tmp_path / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(Failure) as raised:
            find_server(tmp_path, None, None)

    assert raised.value.exit_code == USAGE
