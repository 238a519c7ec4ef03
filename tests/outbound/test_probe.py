"""A probe takes the way of a delivery, under the same guard, and says nothing on it."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.http_sink import HttpSink, Reply
from tests.support.smtp_sink import SmtpSink, make_certificates

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.outbound import Failure, FailureKind, Outbound
from tocsin.ports import Reachable

LOOPBACK = ("127.0.0.0/8",)


def probe(
    url: str, *, timeout_s: float = 5.0, allowed: Sequence[str] = LOOPBACK, tls: ssl.SSLContext | None = None
) -> Failure | None:
    async def run() -> Failure | None:
        outbound = Outbound(allowed, tls=tls)
        try:
            return await outbound.probe(url, timeout_s=timeout_s)
        finally:
            await outbound.close()

    return asyncio.run(run())


def probe_sink(
    *,
    serve_tls: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext | None = None,
    allowed: Sequence[str] = LOOPBACK,
) -> tuple[HttpSink, Failure | None]:
    async def run() -> tuple[HttpSink, Failure | None]:
        outbound = Outbound(allowed, tls=trusted)
        async with HttpSink(Reply(), tls=serve_tls) as sink:
            failure = await outbound.probe(sink.url("/secret?token=1"), timeout_s=5)
            await outbound.close()
        return sink, failure

    return asyncio.run(run())


def test_a_receiver_that_listens_is_reached_and_asked_for_nothing() -> None:
    sink, failure = probe_sink()

    assert failure is None
    assert sink.connections == 1
    assert sink.requests == []


def test_what_the_guard_forbids_is_not_connected_to() -> None:
    sink, failure = probe_sink(allowed=())

    assert failure is not None
    assert failure.kind is FailureKind.FORBIDDEN
    assert "TOCSIN_ALLOW_PRIVATE" in failure.why
    assert sink.connections == 0


def test_a_certificate_is_checked_against_its_authority_and_the_name(tmp_path: Path) -> None:
    for folder in ("good", "other"):
        (tmp_path / folder).mkdir()
    good = make_certificates(tmp_path / "good", "127.0.0.1")
    other = make_certificates(tmp_path / "other", "sink.test")

    assert (
        probe_sink(serve_tls=good.server, trusted=ssl.create_default_context(cafile=good.ca_file))[1] is None
    )
    for failure in (
        probe_sink(serve_tls=good.server)[1],
        probe_sink(serve_tls=other.server, trusted=ssl.create_default_context(cafile=other.ca_file))[1],
    ):
        assert failure is not None
        assert failure.kind is FailureKind.TLS
        assert "The certificate of 127.0.0.1 is not valid" in failure.why


def test_a_port_without_tls_is_no_https() -> None:
    async def run() -> Failure | None:
        outbound = Outbound(LOOPBACK)
        async with HttpSink(Reply(raw=b"hello\r\n\r\n")) as sink:
            return await outbound.probe(f"https://127.0.0.1:{sink.port}/", timeout_s=0.3)

    failure = asyncio.run(run())

    assert failure is not None
    assert failure.kind in (FailureKind.TLS, FailureKind.TIMEOUT)


def test_a_port_on_which_nobody_listens_is_named_without_the_rest_of_the_url() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = probe(f"http://127.0.0.1:{taken.getsockname()[1]}/secret?token=1")

    assert failure is not None
    assert failure.kind is FailureKind.CONNECT
    assert "secret" not in failure.why
    assert "token" not in failure.why


def test_a_name_that_does_not_resolve_is_said() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failure = asyncio.run(Outbound(lookup=nobody).probe("https://gone.example/", timeout_s=5))

    assert failure is not None
    assert failure.kind is FailureKind.DNS
    assert "gone.example" in failure.why


def test_the_next_address_of_a_name_is_tried() -> None:
    async def run() -> tuple[HttpSink, Failure | None]:
        async def two(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.2", "127.0.0.1"]

        outbound = Outbound(LOOPBACK, lookup=two)
        async with HttpSink() as sink:
            return sink, await outbound.probe(f"http://two.example:{sink.port}/", timeout_s=5)

    sink, failure = asyncio.run(run())

    assert failure is None
    assert sink.connections == 1


@pytest.mark.parametrize("url", ["ftp://example.org/", "http://", "http://2130706433/"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    failure = probe(url)

    assert failure is not None
    assert failure.kind is FailureKind.INVALID_URL


@pytest.mark.parametrize("kind", ["webhook", "teams"])
def test_a_channel_of_http_is_tried_without_a_request(kind: str) -> None:
    async def run() -> tuple[HttpSink, str]:
        outbound = Outbound(LOOPBACK)
        async with HttpSink() as sink:
            url = sink.url("/secret")
            channel = (
                Webhook(WebhookConfig(name="a", url=url), outbound)
                if kind == "webhook"
                else Teams(TeamsConfig(name="a", url=url), outbound)
            )
            assert isinstance(channel, Reachable)
            assert channel.host == "127.0.0.1"
            return sink, await channel.probe()

    sink, why = asyncio.run(run())

    assert why == ""
    assert sink.connections == 1
    assert sink.requests == []


def mail(sink: SmtpSink, **changes: object) -> EmailConfig:
    fields: dict[str, object] = {"host": "127.0.0.1", "port": sink.port, "tls": "none", "timeout_s": 5.0}
    return EmailConfig(name="mail", sender="a@example.org", recipients=("b@example.org",), **fields | changes)  # type: ignore[arg-type]


def probe_relay(sink: SmtpSink, **changes: object) -> str:
    async def run() -> str:
        async with sink:
            channel = Email(mail(sink, **changes))
            assert isinstance(channel, Reachable)
            why = await channel.probe()
            await channel.close()
            return why

    return asyncio.run(run())


def test_a_relay_is_greeted_encrypted_and_logged_in_to_and_gets_no_mail(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, "127.0.0.1")
    sink = SmtpSink(tls="starttls", context=made.server, login=("anna", "secret"))

    why = probe_relay(sink, tls="starttls", ca_file=made.ca_file, user="anna", password="secret")

    assert why == ""
    assert sink.mails == []
    assert not any(command.startswith("MAIL") for command in sink.commands)


def test_a_relay_that_refuses_the_login_is_said_without_the_password(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, "127.0.0.1")
    sink = SmtpSink(tls="starttls", context=made.server, login=("anna", "secret"))

    why = probe_relay(sink, tls="starttls", ca_file=made.ca_file, user="anna", password="hunter2")

    assert "does not accept the login of anna" in why
    assert "hunter2" not in why


def test_a_relay_without_starttls_is_said() -> None:
    assert "does not offer STARTTLS" in probe_relay(SmtpSink(), tls="starttls")
