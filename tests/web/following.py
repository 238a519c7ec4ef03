"""Who follows /api/v1/events, as a client of their own: a socket, the headers, and events one by one."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tocsin.cli.stream import Event, read_events


class Following:
    """A stream that is open, or the answer that refused it. status, headers (lower case): of the answer."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._events = read_events(iter(response.readline, b""))

    def next(self) -> Event | None:
        """Give the next event; None for a sign of life. Raises: StopIteration once the stream has ended."""
        return next(self._events)

    def take(self, count: int) -> list[Any]:
        """Give the data of the next so many events."""
        taken: list[Any] = []
        while len(taken) < count:
            event = self.next()
            if event is not None:
                assert event.id == str(event.data["seq"])
                assert event.kind == event.data["kind"]
                taken.append(event.data)
        return taken

    def rest(self) -> list[Any]:
        """Give the data of all events until the stream ends."""
        return [event.data for event in self._events if event is not None]

    def lines(self) -> Iterator[bytes]:
        """Give the stream as it is written."""
        return iter(self._response.readline, b"")

    def read(self) -> bytes:
        """Give all of an answer that is no stream."""
        return self._response.read()

    def close(self) -> None:
        """Go away."""
        self._response.close()
        self._connection.close()


class _Narrow(http.client.HTTPConnection):
    """A connection that takes next to nothing which nobody reads."""

    def connect(self) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


def follow(
    port: int, token: str, query: str = "", *, method: str = "GET", narrow: bool = False, **headers: str
) -> Following:
    """Open a stream. narrow: of one who reads slowly, or not at all. headers: with _ for -."""
    connection = (_Narrow if narrow else http.client.HTTPConnection)("127.0.0.1", port, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/api/v1/events{query}", headers={"Authorization": f"Bearer {token}", **sent})
    return Following(connection, connection.getresponse())


@contextmanager
def following(port: int, token: str, query: str = "", **headers: str) -> Iterator[Following]:
    """Follow until the block ends."""
    one = follow(port, token, query, **headers)
    try:
        yield one
    finally:
        one.close()
