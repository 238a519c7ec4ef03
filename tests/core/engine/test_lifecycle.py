"""The life of an incident: the table, its timers, and its return."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, NINE, a_policy, a_route
from tests.support.world import World, dump

from tocsin.core.model import event as ev
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Action
from tocsin.core.model.notification import Delivered

TABLE = """
            ack       unack     silence   unsilence resolve   reopen    note
  OPEN      ACK       conflict  SILENCED  conflict  RESOLVED  conflict  OPEN
  ACK       same      OPEN      SILENCED  conflict  RESOLVED  conflict  ACK
  SILENCED  ACK       conflict  SILENCED  OPEN      RESOLVED  conflict  SILENCED
  RESOLVED  conflict  conflict  conflict  conflict  same      OPEN      RESOLVED
"""
TO_REACH = {"OPEN": (), "ACK": ("ack",), "SILENCED": ("silence",), "RESOLVED": ("resolve",)}


def cells() -> list[tuple[str, str, str]]:
    actions, *rows = (line.split() for line in TABLE.strip().splitlines())
    return [(state, action, cell) for state, *row in rows for action, cell in zip(actions, row, strict=True)]


def a_world(**root) -> World:
    world = World(a_policy(**root))
    world.fire()
    return world


@pytest.mark.parametrize(("state", "action", "cell"), cells())
def test_the_table_of_moves(state, action, cell):
    world = a_world()
    for step in TO_REACH[state]:
        world.act(step)
    before, entries = dump(world.state), len(world.entries)

    if cell == "conflict":
        with pytest.raises(Conflict, match=rf"#1 is {state}.*Possible now: .*note") as refused:
            world.act(action, actor="ben")
        assert refused.value.state == state
        assert dump(world.state) == before
    elif cell == "same":
        assert world.act(action).outcome == "unchanged"
        assert len(world.entries) == entries
        assert world.act(action, note="so I am").outcome == "unchanged"
        assert [e.draft.private for e in world.entries[entries:]] == [{"note": "so I am"}]
    else:
        assert world.act(action, actor="ben").outcome == "changed"
        assert world.incident().state == cell
        entry = world.entries[entries]
        assert (entry.draft.actor, entry.draft.incident) == ("ben", 1)
        assert all(event.because for event in entry.draft.events)


def test_the_table_is_complete():
    assert {(state, action) for state, action, _ in cells()} == {
        (s, a) for s in IncidentState for a in Action
    }


def test_an_acknowledgement_is_not_undone_by_more_of_the_same():
    world = a_world()
    world.act("ack")

    for _ in range(5):
        world.wait(3 * HOUR)
        world.fire()

    assert world.incident().state is IncidentState.ACK
    assert world.told() == ["opened"]


def test_a_rise_under_an_acknowledgement_is_told_at_once_and_once():
    world = a_world(group_interval=HOUR)
    world.act("ack")
    world.wait(MINUTE)

    world.fire(severity="critical")

    assert world.told() == ["opened", "updated"]
    assert world.incident().state is IncidentState.ACK
    world.wait(DAY)
    assert world.told() == ["opened", "updated"]


def test_what_joins_under_an_acknowledgement_is_told_when_it_ends():
    world = World(a_policy(group_by=(), group_interval=MINUTE))
    world.fire(host="a")
    world.act("ack")
    world.wait(MINUTE)
    world.fire(host="b")
    world.wait(HOUR)
    assert world.told() == ["opened"]

    world.act("unack")

    assert world.told() == ["opened", "updated"]


def test_an_acknowledgement_lapses_once_and_never_early():
    world = a_world(ack_timeout=HOUR)
    world.act("ack")

    world.wait(HOUR - 1)
    assert world.incident().state is IncidentState.ACK

    world.wait(1)
    assert world.incident().state is IncidentState.OPEN
    assert "anna" in world.entries[-1].draft.events[0].because
    world.wait(3 * HOUR)
    assert len(world.events(ev.IncidentUnacknowledged)) == 1


def test_a_later_acknowledgement_has_its_own_time():
    world = a_world(ack_timeout=HOUR)
    world.act("ack")
    world.wait(30 * MINUTE)
    world.act("unack")
    world.act("ack")

    world.wait(HOUR - 1)
    assert world.incident().state is IncidentState.ACK
    world.wait(1)
    assert world.incident().state is IncidentState.OPEN


def test_a_silenced_incident_ends_its_silence_in_time():
    world = a_world()
    world.act("silence", until=NINE + HOUR)
    world.wait(HOUR - 1)
    assert world.incident().state is IncidentState.SILENCED

    world.wait(1)

    assert world.incident().state is IncidentState.OPEN
    assert world.told() == ["opened"]


@pytest.mark.parametrize("later", [30 * MINUTE, 2 * HOUR, 0])
def test_a_second_silence_replaces_the_end(later):
    world = a_world()
    world.act("silence", until=NINE + HOUR)
    world.act("silence", until=NINE + later if later else 0)

    world.wait((later or DAY) - 1)
    assert world.incident().state is IncidentState.SILENCED
    world.wait(1)
    assert world.incident().state is (IncidentState.OPEN if later else IncidentState.SILENCED)


def test_a_silence_of_an_incident_must_end_in_the_future():
    world = a_world()

    with pytest.raises(Invalid) as refused:
        world.act("silence", until=NINE)

    assert refused.value.field == "until"
    assert world.incident().state is IncidentState.OPEN


def test_acknowledging_what_is_silenced_tells_of_a_rise_meanwhile():
    world = a_world()
    world.act("silence")
    world.wait(MINUTE)
    world.fire(severity="critical")
    assert world.told() == ["opened"]

    world.act("ack")

    assert world.told() == ["opened", "updated"]


def test_a_silenced_incident_that_is_over_says_so():
    world = a_world()
    world.act("silence")

    world.clear()

    assert world.told() == ["opened", "resolved"]


def test_an_incident_that_never_was_is_not_found_and_one_that_is_long_over_says_what_it_takes():
    world = a_world()
    world.clear()
    world.wait(HOUR)
    assert world.state.incidents == {}

    with pytest.raises(NotFound):
        world.act("resolve", 2)
    with pytest.raises(Conflict, match="Possible now: resolve, reopen, note") as refused:
        world.act("ack", 1)
    assert refused.value.possible == ("resolve", "reopen", "note")
    assert world.act("resolve", 1).outcome == "unchanged"


def test_a_return_soon_after_the_end_reopens_and_a_later_one_is_new():
    world = a_world(reopen_within=5 * MINUTE)
    world.clear()
    world.wait(5 * MINUTE)
    assert world.fire().outcome == "reopened"
    assert world.incident().generation == 2
    assert not world.incident().auto_resolved
    world.clear()
    world.wait(5 * MINUTE + 1)

    assert world.fire().outcome == "opened"

    assert world.incident(2).generation == 1
    assert world.told() == ["opened", "resolved"] * 2 + ["opened"]


def test_a_new_incident_names_the_one_before_it_if_that_is_still_known():
    world = a_world(reopen_within=0)
    world.silence()
    world.clear()
    world.wait(MINUTE)

    world.fire()

    assert world.events(ev.IncidentOpened)[-1].previous == 1


def test_what_a_newer_incident_has_replaced_cannot_be_reopened():
    world = a_world(reopen_within=0)
    world.silence()
    world.clear()
    world.wait(MINUTE)
    world.fire()

    with pytest.raises(Conflict, match="#2 has taken its place"):
        world.act("reopen", 1)


def test_who_looks_into_an_incident_that_is_over_takes_no_place_from_one_that_was_reopened():
    world = World(a_policy(reopen_within=0))
    for _ in range(2):
        world.fire()
        world.clear()
        world.wait(MINUTE)
    world.act("reopen", 1)
    world.act("note", 2, note="what was this?")
    assert sorted(world.state.incidents) == [1, 2]

    world.restart()
    world.wait(MINUTE)
    assert sorted(world.state.incidents) == [1]

    assert world.fire().outcome == "joined"
    assert len(world.events(ev.IncidentOpened)) == 2


def test_incidents_of_one_key_are_forgotten_oldest_first():
    world = a_world(reopen_within=0)
    silence = world.silence(lasting=DAY)
    for _ in range(2):
        world.clear()
        world.wait(MINUTE)
        world.fire()
    world.clear()
    assert sorted(world.state.incidents) == [1, 2, 3]

    world.cut(silence)
    world.wait(MINUTE)

    assert world.state.incidents == {}
    assert world.state.by_key == {}


def test_an_incident_is_remembered_as_long_as_the_one_before_it():
    world = World(a_policy(reopen_within=0))
    world.answers = lambda delivery, attempt, at: None if delivery.incident == 1 else Delivered()
    for _ in range(2):
        world.fire()
        world.clear()
        world.wait(MINUTE)
    assert sorted(world.state.incidents) == [1, 2]

    world.report(1, Delivered())
    world.report(4, Delivered())
    world.wait(MINUTE)

    assert world.state.incidents == {}


def test_what_somebody_resolved_but_still_fires_is_held_and_then_told_once():
    world = a_world(reopen_within=5 * MINUTE)
    world.act("resolve")
    world.wait(5 * MINUTE)
    entries = len(world.entries)
    assert world.fire().outcome == "held"
    assert len(world.entries) == entries

    world.wait(1)

    assert world.fire().outcome == "reopened"
    assert world.fire(window=(0, NINE + HOUR)).outcome == "occurrence"
    world.wait(HOUR)
    assert world.told() == ["opened", "resolved", "opened"]


def test_a_hold_gives_way_to_what_is_worse():
    world = a_world()
    world.act("resolve")
    world.wait(MINUTE)

    assert world.fire(severity="critical").outcome == "reopened"

    assert world.sent[-1].severity == "critical"
    assert world.incident().severity == "critical"


def test_a_hold_in_one_incident_holds_nothing_in_another():
    routes = (a_route("first", continue_=True), a_route("second"))
    world = World(a_policy(routes=routes))
    world.fire()
    world.act("resolve", 1)
    world.wait(MINUTE)

    step = world.fire()
    assert step.outcome == "occurrence"
    assert step.incidents == ((1, "held"), (2, "occurrence"))
    window = (NINE, NINE + MINUTE)
    assert world.fire(window=window).incidents == ((1, "held"), (2, "duplicate"))
    assert world.fire(severity="error", window=window).incidents == ((1, "reopened"), (2, "occurrence"))
    assert [sent.kind for sent in world.sent if sent.incident == 2] == ["opened", "updated"]


def test_what_clears_while_it_is_held_is_over():
    world = a_world()
    world.act("resolve")
    world.wait(MINUTE)

    assert world.clear().outcome == "cleared"

    world.wait(HOUR)
    assert world.state.incidents == {}
    assert world.told() == ["opened", "resolved"]


def test_what_joins_an_incident_that_somebody_resolved_reopens_it():
    world = World(a_policy(group_by=()))
    world.fire(host="a")
    world.act("resolve")

    assert world.fire(host="b").outcome == "reopened"


def test_a_reopened_incident_without_a_firing_alert_tells_nobody():
    world = a_world()
    world.clear()

    world.act("reopen")

    world.wait(DAY)
    assert world.incident().state is IncidentState.OPEN
    assert world.told() == ["opened", "resolved"]


def test_a_reopened_incident_that_fires_is_told_again_even_if_its_end_was_not():
    world = a_world(send_resolved=False)
    world.act("resolve")

    world.act("reopen")

    assert world.told() == ["opened", "opened"]


def test_a_reopened_incident_whose_alerts_are_silenced_stays_quiet():
    world = a_world()
    world.act("resolve")
    world.silence()

    world.act("reopen")

    assert world.told() == ["opened", "resolved"]
    assert world.withheld() == [("opened", "suppressed")]
