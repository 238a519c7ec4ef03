"""What other processes do to a data directory: hold it, and run out of space in it.

Run as `python -m tests.stores.processes hold|limit|ballast DIRECTORY`; each prints one line of JSON.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.contracts.rows import a_batch, a_head, opened
from tests.support.fakes import SECOND, FakeClock, FakeIds

ROOT = Path(__file__).resolve().parents[2]


def command(what: str, directory: Path) -> list[str]:
    """Give the command line; it wants to be run in ROOT."""
    return [sys.executable, "-m", "tests.stores.processes", what, str(directory)]


def may_mount() -> bool:
    """Say whether this process may give a child a file system of its own."""
    with contextlib.suppress(OSError):
        tried = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
        return subprocess.run(tried, capture_output=True).returncode == 0
    return False


def hold(directory: Path) -> None:
    """Commit one incident and keep the directory until standard input ends."""
    from tocsin.stores.sqlite import SqliteStore

    store = SqliteStore(directory)
    store.commit(a_batch(head=a_head(1), incidents=[opened(1)]))
    print(json.dumps("ready"), flush=True)
    sys.stdin.read()
    store.close()


def run_out_of_space(directory: Path, *, ballast: bool) -> None:
    """Send alerts, one a turn, until none is accepted; make room; send the same again, to the same pump.

    ballast: room is made by deleting a file (the directory's disk is tiny); otherwise by lifting a limit on file sizes.
    """
    from tocsin.core.model.alert import Alert, Severity
    from tocsin.intake.native import received
    from tocsin.runtime.pump import Pump, Request
    from tocsin.runtime.turn import Result
    from tocsin.stores.sqlite import SqliteStore

    clock = FakeClock()
    store = SqliteStore(directory / "data")
    pump = Pump(store, clock, FakeIds(), origin="tocsin-test", on_committed=lambda committed: None)
    pump.open()
    outcomes: list[str] = []

    def answer(_: Request, results: Sequence[Result] | Exception) -> None:
        outcomes.append(type(results).__name__ if isinstance(results, Exception) else results[0].outcome)

    def send(number: int) -> str:
        clock.advance(SECOND)
        alert = Alert(
            rule_id="disk_full",
            scope={"host": f"db-{number}"},
            severity=Severity.WARNING,
            message="x" * 2_000,
            window_start=0,
            window_end=1,
        )
        pump.turn([Request((received(alert),), "token:test", answer)])
        return outcomes[-1]

    if ballast:
        (directory / "ballast").write_bytes(b"\0" * 1_500_000)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, resource.RLIM_INFINITY))
    number = 0
    while outcomes[-3:] != ["Unavailable"] * 3:  # the first refusals may make room: reopening folds the WAL
        number += send(number) == "opened"
    shown = store.head().size
    if ballast:
        (directory / "ballast").unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    relieved = [send(number), send(number)]
    store.close()
    print(
        json.dumps(
            {
                "accepted": number,
                "outcomes": sorted(set(outcomes)),
                "shown": shown,
                "relieved": relieved,
                "files": sorted(os.listdir(directory / "data")),
                **_found(directory / "data"),
            }
        )
    )


def _found(data: Path) -> dict[str, object]:
    """Say what the next process finds."""
    from tocsin.ports import IncidentFilter
    from tocsin.stores.sqlite import SqliteStore

    store = SqliteStore(data)
    segments = [*store.segments()]
    found = {
        "incidents": store.list_incidents(IncidentFilter(), 1)[1],
        "live_alerts": len(store.load().alerts),
        "size": store.head().size,
        "entries": sum(segment.count for segment in segments),
        "root": store.head().root == segments[-1].root,
    }
    store.close()
    return found


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what == "hold":
        hold(where)
    else:
        run_out_of_space(where, ballast=what == "ballast")
