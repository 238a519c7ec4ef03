"""A real HTTP server on loopback that answers as a script says, and remembers what it was sent.

    async with HttpSink(Reply(status=429, headers={"Retry-After": "7"}), Reply(status=200)) as sink:
        ... POST to sink.url("/hook") ...
    assert [request.body for request in sink.requests] == [...]

Replies are used in order, one per request, and the last one is repeated.
"""

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Literal, Self


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How to answer one request.

    hang: say nothing, until the client goes away; after_headers: send the status and headers, then hang.
    reset: TCP reset "before" the status line, or in the "body" (after its first half).
    endless: after `body`, send more for as long as the client takes it.
    raw: these bytes instead of an HTTP response.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: Literal["", "before", "after_headers"] = ""
    reset: Literal["", "before", "body"] = ""
    endless: bool = False
    raw: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was received. headers: by lower-case name, the last one wins."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpSink:
    """The server, as an async context manager. tls: serve HTTPS with this context.

    replies: how each of the requests was answered.
    """

    def __init__(self, *script: Reply, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.script = script or (Reply(),)
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self.connections = 0
        self.bytes_sent = 0
        self.host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/", *, host: str = "") -> str:
        scheme = "https" if self._tls else "http"
        host = host or self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{path}"

    async def received(self, count: int) -> None:
        """Return once `count` requests have arrived, answered or not."""
        while len(self.requests) < count:
            self._news.clear()
            await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client went away, which some scripts are about.
        except asyncio.CancelledError:
            pass  # The test is over.
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is finished."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        reply = self.script[min(len(self.requests), len(self.script) - 1)]
        self.replies.append(reply)  # Before its request, so that whoever sees that finds its reply.
        self.requests.append(Request(method=method, path=path, headers=headers, body=body))
        self._news.set()

        if reply.hang == "before":
            await reader.read()
            return False
        if reply.reset == "before":
            return self._reset(writer)
        if reply.raw:
            writer.write(reply.raw)
            await writer.drain()
            return False
        names = {"Content-Length": str(len(reply.body)), **reply.headers}
        if reply.endless:
            del names["Content-Length"]
        lines = [
            f"HTTP/1.1 {reply.status} Scripted",
            *(f"{name}: {value}" for name, value in names.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if reply.hang == "after_headers":
            await reader.read()
            return False
        if reply.reset == "body":
            writer.write(reply.body[: len(reply.body) // 2])
            await writer.drain()
            return self._reset(writer)
        writer.write(reply.body)
        await writer.drain()
        while reply.endless:
            writer.write(b"x" * 16_384)
            self.bytes_sent += 16_384
            await writer.drain()
        return True

    def _reset(self, writer: asyncio.StreamWriter) -> bool:
        linger = struct.pack("ii", 1, 0)  # On, for 0 s: close() sends RST instead of FIN.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return False
