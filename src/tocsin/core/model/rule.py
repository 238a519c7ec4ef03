"""Rule: when numbers from somewhere deserve an alert; what it asks, what it is answered, and what it made of that.

Lengths of time and instants are integer microseconds (UTC), windows are [since, until). Numbers are finite.
"""

from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import HOUR


class Op(StrEnum):
    """How a number is compared with a limit."""

    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    EQ = "eq"
    NE = "ne"


class Reduce(StrEnum):
    """How the points of a window become one number."""

    LAST = "last"
    FIRST = "first"
    MEAN = "mean"
    MEDIAN = "median"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


class Period(StrEnum):
    """What a window is compared with: the same one so much earlier, by the calendar of the rule's zone."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Side(StrEnum):
    """Which way a number may be off."""

    BOTH = "both"
    ABOVE = "above"
    BELOW = "below"


class NoData(StrEnum):
    """What a look without data is taken for: nothing wrong, something wrong, or no look at all."""

    OK = "ok"
    FIRING = "firing"
    KEEP = "keep"


class Limit(msgspec.Struct, frozen=True):
    """From here on it is this severe."""

    value: float
    severity: Severity


Limits: TypeAlias = tuple[Limit, ...]
"""At least one; the most severe of those that are passed counts."""


class Threshold(msgspec.Struct, frozen=True, kw_only=True, tag="threshold"):
    """One number against limits."""

    op: Op
    limits: Limits
    reduce: Reduce = Reduce.LAST


class DeltaPct(msgspec.Struct, frozen=True, kw_only=True, tag="delta_pct"):
    """The change against the same window a period before, in percent of what it was then."""

    op: Op
    limits: Limits
    against: Period
    reduce: Reduce = Reduce.LAST


class Slope(msgspec.Struct, frozen=True, kw_only=True, tag="slope"):
    """The slope of the least-squares line over the window, as change in each `per`."""

    op: Op
    limits: Limits
    per: int = HOUR


class Break(msgspec.Struct, frozen=True, kw_only=True, tag="break"):
    """A lasting shift of level: a two-sided CUSUM of standardised deviations; limits are its `h`.

    k: the slack in standard deviations; half of the shift that is to be found.
    baseline: the share of the window's points, from its beginning, that says what is usual; 0 < baseline < 1.
    """

    limits: Limits
    k: float = 0.5
    baseline: float = 0.5
    side: Side = Side.BOTH


class Outlier(msgspec.Struct, frozen=True, kw_only=True, tag="outlier"):
    """The last point against those before it: the modified z-score, by the median absolute deviation."""

    limits: Limits
    side: Side = Side.BOTH


class Absent(msgspec.Struct, frozen=True, kw_only=True, tag="absent"):
    """Nothing came for too long; limits are seconds since the newest point."""

    limits: Limits


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """The budget burns `factor` times as fast as it may, over the long window and still over the short one."""

    long: int
    short: int
    factor: float
    severity: Severity


class BurnRate(msgspec.Struct, frozen=True, kw_only=True, tag="burn_rate"):
    """How fast the error budget of an objective is used up.

    objective: the share of good events that was promised, 0 < objective < 1.
    good, total: queries, in place of the rule's own; each is the number of events in a window.
    """

    objective: float
    good: str
    total: str
    tiers: tuple[Tier, ...]


Trigger: TypeAlias = Threshold | DeltaPct | Slope | Break | Outlier | Absent | BurnRate


class Interval(msgspec.Struct, frozen=True, tag="interval"):
    """At equal distances; when exactly follows from the rule's name, so that not all rules look at once."""

    length: int


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """When the clocks of the rule's zone show it: five fields, as Debian's cron reads them."""

    expression: str


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to look at, when, and when it is wrong.

    source: the name of a configured one; query: in its language; "" if the trigger brings its own.
    scope: fixed labels of all its alerts; labels: more of them, for routing; by: the columns or labels of the data
    that tell one series from another, None for all that there are.
    window: how much each look covers, up to the moment of the look; step: distance of points for sources that need
    one, 0 for theirs.
    looks, of: it fires once `looks` of the last `of` looks were wrong, 1 <= looks <= of.
    zone: an IANA name, for the calendar.
    """

    rule_id: str
    description: str = ""
    source: str
    query: str = ""
    every: Interval | Cron
    window: int
    step: int = 0
    trigger: Trigger
    looks: int = 1
    of: int = 1
    no_data: NoData = NoData.KEEP
    scope: dict[str, str] = {}
    labels: dict[str, str] = {}
    by: tuple[str, ...] | None = None
    owner: str = ""
    runbook: str = ""
    zone: str = "UTC"
    enabled: bool = True


class Slo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An objective: so large a share of the events of any `window` is good. It becomes a rule of the same name.

    Fields as in `Rule` and `BurnRate`; tiers: () for the usual ones of its window.
    """

    name: str
    description: str = ""
    objective: float
    window: int
    source: str
    good: str
    total: str
    every: Interval | Cron
    tiers: tuple[Tier, ...] = ()
    scope: dict[str, str] = {}
    labels: dict[str, str] = {}
    by: tuple[str, ...] | None = None
    owner: str = ""
    runbook: str = ""
    zone: str = "UTC"
    enabled: bool = True


class Point(NamedTuple):
    """A number at a moment."""

    at: int
    value: float


class Series(msgspec.Struct, frozen=True):
    """Points by time, the oldest first; labels: what tells it from the others of the same answer."""

    labels: dict[str, str]
    points: tuple[Point, ...]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a source. name: which of a rule's questions it is; step, zone: see `Rule`."""

    name: str
    query: str
    since: int
    until: int
    step: int = 0
    zone: str = "UTC"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at one series came to.

    severity: None if nothing is wrong.
    value: what was compared; None if there was too little data to say anything, and then `formula` says why.
    limit: the one that was passed, else the one that is nearest to being passed.
    formula: in words, with the numbers filled in; numbers: the same by name.
    """

    severity: Severity | None
    value: float | None
    limit: float | None
    formula: str
    numbers: dict[str, float] = {}
