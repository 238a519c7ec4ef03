"""Maintenance: windows that come back, by the wall clock of a zone, and the silences that they make."""

from datetime import UTC, date, datetime, timedelta
from time import perf_counter
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders import DAY, HOUR, MINUTE, NINE, a_policy
from tests.support.world import World

from tocsin.core.engine import maintenance
from tocsin.core.model import event as ev
from tocsin.core.model.errors import Invalid, NotFound
from tocsin.core.model.input import MaintenanceCut, MaintenanceRequested
from tocsin.core.model.silence import Maintenance


def a_maintenance(rrule: str, *, zone: str = "Europe/Berlin", begins: str, minutes: int = 60) -> Maintenance:
    return Maintenance(
        number=1,
        id="m",
        matchers=(),
        rrule=rrule,
        zone=zone,
        begins=begins,
        lasting=minutes * MINUTE,
        created_by="anna",
    )


def a_world() -> World:
    return World(a_policy())


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def starts(wanted: Maintenance, after: str, count: int) -> list[str]:
    found = maintenance.windows(wanted, utc(after), count)
    return [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).isoformat()[:16] for at, _ in found
    ]


@pytest.mark.parametrize(
    ("rrule", "zone", "begins", "after", "expected"),
    [
        # Berlin's clocks jump from 02:00 to 03:00 on 2026-03-29: 02:30 is taken as 03:30, which is 01:30 UTC.
        ("FREQ=DAILY", "Europe/Berlin", "2026-03-27T02:30", "2026-03-28T00:00", ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]),
        # They show 02:30 twice on 2026-10-25: the first time counts.
        ("FREQ=DAILY", "Europe/Berlin", "2026-10-24T02:30", "2026-10-24T00:00", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),
        ("FREQ=WEEKLY;BYDAY=SU", "UTC", "2026-03-01T02:00", "2026-11-01T00:00", ["2026-11-01T02:00", "2026-11-08T02:00"]),
        ("FREQ=MONTHLY;BYDAY=1SU", "America/New_York", "2026-03-01T02:00", "2026-10-30T00:00", ["2026-11-01T07:00", "2026-12-06T07:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", "UTC", "2026-01-31T12:00", "2026-01-31T14:00", ["2026-03-31T12:00", "2026-05-31T12:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "UTC", "2024-02-29T00:00", "2024-03-01T12:00", ["2028-02-29T00:00"]),
        ("FREQ=DAILY;COUNT=3", "UTC", "2026-03-01T02:00", "2026-03-02T12:00", ["2026-03-03T02:00"]),
        ("FREQ=DAILY;UNTIL=20260302", "UTC", "2026-03-01T02:00", "2026-03-01T12:00", ["2026-03-02T02:00"]),
        # An end in UTC is an end by the zone's clocks: 23:00Z on the 1st is 00:00 on the 2nd in Berlin.
        ("FREQ=DAILY;UNTIL=20260301T230000Z", "Europe/Berlin", "2026-03-01T00:00", "2026-02-01T00:00", ["2026-02-28T23:00", "2026-03-01T23:00"]),
        # Kathmandu is 5 h 45 min ahead.
        ("FREQ=WEEKLY;BYDAY=MO,FR", "Asia/Kathmandu", "2026-03-02T06:00", "2026-03-02T00:00", ["2026-03-02T00:15", "2026-03-06T00:15"]),
    ],
)  # fmt: skip
def test_windows_open_by_the_clock_of_their_zone(rrule, zone, begins, after, expected):
    wanted = a_maintenance(rrule, zone=zone, begins=begins)
    maintenance.check(wanted)

    assert (
        starts(wanted, after, len(expected) if "COUNT" not in rrule and "UNTIL" not in rrule else 9)
        == expected
    )


@hypothesis.settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(("FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;BYDAY=TU,SA", "FREQ=MONTHLY;BYMONTHDAY=-1")),
    st.sampled_from(("Europe/Berlin", "America/St_Johns", "Pacific/Auckland", "UTC")),
    st.integers(0, 2 * 365 * 24 * 60),
    st.integers(1, 3 * 24 * 60),
)
def test_moving_the_question_never_changes_the_answer(rrule, zone, minute, lasting):
    wanted = a_maintenance(rrule, zone=zone, begins="2026-01-01T01:30", minutes=lasting)
    after = utc("2026-01-01T00:00") + minute * MINUTE

    some = maintenance.windows(wanted, after, 4)

    assert some == sorted(some)
    assert all(ends_at - starts_at == wanted.lasting and ends_at > after for starts_at, ends_at in some)
    later = maintenance.windows(wanted, some[0][1], 3)
    assert [window for window in some if window[1] > some[0][1]][:3] == later[: len(some) - 1][:3]
    for starts_at, _ in some:
        wall = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=starts_at)).astimezone(
            ZoneInfo(zone)
        )
        assert (wall.hour, wall.minute) in ((1, 30), (2, 30))  # the second where 01:30 is skipped


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("rrule", {"rrule": "FREQ=SECONDLY"}),
        ("rrule", {"rrule": "FREQ=HOURLY;INTERVAL=1"}),
        ("rrule", {"rrule": "INTERVAL=1"}),
        ("rrule", {"rrule": ""}),
        ("rrule", {"rrule": "every sunday"}),
        ("rrule", {"rrule": "FREQ=DAILY;BYSECOND=1"}),
        ("rrule", {"rrule": "FREQ=DAILY;FREQ=DAILY"}),
        ("rrule", {"rrule": "FREQ=DAILY;COUNT=0"}),
        ("rrule", {"rrule": "FREQ=DAILY;COUNT=3;UNTIL=20300101"}),
        ("rrule", {"rrule": "FREQ=DAILY;INTERVAL=-1"}),
        ("rrule", {"rrule": "FREQ=DAILY;BYDAY=XX"}),
        ("rrule", {"rrule": "FREQ=DAILY;UNTIL=soon"}),
        ("rrule", {"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}),
        ("rrule", {"rrule": "FREQ=YEARLY;" + "BYMONTHDAY=1;" * 50}),
        ("rrule", {"rrule": "FREQ=DAILY;UNTIL=20200101"}),
        ("zone", {"zone": "Mars/Olympus"}),
        ("zone", {"zone": "../../etc/passwd"}),
        ("zone", {"zone": ""}),
        ("begins", {"begins": "tomorrow"}),
        ("begins", {"begins": "2026-03-01T02:00+01:00"}),
        ("begins", {"begins": "0001-01-01T00:00"}),
        ("minutes", {"lasting": 0}),
        ("minutes", {"lasting": 32 * DAY}),
    ],
)
def test_what_is_no_maintenance_is_refused_and_changes_nothing(field, changed):
    world = a_world()
    wanted = {
        "matchers": (),
        "rrule": "FREQ=DAILY",
        "zone": "UTC",
        "begins": "2026-03-01T02:00",
        "lasting": HOUR,
    }

    with pytest.raises(Invalid) as refused:
        world.feed(MaintenanceRequested(**(wanted | changed), forced=True))

    assert refused.value.field == field
    assert world.state.maintenances == {}


