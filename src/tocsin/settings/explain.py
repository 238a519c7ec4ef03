"""Explain: what pydantic found wrong, in our words, at its place in the file."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from tocsin.settings.document import Document, Key
from tocsin.settings.forms import KINDS, FileForm
from tocsin.settings.problems import Problem
from tocsin.settings.takes import did_you_mean

_TAKES = {
    "string_type": "text; put it in quotes if it is meant as text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def explain(error: ErrorDetails, document: Document) -> Problem:
    """Say what is wrong, and where."""
    key = _key_of(error["loc"])
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            message = _unknown(key)
            return Problem(document.keys.get(key, document.place_of(key)), key, message)
        case "missing":
            message = "This key is missing. Add it."
        case "union_tag_not_found":
            key = (*key, "kind")
            message = f"This key is missing. Add it: {', '.join(KINDS[:-1])} or {KINDS[-1]}."
        case "union_tag_invalid":
            key = (*key, "kind")
            tag = str(context.get("tag", ""))
            message = f"{tag[:40]!r} is none of {', '.join(KINDS)}.{did_you_mean(tag, KINDS)}"
        case "value_error":
            message = str(context["error"])
        case "too_short" | "string_too_short":
            message = "This is empty. Give at least one."
        case "too_long" | "string_too_long":
            message = f"This is too long. At most {context['max_length']:,} are taken."
        case "greater_than_equal":
            message = f"This is too small. Give {context['ge']:,} or more."
        case "less_than_equal":
            message = f"This is too large. Give {context['le']:,} or less."
        case kind:
            message = f"This takes {_TAKES[kind]}, not {_shape(error['input'])}."
    return Problem(document.place_of(key), key, message)


def _key_of(location: tuple[int | str, ...]) -> Key:
    """Drop what pydantic adds to the way: the kind of a channel, after its position."""
    if len(location) > 2 and location[0] == "channels" and location[2] in KINDS:
        return (*location[:2], *location[3:])
    return location


def _shape(value: object) -> str:
    """Name what stands there without quoting it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _unknown(key: Key) -> str:
    known = [
        field.alias or name
        for form in _forms_at(key[:-1], [FileForm])
        for name, field in form.model_fields.items()
    ]
    unique = tuple(dict.fromkeys(known))
    meant = did_you_mean(str(key[-1]), unique)
    return (
        f"There is no such key.{meant}" if meant else f"There is no such key. There are {', '.join(unique)}."
    )


def _forms_at(key: Key, forms: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """Find the forms that a mapping at this place may have; several where the kind decides."""
    for part in key:
        if isinstance(part, str):
            forms = [
                inner
                for form in forms
                for name, field in form.model_fields.items()
                if part == (field.alias or name)
                for inner in forms_in(field.annotation)
            ]
    return forms


def forms_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Give the forms that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from forms_in(part)
