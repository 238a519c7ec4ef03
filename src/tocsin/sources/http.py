"""HTTP: reads numbers out of any JSON that somebody serves.

The URL is the operator's; in its part behind the `?` stand `{since}`, `{until}` (ISO 8601), `{since_epoch}` and
`{until_epoch}` (seconds) for the window. A rule's query says where in the answer the numbers are, in a small part of
JSONPath (RFC 9535), and which names they have there:

    $.orders.open                                one number
    $.items[*]                                   objects with a key `value`
    $.items[*] value=count at=ts labels=region   objects with keys of other names

Of an object, `value` is the number, `at`, `time` or `ts` its moment, and all other keys that hold text or whole numbers
are labels, unless `labels=` says which ones (`labels=` with nothing behind it: none).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from tocsin.core.model.errors import Invalid, check_all
from tocsin.core.model.rule import Ask, Series
from tocsin.core.rules import foreign, table
from tocsin.outbound import Outbound, body_of, request_faults
from tocsin.ports import SourceFailed

QUERY_CHARACTERS_MAX = 1_000
STEPS_MAX = 32
ROWS_MAX = 10_000
BYTES_MAX = 64_000_000

PLACES = ("since", "until", "since_epoch", "until_epoch")

_STEP = re.compile(
    r"""\.(?P<name>[^\W\d][\w-]*) | \['(?P<single>[^'\\]*)'\] | \["(?P<double>[^"\\]*)"\] | \[(?P<index>\d{1,6})\]
    | (?P<all>\[\*\]|\.\*)""",
    re.VERBOSE,
)
_OPTION = re.compile(r"(value|at|labels)=(\S*)")
_PLACE = re.compile(r"\{([^{}]*)\}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL = None
_JSON = table.Language(
    name="Say which keys to take: value=key labels=key,key.",
    number="Lead the path to a number, or name the key that holds one: value=key.",
    truth="Lead the path to a number, or name the key that holds one: value=key.",
    text="Name those that shall be labels: labels=key,key.",
    row="place {}",
)


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One URL.

    url: with the places of the window, if it takes one. It may be a secret.
    headers: sent as they are, for example Authorization; their values are secrets.
    bytes_max: a larger answer is refused.
    """

    name: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    bytes_max: int = 4_000_000

    def __repr__(self) -> str:
        return f"HttpConfig(name={self.name!r}, headers={len(self.headers)})"


class Path(msgspec.Struct, frozen=True):
    """Where the numbers are.

    steps: names, positions, and None for all that there is. value, at: keys; "" for the usual ones.
    labels: None for all that fit.
    """

    steps: tuple[str | int | None, ...]
    value: str = ""
    at: str = ""
    labels: tuple[str, ...] | None = None


class Http:
    """A URL as a source.

    Raises: Invalid when the configuration cannot work; its message holds no secret.
    """

    kind = "http"

    def __init__(self, config: HttpConfig, outbound: Outbound) -> None:
        check_all([*_faults(config)])
        self.name = config.name
        self._config = config
        self._outbound = outbound
        self._headers = {"Accept": "application/json"} | dict(config.headers)

    def __repr__(self) -> str:
        return f"Http({self._config!r})"

    def check(self, query: str) -> None:
        """See `tocsin.ports.Source`."""
        read_path(query)

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """See `tocsin.ports.Source`. The points are in [since, until)."""
        try:
            path = read_path(ask.query)
        except Invalid as error:
            raise SourceFailed(str(error), is_away=False) from None
        answer = await self._outbound.get(
            filled(self._config.url, ask),
            headers=self._headers,
            timeout_s=self._config.timeout_s,
            answer_bytes_max=self._config.bytes_max,
        )
        body = body_of(answer, bytes_max=self._config.bytes_max)
        try:
            document = msgspec.json.decode(body)
        except RecursionError:
            raise SourceFailed("The answer is nested too deeply.", is_away=False) from None
        except (msgspec.MsgspecError, ValueError):
            raise SourceFailed("The answer is no JSON. Check the URL of this source.", is_away=True) from None
        try:
            return table.read(ask, *rows(select(document, path.steps), path), language=_JSON)
        except Invalid as error:
            raise SourceFailed(str(error), is_away=False) from None

    async def close(self) -> None:
        """Nothing to do: the connections belong to the Outbound, which others use too."""


def read_path(query: str) -> Path:
    """Read a query. Raises: Invalid."""
    text = query.strip()
    if not text:
        raise Invalid("The query is empty. Say where the numbers are, such as $.items[*].")
    if len(query) > QUERY_CHARACTERS_MAX:
        raise Invalid(f"The query has {len(query):,} characters; at most {QUERY_CHARACTERS_MAX:,} are taken.")
    if not text.startswith("$"):
        raise Invalid(
            f"The path {text[:60]!r} does not begin with $, which is the whole answer. Write it like $.items[*]."
        )
    steps: list[str | int | None] = []
    done = 1
    while done < len(text) and not text[done].isspace():
        step = _STEP.match(text, done)
        if step is None:
            raise Invalid(
                f"The path cannot be read from character {done + 1} on: {text[done : done + 40]!r}. There are .name,"
                " ['any name'], [0], [*] and .*."
            )
        done = step.end()
        steps.append(_step(step))
    if len(steps) > STEPS_MAX:
        raise Invalid(f"The path has {len(steps)} steps; at most {STEPS_MAX} are taken.")
    return Path(tuple(steps), **_options(text[done:]))


