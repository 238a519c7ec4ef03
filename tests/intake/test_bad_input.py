"""What the native dialect refuses: each problem names the item and the field, and nothing else is refused with it."""

import json
from typing import Any

import pytest

from tocsin.intake.native import (
    ALERT_BYTES_MAX,
    ALERTS_MAX,
    BODY_BYTES_MAX,
    DEPTH_MAX,
    TEXT_MAX,
    Parsed,
    Problem,
    parse,
)

AT = 1_767_268_800_000_000
REST = '"rule_id":"disk","severity":"error","message":"full"'
WINDOW = f'"window_end":{AT}'


def an_item(*more: str, without: str = "") -> str:
    """Write an alert as JSON text; what is given comes after its required fields."""
    fields = [f'"{name}":"{value}"' for name, value in _REQUIRED.items() if name != without]
    return "{" + ",".join([*fields, *more]) + "}"


_REQUIRED = {"rule_id": "disk", "severity": "error", "message": "full"}


def read(text: str | bytes) -> Parsed:
    return parse(text.encode() if isinstance(text, str) else text, AT)


def only_problem(parsed: Parsed) -> Problem:
    assert len(parsed.problems) == 1, parsed.problems
    return parsed.problems[0]


NESTED = "[" * DEPTH_MAX + "]" * DEPTH_MAX

# (what stands after the required fields, the field that is named, words of the message)
WRONG_FIELDS: list[tuple[str, str, str]] = [
    ('"colour":"red"', "colour", "unknown field"),
    ('"links":[{"href":"x","size":1}]', "links[0].size", "unknown field"),
    ('"scope":[]', "scope", "expected `object`"),
    ('"scope":{"host":1}', "scope.host", "expected `str`"),
    ('"scope":{"host":null}', "scope.host", "expected `str`"),
    ('"scope":{"host":{"name":"x"}}', "scope.host", "expected `str`"),
    ('"scope":{"":"x"}', "scope", "length >= 1"),
    ('"scope":{"%s":"x"}' % ("n" * 257), "scope", "length <= 256"),
    ('"scope":null', "scope", "expected `object`"),
    ('"annotations":{"note":7}', "annotations.note", "expected `str`"),
    ('"annotations":{"note":"%s"}' % ("x" * (TEXT_MAX + 1)), "annotations.note", "length <= 16384"),
    ('"status":"burning"', "status", "invalid enum value"),
    ('"status":1', "status", "expected `str`"),
    ('"source":true', "source", "expected `str`"),
    ('"source":"%s"' % ("s" * 257), "source", "length <= 256"),
    ('"links":{}', "links", "expected `array`"),
    ('"links":[{}]', "links[0].href", "missing"),
    ('"links":[{"href":"a"},{"href":""}]', "links[1].href", "length >= 1"),
    ('"links":[{"href":"%s"}]' % ("h" * 2049), "links[0].href", "length <= 2048"),
    ('"links":[%s]' % ",".join(['{"href":"x"}'] * 33), "links", "length <= 32"),
    ('"window_end":true', "window_end", "got `bool`"),
    ('"window_end":1.5', "window_end", "got `float`"),
    ('"window_end":1.0', "window_end", "got `float`"),
    ('"window_end":1E400', "window_end", "out of range"),
    ('"window_end":null', "window_end", "got `null`"),
    ('"window_end":""', "window_end", "is no instant"),
    ('"window_end":"yesterday"', "window_end", "is no instant"),
    ('"window_end":"2026-02-30T00:00:00Z"', "window_end", "is no instant"),
    ('"window_end":"2026-01-01T00:00:00"', "window_end", "offset"),
    ('"window_end":"2026-01-01"', "window_end", "offset"),
    ('"window_end":"1969-12-31T23:59:59Z"', "window_end", "1970 to 9999"),
    ('"window_end":"0001-01-01T00:00:00+14:00"', "window_end", "1970 to 9999"),
    ('"window_end":"9999-12-31T23:59:59-14:00"', "window_end", "1970 to 9999"),
    ('"window_end":-1', "window_end", "1970 to 9999"),
    ('"window_end":253402300800000000', "window_end", "1970 to 9999"),
    ('"window_end":' + "9" * 40, "window_end", "1970 to 9999"),
    ('"window_start":false', "window_start", "got `bool`"),
    ('"ends_at":true', "ends_at", "got `bool`"),
    ('"ends_at":"soon"', "ends_at", "is no instant"),
    (f'"window_start":{AT + 1},"window_end":{AT}', "window_end", "before window_start"),
    (f'"window_start":{AT + 1}', "window_end", "before window_start"),
    ('"scope":{"a":"1","a":"1"}', "scope.a", "twice"),
    ('"annotations":{"a":"1","a":"2"}', "annotations.a", "twice"),
    ('"annotations":{"a":"1","\\u0061":"1"}', "annotations.a", "twice"),
    ('"links":[{"href":"x"},{"href":"x","href":"x"}]', "links[1].href", "twice"),
    ('"evidence":{"a":1,"a":1}', "evidence.a", "twice"),
    ('"evidence":[1,{"b":{"a":1,"\\u0061":2}}]', "evidence[1].b.a", "twice"),
    ('"evidence":1,"evidence":1', "evidence", "twice"),
    ('"rule_id":"other"', "rule_id", "twice"),
    ('"rule_id":"disk"', "rule_id", "twice"),
    ('"rule\\u005fid":"other"', "rule_id", "twice"),
    ('"source":"\\u0022","source":"x"', "source", "twice"),
    ('"source":"\\"\\"","source":"x"', "source", "twice"),
    ('"source":"a","source":"\\"\\""', "source", "twice"),
    (f'{WINDOW},"window_end":1', "window_end", "twice"),
    ('"ends_at":null,"ends_at":1', "ends_at", "twice"),
    ('"ends_at":1,"ends_at":null', "ends_at", "twice"),
    ('"evidence":%s' % NESTED, "", "levels deep"),
    ('"evidence":%s' % ('{"a":' * DEPTH_MAX + "1" + "}" * DEPTH_MAX), "", "levels deep"),
    ('"source":"\\ud800"', "source", "surrogate"),
    ('"source":"\\udc00\\ud800"', "source", "surrogate"),
    ('"scope":{"\\udfff":"x"}', "scope.?", "surrogate"),
    ('"evidence":"\\ud800"', "evidence", "surrogate"),
    ('"evidence":[["\\ud83d"]]', "evidence", "surrogate"),
    ('"evidence":[{"deep":["\\ud83d"]}]', "evidence[0].deep", "surrogate"),
    ('"evidence":NaN', "", "NaN"),
    ('"evidence":[Infinity]', "", "Infinity"),
    ('"evidence":{"a":-Infinity}', "", "-Infinity"),
]


