"""Folding what is recorded gives the state again, with no store to ask."""

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.simulation.recording import recording
from tests.support.builders import DAY, HOUR, MINUTE, a_policy
from tests.support.stories import POLICIES, tales, tell
from tests.support.world import SEEN_WITHOUT_ENTRY, World, dump

from tocsin.core.engine.state import begin
from tocsin.core.ledger.encoding import read_entry
from tocsin.core.model.input import DeliveryRetryAsked
from tocsin.core.simulation.archive import Archive
from tocsin.core.simulation.fold import Fold, copy_of, incident_number
from tocsin.core.simulation.lookahead import look_ahead

policies = st.sampled_from(tuple(POLICIES))


def folded(world: World, archive: Archive | None = None) -> Fold:
    fold = Fold(archive=archive, id_key=world.state.id_key)
    for parts in recording(world):
        fold.take(read_entry(*parts))
    begin(fold.state, world.state.at)
    return fold


@hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
@given(policies, tales, st.booleans())
def test_the_entries_alone_give_the_state_also_if_the_archive_keeps_little(policy, tale, keeps_all):
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    world = tell(policy, tale)
    archive = Archive(keeps_all=keeps_all, wanted=look_ahead(recording(world)).recalled)

    fold = folded(world, archive)

    assert dump(fold.state, without=SEEN_WITHOUT_ENTRY) == dump(world.state, without=SEEN_WITHOUT_ENTRY)


@hypothesis.settings(max_examples=40, suppress_health_check=list(hypothesis.HealthCheck))
@given(policies, tales)
def test_a_copy_decides_as_the_state_does_and_shares_nothing(policy, tale):
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    state = folded(tell(policy, tale)).state

    copy = copy_of(state, id_key=state.id_key)

    assert dump(copy, without=("timer",)) == dump(state, without=("timer",))
    for alert in copy.alerts.values():
        alert.repeats += 1
    copy.counters.change += 1
    assert state.counters.change == copy.counters.change - 1
    assert all(state.alerts[alert.id].repeats == alert.repeats - 1 for alert in copy.alerts.values())


def test_an_archive_that_keeps_all_has_what_a_store_would_have():
    world = World(a_policy())
    world.fire(host="a")
    world.wait(MINUTE)
    world.clear(host="a")
    world.wait(DAY)
    world.fire(host="b")

    fold = folded(world)

    assert list(fold.archive.incidents) == [1]
    assert [alert.number for alert in fold.archive.alerts.values()] == [1]
    assert list(fold.archive.members) == [1, 2]
    assert [state for _, state in fold.archive.deliveries.values()] == ["delivered"] * 3


def test_memory_is_flat_what_is_over_for_a_week_is_dropped():
    world = World(a_policy(send_resolved=False))
    for number in range(60):
        world.fire(host=f"h{number}")
        world.wait(MINUTE)
        world.clear(host=f"h{number}")
        world.wait(6 * HOUR)

    archive = folded(world, Archive()).archive

    assert archive.incidents == {}
    assert archive.deliveries == {}
    assert 26 <= len(archive.alerts) <= 28, "those of the last 7 days, four a day"


def test_an_incident_that_somebody_reopens_weeks_later_is_kept_with_its_alerts():
    world = World(a_policy())
    world.fire(host="a")
    world.fire(host="b")
    world.clear(host="a")
    world.wait(30 * DAY)
    world.act("reopen", 1)
    ahead = look_ahead(recording(world))

    fold = folded(world, Archive(wanted=ahead.recalled))

    assert list(ahead.reopened) == [1]
    assert [alert.number for alert in fold.state.members[1]] == [1]
    assert fold.state.incidents[1].generation == 2


def test_a_note_on_an_incident_that_the_archive_dropped_breaks_nothing():
    world = World(a_policy())
    world.fire()
    world.clear()
    world.wait(DAY)
    world.act("note", 1, note="it was the cat")

    fold = folded(world, Archive())

    assert fold.state.incidents == {}


def test_a_delivery_that_somebody_retries_brings_its_incident_back():
    world = World(a_policy())
    world.fire()
    world.clear()
    world.wait(DAY)
    world.feed(DeliveryRetryAsked(delivery=1, forced=True))
    ahead = look_ahead(recording(world))

    fold = folded(world, Archive(wanted=ahead.recalled))

    assert list(fold.state.incidents) == [1]


@pytest.mark.parametrize(
    ("public_id", "number"), [(None, 0), ("a" * 24 + "0000002a", 42), ("a" * 24 + "100000000", 1 << 32)]
)
def test_the_number_of_an_incident_stands_at_the_end_of_its_public_id(public_id, number):
    assert incident_number(public_id) == number
