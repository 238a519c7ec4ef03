"""Alert: somebody says that something is wrong, still looks fine, or is over.

Every alert here was checked at the edge: no field is trusted twice, none is checked twice.
"""

import hashlib
from enum import StrEnum

import msgspec

CANONICAL = msgspec.json.Encoder(order="sorted")
"""Canonical JSON: sorted keys, no white space; byte-equal to RFC 8785 where there are no floats."""

OWN_LABELS = ("rule_id", "severity", "source")
"""Fields of an alert that read as labels; they win over labels of the same name in its scope."""


class Severity(StrEnum):
    """How bad it is, mildest first. Compare with `severity_rank`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


severity_rank: dict[Severity, int] = {severity: rank for rank, severity in enumerate(Severity)}
"""0 (info) to 3 (critical)."""


class Status(StrEnum):
    """What an alert says of its trouble: it is there, it is not seen now, it is over."""

    FIRING = "firing"
    GREEN = "green"
    RESOLVED = "resolved"


class Link(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somewhere to read on. `href` is untrusted text until a channel has checked its scheme."""

    href: str
    text: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One look at one trouble.

    scope: which instance of the rule, label name -> value; it may be empty.
    window_start, window_end: the span that was looked at, window_start <= window_end.
    evidence: JSON without floats (decimals are strings), as the sender gave it; None if there is none.
    ends_at: until when the sender vouches for it; None if it never expires by itself.
    """

    rule_id: str
    scope: dict[str, str]
    severity: Severity
    status: Status = Status.FIRING
    message: str
    window_start: int
    window_end: int
    annotations: dict[str, str] = {}
    links: tuple[Link, ...] = ()
    evidence: object | None = None
    source: str = ""
    ends_at: int | None = None


def fingerprint(rule_id: str, scope: dict[str, str]) -> str:
    """*Which* trouble: SHA-256 (64 hex digits) of the canonical JSON of {rule_id, scope}."""
    return hashlib.sha256(CANONICAL.encode({"rule_id": rule_id, "scope": scope})).hexdigest()


def idempotency_key(rule_id: str, scope: dict[str, str], window_start: int, window_end: int) -> str:
    """*This look* at it: SHA-256 (64 hex digits) of the canonical JSON of the four, instants in microseconds."""
    look = {"rule_id": rule_id, "scope": scope, "window_end": window_end, "window_start": window_start}
    return hashlib.sha256(CANONICAL.encode(look)).hexdigest()
