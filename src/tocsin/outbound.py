"""Decides which addresses Tocsin may connect to, and makes every outgoing HTTP request.

Assume that every URL, every DNS answer and every response is hostile: the address that was checked is the
address that is connected to, redirects are never followed, proxies from the environment are not used, and no
message names more of a URL than its host, because a URL may be a secret.
"""

import asyncio
import contextlib
import email.utils
import functools
import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from http import HTTPStatus
from typing import Any, assert_never
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Accepted, Delivered, Outcome, Refused, Retry
from tocsin.ports import SourceFailed

ANSWER_BYTES_MAX = 65_536
RETRY_AFTER_S_MAX = 3_600

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
Address = IPv4 | IPv6
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host name, port) -> every address it has, as text. Raises OSError if there is none."""


# Which addresses ----------------------------------------------------------------------------------


def _networks(*blocks: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(block) for block in blocks)


NEVER = _networks(
    "0.0.0.0/8",  # "this host": Linux connects it to the loopback
    "169.254.0.0/16",  # link-local, and with it most clouds' metadata (169.254.169.254, .170.2, .42.42)
    "100.100.100.200/32",  # Alibaba metadata
    "168.63.129.16/32",  # Azure's wire server, an address that looks public
    "192.0.0.192/32",  # Oracle metadata, older
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "fe80::/10",
    "fd00:ec2::/32",  # AWS metadata and its neighbours
    "fd20:ce::254/128",  # Google metadata
    "fd00:c1::a9fe:a9fe/128",  # Oracle metadata
    "fd00:42::42/128",  # Scaleway metadata
    "ff00::/8",
)
"""Metadata services, link-local, multicast: no setting opens these."""

NOT_PUBLIC = _networks(
    # IANA's special-purpose registries (RFC 6890 and its updates). Written out because what Python's
    # `is_global` answers differs between its versions, and is True for some of these.
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
)
"""What is inside 0.0.0.0/0 and 2000::/3 and still not on the public internet."""

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 given out to the public; so ::1, fc00::/7, fec0::/10, 100::/64... need no entry."""

_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_IPV4_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_TUNNELS = (_NAT64, ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
"""NAT64, 6to4, Teredo: as public as the IPv4 addresses that they carry."""


def _carried(address: IPv6) -> tuple[IPv4, ...]:
    """The IPv4 addresses inside an IPv6 address, in every reading that some router may have of it."""
    low = int(address)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # (server, client)
    if low in (0, 1):
        return ()  # :: and ::1 look like IPv4-compatible addresses, but are themselves.
    if address in _NAT64 or address in _IPV4_COMPATIBLE or address in _IPV4_TRANSLATED:
        return (IPv4(low & 0xFFFF_FFFF),)
    if address in _NAT64_LOCAL:
        # RFC 6052 puts the address elsewhere for each prefix length, and skips bits 64 to 71.
        bits_48 = (low >> 64 & 0xFFFF) << 16 | (low >> 40 & 0xFFFF)
        bits_56 = (low >> 64 & 0xFF) << 24 | (low >> 32 & 0xFF_FFFF)
        bits_64 = low >> 24 & 0xFFFF_FFFF
        readings = (bits_48, bits_56, bits_64, low & 0xFFFF_FFFF)
        # A reading of 0.x.x.x is another prefix length's padding.
        return tuple(IPv4(reading) for reading in readings if reading >> 24)
    if low >> 32 & 0xFDFF_FFFF == 0x0000_5EFE:  # ISATAP, RFC 5214
        return (IPv4(low & 0xFFFF_FFFF),)
    return ()


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6):
        if any(address in tunnel for tunnel in _TUNNELS):
            return True  # The addresses that it carries decide.
        if address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not any(address in network for network in NOT_PUBLIC)


def _faces(address: Address) -> tuple[Address, ...]:
    """The address, and whatever it may turn into on the way."""
    if isinstance(address, IPv6):
        if address.ipv4_mapped is not None:
            return (address.ipv4_mapped,)
        return address, *_carried(address)
    return (address,)


def is_never_allowed(address: Address) -> bool:
    """Whether it is, or carries, a metadata, link-local or multicast address, which no setting opens."""
    return any(face in network for face in _faces(address) for network in NEVER)


def address_is_allowed(address: Address, allow_private: Sequence[Network] = ()) -> bool:
    """Whether Tocsin may connect to it.

    Allowed is what is on the public internet or inside `allow_private`; an IPv6 address that carries IPv4
    addresses needs that of itself and of each of them.
    """
    return not is_never_allowed(address) and all(
        _is_public(face) or any(face in network for network in allow_private) for face in _faces(address)
    )


