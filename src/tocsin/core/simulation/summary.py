"""Summary: a period that was decided again, as a report."""

from array import array
from collections.abc import Callable, Iterable, Sequence

from tocsin.core.engine.route import Plan
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND, RateLimit
from tocsin.core.simulation.comparison import Comparison, is_other
from tocsin.core.simulation.course import Course, Decision, Opening
from tocsin.core.simulation.critical import Late
from tocsin.core.simulation.hours import NIGHT
from tocsin.core.simulation.period import DRIFT_TOLERANCE, Period
from tocsin.core.simulation.report import (
    ASSUMPTIONS,
    VERSION,
    Compared,
    Count,
    CriticalLate,
    IncidentDifference,
    LeftOut,
    Numbers,
    Person,
    Report,
    Side,
    Wait,
    Waits,
)

Of = Callable[[Course], int]


def summarise(period: Period, *, since: int, until: int, zone: str) -> Report:
    """Make the report."""
    targets = {**period.ahead.targets, **{target.id: target for target in period.policy.targets}}
    words = _Words(period, targets)
    nothing, conflicts = (
        Count(recorded=0, again=again, candidate=candidate)
        for again, candidate in zip(
            *((people.nothing, people.conflicts) for people in period.people), strict=True
        )
    )
    return Report(
        version=VERSION,
        since=since,
        until=until,
        zone=zone,
        inputs=dict(sorted({"alerts": period.alerts, "repeats": period.repeats, **period.inputs}.items())),
        assumptions=ASSUMPTIONS,
        left_out=LeftOut(
            erased=period.erased, nothing=nothing, conflicts=conflicts, deliveries=period.deliveries
        ),
        numbers=_numbers(_courses(period), targets),
        drift=_compared(period.drift, words, tolerance=DRIFT_TOLERANCE, is_drift=True),
        effect=_compared(period.effect, words, tolerance=0, is_drift=False),
        critical=tuple(_critical(late, words) for late in period.watch.late),
    )


def _courses(period: Period) -> tuple[Course, Course, Course]:
    return period.recorded, period.again.course, period.candidate.course


def _numbers(courses: tuple[Course, Course, Course], targets: dict[str, Target]) -> Numbers:
    def count(of: Of) -> Count:
        recorded, again, candidate = map(of, courses)
        return Count(recorded=recorded, again=again, candidate=candidate)

    def by_name(tables: Iterable[dict[str, int]]) -> dict[str, Count]:
        three = list(tables)
        names = sorted({name: None for table in three for name in table})
        counts = ([table.get(name, 0) for table in three] for name in names)
        return {
            name: Count(recorded=one[0], again=one[1], candidate=one[2])
            for name, one in zip(names, counts, strict=True)
        }

    def nights(course: Course, target: str) -> int:
        hours = course.hours.get(target)
        return sum(hours[hour] for hour in NIGHT) if hours else 0

    def person(target: str) -> Person:
        known = targets.get(target)
        channel = next((c.channels[target] for c in courses if target in c.channels), "")
        return Person(
            target=target,
            channel=channel,
            address=known.address if known is not None else "",
            notifications=count(lambda course: sum(course.hours.get(target, ()))),
            nights=count(lambda course: nights(course, target)),
        )

    told = {target: None for course in courses for target in course.hours}
    people = [person(target) for target in told]
    people.sort(key=lambda one: (one.channel, one.address, one.target))
    return Numbers(
        opened=count(lambda course: course.opened),
        reopened=count(lambda course: course.reopened),
        resolved_by_itself=count(lambda course: course.resolved_by_itself),
        resolved_by_hand=count(lambda course: course.resolved_by_hand),
        kinds=by_name(course.kinds for course in courses),
        channels=by_name(_channels(course) for course in courses),
        people=tuple(people),
        hours=tuple(
            count(lambda course, hour=hour: sum(hours[hour] for hours in course.hours.values()))  # type: ignore[misc]
            for hour in range(24)
        ),
        nights=count(lambda course: sum(nights(course, target) for target in course.hours)),
        withheld=by_name(course.withheld for course in courses),
        merged=count(lambda course: course.merged),
        first_notification=Waits(
            recorded=_wait(courses[0]), again=_wait(courses[1]), candidate=_wait(courses[2])
        ),
    )


