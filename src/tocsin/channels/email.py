"""Email: hand one message to one recipient over SMTP, and say what became of it.

What the mail says is `email_body`'s business. Here, a 250 means that the relay took it, and nothing more; a
connection that breaks after DATA leaves its fate open, so the same mail (same Message-ID) is sent again.
"""

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal, assert_never

import msgspec
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponseException,
)

from tocsin.channels.email_body import (
    check_address,
    check_sender,
    html_body,
    is_host_name,
    payload,
    plain_line,
    preview,
    subject,
    text_body,
)
from tocsin.core.model.errors import Invalid, check_all
from tocsin.core.model.notification import Accepted, DryRun, Message, Outcome, Refused, Retry, Target
from tocsin.ports import Rendered

__all__ = ["Email", "EmailConfig", "Resolve", "payload"]

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> the literal addresses that may be connected to, best first. See `Email`."""

CONNECTIONS_MAX = 8
"""At once, idle ones included: a burst must not look like an attack to the relay."""

IDLE_S = 20.0
"""After which an unused connection is closed. Relays hang up after 60 to 300 s, firewalls forget later."""

IDLE_CHECK_S = 5.0
"""How long a reused connection has to answer MAIL before it is taken for dead."""

GREYLISTED_S = 300
"""What greylisting relays usually ask for; sooner is a wasted attempt."""

SECRET_CHARACTERS_MIN = 8
"""A shorter password is not looked for in what the relay says."""

_STANDARD_PORTS = {"starttls": 587, "implicit": 465, "none": 25}

# What a hostile or broken server can make the library raise. RuntimeError is uvloop's way to say "closed".
_TROUBLE = (SMTPException, OSError, ValueError, RuntimeError, EOFError)


class EmailConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the relay, and who writes to whom. Checked as it is made.

    port: 0 for the standard one: 587 (starttls), 465 (implicit) or 25 (none).
    user, password: both or neither; the password appears in no text that this channel makes.
    sender: `address` or `Name <address>`.
    tls: `starttls` and `implicit` have no plaintext fallback. `none` is for a relay inside; it carries
        credentials only to a loopback address.
    ca_file: PEM file with the only authorities to trust; "" for the system's.
    timeout_s: for getting a connection, from DNS to login, and again for each command on it.
    ehlo_name: how to introduce ourselves; "" for our address, as RFC 5321 (4.1.4) has it.
    Raises: Invalid, whose field is the name of the wrong one; with all of them if they are several.
    """

    name: str
    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int = 0
    user: str = ""
    password: str = ""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca_file: str = ""
    timeout_s: float = 30.0
    ehlo_name: str = ""

    def __post_init__(self) -> None:
        check_all([*self._faults()])

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Find all that is wrong, as (field, what)."""
        if not self.name:
            yield "name", "An e-mail channel needs a name."
        if not (is_host_name(self.host) or _is_literal(self.host)):
            yield "host", "The mail host is neither a host name nor an IP address."
        if not 0 <= self.port <= 65_535:
            yield "port", f"Port {self.port} does not exist; give 1 to 65535, or 0."
        if self.tls not in _STANDARD_PORTS:
            yield "tls", "tls is one of starttls, implicit and none."
        if bool(self.user) != bool(self.password):
            missing = "password" if self.user else "user"
            yield missing, f"A mail login needs both user and password; {missing} is missing."
        if self.password and self.tls == "none" and not _is_loopback_name(self.host):
            yield (
                "tls",
                f"With tls none the password would cross the network to {self.host} in the clear. "
                "Use starttls or implicit, or leave out user and password.",
            )
        if not 0 < self.timeout_s <= 600:
            yield "timeout_s", "timeout_s is more than 0 and at most 600 seconds."
        if self.ehlo_name and not is_host_name(self.ehlo_name):
            yield "ehlo_name", "ehlo_name is not a host name."
        yield from _fault(lambda: check_sender(self.sender))
        if not self.recipients:
            yield "recipients", "An e-mail channel needs at least one recipient."
        for position, recipient in enumerate(self.recipients):
            field = f"recipients[{position}]"
            if recipient in self.recipients[:position]:
                yield field, f"{recipient} is listed twice."
            else:
                yield from _fault(lambda: check_address(recipient, field=field))  # noqa: B023 - called at once

    def __repr__(self) -> str:
        return (
            f"EmailConfig({self.name!r}: {self.user or 'nobody'} at {self.host}:{self.port}, tls {self.tls})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec gives every struct one with all its fields, and rich would print the password.
        return [("name", self.name), ("user", self.user), ("host", self.host), ("tls", self.tls)]


def _fault(check: Callable[[], object]) -> list[tuple[str, str]]:
    """Give what a check finds wrong, as (field, what)."""
    try:
        check()
    except Invalid as error:
        return [(error.field, str(error))]
    return []


class _Stale(Exception):
    """The reused connection had died; nothing of the mail was taken."""


class _Unreached(OSError):
    """No address of the relay gave a connection. cause: why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Unfit(SMTPException):
    """The relay does not offer what is required of it; nothing secret was sent."""


