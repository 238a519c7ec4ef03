"""Silence: matchers and a span of time in which notifications are withheld; nothing is forgotten meanwhile."""

import re
from enum import StrEnum

import msgspec

from tocsin.core.model.errors import Invalid


class MatchOp(StrEnum):
    """How a matcher compares. The regular expressions are RE2 and anchored at both ends."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


class Matcher(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition on one label. An absent label reads as the empty string.

    name: a label of the alert's scope, or one of its own fields: rule_id, severity, source (these win).
    """

    name: str
    op: MatchOp = MatchOp.EQUAL
    value: str


ERASED = (Matcher(name="erased", op=MatchOp.MATCHES, value=r"[^\x00-\x{10FFFF}]"),)
"""Stands for matchers whose text was erased: no text matches it, so nothing that is decided later falls under it."""


class Silence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All matchers must match, from starts_at to ends_at: [starts_at, ends_at).

    maintenance: number of the maintenance that made it, 0 if a person did.
    """

    number: int
    id: str
    matchers: tuple[Matcher, ...]
    starts_at: int
    ends_at: int
    created_by: str
    comment: str = ""
    maintenance: int = 0


class Maintenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A window that comes back; each time that it opens it makes a silence of its own.

    rrule: RFC 5545, DAILY or rarer, over the wall time of `zone` (an IANA name).
    begins: wall time of the first window, `2026-03-01T02:00`; lasting: length of each, in microseconds.
    """

    number: int
    id: str
    matchers: tuple[Matcher, ...]
    rrule: str
    zone: str
    begins: str
    lasting: int
    created_by: str
    comment: str = ""


_WRITTEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^"=!\s](?:[^=!]*[^=!\s])?)\s*(=~|!~|!=|=)(.*)', re.DOTALL)


def parse_matcher(text: str) -> Matcher:
    """Read `name=value`, `name!=value`, `name=~pattern` or `name!~pattern`.

    The value may stand in double quotes, which keep the spaces at its ends; between them everything is meant as it
    stands, so a pattern needs no second backslash. A name with spaces at its ends or with one of `="!` in it is
    written as a JSON string.
    Raises: Invalid.
    """
    written = _WRITTEN.fullmatch(text)
    name = written[1] if written is not None else ""
    if name.startswith('"'):
        try:
            name = msgspec.json.decode(name.encode(), type=str)
        except (msgspec.DecodeError, UnicodeEncodeError):
            name = ""
    if written is None or not name:
        raise Invalid(
            f"Matcher {text[:200]!r} is none. Write name=value, name!=value, name=~regex or name!~regex.",
            field="matchers",
        )
    value = written[3].strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return Matcher(name=name, op=MatchOp(written[2]), value=value)


def show_matcher(matcher: Matcher) -> str:
    """Write a matcher as `parse_matcher` reads it."""
    name, value = matcher.name, matcher.value
    if name != name.strip() or any(mark in name for mark in '="!'):
        name = msgspec.json.encode(name).decode()
    is_plain = value and value == value.strip() and value[0] not in '"~'
    return f"{name}{matcher.op}{value}" if is_plain else f'{name}{matcher.op}"{value}"'
