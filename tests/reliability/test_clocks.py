"""A real process whose monotonic clock begins anew with every start, as after a reboot, or ten years ahead."""

import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.reliability.tally import tally
from tests.reliability.test_kills import SEED
from tests.reliability.test_restore_drill import send, sent, state_of
from tests.reliability.under_load import POLICY, Load, settings, told
from tests.support.http_sink import Reply
from tests.support.server import Server, SinkThread

YEAR_S = 365 * 24 * 3600
OFFSETS_S = (10 * YEAR_S, 1_000)


def may_move_clocks() -> bool:
    tried = ["unshare", "-T", "--monotonic", "1000", "true"]
    try:
        return subprocess.run(tried, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_move_clocks(), reason="needs the right to make a time namespace")
def test_leases_and_retries_outlive_a_monotonic_clock_that_begins_anew(tmp_path: Path) -> None:
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY)
        with server:
            tank = send(server, "tank", ends_at=datetime.now(UTC) + timedelta(hours=1))
            load = Load(server, random.Random(f"{SEED} clocks"))
            for offset in OFFSETS_S:
                load.wait_for(20, "load before")
                load.hold()
                server.kill()
                sink.script = (Reply(status=503),)
                server.prefix = ("unshare", "-T", "--monotonic", str(offset))
                server.start()
                moved = Path(f"/proc/{server.pid}/timens_offsets").read_text().split()
                assert moved[:2] == ["monotonic", str(offset)], moved
                late = send(server, f"late-{offset}")
                load.go_on()
                load.wait(lambda offset=offset: sent(sink, f"late-{offset}"), "it is attempted in vain")
                sink.script = (Reply(),)
                assert (state_of(server, tank), state_of(server, late)) == ("OPEN", "OPEN")
            load.finish()
        told(load.holds(beside=("tank", "late-")), sink, troubles=len(OFFSETS_S))
        assert all(len(sent(sink, f"late-{offset}")) > 1 for offset in OFFSETS_S), (
            "it was never attempted again"
        )
    tally("clocks", moves=len(OFFSETS_S), answered=load.answered)
