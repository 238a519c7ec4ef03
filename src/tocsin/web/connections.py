"""Connections: how long and how large a request may be, and how long an answer may wait to be read.

uvicorn itself waits and takes for ever.

One look at all connections every few seconds, so that a request costs two assignments and no timer of its own.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server as UvicornServer
from uvicorn.server import ServerState

from tocsin.runtime.feed import Feed

HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 10.0
"""From the connection, or the first byte of a request, to the end of its headers."""

REQUEST_S = 60.0
"""To the end of its body."""

UNREAD_S = 60.0
"""So long nothing of an answer may be read before we give its reader up."""

UNREAD_STOPPING_S = 1.0
"""The same once the server stops; with the next look it stays within the server's grace."""

LOOK_EVERY_S = 2.5


class PatientProtocol(HttpToolsProtocol):
    """A connection whose sender must get to the end of a request in time."""

    head_s = HEAD_S
    request_s = REQUEST_S
    unread_s = UNREAD_S
    look_every_s = LOOK_EVERY_S

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._state = server_state
        self._since: float | None = self.loop.time()
        self._head_bytes = 0
        self._unread_since: float | None = None
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection; the first of several begins the looks at all of them."""
        super().connection_made(transport)
        if len(self.connections) == 1:
            self.loop.call_later(self.look_every_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Answer nobody who is gone. Of several requests that came at once, uvicorn itself remembers only the last."""
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the headers have grown too large."""
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request. One that was, but for which we had no memory, is not told that it was wrong."""
        error = sys.exc_info()[1]
        if error is not None and isinstance(error.__context__, MemoryError):
            self.transport.close()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._since = self.loop.time()
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are read."""
        self._head_bytes = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is read to its end; between requests uvicorn's own time-out holds."""
        self._since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """More of the answer waits to be read than is kept."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It was read, or most of it."""
        self._unread_since = None
        super().resume_writing()

    def is_deaf(self, now: float) -> bool:
        """Say whether nobody reads our answer."""
        return self._unread_since is not None and now > self._unread_since + self.unread_s

    def is_late(self, now: float) -> bool:
        """Say whether the sender took too long."""
        if self._since is None:
            return False
        return now > self._since + (self.request_s if self._head_bytes < 0 else self.head_s)

    def _look(self) -> None:
        """Close the connections of all who are late or do not read, and look again while there are any."""
        now = self.loop.time()
        for connection in list(self.connections):
            if not isinstance(connection, PatientProtocol):
                continue
            if connection.is_deaf(now):
                connection.transport.abort()  # To close it would wait until what we wrote is read.
            elif connection.is_late(now):
                connection.transport.close()
        if self.connections:
            self.loop.call_later(self.look_every_s, self._look)


class Server(UvicornServer):
    """uvicorn's server, which asks whoever follows the ledger to go before it waits for all others to end."""

    def __init__(self, config: Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no further connections, and let what is being answered end."""
        self._feed.close()
        for connection in self.server_state.connections:
            if isinstance(connection, PatientProtocol):
                connection.unread_s = min(connection.unread_s, UNREAD_STOPPING_S)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to who runs the server: uvicorn would raise them again before a node could stop in order."""
        yield
