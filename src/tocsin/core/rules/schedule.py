"""Schedule: when a rule looks. The same rule looks at the same moments on every node and after every restart.

An interval begins at a moment that follows from the rule's name, so that a thousand rules do not look at once. A cron
expression is read as Debian's cron does: what a zone skips in spring is made up for at once, what comes twice in autumn
happens once.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, MINUTE, SECOND
from tocsin.core.model.rule import Cron, Interval, Rule

LATE_MIN = 5 * MINUTE
"""A look that was missed is made up for if the next one is further away than this."""

FIRST_MAX = DAY
"""A rule that never looked looks at once, for its last moment, unless that is longer ago than this."""

SPREAD_MAX = 30 * SECOND
"""Looks that are made up for, and those of cron expressions, begin within so long."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_cron(expression: str, zone: str) -> None:
    """Refuse what is no cron expression, or one that never comes true. Raises: Invalid."""
    if len(expression.split()) != 5:
        raise Invalid(
            f"{expression[:60]!r} has not five fields. Write minute, hour, day, month and day of the week, "
            "such as 0 8 * * 1-5."
        )
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    minute, hour, day, month, weekday = expression.split()
    try:
        following = next(CronSim(expression, start), None)
    except CronSimError as error:
        try:
            CronSim(f"{minute} {hour} {day} * {weekday}", start)
            CronSim(f"{minute} {hour} 1 {month} {weekday}", start)
        except CronSimError:
            raise Invalid(f"{expression[:60]!r} is no cron expression: {error}.") from None
        following = None  # Day and month are right, each by itself: this month never has that day.
    if following is None:
        raise Invalid(f"{expression[:60]!r} never comes true. Give a day that the month has.")


def next_due(rule: Rule, after: int) -> int:
    """Give the first moment later than `after` for which a rule looks."""
    match rule.every:
        case Interval(length):
            phase = _phase(rule, length)
            return after - (after - phase) % length + length
        case Cron(expression):
            return _instant(next(CronSim(expression, _moment(after, rule.zone))))


def last_due(rule: Rule, until: int) -> int:
    """Give the last moment, not later than `until`, for which a rule looks."""
    match rule.every:
        case Interval(length):
            phase = _phase(rule, length)
            return until - (until - phase) % length
        case Cron(expression):
            # It gives what lies before its start, to the second.
            start = _moment(until, rule.zone)
            return _instant(next(CronSim(expression, start + timedelta(seconds=1), reverse=True)))


def due_after_pause(rule: Rule, done: int, now: int) -> int:
    """Give the moment to look for next. done: the one that was looked for last, 0 for none.

    Of the looks that were missed meanwhile the last one is made up for, unless the next one is near; so a pause is not
    followed by a burst. A rule that never looked has missed its last look, too, if that is not long ago.
    """
    following = next_due(rule, now)
    missed = last_due(rule, now)
    if not done and now - missed > FIRST_MAX:
        return following
    return missed if missed > done and following - now > LATE_MIN else following


def begins_at(rule: Rule, due: int, now: int) -> int:
    """Give the moment at which the look for `due` begins: then, or within a short while, as the rule's name decides."""
    if isinstance(rule.every, Interval) and due >= now:
        return due
    return max(due, now) + _digest(rule.rule_id) % SPREAD_MAX


def _phase(rule: Rule, length: int) -> int:
    """Give when in its interval a rule looks, in whole seconds."""
    return _digest(rule.rule_id) % length // SECOND * SECOND


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _moment(at: int, zone: str) -> datetime:
    return (_EPOCH + timedelta(seconds=at // SECOND)).astimezone(ZoneInfo(zone))


def _instant(moment: datetime) -> int:
    delta = moment.astimezone(UTC) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND
