"""Stream: what happens, as it happens: server-sent events by hand, picked up again where they broke off."""

import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tocsin.cli.answers import Query, not_ours, path_of, read_answer
from tocsin.cli.exits import UNREACHABLE, Failure

if TYPE_CHECKING:
    from tocsin.cli.client import Server

PATH = "/api/v1/events"
QUIET_S = 40.0
"""A server says something every 15 s; one that is silent for this long is gone."""

RETRY_S = 1.0
LINE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    """One event of the stream. id: the entry's number in the ledger, "" if none was given."""

    id: str
    kind: str
    data: Any


def read_events(lines: Iterable[bytes]) -> Iterator[Event | None]:
    """Read a stream line by line (WHATWG HTML, 9.2.6). None stands for a sign of life that is no event."""
    last, kind = "", "message"
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield Event(last, kind, _decoded("\n".join(data)))
            kind, data = "message", []
        elif not name:
            yield None
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def listen(server: "Server", query: Query, after: str = "") -> Iterator[Event | None]:
    """Give events until the server closes the stream; None first, once it is open, and for each sign of life.

    after: the id of the last event that was seen; what came since is given first.
    Raises: Failure; (6) if the connection breaks, so that it may be tried again.
    """
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if after:
        headers["Last-Event-ID"] = after
    with server.asked("GET", path_of(PATH, query), headers=headers, timeout_s=QUIET_S) as answer:
        if answer.status != http.client.OK:
            read_answer(answer.status, answer.read(LINE_BYTES_MAX), server.url)
        if answer.headers.get_content_type() != "text/event-stream":
            raise not_ours(answer.status, server.url)
        yield None
        yield from read_events(iter(lambda: answer.readline(LINE_BYTES_MAX), b""))


def follow(server: "Server", query: Query, after: str = "") -> Iterator[Event]:
    """Give events for ever. A connection that breaks is made anew, and goes on after the last event that was seen.

    Raises: Failure; of a server that cannot be reached only if it never could.
    """
    pause = threading.Event()
    was_open = False
    while True:
        try:
            for event in listen(server, query, after):
                was_open = True
                if event is not None:
                    after = event.id or after
                    yield event
        except Failure as failure:
            if failure.exit_code != UNREACHABLE or not was_open:
                raise
        pause.wait(RETRY_S)
