"""Demo sinks: a mail server and a web server on loopback that take what Tocsin sends, and remember it.

They speak only as much SMTP (RFC 5321) and HTTP/1.1 as a well-behaved client needs.
"""

import asyncio
import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Self

LINE_MAX = 1 << 20
HOST = "127.0.0.1"


class Sink:
    """A TCP server on a free port of loopback; `async with` starts and ends it."""

    def __init__(self) -> None:
        self.port = 0
        self.received_at = 0.0
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=LINE_MAX)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # The sender was killed, which is part of the story.
        except asyncio.CancelledError:
            pass  # The demo is over.
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    def note(self) -> None:
        """Remember that something came in just now."""
        self.received_at = asyncio.get_running_loop().time()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Have one conversation."""
        raise NotImplementedError


class Mailbox(Sink):
    """Takes every mail. mails: as they came, once for each recipient."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `Sink`."""
        recipients = 0
        reply = "220 demo ESMTP"
        while True:
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
            line = (await reader.readuntil(b"\n")).strip()
            match line.split(b" ")[0].upper():
                case b"EHLO":
                    reply = "250-demo\r\n250 8BITMIME"
                case b"RCPT":
                    recipients += 1
                    reply = "250 OK"
                case b"MAIL" | b"RSET":
                    recipients = 0
                    reply = "250 OK"
                case b"DATA":
                    writer.write(b"354 Go on\r\n")
                    body = await reader.readuntil(b"\r\n.\r\n")
                    self.mails += [body[:-3].replace(b"\r\n..", b"\r\n.")] * recipients
                    self.note()
                    reply = "250 OK"
                case b"HELO" | b"NOOP":
                    reply = "250 OK"
                case b"QUIT":
                    writer.write(b"221 Bye\r\n")
                    await writer.drain()
                    return
                case _:
                    reply = "502 Not known here"


@dataclass(frozen=True)
class Post:
    """One request. headers: by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Hold:
    """What the web server does to the next request: takes it, and never answers."""

    armed: bool = False
    caught: asyncio.Event = field(default_factory=asyncio.Event)


class WebServer(Sink):
    """Answers every POST: 202 under /teams as Microsoft's workflows do, else 200."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[Post] = []
        self.hold = Hold()

    def to(self, path: str) -> list[Post]:
        """Give what was posted to a path, in order."""
        return [post for post in self.posts if post.path == path]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `Sink`."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            post = Post(first.split(" ")[1], headers, body)
            self.posts.append(post)
            self.note()
            if self.hold.armed and post.path == "/webhook":
                self.hold.armed = False
                self.hold.caught.set()
                await reader.read()  # Until the sender is gone.
                return
            status = "202 Accepted" if post.path == "/teams" else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()


def is_signed(post: Post, secret: str) -> bool:
    """Check a webhook's signature as a receiver would, by Standard Webhooks 1.0.0. secret: `whsec_...`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{post.headers.get('webhook-id')}.{post.headers.get('webhook-timestamp')}.".encode() + post.body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = post.headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(wanted, one) for one in given)
