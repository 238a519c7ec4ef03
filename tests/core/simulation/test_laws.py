"""What holds for every house: the same policy changes nothing, and another one does what it would have done."""

from collections import Counter
from typing import Any

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
from tests.core.simulation.recording import again, recording
from tests.support.builders import MINUTE, a_policy
from tests.support.stories import POLICIES, House, Move, tales
from tests.support.stories import tell as tell_at_once

from tocsin.core.model import event as ev
from tocsin.core.model.policy import Policy, RateLimit

policies = st.sampled_from(tuple(POLICIES))
ENDOGENOUS = ("mood", "jump", "again", "discard", "node", "report")
"""Moves after which the record holds what a simulation can only guess."""


def many(examples: int):
    return hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))


def without(tale: list[Move], *moves: str) -> list[Move]:
    return [move for move in tale if move[0] not in moves]


@many(60)
@given(policies, tales, st.booleans())
def test_the_same_policy_changes_nothing_whatever_happened_and_wherever_the_period_begins(
    policy, tale, later
):
    tale = without(tale, "policy")
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    house = tell_at_once(policy, tale)
    since = house.entries[len(house.entries) // 2].at if later else 0

    report = again(recording(house), POLICIES[policy], since=since, until=house.at + 1)

    assert report.is_same
    assert report.effect.found == 0
    assert report.critical == ()


@many(60)
@given(policies, tales, st.booleans())
def test_where_nothing_has_to_be_guessed_the_recorded_policy_decides_as_it_was_recorded(policy, tale, later):
    tale = without(tale, *ENDOGENOUS)
    hypothesis.note(f"tell({policy!r}, {tale!r})")
    house = tell_at_once(policy, tale)
    since = house.entries[len(house.entries) // 2].at if later else 0

    report = again(recording(house), POLICIES[policy], since=since, until=house.at + 1)

    assert report.drift.found == 0, report.drift.differences[0]
    numbers = report.numbers
    for count in (*numbers.kinds.values(), *numbers.withheld.values(), *numbers.hours):
        assert count.recorded == count.again
    assert report.left_out.nothing.again == report.left_out.conflicts.again == 0


def lived(policy: Policy, tale: list[Move]) -> House:
    """Let a tale happen with a breath before each move, so that nothing else is due in its moment; and all end."""
    house = House(policy)
    for move in tale:
        house.wait(7)
        house.do(move)
    for rule, host in (("disk", "a"), ("disk", "b"), ("cpu", "a"), ("cpu", "b")):
        house.wait(7)
        house.do(("clear", rule, host))
    house.wait(7 * MINUTE)
    return house


def check_against_life(recorded: Policy, candidate: Policy, tale: list[Move]) -> None:
    """What would have been is what is, if the same happens to somebody who has that policy."""
    hypothesis.note(repr(tale))
    house, other = lived(recorded, tale), lived(candidate, tale)

    numbers = again(recording(house), candidate, until=house.at + 1).numbers

    told = Counter[Any](event.kind for event in other.events(ev.Notified) if not event.dry_run)
    withheld = Counter[Any]()
    for event in other.events(ev.NotificationWithheld):
        withheld[event.reason] += len(event.targets)
    assert {kind: count.candidate for kind, count in numbers.kinds.items() if count.candidate} == told
    assert {why: count.candidate for why, count in numbers.withheld.items() if count.candidate} == withheld
    assert numbers.opened.candidate == len(other.events(ev.IncidentOpened))
    assert numbers.reopened.candidate == len(other.events(ev.IncidentReopened))


PLAIN = (
    "fire",
    "clear",
    "wait",
    "silence",
    "maintain",
    "green",
    "lease",
    "cut",
    "move",
    "stop_maintaining",
    "send",
)


@many(80)
@given(st.sampled_from(("plain", "limited")), policies, tales)
def test_another_policy_would_have_done_what_it_does_when_it_is_there(recorded, candidate, tale):
    tale = [move for move in tale if move[0] in PLAIN]

    check_against_life(POLICIES[recorded], POLICIES[candidate], tale)


SLOWER = a_policy("anna", "ben@webhook", group_wait=5 * MINUTE, repeat_interval=30 * MINUTE)
FEWER = a_policy("anna", group_interval=MINUTE, rate_limit=RateLimit(limit=1))


@many(80)
@given(st.sampled_from((SLOWER, FEWER)), tales)
def test_people_do_the_same_to_the_same_incidents(candidate, tale):
    tale = [move for move in tale if move[0] in (*PLAIN, "act", "bulk")]

    check_against_life(POLICIES["plain"], candidate, tale)