def test_each_window_is_a_silence_and_what_still_fires_at_its_end_is_told():
    world = a_world()
    world.maintain("rule_id=disk", begins="2027-01-15T09:30", lasting=HOUR)
    world.wait(45 * MINUTE)

    world.fire("disk")
    assert world.told() == []
    world.wait(HOUR)

    assert world.told() == ["opened"]
    assert world.sent[0].at == NINE + 90 * MINUTE
    world.until(NINE + DAY + 31 * MINUTE)
    created = world.events(ev.SilenceCreated)
    assert [(e.starts_at - NINE, e.ends_at - NINE, e.maintenance) for e in created] == [
        (30 * MINUTE, 90 * MINUTE, 1),
        (DAY + 30 * MINUTE, DAY + 90 * MINUTE, 1),
    ]


def test_one_that_is_asked_for_inside_its_window_begins_at_once_and_ends_with_it():
    world = a_world()

    world.maintain(begins="2027-01-15T08:30", lasting=HOUR)

    (created,) = world.events(ev.SilenceCreated)
    assert (created.starts_at, created.ends_at) == (world.at, NINE + 30 * MINUTE)
    assert world.state.maintenances[1].next_at == NINE - 30 * MINUTE + DAY


def test_a_window_that_was_missed_makes_no_silence_and_the_next_one_does():
    world = a_world()
    world.maintain(begins="2027-01-15T10:00", lasting=HOUR)

    world.jump(5 * HOUR)

    assert world.events(ev.SilenceCreated) == []
    (moved,) = world.events(ev.MaintenanceMoved)
    assert (moved.next_at, moved.because) == (NINE + HOUR + DAY, "its window was missed")


