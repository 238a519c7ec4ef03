"""Native: Tocsin's own dialect, `POST /api/v1/alerts`. Bytes to alerts; every error names the item and the field.

The fast way decodes the whole body at once in C; only when that fails is each item looked at by itself.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from tocsin.core.model.alert import CANONICAL, Alert, Link, Severity, Status
from tocsin.core.model.input import AlertReceived, received

ALERTS_MAX = 10_000
ALERT_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
DEPTH_MAX = 32
PART_ALERTS = 64
PART_BYTES = 64 * 1024

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
TEXT_MAX = 16_384
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Labels = Annotated[dict[Name, Text], msgspec.Meta(max_length=64)]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX = 253_402_300_800_000_000
"""The first microsecond after the year 9999."""


class LinkForm(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A link as it comes in."""

    href: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    text: Annotated[str, msgspec.Meta(max_length=256)] | UnsetType = UNSET


class AlertForm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """An alert as it comes in. Instants are ISO 8601 with an offset, or integer microseconds UTC.

    What is optional is UNSET if it is absent, so that encoding the form again gives every key that was read; a key
    that stood twice then shows by its absence.
    """

    rule_id: Name
    severity: Severity
    message: Text
    scope: Labels | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    window_start: str | int | UnsetType = UNSET
    window_end: str | int | UnsetType = UNSET
    annotations: Labels | UnsetType = UNSET
    links: Annotated[list[LinkForm], msgspec.Meta(max_length=32)] | UnsetType = UNSET
    evidence: msgspec.Raw | UnsetType = UNSET
    source: Annotated[str, msgspec.Meta(max_length=256)] | UnsetType = UNSET
    ends_at: str | int | None | UnsetType = UNSET


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with an item. field: a path in it such as `scope.host`, "" for the item itself.

    index: of the item; None if it is the whole body that is wrong.
    """

    index: int | None
    field: str
    message: str


class Parsed(msgspec.Struct, frozen=True):
    """The alerts of a request, in order, with the index of each; and what is wrong with the others."""

    alerts: list[AlertReceived]
    indexes: list[int]
    problems: list[Problem]


_forms = msgspec.json.Decoder(list[AlertForm])
_form = msgspec.json.Decoder(AlertForm)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_plain_encode = msgspec.json.Encoder().encode
_encode = CANONICAL.encode


class _Wrong(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WHITE = b" \t\r\n"


def parse(body: bytes, at: int) -> Parsed:
    """Read one alert (an object) or up to 10,000 (an array of them).

    at: the window of an alert that brings none, and what separates a live `ends_at` from one that is over.
    """
    if len(body) > BODY_BYTES_MAX:
        return _all_wrong(f"the body has {len(body)} bytes; at most {BODY_BYTES_MAX} are taken")
    is_alone = body.lstrip(_WHITE)[:1] != b"["
    if is_alone:
        body = b"[%s]" % body
    instants: dict[str | int, int] = {}
    alerts: list[AlertReceived] = []
    try:
        for part in _parts(body):
            forms = _forms.decode(part)
            if b"\\u" in part or _plain_encode(forms).count(b'"') != part.count(b'"'):
                return _one_by_one(body, at, is_alone)
            for form in forms:
                alerts.append(_alert(form, at, instants))
    except (*_MALFORMED, _Wrong):
        return _one_by_one(body, at, is_alone)
    if not 0 < len(alerts) <= (1 if is_alone else ALERTS_MAX):
        return _one_by_one(body, at, is_alone)
    return Parsed(alerts, list(range(len(alerts))), [])


def _parts(body: bytes) -> Iterator[bytes]:
    """Cut a large array into arrays of a few alerts, so that each is still in the processor's cache when it is read
    again. Raises: _Wrong if there are too many, or one is too large; msgspec's errors if it is no JSON."""
    if len(body) <= PART_BYTES:
        yield body
        return
    items = _items.decode(body)
    if len(items) > ALERTS_MAX:
        raise _Wrong("", "there are too many")
    for start in range(0, len(items), PART_ALERTS):
        some = items[start : start + PART_ALERTS]
        part = b"[%s]" % b",".join(some)
        if len(part) > ALERT_BYTES_MAX and any(len(bytes(item)) > ALERT_BYTES_MAX for item in some):
            raise _Wrong("", "one is too large")
        yield part


def _all_wrong(message: str) -> Parsed:
    return Parsed([], [], [Problem(None, "", message)])


