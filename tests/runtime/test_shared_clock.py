"""Among several nodes it is what time the store says, whatever a machine's own clock does."""

from tests.support.fakes import NOON, SECOND, FakeClock

from tocsin.runtime.shared_clock import HELD_MAX, SharedClock

HOUR = 3600 * SECOND


class Ahead:
    """How far the store's clock is before our own."""

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self) -> int:
        return self.by


def test_a_clock_that_is_wrong_either_way_is_put_right() -> None:
    own, ahead = FakeClock(), Ahead(0)
    clock = SharedClock(own, ahead)
    assert clock.now() == NOON

    ahead.by = HOUR
    assert clock.now() == NOON + HOUR

    ahead.by = -HOUR
    assert clock.now() == NOON - HOUR
    assert clock.wall() == own.wall()


def test_a_little_is_waited_for_so_that_time_does_not_go_back() -> None:
    own, ahead = FakeClock(), Ahead(HELD_MAX)
    clock = SharedClock(own, ahead)
    first = clock.now()

    ahead.by = 0
    own.advance(HELD_MAX // 2)

    assert clock.now() == first
    own.advance(HELD_MAX)
    assert clock.now() == NOON + HELD_MAX + HELD_MAX // 2


def test_what_was_wrong_by_more_is_put_right_at_once() -> None:
    own, ahead = FakeClock(), Ahead(SECOND)
    clock = SharedClock(own, ahead)
    clock.now()

    ahead.by = 0

    assert clock.now() == NOON
