"""What comes back from a request, what it means for a delivery, and what a source may send."""

import email.utils
import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from http import HTTPStatus
from typing import assert_never
from urllib.parse import urlsplit

import msgspec

from tocsin.core.model.notification import Accepted, Delivered, Outcome, Refused, Retry
from tocsin.ports import SourceFailed

ANSWER_BYTES_MAX = 65_536
RETRY_AFTER_S_MAX = 3_600


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
