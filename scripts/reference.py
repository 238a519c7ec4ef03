"""Reference: writes the parts of the documentation that are generated, between their markers.

    python scripts/reference.py            write all parts
    python scripts/reference.py --check    say which are not as they would be written (exit code 1)

A part is a line in PARTS: its name, the document that holds it, and what makes its Markdown.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path
from typing import Any, get_args

import msgspec
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tocsin.core.engine.route import DEFAULTS
from tocsin.core.model.entry import KINDS
from tocsin.core.model.event import Decided
from tocsin.core.model.rule import Interval
from tocsin.settings import write_duration
from tocsin.settings.form import Says
from tocsin.settings.forms import DefaultsForm, FileForm
from tocsin.web.app import build_api, permissions_of
from tocsin.web.docs_page import type_of
from tocsin.web.openapi import describe

ROOT = Path(__file__).resolve().parent.parent


# --- config ------------------------------------------------------------------------------------------------


def config_reference() -> str:
    """Describe every key of `tocsin.yaml`, a table for each mapping."""
    return "\n\n".join(_sections("", FileForm, set()))


def _sections(path: str, form: type[BaseModel], done: set[type[BaseModel]]) -> Iterator[str]:
    done.add(form)
    kind = form.model_fields.get("kind")
    title = f"`{path}`" if path else "The file"
    if kind is not None:
        title += f", kind `{get_args(kind.annotation)[0]}`"
    inherits = form is not DefaultsForm and issubclass(form, DefaultsForm)
    rows = [
        _row(field.alias or name, field, getattr(DEFAULTS, name, None) if form is DefaultsForm else None)
        for name, field in form.model_fields.items()
        if not (inherits and name in DefaultsForm.model_fields)
    ]
    words = (form.__doc__ or "") + (" It takes every key of [`defaults`](#defaults) too." if inherits else "")
    head = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    yield "\n".join([f"### {title}", "", words, "", *head, *rows])
    for name, field in form.model_fields.items():
        for inner in _forms_in(field.annotation):
            if inner not in done:
                many = "[]" if _is_list(field.annotation) else ""
                yield from _sections(f"{path}.{name}{many}".lstrip("."), inner, done)


def _row(name: str, field: FieldInfo, inherited: Any) -> str:
    takes = _takes(field.annotation, field.metadata)
    return f"| `{name}` | {takes} | {_default(field, takes, inherited)} | {_cell(field.description or '')} |"


def _takes(annotation: Any, metadata: list[Any]) -> str:
    """Say what a key takes, as the forms call it."""
    for said in metadata:
        if isinstance(said, Says):
            return said.word
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    origin, parts = getattr(annotation, "__origin__", None), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _takes(origin, list(annotation.__metadata__))
    if origin is list:
        return f"list of {_plural(_takes(parts[0], []))}"
    if origin is dict:
        return f"mapping of {_takes(parts[0], [])} to {_takes(parts[1], [])}"
    plain = {str: "text", int: "whole number", bool: "`true` or `false`"}
    if annotation in plain:
        return plain[annotation]
    words = [_takes(part, []) for part in parts if isinstance(part, type) or get_args(part)]
    return next(iter(filter(None, words)), f"`{parts[0]}`" if parts else "")


def _plural(word: str) -> str:
    head, comma, rest = word.partition(",")
    return (
        head + ("" if head in ("text", "mapping") else "s") + comma + rest
        if head != "mapping"
        else "mappings"
    )


def _default(field: FieldInfo, takes: str, inherited: Any) -> str:
    """Write the default. inherited: the core's own, where the file says nothing."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True) if inherited is None else inherited
    if value is None or isinstance(value, BaseModel) or value in ([], {}):
        return ""
    return f"`{_written(value, 'duration' in takes)}`"


def _written(value: Any, is_duration: bool) -> str:
    if isinstance(value, Interval):
        return write_duration(value.length)
    if value == (1, 1):  # Looks: one of one.
        return "1"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(one, is_duration) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if is_duration:
        return write_duration(value)
    return f'"{value}"' if value == "..." else str(value)


def _forms_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _forms_in(part)


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list or any(map(_is_list, get_args(annotation)))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- api ---------------------------------------------------------------------------------------------------


