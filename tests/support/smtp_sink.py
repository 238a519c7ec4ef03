"""A real SMTP server (aiosmtpd) on loopback that answers as a script says, and remembers what it was sent.

    async with SmtpSink(recipients={"ben@example.org": ["450 4.2.0 Greylisted"]}) as sink:
        ... speak to 127.0.0.1, sink.port ...
    assert [mail.recipients for mail in sink.mails] == [["anna@example.org"]]

A script is a list of replies, used in order; when it is used up the server says yes.
"""

import asyncio
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DROP = "drop"
"""Instead of a reply: cut the connection without a word."""

HANG = "hang"
"""Instead of a reply: say nothing, until the client goes away."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail whose content arrived in full, also if the reply to it was a no. user: "" without a login."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    user: str


@dataclass(kw_only=True)
class SmtpSink:
    """The server; `async with` starts and ends it.

    tls: `none`, `starttls` (offered, and asked for before MAIL) or `implicit`; the latter two with `context`.
    login: (user, password) that is asked for before MAIL.
    auths, senders, recipients, contents: scripts for AUTH, MAIL, RCPT (by address) and the end of DATA. In
        the replies to AUTH, `{line}` becomes the client's argument.
    heard_in_clear: all that clients said outside of TLS.
    """

    tls: Literal["none", "starttls", "implicit"] = "none"
    context: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    auths: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: dict[str, list[str]] = field(default_factory=dict)
    contents: list[str] = field(default_factory=list)

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    connections: int = 0
    connections_open: set[SMTP] = field(default_factory=set)
    connections_most: int = 0
    commands: list[str] = field(default_factory=list)
    heard_in_clear: bytearray = field(default_factory=bytearray)
    tls_versions: set[str] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        implicit = self.context if self.tls == "implicit" else None
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [connection._handler_coroutine for connection in self.connections_open]
        self.hang_up()
        for task in tasks:
            task.cancel()  # a handshake that failed leaves aiosmtpd waiting for its end
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until this holds of mails or open connections. Raises: TimeoutError after 5 s."""
        async with asyncio.timeout(5):
            while not fact():
                self._changed.clear()
                await self._changed.wait()

    def hang_up(self) -> None:
        """Cut every connection that is open, as a relay does that restarts."""
        for connection in list(self.connections_open):
            if connection.transport is not None:
                connection.transport.abort()

    def _protocol(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Requiring AUTH while not requiring TLS"
            )  # as the test wants it
            return _Connection(
                self,
                _Handler(self),
                hostname="sink.test",
                tls_context=self.context if self.tls == "starttls" else None,
                require_starttls=self.tls == "starttls",
                auth_required=self.login is not None,
                auth_require_tls=self.tls == "starttls",
                authenticator=self._authenticate,
            )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        known = self.login is not None and (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=known, handled=False, auth_data=data)


class _Connection(SMTP):
    def __init__(self, sink: SmtpSink, handler: "_Handler", **options: Any) -> None:
        super().__init__(handler, loop=asyncio.get_running_loop(), **options)
        self._sink = sink

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self not in self._sink.connections_open:  # STARTTLS makes the same connection once more
            self._sink.connections += 1
            self._sink.connections_open.add(self)
            self._sink.connections_most = max(self._sink.connections_most, len(self._sink.connections_open))
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self._sink.tls_versions.add(tls.version())

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.connections_open.discard(self)
        self._sink._changed.set()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self.transport.get_extra_info("ssl_object") is None:
            self._sink.heard_in_clear += data
        super().data_received(data)

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        self._sink.commands.append(command)
        return await super()._call_handler_hook(command, *args)


class _Handler:
    def __init__(self, sink: SmtpSink) -> None:
        self._sink = sink

    async def handle_AUTH(self, server: SMTP, session: Session, envelope: Envelope, args: list[str]) -> Any:
        reply = await _next(self._sink.auths, server)
        return MISSING if reply is None else reply.replace("{line}", args[-1])

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := await _next(self._sink.senders, server)) is not None:
            return reply
        envelope.mail_from = address
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := await _next(self._sink.recipients.get(address, []), server)) is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        self._sink.mails.append(
            Mail(
                sender=envelope.mail_from or "",
                recipients=list(envelope.rcpt_tos),
                content=envelope.original_content,
                tls=server.transport.get_extra_info("ssl_object") is not None,
                user=session.login_data.decode() if session.login_data else "",
            )
        )
        self._sink._changed.set()
        reply = await _next(self._sink.contents, server)
        return f"250 2.0.0 Ok: queued as {len(self._sink.mails)}" if reply is None else reply


async def _next(script: list[str], server: SMTP) -> str | None:
    reply = script.pop(0) if script else None
    if reply == DROP:
        server.transport.abort()
    if reply in (DROP, HANG):
        await asyncio.Event().wait()  # until the lost connection cancels this task
    return reply


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """An authority made for one test run (`ca_file`), and what a server needs to show its signature."""

    ca_file: str
    server: ssl.SSLContext


def make_certificates(folder: Path, *names: str) -> Certificates:
    """Make an authority, and a server certificate for these host names or literal addresses."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name.from_rfc4514_string("CN=Test authority")
    authority = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    alternatives = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    server = (
        _builder(x509.Name.from_rfc4514_string("CN=Test server"), authority_name, server_key)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    ca_file, server_file = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    server_file.write_bytes(
        server.public_bytes(serialization.Encoding.PEM)
        + server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    return Certificates(ca_file=str(ca_file), server=context)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
