"""App: the HTTP face. Every route declares its permission; a route without one does not come up."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from tocsin.core.model.access import Permission
from tocsin.core.model.errors import TocsinError
from tocsin.ports import StoreFailed
from tocsin.runtime.node import Node
from tocsin.web.api import health, incidents, notify
from tocsin.web.auth import Doorkeeper, Unauthenticated
from tocsin.web.guard import Guard
from tocsin.web.hot import ASGI, AlertsRoute
from tocsin.web.problems import problem, respond

OPEN_ROUTES = ("/healthz", "/readyz")
"""The only routes that ask for nothing: a load balancer has no token, and they tell nothing."""


FORM_BYTES_MAX = 1024 * 1024


class Unguarded(Exception):
    """A route declares no permission. This is our mistake, and the server does not start with it."""


def build_app(node: Node, doorkeeper: Doorkeeper | None = None) -> ASGI:
    """Make the application over a node. doorkeeper: who admits people, None for the one who asks for a token."""
    doorkeeper = doorkeeper or Doorkeeper(node.store)
    app = FastAPI(title="Tocsin", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.node = node
    app.state.doorkeeper = doorkeeper
    for part in (health.router, notify.router, incidents.router):
        app.include_router(part)
    check_guarded(app)
    app.add_middleware(BodyLimit)
    for kind in (TocsinError, Unauthenticated, StoreFailed, Exception):
        app.add_exception_handler(kind, _show)
    app.add_exception_handler(RequestValidationError, _show_form)
    app.add_exception_handler(HTTPException, _show_http)
    return AlertsRoute(app, node.gate, doorkeeper, node.clock)


def routes_of(app: FastAPI) -> list[BaseRoute]:
    """Give all routes of an application. (An included router keeps its own; `app.routes` does not list them.)"""
    return [context.original_route for context in iter_route_contexts(app.routes)]


def permission_of(route: BaseRoute) -> Permission | None:
    """Give the permission that a route declares, None if it declares none."""
    found = _guards(route.dependant) if isinstance(route, APIRoute) else []
    return found[0].permission if found else None


def _guards(dependant: Dependant) -> list[Guard]:
    guards = [dependant.call] if isinstance(dependant.call, Guard) else []
    for inner in dependant.dependencies:
        guards += _guards(inner)
    return guards


def check_guarded(app: FastAPI) -> None:
    """Refuse an application with a route that declares no permission. Raises: Unguarded."""
    for route in routes_of(app):
        path = getattr(route, "path", "")
        if path not in OPEN_ROUTES and permission_of(route) is None:
            raise Unguarded(f"{path or route} declares no permission. Depend on a Guard.")


class BodyLimit:
    """Stops reading a body once it is larger than any form is; the hot route has its own, larger limit."""

    def __init__(self, inner: ASGI) -> None:
        self._inner = inner

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        size = 0

        async def limited() -> Any:
            nonlocal size
            event = await receive()
            size += len(event.get("body", b""))
            if size > FORM_BYTES_MAX:
                raise HTTPException(413, "The body is too large")
            return event

        await self._inner(scope, limited, send)


async def _show(request: Request, error: Exception) -> Response:
    status, headers, body = problem(error)
    return Response(body, status, headers)


async def _show_form(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"field": _writable(".".join(str(part) for part in e["loc"][1:])), "message": _writable(e["msg"])}
        for e in error.errors()
    ]
    detail = f"Field {errors[0]['field'] or 'body'}: {errors[0]['message']}."
    status, headers, body = respond(422, "invalid", "The input is not valid", detail, {"errors": errors})
    return Response(body, status, headers)


def _writable(text: str) -> str:
    """A name that somebody sent may hold what no answer can."""
    return text.encode(errors="replace").decode()


async def _show_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    status, headers, body = respond(
        error.status_code, names.get(error.status_code, "http"), str(error.detail), f"{request.url.path}", {}
    )
    return Response(body, status, {**headers, **(error.headers or {})})
