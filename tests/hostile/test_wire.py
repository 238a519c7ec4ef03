"""Raw bytes at the door: what is no HTTP, or two requests in one, is refused; nothing is taken twice or by another's token.

The server must live after each, answer within a time, and have no more entries than requests that it answered with 200.
"""

import contextlib
import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.hostile.fuzzing import changed, examples
from tests.hostile.scene import size_of
from tests.reliability.tally import tally
from tests.support.server import Server

READ_S = 5.0
QUIET_S = 0.3
"""Whoever has said nothing for so long has nothing to say; in a slow moment a test sees less, and never too much."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("wire") / "data") as server:
        yield server


def ask(server: Server, raw: bytes, *, ends: bool = False, read_s: float = QUIET_S) -> bytes:
    """Send it, and read all that comes back until the server hangs up, or is silent for so long.

    ends: say then that nothing more comes, which makes the server hang up without an answer.
    """
    said = b""
    with socket.create_connection(("127.0.0.1", server.port), read_s) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(raw)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while part := connection.recv(65_536):
                said += part
    return said


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


CLOSE = b"Connection: close"
NUMBER = iter(range(10**9))


def told(server: Server, raw: bytes) -> list[int]:
    """The statuses of all answers to what ends with a request after which the server hangs up."""
    return statuses(ask(server, raw, read_s=READ_S))


def body(name: str = "") -> bytes:
    """An alert that nobody else sends."""
    return json.dumps({"rule_id": f"wire {name} {next(NUMBER)}", "severity": "info", "message": "x"}).encode()


def request(
    server: Server, *lines: bytes, content: bytes = b"", path: bytes = b"/api/v1/alerts", length: bool = True
) -> bytes:
    """A request with a good token, and these lines besides."""
    head = [b"POST %s HTTP/1.1" % path, b"Host: x", b"Authorization: Bearer %s" % server.token.encode(),
            b"Content-Type: application/json", *lines]  # fmt: skip
    if length:
        head.append(b"Content-Length: %d" % len(content))
    return b"\r\n".join(head) + b"\r\n\r\n" + content


def incidents(server: Server) -> int:
    total: int = server.request("GET", "/api/v1/incidents?limit=1")[2]["total"]
    return total


def test_a_good_request_is_taken_once(server: Server) -> None:
    before = incidents(server)

    assert told(server, request(server, CLOSE, content=body())) == [200]
    assert incidents(server) == before + 1


SMUGGLED = b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


# (name, the lines, whether Content-Length is added by itself, what stands behind the head)
AMBIGUOUS = [
    ("length and chunks", [CHUNKED, b"Content-Length: 4"], b"0\r\n\r\n" + SMUGGLED),
    ("chunks and length", [b"Content-Length: 6", CHUNKED], b"0\r\n\r\nX" + SMUGGLED),
    ("two lengths", [b"Content-Length: 0", b"Content-Length: 44"], SMUGGLED),
    ("two lengths in one", [b"Content-Length: 0, 44"], SMUGGLED),
    ("a length with a sign", [b"Content-Length: +5"], b"{}   " + SMUGGLED),
    ("a negative length", [b"Content-Length: -1"], SMUGGLED),
    ("a hexadecimal length", [b"Content-Length: 0x5"], b"{}   " + SMUGGLED),
    ("a length with an underscore", [b"Content-Length: 1_0"], b"{}" + SMUGGLED),
    ("a length of other digits", ["Content-Length: \u0665".encode()], b"{}   " + SMUGGLED),
    ("a length beyond 64 bits", [b"Content-Length: 18446744073709551621"], b"{}   " + SMUGGLED),
    ("a length of many digits", [b"Content-Length: " + b"9" * 5_000], b"{}"),
    ("an empty length", [b"Content-Length:"], b"{}" + SMUGGLED),
    ("white before the colon", [b"Content-Length : 5"], b"{}   " + SMUGGLED),
    ("white before the name", [b" Content-Length: 5"], b"{}   " + SMUGGLED),
    ("another encoding", [b"Transfer-Encoding: xchunked"], b"0\r\n\r\n" + SMUGGLED),
    ("chunked, then another", [b"Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + SMUGGLED),
    ("chunked twice", [CHUNKED, CHUNKED], b"0\r\n\r\n" + SMUGGLED),
    ("chunked behind a vertical tab", [b"Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n" + SMUGGLED),
    ("chunked with a line feed", [b"X: y\nTransfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    ("chunked, folded", [b"Transfer-Encoding:", b" chunked"], b"0\r\n\r\n" + SMUGGLED),
    ("a chunk with a sign", [CHUNKED], b"+2\r\n{}\r\n0\r\n\r\n"),
    ("a negative chunk", [CHUNKED], b"-2\r\n{}\r\n0\r\n\r\n"),
    ("a hexadecimal chunk with 0x", [CHUNKED], b"0x2\r\n{}\r\n0\r\n\r\n"),
    ("a chunk beyond 64 bits", [CHUNKED], b"10000000000000002\r\n{}\r\n0\r\n\r\n"),
    ("a chunk that is longer than it says", [CHUNKED], b"1\r\n{}\r\n0\r\n\r\n"),
    ("chunks with line feeds only", [CHUNKED], b"2\n{}\n0\n\n"),
    ("a NUL in a header", [b"X: a\x00b", b"Content-Length: 2"], b"{}"),
    ("a NUL in a header's name", [b"X\x00: a", b"Content-Length: 2"], b"{}"),
    ("a carriage return in a header", [b"X: a\rTransfer-Encoding: chunked", b"Content-Length: 2"], b"{}"),
    ("a header without a colon", [b"X-0wned", b"Content-Length: 2"], b"{}"),
    ("an empty header's name", [b": 0wned", b"Content-Length: 2"], b"{}"),
]


def asked(server: Server, requests: dict[str, bytes]) -> dict[str, bytes]:
    """Ask all of it at the same time, each on a connection of its own, and give what came back."""
    with ThreadPoolExecutor(max_workers=len(requests)) as pool:
        return dict(zip(requests, pool.map(lambda raw: ask(server, raw), requests.values()), strict=True))


def test_what_two_readers_would_read_in_two_ways_is_refused_and_nothing_behind_it_is_answered(
    server: Server,
) -> None:
    before = incidents(server)

    answers = asked(
        server, {name: request(server, *lines, length=False) + behind for name, lines, behind in AMBIGUOUS}
    )

    for name, said in answers.items():
        found = statuses(said)
        assert 200 not in found, (name, said)
        assert len([status for status in found if status != 401]) <= 1, (name, said)
        assert found[:1] in ([400], [411], [413], [422], [501], []), (name, said)
    assert incidents(server) == before
    assert not server.is_dead
    tally("hostile requests", requests=len(AMBIGUOUS))


HEADS = {
    "nothing": b"",
    "one byte": b"\x00",
    "noise": bytes(range(256)) * 4,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9,
    "HTTP/0.9": b"GET /healthz\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "HTTP/9.9": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with spaces": b"GET /a b c HTTP/1.1\r\nHost: x\r\n\r\n",
    "a whole URL": b"GET http://evil.test/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "another scheme": b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: x\r\nCookie: s3cret\r\n\r\n",
    "a method of its own": b"0WNED / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long method": b"X" * 100_000 + b" / HTTP/1.1\r\n\r\n",
    "a long path": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "many empty lines": b"\r\n" * 100_000,
    "two hosts": b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /api/v1/me HTTP/1.1\r\n\r\n",
    "a hostile host": b"GET /api/v1/me HTTP/1.1\r\nHost: evil.test/\"><script>0wned</script>\r\n\r\n",
    "upgrade": b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "upgrade to HTTP/2": b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "expect": b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nExpect: 0wned\r\nContent-Length: 2\r\n\r\n{}",
    "up": b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "up, encoded": b"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a path": b"GET /api/v1/incidents/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "overlong in a path": b"GET /api/v1/incidents/%c0%af%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a percent": b"GET /api/v1/incidents/%2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a line in a path": b"GET /api/v1/%0d%0aSet-Cookie:%200wned=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "double slashes": b"GET //api//v1//me HTTP/1.1\r\nHost: x\r\n\r\n",
    "raw bytes in a path": b"GET /\xff\xfe\xed\xa0\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a hostile token": b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xed\xa0\x80' OR 1=1 --\r\n\r\n",
    "a long token": b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"x" * 60_000 + b"\r\n\r\n",
    "two tokens": b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "a method to override": b"POST /api/v1/me HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n",
    "somebody else's address": b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=0wned\r\n\r\n",
}  # fmt: skip


def test_heads_that_mean_harm_are_answered_or_hung_up_on(server: Server) -> None:
    before, began = size_of(server), time.monotonic()

    answers = asked(server, HEADS)

    assert time.monotonic() - began < 3 * READ_S
    for name, said in answers.items():
        assert set(statuses(said)) <= {200, 400, 401, 403, 404, 405, 413, 414, 426, 429, 431, 501, 505}, (
            name,
            said,
        )
        if 200 in statuses(said):
            assert b"/healthz" in HEADS[name], name
        assert b"0wned" not in said or b"problem+json" in said, (name, said)
        assert b"s3cret" not in said, name
        assert b"Set-Cookie" not in said.partition(b"\r\n\r\n")[0], name
        assert b"root:" not in said, name
        assert b"Traceback" not in said, name
    assert statuses(answers["HTTP/1.0"]) == [200]
    assert not server.is_dead
    assert size_of(server) - before <= 5, "who was turned away is recorded, the first of each kind"
    tally("hostile requests", requests=len(HEADS))


def test_pipelined_requests_are_answered_in_order_and_each_once(server: Server) -> None:
    before = incidents(server)
    many = b"".join(request(server, content=body("pipeline")) for _ in range(50))

    assert told(server, many + request(server, CLOSE, content=body("pipeline"))) == [200] * 51
    assert incidents(server) == before + 51


def test_one_who_goes_away_from_pipelined_requests_leaves_no_mistake_in_the_log(server: Server) -> None:
    anonymous = b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(10):
        ask(server, b"".join(request(server, content=body("gone")) for _ in range(30)), ends=True)
        ask(server, anonymous * 30, ends=True)
    assert told(server, request(server, CLOSE, content=body("after"))) == [200]

    assert "Traceback" not in server.log.read_text("utf-8")


def test_a_request_behind_one_that_is_refused_uses_nobody_elses_token(server: Server) -> None:
    anonymous = b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    assert told(server, request(server, content=body("first")) + anonymous) == [200, 401]


def test_what_is_cut_off_is_not_taken(server: Server) -> None:
    before = incidents(server)
    whole = request(server, content=body("cut"))
    for length in (1, 20, len(whole) // 2, len(whole) - 1):
        assert 200 not in statuses(ask(server, whole[:length], ends=True))
    cut = request(server, CHUNKED, length=False) + b"40\r\n" + body("cut")[:30]
    assert 200 not in statuses(ask(server, cut, ends=True))

    assert incidents(server) == before


BOMB = gzip.compress(b'{"rule_id":"' + b"x" * (48 << 20), 9)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip", b"x-0wned"])
def test_a_compressed_body_is_never_unfolded(server: Server, encoding: bytes) -> None:
    before, memory = size_of(server), psutil.Process(server.pid).memory_info().rss
    said = ask(
        server, request(server, b"Content-Encoding: %s" % encoding, CLOSE, content=BOMB), read_s=READ_S
    )

    assert statuses(said)[0] in (400, 415, 422), said
    assert size_of(server) == before
    assert psutil.Process(server.pid).memory_info().rss - memory < 32 << 20


def test_a_body_beyond_the_limit_is_refused_before_it_was_read(server: Server) -> None:
    memory = psutil.Process(server.pid).memory_info().rss
    for lines, sent in (
        ([b"Content-Length: 99999999999"], b""),
        ([CHUNKED], (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 300),
    ):
        said = ask(server, request(server, *lines, length=False) + sent, read_s=1.0)
        assert statuses(said)[:1] in ([413], []), said[:200]
    assert psutil.Process(server.pid).memory_info().rss - memory < 96 << 20
    assert told(server, request(server, CLOSE, content=body("after"))) == [200]


def test_hundreds_who_say_nothing_or_little_keep_nobody_waiting(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), READ_S))
            for _ in range(300)
        ]
        for index, connection in enumerate(slow):
            connection.sendall(request(server, content=body("slow"))[: index % 150])
        began = time.monotonic()
        for _ in range(20):
            assert told(server, request(server, CLOSE, content=body("quick"))) == [200]
        assert time.monotonic() - began < READ_S


def test_one_who_never_reads_the_answer_keeps_nobody_waiting(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), READ_S) as deaf:
        ask_ = (
            b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
            % server.token.encode()
        )
        deaf.settimeout(0.2)
        with contextlib.suppress(OSError):
            deaf.sendall(ask_ * 500)
        began = time.monotonic()
        assert told(server, request(server, CLOSE, content=body("quick"))) == [200]
        assert time.monotonic() - began < READ_S


GOOD = (
    b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    b'Connection: close\r\n\r\n10\r\n{"rule_id":"x"}\n\r\n0\r\n\r\n'
)


@examples(80)
@example(b"POST /api/v1/alerts HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n")
@given(changed(GOOD) | st.binary(max_size=200))
def test_any_bytes_are_answered_with_a_status_or_hung_up_on(server: Server, raw: bytes) -> None:
    said = ask(server, raw)

    assert all(400 <= status < 600 and status not in (500, 502, 503) for status in statuses(said)), said
    assert not server.is_dead


@examples(60)
@given(st.data())
def test_a_change_to_a_good_request_is_taken_once_or_not_at_all(server: Server, data: st.DataObject) -> None:
    before = incidents(server)
    good = request(server, CLOSE, content=body("fuzz"))

    found = statuses(ask(server, data.draw(changed(good))))

    assert 500 not in found
    assert incidents(server) - before <= found.count(200)


def test_after_all_of_this_the_log_holds_no_mistake_of_ours(server: Server) -> None:
    log = server.log.read_text("utf-8")

    assert "Traceback" not in log, log[log.index("Traceback") - 200 :][:3_000]
    assert log.isascii()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=READ_S)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_server_that_was_asked_all_of_this_stops_in_order(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        asked(server, HEADS)
        assert server.stop() == 0
