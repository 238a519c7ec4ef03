"""A TCP proxy in front of a real receiver that spoils what passes through it, as a seed decides.

    with Proxy(sink.port, ends=http_ends, seed=7) as proxy:
        proxy.set(Weather.LOSES_REPLY)
        ... speak to 127.0.0.1, proxy.port ...
        proxy.set(Weather.PASSES)
    assert proxy.counts[Weather.LOSES_REPLY] == 3

It runs on a thread and an event loop of its own, and what it cuts, it cuts itself. Weather holds for what begins under
it: a connection, or the next request on one that is open. A request goes on under the weather in which it began, but
what hangs in a black hole is cut when the weather changes, so that nobody waits for a timeout that proves nothing.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Self

HOST = "127.0.0.1"
PIECE = 65_536
LATENCY_S_MAX = 0.15
DRIP_S = 0.004
"""Between two bytes of an answer. Dripped answers are short: a few hundred bytes take a second."""

REQUEST_BYTES_MAX = 600
"""A request that is cut is cut within so many bytes; ours are longer."""


class Weather(StrEnum):
    """What befalls a connection.

    PASSES: nothing. REFUSES: the port is closed; requests on connections that are open are reset.
    RESETS_AT_ONCE: TCP reset before a byte of the request passed. RESETS_IN_REQUEST: after some of it passed.
    BLACK_HOLE: takes everything and never answers. LATENCY: each piece passes late. DRIP: one byte at a time.
    TRUNCATES: the request passes, the answer ends early. LOSES_REPLY: it passes, and the reset comes instead of the
    answer. HALF_CLOSES: it passes, but no answer will come: our side of the connection is closed at once.
    GARBAGE: bytes of no protocol instead of an answer. BUSY: as a relay that has no time: 421, and goodbye.
    DROPS_IDLE: the first request on a connection passes; the next one meets a reset.
    MIXED: each time one of the others.
    """

    PASSES = "passes"
    REFUSES = "refuses"
    RESETS_AT_ONCE = "resets_at_once"
    RESETS_IN_REQUEST = "resets_in_request"
    BLACK_HOLE = "black_hole"
    LATENCY = "latency"
    DRIP = "drip"
    TRUNCATES = "truncates"
    LOSES_REPLY = "loses_reply"
    HALF_CLOSES = "half_closes"
    GARBAGE = "garbage"
    BUSY = "busy"
    DROPS_IDLE = "drops_idle"
    MIXED = "mixed"


W = Weather
DUPLICATES = frozenset((W.TRUNCATES, W.LOSES_REPLY, W.HALF_CLOSES))
"""Under these the receiver may have a request whose sender cannot know it, and who must send it again."""

GARBAGE = (
    b"\x15\x03\x03\x00\x02\x02\x28",  # a TLS alert: handshake failure
    b"\x16\x03\x03\xff\xff" + b"\x00" * 64,  # a TLS record that never ends
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"HTTP/1.1 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000,
    b"HTTP/1.1 200 OK\nContent-Length: -1\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    b"999 what\r\n2",
    b"250",
    b"250-" + b"go on\r\n250-" * 400,
    b"\xff\xfe\x00\n" * 30,
    b"\r\n" * 200,
    b"",
)

Ends = Callable[[bytes], bool]
"""Whether these bytes, all of one request so far, are a whole one."""


def http_ends(heard: bytes) -> bool:
    """Whether an HTTP request with a Content-Length is whole."""
    head, found, body = heard.partition(b"\r\n\r\n")
    _, counted, rest = head.lower().partition(b"content-length:")
    return bool(found and counted) and len(body) >= int(rest.split(b"\r\n")[0])


def smtp_ends(heard: bytes) -> bool:
    """Whether a mail is whole: its final dot has been said."""
    return heard.endswith(b"\r\n.\r\n")


def tls_ends(heard: bytes) -> bool:
    """Inside TLS nobody can tell, so that each piece counts as a request."""
    return True


class _Cut(Exception):
    """This connection is over. resets: by TCP reset instead of an orderly end."""

    def __init__(self, *, resets: bool = True) -> None:
        super().__init__()
        self.resets = resets


class _Exchange:
    """One connection. heard: of the request that is being made; whole: all of it has passed."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.heard = bytearray()
        self.whole = False
        self.requests = 0
        self.lost = False


