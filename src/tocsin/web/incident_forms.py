"""Forms of incidents: what people may ask of them, and how they are shown."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Action
from tocsin.ports import Durations, Stats
from tocsin.web.forms import DeliveryOut, IncidentOut, Name, Shown, Text, instant, without_default
from tocsin.web.moments import Bound, Minutes, Moment

IDS_MAX = 1000
SECOND = 1_000_000


def _reference(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Reference = Annotated[
    str,
    Field(min_length=1, max_length=64),
    BeforeValidator(_reference),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 64}, {"type": "integer"}]}),
]
"""An incident by its id or by its number."""


class Form(BaseModel):
    """A body: a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class ActForm(Form):
    """note: why, for whoever reads the timeline."""

    note: Text = ""


class NoteForm(Form):
    """Something to write down."""

    note: Annotated[Text, Field(min_length=1, examples=["Disk ordered, arrives at noon."])]


class SilenceActForm(Form):
    """until, minutes: when its notifications are heard again; without either, when somebody ends it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"not": {"required": ["until", "minutes"]}, "examples": [{"minutes": 60}]},
    )

    until: Moment = Field(default=0, json_schema_extra=without_default)
    minutes: Minutes = Field(default=0, json_schema_extra=without_default)
    note: Text = ""


class FilterForm(Form):
    """As the parameters of the list. scope: labels that all of them have."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    state: list[IncidentState] = Field(default=[], max_length=4)
    severity: Severity | None = None
    rule_id: Name | None = None
    scope: dict[Name, Text] = Field(default={}, max_length=64)
    text: Annotated[Text, Field(max_length=256)] = ""
    since: Bound | None = None
    until: Bound | None = None


