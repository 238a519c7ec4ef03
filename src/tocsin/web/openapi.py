"""OpenAPI: the description of the whole HTTP API, as exact as the routes, because it is made from them.

The framework describes parameters, bodies and answers; here come the problems, who may, and the hot route, whose form
is read off the one that its intake decodes with.
"""

import threading
from collections.abc import Iterable
from importlib.metadata import version
from inspect import cleandoc
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from tocsin.core.model.access import Permission
from tocsin.intake import native
from tocsin.web import hot

Schema = dict[str, Any]

ABOUT = (
    "Alerts come in, people are told, and every decision says why. Instants are RFC 3339 with an offset; lists are "
    "read page by page with `limit` and `cursor`; errors are problems (RFC 9457) with a stable `type`."
)

EXTRA: dict[str, Schema] = {
    "field": {"type": "string", "description": "What is wrong, as a path."},
    "errors": {"type": "array", "items": {"type": "object"}, "description": "All that is wrong."},
    "errors_total": {"type": "integer"},
    "permission": {"type": "string", "description": "The one that is missing."},
    "state": {"type": "string", "description": "As it is."},
    "possible": {"type": "array", "items": {"type": "string"}, "description": "What can be asked instead."},
}

PROBLEMS: dict[int, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    400: (
        "Malformed",
        "The cursor is not one that Tocsin gave, or a number in the body has too many digits.",
        ("cursor", "malformed"),
        ("field",),
    ),
    401: ("Unauthenticated", "Nobody proved who they are.", ("unauthenticated",), ()),
    403: ("Forbidden", "The permission is missing.", ("forbidden",), ("permission",)),
    404: ("NotFound", "There is no such thing.", ("not-found",), ()),
    409: ("Conflict", "Its state does not allow this.", ("conflict",), ("state", "possible")),
    413: ("TooLarge", "The body is too large.", ("too-large",), ()),
    415: ("WrongContentType", "Only JSON is taken.", ("content-type",), ()),
    422: (
        "Invalid",
        "The input is not valid; nothing changed.",
        ("invalid", "invalid-alerts"),
        ("field", "errors", "errors_total"),
    ),
    429: ("TooMany", "Too many requests; `Retry-After` says when to ask again.", ("limit",), ()),
    503: ("Unavailable", "Not now; nothing is known to have been stored. Ask again.", ("unavailable",), ()),
}
"""status -> (name, what it means, the types that it has, what it says besides)."""

HEADERS: dict[int, Schema] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}},
}


def describe(app: FastAPI, permissions: Iterable[tuple[str, str, Permission | None]]) -> Schema:
    """Describe the API.

    app: all routes but the hot one. permissions: (path, method, permission) of every route, None for the open ones.
    """
    needed = {(path, method.lower()): permission for path, method, permission in permissions}
    document: Schema = get_openapi(
        title="Tocsin",
        version=version("tocsin"),
        description=ABOUT,
        routes=app.routes,
    )
    routes = _routes(app)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            route = routes[path, method]
            _name(operation, route.name, _tag(path))
            _complete(operation, path, needed.get((path, method)))
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["paths"][hot.PATH] = {"post": _hot(schemas)}
    document["paths"] = dict(sorted(document["paths"].items()))
    document["tags"] = [{"name": tag} for tag in sorted({_tag(path) for path in document["paths"]})]
    components = document["components"]
    components["responses"] = {PROBLEMS[status][0]: _problem(status) for status in PROBLEMS}
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token (`toc_...`), or a JWT of the configured issuer.",
        }
    }
    return document


