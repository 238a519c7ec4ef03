"""What arrives on the wire in bad faith: two lengths, endless headers, a byte now and then."""

import socket
import time
from collections.abc import Iterator

import pytest
from tests.web.faces import ALERT, Face, Hasty, a_face

from tocsin.core.model.access import Role
from tocsin.web.connections import HEAD_BYTES_MAX, PatientProtocol
from tocsin.web.hot import PATH


@pytest.fixture(scope="module")
def face() -> Iterator[Face]:
    """A server that soon loses patience."""
    with a_face(protocol=Hasty) as one:
        yield one


def head(face: Face, *lines: str, method: str = "POST", path: str = PATH) -> bytes:
    token = f"Authorization: Bearer {face.tokens[Role.ADMIN]}"
    first = f"{method} {path} HTTP/1.1"
    return "\r\n".join([first, "Host: x", token, "Content-Type: application/json", *lines, "", ""]).encode()


def test_the_server_has_the_patience_that_is_written_here() -> None:
    assert (PatientProtocol.head_s, PatientProtocol.request_s) == (10.0, 60.0)


def test_a_request_for_which_there_is_no_memory_is_not_called_wrong(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(protocol: PatientProtocol, body: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(PatientProtocol, "on_body", starve)

    assert face.raw(head(face, "Content-Length: 2") + b"[]") == b""


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Content-Length: 4", "Content-Length: 5"),
        ("Content-Length: -1",),
        ("Content-Length: 4, 4",),
        ("Content-Length: +4",),
        ("Content-Length: 0x4",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\x0bchunked",),
        (" Folded: yes",),
    ],
    ids=lambda lines: " | ".join(lines).replace("\x0b", "VT"),
)
def test_a_request_with_two_readings_is_refused_and_what_follows_it_is_no_request(
    face: Face, lines: tuple[str, ...]
) -> None:
    before = face.entries()
    smuggled = head(face, "Content-Length: 0", method="GET", path="/healthz")

    answer = face.raw(head(face, *lines) + b"0\r\n\r\n" + smuggled)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert face.entries() == before


def test_a_connection_that_says_nothing_is_closed(face: Face) -> None:
    assert face.raw(b"") == b""


def test_a_head_that_drips_is_cut_off(face: Face) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", face.port), timeout=10) as connection:
        connection.sendall(head(face)[:-2])
        connection.settimeout(0.05)
        while time.monotonic() < begun + 10:
            try:
                connection.sendall(b"X-Drip: 1\r\n")
                if connection.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break

    assert time.monotonic() - begun < 5


def test_a_body_that_never_ends_is_cut_off_and_nothing_is_stored(face: Face) -> None:
    before = face.entries()

    answer = face.raw(head(face, "Content-Length: 1000") + b'[{"rule_id":')

    assert answer == b""
    assert face.entries() == before


def test_many_who_say_nothing_do_not_keep_others_out(face: Face) -> None:
    silent = [socket.create_connection(("127.0.0.1", face.port), timeout=10) for _ in range(200)]
    try:
        assert face.post(ALERT)[0] == 200
        assert all(Face.rest(connection) == b"" for connection in silent)
    finally:
        for connection in silent:
            connection.close()


def test_a_slow_commit_is_no_slow_sender(face: Face) -> None:
    import threading

    begun, go_on = threading.Event(), threading.Event()

    def hold(batch: object) -> None:
        begun.set()
        assert go_on.wait(20)

    face.store.before = hold
    try:
        with socket.create_connection(("127.0.0.1", face.port), timeout=20) as connection:
            body = b'{"rule_id":"slow commit","severity":"info","message":"m"}'
            connection.sendall(head(face, f"Content-Length: {len(body)}", "Connection: close") + body)
            assert begun.wait(20)
            face.raw(b"")  # Returns when the patience of the test's server is over.
            face.raw(b"")
            go_on.set()
            assert Face.rest(connection).startswith(b"HTTP/1.1 200 ")
    finally:
        go_on.set()
        face.store.before = lambda batch: None


@pytest.mark.parametrize("part", ["X-Long: ", "X-Many: 1\r\n"])
def test_headers_that_never_end_are_cut_off(face: Face, part: str) -> None:
    data = head(face)[:-2] + part.encode() * (1 + 2 * HEAD_BYTES_MAX // len(part))

    answer = face.raw(data)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_requests_one_after_another_on_one_connection_are_all_answered(face: Face) -> None:
    body = b'{"rule_id":"pipe","severity":"info","message":"m"}'
    one = head(face, f"Content-Length: {len(body)}") + body
    last = head(face, f"Content-Length: {len(body)}", "Connection: close") + body

    answer = face.raw(one * 5 + last)

    assert answer.count(b"HTTP/1.1 200 ") == 6
