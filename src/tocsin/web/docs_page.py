"""Docs page: the API's description as one page of HTML, rendered here, so that nobody needs a script to read it.

All text passes through `html.escape`; the page may load nothing, so a description cannot make it do anything either.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

Schema = dict[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
details { border: 1px solid #8886; border-radius: .4rem; margin: .5rem 0; padding: .4rem .7rem; }
summary { cursor: pointer; } code { font-size: .92em; } .m { font-weight: 700; } .p { float: right; opacity: .7; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; overflow-wrap: normal; }
"""


def render(document: Schema) -> str:
    """Render a description as a page."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{_prose(info['description'])}</p>",
        "<p>The same for programs: <code>GET /api/v1/openapi.json</code>.</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2 id='{escape(tag['name'])}'>{escape(tag['name'])}</h2>")
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(path, method, operation))
    parts.append("<h2 id='schemas'>Schemas</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f"<details id='schema-{escape(name)}'><summary><code>{escape(name)}</code></summary>")
        parts.append(f"{_schema(schema)}</details>")
    return "".join(parts)


def _operation(path: str, method: str, operation: Schema) -> str:
    permission = operation.get("x-tocsin-permission", "open")
    parts = [
        f"<details id='{escape(operation['operationId'])}'><summary><span class=p>{escape(permission)}</span>"
        f"<span class=m>{escape(method.upper())}</span> <code>{escape(path)}</code><br>"
        f"{_prose(operation['summary'])}</summary>"
    ]
    if "description" in operation:
        parts.append(f"<p>{_prose(operation['description'])}</p>")
    rows = [
        (parameter["name"], parameter["in"], type_of(parameter["schema"]), parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        rows.append(("", "body", type_of(body), ""))
    if rows:
        parts.append(_table(("parameter", "in", "type", ""), rows))
    answers = []
    for status, response in operation["responses"].items():
        name = response.get("$ref", "").rpartition("/")[2]
        content = response.get("content", {})
        answers.append(
            (
                status,
                type_of(next(iter(content.values())).get("schema", {})) if content else "",
                name or response.get("description", ""),
            )
        )
    parts.append(_table(("status", "type", ""), answers))
    return "".join(parts) + "</details>"


def _schema(schema: Schema) -> str:
    required = schema.get("required", [])
    rows = [
        (
            name,
            type_of(field),
            "required" if name in required else "",
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    text = f"<p>{_prose(schema['description'])}</p>" if "description" in schema else ""
    return text + (_table(("field", "type", "", ""), rows) if rows else f"<p>{escape(type_of(schema))}</p>")


def type_of(schema: Schema) -> str:
    """Say in a few words what a schema takes."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for word in ("anyOf", "oneOf"):
        if word in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(type_of(one) for one in schema[word]))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = str(schema.get("format") or schema.get("type") or "any")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {type_of(schema['additionalProperties'])}"
    return kind


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{_prose(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _prose(text: str) -> str:
    """Escape a text; what stands between backticks is code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if position % 2 else part for position, part in enumerate(parts))
