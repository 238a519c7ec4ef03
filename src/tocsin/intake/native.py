"""Native: Tocsin's own dialect, `POST /api/v1/alerts`. Bytes to alerts; every error names the item and the field.

The fast way decodes the whole body at once in C; only when that fails is each item looked at by itself.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from tocsin.core.model.alert import CANONICAL, Alert, Link, Severity, Status
from tocsin.core.model.input import AlertReceived

ALERTS_MAX = 10_000
ALERT_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
DEPTH_MAX = 32

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=16_384)]
Labels = Annotated[dict[Name, Text], msgspec.Meta(max_length=64)]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX = 253_402_300_800_000_000
"""The first microsecond after the year 9999."""


class LinkForm(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A link as it comes in."""

    href: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    text: Annotated[str, msgspec.Meta(max_length=256)] | UnsetType = UNSET


class AlertForm(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
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
    """What is wrong with an item. field: a path in it such as `scope.host`, "" for the item itself."""

    index: int
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


def parse(body: bytes, at: int) -> Parsed:
    """Read one alert (an object) or up to 10,000 (an array of them).

    at: the window of an alert that brings none, and what separates a live `ends_at` from one that is over.
    """
    if len(body) > BODY_BYTES_MAX:
        return _all_wrong(f"the body has {len(body)} bytes; at most {BODY_BYTES_MAX} are taken")
    if body.lstrip(b" \t\r\n")[:1] != b"[":
        body = b"[%s]" % body
    try:
        forms = _forms.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _one_by_one(body, at)
    if (
        len(forms) > ALERTS_MAX
        or len(body) > ALERT_BYTES_MAX
        and any(len(item) > ALERT_BYTES_MAX for item in map(bytes, _items.decode(body)))
        or b"\\u" in body
        or _plain_encode(forms).count(b'"') != body.count(b'"')
    ):
        return _one_by_one(body, at)
    instants: dict[str | int, int] = {}
    alerts: list[AlertReceived] = []
    try:
        for form in forms:
            alerts.append(_alert(form, at, instants))
    except _Wrong:
        return _one_by_one(body, at)
    return Parsed(alerts, list(range(len(alerts))), [])


def _all_wrong(message: str) -> Parsed:
    return Parsed([], [], [Problem(0, "", message)])


def _one_by_one(body: bytes, at: int) -> Parsed:
    """Find out what is wrong with which item."""
    try:
        items = _items.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _all_wrong(f"the body is no JSON: {error}")
    if len(items) > ALERTS_MAX:
        return _all_wrong(f"the body has {len(items)} alerts; at most {ALERTS_MAX} are taken in one request")
    parsed = Parsed([], [], [])
    instants: dict[str | int, int] = {}
    for index, raw in enumerate(items):
        item = bytes(raw)
        try:
            parsed.alerts.append(_alert(_read(item), at, instants))
            parsed.indexes.append(index)
        except _Wrong as wrong:
            parsed.problems.append(Problem(index, wrong.field, str(wrong)))
    return parsed


def _read(item: bytes) -> AlertForm:
    if len(item) > ALERT_BYTES_MAX:
        raise _Wrong("", f"it has {len(item)} bytes; an alert has at most {ALERT_BYTES_MAX}")
    _check_json(item)
    try:
        return _form.decode(item)
    except msgspec.ValidationError as error:
        text = str(error)
        message, _, path = text.partition(" - at `$")
        field = path.rstrip("`").lstrip(".").replace("[...]", "")
        if "unknown field `" in message:
            unknown = message.split("`")[1]
            field = f"{field}.{unknown}".lstrip(".")
        elif "missing required field `" in message:
            field = f"{field}.{message.split('`')[1]}".lstrip(".")
        raise _Wrong(field, message[:1].lower() + message[1:]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Wrong("", f"it is no JSON: {error}") from error


def _check_json(text: bytes) -> None:
    """Refuse what JSON parsers disagree about: keys that stand twice, lone surrogates, excessive depth."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in items:
            if key in read:
                raise _Wrong(key, f"key {key!r} stands twice in one object")
            _check_text(key, key)
            read[key] = value
            if isinstance(value, str):
                _check_text(key, value)
            elif isinstance(value, list):
                for element in value:
                    if isinstance(element, str):
                        _check_text(key, element)
        return read

    def constant(name: str) -> None:
        raise _Wrong("", f"{name} is no JSON number")

    depth = deepest = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x5D, 0x7D):
            depth -= 1
    if deepest > DEPTH_MAX:
        raise _Wrong("", f"it is {deepest} levels deep; at most {DEPTH_MAX} are taken")
    try:
        json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise _Wrong("", f"it is no JSON: {error}") from error


def _check_text(field: str, text: str) -> None:
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise _Wrong(
            field.encode("utf-8", "replace").decode(), "it has half of a surrogate pair, which is no text"
        )


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
        evidence=None if form.evidence is UNSET else _evidence(bytes(form.evidence)),
        source="" if form.source is UNSET else form.source,
        ends_at=ends_at,
    )
    return received(alert)


def received(alert: Alert) -> AlertReceived:
    """Make the input of an alert: its fingerprint is SHA-256 of the canonical JSON of {rule_id, scope}."""
    scope = _encode(alert.scope)
    named = b'{"rule_id":%s,"scope":%s' % (_encode(alert.rule_id), scope)
    return AlertReceived(alert, hashlib.sha256(named + b"}").digest(), named)


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


def _evidence(raw: bytes) -> object:
    _check_json(raw)
    read: object = json.loads(raw, parse_float=str, parse_int=_whole)
    return read


def _whole(digits: str) -> int | str:
    """Keep integers that every reader of JSON keeps; larger ones become strings."""
    number = int(digits) if len(digits) < 20 else None
    return number if number is not None and abs(number) < 1 << 53 else digits