class Proxy:
    """The proxy, as a context manager.

    port: where the receiver listens on this machine.
    ends: tells where requests end. greets: the receiver speaks first, as SMTP has it.
    cuts_after: RESETS_IN_REQUEST counts its bytes from the end of these on.
    lost: how many requests arrived whole whose sender was not told so: no more duplicates can be explained.
    counts: how often each weather struck.
    """

    def __init__(
        self,
        port: int,
        *,
        ends: Ends = http_ends,
        greets: bool = False,
        cuts_after: bytes = b"",
        seed: object,
    ) -> None:
        self.counts: Counter[Weather] = Counter()
        self.lost = 0
        self.open_most = 0
        self._to = port
        self._ends = ends
        self._greets = greets
        self._cuts_after = cuts_after
        self._chance = random.Random(str(seed))
        self._weather = Weather.PASSES
        self._mixture: tuple[Weather, ...] = ()
        self._changed = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # Bound, but never listening: it keeps the port ours while it is closed.
        self._keeper = _bound(0)
        self.port: int = self._keeper.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._keeper.close()

    def url(self, path: str = "/", *, scheme: str = "http") -> str:
        """Say where to speak to it."""
        return f"{scheme}://{HOST}:{self.port}{path}"

    def set(self, weather: Weather, *mixture: Weather) -> None:
        """Change the weather, and return when it has changed. mixture: what MIXED chooses from."""
        self._do(self._set(weather, mixture))

    @property
    def open(self) -> int:
        """How many connections it has now."""
        return len(self._open)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        sock = _bound(self.port)
        self._listening = await asyncio.start_server(self._serve, sock=sock, backlog=4096)

    def _close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _end(self) -> None:
        self._close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _set(self, weather: Weather, mixture: tuple[Weather, ...]) -> None:
        assert (weather is Weather.MIXED) == bool(mixture)
        self._weather, self._mixture = weather, mixture
        self._changed.set()
        self._changed = asyncio.Event()
        if weather is Weather.REFUSES:
            self._close()
        elif self._listening is None:
            await self._listen()

    def _draw(self) -> Weather:
        if self._weather is Weather.MIXED:
            return self._chance.choice(self._mixture)
        return self._weather

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.open_most = max(self.open_most, len(self._open))
        exchange = _Exchange(self._draw())
        there: asyncio.StreamWriter | None = None
        try:
            await self._meet(exchange, reader, writer)
            from_there, there = await asyncio.open_connection(HOST, self._to)
            await self._relay(exchange, (reader, writer), (from_there, there))
            raise _Cut(resets=False)
        except _Cut as cut:
            if cut.resets:
                _reset(writer)
            else:
                with contextlib.suppress(OSError):
                    writer.close()
                    await writer.wait_closed()
        except (OSError, asyncio.CancelledError):
            pass  # One of the sides went away, or the test is over.
        finally:
            self._open.discard(task)
            self.lost += exchange.lost
            for side in (writer, there):
                if side is not None:
                    side.transport.abort()

    async def _meet(
        self, exchange: _Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """What happens before there is anybody behind the proxy. Raises: _Cut if nobody will be."""
        weather = exchange.weather
        if weather is Weather.RESETS_AT_ONCE or weather is Weather.REFUSES:
            self.counts[weather] += 1
            raise _Cut
        if weather is Weather.BLACK_HOLE or (self._greets and weather in (Weather.GARBAGE, Weather.BUSY)):
            await self._spoil(exchange, reader, writer)
        if self._greets and weather is Weather.HALF_CLOSES:
            writer.write_eof()

    async def _spoil(
        self, exchange: _Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Say something else in the receiver's place. Raises: _Cut, always."""
        self.counts[exchange.weather] += 1
        if exchange.weather is Weather.BLACK_HOLE:
            await self._swallow(reader)
            raise _Cut
        said = b"421 4.3.2 Too busy\r\n"
        if exchange.weather is Weather.GARBAGE:
            said = self._chance.choice((*GARBAGE, self._chance.randbytes(self._chance.randrange(1, 2_000))))
        writer.write(said)
        await writer.drain()
        raise _Cut(resets=False)

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        """Take everything, until its sender goes away or the weather changes."""

        async def read() -> None:
            while await reader.read(PIECE):
                pass

        waits = [asyncio.create_task(read()), asyncio.create_task(self._changed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _relay(
        self,
        exchange: _Exchange,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry both ways until one of them ends. Raises: _Cut."""
        ways = [
            asyncio.create_task(self._carry_requests(exchange, here[0], here[1], there[1])),
            asyncio.create_task(self._carry_answers(exchange, there[0], here[1])),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry_requests(
        self,
        exchange: _Exchange,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamWriter,
    ) -> None:
        cut_at = self._chance.randrange(1, REQUEST_BYTES_MAX)
        while piece := await reader.read(PIECE):
            if exchange.whole:  # The next request begins.
                exchange.whole = False
                exchange.heard.clear()
                exchange.weather = self._draw()
            if not exchange.heard:
                exchange.requests += 1
                await self._begin(exchange, reader, writer)
            exchange.heard += piece
            whole = self._ends(bytes(exchange.heard))
            match exchange.weather:
                case Weather.RESETS_IN_REQUEST:
                    start = exchange.heard.find(self._cuts_after)
                    if start >= 0:
                        over = len(exchange.heard) - (start + len(self._cuts_after) + cut_at)
                        over = max(over, int(whole))  # Whole it must never be.
                        if over >= 0:
                            there.write(piece[: max(0, len(piece) - over)])
                            await there.drain()
                            raise _Cut
                case Weather.LATENCY:
                    await asyncio.sleep(self._chance.random() * LATENCY_S_MAX)
                case Weather.DRIP:
                    for position in range(len(piece) - 1):
                        there.write(piece[position : position + 1])
                        await there.drain()
                        await asyncio.sleep(0)
                    piece = piece[-1:]
                case _:
                    pass
            exchange.whole = whole
            exchange.lost = whole and exchange.weather in DUPLICATES
            there.write(piece)
            await there.drain()
        if exchange.weather is Weather.HALF_CLOSES:
            there.write_eof()
            await asyncio.sleep(LATENCY_S_MAX)  # The receiver may still be reading what has passed.

    async def _begin(
        self, exchange: _Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A request begins. Raises: _Cut if that is all that it will do."""
        match exchange.weather:
            case Weather.RESETS_AT_ONCE | Weather.REFUSES:
                self.counts[exchange.weather] += 1
                raise _Cut
            case Weather.BLACK_HOLE | Weather.GARBAGE | Weather.BUSY:
                await self._spoil(exchange, reader, writer)
            case Weather.DROPS_IDLE:
                if exchange.requests > 1:
                    self.counts[exchange.weather] += 1
                    raise _Cut
            case Weather.HALF_CLOSES:
                self.counts[exchange.weather] += 1
                with contextlib.suppress(OSError):
                    writer.write_eof()
            case _:
                self.counts[exchange.weather] += 1

    async def _carry_answers(
        self, exchange: _Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(PIECE):
            match exchange.weather:
                case Weather.HALF_CLOSES:
                    continue
                case Weather.LOSES_REPLY if exchange.whole:
                    raise _Cut
                case Weather.TRUNCATES if exchange.whole:
                    writer.write(piece[: self._chance.randrange(len(piece))])
                    await writer.drain()
                    raise _Cut(resets=False)
                case Weather.LATENCY:
                    await asyncio.sleep(self._chance.random() * LATENCY_S_MAX)
                    writer.write(piece)
                case Weather.DRIP:
                    for position in range(len(piece)):
                        writer.write(piece[position : position + 1])
                        await asyncio.sleep(DRIP_S)
                case _:
                    writer.write(piece)
            await writer.drain()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, port))
    return sock


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)  # On, for 0 s: close() sends RST instead of FIN.
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
