"""The server as it is started, found and stopped."""

import os
import resource
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from tests.cli.running import serving, tocsin
from tests.support.server import Server, SinkThread
from tests.web.waiting import until

from tocsin.cli.serve import FILES_MAX
from tocsin.core.engine.state import Counters
from tocsin.ports import Head
from tocsin.runtime.node import CLOCK_AHEAD_MAX, CLOCK_BEHIND_MAX, clock_trouble


def test_the_first_start_prints_the_admins_token_on_a_line_of_its_own_and_later_ones_do_not(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "d") as first:
        assert sum(line.startswith("toc_") for line in first.said) == 1
        assert "(new)" in first.said[-1]
        assert tocsin("status", "--url", first.url, TOKEN=first.token).code == 0
        first.stop()
    with serving(tmp_path / "d") as second:
        assert not any(line.startswith("toc_") for line in second.said)
        assert "(5 entries in the ledger)" in second.said[-1]
        assert tocsin("status", "--url", second.url, TOKEN=first.token).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: int) -> None:
    with serving(tmp_path / "d") as server:
        code, out, err = server.stop(number)

    assert code == 0
    assert "Tocsin has stopped." in out
    assert err == ""  # no line of the web server's own, no traceback
    assert not (tmp_path / "d" / "url").exists()
    assert not (tmp_path / "d" / "operator-token").exists()


DEAD_LANE = """
import sys
from tocsin.runtime import dispatcher
dispatcher.LOOK_EVERY_S, dispatcher.STUCK_S = 0.2, 0.4
dispatcher.Lane.go = lambda self: None
sys.argv[1:] = sys.argv[4:]  # What stands before it would have run the server as it is.
from tocsin.cli.main import main
main()
"""


def test_it_ends_by_itself_when_deliveries_stand_still_and_a_new_start_delivers_them(tmp_path: Path) -> None:
    with SinkThread() as sink:
        settings = {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}
        alert = {"rule_id": "disk", "scope": {"host": "db-1"}, "severity": "error", "message": "full"}
        broken = Server(tmp_path / "d", settings, prefix=(sys.executable, "-c", DEAD_LANE))
        with broken:
            assert broken.request("POST", "/api/v1/alerts", alert)[0] == 200

            assert broken.ended() == 1

        assert "deliveries stand still: channel webhook attempts nothing" in broken.log.read_text()
        assert "Error: Tocsin has stopped by itself" in broken.log.read_text()
        assert "Traceback" not in broken.log.read_text()
        assert not (broken.data / "url").exists()
        assert sink.requests == []
        with Server(broken.data, settings) as well:
            until(lambda: len(sink.requests) == 1)
            assert well.stop() == 0
        assert len(sink.requests) == 1


def test_it_may_open_as_many_files_as_the_machine_allows(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Server(tmp_path / "d") as server:
            allowed = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert allowed == (FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX), hard)


def test_only_its_owner_can_read_the_operators_token(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as server:
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.data / "operator-token").stat().st_mode) == 0o600


def test_the_operators_token_of_an_earlier_run_is_worth_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as server:
        old = (server.data / "operator-token").read_text().strip()
        server.stop(signal.SIGKILL)
    with serving(tmp_path / "d") as server:
        assert tocsin("status", "--url", server.url, "--data", tmp_path / "x", TOKEN=old).code == 5
        assert tocsin("status", "--data", server.data).code == 0


def test_a_port_that_is_taken_is_said_with_the_next_step(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ran = tocsin("serve", "--data", tmp_path / "d", "--port", port)

    assert ran.code == 1
    assert port in ran.err
    assert "--port" in ran.err
    assert "Traceback" not in ran.err


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "d"):
        ran = tocsin("serve", "--data", tmp_path / "d", "--port", "0")

    assert ran.code == 1
    assert "Another Tocsin" in ran.err


def test_a_wrong_setting_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    ran = tocsin("serve", "--data", tmp_path / "d", "--port", "0", SMTP_HOST="mail.example")

    assert ran.code == 2
    assert "TOCSIN_SMTP_FROM" in ran.err


def test_it_ends_with_its_parent_if_it_was_told_to(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    import subprocess

    from tests.cli.running import COMMAND, environment

    process = subprocess.Popen(
        [*COMMAND, "serve", "--data", str(tmp_path / "d"), "--port", "0", "--with-parent"],
        stdin=ours,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("Tocsin listens"):
        pass

    os.close(ours)
    os.close(theirs)

    assert process.communicate(timeout=15)[0].strip() == "Tocsin has stopped."
    assert process.returncode == 0


def a_head(*, at: int, alive_at: int = 0, size: int = 9) -> Head:
    return Head(size=size, root=b"", edge=b"", at=at, alive_at=alive_at, counters=Counters())


NOON = 1_800_000_000_000_000
CLOCKS = [
    ("as it was", NOON, a_head(at=NOON), False),
    ("ten minutes behind", NOON - CLOCK_BEHIND_MAX, a_head(at=NOON), False),
    ("a little more", NOON - CLOCK_BEHIND_MAX - 1, a_head(at=NOON), True),
    ("behind the last sign of life", NOON - CLOCK_BEHIND_MAX - 1, a_head(at=0, alive_at=NOON), True),
    ("a long holiday", NOON + CLOCK_AHEAD_MAX, a_head(at=NOON), False),
    ("another age", NOON + CLOCK_AHEAD_MAX + 1, a_head(at=NOON), True),
    ("an empty ledger", 0, a_head(at=0, size=0), False),
]


@pytest.mark.parametrize(("now", "head", "refused"), [c[1:] for c in CLOCKS], ids=[c[0] for c in CLOCKS])
def test_a_start_is_refused_by_a_clock_that_does_not_fit_the_ledger(
    now: int, head: Head, refused: bool
) -> None:
    assert bool(clock_trouble(now, head)) == refused


def test_a_refused_clock_can_be_accepted(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as server:
        server.stop()
    move_ledger(tmp_path / "d", by=3_600_000_000)

    refused = tocsin("serve", "--data", tmp_path / "d", "--port", "0")

    assert refused.code == 1
    assert "--accept-clock" in refused.err
    with serving(tmp_path / "d", "--accept-clock") as server:
        assert server.stop()[0] == 0


def move_ledger(data: Path, *, by: int) -> None:
    """Make it look as if the ledger had been written so many microseconds later."""
    import apsw

    connection = apsw.Connection(str(data / "tocsin.db"))
    connection.execute("UPDATE head SET at = at + ?", (by,)).fetchall()
    connection.close()
