"""A receiver or a relay that answers with malice costs one attempt: bounded time, bounded memory, an outcome."""

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.channels.messages import AT, a_message
from tests.hostile.fuzzing import examples, raws, texts
from tests.hostile.looking import acting_in, steering_in
from tests.reliability.tally import tally
from tests.sources.asking import an_ask

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Accepted, Delivered, Outcome, Refused, Retry, Target
from tocsin.outbound import Answer, Failure, Outbound
from tocsin.ports import SourceFailed
from tocsin.sources.http import Http, HttpConfig
from tocsin.sources.prometheus import Prometheus, PrometheusConfig

TIMEOUT_S = 1.0
LATE_S = TIMEOUT_S + 30.0
"""Nobody waits for what never ends; a machine that is busy with other things may take its time."""
GROWTH_MAX = 48 * 1024 * 1024
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def speaking(speak: Speak) -> AsyncIterator[int]:
    """A server that says whatever it likes; its port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def grown() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bounded(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Make it, and assert that it took neither long nor much."""

    async def run() -> Any:
        before, began = grown(), time.monotonic()
        found = await attempt()
        assert time.monotonic() - began < LATE_S
        assert grown() - before < GROWTH_MAX, f"{(grown() - before) >> 20} MiB more"
        return found

    return asyncio.run(run())


# HTTP