def _one_by_one(body: bytes, at: int, is_alone: bool) -> Parsed:
    """Find out what is wrong with which item. is_alone: the brackets around the body are ours."""
    try:
        items = _items.decode(body)
    except _MALFORMED as error:
        return Parsed([], [], [_malformed(body, str(error))])
    if not items:
        return _all_wrong("the body is empty" if is_alone else "there are no alerts in it")
    if is_alone and len(items) > 1:
        return _all_wrong("the body has several alerts without brackets around them; send an array")
    if len(items) > ALERTS_MAX:
        return _all_wrong(f"the body has {len(items)} alerts; at most {ALERTS_MAX} are taken in one request")
    parsed = Parsed([], [], [])
    instants: dict[str | int, int] = {}
    for index, raw in enumerate(items):
        try:
            parsed.alerts.append(_alert(_read(bytes(raw)), at, instants))
            parsed.indexes.append(index)
        except _Wrong as wrong:
            parsed.problems.append(Problem(index, wrong.field, str(wrong)))
    return parsed


def _malformed(body: bytes, why: str) -> Problem:
    """Find the first item that is no JSON. Python's own parser takes more than JSON, so it finds where items end."""
    text = body.decode(errors="surrogateescape")
    scan = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
    position, index = text.index("[") + 1, 0
    try:
        while True:
            position = _end_of_white(text, position)
            _, end = scan(text, position)
            item = text[position:end].encode(errors="surrogateescape")
            try:
                _items.decode(b"[%s]" % item)
            except _MALFORMED:
                _check_json(item)
                break
            position = _end_of_white(text, end)
            if text[position : position + 1] != ",":
                return Problem(None, "", f"the body is no JSON: {why}")
            position, index = position + 1, index + 1
    except _Wrong as wrong:
        return Problem(index, wrong.field, str(wrong))
    except (ValueError, RecursionError):
        pass
    if "recursion" in why:
        return Problem(index, "", f"it is nested too deep; at most {DEPTH_MAX} levels are taken")
    return Problem(index, "", f"it is no JSON: {why}")


def find_fault(text: bytes) -> Problem | None:
    """Find in one object what JSON parsers disagree about: keys that stand twice, half surrogates, depth."""
    try:
        _check_json(text)
    except _Wrong as wrong:
        return Problem(None, wrong.field, str(wrong))
    return None


