"""Admission: who is let in, and with what body. Who asks, then what they may, and only then what they sent.

All of it comes before a route is run, so that nobody hears of a body's faults who may not send one, and JSON that two
readers would read in two ways is nothing that anybody reads.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from tocsin.core.model.access import Permission
from tocsin.core.model.errors import TocsinError
from tocsin.intake import native
from tocsin.web.auth import Doorkeeper, Limited, Unauthenticated
from tocsin.web.denials import client_of
from tocsin.web.hot import ASGI
from tocsin.web.problems import is_json, only_json, problem, respond

OPEN_ROUTES = ("/healthz", "/readyz")
"""The only routes that ask for nothing: a load balancer has no token, and they tell nothing."""

FORM_BYTES_MAX = 1024 * 1024

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Refusal = tuple[int, dict[str, str], bytes]


class Door(NamedTuple):
    """A route and what it asks for. permission: None for an open one; takes_body: it has a form."""

    route: BaseRoute
    permission: Permission | None
    takes_body: bool


class Admission:
    """Stands before all routes but the hot one. doors: all of them, in the order in which they are looked for."""

    def __init__(self, inner: ASGI, doorkeeper: Doorkeeper, doors: Sequence[Door]) -> None:
        self._inner = inner
        self._doorkeeper = doorkeeper
        self._doors = doors

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal, receive = await self._admit(scope, receive)
            if refusal is not None:
                status, headers, body = refusal
                await Response(body, status, headers)(scope, receive, send)
                return
        await self._inner(scope, receive, send)

    async def _admit(self, scope: dict[str, Any], receive: Receive) -> tuple[Refusal | None, Receive]:
        """Say why somebody is turned away, None if they are not, and give what their body is read by from then on."""
        receive = _limited(receive)
        if scope["path"] in OPEN_ROUTES:
            return None, receive
        headers = dict(scope["headers"])
        client = client_of(scope)
        try:
            principal = await self._doorkeeper.identify(headers.get(b"authorization"), client)
            scope["principal"] = principal
            door = self._door(scope)
            if door is None or door.permission is None:
                return None, receive
            self._doorkeeper.check(principal, door.permission, client)
            if not door.takes_body:
                return None, receive
            body = await _read(receive)
            return _fault(headers.get(b"content-type"), body), _again(body, receive)
        except (Unauthenticated, Limited, TocsinError) as error:
            return problem(error), receive
        except HTTPException:
            detail = f"A body has at most {FORM_BYTES_MAX} bytes here."
            return respond(413, "too-large", "The body is too large", detail, {}), receive
        except ClientDisconnect:
            return respond(400, "malformed", "The body is not complete", "Its sender went away.", {}), receive

    def _door(self, scope: dict[str, Any]) -> Door | None:
        return next((door for door in self._doors if door.route.matches(scope)[0] is Match.FULL), None)


def _fault(content_type: bytes | None, body: bytes) -> Refusal | None:
    """Say what is wrong with a body whatever its form is, None if nothing."""
    if not body:
        return None
    if content_type is None or not is_json(content_type):
        return only_json()
    fault = native.find_fault(body)
    if fault is None:
        return None
    detail = f"Field {fault.field or 'body'}: {fault.message}."
    errors = [{"field": fault.field, "message": fault.message}]
    return respond(422, "invalid", "The input is not valid", detail, {"field": fault.field, "errors": errors})


def _limited(receive: Receive) -> Receive:
    """Stop reading a body once it is larger than any form is; the hot route has its own, larger limit."""
    size = 0

    async def limited() -> Any:
        nonlocal size
        event = await receive()
        size += len(event.get("body", b""))
        if size > FORM_BYTES_MAX:
            raise HTTPException(413, "The body is too large")
        return event

    return limited


async def _read(receive: Receive) -> bytes:
    """Read the whole body. Raises: HTTPException if it is too large, ClientDisconnect if it does not end."""
    parts = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more; what comes after it is as it was."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
