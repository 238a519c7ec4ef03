"""What happens only at a terminal: tables in local time, questions before much is done, and a list that stays."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from tests.cli.inside import Operator, alert, fresh
from tests.cli.terminal import Terminal, terminal
from tests.support.server import Server

ALERTS = 25


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fresh(tmp_path_factory.mktemp("terminal")) as server:
        for number in range(ALERTS):
            alert(server, "disk", scope={"host": f"db-{number}"})
        yield server


def at(server: Server) -> dict[str, str]:
    return {"URL": f"http://127.0.0.1:{server.port}", "TOKEN": server.token}


def lines(shown: Terminal) -> list[str]:
    """The lines that were shown, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.seen).replace("\r", "").splitlines()


@pytest.mark.parametrize(
    "verb", [["status"], ["status", "1"], ["why", "1"], ["stats"], ["policy", "show"], ["token", "list"]]
)
def test_a_terminal_gets_a_table_no_wider_than_it_is(server: Server, verb: list[str]) -> None:
    with terminal(*verb, **at(server)) as shown:
        assert shown.end() == 0

    assert max(map(len, lines(shown))) <= 80
    assert not shown.seen.lstrip().startswith("{")
    assert "UTC)" not in shown.seen


def test_all_times_of_a_page_are_of_one_zone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    opened = datetime.fromisoformat(Operator(server)("status", 1).answer["opened_at"])
    here = (opened + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%d %H:%M:%S")

    with terminal("why", "1", **at(server)) as shown:
        assert shown.end() == 0

    page = " ".join(" ".join(lines(shown)).split())
    assert f"Incident #1 opened at {here}, when rule disk" in page
    assert f"{here} (local time), entry" in page
    assert "UTC" not in page
    assert " UTC, when rule disk" in Operator(server)("why", 1, "-o", "table").out.replace("\n", " ")


def test_a_silence_over_much_is_asked_about_and_no_means_no(server: Server) -> None:
    tocsin = Operator(server)
    before = tocsin("silence", "--list").answer["total"]

    with terminal("silence", "--rule-id", "disk", "--for", "5m", **at(server)) as shown:
        shown.wait_for("[y/N]")
        shown.type("n\n")
        assert shown.end() == 130

    assert f"{ALERTS} alerts" in shown.seen
    assert "Nothing was done" in shown.seen
    assert tocsin("silence", "--list").answer["total"] == before


@pytest.mark.parametrize(
    "arguments",
    [["--rule-id", "disk", "--yes"], ["--match", "host=db-1"]],
    ids=["answered already", "one that covers little"],
)
def test_a_silence_that_is_not_asked_about(server: Server, arguments: list[str]) -> None:
    with terminal("silence", *arguments, "--for", "1m", **at(server)) as shown:
        assert shown.end() == 0

    assert "[y/N]" not in shown.seen
    assert "is active" in shown.seen


def test_acting_on_all_that_fit_is_asked_about(server: Server) -> None:
    with terminal("ack", "--rule-id", "disk", "--state", "open", **at(server)) as shown:
        shown.wait_for(f"ack {ALERTS} incidents? [y/N]")
        shown.type("\n")
        assert shown.end() == 130

    assert Operator(server)("status", "--state", "ACK").answer["total"] == 0


def test_a_watch_draws_a_screen_again_when_something_happens(server: Server) -> None:
    with terminal("status", "--watch", "--text", "watched", **at(server)) as shown:
        shown.wait_for("None fit.")
        alert(server, "watched")
        shown.wait_for("watched is wrong")
        shown.wait_for("1 incident, last change")
        shown.type("\x03")
        assert shown.end() == 130

    assert shown.seen.index("\x1b[?1049h") < shown.seen.index("None fit.")
    assert "\x1b[?1049l" in shown.seen
    assert "Traceback" not in shown.seen


def test_a_new_token_is_shown_with_the_warning(server: Server) -> None:
    with terminal("token", "create", "--name", "n", "--role", "viewer", **at(server)) as shown:
        assert shown.end() == 0

    first, token = lines(shown)
    assert "only now" in first
    assert token.startswith("toc_")