def _channels(course: Course) -> dict[str, int]:
    found: dict[str, int] = {}
    for target, hours in course.hours.items():
        channel = course.channels[target]
        found[channel] = found.get(channel, 0) + sum(hours)
    return found


def _wait(course: Course) -> Wait:
    waits = array("q", sorted(course.waits))
    return Wait(
        told=len(waits),
        untold=course.opened + course.reopened - len(waits),
        p50=_rank(waits, 50),
        p90=_rank(waits, 90),
    )


def _rank(ordered: Sequence[int], percent: int) -> int | None:
    """Give the smallest value that so many percent of all are not above (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


_CAUSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("told reminder", ("repeat_interval", "targets")),
    ("told resolved", ("send_resolved", "targets", "group_interval")),
    ("told", ("group_wait", "group_interval", "targets", "group_by")),
    ("withheld", ("group_wait", "group_interval", "repeat_interval", "group_by")),
    ("unacknowledged", ("ack_timeout",)),
    ("resolved", ("resolve_timeout", "greens", "group_by")),
    ("opened", ("group_by", "reopen_within", "resolve_timeout", "greens")),
    ("reopened", ("group_by", "reopen_within", "resolve_timeout", "greens")),
)
"""What was decided (its beginning) -> the settings that may have made it so, or made it come when it did."""


class _Words:
    """Says what differs in the rules, in words."""

    def __init__(self, period: Period, targets: dict[str, Target]) -> None:
        self._targets = targets
        self._plans = period.again.state.plans, period.candidate.state.plans

    def settings(
        self, before: Opening | None, after: Opening | None, decisions: Iterable[Decision | None]
    ) -> tuple[str, ...]:
        """Give what differs between the rules that two openings fell under.

        decisions: the first ones that are not the same; settings that have nothing to do with them are left out, unless
        no others differ.
        """
        whats = [decision[1] for decision in decisions if decision is not None]
        found = self._differing(before, after)
        likely = [
            name
            for what in whats
            for begin, names in _CAUSES
            if what.startswith(begin)
            for name in (*names, "route")
        ]
        told = [words for name, words in found if name in likely] or [words for _, words in found]
        limits = [_limit(plans.policy.rate_limit) for plans in self._plans]
        if limits[0] != limits[1] and any("rate_limited" in what or "digest" in what for what in whats):
            told.insert(0, f"rate_limit: {limits[0]} -> {limits[1]}")
        return tuple(told)

    def _differing(self, before: Opening | None, after: Opening | None) -> list[tuple[str, str]]:
        """Give the settings that differ, by name, in words. One that is not there is judged by the route's name."""
        one = before.plan if before is not None else None
        other = after.plan if after is not None else None
        if one is None and other is not None:
            one = self._plans[0].by_name.get(other.name)
        elif other is None and one is not None:
            other = self._plans[1].by_name.get(one.name)
        if one is None or other is None:
            gone = one or other
            return [("route", f"route {gone.name}: only in one of the policies")] if gone is not None else []
        found = [] if one.name == other.name else [("route", f"route: {one.name} -> {other.name}")]
        for field in Plan.__struct_fields__:
            was, now = self._setting(field, one), self._setting(field, other)
            if field not in ("name", "policy") and was != now:
                found.append((field, f"{field}: {was} -> {now}"))
        return found

    def _setting(self, field: str, plan: Plan) -> str:
        value = getattr(plan, field)
        if field == "targets":
            return ", ".join(self.target(target.id) for target in value) or "nobody"
        if field == "group_by":
            return ", ".join(value) or "nothing"
        if field in ("name", "policy", "greens", "send_resolved"):
            return str(value).lower()
        return span(value)

    def target(self, id_: str) -> str:
        """Name a target: its channel, and its address where that is known and says more."""
        known = self._targets.get(id_)
        if known is None:
            return id_
        return known.channel if known.address in ("", known.channel) else f"{known.channel} {known.address}"

    def what(self, decision: Decision) -> str:
        """Say what was decided."""
        _, what, who, _ = decision
        return f"{what} ({', '.join(map(self.target, who))})" if who else what


