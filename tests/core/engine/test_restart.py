"""A state that is built again from the store has all its timers."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, a_policy
from tests.support.world import World

from tocsin.core.engine.state import State, begin, next_wakeup
from tocsin.core.model.policy import RateLimit


def acknowledged(world: World) -> None:
    world.fire()
    world.act("ack")


def silenced(world: World) -> None:
    world.fire()
    world.act("silence", until=world.at + HOUR)


def limited(world: World) -> None:
    world.fire(host="a")
    world.fire(host="b")


def leased(world: World) -> None:
    world.fire(ends_at=world.at + HOUR)


def hushed(world: World) -> None:
    world.silence(after=MINUTE, lasting=HOUR)
    world.fire()


@pytest.mark.parametrize("begin_with", [acknowledged, silenced, limited, leased, hushed])
def test_a_restart_in_between_changes_nothing(begin_with):
    worlds = [
        World(a_policy(ack_timeout=HOUR, repeat_interval=2 * HOUR, rate_limit=RateLimit(limit=1)))
        for _ in range(2)
    ]
    for world in worlds:
        begin_with(world)
    assert next_wakeup(worlds[0].state) is not None

    worlds[1].restart()

    assert next_wakeup(worlds[1].state) == next_wakeup(worlds[0].state)
    for world in worlds:
        world.wait(DAY)
    assert [e.draft for e in worlds[0].entries] == [e.draft for e in worlds[1].entries]


def test_a_state_without_anything_has_nothing_to_wait_for():
    state = State(id_key=b"k" * 32)

    begin(state, 5)
    begin(state, 3)  # Time does not go back.

    assert state.at == 5
    assert next_wakeup(state) is None
