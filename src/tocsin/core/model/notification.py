"""Notification: one decision to tell people something; its intents, its message, and how each delivery went.

A delivery's key is the same over all its attempts: whoever receives it twice can tell.
"""

import hashlib
from enum import StrEnum

import msgspec

from tocsin.core.model.alert import Link, Severity, Status
from tocsin.core.model.incident import IncidentView


class NotificationKind(StrEnum):
    """Why people are told."""

    OPENED = "opened"
    UPDATED = "updated"
    REMINDER = "reminder"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    DIGEST = "digest"
    MANUAL = "manual"
    META = "meta"
    TEST = "test"


class Withheld(StrEnum):
    """Why an intent does not go out; asked in this order."""

    SUPPRESSED = "suppressed"
    MUTED = "muted"
    INHIBITED = "inhibited"
    RATE_LIMITED = "rate_limited"


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One address of one channel.

    id: stable and not guessable from the address (a keyed digest), so it may stand in a decision.
    address: where to; an e-mail address, or the channel's name where the address itself is a secret.
    """

    id: str
    channel: str
    address: str


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as a message shows it."""

    status: Status
    severity: Severity
    rule_id: str
    message: str
    scope: dict[str, str]
    window_start: int
    window_end: int
    annotations: dict[str, str] = {}
    links: tuple[Link, ...] = ()
    evidence: object | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one notification says, before a channel gives it its form. All text in it is untrusted.

    notification_id: 32 hex digits, the same for every target.
    origin: the ledger's name (a host-like word); channels use it in Message-IDs.
    title, text: one line, and a few plain sentences.
    because: why this was sent, for the footer.
    alerts: the most severe and newest first, at most 20; `more` counts those left out.
    incident: None for a digest over a rule, a test, and the like.
    record: size and root (8 hex digits) of the ledger just before this was decided, as `1311:5bf7e44f`, so that
    whoever is told holds a checkpoint of it; "" for a test.
    """

    notification_id: str
    origin: str
    kind: NotificationKind
    at: int
    severity: Severity
    title: str
    text: str
    because: str
    alerts: tuple[AlertLine, ...] = ()
    more: int = 0
    incident: IncidentView | None = None
    record: str = ""


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag="delivered"):
    """The provider says that the person's side has it."""

    detail: str = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag="accepted"):
    """The provider took it, which proves nothing more (SMTP 250, Teams 202)."""

    detail: str = ""


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag="retry"):
    """Not now. after_s: what the provider asked for, in seconds; None if it did not say."""

    why: str
    after_s: int | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Never: trying again cannot help."""

    why: str


class DryRun(msgspec.Struct, frozen=True, kw_only=True, tag="dry_run"):
    """Everything was done but the network. preview: what would have been sent, shortened for people."""

    preview: str = ""


Outcome = Delivered | Accepted | Retry | Refused | DryRun


class DeliveryState(StrEnum):
    """Where a delivery stands. PENDING is the only one with a next action."""

    PENDING = "pending"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    DEAD = "dead"
    MERGED = "merged"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"
    DRY_RUN = "dry_run"


def delivery_key(notification_id: str, target: Target) -> str:
    """SHA-256 (64 hex digits) of (notification, channel, target): one key over all attempts."""
    return hashlib.sha256(f"{notification_id}\n{target.channel}\n{target.id}".encode()).hexdigest()
