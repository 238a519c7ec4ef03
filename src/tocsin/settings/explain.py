"""Explain: what pydantic found wrong, in our words, at its place in the file."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from tocsin.settings.document import Document, Key
from tocsin.settings.form import Form
from tocsin.settings.problems import Problem
from tocsin.settings.takes import did_you_mean

_TAKES = {
    "string_type": "text; put it in quotes if it is meant as text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def explain(error: ErrorDetails, document: Document, kind: type[Form]) -> Problem:
    """Say what is wrong, and where. kind: of the whole file."""
    key = _key_of(error["loc"], document.data)
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            message = _unknown(key, kind, document.data)
            return Problem(document.keys.get(key, document.place_of(key)), key, message)
        case "missing":
            message = "This key is missing. Add it."
        case "union_tag_not_found":
            kinds = _kinds_at(key, kind)
            key = (*key, "kind")
            message = f"This key is missing. Add it: {', '.join(kinds[:-1])} or {kinds[-1]}."
        case "union_tag_invalid":
            kinds = _kinds_at(key, kind)
            key = (*key, "kind")
            tag = str(context.get("tag", ""))
            message = f"{tag[:40]!r} is none of {', '.join(kinds)}.{did_you_mean(tag, kinds)}"
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
        case "greater_than":
            message = f"This is too small. Give more than {context['gt']:,}."
        case "less_than":
            message = f"This is too large. Give less than {context['lt']:,}."
        case other:
            message = f"This takes {_TAKES[other]}, not {_shape(error['input'])}."
    return Problem(document.place_of(key), key, message)


def _key_of(location: tuple[int | str, ...], data: Any) -> Key:
    """Drop what pydantic adds to the way: the kind of a mapping, before the keys in it."""
    key: list[int | str] = []
    for part in location:
        if isinstance(data, dict) and part not in data and part == data.get("kind"):
            continue
        key.append(part)
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            data = None
    return tuple(key)


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


def _unknown(key: Key, kind: type[Form], data: Any) -> str:
    known = [
        field.alias or name
        for form in _of_its_kind(_forms_at(key[:-1], [kind]), key[:-1], data)
        for name, field in form.model_fields.items()
    ]
    unique = tuple(dict.fromkeys(known))
    meant = did_you_mean(str(key[-1]), unique)
    return (
        f"There is no such key.{meant}" if meant else f"There is no such key. There are {', '.join(unique)}."
    )


def _of_its_kind(forms: list[type[BaseModel]], key: Key, data: Any) -> list[type[BaseModel]]:
    """Of the forms that a mapping may have, give the one of the kind that it says it is; all if it says none."""
    for part in key:
        data = data[part]
    kind = data.get("kind") if isinstance(data, dict) else None
    return [form for form in forms if _kind_of(form) == kind] or forms


def _kinds_at(key: Key, kind: type[Form]) -> tuple[str, ...]:
    return tuple(filter(None, map(_kind_of, _forms_at(key, [kind]))))


def _kind_of(form: type[BaseModel]) -> str:
    field = form.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field is not None else ""


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