def api_reference() -> str:
    """Describe every route of the HTTP API, then every form and answer, from its own description."""
    api = build_api()
    document = describe(api, permissions_of(api))
    parts = [_routes(tag["name"], document) for tag in document["tags"]]
    schemas = sorted(document["components"]["schemas"].items())
    text = "\n\n".join(
        [*parts, "### Forms and answers", *(_schema(name, schema) for name, schema in schemas)]
    )
    names = "|".join(name for name, _ in schemas)
    return re.sub(rf"<({names})>", lambda m: f"[{m[1]}](#{m[1].lower()})", text)


def _routes(tag: str, document: dict[str, Any]) -> str:
    lines = [f"### {tag}", "", "| route | needs | takes | gives | |", "|---|---|---|---|---|"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if tag in operation["tags"]:
                text = ". ".join(filter(None, (operation["summary"], operation.get("description"))))
                needs = operation.get("x-tocsin-permission")
                cells = (
                    f"`{method.upper()} {path}`",
                    f"`{needs}`" if needs else "nothing",
                    ", ".join(_parameters(operation)),
                    ", ".join(_gives(operation)),
                    " ".join(text.split()),
                )
                lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "path":
            yield f"`{parameter['name']}`"
    body = operation.get("requestBody")
    if body is not None:
        yield _type(body["content"]["application/json"]["schema"])


def _gives(operation: dict[str, Any]) -> Iterator[str]:
    for status, response in operation["responses"].items():
        if status < "300":
            kind, content = next(iter(response.get("content", {"": {}}).items()))
            yield _type(content.get("schema", {})) if kind == "application/json" else kind
        elif status in ("404", "409"):
            yield status


def _schema(name: str, schema: dict[str, Any]) -> str:
    words = " ".join(schema.get("description", "").split())
    lines = [f"#### {name}", "", *((words, "") if words else ())]
    if "properties" not in schema:
        return "\n".join([*lines, _type(schema)])
    lines += ["| field | | |", "|---|---|---|"]
    for field, inner in schema["properties"].items():
        needed = "required" if field in schema.get("required", ()) and name.endswith("Form") else ""
        said = " ".join(filter(None, (needed, inner.get("description"))))
        lines.append(f"| `{field}` | {_cell(_type(inner))} | {_cell(said)} |")
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    """Say what a schema takes; the name of another one stands in angle brackets, to become a link."""
    named = {**schema, "$ref": f"/<{schema['$ref'].rpartition('/')[2]}>"} if "$ref" in schema else schema
    for word in ("anyOf", "oneOf"):
        if word in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[word]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return type_of(named)


# --- events ------------------------------------------------------------------------------------------------


def events_reference() -> str:
    """List every kind of entry, and every event with its fields."""
    lines = ["### Kinds of entries", "", "| kind | |", "|---|---|"]
    lines += [f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items()]
    lines += ["", "### Events", "", "| type | meaning | fields besides `because` |", "|---|---|---|"]
    for event in get_args(Decided):
        words = " ".join((event.__doc__ or "").split())
        fields = ", ".join(
            f"`{field.encode_name}`" for field in msgspec.structs.fields(event) if field.name != "because"
        )
        lines.append(f"| `{event.__struct_config__.tag}` | {_cell(words)} | {fields} |")
    return "\n".join(lines)


# --- all of them -------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "config": ("docs/configuration.md", config_reference),
    "api": ("docs/api.md", api_reference),
    "events": ("docs/events.md", events_reference),
    "cli": ("docs/cli.md", lambda: str(run_path(f"{ROOT}/scripts/reference_cli.py")["generate"]())),
}
"""part -> the document that holds it, and what makes it."""


def written(name: str, root: Path = ROOT) -> tuple[Path, str, str]:
    """Give a part's document, its text as it is, and as it would be written.

    Raises: ValueError if the document has no markers for it.
    """
    place, make = PARTS[name]
    path = root / place
    text = path.read_text()
    begin, end = f"<!-- {name}: generated by scripts/reference.py -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{place} needs the markers {begin} and {end}, once each.")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return path, text, f"{before}{begin}\n\n{make()}\n\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Write all parts, or check them."""
    stale = []
    for name in PARTS:
        path, is_, would_be = written(name)
        if is_ != would_be:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(would_be)
    if stale and "--check" in arguments:
        print(f"Not current: {', '.join(stale)}. Write them: python scripts/reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
