"""The stream of events, read by hand, and the watch that lives by it."""

import pytest
from tests.cli.test_client import answering
from tests.support.http_sink import Reply

from tocsin.cli.client import Server
from tocsin.cli.exits import UNEXPECTED, Failure
from tocsin.cli.stream import Event, follow, listen, read_events
from tocsin.cli.watch import changes

SSE = {"Content-Type": "text/event-stream"}


def events(stream: bytes) -> list[Event]:
    return [event for event in read_events(stream.splitlines(keepends=True)) if event is not None]


def test_an_event_has_its_id_its_kind_and_its_data() -> None:
    stream = b'retry: 1000\n\nid: 7\nevent: alert\ndata: {"seq": 7}\n\n'

    assert events(stream) == [Event("7", "alert", {"seq": 7})]


STREAMS: list[tuple[str, bytes, list[Event]]] = [
    ("lines of data are joined", b"data: [1,\ndata: 2]\n\n", [Event("", "message", [1, 2])]),
    ("no space is needed", b'id:1\ndata:{"a":1}\n\n', [Event("1", "message", {"a": 1})]),
    ("carriage returns", b"id: 1\r\ndata: 1\r\n\r\n", [Event("1", "message", 1)]),
    (
        "an id holds on",
        b"id: 1\ndata: 1\n\ndata: 2\n\n",
        [Event("1", "message", 1), Event("1", "message", 2)],
    ),
    ("a kind does not", b"event: a\ndata: 1\n\ndata: 2\n\n", [Event("", "a", 1), Event("", "message", 2)]),
    ("what is cut off is not told", b"data: 1\n\ndata: 2\n", [Event("", "message", 1)]),
    ("comments and unknown fields", b": hello\nfoo: bar\ndata: 1\n\n", [Event("", "message", 1)]),
    ("what is no JSON stays text", b"data: hm\n\n", [Event("", "message", "hm")]),
    ("bytes that are no text", b"data: \xff\n\n", [Event("", "message", "\ufffd")]),
]


@pytest.mark.parametrize(
    ("stream", "wanted"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS]
)
def test_the_stream_is_read_as_the_standard_has_it(stream: bytes, wanted: list[Event]) -> None:
    assert events(stream) == wanted


def test_a_sign_of_life_is_no_event() -> None:
    assert list(read_events([b": \n", b"\n"])) == [None, None]


def test_after_a_break_it_goes_on_behind_the_last_event_that_was_seen() -> None:
    first = Reply(headers=SSE, body=b"id: 3\ndata: 3\n\n")
    second = Reply(headers=SSE, body=b"id: 4\ndata: 4\n\n")

    with answering(first, second) as sink:
        followed = follow(Server(sink.url(), ""), {"kind": ("alert",)})
        seen = [next(followed).data, next(followed).data]

        assert seen == [3, 4]
        assert "last-event-id" not in sink.requests[0].headers
        assert sink.requests[1].headers["last-event-id"] == "3"
        assert sink.requests[0].path.endswith("/api/v1/events?kind=alert")


def test_a_refusal_is_told_and_not_tried_again() -> None:
    with answering(Reply(status=403, body=b'{"detail": "No."}')) as sink:
        with pytest.raises(Failure, match="No") as raised:
            next(follow(Server(sink.url(), ""), {}))

        assert raised.value.exit_code == 5
        assert len(sink.requests) == 1


def test_a_server_that_never_was_there_is_told() -> None:
    with pytest.raises(Failure) as raised:
        next(listen(Server("http://127.0.0.1:1", ""), {}))

    assert raised.value.exit_code == 6


def incident(number: int, state: str = "OPEN") -> dict[str, object]:
    return {"number": number, "state": state}


def test_only_what_changed_is_a_change() -> None:
    before = {1: incident(1), 2: incident(2), 3: incident(3)}
    now = {2: incident(2), 3: incident(3, "ACK"), 4: incident(4)}

    assert changes(before, now) == [
        ("gone", incident(1)),
        ("changed", incident(3, "ACK")),
        ("new", incident(4)),
    ]
    assert changes(now, now) == []


def test_at_first_everything_is_shown() -> None:
    assert changes({}, {1: incident(1)}, is_first=True) == [("shown", incident(1))]


def test_what_is_no_stream_is_told_and_not_followed_for_ever() -> None:
    other = Reply(headers={"Content-Type": "application/json"}, body=b"{}")

    with answering(other) as sink, pytest.raises(Failure) as raised:
        next(follow(Server(sink.url(), ""), {}))

    assert raised.value.exit_code == UNEXPECTED
    assert "Is this a Tocsin?" in raised.value.message


def test_data_that_is_nested_too_deep_stays_text() -> None:
    (event,) = events(b"data: " + b"[" * 100_000 + b"\n\n")

    assert event.data == "[" * 100_000