class Email:
    """The e-mail channel (`tocsin.ports.Channel`): one target, one mail, one outcome.

    Connections are reused: up to 8 are open at once, and an idle one is closed after 20 s. One that died
    while idle is replaced within the same attempt. An instance belongs to one event loop.

    Args:
        resolve: asked before every new connection, also when the host is a literal address, for the addresses
            that may be connected to; they are tried in order and the first that answers is used. This is the
            place for the address guard: nothing else here looks a name up. Certificates are still checked
            against the configured host name. What it raises (OSError, ValueError) ends the attempt as a
            Retry, so does an empty list. None: the system's resolver, unguarded.
        tls_context: instead of the one made from ca_file, for client certificates and the like.
    Raises: Invalid if ca_file cannot be read, or tls_context does not verify.
    """

    kind = "email"

    def __init__(
        self,
        config: EmailConfig,
        *,
        resolve: Resolve | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = config.name
        self.addresses = config.recipients
        self.host = config.host
        self.doubts: tuple[str, ...] = ()
        self._config = config
        self._port = config.port or _STANDARD_PORTS[config.tls]
        self._sender = check_sender(config.sender)[1]
        self._resolve = resolve or _resolve_by_system
        self._tls_context = _checked_context(tls_context) if tls_context else _context(config.ca_file)
        self._secrets = _forms_of_secret(config.user, config.password)
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[tuple[SMTP, asyncio.TimerHandle]] = []
        self._farewells: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        """Make one attempt; see `tocsin.ports.Channel`."""
        try:
            mail = payload(message, target, key, self._config.sender, at)
        except Invalid as error:
            return Refused(why=str(error))
        if dry_run:
            return DryRun(preview=preview(message, target))

        try:
            async with asyncio.timeout(self._config.timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            return Retry(why=f"All {CONNECTIONS_MAX} connections to {self._config.host} were busy.")
        try:
            return await self._deliver(target.address, mail)
        finally:
            self._slots.release()

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        """Show the subject and both parts."""
        return Rendered(
            content_type="text/plain",
            subject=subject(message),
            body=text_body(message),
            html=html_body(message),
        )

    async def probe(self) -> str:
        """See `tocsin.ports.Reachable`: EHLO, TLS and login as configured; no mail is sent."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                client = await self._connect()
        except _TROUBLE as error:
            return self._why_not_connected(error)
        await _say_goodbye(client)
        return ""

    async def close(self) -> None:
        """Say goodbye on idle connections. Those at work finish, and are not kept."""
        self._closed = True
        while self._idle:
            client, timer = self._idle.pop()
            timer.cancel()
            self._hang_up(client)
        await asyncio.gather(*self._farewells)

    async def _deliver(self, recipient: str, mail: bytes) -> Outcome:
        if (waiting := self._take_idle()) is not None:
            try:
                return await self._hand_over(waiting, recipient, mail, reused=True)
            except _Stale:
                pass  # it died while idle: not the mail's fault, so it costs no attempt
        try:
            async with asyncio.timeout(self._config.timeout_s):
                client = await self._connect()
        except _TROUBLE as error:
            return Retry(why=self._why_not_connected(error))
        return await self._hand_over(client, recipient, mail, reused=False)

    async def _hand_over(self, client: SMTP, recipient: str, mail: bytes, *, reused: bool) -> Outcome:
        """MAIL, RCPT, DATA; then keep the connection if its state is known.

        Raises: _Stale if a reused connection broke before the mail itself was sent.
        """
        stage = "MAIL"
        keep = False
        options = [f"SIZE={len(mail)}"] if client.supports_extension("size") else []
        patience_s = min(IDLE_CHECK_S, self._config.timeout_s) if reused else self._config.timeout_s
        try:
            await client.mail(self._sender, options=options, timeout=patience_s)
            stage = "RCPT"
            await client.rcpt(recipient)
            stage = "DATA"
            reply = await client.data(mail)
            keep = True
            return Accepted(detail=_fit(f"{reply.code} {self._heard(reply.message)}"))
        except SMTPResponseException as answer:
            if reused and stage == "MAIL" and answer.code == 421:
                raise _Stale from answer
            outcome = self._judge(stage, answer.code, answer.message)
            keep = 400 <= answer.code < 600 and await self._reset(client)
            return outcome
        except _TROUBLE as error:
            if reused and stage != "DATA":
                raise _Stale from error
            fate = "; whether it was taken is unknown, so it is sent again" if stage == "DATA" else ""
            said = self._heard(_words(error))
            return Retry(why=_fit(f"{self._config.host} was lost at {stage} ({said}){fate}."))
        finally:
            if keep and client.is_connected and not self._closed:
                self._keep_idle(client)
            else:
                client.close()

    def _judge(self, stage: str, code: int, text: str) -> Outcome:
        """What the relay's no means: 4xx not now; 5xx never, unless an operator can mend it."""
        said = f"{self._config.host} answered {code} at {stage}: {self._heard(text)}"
        if help_text := _exchange_online(text):
            return Retry(why=_fit(f"{help_text} {said}"))
        match code // 100:
            case 4:
                greylisted = stage == "RCPT" and code in (450, 451, 452)
                return Retry(why=_fit(said), after_s=GREYLISTED_S if greylisted else None)
            case 5 if code == 530:
                return Retry(why=_fit(f"The relay wants a login; check user and password. {said}"))
            case 5 if stage == "MAIL" and code != 552:  # 552: this mail is too big, however we ask
                return Retry(why=_fit(f"The relay does not let {self._sender} send; check sender. {said}"))
            case 5:
                return Refused(why=_fit(said))
            case _:
                return Retry(why=_fit(f"Not an answer that SMTP knows. {said}"))

    async def _reset(self, client: SMTP) -> bool:
        """Whether the connection is fit for the next mail."""
        try:
            await client.rset(timeout=min(IDLE_CHECK_S, self._config.timeout_s))
        except _TROUBLE:
            return False
        return True

    # --- connections -------------------------------------------------------------------------------------

    async def _connect(self) -> SMTP:
        """A connection that is encrypted and logged in as configured, or one of _TROUBLE."""
        config = self._config
        try:
            sock = await self._open_socket()
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise _Unreached(error) from error
        client = SMTP(
            hostname=config.host,
            sock=sock,
            use_tls=config.tls == "implicit",
            start_tls=False,  # done below, so that what is missing can be named
            tls_context=self._tls_context,
            local_hostname=config.ehlo_name or _address_literal(sock),
            timeout=config.timeout_s,
        )
        try:
            await client.connect()
            await client.ehlo()
            match config.tls:
                case "starttls":
                    if not client.supports_extension("starttls"):
                        advice = (
                            "It is on this machine: use tls none, or have it mended."
                            if _is_loopback_name(config.host)
                            else "Use tls implicit (port 465), or have the relay mended."
                        )
                        raise _Unfit(
                            f"{config.host}:{self._port} does not offer STARTTLS, so nothing was sent. {advice}"
                        )
                    await client.starttls()
                    await client.ehlo()
                case "implicit":
                    pass
                case "none":
                    if config.user and not ipaddress.ip_address(_peer(client)).is_loopback:
                        raise _Unfit(f"{config.host} is not on this machine, so no password was sent to it.")
                case _:
                    assert_never(config.tls)
            if config.user:
                await client.login(config.user, config.password)
        except BaseException:
            client.close()
            raise
        return client

    async def _open_socket(self) -> socket.socket:
        """Connect to the first address that answers; none may use up the time of the others."""
        host, loop = self._config.host, asyncio.get_running_loop()
        addresses = await self._resolve(host, self._port)
        trouble: OSError = OSError(f"no address of {host} may be connected to")
        for address in addresses:
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                async with asyncio.timeout(self._config.timeout_s / len(addresses)):
                    await loop.sock_connect(sock, (address, self._port))
            except OSError as error:
                sock.close()
                trouble = error
            except BaseException:
                sock.close()
                raise
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        raise trouble

    def _take_idle(self) -> SMTP | None:
        while self._idle:
            client, timer = self._idle.pop()
            timer.cancel()
            if client.is_connected:
                return client
            client.close()
        return None

    def _keep_idle(self, client: SMTP) -> None:
        timer = asyncio.get_running_loop().call_later(IDLE_S, self._expire, client)
        self._idle.append((client, timer))

    def _expire(self, client: SMTP) -> None:
        self._idle = [(other, timer) for other, timer in self._idle if other is not client]
        self._hang_up(client)

    def _hang_up(self, client: SMTP) -> None:
        """Leave politely, without anybody waiting for it but `close`."""
        task = asyncio.get_running_loop().create_task(_say_goodbye(client))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    # --- words -------------------------------------------------------------------------------------------

    def _why_not_connected(self, error: BaseException) -> str:
        config = self._config
        where = f"{config.host}:{self._port}"
        if isinstance(error, SMTPAuthenticationError):
            help_text = _exchange_online(error.message) or "Check user and password."
            return _fit(
                f"{where} does not accept the login of {config.user}. {help_text} "
                f"It answered {error.code}: {self._heard(error.message)}"
            )
        if isinstance(error, _Unreached):
            return _fit(f"No connection to {where}: {_words(error.cause).rstrip('.')}.")
        if isinstance(error, _Unfit):
            return _fit(error.message)
        if isinstance(error, SMTPResponseException):
            return _fit(f"{where} is not ready; it answered {error.code}: {self._heard(error.message)}")
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return _fit(
                    f"The certificate of {where} does not verify ({cause.verify_message}), so nothing was "
                    "sent. Give the authority that signed it as ca_file, and as host a name that it is for."
                )
            if isinstance(cause, ssl.SSLError):
                return _fit(f"No TLS with {where}: {_words(cause)}. Is tls {config.tls} right for it?")
            cause = cause.__cause__
        if isinstance(error, TimeoutError):
            return f"{where} was not ready within {config.timeout_s:g} s."
        said = self._heard(_words(error.__cause__ or error)).rstrip(".")
        return _fit(f"The connection to {where} was lost before it was ready: {said}.")

    def _heard(self, text: str) -> str:
        """What the relay said, without the password: it may echo what we sent, in whatever form that travelled.

        Our own words are left as they are: a password that is an ordinary word would be told by its absence.
        """
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _fit(text: str) -> str:
    """One line of at most 400 characters, without control characters."""
    return plain_line(text, 400)


async def _say_goodbye(client: SMTP) -> None:
    try:
        await client.quit(timeout=2)
    except _TROUBLE:
        pass  # it is closed either way
    finally:
        client.close()


async def _resolve_by_system(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise Invalid(f"The ca_file {ca_file} holds no certificates: {error}", field="ca_file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _checked_context(context: ssl.SSLContext) -> ssl.SSLContext:
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise Invalid("The TLS context verifies neither certificate nor name.", field="tls_context")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise Invalid("The TLS context allows TLS older than 1.2.", field="tls_context")
    return context


def _forms_of_secret(user: str, password: str) -> tuple[str, ...]:
    """The password and what AUTH PLAIN and AUTH LOGIN make of it, longest first; () without a password.

    What is as short as a word is left out: it would be found in texts that have nothing to do with it.
    """
    if not password:
        return ()
    plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    forms = plain, base64.b64encode(password.encode()).decode(), password
    return tuple(form for form in forms if len(form) >= SECRET_CHARACTERS_MIN)


def _exchange_online(text: str) -> str:
    """What to do when Exchange Online refuses passwords; "" if that is not what was said.

    Source: Microsoft, "Exchange Online to retire Basic auth for Client Submission (SMTP AUTH)", with 550
    5.7.30 once it is off for good and 535 5.7.139 where a tenant has switched it off.
    """
    if "5.7.30" in text.split() or "5.7.139" in text.split():
        return (
            "Exchange Online no longer takes a user name and password here (basic authentication is off). "
            "Have authenticated SMTP allowed for this mailbox, or send through another relay."
        )
    return ""


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback_name(host: str) -> bool:
    return host == "localhost" or (_is_literal(host) and ipaddress.ip_address(host).is_loopback)


def _peer(client: SMTP) -> str:
    """The literal address at the other end."""
    return str(client.get_transport_info("peername")[0])


def _address_literal(sock: socket.socket) -> str:
    address = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if sock.family == socket.AF_INET6 else f"[{address}]"
