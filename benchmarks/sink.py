"""The webhook receiver: remembers when each alert first arrived, as cheaply as it can.

It runs as its own process (`python -m benchmarks.sink FD`) on a listening socket that it inherits.
GET /summary -> {posts, distinct, last_ns}; GET /arrivals -> {id: ns}; GET /reset forgets all. Anything else
is taken as a webhook and answered 200. Instants are CLOCK_MONOTONIC, which the generator reads as well.
"""

import asyncio
import json
import socket
import sys
import time
from typing import cast

import httptools
import uvloop

from benchmarks.alerts import ALERT_ID


class Book:
    """What arrived so far."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.arrivals: dict[bytes, int] = {}
        self.posts = 0
        self.last_ns = 0

    def note(self, body: bytes, at_ns: int) -> None:
        """One webhook: count it, and keep the first arrival of every alert that it names."""
        self.posts += 1
        self.last_ns = at_ns
        for found in ALERT_ID.findall(body):
            self.arrivals.setdefault(found, at_ns)


class Receiver(asyncio.Protocol):
    """One connection of the server under test, or of the generator asking."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's own class, which does not inherit from it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        at_ns = time.monotonic_ns()
        body, self._body = self._body, b""
        self._transport.write(self._answer(body, at_ns))

    def _answer(self, body: bytes, at_ns: int) -> bytes:
        book = self._book
        match self._url:
            case b"/summary":
                text = {"posts": book.posts, "distinct": len(book.arrivals), "last_ns": book.last_ns}
            case b"/arrivals":
                text = {key.decode(): at for key, at in book.arrivals.items()}
            case b"/reset":
                book.reset()
                text = {}
            case _:
                book.note(body, at_ns)
                return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        encoded = json.dumps(text).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(encoded) + encoded


async def serve(listener: socket.socket) -> None:
    """Receive on this socket until the process is ended."""
    book = Book()
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(book), sock=listener, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))
