"""Views: what people ask the store for, and how it is shown to them."""

from typing import Self

import msgspec

from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.silence import Silence
from tocsin.ports.rows import DeliveryRow


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents are asked for; None and () are "all". after: list those with a lower number only.

    scope: (label, value) pairs that all stand in the incident's labels; text: in its title, whatever the case.
    since, until: opened in [since, until).
    """

    states: tuple[IncidentState, ...] = ()
    severity: Severity | None = None
    rule_id: str | None = None
    scope: tuple[tuple[str, str], ...] = ()
    text: str = ""
    since: int | None = None
    until: int | None = None
    after: int | None = None


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, in microseconds, over `count` incidents; p50 and p90 within 5 %, None without any."""

    count: int
    p50: int | None
    p90: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents in numbers.

    by_rule: rule, how many in all, how many not resolved; those with the most first, at most 50.
    acknowledged, resolved: from opening to the first acknowledgement and to resolution, of those resolved in
    [since, until), by whole days UTC.
    """

    total: int
    by_state: dict[IncidentState, int]
    by_severity: dict[Severity, int]
    by_rule: list[tuple[str, int, int]]
    acknowledged: Durations
    resolved: Durations


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are asked for; None and () are "all". after: list those with a lower number only.

    since, until: of notifications decided in [since, until); rule_id: of incidents of this rule.
    """

    states: tuple[DeliveryState, ...] = ()
    channel: str | None = None
    incident: int | None = None
    rule_id: str | None = None
    since: int | None = None
    until: int | None = None
    after: int | None = None


class SilenceView(msgspec.Struct, frozen=True, kw_only=True):
    """A silence as people are shown it. ended_at: None while it has not ended; ends_at is what was planned."""

    silence: Silence
    began: bool
    ended_at: int | None


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as people are shown it. due: the next attempt, None if there is none.

    target: the target's id; incident: its number, 0 for none; at: of the last change.
    dry_run: it was a drill, and reaches nobody.
    """

    number: int
    notification: int
    incident: int
    target: str
    key: str
    channel: str
    kind: NotificationKind
    state: DeliveryState
    attempts: int
    at: int
    due: int | None
    why: str
    dry_run: bool = False

    @classmethod
    def of(cls, row: DeliveryRow) -> Self:
        """Show a delivery as it stands."""
        delivery = row.delivery
        return cls(
            number=delivery.number,
            notification=delivery.notification,
            incident=delivery.incident,
            target=delivery.target,
            key=delivery.key,
            channel=delivery.channel,
            kind=delivery.kind,
            state=row.state,
            attempts=delivery.attempts,
            at=row.at,
            due=delivery.due if row.state is DeliveryState.PENDING else None,
            why=row.why,
            dry_run=delivery.dry_run,
        )


def number_of(id_or_number: str) -> int | None:
    """Read an incident's number out of its public id (the hex digits after the first 24) or a decimal.

    Whoever finds the incident still has to compare: the id must be its id, the decimal its number as it is written.
    """
    try:
        number = int(id_or_number[24:], 16) if len(id_or_number) >= 32 else int(id_or_number)
    except ValueError:
        return None
    return number if 0 < number < 1 << 62 else None
