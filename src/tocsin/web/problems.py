"""Problems: errors as RFC 9457 has them, each with a stable `type`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.model.errors import Conflict, Forbidden, Invalid, NotFound, TocsinError, Unavailable
from tocsin.ports import StoreFailed
from tocsin.web.auth import Limited, NotPermitted, Unauthenticated

_encode = msgspec.json.Encoder(order="sorted").encode


class WrongCursor(Invalid):
    """A cursor that we did not give."""


TYPES: dict[type[Exception], tuple[int, str, str]] = {
    WrongCursor: (400, "cursor", "This is no cursor"),
    Invalid: (422, "invalid", "The input is not valid"),
    NotFound: (404, "not-found", "There is no such thing"),
    Conflict: (409, "conflict", "Its state does not allow this"),
    Forbidden: (403, "forbidden", "This is not allowed to you"),
    Unauthenticated: (401, "unauthenticated", "Who is asking?"),
    Limited: (429, "limit", "Too many requests"),
    Unavailable: (503, "unavailable", "Not now"),
}


def problem(error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Give (status, headers, body) for an error that is fit to be shown; 500 and no detail for any other."""
    for kind, (status, name, title) in TYPES.items():
        if isinstance(error, kind):
            more: dict[str, Any] = {}
            if isinstance(error, Invalid) and error.field:
                more["field"] = error.field
            if isinstance(error, Invalid) and error.errors:
                more["errors"] = [{"field": where, "message": what} for where, what in error.errors]
            if isinstance(error, Conflict):
                more["state"] = error.state
                if error.possible:
                    more["possible"] = list(error.possible)
            if isinstance(error, NotPermitted) and error.permission is not None:
                more["permission"] = error.permission
            status, headers, body = respond(status, name, title, str(error), more)
            if isinstance(error, Limited):
                headers["retry-after"] = str(error.retry_after_s)
            return status, headers, body
    if isinstance(error, StoreFailed):
        # What it says names files, which are nobody's business here.
        return respond(503, "unavailable", "Not now", "Tocsin's store does not answer. Try again.", {})
    if isinstance(error, TocsinError):
        return respond(400, error.type, "This cannot be done", str(error), {})
    return respond(500, "unexpected", "Tocsin made a mistake", "It is in the log.", {})


def respond(
    status: int, name: str, title: str, detail: str, more: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Give a problem of a type of its own."""
    headers = {"content-type": "application/problem+json"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 503:
        headers["retry-after"] = "1"
    body = {"type": f"urn:tocsin:problem:{name}", "title": title, "status": status, "detail": detail, **more}
    return status, headers, _encode(body)


def only_json() -> tuple[int, dict[str, str], bytes]:
    """Say that a body of another type is not read."""
    return respond(415, "content-type", "Only JSON is taken", "Send Content-Type: application/json.", {})


def is_json(content_type: bytes) -> bool:
    """Say whether a body of this type is JSON."""
    return content_type.partition(b";")[0].strip().lower() == b"application/json"
