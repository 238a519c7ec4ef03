"""When rules look: at moments that their names and their zones decide, and never all at once."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.rules import a_rule

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND
from tocsin.core.model.rule import Cron, Interval
from tocsin.core.rules import schedule

NOON = 1_800_000_000_000_000 // DAY * DAY + 12 * HOUR


def instant(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * SECOND


def shown(at: int, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(at // SECOND, tz=UTC).astimezone(ZoneInfo(zone)).isoformat()


@given(st.integers(SECOND, 40 * DAY), st.integers(0, 2**52), st.text("abc", min_size=1))
def test_an_interval_has_one_moment_in_each_of_its_lengths(length: int, after: int, name: str) -> None:
    rule = a_rule(rule_id=name, every=Interval(length))

    due = schedule.next_due(rule, after)

    assert after < due <= after + length
    assert schedule.next_due(rule, due) == due + length
    assert schedule.last_due(rule, due) == due
    assert schedule.last_due(rule, due + length - 1) == due
    assert schedule.last_due(rule, due - 1) == due - length


def test_a_thousand_rules_of_a_minute_are_spread_over_it() -> None:
    dues = [schedule.next_due(a_rule(rule_id=f"rule-{n}", every=Interval(MINUTE)), NOON) for n in range(1000)]

    seconds = [(due - NOON) % MINUTE // SECOND for due in dues]

    assert max(seconds.count(second) for second in range(60)) < 40
    assert len(set(seconds)) == 60


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("0 8 * * 1-5", "Europe/Berlin", "2026-11-27T08:00:00", "2026-11-30T08:00:00+01:00"),
        ("0 8 * * 1-5", "Europe/Berlin", "2026-11-27T07:59:59", "2026-11-27T08:00:00+01:00"),
        ("*/15 * * * *", "UTC", "2026-11-27T08:00:01", "2026-11-27T08:15:00+00:00"),
        ("0 0 29 2 *", "UTC", "2026-11-27T08:00:00", "2028-02-29T00:00:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00", "2027-03-28T03:00:00+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00", "2027-10-31T02:30:00+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-10-31T02:30:00", "2027-11-01T02:30:00+01:00"),
    ],
)
def test_cron_expressions_follow_the_clocks_of_the_zone(
    expression: str, zone: str, after: str, expected: str
) -> None:
    rule = a_rule(every=Cron(expression), zone=zone)

    due = schedule.next_due(rule, instant(after, zone))

    assert shown(due, zone) == expected
    assert schedule.last_due(rule, due) == due
    assert schedule.last_due(rule, due + 10 * MINUTE) == due


@pytest.mark.parametrize("wrong", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "a b c d e"])
def test_what_is_no_cron_expression_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        schedule.check_cron(wrong, "UTC")


@pytest.mark.parametrize("never", ["0 8 31 2 *", "0 8 30 2 *", "0 0 31 4,6 *"])
def test_a_day_that_its_months_never_have_is_said_to_be_that(never: str) -> None:
    with pytest.raises(Invalid, match="never comes true"):
        schedule.check_cron(never, "UTC")


@pytest.mark.parametrize("wrong", ["0 8 32 2 *", "0 8 31 13 *", "0 25 31 2 *"])
def test_what_is_no_day_or_month_is_not_called_one_that_never_comes(wrong: str) -> None:
    with pytest.raises(Invalid, match="is no cron expression"):
        schedule.check_cron(wrong, "UTC")


def test_a_sound_cron_expression_is_taken() -> None:
    schedule.check_cron("0 8 * * 1-5", "Europe/Berlin")


def test_after_a_pause_the_last_look_that_was_missed_is_made_up_for_once() -> None:
    daily = a_rule(every=Cron("0 8 * * *"))
    eight, ten = NOON - 4 * HOUR, NOON - 2 * HOUR

    assert schedule.due_after_pause(daily, eight - 5 * DAY, ten) == eight
    assert schedule.due_after_pause(daily, eight, ten) == eight + DAY


def test_after_a_pause_nothing_is_made_up_for_if_the_next_look_is_near() -> None:
    rule = a_rule(every=Interval(MINUTE))
    following = schedule.next_due(rule, NOON)

    assert schedule.due_after_pause(rule, following - 100 * MINUTE, NOON) == following


def test_a_rule_that_never_looked_looks_for_its_last_moment_unless_that_is_long_ago() -> None:
    assert schedule.due_after_pause(a_rule(every=Cron("0 8 * * *")), 0, NOON) == NOON - 4 * HOUR
    leap = a_rule(every=Cron("0 0 29 2 *"))
    assert schedule.due_after_pause(leap, 0, NOON) == schedule.next_due(leap, NOON)
    soon = a_rule(every=Interval(MINUTE))
    assert schedule.due_after_pause(soon, 0, NOON) == schedule.next_due(soon, NOON)


def test_looks_that_are_made_up_for_do_not_begin_all_at_once() -> None:
    rules = [a_rule(rule_id=f"rule-{n}", every=Cron("0 8 * * *")) for n in range(300)]
    eight = NOON - 4 * HOUR

    begins = [schedule.begins_at(rule, eight, NOON) for rule in rules]

    assert len(set(begins)) > 290
    assert all(NOON <= begin < NOON + schedule.SPREAD_MAX for begin in begins)


def test_an_interval_in_time_begins_exactly_then() -> None:
    rule = a_rule(every=Interval(MINUTE))
    due = schedule.next_due(rule, NOON)

    assert schedule.begins_at(rule, due, NOON) == due
