"""Values of our own types, drawn from their type hints."""

import random
import typing
from enum import Enum
from types import UnionType
from typing import Any

import msgspec
from hypothesis import strategies as st

from tocsin.core.ledger.verify import INTEGER_MAX
from tocsin.core.model.policy import Route

# No lone surrogates: they are no text, and the edge refuses them. Control characters and all scripts are in.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
integers = st.integers(-INTEGER_MAX, INTEGER_MAX)

# Where keys mix U+E000..U+FFFF with what lies above, RFC 8785 orders them by UTF-16 unit and we by code point.
keys = st.text(st.characters(exclude_categories=("Cs",), max_codepoint=0xFFFF), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def a_value(chance: random.Random, depth: int = 3) -> Any:
    """Make a value such as `values` draws, much faster. At full depth it is a list or an object."""
    kind = chance.choice(("list", "object") if depth == 3 else _KINDS if depth else _KINDS[:5])
    match kind:
        case "plain":
            return chance.choice((None, True, False))
        case "edge":
            return chance.choice((0, 1, -1, INTEGER_MAX, -INTEGER_MAX, 1 << 31, 1 << 32, -(1 << 31), 10**15))
        case "integer":
            return chance.randint(-INTEGER_MAX, INTEGER_MAX) >> chance.randrange(53)
        case "text":
            return _a_text(chance, 0x10FFFF)
        case "list":
            return [a_value(chance, depth - 1) for _ in range(chance.choice(_COUNTS))]
        case _:
            return {
                _a_text(chance, 0xFFFF): a_value(chance, depth - 1) for _ in range(chance.choice(_COUNTS))
            }


_KINDS = ("plain", "edge", "integer", "text", "text", "list", "object")
_COUNTS = (0, 1, 1, 2, 3, 5)


def _a_text(chance: random.Random, last: int) -> str:
    """Text of which most is ASCII with its control characters; no lone surrogates."""
    tops = (0x20, 0x7F, 0x7F, 0x7F, 0x300, 0xFFFF, last)
    points = [chance.randint(0, chance.choice(tops)) for _ in range(chance.randrange(12))]
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def drawn(hint: Any) -> st.SearchStrategy[Any]:
    """Give a strategy for a type as our structs use them."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is UnionType or origin is typing.Union:
        return st.one_of([drawn(argument) for argument in arguments])
    if hint == tuple[Route, ...]:
        return st.lists(_route(), max_size=2).map(tuple)
    if origin is tuple:
        if arguments[1] is not Ellipsis:
            return st.tuples(*(drawn(argument) for argument in arguments))
        return st.lists(drawn(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(keys, drawn(arguments[1]), max_size=3)
    if hint is object:
        return values
    if hint in _PLAIN:
        return _PLAIN[hint]
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    assert issubclass(hint, msgspec.Struct), hint
    fields = msgspec.structs.fields(hint)
    return st.deferred(lambda: st.builds(hint, **{field.name: drawn(field.type) for field in fields}))


def _route() -> st.SearchStrategy[Route]:
    """A route that has no routes below it: a tree of any depth would be drawn for ever."""
    fields = [field for field in msgspec.structs.fields(Route) if field.name != "routes"]
    return st.deferred(lambda: st.builds(Route, **{field.name: drawn(field.type) for field in fields}))


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: integers,
    str: texts,
    type(None): st.none(),
}
