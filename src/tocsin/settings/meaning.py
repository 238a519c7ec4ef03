"""Meaning: what no form can see: names that are used twice, channels that nobody configured, channels that cannot work.

It looks at the data as it stands in the file, so that one wrong form does not hide what else is wrong.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tocsin.core.model.errors import Invalid
from tocsin.settings.build import channel_of
from tocsin.settings.document import Document, Key
from tocsin.settings.forms import ChannelForm
from tocsin.settings.model import ChannelSettings, Settings
from tocsin.settings.problems import Problem
from tocsin.settings.takes import Surroundings, did_you_mean

TryChannel = Callable[[ChannelSettings], object]
"""Makes a channel; what it raises (Invalid, whose field is a key) is what is wrong with it."""

STAND_INS: dict[str, dict[str, Any]] = {
    "email": {
        "name": "x",
        "host": "localhost",
        "sender": "x@example.org",
        "recipients": ["x@example.org"],
    },
    "webhook": {"name": "x", "url": "https://example.org"},
}
"""kind -> what takes the place of a required key that is ill-formed, so that the rest of the channel can be tried."""

_CHANNEL: TypeAdapter[Any] = TypeAdapter(ChannelForm)
_FIELD = re.compile(r"([a-z_]+)(?:\[([0-9]+)\])?")


def meaning_problems(
    document: Document,
    around: Surroundings,
    from_environment: Settings,
    variables: list[str],
    try_channel: TryChannel,
) -> Iterator[Problem]:
    """Find what is wrong with a file whose parts may each be well-formed.

    from_environment: what the environment says; variables: which of its variables configure channels.
    """
    data = document.data
    if not isinstance(data, dict):
        return
    sources = data.get("sources")
    if isinstance(sources, list):
        named = [one.get("name") if isinstance(one, dict) else None for one in sources]
        yield from _twice(named, lambda index: ("sources", index, "name"), document)
    channels = data.get("channels")
    if isinstance(channels, list):
        names = [one.get("name") if isinstance(one, dict) else None for one in channels]
        yield from _twice(names, lambda index: ("channels", index, "name"), document)
        yield from _unworkable(channels, document, around, try_channel)
        if variables:
            message = (
                f"Channels stand here and in the environment ({', '.join(variables)}). Unset those variables, "
                "or move them into this section."
            )
            yield Problem(document.keys[("channels",)], ("channels",), message)
        known = [one for one in names if isinstance(one, str)]
    else:
        known = [channel.name for channel in from_environment.channels]
    yield from _route_problems(document, known)


def channels_named(document: Document) -> list[str]:
    """Give the channels that the routes name, each once; whatever is wrong with them is told elsewhere."""
    data = document.data
    if not isinstance(data, dict):
        return []
    places = [*_walk(data.get("routes"), ("routes",)), (("defaults",), data.get("defaults"))]
    named: dict[str, None] = {}
    for _, route in places:
        channels = route.get("channels") if isinstance(route, dict) else None
        for name in channels if isinstance(channels, list) else []:
            if isinstance(name, str):
                named[name] = None
    return list(named)


def _twice(names: list[Any], key_of: Callable[[int], Key], document: Document) -> Iterator[Problem]:
    first: dict[str, Key] = {}
    for index, name in enumerate(names):
        if isinstance(name, str):
            key = key_of(index)
            if name in first:
                line = document.place_of(first[name]).line
                yield Problem(
                    document.place_of(key),
                    key,
                    f"{name[:64]!r} is the name in line {line} too. Give each its own.",
                )
            first.setdefault(name, key)


def _unworkable(
    channels: list[Any], document: Document, around: Surroundings, try_channel: TryChannel
) -> Iterator[Problem]:
    """Make every channel, to hear what it says itself."""
    for index, raw in enumerate(channels):
        made, told = _well_formed(raw, around)
        if made is None:
            continue
        try:
            try_channel(made)
        except Invalid as error:
            for field, message in error.errors or [(error.field, str(error))]:
                inner = _key_in_channel(field)
                key: Key = ("channels", index, *inner)
                if inner[:1] not in {(name,) for name in told}:
                    yield Problem(document.place_of(key), key, message)


def _well_formed(raw: Any, around: Surroundings) -> tuple[ChannelSettings | None, set[str]]:
    """Give a channel as it stands, or with something in place of what is ill-formed: that is told elsewhere.

    Returns: the channel, None if nothing can be made of it; and the keys about which it has nothing to say.
    """
    try:
        return channel_of(_CHANNEL.validate_python(raw, context=around)), set()
    except ValidationError as error:
        kind = raw.get("kind") if isinstance(raw, dict) else None
        if kind not in STAND_INS:
            return None, set()
        told = {str(one["loc"][1]) for one in error.errors(include_url=False) if len(one["loc"]) > 1}
    if told & {"user", "password"}:
        told |= {"user", "password"}  # One without the other would be wrong, and is not.
    left = {name: value for name, value in raw.items() if name not in told}
    stand_ins = {name: value for name, value in STAND_INS[kind].items() if name in told}
    try:
        return channel_of(_CHANNEL.validate_python(left | stand_ins, context=around)), told
    except ValidationError:
        return None, set()


def _key_in_channel(field: str) -> Key:
    found = _FIELD.fullmatch(field)
    if found is None:
        return ()
    name = found[1].removesuffix("_s")
    return (name,) if found[2] is None else (name, int(found[2]))


def _route_problems(document: Document, known: list[str]) -> Iterator[Problem]:
    data: Mapping[str, Any] = document.data
    routes = list(_walk(data.get("routes"), ("routes",)))
    names = [route.get("name", "default" if key == ("routes",) else None) for key, route in routes]
    yield from _twice(names, lambda index: (*routes[index][0], "name"), document)
    places = [*routes, (("defaults",), data.get("defaults"))]
    for key, route in places:
        channels = route.get("channels") if isinstance(route, dict) else None
        for index, name in enumerate(channels if isinstance(channels, list) else []):
            if isinstance(name, str) and name not in known:
                there = (
                    f" Configured: {', '.join(known[:20])}{', ...' * (len(known) > 20)}."
                    if known
                    else " No channel is configured."
                )
                at = (*key, "channels", index)
                message = f"Channel {name[:64]!r} is not configured.{did_you_mean(name, known) or there}"
                yield Problem(document.place_of(at), at, message)


def _walk(route: Any, key: Key) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Give every route of the tree with its key, a parent before its children; the file's depth is bounded."""
    if isinstance(route, dict):
        yield key, route
        children = route.get("routes")
        for index, child in enumerate(children if isinstance(children, list) else []):
            yield from _walk(child, (*key, "routes", index))
