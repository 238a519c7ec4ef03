"""App: the HTTP face. Every route declares its permission; a route without one does not come up."""

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
from tocsin.web.admission import FORM_BYTES_MAX, OPEN_ROUTES, Admission, Door
from tocsin.web.api import (
    actions,
    channels,
    deliveries,
    events,
    health,
    incidents,
    ledger,
    meta,
    metrics,
    notify,
    policy,
    preview,
    replay,
    rules,
    rules_try,
    silences,
    tokens,
    trace,
    whatif,
)
from tocsin.web.auth import Doorkeeper
from tocsin.web.bounded import Bounded
from tocsin.web.guard import Guard
from tocsin.web.hot import ASGI, PATH, PERMISSION, AlertsRoute
from tocsin.web.openapi import Described
from tocsin.web.problems import problem, respond


class Unguarded(Exception):
    """A route declares no permission. This is our mistake, and the server does not start with it."""


def build_app(node: Node, doorkeeper: Doorkeeper) -> ASGI:
    """Make the application over a node, with who keeps its door."""
    app = build_api()
    app.state.node = node
    app.state.doorkeeper = doorkeeper
    app.state.pages, app.state.followers = events.Pages(node.store), events.Followers()
    app.state.previews, app.state.searches = Bounded(), Bounded()
    app.state.stories = Bounded(at_once=4, waiting_max=200)
    app.state.trials = Bounded(at_once=2, waiting_max=4)
    app.state.exports = Bounded(at_once=1, waiting_max=2)
    app.add_middleware(Admission, doorkeeper=doorkeeper, doors=doors_of(app))
    for kind in (TocsinError, StoreFailed, Exception):
        app.add_exception_handler(kind, _show)
    app.add_exception_handler(RequestValidationError, _show_form)
    app.add_exception_handler(HTTPException, _show_http)
    return AlertsRoute(app, node.gate, doorkeeper, node.clock)


def build_api() -> FastAPI:
    """Make all routes but the hot one, with no node behind them yet. Raises: Unguarded."""
    app = FastAPI(title="Tocsin", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for part in (
        health.router,
        metrics.router,
        notify.router,
        replay.router,
        incidents.router,
        actions.router,
        trace.router,
        silences.router,
        preview.router,
        deliveries.router,
        channels.router,
        tokens.router,
        policy.router,
        events.router,
        ledger.router,
        whatif.router,
        rules_try.router,
        rules.router,
        meta.router,
    ):
        app.include_router(part)
    check_guarded(app)
    app.state.described = Described(app, permissions_of(app))
    return app


def permissions_of(app: FastAPI) -> list[tuple[str, str, Permission | None]]:
    """List (path, method, permission) of every route, the hot one included; None for the open ones. In order."""
    listed: list[tuple[str, str, Permission | None]] = [(PATH, "POST", PERMISSION)]
    for route in routes_of(app):
        assert isinstance(route, APIRoute), route
        listed += [(route.path_format, method, permission_of(route)) for method in route.methods or ()]
    return sorted(listed, key=lambda one: one[:2])


def routes_of(app: FastAPI) -> list[BaseRoute]:
    """Give all routes of an application. (An included router keeps its own; `app.routes` does not list them.)"""
    return [context.original_route for context in iter_route_contexts(app.routes)]


def doors_of(app: FastAPI) -> list[Door]:
    """Give every route with what it asks for, in the order in which they are looked for."""
    routes = [route for route in routes_of(app) if isinstance(route, APIRoute)]
    return [Door(route, permission_of(route), route.body_field is not None) for route in routes]


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


async def _show(request: Request, error: Exception) -> Response:
    status, headers, body = problem(error)
    return Response(body, status, headers)


async def _show_form(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"field": _writable(".".join(str(part) for part in e["loc"][1:])), "message": _said(e["msg"])}
        for e in error.errors()
    ]
    detail = f"Field {errors[0]['field'] or 'body'}: {errors[0]['message']}."
    status, headers, body = respond(422, "invalid", "The input is not valid", detail, {"errors": errors})
    return Response(body, status, headers)


def _said(message: str) -> str:
    """What a validator of ours says stands after a word of the framework's."""
    return _writable(message.removeprefix("Value error, "))


def _writable(text: str) -> str:
    """A name that somebody sent may hold what no answer can."""
    return text.encode(errors="replace").decode()


async def _show_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    name, detail = {
        400: (
            "malformed",
            "The body has a number of more digits than can be read. Send JSON of a usual size.",
        ),
        404: ("not-found", f"There is nothing at {path}. GET /docs shows what there is."),
        405: ("method-not-allowed", f"{path} does not take {request.method}. `Allow` says what it takes."),
        413: ("too-large", f"A body has at most {FORM_BYTES_MAX} bytes here."),
    }.get(error.status_code, ("http", path))
    status, headers, body = respond(error.status_code, name, str(error.detail), detail, {})
    headers |= {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 405:
        headers["allow"] = ", ".join(_allowed(request))
    return Response(body, status, headers)


def _allowed(request: Request) -> list[str]:
    """Give the methods that this path takes; of a path that is also a pattern's, those of the path itself."""
    path = request.url.path
    routes = [route for route in routes_of(request.app) if isinstance(route, APIRoute)]
    matching = [route for route in routes if route.path == path] or [
        route for route in routes if route.path_regex.match(path)
    ]
    return sorted({method for route in matching for method in route.methods or ()})
