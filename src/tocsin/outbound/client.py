"""Makes every outgoing HTTP request.

Assume that every URL, every DNS answer and every response is hostile: the address that was checked is the
address that is connected to, redirects are never followed, proxies from the environment are not used, and no
message names more of a URL than its host, because a URL may be a secret.
"""

import asyncio
import contextlib
import functools
import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tocsin.outbound.addresses import address_is_allowed, is_never_allowed, networks_of
from tocsin.outbound.answers import ANSWER_BYTES_MAX, Answer, Failure, FailureKind

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host name, port) -> every address it has, as text. Raises OSError if there is none."""


class _ForbiddenAddress(OSError):
    """Raised inside aiohttp's connector, which passes OSErrors on; `why` is for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Destination(msgspec.Struct, frozen=True):
    """A URL that was looked at. refusal: why it may not be used, None if its name may be resolved."""

    url: URL
    host: str
    refusal: Failure | None = None


class _GuardedResolver(AbstractResolver):
    """Resolves a name once per connection, and gives aiohttp only what may be connected to."""

    def __init__(self, lookup: Lookup, guard: Callable[[str, str], None]) -> None:
        self._lookup = lookup
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._lookup(host, port)
        for address in found:
            # One bad address condemns the name: a mixture is how a rebinding name hides.
            self._guard(host, address)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        return None


# A host whose last label is a number is an address to some parsers (WHATWG URL, 3.5): 2130706433, 0x7f.1.
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")
_DESTINATIONS_MAX = 1_024
_NO_ACCEPT_ENCODING = ("Accept-Encoding",)