def test_windows_that_overlap_are_one_silence_as_long_as_the_latest():
    world = a_world()
    world.maintain(begins="2027-01-10T09:30", lasting=25 * HOUR)
    (first,) = world.events(ev.SilenceCreated)
    assert first.ends_at == NINE + 90 * MINUTE

    world.wait(HOUR)

    created = world.events(ev.SilenceCreated)
    assert [e.ends_at for e in created] == [NINE + 90 * MINUTE, NINE + 30 * MINUTE + 25 * HOUR]


def test_one_that_has_no_further_window_is_over():
    world = a_world()
    world.maintain(rrule="FREQ=DAILY;COUNT=2", begins="2027-01-15T09:30", lasting=MINUTE)

    world.wait(3 * DAY)

    assert len(world.events(ev.SilenceCreated)) == 2
    assert world.state.maintenances == {}
    assert [e.because for e in world.events(ev.MaintenanceEnded)] == ["it has no further window"]


def test_whoever_ends_a_maintenance_ends_the_silence_that_it_made():
    world = a_world()
    world.maintain(begins="2027-01-15T08:30", lasting=HOUR)
    world.fire("disk")
    before = len(world.sent)

    world.feed(MaintenanceCut(maintenance=1))

    assert world.state.silences == {}
    assert len(world.sent) == before + 1
    world.wait(2 * DAY)
    assert len(world.events(ev.SilenceCreated)) == 1
    with pytest.raises(NotFound):
        world.feed(MaintenanceCut(maintenance=1))


@hypothesis.settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(
        (
            "FREQ=DAILY", "FREQ=DAILY;INTERVAL=17", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,SU",
            "FREQ=WEEKLY;WKST=SU;INTERVAL=2;BYDAY=SA,SU", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;BYMONTHDAY=31",
            "FREQ=YEARLY;BYWEEKNO=53", "FREQ=YEARLY;BYYEARDAY=366", "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", "FREQ=DAILY;COUNT=700",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "FREQ=DAILY;INTERVAL=5;UNTIL=20280229", "FREQ=WEEKLY;UNTIL=20280101T013000Z",
        )
    ),
    st.dates(date(2001, 1, 1), date(2026, 12, 31)),
)  # fmt: skip
def test_windows_are_those_of_the_calendar_as_it_is(rrule, day):
    wanted = a_maintenance(rrule, zone="UTC", begins=f"{day}T01:30")
    limit = datetime(2031, 12, 30)

    found = maintenance.windows(wanted, utc("2026-12-31T02:30"), 4)

    plain = rrulestr(rrule, dtstart=datetime.fromisoformat(f"{day}T01:30"), ignoretz=True)
    walls = plain.xafter(datetime(2026, 12, 31, 1, 31), count=4, inc=True)
    expected = [utc(wall.isoformat()) for wall in walls if wall < limit]
    assert [starts_at for starts_at, _ in found if starts_at < utc(limit.isoformat())] == expected


def test_a_rule_that_never_comes_true_is_refused_before_others_wait_for_it():
    began = perf_counter()

    with pytest.raises(Invalid, match="no window within five years"):
        maintenance.check(a_maintenance("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", begins="2026-03-01T02:00"))
    assert perf_counter() - began < 2, "to the year 9999 it would be 5 s and more"
