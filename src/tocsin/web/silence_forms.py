"""Forms of silences and maintenances: how they are asked for, and how they are shown."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from tocsin.core.engine import maintenance as recurring
from tocsin.core.engine.route import matcher_test
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import MINUTE
from tocsin.core.model.silence import Maintenance, Matcher, parse_matcher, show_matcher
from tocsin.ports import SilenceView
from tocsin.runtime.names import Names
from tocsin.web.forms import Name, Shown, Text, instant, without_default
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON, Minutes, Moment

WINDOWS_SHOWN = 5

WRITTEN = r'^\s*("([^"\\\x00-\x1f]|\\["\\/bfnrt])+"|[^"=!\s]([^=!]*[^=!\s])?)\s*(=~|!~|!=|=)[\s\S]*$'
"""Matchers as `parse_matcher` reads them, for those who read the API's description."""

MatcherText = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=2_048,
        description="`name=value`, `name!=value`, `name=~regex` or `name!~regex`; regexes are RE2.",
        json_schema_extra={"pattern": WRITTEN, "examples": ["rule_id=disk", "host=~db-.*"]},
    ),
]
Matchers = Annotated[list[MatcherText], Field(max_length=32)]
SilenceState = Literal["pending", "active", "ended"]


class RecurrenceForm(Form):
    """When the windows of a maintenance open, in the wall time of a zone, and how long each of them is."""

    rrule: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=300,
            description="RFC 5545, DAILY or rarer.",
            examples=["FREQ=WEEKLY;BYDAY=SU"],
        ),
    ]
    zone: Annotated[Name, Field(description="An IANA name.", examples=["Europe/Berlin"])]
    begins: Annotated[
        Name, Field(description="Wall time of the first window.", examples=["2026-03-01T02:00"])
    ]
    minutes: Annotated[int, Strict(), Field(ge=1, le=31 * 24 * 60, examples=[180]), AS_JSON]


class SilenceForm(BaseModel):
    """A silence with an end or a length; or, with a recurrence, a maintenance. starts_at: now, if it is left out."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["ends_at"]}, {"required": ["minutes"]}, {"required": ["recurrence"]}],
            "not": {"required": ["recurrence", "starts_at"]},
            "examples": [{"matchers": ["host=db-1"], "minutes": 60, "comment": "new disks"}],
        },
    )

    matchers: Matchers
    starts_at: Moment = Field(default=0, json_schema_extra=without_default)
    ends_at: Moment = Field(default=0, json_schema_extra=without_default)
    minutes: Minutes = Field(default=0, json_schema_extra=without_default)
    recurrence: RecurrenceForm = Field(default_factory=RecurrenceForm.model_construct)
    comment: Text = ""
    force: bool = Field(default=False, strict=True, description="Even if the matchers cover every alert.")


class ExtendForm(BaseModel):
    """Another end: an instant, or so many minutes from now."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["ends_at"]}, {"required": ["minutes"]}],
            "examples": [{"minutes": 30}],
        },
    )

    ends_at: Moment = Field(default=0, json_schema_extra=without_default)
    minutes: Minutes = Field(default=0, json_schema_extra=without_default)


class SilenceOut(BaseModel):
    """ends_at: as planned; ended_at: when it did end. maintenance_id: of the maintenance that made it.

    created_by: as the ledger names them; created_by_name: as people call them.
    """

    silence_id: str
    number: int
    matchers: list[str]
    starts_at: Shown
    ends_at: Shown
    ended_at: Shown | None
    state: SilenceState
    created_by: str
    created_by_name: str
    comment: str
    maintenance_id: str | None


class SilenceEnded(SilenceOut):
    """A silence that is over. changed: false where it was so already."""

    changed: bool


class WindowOut(BaseModel):
    starts_at: Shown
    ends_at: Shown


class MaintenanceOut(BaseModel):
    """next: the coming windows, the one that is open now included; next_at: when the next one opens."""

    maintenance_id: str
    number: int
    matchers: list[str]
    rrule: str
    zone: str
    begins: str
    minutes: int
    next_at: Shown | None
    next: list[WindowOut]
    over: bool
    created_by: str
    created_by_name: str
    comment: str


class MaintenanceEnded(MaintenanceOut):
    """A maintenance that is over. changed: false where it was so already."""

    changed: bool


class SilenceList(BaseModel):
    silences: list[SilenceOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


class MaintenanceList(BaseModel):
    maintenances: list[MaintenanceOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


def read_matchers(texts: list[str]) -> tuple[Matcher, ...]:
    """Read matchers, and try their patterns. Raises: Invalid naming the one that is wrong."""
    found = []
    for position, text in enumerate(texts):
        try:
            matcher = parse_matcher(text)
            matcher_test(matcher)
        except Invalid as error:
            raise Invalid(str(error), field=f"matchers[{position}]") from error
        found.append(matcher)
    return tuple(found)


def end_of(form: SilenceForm | ExtendForm, begin: int) -> int:
    """Give the end that is asked for. Raises: Invalid unless there is exactly one."""
    given = form.model_fields_set
    if ("ends_at" in given) == ("minutes" in given):
        raise Invalid("Give either ends_at or minutes.", field="ends_at")
    return form.ends_at if "ends_at" in given else begin + form.minutes * MINUTE


def state_of(view: SilenceView) -> SilenceState:
    if view.ended_at is not None:
        return "ended"
    return "active" if view.began else "pending"


def silence_out(view: SilenceView, maintenance_ids: dict[int, str], names: Names) -> SilenceOut:
    silence = view.silence
    return SilenceOut(
        silence_id=silence.id,
        number=silence.number,
        matchers=[show_matcher(matcher) for matcher in silence.matchers],
        starts_at=instant(silence.starts_at),
        ends_at=instant(silence.ends_at),
        ended_at=instant(view.ended_at) if view.ended_at is not None else None,
        state=state_of(view),
        created_by=silence.created_by,
        created_by_name=names.of(silence.created_by),
        comment=silence.comment,
        maintenance_id=maintenance_ids.get(silence.maintenance),
    )


def maintenance_out(
    maintenance: Maintenance, next_at: int, over: bool, now: int, names: Names
) -> MaintenanceOut:
    coming = [] if over else recurring.windows(maintenance, now, WINDOWS_SHOWN)
    return MaintenanceOut(
        maintenance_id=maintenance.id,
        number=maintenance.number,
        matchers=[show_matcher(matcher) for matcher in maintenance.matchers],
        rrule=maintenance.rrule,
        zone=maintenance.zone,
        begins=maintenance.begins,
        minutes=maintenance.lasting // MINUTE,
        next_at=instant(next_at) if next_at and not over else None,
        next=[WindowOut(starts_at=instant(begin), ends_at=instant(end)) for begin, end in coming],
        over=over,
        created_by=maintenance.created_by,
        created_by_name=names.of(maintenance.created_by),
        comment=maintenance.comment,
    )