@pytest.mark.parametrize(("more", "field", "words"), WRONG_FIELDS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("position", [0, 2])
def test_a_wrong_field_is_named_with_its_item(position: int, more: str, field: str, words: str) -> None:
    items = [an_item(f'"source":"s{number}"') for number in range(3)]
    items[position] = an_item(more)

    parsed = read("[" + ",".join(items) + "]")

    problem = only_problem(parsed)
    assert (problem.index, problem.field) == (position, field)
    assert words in problem.message


@pytest.mark.parametrize("name", list(_REQUIRED))
def test_a_missing_field_is_named(name: str) -> None:
    problem = only_problem(read(an_item(without=name)))

    assert (problem.index, problem.field) == (0, name)
    assert "missing" in problem.message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rule_id", "", "length >= 1"),
        ("rule_id", "r" * 257, "length <= 256"),
        ("rule_id", 7, "expected `str`"),
        ("rule_id", None, "expected `str`"),
        ("severity", "fatal", "invalid enum value"),
        ("severity", "ERROR", "invalid enum value"),
        ("severity", 2, "expected `str`"),
        ("message", "x" * (TEXT_MAX + 1), "length <= 16384"),
        ("message", ["x"], "expected `str`"),
    ],
)
def test_a_required_field_has_its_form(name: str, value: object, words: str) -> None:
    problem = only_problem(read(json.dumps(_REQUIRED | {name: value})))

    assert (problem.index, problem.field) == (0, name)
    assert words in problem.message


def test_sixty_four_labels_are_taken_and_one_more_is_not() -> None:
    def labels(count: int) -> str:
        return '"scope":' + json.dumps({f"label{number}": "x" for number in range(count)})

    assert read(an_item(labels(64))).problems == []
    assert only_problem(read(an_item(labels(65)))).field == "scope"


def test_thirty_two_levels_are_taken() -> None:
    inner = NESTED[1:-1]  # The alert itself is the first level.

    assert read(an_item(f'"evidence":{inner}')).problems == []


def test_brackets_inside_strings_are_no_levels() -> None:
    assert read(an_item(f'"evidence":{json.dumps("[{" * 500)}')).problems == []
    assert read(an_item(f'"evidence":[{json.dumps(chr(34) + "[" * 500)}]')).problems == []


