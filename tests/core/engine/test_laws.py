"""Laws: what holds in every house whatever happens in it.

A failure prints `tell(policy, tale)`; paste that into a test to see it again.
"""

from collections import Counter

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stories import POLICIES, UNLIMITED, House, Move, tales, tell
from tests.support.world import SEEN_WITHOUT_ENTRY, dump

from tocsin.core.model import event as ev
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import NotificationKind

policies = st.sampled_from(tuple(POLICIES))
Tale = list[Move]


def many(examples: int):
    return hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))


def told(policy: str, tale: Tale, **more: int) -> House:
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    return tell(policy, tale, **more)


@many(250)
@given(policies, tales)
def test_a_key_has_at_most_one_incident_that_is_not_over_and_counts_are_right_at_every_moment(policy, tale):
    house = told(policy, [])
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    for move in tale:
        house.do(move)

        living = [i.key for i in house.state.incidents.values() if i.state is not IncidentState.RESOLVED]
        assert len(living) == len(set(living))
        for incident in house.state.incidents.values():
            members = house.state.members[incident.number]
            firing = [alert for alert in members if incident.number in alert.firing_in]
            assert incident.firing == len(firing)
            assert incident.cleared == len(members) - len(firing)
            assert incident.silenced == sum(bool(alert.silenced_by) for alert in members)
            assert incident.silenced_firing == sum(bool(alert.silenced_by) for alert in firing)
            if incident.firing and incident.state is not IncidentState.RESOLVED:
                loud = [alert.severity for alert in firing if not alert.silenced_by]
                assert all(not is_above(severity, incident.audible) for severity in loud)


def is_above(one: str, other: str) -> bool:
    order = ("info", "warning", "error", "critical")
    return order.index(one) > order.index(other)


@many(150)
@given(policies, tales)
def test_every_intent_is_accounted_for(policy, tale):
    house = told(policy, tale)

    decided = [new.delivery for event in house.events(ev.Notified) for new in event.deliveries]
    ended = Counter(event.delivery for event in house.events(ev.DeliveryEnded))
    ended.subtract(event.delivery for event in house.events(ev.DeliveryRevived))
    assert len(set(decided)) == len(decided) == house.state.counters.delivery
    assert sorted([*ended.elements(), *house.state.deliveries]) == decided
    withheld = sum(len(event.targets) for event in house.events(ev.NotificationWithheld))
    assert house.state.counters.intents == len(decided) + withheld
    merged = {event.into for event in house.events(ev.DeliveryEnded) if event.state == "merged"}
    assert merged <= {event.notification for event in house.events(ev.Notified)}


@many(150)
@given(policies, tales)
def test_only_the_head_of_the_line_to_a_target_goes_out(policy, tale):
    house = told(policy, [])
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    for move in tale:
        house.do(move)

        apart = (NotificationKind.MANUAL, NotificationKind.META, NotificationKind.DIGEST)
        revived = {
            event.delivery for event in house.events(ev.DeliveryRevived)
        }  # Somebody wants them all the same.
        lines = [
            (d.incident, d.target)
            for d in house.state.deliveries.values()
            if d.kind not in apart and d.number not in revived
        ]
        assert len(lines) == len(set(lines))


@many(250)
@given(policies, tales)
def test_the_entries_alone_give_the_state(policy, tale):
    house = told(policy, tale)

    folded = dump(house.folded(), without=SEEN_WITHOUT_ENTRY)
    assert folded == dump(house.state, without=SEEN_WITHOUT_ENTRY)


@many(250)
@given(policies, tales, st.data())
def test_a_state_from_the_store_decides_the_rest_alike(policy, tale, data):
    position = data.draw(st.integers(1, len(tale) - 1), label="restart_after")

    house = told(policy, tale)
    restarted = told(policy, tale, restart_after=position)

    assert [entry.draft for entry in restarted.entries] == [entry.draft for entry in house.entries]
    assert dump(restarted.state, without=("timer",)) == dump(house.state, without=("timer",))


@many(50)
@given(policies, tales)
def test_the_same_tale_twice_gives_the_same_bytes(policy, tale):
    once, again = told(policy, tale), told(policy, tale)

    assert [(e.at, e.decision, e.private) for e in once.entries] == [
        (e.at, e.decision, e.private) for e in again.entries
    ]
    assert once.sent == again.sent


@many(300)
@given(st.sampled_from(UNLIMITED), tales.filter(lambda tale: ("policy", "limited") not in tale))
def test_when_all_is_quiet_everybody_knows_all_that_no_silence_hides(policy, tale):
    house = told(policy, tale)

    house.settle()

    assert house.unheard() == []


@many(100)
@given(policies, tales)
def test_what_was_seen_before_leaves_no_entry(policy, tale):
    house = told(policy, [])
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    for move in tale:
        house.do(move)
        if move[0] in ("fire", "green", "clear"):
            entries = len(house.entries)

            house.do(move)

            assert len(house.entries) == entries


@many(150)
@given(st.just("limited"), tales)
def test_the_first_word_of_something_critical_is_never_rate_limited(policy, tale):
    house = told(policy, tale)

    assert house.wrongly_limited == []


@many(100)
@given(policies, tales)
def test_nothing_that_people_are_refused_changes_anything(policy, tale):
    house = told(policy, tale)
    before, entries = dump(house.state), len(house.entries)

    for move in [
        ("act", action, number, 0) for action in ("unack", "unsilence", "reopen") for number in (1, 99)
    ]:
        if house.do(move):
            before, entries = dump(house.state), len(house.entries)
        assert dump(house.state) == before
        assert len(house.entries) == entries
