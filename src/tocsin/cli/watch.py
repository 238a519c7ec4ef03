"""Watch: the list of incidents as it changes, by the server's stream of events, or by asking again.

The stream only says that something happened; what is shown is always the list as the server gives it. So a lost
event costs two seconds, never the truth.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import collect
from tocsin.cli.client import find_server, is_held, reach
from tocsin.cli.exits import INTERRUPTED, UNREACHABLE, Failure
from tocsin.cli.listing import incidents_table
from tocsin.cli.stream import listen
from tocsin.cli.trouble import mark
from tocsin.cli.which import Filters

REDRAW_S = 0.5
POLL_S = 2.0
CALM_POLL_S = 30.0
"""With an open stream the list is still asked for now and then: a title may fit a filter that no event tells of."""


def watch_list(
    data: Path, url: str | None, token: str | None, wanted: Filters, limit: int, *, as_json: bool
) -> None:
    """Show the list until Ctrl-C. Raises: Failure, if the first look already fails; Exit (130) at the end."""

    stamp: int | None = None

    def look() -> dict[str, Any]:
        nonlocal stamp
        with reach(data, url, token, writes=False) as (api, is_here):
            found = collect(api, "/api/v1/incidents", "incidents", wanted.query(api), limit)
            if not as_json:
                found["incidents"] = mark(api, found["incidents"])
        stamp = _stamp(data) if is_here else None
        return found

    bell = Bell()
    try:
        found = look()
        threading.Thread(target=_ring, args=(bell, data, url, token), daemon=True).start()
        with _lines() if as_json else _screen() as show:
            show(found, "")
            while True:
                bell.wait()
                if stamp is not None and stamp == _stamp(data) and not is_held(data):
                    continue
                try:
                    found = look()
                    trouble = ""
                except Failure as failure:
                    if failure.exit_code != UNREACHABLE:
                        raise
                    trouble = failure.message
                show(found, trouble)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def _stamp(data: Path) -> int:
    """Say when what is stored last changed. Without a server the directory is only opened again after that.

    Whoever opens it holds its lock for that moment, and a server that starts just then would find it taken.
    """
    try:
        return (data / "tocsin.db").stat().st_mtime_ns
    except OSError:
        return 0


class Bell:
    """Says when to look again: when it was rung, but not sooner than REDRAW_S; else after a while."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._calm = threading.Event()
        self._pause = threading.Event()

    def ring(self) -> None:
        """Something happened."""
        self._rung.set()

    def listens(self, is_open: bool) -> None:
        """Say whether the stream is open, so that nobody needs to ask so often."""
        if is_open:
            self._calm.set()
        else:
            self._calm.clear()

    def wait(self) -> None:
        """Wait until it is time to look again."""
        self._pause.wait(REDRAW_S)
        waited = REDRAW_S
        while waited < (CALM_POLL_S if self._calm.is_set() else POLL_S):
            if self._rung.wait(REDRAW_S):
                break
            waited += REDRAW_S
        self._rung.clear()


def _ring(bell: Bell, data: Path, url: str | None, token: str | None) -> None:
    """Ring at each event, for ever. Without a stream it stays silent, and the watcher asks by itself."""
    pause = threading.Event()
    while True:
        try:
            server = find_server(data, url, token)
            if server is not None:
                for count, event in enumerate(listen(server, {})):
                    bell.listens(True)
                    if event is not None or count == 0:  # What happened before it was open, it does not tell.
                        bell.ring()
        except Failure:
            pass
        bell.listens(False)
        pause.wait(POLL_S)


@contextmanager
def _screen() -> Iterator[Callable[[dict[str, Any], str], None]]:
    """Draw on a screen of its own; what was there before comes back at the end."""
    from rich.console import Group
    from rich.live import Live

    from tocsin.cli.show import console, moment, several, text

    out = console()

    def draw(found: dict[str, Any], trouble: str) -> None:
        room = max(1, out.size.height - 4)
        incidents = found["incidents"][:room]
        newest = max((one["updated_at"] for one in found["incidents"]), default=None)
        head = several(found["total"], "incident") + (f", last change {moment(newest)}" if newest else "")
        shown = incidents_table(incidents) if incidents else text("None fit.")
        foot = text(trouble, "bold red") if trouble else text("Ctrl-C ends this.", "dim")
        foot.no_wrap, foot.overflow = True, "ellipsis"
        live.update(Group(text(head, "bold"), shown, text(""), foot), refresh=True)

    with Live(console=out, screen=True, auto_refresh=False) as live:
        yield draw


@contextmanager
def _lines() -> Iterator[Callable[[dict[str, Any], str], None]]:
    """Write a line of JSON for each change: `{"change": "shown|new|changed|gone", "incident": {...}}`."""
    known: dict[int, dict[str, Any]] = {}
    is_first = True
    told = ""

    def write(found: dict[str, Any], trouble: str) -> None:
        nonlocal is_first, known, told
        if trouble != told:
            told = trouble
            click.echo(trouble or "It is reached again.", err=True)
        incidents = {one["number"]: one for one in found["incidents"]}
        for change, incident in changes(known, incidents, is_first=is_first):
            click.echo(json.dumps({"change": change, "incident": incident}))
        sys.stdout.flush()
        known, is_first = incidents, False

    yield write


def changes(
    before: dict[int, dict[str, Any]], now: dict[int, dict[str, Any]], *, is_first: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """Compare two lists of incidents, by number: what is new, what changed, what no longer fits (as it last was)."""
    found = []
    for number in sorted({*before, *now}):
        if number not in now:
            found.append(("gone", before[number]))
        elif number not in before:
            found.append(("shown" if is_first else "new", now[number]))
        elif before[number] != now[number]:
            found.append(("changed", now[number]))
    return found