class Outbound:
    """The one HTTP client. Make one per process; it belongs to the event loop of its first request.

    allow_private: CIDRs that may be reached besides the public internet. Metadata and link-local stay closed.
    connections_per_host: further requests to that host wait, within their own timeout.
    tls: how to verify the other side; by default the system's authorities, names checked, TLS 1.2 or newer.
    lookup: how names become addresses; by default the system's resolver, each name on a thread of its own.

    Raises: Invalid if allow_private holds what is not a network.
    """

    def __init__(
        self,
        allow_private: Sequence[str] = (),
        *,
        user_agent: str = "Tocsin",
        connections_per_host: int = 32,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._allow_private = networks_of(allow_private)
        self._user_agent = user_agent
        self._connections_per_host = connections_per_host
        self._tls = tls
        self._lookup = lookup or self._lookup_by_system
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._destinations: dict[str, _Destination] = {}
        self._timeouts: dict[tuple[float, float], aiohttp.ClientTimeout] = {}

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: dict[str, str],
        timeout_s: float,
        connect_timeout_s: float = 5.0,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Answer | Failure:
        """POST once. Never raises for what the world does.

        timeout_s: for everything, from the wait for a free connection to the last byte that is read.
        connect_timeout_s: for each address that is tried, with TLS.
        """
        return await self._ask("POST", url, body, headers, timeout_s, connect_timeout_s, answer_bytes_max)

    async def get(
        self,
        url: str,
        *,
        headers: dict[str, str],
        timeout_s: float,
        connect_timeout_s: float = 5.0,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Answer | Failure:
        """GET under the same guard and with the same terms as `post`."""
        return await self._ask("GET", url, None, headers, timeout_s, connect_timeout_s, answer_bytes_max)

    async def probe(self, url: str, *, timeout_s: float) -> Failure | None:
        """Connect under the same guard, with TLS for https, and hang up without a word; None if that went well."""
        destination = self._destinations.get(url) or self._look_at(url)
        if destination.refusal is not None:
            return destination.refusal
        host, port = destination.host, destination.url.port
        secure = destination.url.scheme == "https"
        tls = (self._tls or ssl.create_default_context()) if secure else None
        try:
            async with asyncio.timeout(timeout_s):
                infos = [(address, port) for address in await self.addresses(host, port or 0)]
                await _shake_hands(infos, tls, host if secure else None)
        except OSError as error:
            return _failure_of_probe(error, host, timeout_s)
        return None

    async def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a name once, for a protocol other than HTTP; what is given may be connected to.

        host: a name, or a literal address, which is checked as well.
        Raises: OSError if it cannot be resolved, or if any of its addresses is forbidden (the text says which).
        """
        found = list(await self._lookup(host, port))
        for address in found:
            self._guard(host, address)
        return found

    async def close(self) -> None:
        """Close all connections. A later request would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        timeout_s: float,
        connect_timeout_s: float,
        answer_bytes_max: int,
    ) -> Answer | Failure:
        destination = self._destinations.get(url) or self._look_at(url)
        if destination.refusal is not None:
            return destination.refusal
        session = self._session or self._open()
        times = (timeout_s, connect_timeout_s)
        timeout = self._timeouts.get(times)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_timeout_s)
            self._timeouts[times] = timeout
        try:
            response = await session.request(
                method, destination.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure_of(error, destination.host, timeout_s)
        return await _read(response, answer_bytes_max)

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_GuardedResolver(self._lookup, self._guard),
            ttl_dns_cache=30,
            # A total limit would let hung receivers starve the others; the dispatcher bounds the total.
            limit=0,
            limit_per_host=self._connections_per_host,
            ssl=self._tls if self._tls is not None else True,
            socket_factory=self._checked_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent},
            # No compression is asked for and none is undone, so no bomb can unfold in memory.
            skip_auto_headers=_NO_ACCEPT_ENCODING,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self._session

    def _look_at(self, url: str) -> _Destination:
        destination = self._judge(url)
        if len(self._destinations) >= _DESTINATIONS_MAX:
            self._destinations.clear()
        self._destinations[url] = destination
        return destination

    def _judge(self, text: str) -> _Destination:
        """Check what needs no name server; a literal address never reaches the resolver."""
        try:
            url = URL(text)
            host = url.raw_host or ""
            port = url.port
        except ValueError:
            return _refused_url("The URL of this channel cannot be read. Write it like https://host/path.")
        if url.scheme not in ("http", "https"):
            return _refused_url("The URL of this channel must begin with https:// or http://.")
        if not host or port is None or port == 0 or "%" in host or not host.isascii():
            return _refused_url("The URL of this channel names no usable host and port.")
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            if ":" in host or _ENDS_IN_NUMBER.search(host):
                return _refused_url(
                    f"The host {host} is a number, but not an address as usual. Write it like 192.0.2.7."
                )
            return _Destination(url, host)
        try:
            self._guard(host, str(literal))
        except _ForbiddenAddress as error:
            return _Destination(url, host, Failure(kind=FailureKind.FORBIDDEN, why=error.why))
        return _Destination(url, host)

    def _guard(self, host: str, address: str) -> None:
        """Raises: _ForbiddenAddress if `address`, to which `host` leads, may not be connected to."""
        parsed = ipaddress.ip_address(address)
        if address_is_allowed(parsed, self._allow_private):
            return
        leads = address if host == address else f"{host} leads to {address}"
        if is_never_allowed(parsed):
            raise _ForbiddenAddress(
                f"{leads}: a metadata, link-local or multicast address. No setting allows it; correct the"
                " URL."
            )
        raise _ForbiddenAddress(
            f"{leads}: not on the public internet. If it is meant, add its network to outgoing.allow_private"
            " in tocsin.yaml, or to TOCSIN_ALLOW_PRIVATE."
        )

    def _checked_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Make the socket for an address. The last line: whatever led here, this is what is connected to."""
        family, kind, protocol, _, name = info
        self._guard(name[0], name[0])
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made

    async def _lookup_by_system(self, host: str, port: int) -> Sequence[str]:
        """Ask the system for a name, once at a time.

        Its name server may take half a minute to say nothing: no other name waits for that, nor does our end.
        """
        asked = self._asked.get(host)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.create_future()
            asked.add_done_callback(lambda done: done.exception())  # Perhaps nobody waits for it any more.
            asked.add_done_callback(lambda _: self._asked.pop(host))
            threading.Thread(target=_ask_system, args=(host, loop, asked), name="dns", daemon=True).start()
            self._asked[host] = asked
        found = await asyncio.shield(asked)
        if not found:
            raise OSError(f"{host} has no address")
        return found


def _ask_system(host: str, loop: asyncio.AbstractEventLoop, asked: "asyncio.Future[tuple[str, ...]]") -> None:
    try:
        answer = functools.partial(asked.set_result, _addresses_by_system(host))
    except Exception as error:
        answer = functools.partial(asked.set_exception, error)
    with contextlib.suppress(RuntimeError):  # Nobody is there any more.
        loop.call_soon_threadsafe(answer)


def _addresses_by_system(host: str) -> tuple[str, ...]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return tuple(dict.fromkeys(str(info[4][0]) for info in infos))


def _refused_url(why: str) -> _Destination:
    return _Destination(URL(), "", Failure(kind=FailureKind.INVALID_URL, why=why))


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> Answer:
    """Take the status, some headers and at most `bytes_max` of the body.

    The status line is the answer. A body that breaks or never ends takes nothing from it: the receiver has
    decided, and to try again would only tell people twice.
    """
    content = response.content
    parts: list[bytes] = []
    room = bytes_max + 1  # One more than is kept, so as to know whether there was more.
    truncated = False
    try:
        while room > 0 and not content.at_eof():
            part = await content.read(room)
            if not part:
                break
            parts.append(part)
            room -= len(part)
    except (aiohttp.ClientError, OSError):
        truncated = True
    if truncated or room <= 0:
        truncated = True
        response.close()  # The rest is never read, so the connection cannot be used again.
    else:
        response.release()
    headers = response.headers
    return Answer(
        status=response.status,
        retry_after=headers.get("Retry-After", "")[:100],
        location=headers.get("Location", "")[:2_000],
        content_type=headers.get("Content-Type", "")[:200],
        cache_control=headers.get("Cache-Control", "")[:200],
        body=b"".join(parts)[:bytes_max],
        truncated=truncated,
    )


async def _shake_hands(
    addresses: Sequence[tuple[str, int | None]], tls: ssl.SSLContext | None, name: str | None
) -> None:
    """Connect to the first address that answers. Raises: OSError, that of the last one."""
    trouble = OSError("it has no address")
    for address, port in addresses:
        try:
            _, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
        except OSError as error:
            trouble = error
        else:
            writer.transport.abort()
            return
    raise trouble


def _reason(error: OSError | None) -> str:
    """Say why there is no connection, as the system does: asyncio's own words are "Connect call failed (...)"."""
    return os.strerror(error.errno) if error is not None and error.errno else "refused or unreachable"


