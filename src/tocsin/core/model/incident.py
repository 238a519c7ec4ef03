"""Incident: one or more alerts that belong together, with a life."""

from enum import StrEnum

import msgspec

from tocsin.core.model.alert import Severity


class IncidentState(StrEnum):
    """Where an incident stands; `core/engine/lifecycle` holds the table of moves between them."""

    OPEN = "OPEN"
    ACK = "ACK"
    SILENCED = "SILENCED"
    RESOLVED = "RESOLVED"


class IncidentView(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as people are shown it.

    id: stable public name; number: the `#1042` that people say; generation: 1, and one more per reopening.
    labels: what its alerts have in common because their route groups by it.
    firing, cleared: how many of its alerts are still wrong, and how many are over; silenced: how many of those that
    are still wrong lie under silences.
    acked_by_name: how people call whoever that is; it is put in when this is shown or sent, and never kept.
    url: its page, "" while Tocsin does not know its own address.
    """

    id: str
    number: int
    generation: int
    state: IncidentState
    severity: Severity
    title: str
    rule_id: str
    route: str
    labels: dict[str, str]
    opened_at: int
    updated_at: int
    firing: int
    cleared: int
    silenced: int = 0
    acked_by: str = ""
    acked_by_name: str = ""
    resolved_at: int | None = None
    url: str = ""
