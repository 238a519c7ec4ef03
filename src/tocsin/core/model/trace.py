"""Trace: the story of an incident as values: entries read back, and the steps that explain them to people.

`core/engine/explain` makes the steps; an instant is microseconds UTC, and what an entry did not touch is None or empty.
"""

import msgspec

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.entry import Decision, Header
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind, Outcome, Withheld
from tocsin.core.model.silence import Silence


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it was read back. alert, note, outcome: of its private part, empty where that was erased."""

    header: Header
    decision: Decision
    alert: Alert | None = None
    note: str = ""
    outcome: Outcome | None = None


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that began. until: when it ended, or will."""

    silence: Silence
    until: int


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as it stands. target: its id."""

    channel: str
    target: str
    state: DeliveryState


class Received(msgspec.Struct, kw_only=True):
    """The look that came in. scope, source, message: None where its text was erased.

    formula: how a rule came to it, with its numbers; None if its evidence has none.
    """

    rule_id: str
    scope: dict[str, str] | None
    status: Status
    severity: Severity
    window_start: int
    window_end: int
    source: str | None
    message: str | None
    formula: str | None


class Dedup(msgspec.Struct, kw_only=True):
    """What the look was to what was known. repeats_counted_before: looks since the last entry that were no news."""

    outcome: str
    repeats_counted_before: int
    because: str


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that covers an alert. number: the one that people say, `S3`; silence_id: None if it is not at hand."""

    number: int
    silence_id: str | None
    comment: str


class Silences(msgspec.Struct, kw_only=True):
    """Which silences were found to cover the alert."""

    matched: list[Matched]
    because: str


class RateUse(msgspec.Struct, kw_only=True):
    """What the rate limit said. number_in_window: which one of the window this was, None if it was not charged.

    digest_at: when what is withheld is told together, if this entry planned that.
    """

    rule_id: str
    charged: bool
    number_in_window: int | None
    limit: int | None
    window_s: int | None
    digest_at: int | None
    because: str


class Routed(msgspec.Struct, kw_only=True):
    """The route that the alert fell under."""

    name: str
    because: str


class Notified(msgspec.Struct, kw_only=True):
    """An intent that went out. state: as its delivery stands today; address: None if no policy knows it any more."""

    kind: NotificationKind
    channel: str
    address: str | None
    delivery: int
    state: DeliveryState | None
    because: str


class WithheldFrom(msgspec.Struct, kw_only=True):
    """An intent that did not go out."""

    kind: NotificationKind
    reason: Withheld
    channel: str | None
    address: str | None
    because: str


class Attempted(msgspec.Struct, kw_only=True):
    """How an attempt ended, or what else became of a delivery. said: the provider's words, None if there are none.

    attempts: made so far; next_at: when the next one is due, None if there is none.
    """

    delivery: int
    channel: str | None
    address: str | None
    outcome: str
    attempts: int
    said: str | None
    next_at: int | None
    because: str


class Changed(msgspec.Struct, kw_only=True):
    """What became of the incident. until: when that lapses, None for never; note: what was written beside it."""

    state: IncidentState
    by: str
    until: int | None
    note: str | None
    because: str


class Step(msgspec.Struct, kw_only=True):
    """One entry that decided something about alerts or about telling. What it did not touch is None or empty."""

    seq: int
    at: int
    policy: int
    late_by: int
    received: Received | None = None
    dedup: Dedup | None = None
    silences: Silences | None = None
    rate_window: RateUse | None = None
    route: Routed | None = None
    changed: Changed | None = None
    notified: list[Notified] = []
    withheld: list[WithheldFrom] = []
    attempted: list[Attempted] = []
