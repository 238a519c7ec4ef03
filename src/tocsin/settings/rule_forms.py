"""Rule forms: the shape of sources, rules and objectives, in `tocsin.yaml` and in the files of `rules/`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND
from tocsin.core.model.rule import Cron, Interval, NoData, Op, Period, Reduce, Side
from tocsin.settings import takes
from tocsin.settings.form import FolderPath, Form, Reference, ReferenceOrUrl, Says, Span, Text
from tocsin.settings.model import Secret

Number = Annotated[float, Field(allow_inf_nan=False), Says("number")]
Query = Annotated[str, Field(min_length=1, max_length=20_000), Says("query")]
Label = Annotated[str, Field(max_length=1_000)]
RuleName = Annotated[str, AfterValidator(takes.rule_name), Says("name")]
Every = Annotated[
    InstanceOf[Interval] | InstanceOf[Cron],
    BeforeValidator(takes.every),
    Says("duration, or cron expression"),
]
Looks = Annotated[tuple[int, int], BeforeValidator(takes.looks), Says("`3`, or `3 of 5`")]
LinkUrl = Annotated[str, AfterValidator(takes.link), Says("URL")]
Zone = Annotated[str, AfterValidator(takes.zone), Says("zone")]
DatabaseUrl = Annotated[InstanceOf[Secret], BeforeValidator(takes.database_url), Says("URL, or secret")]
SeverityName = Annotated[str, AfterValidator(takes.one_of_these(*Severity)), Says("severity")]
OpName = Annotated[
    str, AfterValidator(takes.one_of_these(*Op)), Says("`lt`, `lte`, `gt`, `gte`, `eq` or `ne`")
]
ReduceName = Annotated[str, AfterValidator(takes.one_of_these(*Reduce)), Says("how points become one number")]
PeriodName = Annotated[
    str, AfterValidator(takes.one_of_these(*Period)), Says("`day`, `week`, `month` or `year`")
]
SideName = Annotated[str, AfterValidator(takes.one_of_these(*Side)), Says("`both`, `above` or `below`")]
NoDataName = Annotated[str, AfterValidator(takes.one_of_these(*NoData)), Says("`ok`, `firing` or `keep`")]


# Sources


class SqlForm(Form):
    """A database. Rules read it in transactions that cannot write, one SELECT each."""

    kind: Literal["sql"] = Field(description="this kind of source")
    name: RuleName = Field(description="how rules call it")
    url: DatabaseUrl = Field(
        description="SQLAlchemy's URL, such as `sqlite:///shop.db`; a secret if there is a password in it"
    )
    timeout: Span = Field(default=10 * SECOND, description="for one query, on both sides")
    rows_max: int = Field(default=10_000, ge=1, le=1_000_000, description="a longer answer is none")
    connections: int = Field(default=2, ge=1, le=32, description="at most so many at once")
    files: FolderPath | None = Field(
        default=None, description="with DuckDB: a folder whose CSV and Parquet files can be asked by name"
    )
    trust_readonly: bool = Field(
        default=False,
        description="take a database that has no transactions which only read; then its account must not be able to "
        "write",
    )


class PrometheusForm(Form):
    """Prometheus, VictoriaMetrics, Mimir, Thanos: whatever answers `/api/v1/query_range`."""

    kind: Literal["prometheus"] = Field(description="this kind of source")
    name: RuleName = Field(description="how rules call it")
    url: ReferenceOrUrl = Field(description="of the server, without `/api/v1`")
    headers: dict[str, Reference] = Field(default={}, description="to send along, such as Authorization")
    timeout: Span = Field(default=10 * SECOND, description="for one query")


class HttpForm(Form):
    """A URL that answers with JSON."""

    kind: Literal["http"] = Field(description="this kind of source")
    name: RuleName = Field(description="how rules call it")
    url: ReferenceOrUrl = Field(description="may hold `{since}`, `{until}` and the like in its query string")
    headers: dict[str, Reference] = Field(default={}, description="to send along, such as Authorization")
    timeout: Span = Field(default=10 * SECOND, description="for one question")


SourceForm = Annotated[SqlForm | PrometheusForm | HttpForm, Field(discriminator="kind")]


# Triggers


class LimitForm(Form):
    """From here on it is this severe."""

    value: Number = Field(description="the limit")
    severity: SeverityName = Field(description="`info`, `warning`, `error` or `critical`")


class LimitedForm(Form):
    """A trigger with one limit, or with steps of severity."""

    value: Number | None = Field(default=None, description="the limit; the rule says how severe it is")
    limits: list[LimitForm] | None = Field(
        default=None, min_length=1, max_length=4, description="instead of `value`: steps of severity"
    )


class ThresholdForm(LimitedForm):
    """A number against limits."""

    kind: Literal["threshold"] = Field(description="this kind of trigger")
    op: OpName = Field(description="how it is compared")
    reduce: ReduceName = Field(
        default="last",
        description="of the window's points: `last`, `first`, `mean`, `median`, `sum`, `min`, `max` or `count`",
    )


class DeltaPctForm(LimitedForm):
    """The change in percent against the same window a period before."""

    kind: Literal["delta_pct"] = Field(description="this kind of trigger")
    op: OpName = Field(description="how it is compared")
    against: PeriodName = Field(description="how much earlier, by the calendar of the rule's zone")
    reduce: ReduceName = Field(default="last", description="of each window's points, as with `threshold`")


class SlopeForm(LimitedForm):
    """The slope of the straight line that fits the window best."""

    kind: Literal["slope"] = Field(description="this kind of trigger")
    op: OpName = Field(description="how it is compared")
    per: Span = Field(default=HOUR, description="the slope is the change in each of these")


class BreakForm(Form):
    """A lasting shift of level, found by a two-sided CUSUM."""

    kind: Literal["break"] = Field(description="this kind of trigger")
    h: Number | None = Field(default=None, description="the limit, in standard deviations; 4 to 5 is usual")
    limits: list[LimitForm] | None = Field(
        default=None, min_length=1, max_length=4, description="instead of `h`: steps of severity"
    )
    k: Number = Field(default=0.5, description="slack in standard deviations: half of the shift to be found")
    baseline: Number = Field(
        default=0.5, description="the share of the window, from its beginning, that says what is usual"
    )
    side: SideName = Field(default="both", description="which way a shift counts")


class OutlierForm(LimitedForm):
    """The last point against those before it, by the median absolute deviation."""

    kind: Literal["outlier"] = Field(description="this kind of trigger")
    side: SideName = Field(default="both", description="which way it may be off")


class AgeForm(Form):
    """After so long it is this severe."""

    after: Span = Field(description="the limit")
    severity: SeverityName = Field(description="`info`, `warning`, `error` or `critical`")


class AbsentForm(Form):
    """Nothing came for too long."""

    kind: Literal["absent"] = Field(description="this kind of trigger")
    after: Span | None = Field(default=None, description="the limit; the rule says how severe it is")
    limits: list[AgeForm] | None = Field(
        default=None, min_length=1, max_length=4, description="instead of `after`: steps of severity"
    )


class TierForm(Form):
    """Two windows in which the budget burns too fast."""

    long: Span = Field(description="over this it burns too fast")
    short: Span = Field(description="and over this it still does")
    factor: Number = Field(description="so many times as fast as it may")
    severity: SeverityName = Field(description="`info`, `warning`, `error` or `critical`")


class BurnRateForm(Form):
    """How fast the error budget of an objective is used up; `slos` write this for you."""

    kind: Literal["burn_rate"] = Field(description="this kind of trigger")
    objective: Number = Field(gt=0, lt=100, description="percent of the events that must be good")
    good: Query = Field(description="the number of good events in a window")
    total: Query = Field(description="the number of all events in it")
    tiers: list[TierForm] | None = Field(
        default=None, min_length=1, max_length=8, description="without it, those for 30 days"
    )


TriggerForm = Annotated[
    ThresholdForm | DeltaPctForm | SlopeForm | BreakForm | OutlierForm | AbsentForm | BurnRateForm,
    Field(discriminator="kind"),
]


# Rules


class NamedForm(Form):
    """What rules and objectives have in common."""

    description: Text | None = Field(default=None, description="what is wrong when it fires, for people")
    source: RuleName = Field(description="who is asked")
    every: Every = Field(
        default=Interval(5 * MINUTE), description="`5m`, or a cron expression as `0 8 * * 1-5`"
    )
    scope: dict[RuleName, Label] = Field(default={}, description="labels of all its alerts")
    labels: dict[RuleName, Label] = Field(default={}, description="more labels, for routing")
    by: list[Text] | None = Field(
        default=None,
        description="columns or labels that tell series apart; without it, all that the answer has",
    )
    owner: Text | None = Field(default=None, description="who looks after it")
    runbook: LinkUrl | None = Field(default=None, description="what to do, as a link in the alert")
    zone: Zone = Field(default="UTC", description="for cron expressions, dates and calendars")
    enabled: bool = Field(default=True, description="whether anybody looks")


class RuleForm(NamedForm):
    """When numbers from a source deserve an alert."""

    rule_id: RuleName = Field(description="unique and stable; incidents are known by it")
    severity: SeverityName | None = Field(default=None, description="how bad it is, unless `limits` say so")
    query: Query | None = Field(default=None, description="in the language of the source")
    window: Span = Field(default=5 * MINUTE, description="how much each look covers, up to its moment")
    step: Span | None = Field(default=None, description="distance of points, for sources that need one")
    trigger: TriggerForm = Field(description="when it is wrong")
    for_: Looks = Field(
        default=(1, 1), alias="for", description="it fires once so many of the last looks were wrong"
    )
    no_data: NoDataName = Field(
        default="keep",
        description="a scope without data: `ok` is a green look, `firing` a wrong one, `keep` none at all",
    )


class SloForm(NamedForm):
    """An objective: it becomes a rule that fires when its error budget burns too fast."""

    name: RuleName = Field(description="unique and stable, also among rules")
    objective: Number = Field(gt=0, lt=100, description="percent of the events that must be good")
    window: Span = Field(default=30 * DAY, description="in any of these")
    good: Query = Field(description="the number of good events in a window")
    total: Query = Field(description="the number of all events in it")
    tiers: list[TierForm] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="when it burns too fast; without it, as is usual",
    )


class RulesFileForm(Form):
    """A file of rules."""

    rules: list[RuleForm] = Field(default=[], max_length=10_000, description="rules of the Alert Center")
    slos: list[SloForm] = Field(default=[], max_length=1_000, description="objectives, each with a rule")
