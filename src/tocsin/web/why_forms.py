"""Forms of the decision trace: the steps of `core/model/trace`, as the API shows them."""

from pydantic import BaseModel, ConfigDict

from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind, Withheld
from tocsin.web.forms import Shown


class Part(BaseModel):
    """Read from the value of the same name."""

    model_config = ConfigDict(from_attributes=True)


class ReceivedOut(Part):
    """The look that came in. scope, source, message: null where its text was erased.

    formula: how a rule came to it, with its numbers; null if its evidence has none.
    """

    rule_id: str
    scope: dict[str, str] | None
    status: Status
    severity: Severity
    window_start: Shown
    window_end: Shown
    source: str | None
    message: str | None
    formula: str | None


class DedupOut(Part):
    """What the look was to what was known already."""

    outcome: str
    repeats_counted_before: int
    because: str


class MatchedOut(Part):
    """A silence that covers an alert. silence_id: null if it is too old to be at hand."""

    number: int
    silence_id: str | None
    comment: str


class SilencesOut(Part):
    """Which silences were found to cover the alerts."""

    matched: list[MatchedOut]
    because: str


class RateOut(Part):
    """What the rate limit said. number_in_window: which one of the window, null if it does not count.

    digest_at: when what is withheld is told together, if this entry planned that.
    """

    rule_id: str
    charged: bool
    number_in_window: int | None
    limit: int | None
    window_s: int | None
    digest_at: Shown | None
    because: str


class RouteOut(Part):
    """The route that the alert fell under."""

    name: str
    because: str


class ChangedOut(Part):
    """What became of the incident, and by whom. until: when that lapses, null for never.

    by: as the ledger names them; by_name: as people call them.
    """

    state: IncidentState
    by: str
    by_name: str
    until: Shown | None
    note: str | None
    because: str


class NotifiedOut(Part):
    """Whom it was decided to tell. state: of the delivery, as it stands today."""

    kind: NotificationKind
    channel: str
    address: str | None
    delivery: int
    state: DeliveryState | None
    because: str


class WithheldOut(Part):
    """Who was not told."""

    kind: NotificationKind
    reason: Withheld
    channel: str | None
    address: str | None
    because: str


class AttemptedOut(Part):
    """What became of a delivery. outcome: `retry`, `revived`, or how it ended; said: the provider's words."""

    delivery: int
    channel: str | None
    address: str | None
    outcome: str
    attempts: int
    said: str | None
    next_at: Shown | None
    because: str


class StepOut(Part):
    """One entry that decided something about alerts or about telling. What it did not touch is null or empty."""

    seq: int
    at: Shown
    policy: int
    late_by_s: float
    received: ReceivedOut | None
    dedup: DedupOut | None
    silences: SilencesOut | None
    rate_window: RateOut | None
    route: RouteOut | None
    changed: ChangedOut | None
    notified: list[NotifiedOut]
    withheld: list[WithheldOut]
    attempted: list[AttemptedOut]


class WhyOut(BaseModel):
    """Why people were told of an incident, and why they were not: in a few sentences, and step by step, oldest first.

    policy: the version that the incident keeps; left_out: entries before the first step that were not read.
    """

    incident_id: str
    number: int
    policy: int
    summary: list[str]
    steps: list[StepOut]
    left_out: int