# What is wrong with the body as a whole; the index is that of the first item that is no JSON, if it is one item.
WRONG_BODIES: list[tuple[str, bytes, int | None, str]] = [
    ("empty", b"", None, "empty"),
    ("white", b" \r\n\t", None, "empty"),
    ("no alerts", b"[]", None, "no alerts"),
    ("no alerts, spread", b" [ ] ", None, "no alerts"),
    ("two without brackets", f"{an_item()},{an_item()}".encode(), None, "without brackets"),
    ("two lines", f"{an_item()}\n{an_item()}".encode(), None, "no JSON"),
    ("closes our bracket", f"{an_item()}],[{an_item()}".encode(), None, "no JSON"),
    ("closing bracket", f"{an_item()}]".encode(), None, "no JSON"),
    ("trailing garbage", f"[{an_item()}]x".encode(), None, "no JSON"),
    ("trailing comma", f"[{an_item()},]".encode(), 1, "no JSON"),
    ("byte order mark", b"\xef\xbb\xbf" + an_item().encode(), 0, "no JSON"),
    ("byte order mark in UTF-16", an_item().encode("utf-16"), 0, "no JSON"),
    ("NUL", b"\0", 0, "no JSON"),
    ("nested array", f"[[{an_item()}]]".encode(), 0, "got `array`"),
    ("null", b"null", 0, "got `null`"),
    ("number", b"5", 0, "got `int`"),
    ("text", b'"alert"', 0, "got `str`"),
    ("nulls", b"[null]", 0, "got `null`"),
    ("cut off", an_item().encode()[:-1], 0, "no JSON"),
    ("second cut off", f"[{an_item()},{an_item()[:-4]}".encode(), 1, "no JSON"),
    ("single quotes", b"{'rule_id':'x'}", 0, "no JSON"),
    ("comment", f"[{an_item()}/* note */]".encode(), None, "no JSON"),
    ("not UTF-8", an_item('"source":"?"').encode().replace(b"?", b"\xff"), 0, "utf-8"),
    ("overlong UTF-8", an_item('"source":"?"').encode().replace(b"?", b"\xc0\xaf"), 0, "utf-8"),
    ("surrogate in UTF-8", an_item('"source":"?"').encode().replace(b"?", b"\xed\xa0\x80"), 0, "utf-8"),
    (
        "surrogate in evidence",
        an_item('"evidence":["?"]').encode().replace(b"?", b"\xed\xa0\x80"),
        0,
        "utf-8",
    ),
    ("control character", an_item('"source":"\x01"').encode(), 0, "no JSON"),
    ("very deep", b"[" * 100_000, 0, "too deep"),
    ("very deep evidence", an_item('"evidence":' + "[" * 50_000 + "]" * 50_000).encode(), 0, "too deep"),
]


@pytest.mark.parametrize(
    ("name", "body", "index", "words"), WRONG_BODIES, ids=[row[0] for row in WRONG_BODIES]
)
def test_a_wrong_body_is_refused_as_a_whole(name: str, body: bytes, index: int | None, words: str) -> None:
    parsed = parse(body, AT)

    assert parsed.alerts == []
    problem = only_problem(parsed)
    assert problem.index == index
    assert words in problem.message


def test_an_alert_of_256_kib_is_taken_and_one_byte_more_is_not() -> None:
    empty = an_item('"evidence":""')
    whole = an_item('"evidence":"%s"' % ("e" * (ALERT_BYTES_MAX - len(empty))))
    assert len(whole) == ALERT_BYTES_MAX
    larger = whole.replace('"eee', '"eeee', 1)

    assert read(f"[{whole},{an_item()}]").problems == []
    parsed = read(f"[{an_item()},{larger}]")
    assert only_problem(parsed).index == 1
    assert parsed.indexes == [0]


def test_ten_thousand_alerts_are_taken_and_one_more_is_not() -> None:
    some: Any = ",".join([an_item()] * ALERTS_MAX)

    assert len(read(f"[{some}]").alerts) == ALERTS_MAX
    assert only_problem(read(f"[{some},{an_item()}]")).index is None


def test_a_body_of_more_than_16_mib_is_not_even_read() -> None:
    body = b" " * (BODY_BYTES_MAX + 1)

    assert "at most" in only_problem(parse(body, AT)).message


def test_what_is_right_beside_what_is_wrong_keeps_its_index() -> None:
    parsed = read(f"[{an_item()},{an_item(without='message')},{an_item()},7]")

    assert parsed.indexes == [0, 2]
    assert [problem.index for problem in parsed.problems] == [1, 3]