def _step(step: re.Match[str]) -> str | int | None:
    if step["all"]:
        return _ALL
    if step["index"]:
        return int(step["index"])
    return next(name for name in (step["name"], step["single"], step["double"]) if name is not None)


def _options(rest: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in rest.split():
        option = _OPTION.fullmatch(word)
        if option is None or option[1] in options:
            raise Invalid(
                f"{word[:60]!r} is none of value=key, at=key and labels=key,key, or is there twice."
            )
        name, said = option.groups()
        options[name] = tuple(key for key in said.split(",") if key) if name == "labels" else said
    return options


def select(document: Any, steps: Sequence[str | int | None]) -> list[Any]:
    """Give what a path leads to. What is not there is refused, for it may be a slip; an empty list is none."""
    found = [document]
    said = "$"
    for step in steps:
        following: list[Any] = []
        for node in found:
            match step, node:
                case None, list():
                    following += node
                case None, dict():
                    following += node.values()
                case str(), dict() if step in node:
                    following.append(node[step])
                case int(), list() if step < len(node):
                    following.append(node[step])
                case _:
                    wanted = "no list or object" if step is _ALL else f"no {str(step)[:60]!r}"
                    raise Invalid(f"At {said[:100]} of the answer there is {wanted}. {_there(node)}")
            if len(following) > ROWS_MAX:
                raise Invalid(f"The path leads to more than {ROWS_MAX:,} places. Choose fewer.")
        found = following
        said += "[*]" if step is _ALL else f"[{step}]" if isinstance(step, int) else f".{step}"
    return found


def _there(node: Any) -> str:
    match node:
        case dict():
            return f"There are: {foreign.names(map(str, node)) or 'no keys'}."
        case list():
            return f"There is a list of {len(node):,}."
        case _:
            return "There is a text, a number or nothing."


def rows(nodes: Sequence[Any], path: Path) -> tuple[list[str], list[list[Any]]]:
    """Give the columns and rows of the nodes; see `tocsin.core.rules.table`."""
    if not any(isinstance(node, dict) for node in nodes):
        if any(isinstance(node, list) for node in nodes):
            raise Invalid("The path leads to a list. Go on to what is in it, with [*] behind it.")
        return ["value"], [[node] for node in nodes]
    if not all(isinstance(node, dict) for node in nodes):
        raise Invalid(
            "The path leads to objects and to other things. Lead it to objects only, or to numbers only."
        )
    keys = {key: None for node in nodes for key, cell in node.items() if not isinstance(cell, dict | list)}
    value = path.value or _usual(keys, ("value",))
    at = path.at or _usual(keys, table.MOMENTS)
    labels = path.labels
    if labels is None:
        kept = (value, at, "value", *table.MOMENTS)
        labels = tuple(key for key in keys if key not in kept and key.casefold() not in kept)
    for needed in (value or "value", *((at,) if at else ())):
        for number, node in enumerate(nodes, 1):
            if needed not in node:
                raise Invalid(
                    f"Object {number} has no key {needed[:60]!r}. {_there(node)} Name it: value=key, at=key."
                )
    taken = [value, *([at] if at else []), *labels]
    columns = ["value", *(["at"] if at else []), *labels]
    return columns, [[node.get(key) for key in taken] for node in nodes]


def _usual(keys: Iterable[str], names: Sequence[str]) -> str:
    """Find the key that has one of the usual names; "" for none. Raises: Invalid if there are several."""
    found = [key for key in keys if key.casefold() in names]
    if len(found) > 1:
        raise Invalid(f"Several keys may be meant: {foreign.names(found)}. Say which: value=key, at=key.")
    return found[0] if found else ""


def filled(url: str, ask: Ask) -> str:
    """Give the URL with the window in its places, percent-encoded."""
    head, mark, tail = url.partition("?")
    return head + mark + _PLACE.sub(lambda place: quote(_window(place[1], ask), safe=""), tail)


def _window(place: str, ask: Ask) -> str:
    at = ask.since if place.startswith("since") else ask.until
    if place.endswith("epoch"):
        return str(at // 1_000_000)
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def _faults(config: HttpConfig) -> Iterable[tuple[str, str]]:
    """Find all that is wrong, as (field, what)."""
    yield from request_faults(config.name, config.url, config.headers, config.timeout_s)
    head, _, tail = config.url.partition("?")
    places = ", ".join(f"{{{place}}}" for place in PLACES)
    if "{" in head or "}" in head:
        yield (
            "url",
            f"The URL of source {config.name!r} has a place before its ?. Behind it there may be {places}.",
        )
    if any(place not in PLACES for place in _PLACE.findall(tail)) or re.search(r"[{}]", _PLACE.sub("", tail)):
        yield "url", f"The URL of source {config.name!r} has a place that is none. There are {places}."
    if not 1 <= config.bytes_max <= BYTES_MAX:
        yield "bytes_max", f"bytes_max of source {config.name!r} must be between 1 and {BYTES_MAX:,}."
