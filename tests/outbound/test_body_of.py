"""What a source makes of an answer that is none: whether it is away, without a word of what was said."""

import asyncio

import pytest
from tests.support.http_sink import HttpSink, Reply

from tocsin.core.model.errors import Invalid, check_all
from tocsin.outbound import Answer, Failure, FailureKind, Outbound, body_of, request_faults
from tocsin.ports import SourceFailed


def test_a_body_that_is_whole_is_given():
    assert body_of(Answer(status=200, body=b"geheim"), bytes_max=6) == b"geheim"
    assert body_of(Answer(status=204), bytes_max=6) == b""


@pytest.mark.parametrize("status", [199, 300, 302, 400, 401, 403, 404, 410, 429, 500, 503])
def test_every_other_status_is_a_source_that_is_away(status):
    with pytest.raises(SourceFailed, match=f"HTTP {status}") as failed:
        body_of(Answer(status=status, body=b"geheim", location="https://geheim/"), bytes_max=100)

    assert failed.value.is_away
    assert "geheim" not in str(failed.value)


@pytest.mark.parametrize("kind", FailureKind)
def test_no_answer_is_a_source_that_is_away(kind):
    with pytest.raises(SourceFailed, match="why so") as failed:
        body_of(Failure(kind=kind, why="why so"), bytes_max=100)

    assert failed.value.is_away


def fetch(reply: Reply, bytes_max: int) -> bytes:
    async def run():
        outbound = Outbound(("127.0.0.0/8",))
        try:
            async with HttpSink(reply) as sink:
                answer = await outbound.get(sink.url(), headers={}, timeout_s=10, answer_bytes_max=bytes_max)
            return body_of(answer, bytes_max=bytes_max)
        finally:
            await outbound.close()

    return asyncio.run(run())


def test_megabytes_are_read_whole_if_they_are_asked_for():
    body = bytes(range(256)) * 4_096 * 4

    assert fetch(Reply(body=body), len(body)) == body


def test_a_body_that_is_too_large_is_the_fault_of_the_question():
    with pytest.raises(SourceFailed, match="more than 1,000 bytes") as failed:
        fetch(Reply(body=b"x" * 1_001), 1_000)

    assert not failed.value.is_away


def test_a_body_without_end_is_not_read_on():
    with pytest.raises(SourceFailed, match="more than 1,000 bytes"):
        fetch(Reply(endless=True), 1_000)


def test_a_body_that_breaks_is_a_source_that_is_away():
    with pytest.raises(SourceFailed, match="broke") as failed:
        fetch(Reply(body=b"x" * 100_000, reset="body"), 1_000_000)

    assert failed.value.is_away


@pytest.mark.parametrize(
    ("given", "field", "why"),
    [
        ({"name": ""}, "name", "needs a name"),
        ({"url": ""}, "url", "is none"),
        ({"url": "geheim"}, "url", "is none"),
        ({"url": "ftp://x/geheim"}, "url", "is none"),
        ({"url": "http:///geheim"}, "url", "is none"),
        ({"url": "http://x:geheim/"}, "url", "is none"),
        ({"url": "http://[geheim/"}, "url", "is none"),
        ({"timeout_s": 0}, "timeout_s", "more than 0"),
        ({"timeout_s": float("nan")}, "timeout_s", "more than 0"),
        ({"timeout_s": 300.1}, "timeout_s", "at most 300"),
        ({"headers": [("Host", "geheim")]}, "headers", "may not send the header 'Host'"),
        ({"headers": [("Content-Type", "geheim")]}, "headers", "may not send"),
        ({"headers": [("A b", "geheim")]}, "headers", "may not send"),
        ({"headers": [("A", "geheim\r\nB: c")]}, "headers", "printable ASCII"),
        ({"headers": [("A", "geheimä")]}, "headers", "printable ASCII"),
    ],
)
def test_what_cannot_be_sent_is_refused_without_its_values(given, field, why):
    good = {"name": "shop", "url": "https://x/", "headers": [("A", "b")], "timeout_s": 1.0}

    check_all([*request_faults(**good)])
    with pytest.raises(Invalid, match=why) as refused:
        check_all([*request_faults(**good | given)])

    assert refused.value.field == field
    assert "geheim" not in str(refused.value)