def _failure_of_probe(error: OSError, host: str, timeout_s: float) -> Failure:
    match error:
        case _ForbiddenAddress():
            return Failure(kind=FailureKind.FORBIDDEN, why=error.why)
        case socket.gaierror():
            return Failure(kind=FailureKind.DNS, why=f"The name {host} could not be resolved.")
        case ssl.SSLCertVerificationError():
            reason = error.verify_message or "refused"
            return Failure(kind=FailureKind.TLS, why=f"The certificate of {host} is not valid: {reason}.")
        case ssl.SSLError():
            return Failure(
                kind=FailureKind.TLS, why=f"No TLS with {host}: {error.reason or 'handshake failed'}."
            )
        case TimeoutError():
            return Failure(
                kind=FailureKind.TIMEOUT, why=f"{host} did not answer in time (at most {timeout_s:g} s)."
            )
        case _:
            return Failure(kind=FailureKind.CONNECT, why=f"No connection to {host}: {_reason(error)}.")


def _failure_of(error: Exception, host: str, timeout_s: float) -> Failure:
    """Name a failure without the error's own text: aiohttp's errors quote the whole URL."""
    cause = getattr(error, "os_error", None)
    if isinstance(cause, _ForbiddenAddress):
        return Failure(kind=FailureKind.FORBIDDEN, why=cause.why)
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure(kind=FailureKind.DNS, why=f"The name {host} could not be resolved.")
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "")
            return Failure(
                kind=FailureKind.TLS, why=f"The certificate of {host} is not valid: {reason or 'refused'}."
            )
        case aiohttp.ClientSSLError() | ssl.SSLError():
            reason = getattr(cause or error, "reason", None) or "handshake failed"
            return Failure(kind=FailureKind.TLS, why=f"No TLS with {host}: {reason}.")
        case TimeoutError():
            return Failure(
                kind=FailureKind.TIMEOUT, why=f"{host} did not answer in time (at most {timeout_s:g} s)."
            )
        case aiohttp.ClientConnectorError():
            return Failure(kind=FailureKind.CONNECT, why=f"No connection to {host}: {_reason(cause)}.")
        case aiohttp.InvalidURL() | ValueError():
            return Failure(
                kind=FailureKind.INVALID_URL, why=f"The URL or a header for {host} cannot be sent."
            )
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return Failure(kind=FailureKind.RESET, why=f"{host} closed the connection before it answered.")
        case _:
            return Failure(kind=FailureKind.PROTOCOL, why=f"{host} did not answer in HTTP.")
