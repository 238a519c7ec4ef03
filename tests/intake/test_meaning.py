"""Whatever the native dialect accepts means what a slow and plain reading of the same JSON means."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core.model.alert import Alert, Link, Severity, Status, fingerprint, idempotency_key
from tocsin.intake import native

AT = 1_767_268_800_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
labels = st.dictionaries(name, text, max_size=4)
instants = st.integers(0, native.INSTANT_MAX - 1)
written = st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)).flatmap(
    lambda moment: st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: (
            moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes))).isoformat()
        )
    )
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
alerts = st.fixed_dictionaries(
    {
        "rule_id": name,
        "severity": st.sampled_from([s.value for s in Severity]),
        "message": text,
    },
    optional={
        "scope": labels,
        "status": st.sampled_from([s.value for s in Status]),
        "window_end": instants | written,
        "window_start": instants | written,
        "annotations": labels,
        "links": st.lists(
            st.fixed_dictionaries({"href": name}, optional={"text": text}),
            max_size=2,
        ),
        "evidence": json_values,
        "source": text,
        "ends_at": st.none() | instants | written,
    },
)


def reference(item: dict[str, Any]) -> Alert | str:
    """Read one alert slowly; the name of the field that must be refused if it says something impossible."""

    def instant(value: Any, default: int) -> int:
        if value is None:
            return default
        return (
            value
            if isinstance(value, int)
            else (datetime.fromisoformat(value) - EPOCH) // timedelta(microseconds=1)
        )

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 53:
            return str(value)
        return value

    end = instant(item.get("window_end"), AT)
    start = instant(item.get("window_start"), end)
    if end < start:
        return "window_end"
    ends_at = None if item.get("ends_at") is None else instant(item["ends_at"], 0)
    status = Status(item.get("status", "firing"))
    if status is Status.FIRING and ends_at is not None and ends_at <= AT:
        status = Status.RESOLVED
    return Alert(
        rule_id=item["rule_id"],
        scope=item.get("scope", {}),
        severity=Severity(item["severity"]),
        status=status,
        message=item["message"],
        window_start=start,
        window_end=end,
        annotations=item.get("annotations", {}),
        links=tuple(Link(**link) for link in item.get("links", ())),
        evidence=plain(item.get("evidence")),
        source=item.get("source", ""),
        ends_at=ends_at,
    )


def slow_form(body: str) -> list[dict[str, Any]]:
    """Decimals become strings of their own digits, as the dialect promises."""
    read: list[dict[str, Any]] = json.loads(body, parse_float=str)
    return read


@settings(max_examples=300)
@given(st.lists(alerts, min_size=1, max_size=4), st.booleans())
def test_what_is_accepted_is_what_a_plain_reading_says(items: list[dict[str, Any]], is_ascii: bool) -> None:
    body = json.dumps(items, ensure_ascii=is_ascii)
    expected = [reference(item) for item in slow_form(body)]

    parsed = native.parse(body.encode(), AT)

    assert [given.alert for given in parsed.alerts] == [e for e in expected if isinstance(e, Alert)]
    wrong = [(index, e) for index, e in enumerate(expected) if isinstance(e, str)]
    assert [(p.index, p.field) for p in parsed.problems] == wrong


@settings(max_examples=200)
@given(st.lists(alerts, min_size=1, max_size=4))
def test_the_fast_way_and_the_slow_way_agree(items: list[dict[str, Any]]) -> None:
    body = json.dumps(items, ensure_ascii=False).encode()

    fast = native.parse(body, AT)
    slow = native._one_by_one(body, AT, False)

    assert fast == slow


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    parsed = native.parse(body, AT)

    assert len(parsed.alerts) == len(parsed.indexes)
    assert parsed.alerts or parsed.problems


@settings(max_examples=1000)
@given(st.lists(alerts, min_size=1, max_size=2), st.data())
def test_no_change_to_a_good_body_makes_it_raise_or_be_misread(
    items: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = bytearray(json.dumps(items, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 8)))
        piece = st.sampled_from(
            [b'"', b"\\", b"\\u0022", b"{", b"}", b"[", b"]", b",", b":", b"\\ud800", b"1e9"]
        )
        body[start:end] = data.draw(piece | st.binary(max_size=4) | st.just(bytes(body[start:end]) * 2))

    parsed = native.parse(bytes(body), AT)

    assert parsed.alerts or parsed.problems
    for received in parsed.alerts:
        # Whatever gets through can be written down: nothing later on has to refuse it.
        json.loads(native._encode(received.alert))
    if parsed.alerts and not parsed.problems:
        read = slow_form(bytes(body).decode())
        read = read if isinstance(read, list) else [read]
        assert [received.alert for received in parsed.alerts] == [reference(item) for item in read]


def test_decimals_and_large_integers_in_evidence_become_strings_of_their_own_digits() -> None:
    evidence = '{"a":1.50,"b":1e400,"c":9007199254740992,"d":-9007199254740991,"e":[0.1,%s],"f":-0.0}' % (
        "7" * 5000
    )
    body = '{"rule_id":"r","severity":"info","message":"m","evidence":%s}' % evidence

    (received,) = native.parse(body.encode(), AT).alerts

    assert received.alert.evidence == {
        "a": "1.50",
        "b": "1e400",
        "c": "9007199254740992",
        "d": -9007199254740991,
        "e": ["0.1", "7" * 5000],
        "f": "-0.0",
    }


def test_an_alert_that_is_no_longer_vouched_for_is_resolved() -> None:
    body = '{"rule_id":"r","severity":"info","message":"m","ends_at":%d}'

    over = native.parse((body % AT).encode(), AT).alerts[0].alert
    live = native.parse((body % (AT + 1)).encode(), AT).alerts[0].alert

    assert over.status is Status.RESOLVED
    assert live.status is Status.FIRING


@settings(max_examples=100)
@given(name, labels, instants, instants)
def test_names_agree_with_rfc_8785_and_sha_256(
    rule_id: str, scope: dict[str, str], one: int, two: int
) -> None:
    # RFC 8785 sorts by UTF-16 unit; ours by code point: equal below U+E000 and without astral characters.
    scope = {"".join(c for c in key if ord(c) < 0xE000) or "k": value for key, value in scope.items()}
    start, end = min(one, two), max(one, two)
    alert = Alert(
        rule_id=rule_id, scope=scope, severity=Severity.INFO, message="", window_start=start, window_end=end
    )

    received = native.received(alert)

    # rfc8785 refuses integers beyond 2^53, as RFC 8785 does; instants reach further, so they are written apart.
    named = rfc8785.dumps({"rule_id": rule_id, "scope": scope})
    look = named[:-1] + b',"window_end":%d,"window_start":%d}' % (end, start)
    assert received.fingerprint == hashlib.sha256(named).digest()
    assert received.fingerprint.hex() == fingerprint(rule_id, scope)
    assert native.key_of(received) == hashlib.sha256(look).hexdigest()
    assert native.key_of(received) == idempotency_key(rule_id, scope, start, end)


def test_names_are_these_for_ever() -> None:
    body = (
        '{"rule_id":"disk \\u00fc","scope":{"zone":"eu","host":"db-1"},"severity":"error","message":"m",'
        '"window_start":"2026-01-01T10:00:00+01:00","window_end":"2026-01-01T09:05:00.000001Z"}'
    )

    (received,) = native.parse(body.encode(), AT).alerts

    assert received.fingerprint.hex() == "7b1a174e3ba3b46993dce15bd3fe548af8ab7cfe84e0f40b4d246ebf870863f8"
    assert native.key_of(received) == "87ef844420428a259a3498893940db704ab10050598895ed0562ceb83ae76fcd"