def _end_of_white(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _read(item: bytes) -> AlertForm:
    if len(item) > ALERT_BYTES_MAX:
        raise _Wrong("", f"it has {len(item)} bytes; an alert has at most {ALERT_BYTES_MAX}")
    read = _check_json(item)
    try:
        return _form.decode(item)
    except msgspec.ValidationError as error:
        raise _wrong_form(str(error), read) from error
    except _MALFORMED as error:
        raise _Wrong("", f"it is no JSON: {error}") from error


def _wrong_form(text: str, read: object) -> _Wrong:
    """Turn msgspec's message into ours. read: the item, to find the label that is meant."""
    message, _, place = text.partition(" - at `")
    is_key = place.startswith("key`")
    path = place[place.find("$") + 1 :].rstrip("`") if "$" in place else ""
    field = path.replace("[...]", "").lstrip(".")
    for prefix in ("object contains unknown field `", "object missing required field `"):
        if message.lower().startswith(prefix):
            field = f"{field}.{message[len(prefix) :].rstrip('`')}".lstrip(".")
    if is_key:
        message = f"a name in it is wrong: {message}"
    elif path.endswith("[...]") and isinstance(read, dict) and isinstance(labels := read.get(field), dict):
        for name, value in labels.items():
            if not isinstance(value, str) or len(value) > TEXT_MAX:
                field = f"{field}.{name}"
                break
    if message.startswith("Invalid enum value") and field in _CHOICES:
        message += f"; it takes {_CHOICES[field]}"
    return _Wrong(field, message[:1].lower() + message[1:])


_CHOICES = {"severity": ", ".join(Severity), "status": ", ".join(Status)}


class _Suspect(dict[str, Any]):
    """An object of the item in which something is wrong. key: at which key; why: what."""

    key = why = ""


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SQUARED = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _check_json(text: bytes, levels: int = DEPTH_MAX) -> object:
    """Refuse what JSON parsers disagree about: keys that stand twice, lone surrogates, excessive depth.

    levels: how deep it may be.
    Returns: what it says; decimals, and integers that not every reader keeps, as strings of their own digits.
    """
    if text.count(b"[") + text.count(b"{") > levels:
        brackets = _STRING.sub(b"", text).translate(_SQUARED, _NOT_BRACKETS)
        for _ in range(levels):
            brackets = brackets.replace(b"[]", b"")
        if brackets:
            raise _Wrong("", f"it is more than {DEPTH_MAX} levels deep")
    suspects: list[_Suspect] = []
    has_escapes = b"\\u" in text

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(items)
        if len(read) < len(items) or has_escapes:
            seen: set[str] = set()
            for key, value in items:
                why = ""
                if key in seen:
                    why = f"key {key!r} stands twice in one object"
                elif has_escapes and not (_is_text(key) and _is_text(value)):
                    why = "it has half of a surrogate pair, which is no text"
                if why:
                    suspect = _Suspect(read)
                    suspect.key, suspect.why = key.encode(errors="replace").decode(), why
                    suspects.append(suspect)
                    return suspect
                seen.add(key)
        return read

    try:
        read: object = json.loads(
            text.decode(),
            object_pairs_hook=pairs,
            parse_float=str,
            parse_int=_whole,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError) as error:
        raise _Wrong("", f"it is no JSON: {error}") from error
    if suspects:
        suspect = suspects[0]
        raise _Wrong(f"{_path_to(read, suspect)}.{suspect.key}".lstrip("."), suspect.why)
    if has_escapes and not _is_text(read):
        raise _Wrong("", "it has half of a surrogate pair, which is no text")
    return read


def _constant(name: str) -> None:
    raise _Wrong("", f"{name} is no JSON number")


def _is_text(value: object) -> bool:
    """Say whether a value is free of lone surrogates. What lies in objects was looked at with these."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    elif isinstance(value, list):
        return all(_is_text(element) for element in value)
    return True


def _path_to(value: object, wanted: object) -> str:
    """Give the path to an object inside a value, such as `.links[0]`; "" if it is the value, or was replaced."""
    children: list[tuple[str, object]] = []
    if isinstance(value, dict):
        children = [(f".{key}", child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"[{index}]", child) for index, child in enumerate(value)]
    for step, child in children:
        if child is wanted:
            return step
        deeper = _path_to(child, wanted)
        if deeper:
            return step + deeper
    return ""


def _alert(form: AlertForm, at: int, instants: dict[str | int, int]) -> AlertReceived:
    start, end, ends = form.window_start, form.window_end, form.ends_at
    window_end = _instant("window_end", end, instants) if end is not UNSET else at
    window_start = _instant("window_start", start, instants) if start is not UNSET else window_end
    if window_end < window_start:
        raise _Wrong("window_end", "window_end lies before window_start; swap the two")
    status = Status.FIRING if form.status is UNSET else form.status
    ends_at = None if ends is UNSET or ends is None else _instant("ends_at", ends, instants)
    if ends_at is not None and ends_at <= at and status is Status.FIRING:
        status = Status.RESOLVED  # The sender no longer vouches for it.
    scope: dict[str, str] = {} if form.scope is UNSET else form.scope
    alert = Alert(
        rule_id=form.rule_id,
        scope=scope,
        severity=form.severity,
        status=status,
        message=form.message,
        window_start=window_start,
        window_end=window_end,
        annotations={} if form.annotations is UNSET else form.annotations,
        links=()
        if form.links is UNSET
        else tuple(
            [Link(href=link.href, text="" if link.text is UNSET else link.text) for link in form.links]
        ),
        evidence=None if form.evidence is UNSET else _check_json(bytes(form.evidence), DEPTH_MAX - 1),
        source="" if form.source is UNSET else form.source,
        ends_at=ends_at,
    )
    return received(alert)


def key_of(given: AlertReceived) -> str:
    """Give an alert's idempotency key (64 hex digits), from what `received` has canonicalised already."""
    alert = given.alert
    tail = b',"window_end":%d,"window_start":%d}' % (alert.window_end, alert.window_start)
    return hashlib.sha256(given.named + tail).hexdigest()


def _instant(field: str, value: str | int, instants: dict[str | int, int]) -> int:
    known = instants.get(value)
    if known is not None:
        return known
    if isinstance(value, int):
        instant = value
    else:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _Wrong(
                field, f"{value[:64]!r} is no instant; write ISO 8601 such as 2026-01-31T09:00:00Z"
            ) from None
        if moment.tzinfo is None:
            raise _Wrong(field, f"{value!r} does not say its offset from UTC; add Z or +02:00")
        instant = (moment - EPOCH) // timedelta(microseconds=1)
    if not 0 <= instant < INSTANT_MAX:
        raise _Wrong(field, f"{value!r} lies outside of 1970 to 9999")
    instants[value] = instant
    return instant


def _whole(digits: str) -> int | str:
    """Keep integers that every reader of JSON keeps; larger ones become strings."""
    number = int(digits) if len(digits) < 20 else None
    return number if number is not None and abs(number) < 1 << 53 else digits
