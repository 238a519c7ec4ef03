"""The load: requests made beforehand, sent as fast as they are answered, from one epoll loop.

Each connection has one request under way (a closed loop). Nothing is decoded but what the check needs,
so that the generator is not what is measured; its own CPU is reported all the same.
"""

import gc
import http.client
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

HOST = "127.0.0.1"
RECEIVE_BYTES = 1 << 18


class LoadFailed(ConnectionError):
    """The server under test stopped answering as HTTP/1.1 should."""


@dataclass
class Sent:
    """What became of a list of requests.

    wall_s: from the first byte sent to the last answer read.
    statuses: how many answers had each status; 0 stands for a connection that closed without an answer.
    accepted: the sum of `"accepted": n` over all answers; 0 if that server says no such thing.
    unanswered: requests that were never sent or never answered before the deadline.
    first_error: the beginning of the first answer that was not 2xx.
    """

    wall_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    unanswered: int = 0
    first_error: str = ""

    @property
    def succeeded(self) -> int:
        """How many requests were answered 2xx."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)


class _Connection:
    """One keep-alive connection and the request that is under way on it."""

    __slots__ = ("buffer", "busy", "needed", "receive", "rest", "send", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.receive = self.socket.recv
        self.send = self.socket.send
        self.buffer = bytearray()  # an answer that came in pieces
        self.needed = 0  # the answer's whole length in bytes, once its head was read
        self.rest: memoryview | None = None  # what the socket would not take yet
        self.busy = False  # whether an answer is due


def answer_length(data: bytes | bytearray) -> int:
    """The whole length of the answer whose beginning this is; 0 while that cannot be known.

    Raises: LoadFailed for an answer that has neither a Content-Length nor chunks.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    start = data.find(b"ontent-length: ", 0, head_end)
    if start < 0:
        start = data.find(b"ontent-Length: ", 0, head_end)
    if start >= 0:
        stop = data.find(b"\r", start)
        return head_end + 4 + int(data[start + 15 : stop])
    if b"chunked" in data[:head_end].lower():
        # One request is under way at a time, so the last chunk can only be the buffer's end.
        return len(data) if data.endswith(b"0\r\n\r\n") else 0
    if data[9:12] == b"204":
        return head_end + 4
    raise LoadFailed(f"An answer without a length: {bytes(data[:300])!r}")


def accepted_in(answer: bytes | bytearray) -> int:
    """The number after `"accepted":`, 0 if the answer has none."""
    start = answer.find(b'"accepted":')
    if start < 0:
        return 0
    digits = bytes(answer[start + 11 : start + 24]).lstrip()
    stop = 0
    while digits[stop : stop + 1].isdigit():
        stop += 1
    return int(digits[:stop] or 0)


def send(ports: Sequence[int], requests: Sequence[bytes], *, connections: int, until_s: float) -> Sent:
    """Send every request once over this many connections, spread over the ports, and wait for the answers.

    until_s: give up after this long; what is missing then is counted as unanswered.
    """
    sent = Sent()
    statuses = sent.statuses
    poll = select.epoll()
    by_fd: dict[int, _Connection] = {}
    remaining = iter(requests)
    next_port = cycle(ports)
    count, active = len(requests), 0

    def open_connection() -> None:
        connection = _Connection(next(next_port))
        by_fd[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)

    def begin(fd: int, connection: _Connection) -> bool:
        """Put the next request on this connection; False if there is none left."""
        request = next(remaining, None)
        connection.busy = request is not None
        if request is None:
            return False
        try:
            took = connection.send(request)
        except BlockingIOError:
            took = 0
        if took < len(request):
            connection.rest = memoryview(request)[took:]
            poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
        return True

    def replace(fd: int) -> None:
        """The server closed this connection: if an answer was due, count that and go on with a new one."""
        nonlocal active
        poll.unregister(fd)
        closed = by_fd.pop(fd)
        closed.socket.close()
        if not closed.busy:
            return
        statuses[0] += 1
        active -= 1
        known = set(by_fd)
        try:
            open_connection()
        except OSError:
            return
        (new,) = set(by_fd) - known
        active += begin(new, by_fd[new])

    gc.collect()
    gc.disable()  # A collection in the middle would be measured as the server's time.
    try:
        for _ in range(min(connections, count)):
            open_connection()
        started = time.perf_counter()
        deadline = started + until_s
        for fd, connection in by_fd.items():
            active += begin(fd, connection)
        while active and time.perf_counter() < deadline:
            for fd, event in poll.poll(0.5):
                connection = by_fd[fd]
                if event & select.EPOLLOUT and connection.rest is not None:
                    try:
                        connection.rest = connection.rest[connection.send(connection.rest) :]
                    except BlockingIOError:
                        pass
                    except OSError:
                        replace(fd)
                        continue
                    if not connection.rest:
                        connection.rest = None
                        poll.modify(fd, select.EPOLLIN)
                if not event & ~select.EPOLLOUT:
                    continue
                try:
                    data: bytes | bytearray = connection.receive(RECEIVE_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    replace(fd)
                    continue
                if connection.buffer:
                    connection.buffer += data
                    data = connection.buffer
                needed = connection.needed or answer_length(data)
                if not needed or len(data) < needed:
                    connection.needed = needed
                    if data is not connection.buffer:
                        connection.buffer += data
                    continue
                status = int(data[9:12])
                statuses[status] += 1
                sent.accepted += accepted_in(data)
                if status >= 300 and not sent.first_error:
                    sent.first_error = bytes(data[:600]).decode("latin1")
                if connection.needed or connection.buffer:
                    connection.needed, connection.buffer = 0, bytearray()
                if not begin(fd, connection):
                    active -= 1
        sent.wall_s = time.perf_counter() - started
    finally:
        gc.enable()
        for connection in by_fd.values():
            connection.socket.close()
        poll.close()
    sent.unanswered = count - statuses.total()
    return sent


class Line:
    """One blocking keep-alive connection, for asking one thing after another and timing each."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> tuple[int, bytes, int]:
        """Send one request and read its answer: (status, whole answer, when sent in ns of CLOCK_MONOTONIC).

        Raises: LoadFailed if the server closes instead; TimeoutError after 10 s of silence.
        """
        at = time.monotonic_ns()
        self._socket.sendall(request)
        data = b""
        while True:
            piece = self._socket.recv(RECEIVE_BYTES)
            if not piece:
                raise LoadFailed(f"The server closed the connection after {len(data)} bytes: {data[:300]!r}")
            data += piece
            needed = answer_length(data)
            if needed and len(data) >= needed:
                return int(data[9:12]), data, at

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    token: str = "",
    body: bytes | None = None,
    timeout_s: float = 10,
) -> tuple[int, bytes]:
    """Ask once, outside what is timed: (status, body). Raises: OSError, http.client.HTTPException."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