def _routes(app: FastAPI) -> dict[tuple[str, str], APIRoute]:
    found = [context.original_route for context in iter_route_contexts(app.routes)]
    return {
        (route.path_format, method.lower()): route
        for route in found
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


NOUNS = {
    "alerts": "alert",
    "channels": "channel",
    "config": "config",
    "deliveries": "deliver",
    "events": "event",
    "incidents": "incident",
    "ledger": "ledger",
    "maintenances": "maintenance",
    "notify": "notification",
    "policy": "polic",
    "rules": "rule",
    "silences": "silence",
    "slos": "slo",
    "tokens": "token",
    "whatif": "what_if",
}
"""What an operation of a tag is about, for the name of one that does not say it."""


def _tag(path: str) -> str:
    """Give the group of a path; what is about the server itself is one group."""
    tag = path.removeprefix("/api/v1").lstrip("/").partition("/")[0]
    return tag if tag in NOUNS else "server"


def _name(operation: Schema, name: str, tag: str) -> None:
    noun = NOUNS.get(tag, "")
    whole = {"deliver": "delivery", "polic": "policy"}.get(noun, noun)
    operation["operationId"] = name if noun in name else f"{name}_{whole}"
    operation["tags"] = [tag]
    text = operation.get("description", "")
    first, _, rest = text.partition("\n")
    operation["summary"] = first.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()
    else:
        operation.pop("description", None)


def _complete(operation: Schema, path: str, permission: Permission | None) -> None:
    """Say who may, and every way in which it can fail."""
    responses = operation["responses"]
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _without_null(parameter["schema"])
    statuses: set[int] = set()
    if permission is None:
        operation["security"] = []
    else:
        operation["security"] = [{"bearer": []}]
        operation["x-tocsin-permission"] = str(permission)
        statuses |= {401, 403, 429, 503}
    if "{" in path:
        statuses.add(404)
    if any(one["in"] != "path" or one["schema"].get("type") != "string" for one in parameters):
        statuses.add(422)
    if any(parameter["name"] == "cursor" for parameter in parameters):
        statuses.add(400)
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    declared = {int(status) for status in responses if status.isdigit() and int(status) in PROBLEMS}
    responses.pop("422", None)
    if permission is None:
        declared.discard(503)
        statuses.discard(422)
    for status in sorted(statuses | declared):
        responses[str(status)] = {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"}
    for status, response in responses.items():
        if response.get("description") == "Successful Response":
            response["description"] = "Done." if status != "201" else "Made."
    operation["responses"] = dict(sorted(responses.items()))


def _without_null(schema: Schema) -> Schema:
    """A parameter can be left out; it cannot be null, because all that a URL or a header holds is text."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if not kinds or len(kinds) == len(schema["anyOf"]):
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _problem(status: int) -> Schema:
    _, text, types, more = PROBLEMS[status]
    kind: Schema = {"type": "string", "enum": [f"urn:tocsin:problem:{name}" for name in types]}
    properties: Schema = {
        "type": kind,
        "title": {"type": "string"},
        "status": {"type": "integer", "const": status},
        "detail": {"type": "string", "description": "What happened, to what, and the next step."},
        **{name: EXTRA[name] for name in more},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["type", "title", "status", "detail"],
        "additionalProperties": False,
    }
    response: Schema = {"description": text, "content": {"application/problem+json": {"schema": schema}}}
    if status in HEADERS:
        response["headers"] = HEADERS[status]
    return response


# The hot route


def _hot(schemas: Schema) -> Schema:
    """Describe `POST /api/v1/alerts` from the forms that its intake and its answers have."""
    kinds = (native.AlertForm, hot.AlertsAnswer)
    (alert, answer), parts = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for name, schema in parts.items():
        schemas[name] = schema
        schema["description"] = cleandoc(schema.get("description", "")).partition("\n\n")[0]
    form = schemas["AlertForm"]
    instant = {
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "integer", "minimum": 0, "exclusiveMaximum": native.INSTANT_MAX},
        ],
        "description": "An integer is microseconds since 1970, without a point in it.",
    }
    for field in ("window_start", "window_end"):
        form["properties"][field] = instant
    form["properties"]["ends_at"] = instant | {"anyOf": [*instant["anyOf"], {"type": "null"}]}
    form["properties"]["evidence"] = {"description": "Any JSON."}
    schemas["LinkForm"]["examples"] = [{"href": "https://wiki.example.org/disk", "text": "what to do"}]
    form["examples"] = [
        {
            "rule_id": "disk",
            "severity": "critical",
            "message": "97 % of /var is used",
            "scope": {"host": "db-1"},
            "window_start": "2026-03-01T08:59:00Z",
            "window_end": "2026-03-01T09:00:00Z",
        }
    ]
    operation: Schema = {
        "operationId": "send_alerts",
        "tags": ["alerts"],
        "summary": "Send one alert, or up to 10,000",
        "description": (
            "A 2xx means that each alert is a committed entry of the ledger, or a counted repeat. All or nothing, "
            "unless `partial` is true: then those that are right are taken, and `problems` lists the others."
        ),
        "parameters": [
            {
                "name": "partial",
                "in": "query",
                "required": False,
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            alert,
                            {"type": "array", "items": alert, "minItems": 1, "maxItems": native.ALERTS_MAX},
                        ]
                    }
                }
            },
        },
        "responses": {
            "200": {"description": "Taken.", "content": {"application/json": {"schema": answer}}},
        },
    }
    _complete(operation, hot.PATH, hot.PERMISSION)
    return operation


class Described:
    """The description of a running application, made when it is first asked for. Safe from any thread."""

    def __init__(self, app: FastAPI, permissions: Iterable[tuple[str, str, Permission | None]]) -> None:
        self._app = app
        self._permissions = tuple(permissions)
        self._lock = threading.Lock()
        self._document: Schema | None = None

    def document(self) -> Schema:
        """Give the document."""
        with self._lock:
            if self._document is None:
                self._document = describe(self._app, self._permissions)
            return self._document

    def as_json(self) -> bytes:
        """Give the document as JSON."""
        return msgspec.json.encode(self.document())