def says(*parts: bytes, endless: bytes = b"", then: str = "close") -> Speak:
    """Read a request, then say this; endless: again and again; then: "close" or "wait"."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
        await writer.drain()
        while endless:
            writer.write(endless)
            await writer.drain()
            await asyncio.sleep(0)
        if then == "wait":
            await reader.read()

    return speak


HTTP: dict[str, Speak] = {
    "nothing": says(b""),
    "noise": says(bytes(range(256)) * 10),
    "endless noise": says(endless=b"\x00" * 65_536),
    "endless status line": says(b"HTTP/1.1 200 ", endless=b"x" * 65_536),
    "endless header": says(b"HTTP/1.1 200 OK\r\nX: ", endless=b"x" * 65_536),
    "endless headers": says(b"HTTP/1.1 200 OK\r\n", endless=b"X-Header: some value\r\n" * 1_000),
    "endless empty lines": says(endless=b"\r\n" * 10_000),
    "endless 100 Continue": says(endless=b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "endless 103 Early Hints": says(endless=b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 500),
    "100 and nothing more": says(b"HTTP/1.1 100 Continue\r\n\r\n", then="wait"),
    "101": says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", then="wait"
    ),
    "endless body": says(b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x" * 65_536),
    "endless chunks": says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", endless=b"1\r\nx\r\n" * 5_000
    ),
    "endless chunk extension": says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", endless=b"x" * 65_536
    ),
    "endless trailers": says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", endless=b"X: y\r\n" * 5_000
    ),
    "a chunk of 2^64": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nx"),
    "a negative chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n"),
    "a length of 2^64": says(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nx"),
    "a length of many digits": says(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 6_000 + b"\r\n\r\nx"),
    "a negative length": says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    "length and chunks": says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "header folding": says(b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"),
    "header without a colon": says(b"HTTP/1.1 200 OK\r\nX y\r\n\r\n"),
    "NUL in a header": says(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"),
    "Latin-1 in a header": says(b"HTTP/1.1 429 \xe4\r\nRetry-After: \xff\xfe\r\nContent-Length: 0\r\n\r\n"),
    "status 0": says(b"HTTP/1.1 0 \r\n\r\n"),
    "status 99999": says(b"HTTP/1.1 99999 x\r\n\r\n"),
    "status 999": says(b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n"),
    "status no number": says(b"HTTP/1.1 abc x\r\n\r\n"),
    "HTTP/9.9": says(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/0.9": says(b"<html>ok</html>"),
    "ICY": says(b"ICY 200 OK\r\n\r\n"),
    "SMTP": says(b"220 mail.example.org ESMTP\r\n", then="wait"),
    "a gzip bomb": says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n\x1f\x8b" + b"\x00" * 28
    ),
    "unknown encodings": says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br, zstd, x-0wned\r\nContent-Type: text/html; charset=0wned\r\n"
        b"Content-Length: 2\r\n\r\n\xff\xfe"
    ),
    "retry after for ever": says(
        b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 500 + b"\r\nContent-Length: 0\r\n\r\n"
    ),
    "retry after a strange date": says(
        b"HTTP/1.1 503 x\r\nRetry-After: Mon, 99 Foo 99999 99:99:99 +9999\r\nContent-Length: 0\r\n\r\n"
    ),
    "cookies": says(
        b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b; Max-Age=0wned\r\n" * 100 + b"Content-Length: 0\r\n\r\n"
    ),
    "redirect inside": says(
        b"HTTP/1.1 302 x\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    ),
    "redirect by refresh": says(
        b"HTTP/1.1 200 OK\r\nRefresh: 0;url=http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    ),
    "proxy authentication": says(b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
    "sign in": says(b'HTTP/1.1 401 x\r\nWWW-Authenticate: Digest nonce="x"\r\nContent-Length: 0\r\n\r\n'),
    "a second answer behind the first": says(
        b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        then="wait",
    ),
    "Teams' flow, deep": says(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60_000),
    "Teams' flow, deep in what is not read": says(
        b'HTTP/1.1 200 OK\r\nContent-Length: 60006\r\n\r\n{"x": ' + b"[" * 60_000
    ),
    "Teams' flow, no UTF-8": says(
        b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"ok":true, "messageId":"\xff\xfe"}'
    ),
    "Teams' flow, a wrong type": says(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"ok": 1}'),
    "Teams' flow, hostile id": says(
        b'HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{"ok": true, "messageId": "\\u001b[31m0wned"}'
    ),
    "Teams' error inside of itself": says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\nreturned HTTP error 200 and then 999"
    ),
}


async def post(name: str) -> Outcome:
    async with speaking(HTTP[name]) as port:
        outbound = Outbound(("127.0.0.0/8",))
        url = f"http://127.0.0.1:{port}/s3cret?sig=s3cret"
        channel: Webhook | Teams = (
            Teams(TeamsConfig(name="x", url=url, timeout_s=TIMEOUT_S), outbound)
            if name.startswith("Teams")
            else Webhook(WebhookConfig(name="x", url=url, timeout_s=TIMEOUT_S), outbound)
        )
        try:
            target = Target(id="t", channel="x", address="x")
            return await channel.send(a_message(), target, key="ab" * 32, at=AT, dry_run=False)
        finally:
            await outbound.close()


def said(outcome: Outcome) -> str:
    assert isinstance(outcome, Accepted | Delivered | Retry | Refused)
    return outcome.detail if isinstance(outcome, Accepted | Delivered) else outcome.why


def at_once(attempt: Callable[[str], Awaitable[Outcome]], names: Iterable[str]) -> dict[str, Outcome]:
    """Make all of them at the same time, so that those that wait wait together."""

    async def run() -> list[Outcome]:
        return await asyncio.gather(*map(attempt, names))

    return dict(zip(names, bounded(run), strict=True))


def test_hostile_http_answers_are_one_outcome_each() -> None:
    for name, outcome in at_once(post, HTTP).items():
        assert 0 < len(said(outcome)) <= 400, name
        assert acting_in(said(outcome), lines=False) == [], name
        assert "s3cret" not in said(outcome), name
        assert "0wned" not in said(outcome), name
        if isinstance(outcome, Retry) and outcome.after_s is not None:
            assert 0 <= outcome.after_s <= 3_600, name
    tally("hostile HTTP answers", answers=len(HTTP))


@examples(60)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n")
@given(raws | st.binary(max_size=40).map(lambda noise: b"HTTP/1.1 200 OK\r\n" + noise + b"\r\n\r\n"))
def test_any_bytes_are_an_answer_or_a_failure(raw: bytes) -> None:
    async def attempt() -> Answer | Failure:
        async with speaking(says(raw)) as port:
            outbound = Outbound(("127.0.0.0/8",))
            try:
                return await outbound.get(f"http://127.0.0.1:{port}/s3cret", headers={}, timeout_s=TIMEOUT_S)
            finally:
                await outbound.close()

    found = asyncio.run(attempt())

    if isinstance(found, Failure):
        assert "s3cret" not in found.why
    else:
        assert len(found.body) <= 65_536


# Sources


@pytest.mark.parametrize("kind", ["prometheus", "http"])
def test_hostile_answers_to_a_source_are_series_or_a_failure_of_the_source(kind: str) -> None:
    async def asked(name: str) -> str:
        async with speaking(HTTP[name]) as port:
            outbound = Outbound(("127.0.0.0/8",))
            url = f"http://127.0.0.1:{port}/s3cret?sig=s3cret"
            source = (
                Prometheus(
                    PrometheusConfig(name="x", url=url.partition("?")[0], timeout_s=TIMEOUT_S), outbound
                )
                if kind == "prometheus"
                else Http(HttpConfig(name="x", url=url, timeout_s=TIMEOUT_S), outbound)
            )
            try:
                await source.ask(an_ask("up" if kind == "prometheus" else "$.value"))
            except SourceFailed as failed:
                return str(failed)
            finally:
                await outbound.close()
            return "it answered"

    async def run() -> list[str]:
        return await asyncio.gather(*map(asked, HTTP))

    for name, why in zip(HTTP, bounded(run), strict=True):
        assert 0 < len(why) <= 400, name
        assert acting_in(why, lines=False) == [], name
        assert "s3cret" not in why, name


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
SAMPLES = st.lists(st.tuples(st.integers() | st.floats() | texts, texts | st.integers()), max_size=3)
MATRIX = st.fixed_dictionaries({
    "status": st.sampled_from(["success", "error"]) | VALUES,
    "error": texts,
    "data": st.fixed_dictionaries({"result": st.lists(
        st.fixed_dictionaries({"metric": st.dictionaries(texts, texts, max_size=3), "values": SAMPLES}) | VALUES, max_size=3
    ) | VALUES}),
})  # fmt: skip


@examples(80)
@given(MATRIX | VALUES, st.sampled_from([200, 400, 422, 503]))
def test_whatever_json_a_source_gets_is_series_or_a_failure_of_the_source(said: object, status: int) -> None:
    body = json.dumps(said).encode()  # NaN and Infinity are written as Python does, which is no JSON

    class Answering(Outbound):
        async def post(self, url: str, **_: Any) -> Answer:
            return Answer(status=status, body=body)

        get = post  # type: ignore[assignment]

    for source in (
        Prometheus(PrometheusConfig(name="x", url="http://p.test"), Answering()),
        Http(HttpConfig(name="x", url="http://p.test"), Answering()),
    ):
        for query in ("$.data.result[*]", "$", "$[*] value=value at=at labels=*"):
            why = ""
            try:
                source.check(query)
                asyncio.run(source.ask(an_ask(query)))
            except (SourceFailed, Invalid) as failed:
                why = str(failed)
            assert acting_in(why, lines=False) == []
            assert len(why) < 1_000


# SMTP

GREETING = b"220 mail.example.org ESMTP\r\n"
EHLO = b"250-mail.example.org\r\n250 SIZE 35882577\r\n"
OK = b"250 2.0.0 Ok\r\n"
GO = b"354 End data with <CR><LF>.<CR><LF>\r\n"


def relay(*replies: bytes, endless: bytes = b"") -> Speak:
    """Say one of these after the other, each once something was heard; then the last thing without end, or nothing."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, reply in enumerate(replies):
            if number:
                await reader.read(65_536)
            writer.write(reply)
            await writer.drain()
        if endless:
            if replies:
                await reader.read(65_536)
            while True:
                writer.write(endless)
                await writer.drain()
                await asyncio.sleep(0)
        await reader.read()

    return speak


