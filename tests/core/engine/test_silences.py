"""Silences withhold what would be told, never what is recorded; when they end, what is still true is told."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, NINE, a_matcher, a_policy, a_route
from tests.support.world import World

from tocsin.core.engine import state as live
from tocsin.core.model import event as ev
from tocsin.core.model.errors import Invalid, NotFound
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import SilenceRequested
from tocsin.core.model.policy import RateLimit


def a_world(*targets, **root) -> World:
    return World(a_policy(*targets, **root))


def test_a_silence_withholds_once_and_records_all():
    world = a_world(repeat_interval=DAY)
    world.silence(lasting=12 * HOUR)

    world.fire()
    for _ in range(3):
        world.wait(HOUR)
        world.fire()

    assert world.told() == []
    assert world.withheld() == [("opened", "suppressed")]
    assert world.incident().firing == 1


def test_what_fires_under_a_silence_is_told_the_moment_it_ends():
    world = a_world()
    world.silence(lasting=HOUR)
    world.fire()

    world.wait(HOUR - 1)
    assert world.told() == []

    world.wait(1)
    assert world.told() == ["opened"]
    world.wait(HOUR)
    assert world.told() == ["opened"]


def test_what_was_told_before_is_not_told_again_when_a_silence_ends():
    world = a_world("anna", "ben@webhook")
    world.fire()
    world.silence(lasting=HOUR)

    world.wait(2 * HOUR)

    assert world.told() == ["opened", "opened"]


def test_a_silence_that_hid_nothing_leaves_no_entry_in_an_incident():
    world = a_world()
    world.fire()
    world.silence(lasting=HOUR)
    entries = len(world.entries)

    world.wait(HOUR)

    assert [entry.draft.kind for entry in world.entries[entries:]] == ["due_silence_end"]


def test_a_silence_in_the_future_begins_in_its_time():
    world = a_world()
    world.silence(after=HOUR, lasting=HOUR)
    world.fire("disk", host="a")
    world.wait(HOUR)
    world.fire("disk", host="b")

    assert world.told() == ["opened"]
    assert world.withheld() == [("opened", "suppressed")]
    (began,) = world.events(ev.SilenceBegan)
    assert began.covers == 1


def test_a_silence_acts_from_its_begin_to_before_its_end():
    world = a_world()
    world.silence(after=HOUR, lasting=HOUR)

    told = []
    for at in (NINE + HOUR - 1, NINE + HOUR, NINE + 2 * HOUR - 1, NINE + 2 * HOUR):
        world.until(at)
        world.fire(host=str(at))
        told.append([s.incident for s in world.sent if s.at == at])

    assert told == [[1], [], [], [2, 3, 4]]


def test_a_silence_that_is_cut_gives_back_at_once_and_names_its_cause():
    world = a_world()
    world.silence()
    world.fire(host="a")
    world.fire(host="b")
    entries = len(world.entries)

    world.cut()

    assert world.told() == ["opened", "opened"]
    drafts = [entry.draft for entry in world.entries[entries:] if entry.draft.kind != "outcome"]
    assert [(d.kind, d.incident, d.follows) for d in drafts] == [
        ("silence", 0, False),
        ("due_flush", 1, True),
        ("due_flush", 2, True),
    ]
    with pytest.raises(NotFound):
        world.cut()
    world.wait(2 * HOUR)
    assert len(world.events(ev.SilenceEnded)) == 1


def test_a_silence_that_is_cut_before_it_begins_never_does():
    world = a_world()
    world.silence(after=HOUR)
    world.cut()
    world.wait(3 * HOUR)

    assert world.events(ev.SilenceBegan) == []


def test_the_last_of_overlapping_silences_gives_back():
    world = a_world()
    world.fire(host="z")
    world.silence("rule_id=disk", lasting=HOUR)
    world.fire(host="a")
    world.silence("host=a", lasting=2 * HOUR)

    world.wait(HOUR)
    assert [s.incident for s in world.sent] == [1]
    assert world.incident(2).silenced == 1

    world.wait(HOUR)
    assert [s.incident for s in world.sent] == [1, 2]


def test_the_end_of_an_incident_under_a_silence_is_told_after_it():
    world = a_world()
    world.fire()
    world.silence()

    world.clear()
    assert world.told() == ["opened"]
    assert world.withheld() == [("resolved", "suppressed")]

    world.cut()
    assert world.told() == ["opened", "resolved"]
    world.wait(HOUR)
    assert world.state.incidents == {}


def test_what_somebody_resolved_under_a_silence_is_told_after_it():
    world = a_world()
    world.fire()
    world.silence()
    world.act("resolve")
    assert world.told() == ["opened"]

    world.cut()

    assert world.told() == ["opened", "resolved"]


def test_what_began_and_ended_under_a_silence_is_never_told():
    world = a_world()
    world.silence()
    world.fire()
    world.clear()

    world.wait(DAY)

    assert world.told() == []
    assert world.state.incidents == {}


def test_a_return_after_a_silence_is_told():
    world = a_world(reopen_within=0)
    world.fire()
    world.silence()
    world.clear()
    world.wait(2 * HOUR)

    world.fire()

    assert world.told() == ["opened", "resolved", "opened"]


def test_a_return_under_a_silence_is_told_after_it():
    world = a_world(group_by=())
    world.fire(host="a")
    world.fire(host="b")
    world.wait(HOUR)
    sent = len(world.sent)
    world.silence("host=b")
    world.clear(host="b")
    world.fire(host="b")
    world.wait(30 * MINUTE)
    assert len(world.sent) == sent

    world.cut()

    assert world.told()[sent:] == ["updated"]


def test_a_silenced_alert_that_joins_an_incident_is_withheld_alone():
    world = a_world(group_by=(), group_interval=MINUTE)
    world.silence("host=b")
    world.fire(host="a")
    world.wait(MINUTE)

    world.fire("disk", "critical", host="b")
    world.wait(MINUTE)

    assert world.told() == ["opened"]
    assert world.sent[0].severity == "warning"
    assert world.withheld() == [("updated", "suppressed")]
    assert world.incident().severity == "critical"

    world.cut()
    assert [(s.kind, s.severity) for s in world.sent] == [("opened", "warning"), ("updated", "critical")]


def test_what_a_silence_hid_before_anybody_heard_of_it_is_told_after_it():
    world = a_world(group_by=(), group_interval=10 * MINUTE)
    world.fire(host="a")
    world.wait(MINUTE)
    world.fire(host="b")
    world.silence("host=b")
    world.fire(host="c")
    world.wait(30 * MINUTE)
    assert world.told() == ["opened", "updated"]  # Of c alone.

    world.cut()

    assert world.told() == ["opened", "updated", "updated"]


def test_a_silenced_alert_that_clears_is_told_after_the_silence():
    world = a_world(group_by=(), group_interval=MINUTE)
    world.fire(host="a")
    world.fire(host="b")
    world.wait(HOUR)
    sent = len(world.sent)
    world.silence("host=b")

    world.clear(host="b")
    world.wait(30 * MINUTE)
    assert len(world.sent) == sent

    world.cut()
    assert world.told()[sent:] == ["updated"]


def test_a_silenced_alert_does_not_hide_the_reminder_of_others():
    world = a_world(group_by=(), group_interval=MINUTE, repeat_interval=HOUR)
    world.silence("host=b", lasting=DAY)
    world.fire(host="a")
    world.wait(MINUTE)
    world.fire(host="b")

    world.wait(HOUR)

    assert world.told() == ["opened", "reminder"]


def test_a_rise_that_a_silence_does_not_cover_breaks_it():
    world = a_world()
    world.silence("severity=warning")
    world.fire()
    assert world.told() == []

    world.wait(MINUTE)
    world.fire(severity="critical")

    assert [(s.kind, s.severity) for s in world.sent] == [("opened", "critical")]
    assert world.incident().silenced == 0


def test_a_rise_into_a_silence_is_withheld_until_it_ends():
    world = a_world()
    world.fire()
    world.silence("severity=critical")
    world.wait(MINUTE)

    world.fire(severity="critical")
    world.wait(30 * MINUTE)
    assert world.told() == ["opened"]

    world.wait(HOUR)
    assert world.told() == ["opened", "updated"]


def test_a_source_that_a_silence_asks_for_may_change():
    world = a_world()
    world.silence("source=lab")
    world.fire(source="lab")
    world.wait(MINUTE)
    assert world.told() == []

    world.fire(source="house")

    assert world.told() == ["opened"]


def test_an_alert_that_comes_back_uncovered_frees_the_end_that_was_hidden():
    world = a_world(reopen_within=0)
    world.fire()
    world.silence("severity=warning", lasting=DAY)
    world.clear()
    world.wait(MINUTE)

    world.fire(severity="critical")

    assert [(s.kind, s.incident) for s in world.sent] == [("opened", 1), ("opened", 2), ("resolved", 1)]


def test_a_silence_covers_an_alert_in_all_its_incidents():
    routes = (a_route("first", continue_=True), a_route("second", group_by=()))
    world = a_world(routes=routes, group_interval=MINUTE)
    world.fire(host="a")
    world.fire(host="b")
    world.silence("host=a")

    assert [world.incident(n).silenced_firing for n in (1, 2, 3)] == [1, 1, 0]
    world.wait(MINUTE)
    world.fire("disk", "critical", host="a")
    world.wait(30 * MINUTE)
    assert not any(s.severity == "critical" for s in world.sent)

    world.cut()

    assert [(s.incident, s.severity) for s in world.sent[-2:]] == [(1, "critical"), (2, "critical")]


def test_silences_come_before_the_rate_limit():
    world = World(a_policy(rate_limit=RateLimit(limit=0)))
    world.silence()

    world.fire()

    assert world.withheld() == [("opened", "suppressed")]
    assert world.state.rates == {}


def test_what_nobody_is_told_of_is_not_told_after_a_silence_either():
    world = a_world(channels=())
    world.fire()
    world.silence()
    world.wait(2 * HOUR)

    assert world.told() == []
    assert world.incident().state is IncidentState.OPEN


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (dict(matchers=("a=b",), starts_at=NINE + HOUR, ends_at=NINE), "ends_at"),
        (dict(matchers=("a=b",), starts_at=NINE - HOUR, ends_at=NINE), "ends_at"),
        (dict(matchers=(), starts_at=NINE, ends_at=NINE + HOUR), "matchers"),
        (dict(matchers=(r"host=~(?=x)",), starts_at=NINE, ends_at=NINE + HOUR), "host"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(request_, field):
    world = a_world()
    entries = len(world.entries)

    with pytest.raises(Invalid) as refused:
        world.feed(SilenceRequested(**{**request_, "matchers": tuple(map(a_matcher, request_["matchers"]))}))

    assert refused.value.field == field
    assert len(world.entries) == entries


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "said"),
    [
        (NINE + 2 * HOUR, NINE + HOUR, "ends before it starts"),
        (NINE, NINE - HOUR, "lies in the past"),
        (NINE, NINE, "lies in the past"),
    ],
)
def test_a_wrong_end_is_called_what_it_is(starts_at, ends_at, said):
    asked = SilenceRequested(matchers=(a_matcher("a=b"),), starts_at=starts_at, ends_at=ends_at)

    with pytest.raises(Invalid, match=said):
        a_world().feed(asked)


@pytest.mark.parametrize(
    ("matchers", "covers"),
    [
        ("host=db-1", True),
        ("host=db-2", False),
        ("host!=db-1", False),
        ("host!=db-2", True),
        ("host=~db-.", True),
        ("host=~db", False),  # Anchored at both ends.
        ("host!~db", True),
        ("host!~db-.*", False),
        ("absent=", True),
        ("absent!=", False),
        ("rule_id=disk severity=warning", True),
        ("rule_id=disk severity=critical", False),
    ],
)
def test_matchers(matchers, covers):
    before, after = a_world(), a_world()
    before.silence(matchers)
    before.fire(host="db-1")
    after.fire(host="db-1")
    after.silence(matchers)

    for world in (before, after):
        assert bool(world.incident().silenced) == covers


def test_a_silence_that_begins_covers_nothing_that_was_only_recalled_for_somebody_who_came_in_the_same_moment():
    world = a_world()
    world.fire()
    world.clear()
    world.wait(HOUR)
    (alert,) = world.forgotten.values()
    live.recall(world.state, alert)

    world.silence()

    (began,) = world.events(ev.SilenceBegan)
    assert (began.covers, began.alerts) == (0, ())
