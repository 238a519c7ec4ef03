"""Forms: what the API takes and shows. Instants are ISO 8601 in UTC at this edge, integers inside."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.ports import DeliveryView
from tocsin.runtime.names import Names
from tocsin.web.moments import EPOCH, Moment


def instant(at: int) -> str:
    """Show microseconds UTC as ISO 8601."""
    return (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def _is_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair, which is no text") from None
    return text


def without_default(schema: dict[str, Any]) -> None:
    """Leave a default out of the schema: it stands for "not given", and nobody could send it."""
    schema.pop("default", None)


Text = Annotated[str, Field(max_length=16_384), AfterValidator(_is_text)]
Document = Annotated[str, Field(min_length=1, max_length=500_000), AfterValidator(_is_text)]
"""A whole file."""
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_is_text)]
Shown = Annotated[
    str,
    BeforeValidator(lambda at: instant(at) if isinstance(at, int) else at),
    Field(json_schema_extra={"format": "date-time"}),
]
"""An instant that goes out: microseconds UTC inside, text outside."""


class SendForm(BaseModel):
    """`POST /api/v1/notify/send`: tell people now. It opens or joins an incident, as an alert would."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"rule_id": "drill", "severity": "info", "message": "This is a drill.", "dry_run": True}
            ]
        },
    )

    rule_id: Name
    severity: Severity
    message: Text
    scope: dict[Name, Text] = Field(default={}, max_length=64)
    channels: list[Name] = Field(
        default=[], description="Names of channels: they alone are told. None: those of the route."
    )
    dry_run: bool = Field(default=False, strict=True)
    window_start: Moment | None = None
    window_end: Moment | None = None
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
    """An incident in a list. acked_by: as the ledger names them; acked_by_name: as people call them.

    firing, cleared: how many of its alerts; silenced: how many of those that fire lie under silences.
    """

    incident_id: str
    number: int
    generation: int
    state: IncidentState
    severity: Severity
    title: str
    rule_id: str
    route: str
    labels: dict[str, str]
    opened_at: Shown
    updated_at: Shown
    resolved_at: Shown | None
    acked_by: str | None
    acked_by_name: str | None
    firing: int
    cleared: int
    silenced: int


class DeliveryOut(BaseModel):
    number: int
    key: str
    channel: str
    kind: NotificationKind
    state: DeliveryState
    attempts: int
    at: Shown
    due_at: Shown | None
    why: str


def incident_out(view: IncidentView, names: Names) -> dict[str, Any]:
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
        "opened_at": view.opened_at,
        "updated_at": view.updated_at,
        "resolved_at": view.resolved_at,
        "acked_by": view.acked_by or None,
        "acked_by_name": names.of(view.acked_by) or None,
        "firing": view.firing,
        "cleared": view.cleared,
        "silenced": view.silenced,
    }


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