class BulkForm(Form):
    """The same for several incidents: those in ids, or those that fit the filter."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["ids"]}, {"required": ["filter"]}],
            "not": {"required": ["until", "minutes"]},
            "examples": [
                {"action": "ack", "ids": [1042, 1043], "note": "one power supply"},
                {"action": "resolve", "filter": {"state": ["OPEN"], "rule_id": "disk"}, "dry_run": True},
            ],
        },
    )

    action: Action
    ids: list[Reference] = Field(
        default=[], min_length=1, max_length=IDS_MAX, json_schema_extra=without_default
    )
    filter: FilterForm = Field(default=FilterForm(), json_schema_extra=without_default)
    note: Text = ""
    until: Moment = Field(default=0, json_schema_extra=without_default)
    minutes: Minutes = Field(default=0, json_schema_extra=without_default)
    dry_run: bool = Field(default=False, strict=True)


class ActedOut(IncidentOut):
    """An incident after somebody did something to it. changed: false where it was so already.

    silenced_by: numbers of the silences that cover its alerts.
    """

    changed: bool
    silenced_by: list[int]


class IncidentList(BaseModel):
    """Incidents, newest first. total: how many fit in all."""

    incidents: list[IncidentOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


class AlertOut(BaseModel):
    """An alert of an incident; message and what follows are None once its text was erased.

    silenced_by: numbers of the silences that cover it.
    """

    rule_id: str
    severity: Severity
    status: Status
    scope: dict[str, str]
    greens: int
    silenced_by: list[int]
    last_seen_at: Shown
    expires_at: Shown | None
    message: str | None
    annotations: dict[str, str]
    links: list[dict[str, str]]
    evidence: Any


class TimelineOut(BaseModel):
    """An entry of the ledger. because: why, one for each event; note: what somebody wrote beside it.

    actor: who made it, as the ledger names them; actor_name: as people call them.
    message: what the alert said that came in with it, null where none did or its text was erased.
    cause: the entry that it follows from; late_by_s: by how much a timer was late, 0 if it was not.
    events: as the ledger has them, instants in microseconds.
    """

    seq: int
    at: Shown
    kind: str
    actor: str
    actor_name: str
    policy: int
    cause: int | None
    late_by_s: float
    because: list[str]
    events: list[dict[str, Any]]
    note: str | None
    message: str | None


class NoteOut(BaseModel):
    """What somebody wrote down."""

    at: Shown
    actor: str
    actor_name: str
    note: str


class IncidentDetail(IncidentOut):
    """An incident with all that belongs to it.

    acked_at: when it was first acknowledged since it opened. previous: the number of the last one of its kind.
    silenced_by: numbers of the silences that cover its alerts. alerts: the first 500; timeline, notes: of its newest
    200 entries, newest first.
    """

    acked_at: Shown | None
    silenced_until: Shown | None
    silenced_by: list[int]
    auto_resolved: bool
    greens: int
    previous: int | None
    notes: list[NoteOut]
    alerts: list[AlertOut]
    deliveries: list[DeliveryOut]
    timeline: list[TimelineOut]


class TimelineList(BaseModel):
    """All that was decided about an incident, newest first. total: how many entries there are."""

    incident_id: str
    number: int
    total: int
    entries: list[TimelineOut]
    next_cursor: str | None


class BulkResult(BaseModel):
    """What became of one incident. number: null if there is none; state: as it is now; detail: why it was refused."""

    incident_id: str
    number: int | None
    title: str | None
    outcome: str
    state: IncidentState | None
    detail: str | None = None


class BulkAnswer(BaseModel):
    """What became of all, or would. matched: incidents that are there; refused: conflicts; not_found: the others."""

    action: Action
    dry_run: bool
    matched: int
    changed: int
    unchanged: int
    refused: int
    not_found: int
    results: list[BulkResult]


class RuleCount(BaseModel):
    """How many incidents a rule has brought, and how many of them are not resolved."""

    rule_id: str
    incidents: int
    active: int


class DurationsOut(BaseModel):
    """How long it took people, in seconds, over so many incidents; null where there is none."""

    incidents: int
    p50_s: float | None
    p90_s: float | None


class StatsOut(BaseModel):
    """Incidents in numbers.

    The counts are of all incidents; the times of those resolved in [since, until), by whole days UTC.
    by_rule: the 50 with the most incidents.
    """

    total: int
    by_state: dict[IncidentState, int]
    by_severity: dict[Severity, int]
    by_rule: list[RuleCount]
    time_to_acknowledge: DurationsOut
    time_to_resolve: DurationsOut
    since: Shown
    until: Shown


def more_fields(live: LiveIncident) -> dict[str, Any]:
    """Show what a single incident says beyond what a list does."""
    return {
        "acked_at": live.acked_at or None,
        "silenced_until": live.silenced_until or None,
        "auto_resolved": live.auto_resolved,
        "greens": live.greens,
        "previous": live.previous or None,
    }


def alert_out(live: LiveAlert, alert: Alert | None, incident: int) -> AlertOut:
    """Show an alert of an incident."""
    return AlertOut(
        rule_id=live.rule_id,
        severity=live.severity,
        status=Status.FIRING if incident in live.firing_in else Status.RESOLVED,
        scope=alert.scope if alert is not None else {},
        greens=live.greens,
        silenced_by=list(live.silenced_by),
        last_seen_at=instant(live.seen_at),
        expires_at=instant(live.lease) if live.lease else None,
        message=alert.message if alert is not None else None,
        annotations=alert.annotations if alert is not None else {},
        links=[{"href": link.href, "text": link.text} for link in alert.links] if alert is not None else [],
        evidence=alert.evidence if alert is not None else None,
    )


def stats_out(stats: Stats, since: int, until: int) -> StatsOut:
    """Show incidents in numbers."""
    return StatsOut(
        total=stats.total,
        by_state={state: stats.by_state.get(state, 0) for state in IncidentState},
        by_severity={severity: stats.by_severity.get(severity, 0) for severity in Severity},
        by_rule=[
            RuleCount(rule_id=rule_id, incidents=incidents, active=active)
            for rule_id, incidents, active in stats.by_rule
        ],
        time_to_acknowledge=_durations(stats.acknowledged),
        time_to_resolve=_durations(stats.resolved),
        since=instant(since),
        until=instant(until),
    )


def _durations(durations: Durations) -> DurationsOut:
    p50, p90 = durations.p50, durations.p90
    return DurationsOut(
        incidents=durations.count,
        p50_s=p50 / SECOND if p50 is not None else None,
        p90_s=p90 / SECOND if p90 is not None else None,
    )