def _limit(limit: RateLimit | None) -> str:
    return "none" if limit is None else f"{limit.limit} in {span(limit.window)}"


def span(length: int) -> str:
    """Write a length of time in its two largest units: `1d 4h`, `90s` as `1m 30s`, `0s`."""
    parts = []
    for name, unit in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1000)):
        count, length = divmod(length, unit)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2]) or "0s"


def _compared(comparison: Comparison, words: _Words, *, tolerance: int, is_drift: bool) -> Compared:
    return Compared(
        same=comparison.same,
        differing=comparison.differing,
        only_before=comparison.only_earlier,
        only_after=comparison.only_later,
        left_out=comparison.left_out,
        differences=tuple(
            _difference(before, after, words, tolerance=tolerance, is_drift=is_drift)
            for before, after in comparison.kept()
        ),
    )


def _difference(
    before: Opening | None, after: Opening | None, words: _Words, *, tolerance: int, is_drift: bool
) -> IncidentDifference:
    one = before or after
    assert one is not None
    firsts = _first_others(before, after, tolerance)
    named = [side for side in (before, after) if side is not None and side.labels]
    if is_drift:
        recorded = before.number if before is not None else 0
    else:
        recorded = before.recorded if before is not None else 0
    return IncidentDifference(
        recorded=recorded,
        rule_id=one.rule_id,
        labels=named[0].labels if named else {},
        severity=one.severity,
        before=_side(before, firsts[0], words),
        after=_side(after, firsts[1], words),
        settings=() if is_drift else words.settings(before, after, firsts),
    )


def _first_others(
    before: Opening | None, after: Opening | None, tolerance: int
) -> tuple[Decision | None, Decision | None]:
    """Find the first decisions that are not the same."""
    one = before.decisions if before is not None else []
    other = after.decisions if after is not None else []
    for position in range(max(len(one), len(other))):
        left = one[position] if position < len(one) else None
        right = other[position] if position < len(other) else None
        if left is None or right is None or is_other(left, right, tolerance):
            return left, right
    return None, None


def _side(opening: Opening | None, first: Decision | None, words: _Words) -> Side | None:
    if opening is None:
        return None
    return Side(
        number=opening.number,
        route=opening.route,
        opened_at=opening.opened_at,
        resolved_at=opening.resolved_at,
        alerts=len(opening.alerts),
        told=sum(what.startswith("told") for _, what, _, _ in opening.decisions),
        at=first[0] if first is not None else 0,
        what=words.what(first) if first is not None else "",
        because=first[3] if first is not None else "",
    )


def _critical(late: Late, words: _Words) -> CriticalLate:
    opening, there = late.first.opening, late.there
    reasons: list[str] = []
    if there is not None:
        begun = min(late.first.alerts.values(), default=0)
        withheld = [one for one in there.decisions if one[1].startswith("withheld") and one[0] >= begun]
        if withheld:
            reasons.append(f"{withheld[0][1]}, because {withheld[0][3]}")
        if there.plan is not None and not there.plan.targets:
            reasons.append(f"its route {there.plan.name} tells nobody")
        decisions = withheld[:1] or [(late.at, "told", (), "")]
        reasons += words.settings(opening, there, decisions)
    return CriticalLate(
        recorded=opening.recorded,
        rule_id=opening.rule_id,
        labels=opening.labels,
        opened_at=opening.opened_at,
        told_at=late.first.at,
        late_at=late.at,
        because="; ".join(reasons),
    )
