"""Hot: `POST /api/v1/alerts` as plain ASGI, because a framework's route costs more than the decision itself."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tocsin.core.model.access import Permission
from tocsin.core.model.errors import Invalid, TocsinError, Unavailable
from tocsin.intake import native
from tocsin.ports import Clock, StoreFailed
from tocsin.runtime.gate import Gate
from tocsin.runtime.turn import Result
from tocsin.web.auth import Doorkeeper, Limited, Unauthenticated
from tocsin.web.denials import client_of
from tocsin.web.problems import is_json, only_json, problem, respond

ASGI = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]
PATH = "/api/v1/alerts"
PERMISSION = Permission.SEND

log = logging.getLogger("tocsin.web")

_encode = msgspec.json.Encoder().encode


class IncidentAnswer(msgspec.Struct, gc=False):
    """What became of an alert in one incident."""

    incident_id: str
    number: int
    outcome: str


class AlertAnswer(msgspec.Struct, gc=False, omit_defaults=True):
    """What became of one alert. error: why it was refused, if it was."""

    idempotency_key: str
    fingerprint: str
    outcome: str
    incidents: list[IncidentAnswer]
    index: int | None = None
    error: str = ""


class AlertsAnswer(msgspec.Struct, gc=False, omit_defaults=True):
    """The answer to a request; accepted: how many alerts were."""

    accepted: int
    results: list[AlertAnswer]
    problems: list[dict[str, Any]] = []


class TooLarge(Exception):
    """The body is larger than is taken."""


class AlertsRoute:
    """The hot route in front of the application. A HEAD of anything else is a GET whose body the server drops."""

    def __init__(self, inner: ASGI, gate: Gate, doorkeeper: Doorkeeper, clock: Clock) -> None:
        self._inner = inner
        self._gate = gate
        self._doorkeeper = doorkeeper
        self._clock = clock

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            if scope.get("method") == "HEAD":
                scope = {**scope, "method": "GET", "head": True}
            await self._inner(scope, receive, send)
            return
        status, headers, body = await self._answer(scope, receive)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *((name.encode(), value.encode()) for name, value in headers.items()),
                    (b"content-length", b"%d" % len(body)),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            authorization = content_type = None
            length = b""
            for name, value in scope["headers"]:
                if name == b"authorization":
                    authorization = value
                elif name == b"content-type":
                    content_type = value
                elif name == b"content-length":
                    length = value
            principal = self._doorkeeper.known(authorization)
            if principal is None:
                principal = await self._doorkeeper.identify(authorization, client_of(scope))
            if scope["method"] != "POST":
                return _only_post()
            if PERMISSION not in principal.permissions:
                self._doorkeeper.check(principal, PERMISSION, client_of(scope))
            if content_type not in (None, b"application/json") and not is_json(content_type):
                return only_json()
            if len(length) > 7 and int(length) > native.BODY_BYTES_MAX:
                raise TooLarge
            body = await _body(receive)
            partial = _partial(scope["query_string"])
            parsed = native.parse(body, self._clock.now())
            if parsed.problems and not (partial and parsed.alerts):
                return _refused(parsed.problems)
            results = await self._gate.submit(parsed.alerts, principal.actor) if parsed.alerts else ()
            return _accepted(parsed, results)
        except TooLarge:
            detail = f"A body has at most {native.BODY_BYTES_MAX} bytes. Send fewer alerts at a time."
            return respond(413, "too-large", "The body is too large", detail, {})
        except Exception as error:
            if not isinstance(error, TocsinError | Unauthenticated | Limited | StoreFailed):
                log.exception("a request failed in a way that nobody foresaw")
            return problem(error)


def _only_post() -> tuple[int, dict[str, str], bytes]:
    status, headers, body = respond(
        405, "method-not-allowed", "Method Not Allowed", f"{PATH} takes POST.", {}
    )
    return status, headers | {"allow": "POST"}, body


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    """Read the body. Raises: TooLarge once it is larger than is taken."""
    event = await receive()
    if event["type"] == "http.disconnect":
        raise Unavailable("The sender went away before its request was complete.")
    first: bytes = event.get("body", b"")
    if not event.get("more_body", False):
        if len(first) > native.BODY_BYTES_MAX:
            raise TooLarge
        return first
    parts, size = [first], len(first)
    while event.get("more_body", False):
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Unavailable("The sender went away before its request was complete.")
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > native.BODY_BYTES_MAX:
            raise TooLarge
    return b"".join(parts)


def _partial(query: bytes) -> bool:
    if not query:
        return False
    if query in (b"partial=true", b"partial=1"):
        return True
    if query in (b"partial=false", b"partial=0"):
        return False
    raise Invalid("The only parameter is partial, true or false.", field="partial")


def _refused(problems: Sequence[native.Problem]) -> tuple[int, dict[str, str], bytes]:
    first = problems[0]
    where = "The request" if first.index is None else f"Alert [{first.index}]"
    where += f", field {first.field}" if first.field else ""
    count = f" ({len(problems)} alerts are wrong; all or nothing was asked.)" if len(problems) > 1 else ""
    return respond(
        422,
        "invalid-alerts",
        "Nothing was accepted",
        f"{where}: {first.message}.{count}",
        {"errors": _listed(problems), "errors_total": len(problems)},
    )


def _listed(problems: Sequence[native.Problem]) -> list[dict[str, Any]]:
    return [{"index": p.index, "field": p.field, "message": p.message} for p in problems]


def _accepted(parsed: native.Parsed, results: Sequence[Result]) -> tuple[int, dict[str, str], bytes]:
    accepted = 0
    answers: list[AlertAnswer] = []
    numbered = bool(parsed.problems)
    for given, index, result in zip(parsed.alerts, parsed.indexes, results, strict=True):
        refused = result.refused
        accepted += refused is None
        answers.append(
            AlertAnswer(
                native.key_of(given),
                given.fingerprint.hex(),
                result.outcome,
                [IncidentAnswer(*incident) for incident in result.incidents],
                index if numbered else None,
                "" if refused is None else "this alert could not be decided; it is in the log",
            )
        )
    status = 200 if accepted else 500
    return (
        status,
        {"content-type": "application/json"},
        _encode(AlertsAnswer(accepted, answers, _listed(parsed.problems))),
    )
