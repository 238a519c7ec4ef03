"""Silence: matchers and a span of time in which notifications are withheld; nothing is forgotten meanwhile."""

from enum import StrEnum

import msgspec


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


class Silence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All matchers must match, from starts_at to ends_at: [starts_at, ends_at)."""

    number: int
    id: str
    matchers: tuple[Matcher, ...]
    starts_at: int
    ends_at: int
    created_by: str
    comment: str = ""
