"""World time never goes back; a step of the wall clock draws it by at most 1 %."""

from hypothesis import given
from hypothesis import strategies as st

from tocsin.runtime.world import STEP_MAX, MachineClock, MachineIds

SECOND = 1_000_000
START = 1_767_268_800 * SECOND


class Machine:
    """The two clocks of a machine, in microseconds."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 7 * SECOND, START

    def clock(self) -> MachineClock:
        return MachineClock(lambda: self.monotonic * 1000, lambda: self.wall * 1000)

    def passes(self, microseconds: int) -> None:
        self.monotonic += microseconds
        self.wall += microseconds


def test_world_time_begins_with_the_wall_clock_and_follows_the_monotonic_one() -> None:
    machine = Machine()
    clock = machine.clock()

    machine.passes(3 * SECOND)

    assert clock.now() == START + 3 * SECOND


def test_a_small_step_of_the_wall_clock_changes_nothing() -> None:
    machine = Machine()
    clock = machine.clock()

    machine.wall += STEP_MAX
    for _ in range(100):
        machine.passes(SECOND)
        clock.now()

    assert clock.now() == START + 100 * SECOND


def test_a_step_ahead_is_caught_up_by_one_percent_and_then_ends() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += 60 * SECOND

    machine.passes(SECOND)
    clock.now()
    machine.passes(1000 * SECOND)

    assert clock.now() == START + 1011 * SECOND
    for _ in range(6000):
        machine.passes(SECOND)
        clock.now()
    assert clock.now() == machine.wall


def test_a_step_back_slows_world_time_but_never_turns_it() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 3600 * SECOND

    machine.passes(SECOND)
    clock.now()
    machine.passes(100 * SECOND)

    assert clock.now() == START + 100 * SECOND


def test_however_often_it_is_asked_it_is_drawn_by_one_percent_only() -> None:
    for step in (-3600 * SECOND, 3600 * SECOND):
        machine = Machine()
        clock = machine.clock()
        machine.wall += step
        machine.passes(SECOND)
        begun = clock.now()

        for _ in range(50_000):
            machine.passes(7)
            clock.now()

        drawn = clock.now() - begun - 50_000 * 7
        assert drawn == (-3500 if step < 0 else 3500)


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(-(10**12), 10**12)), max_size=60))
def test_it_never_goes_back_whatever_the_wall_clock_does(moves: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    last = clock.now()

    for passed, step in moves:
        machine.wall += step
        machine.passes(passed)
        now = clock.now()
        assert now >= last
        assert abs(now - last - passed) <= passed // 100 + 1
        last = now


def test_chance_is_as_long_as_was_asked_for_and_never_the_same() -> None:
    ids = MachineIds()

    some = [ids.random_bytes(32) for _ in range(100)]

    assert {len(one) for one in some} == {32}
    assert len(set(some)) == 100


def test_world_time_goes_on_from_what_was_decided_last_and_is_drawn_back() -> None:
    machine = Machine()
    clock = machine.clock()

    clock.not_before(START + 540 * SECOND)

    assert clock.now() == START + 540 * SECOND
    for _ in range(1000):
        machine.passes(SECOND)
        clock.now()
    behind = START + 1540 * SECOND - clock.now()
    assert 9 * SECOND <= behind <= 10 * SECOND
    assert clock.wall() == START + 1000 * SECOND
