"""Forms: what the API takes and shows. Instants are ISO 8601 in UTC at this edge, integers inside."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tocsin.core.engine.state import LiveAlert
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.ports import DeliveryView

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(at: int) -> str:
    """Show microseconds UTC as ISO 8601."""
    return (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def _is_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair, which is no text") from None
    return text


Text = Annotated[str, Field(max_length=16_384), AfterValidator(_is_text)]
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_is_text)]


class SendForm(BaseModel):
    """`POST /api/v1/notify/send`: tell people now. It opens or joins an incident, as an alert would."""

    model_config = ConfigDict(extra="forbid")

    rule_id: Name
    severity: Severity
    message: Text
    scope: dict[Name, Text] = Field(default={}, max_length=64)
    channels: list[Name] = Field(default=[], description="Names of channels; none for those of the route.")
    dry_run: bool = False
    window_start: datetime | None = None
    window_end: datetime | None = None
    annotations: dict[Name, Text] = Field(default={}, max_length=64)


class IncidentOfAnswer(BaseModel):
    incident_id: str
    number: int
    outcome: str


class TargetOut(BaseModel):
    channel: str
    address: str


class SendAnswer(BaseModel):
    """tells: whom it is for; a dry run reaches none of them."""

    idempotency_key: str
    fingerprint: str
    outcome: str
    dry_run: bool
    tells: list[TargetOut]
    incidents: list[IncidentOfAnswer]


class IncidentOut(BaseModel):
    """An incident in a list."""

    incident_id: str
    number: int
    generation: int
    state: IncidentState
    severity: Severity
    title: str
    rule_id: str
    route: str
    labels: dict[str, str]
    opened_at: str
    updated_at: str
    resolved_at: str | None
    acked_by: str | None
    firing: int
    cleared: int


class AlertOut(BaseModel):
    """An alert of an incident; message and what follows are None once its text was erased."""

    rule_id: str
    severity: Severity
    status: Status
    scope: dict[str, str]
    greens: int
    last_seen_at: str
    expires_at: str | None
    message: str | None
    annotations: dict[str, str]
    links: list[dict[str, str]]
    evidence: Any


class DeliveryOut(BaseModel):
    number: int
    key: str
    channel: str
    kind: NotificationKind
    state: DeliveryState
    attempts: int
    at: str
    due_at: str | None
    why: str


class TimelineOut(BaseModel):
    seq: int
    at: str
    kind: str
    actor: str
    events: list[dict[str, Any]]


class IncidentDetail(IncidentOut):
    """An incident with all that belongs to it. timeline: its newest ledger entries, newest first."""

    alerts: list[AlertOut]
    deliveries: list[DeliveryOut]
    timeline: list[TimelineOut]


class IncidentList(BaseModel):
    incidents: list[IncidentOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


def incident_out(view: IncidentView) -> dict[str, Any]:
    """Show an incident."""
    return {
        "incident_id": view.id,
        "number": view.number,
        "generation": view.generation,
        "state": view.state,
        "severity": view.severity,
        "title": view.title,
        "rule_id": view.rule_id,
        "route": view.route,
        "labels": view.labels,
        "opened_at": instant(view.opened_at),
        "updated_at": instant(view.updated_at),
        "resolved_at": instant(view.resolved_at) if view.resolved_at else None,
        "acked_by": view.acked_by or None,
        "firing": view.firing,
        "cleared": view.cleared,
    }


def alert_out(live: LiveAlert, alert: Alert | None, incident: int) -> AlertOut:
    """Show an alert of an incident."""
    return AlertOut(
        rule_id=live.rule_id,
        severity=live.severity,
        status=Status.FIRING if incident in live.firing_in else Status.RESOLVED,
        scope=alert.scope if alert is not None else {},
        greens=live.greens,
        last_seen_at=instant(live.seen_at),
        expires_at=instant(live.lease) if live.lease else None,
        message=alert.message if alert is not None else None,
        annotations=alert.annotations if alert is not None else {},
        links=[{"href": link.href, "text": link.text} for link in alert.links] if alert is not None else [],
        evidence=alert.evidence if alert is not None else None,
    )


def delivery_out(view: DeliveryView) -> DeliveryOut:
    """Show a delivery."""
    return DeliveryOut(
        number=view.number,
        key=view.key,
        channel=view.channel,
        kind=view.kind,
        state=view.state,
        attempts=view.attempts,
        at=instant(view.at),
        due_at=instant(view.due) if view.due is not None else None,
        why=view.why,
    )
