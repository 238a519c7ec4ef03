"""Backtest: equal to a recount by hand, day by day, with its own loops and its own counting of everything."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, SECOND, a_policy
from tests.support.points import Points

from tocsin.core.model.alert import Severity
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import Policy, RateLimit
from tocsin.core.model.rule import (
    Absent,
    Cron,
    DeltaPct,
    Interval,
    Limit,
    NoData,
    Op,
    Period,
    Point,
    Reduce,
    Rule,
    Series,
    Threshold,
)
from tocsin.ports import SourceFailed
from tocsin.runtime.backtest import AWAY_MAX, LOOKS_MAX, Backtest, Backtested, backtest, moments
from tocsin.runtime.house import House
from tocsin.stores.memory import MemoryStore

BEGIN = 1_799_020_800_000_000
"""Monday, 2027-01-04, 00:00 UTC."""
DAYS = 60

WARNING, ERROR, CRITICAL = Severity.WARNING, Severity.ERROR, Severity.CRITICAL
RANK = ["info", "warning", "error", "critical"]


def a_rule(**fields: Any) -> Rule:
    given = {
        "rule_id": "orders",
        "source": "shop",
        "query": "orders",
        "every": Interval(15 * MINUTE),
        "window": 30 * MINUTE,
        "trigger": Threshold(op=Op.GT, limits=(Limit(70.0, WARNING), Limit(85.0, CRITICAL))),
    }
    return Rule(**(given | fields))


def wandering(seed: int, *, gaps: float = 0.004) -> tuple[Series, ...]:
    """Points every 5 minutes for 60 days and one before, of two hosts; now and then there are none for hours."""
    chance = random.Random(seed)
    made = []
    for host in ("db-1", "db-2"):
        value, points, silent = 50.0, [], 0
        for number in range((DAYS + 1) * 288):
            value += chance.gauss(0, 6) - (value - 50) * 0.06
            silent = silent - 1 if silent else chance.randrange(60) if chance.random() < gaps else 0
            if not silent:
                points.append(Point(BEGIN - DAY + number * 5 * MINUTE + chance.randrange(MINUTE), value))
        made.append(Series(labels={"host": host}, points=tuple(points)))
    return tuple(made)


def run(rule: Rule, source: Points, policy: Policy, days: int = DAYS) -> Backtested:
    house = House(policy, MemoryStore(), at=BEGIN, origin="tests")
    until = BEGIN + days * DAY
    return asyncio.run(backtest(rule, since=BEGIN, until=until, ask=source.ask, house=house))


# The recount. Nothing of Tocsin is in it but the rule's own fields.


@dataclass
class Scope:
    """What the recount knows of one host."""

    seen: bool = False
    last: list[bool] = field(default_factory=list)
    fires_with: str | None = None
    incident: dict[str, Any] | None = None
    greens: int = 0


def recount(rule: Rule, series: tuple[Series, ...], *, greens: int, reopen: int, days: int) -> Any:
    scopes = {one.labels["host"]: Scope() for one in series}
    points: dict[str, dict[int, list[Point]]] = {host: {} for host in scopes}
    for one in series:
        for point in one.points:
            points[one.labels["host"]].setdefault(point.at // DAY, []).append(point)
    incidents: list[dict[str, Any]] = []
    counts = {"looks": 0, "wrong": 0, "nothing": 0}
    for day in range(days):
        for at in looks_on(rule, BEGIN + day * DAY):
            wrong = said = False
            for host, scope in sorted(scopes.items()):
                kind, severity = verdict(rule, points[host], at, scope)
                if kind == "none":
                    continue
                said, wrong = True, wrong or severity is not None
                scope.last = [*scope.last, severity is not None][-rule.of :]
                if sum(scope.last) >= rule.looks:
                    scope.fires_with = severity or scope.fires_with or mildest(rule)
                    fires(scope, host, at, incidents, reopen)
                else:
                    scope.fires_with = None
                    is_green(scope, at, greens)
            counts["looks"] += 1
            counts["wrong"] += wrong
            counts["nothing"] += not said
    return incidents, counts


def looks_on(rule: Rule, midnight: int) -> Iterator[int]:
    """Give the moments of one day."""
    if isinstance(rule.every, Cron):
        minutes = int(rule.every.expression.split()[0].removeprefix("*/"))
        yield from range(midnight, midnight + DAY, minutes * MINUTE)
        return
    length = rule.every.length
    first = (
        int.from_bytes(hashlib.sha256(rule.rule_id.encode()).digest()[:8], "big") % length // SECOND * SECOND
    )
    while first < midnight:
        first += length * max(1, (midnight - first) // length)
    yield from range(first, midnight + DAY, length)


def verdict(rule: Rule, points: dict[int, list[Point]], at: int, scope: Scope) -> tuple[str, str | None]:
    """Say what one look finds: ("none" or "look", severity)."""
    near = near_to(points, at, rule.window)
    now = [point.value for point in near]
    trigger = rule.trigger
    if now:
        scope.seen = True
    elif not scope.seen:
        return "none", None
    if isinstance(trigger, Absent):
        age = (at - near[-1].at if near else rule.window) / SECOND
        return "look", worst([one.severity for one in trigger.limits if age >= one.value])
    if not now and isinstance(trigger, DeltaPct) and near_to(points, at - DAY, rule.window):
        return "none", None  # There is data, only too little.
    if not now:
        match rule.no_data:
            case "keep":
                return "none", None
            case "ok":
                return "look", None
            case _:
                return "look", mildest(rule)
    value = {"last": now[-1], "max": max(now), "min": min(now), "mean": sum(now) / len(now)}[trigger.reduce]
    if isinstance(trigger, DeltaPct):
        before = [point.value for point in near_to(points, at - DAY, rule.window)]
        if not before:
            return "none", None
        value = 100 * (value - before[-1]) / abs(before[-1])
    passed = [
        one.severity
        for one in trigger.limits
        if (value > one.value if trigger.op == "gt" else value < one.value)
    ]
    return "look", worst(passed)


def near_to(days: dict[int, list[Point]], until: int, window: int) -> list[Point]:
    """Give the points in a window of less than a day, among those of the two days that it can reach."""
    day = until // DAY
    both = [*days.get(day - 1, ()), *days.get(day, ())]
    return [point for point in both if until - window <= point.at < until]


def worst(severities: list[Any]) -> str | None:
    return max(map(str, severities), key=RANK.index, default=None)


def mildest(rule: Rule) -> str:
    return min((str(one.severity) for one in rule.trigger.limits), key=RANK.index)


def fires(scope: Scope, host: str, at: int, incidents: list[dict[str, Any]], reopen: int) -> None:
    scope.greens = 0
    one = scope.incident
    if one is not None and one["resolved_at"] and at <= one["resolved_at"] + reopen:
        one["resolved_at"] = 0
        one["reopened"] += 1
    elif one is None or one["resolved_at"]:
        one = {"opened_at": at, "resolved_at": 0, "host": host, "reopened": 0, "severity": scope.fires_with}
        scope.incident = one
        incidents.append(one)
    one["severity"] = worst([one["severity"], scope.fires_with])


def is_green(scope: Scope, at: int, needed: int) -> None:
    one = scope.incident
    if one is None or one["resolved_at"]:
        return
    scope.greens += 1
    if scope.greens == needed:
        one["resolved_at"], scope.greens = at, 0


def as_recounted(found: Backtested) -> list[dict[str, Any]]:
    return [
        {
            "opened_at": one.opened_at,
            "resolved_at": one.resolved_at,
            "host": one.scope["host"],
            "reopened": one.reopened,
            "severity": str(one.severity),
        }
        for one in found.incidents
    ]


ONE = (Limit(75.0, ERROR),)
TWO = (Limit(70.0, WARNING), Limit(85.0, CRITICAL))
LOW = (Limit(30.0, WARNING), Limit(15.0, CRITICAL))

CASES = {
    "once is enough": (a_rule(), 3, 5 * MINUTE),
    "two of three": (a_rule(looks=2, of=3), 3, 5 * MINUTE),
    "three of five, one green": (a_rule(looks=3, of=5), 1, 0),
    "comes back within hours": (a_rule(looks=2, of=2), 2, 3 * HOUR),
    "below, by the mean": (a_rule(trigger=Threshold(op=Op.LT, limits=LOW, reduce=Reduce.MEAN)), 3, HOUR),
    "the highest": (a_rule(trigger=Threshold(op=Op.GT, limits=ONE, reduce=Reduce.MAX), window=HOUR), 5, HOUR),
    "no data fires": (a_rule(no_data=NoData.FIRING, looks=2, of=4), 3, 5 * MINUTE),
    "no data is green": (a_rule(no_data=NoData.OK), 3, 5 * MINUTE),
    "by cron": (a_rule(every=Cron("*/15 * * * *"), looks=2, of=3), 3, HOUR),
    "against the day before": (
        a_rule(
            trigger=DeltaPct(op=Op.GT, limits=(Limit(60.0, WARNING), Limit(120.0, ERROR)), against=Period.DAY)
        ),
        3,
        HOUR,
    ),
    "absent": (
        a_rule(trigger=Absent(limits=(Limit(900.0, WARNING), Limit(7200.0, CRITICAL))), window=4 * HOUR),
        3,
        5 * MINUTE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_backtest_equals_a_recount_day_by_day(case: str) -> None:
    rule, greens, reopen = CASES[case]
    series = wandering(len(case))

    found = run(rule, Points("shop", series), a_policy(greens=greens, reopen_within=reopen))

    incidents, counts = recount(rule, series, greens=greens, reopen=reopen, days=DAYS)
    assert len(incidents) > 10
    assert as_recounted(found) == incidents
    assert {name: getattr(found, name) for name in counts} == counts
    assert found.failed == 0
    assert sum(found.severities.values()) == len(incidents)
    assert sum(week.incidents for week in found.weeks) == len(incidents)


def test_the_recount_sees_that_something_differs() -> None:
    series = wandering(1)
    found = run(a_rule(looks=2, of=3), Points("shop", series), a_policy(greens=3))

    assert as_recounted(found) != recount(a_rule(looks=2, of=4), series, greens=3, reopen=0, days=DAYS)[0]
    assert as_recounted(found) != recount(a_rule(looks=2, of=3), series, greens=4, reopen=0, days=DAYS)[0]


def test_going_on_day_by_day_is_the_same_as_in_one_go() -> None:
    rule, policy, source = a_rule(looks=2, of=3), a_policy(reopen_within=HOUR), Points("shop", wandering(3))

    async def by_days() -> Backtested:
        house = House(policy, MemoryStore(), at=BEGIN, origin="tests")
        test = Backtest(rule, since=BEGIN, ask=source.ask, house=house)
        for day in range(20):
            await test.go_on(BEGIN + (day + 1) * DAY)
        return test.found()

    assert asyncio.run(by_days()) == run(rule, source, policy, days=20)


def test_twice_is_the_same() -> None:
    source = Points("shop", wandering(4))

    assert run(a_rule(), source, a_policy(), days=10) == run(a_rule(), source, a_policy(), days=10)


def at_hours(*hours: float, until: int = 24 * 14) -> Points:
    """A source that is wrong for an hour from each of these hours after the beginning on."""
    points = []
    for number in range(until * 4):
        at = BEGIN + number * 15 * MINUTE - MINUTE
        hour = (at - BEGIN) / HOUR
        points.append(Point(at, 99.0 if any(one < hour < one + 1 for one in hours) else 1.0))
    return Points("shop", [Series(labels={"host": "db-1"}, points=tuple(points))])


EVERY = a_rule(every=Cron("*/15 * * * *"), window=15 * MINUTE, zone="Europe/Berlin")


def test_looks_before_there_was_any_data_are_told_apart_from_gaps() -> None:
    # Points in the first and the last hour of the second day.
    points = [Point(BEGIN + DAY + minute * MINUTE, 1.0) for minute in (*range(60), *range(23 * 60, 24 * 60))]
    source = Points("shop", [Series(labels={"host": "db-1"}, points=tuple(points))])

    found = run(EVERY, source, a_policy(), days=2)

    assert (found.looks, found.nothing, found.before) == (192, 97 + 88, 97)


def test_nights_and_weeks_are_those_of_the_rules_zone() -> None:
    # 23:00 UTC on Sunday is Monday, 00:00, in Berlin; 06:30 UTC is 07:30.
    found = run(EVERY, at_hours(6.5, 24 * 6 + 23.5), a_policy("anna", "ops@webhook"), days=14)

    assert [one.opened_at - BEGIN for one in found.incidents] == [
        6 * HOUR + 45 * MINUTE,
        167 * HOUR + 45 * MINUTE,
    ]
    assert [(one.week, one.incidents, one.notifications) for one in found.weeks] == [
        ("2027-W01", 1, 2),
        ("2027-W02", 1, 2),
        ("2027-W03", 0, 0),
    ]
    assert (found.nights.incidents, found.nights.notifications) == (1, 2)
    assert [(str(one.kind), one.incident, one.channels) for one in found.notifications] == [
        ("opened", 1, 2),
        ("resolved", 1, 2),
        ("opened", 2, 2),
        ("resolved", 2, 2),
    ]
    # Wrong in four looks, and over with the third green one.
    assert found.firing == 2 * 90 * MINUTE
    assert found.wrong == 8
    assert found.severities == {CRITICAL: 2, ERROR: 0, WARNING: 0, Severity.INFO: 0}
    assert found.incidents[0].title == "orders (host=db-1): last = 99 > 85"


def test_what_is_still_open_at_the_end_is_not_resolved() -> None:
    found = run(EVERY, at_hours(23.5), a_policy(), days=1)

    (one,) = found.incidents
    assert (one.resolved_at, one.open_for) == (0, 15 * MINUTE)
    assert found.firing == 15 * MINUTE


def test_reminders_come_as_the_policy_has_them() -> None:
    always = Points(
        "shop", [Series(labels={}, points=tuple(Point(BEGIN + n * HOUR, 99.0) for n in range(24)))]
    )
    rule = a_rule(every=Cron("30 * * * *"), window=HOUR)

    found = run(rule, always, a_policy(repeat_interval=4 * HOUR), days=1)

    assert [str(one.kind) for one in found.notifications] == ["opened", *["reminder"] * 5]
    assert [one.at - BEGIN for one in found.notifications][:2] == [30 * MINUTE, 4 * HOUR + 30 * MINUTE]


def test_the_rate_limit_withholds_and_tells_a_digest() -> None:
    flapping = tuple(
        Point(BEGIN + number * 5 * MINUTE - MINUTE, 75.0 if number % 2 else 1.0) for number in range(25)
    )
    source = Points("shop", [Series(labels={}, points=flapping)])
    rule = a_rule(every=Cron("*/5 * * * *"), window=5 * MINUTE)
    house_rules = {"greens": 1, "reopen_within": 0, "group_interval": 0}

    free = run(rule, source, a_policy(**house_rules), days=1)
    limited = run(rule, source, a_policy(rate_limit=RateLimit(limit=3), **house_rules), days=1)

    assert len(free.incidents) == len(limited.incidents) == 12
    assert len(free.notifications) == 24
    kinds = [str(one.kind) for one in limited.notifications]
    assert kinds.count("opened") == 6, "three an hour"
    assert "digest" in kinds
    assert all((one.incident == 0) is (str(one.kind) == "digest") for one in limited.notifications)


class Sometimes(Points):
    """Answers every other question."""

    async def ask(self, ask):
        self.fails = (
            SourceFailed(f"no answer {len(self.asked) % 7}", is_away=True) if len(self.asked) % 2 else None
        )
        return await super().ask(ask)


def test_a_look_that_fails_is_counted_and_changes_nothing() -> None:
    source = Sometimes("shop", at_hours(3, 6, 9).series)

    found = run(EVERY, source, a_policy(), days=1)

    assert (found.looks, found.failed) == (96, 48)
    assert len(found.failures) == 5
    assert len(found.incidents) == 3


def test_what_cannot_be_told_apart_is_a_failed_look_too() -> None:
    twice = Points("shop", [Series(labels={}, points=(Point(BEGIN, 1.0),))] * 2)

    found = run(EVERY, twice, a_policy(), days=1)

    assert (found.looks, found.failed) == (96, 96)
    assert "Two series" in found.failures[0]


def test_a_source_that_stays_away_is_not_asked_for_ever() -> None:
    source = at_hours(3)
    source.fails = SourceFailed("The source shop does not answer.", is_away=True)

    with pytest.raises(SourceFailed, match=r"does not answer\. So it was for 20 looks"):
        run(EVERY, source, a_policy(), days=14)

    assert len(source.asked) == AWAY_MAX


def test_too_many_looks_are_refused_before_the_first() -> None:
    rule = a_rule(every=Interval(SECOND))

    assert len(moments(rule, BEGIN, BEGIN + HOUR)) == 3600
    with pytest.raises(Invalid, match="Take a shorter one"):
        moments(rule, BEGIN, BEGIN + (LOOKS_MAX + 1) * SECOND)


def test_progress_ends_with_all_looks() -> None:
    seen: list[tuple[int, int]] = []
    house = House(a_policy(), MemoryStore(), at=BEGIN, origin="tests")
    made = backtest(
        EVERY,
        since=BEGIN,
        until=BEGIN + 2 * DAY,
        ask=at_hours(1).ask,
        house=house,
        on_progress=lambda *done: seen.append(done),
    )

    asyncio.run(made)

    assert seen == [(0, 192), (100, 192), (192, 192)]