SMTP: dict[str, Speak] = {
    "nothing": relay(),
    "noise": relay(bytes(range(256)) * 4),
    "endless greeting": relay(endless=b"x" * 65_536),
    "endless lines of a greeting": relay(endless=b"220-0wned\r\n" * 5_000),
    "endless extensions": relay(GREETING, endless=b"250-X0WNED\r\n" * 5_000),
    "endless noise after MAIL": relay(GREETING, EHLO, endless=b"\x00" * 65_536),
    "endless lines after MAIL": relay(GREETING, EHLO, endless=b"250-0wned\r\n" * 5_000),
    "endless lines after RCPT": relay(GREETING, EHLO, OK, endless=b"250-0wned\r\n" * 5_000),
    "endless lines after DATA": relay(GREETING, EHLO, OK, OK, endless=b"354-0wned\r\n" * 5_000),
    "endless replies that nobody asked for": relay(GREETING, endless=b"250 ok\r\n" * 5_000),
    "no number": relay(b"abc mail\r\n"),
    "a huge number": relay(b"99999999999 mail\r\n"),
    "a number of other digits": relay("\u0662\u0662\u0660 mail\r\n".encode()),
    "two numbers in one reply": relay(GREETING, b"250-x\r\n550 y\r\n"),
    "half a line": relay(b"220 mail"),
    "line feeds only": relay(b"220 mail\n", b"250 x\n", b"250 x\n"),
    "a long line": relay(b"220 " + b"x" * 100_000 + b"\r\n"),
    "Latin-1": relay(b"220 \xe4\xff\r\n", b"250-\xff\r\n250 \xfe\r\n", b"550 \xe4\x1b[31m0wned\r\n"),
    "controls": relay(GREETING, EHLO, b"550 5.7.1 \x1b]0;0wned\x07 \x9b31m\x00\r\n"),
    "a long refusal": relay(GREETING, EHLO, b"550-" + b"x" * 500 + b"\r\n" + b"550 y\r\n"),
    "goodbye at once": relay(b"221 bye\r\n"),
    "goodbye in the middle": relay(GREETING, EHLO, b"421 4.3.2 bye\r\n"),
    "go ahead at the wrong time": relay(GREETING, EHLO, GO),
    "yes instead of go ahead": relay(GREETING, EHLO, OK, OK, OK),
    "a hostile size": relay(GREETING, b"250-x\r\n250-SIZE 0wned\r\n250 AUTH \x1b[31m\r\n", OK, OK, GO, OK),
    "taken, with malice": relay(GREETING, EHLO, OK, OK, GO, b"250 \x1b[2J\x070wned " + b"x" * 450 + b"\r\n"),
    "an HTTP answer": relay(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "replies before they are asked for": relay(GREETING + EHLO + OK + OK + GO + OK),
}


async def mail(speak: Speak, timeout_s: float = TIMEOUT_S / 2) -> Outcome:
    async with speaking(speak) as port:
        config = EmailConfig(
            name="mail",
            host="127.0.0.1",
            port=port,
            sender="t@example.org",
            recipients=("anna@example.org",),
            tls="none",
            timeout_s=timeout_s,
        )
        via = Email(config, resolve=loopback)
        try:
            target = Target(id="t", channel="mail", address="anna@example.org")
            return await via.send(a_message(), target, key="5f" * 32, at=AT, dry_run=False)
        finally:
            await via.close()


TAKEN = {"taken, with malice", "a hostile size", "replies before they are asked for"}


def test_hostile_relays_are_one_outcome_each() -> None:
    for name, outcome in at_once(lambda name: mail(SMTP[name]), SMTP).items():
        assert 0 < len(said(outcome)) <= 400, name
        assert acting_in(said(outcome), lines=False) == [], name
        assert not isinstance(outcome, Accepted) or name in TAKEN, name
    tally("hostile SMTP answers", answers=len(SMTP))


@examples(30)
@example([b"550 \xee\x80\x80\r\n"])
@example([GREETING, EHLO, "550 \u2028\u202e\u009b\r\n".encode()])
@given(st.lists(raws | st.sampled_from([GREETING, EHLO, OK, GO]), max_size=6))
def test_whatever_a_relay_says_is_an_outcome(replies: list[bytes]) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, reply in enumerate(replies):
            if number:
                await reader.read(65_536)
            writer.write(reply)
            await writer.drain()

    outcome = asyncio.run(mail(speak, timeout_s=0.05))

    assert steering_in(said(outcome)) == []
    assert len(said(outcome)) <= 400