def networks_of(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """Parse CIDRs such as `10.0.0.0/8`. Raises: Invalid, naming the first that is not one."""
    found: list[Network] = []
    for index, cidr in enumerate(cidrs):
        try:
            found.append(ipaddress.ip_network(cidr.strip()))
        except ValueError as error:
            raise Invalid(
                f"allow_private holds {cidr!r}, which is not a network ({error}). Write it like 10.0.0.0/8.",
                field=f"allow_private[{index}]",
            ) from None
    return tuple(found)


# What comes back ----------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the other side answered.

    retry_after, location, content_type, cache_control: these headers as they came, "" where there was none.
    body: at most the bytes that were asked for; truncated: there was more, or the connection broke in it.
    """

    status: int
    retry_after: str = ""
    location: str = ""
    content_type: str = ""
    cache_control: str = ""
    body: bytes = b""
    truncated: bool = False


class FailureKind(StrEnum):
    """Why there is no answer."""

    INVALID_URL = "invalid_url"
    FORBIDDEN = "forbidden"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """There is no answer. why: a sentence for people; it names the host, never the rest of the URL."""

    kind: FailureKind
    why: str


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_MENDABLE = (401, 403, 404)
_PASSING = (408, 425, 429)


def retry_after_s(value: str, *, at: int) -> int | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), 0 to 3,600; None if it says nothing.

    at: now, for the form that is an HTTP date.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:12]), RETRY_AFTER_S_MAX)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        seconds = int(moment.timestamp()) - at // 1_000_000
    except (ValueError, OverflowError):
        return None
    return max(0, min(seconds, RETRY_AFTER_S_MAX))


def outcome_of(answer: Answer | Failure, *, at: int, accepted: bool = False) -> Outcome:
    """What an answer means for a delivery.

    at: now; accepted: a 2xx of this provider proves only that it took the message.

    - 2xx is success, and nothing else is.
    - 3xx: Retry. A redirect is never followed (it could lead inside), and it may be a passing state of a
      proxy or a login page in front of the receiver, so it is not final.
    - 401, 403, 404: Retry. An operator can mend a token, a rule or a path within the 72 h after which the
      core gives up; refusing at once would lose every message of that time.
    - 408, 425, 429 and 5xx: Retry, when the provider says.
    - 410 and every other 4xx: Refused. The receiver is gone, or will never take these bytes.
    - No answer: Retry, for networks heal, and an address that our own guard closes can be opened by a setting; but a
      URL that is none is Refused.

    The body is not quoted: receivers echo what they were sent, and that may be a secret or somebody's data.
    """
    if isinstance(answer, Failure):
        match answer.kind:
            case FailureKind.INVALID_URL:
                return Refused(why=answer.why)
            case (
                FailureKind.FORBIDDEN
                | FailureKind.DNS
                | FailureKind.CONNECT
                | FailureKind.TLS
                | FailureKind.TIMEOUT
                | FailureKind.RESET
                | FailureKind.PROTOCOL
            ):
                return Retry(why=answer.why)
            case _:
                assert_never(answer.kind)
    status = answer.status
    said = f"HTTP {status} {_PHRASES.get(status, '')}".rstrip()
    if 200 <= status < 300:
        return Accepted(detail=said) if accepted else Delivered(detail=said)
    after_s = retry_after_s(answer.retry_after, at=at) if answer.retry_after else None
    if 300 <= status < 400:
        return Retry(
            why=f"{said}: redirect not followed. Configure the URL that it leads to.", after_s=after_s
        )
    if status in _MENDABLE:
        return Retry(why=f"{said}: check the URL and the credentials of this channel.", after_s=after_s)
    if status in _PASSING or not 400 <= status < 500:
        return Retry(why=said, after_s=after_s)
    return Refused(why=said)


# What sources need --------------------------------------------------------------------------------


def body_of(answer: Answer | Failure, *, bytes_max: int) -> bytes:
    """Give the body of a source's answer, which is whole.

    bytes_max: what was asked for as `answer_bytes_max`.
    Raises: SourceFailed. Only an answer that is too large is the question's fault; the body is not quoted.
    """
    if isinstance(answer, Failure):
        raise SourceFailed(answer.why, is_away=True)
    said = f"HTTP {answer.status} {_PHRASES.get(answer.status, '')}".rstrip()
    if 300 <= answer.status < 400:
        raise SourceFailed(
            f"{said}: redirect not followed. Configure the URL that it leads to.", is_away=True
        )
    if not 200 <= answer.status < 300:
        hint = ": check the URL and the credentials of this source." if answer.status in _MENDABLE else "."
        raise SourceFailed(f"It answered with {said}{hint}", is_away=True)
    if answer.truncated and len(answer.body) >= bytes_max:
        raise SourceFailed(f"The answer has more than {bytes_max:,} bytes. Ask for less.", is_away=False)
    if answer.truncated:
        raise SourceFailed("The connection broke before the answer was whole.", is_away=True)
    return answer.body


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS = frozenset(
    ("host", "connection", "content-length", "content-type", "transfer-encoding", "expect", "upgrade")
)


def request_faults(
    name: str, url: str, headers: Sequence[tuple[str, str]], timeout_s: float
) -> Iterator[tuple[str, str]]:
    """Find all that is wrong with what a source sends, as (field, what); no value of a header is quoted."""
    if not name:
        yield "name", "A source needs a name."
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        yield (
            "url",
            f"The URL of source {name!r} is none. It begins with https:// or http://, like https://host/path.",
        )
    if not 0 < timeout_s <= 300:
        yield "timeout_s", f"The timeout of source {name!r} must be more than 0 and at most 300 seconds."
    for header, value in headers:
        if not _TOKEN.fullmatch(header) or header.lower() in _OURS:
            yield "headers", f"Source {name!r} may not send the header {header!r}."
        if not (value.isprintable() and value.isascii()):
            yield "headers", f"The header {header!r} of source {name!r} holds more than printable ASCII."


# The client ---------------------------------------------------------------------------------------


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
