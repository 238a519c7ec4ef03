"""Repeats left no entry; what the next entry says of them is enough to decide by them where they matter."""

from tests.core.simulation.recording import again, recording
from tests.support.builders import DAY, HOUR, MINUTE, SECOND, a_policy
from tests.support.world import World

from tocsin.core.model.input import NodeStart
from tocsin.core.simulation.lookahead import NEVER_AGAIN, look_ahead
from tocsin.core.simulation.repeats import Span


def seen(world: World, times: int, every: int = MINUTE, *, ends_in: int = 0, **scope: str) -> None:
    """An alert fires, and is repeated."""
    window = world.at - MINUTE, world.at
    for number in range(times + 1):
        if number:
            world.wait(every)
        world.fire(window=window, ends_at=world.at + ends_in if ends_in else None, **(scope or {"host": "a"}))


def spans(world: World) -> list[tuple[int, int]]:
    sightings = look_ahead(recording(world)).sightings
    return list(zip(sightings.last_at, sightings.repeats, strict=True))


def test_the_next_entry_says_how_long_an_alert_was_seen():
    world = World(a_policy())
    seen(world, 10)
    last_at = world.at
    world.wait(30)
    world.clear(host="a")

    assert spans(world) == [(last_at, 10), (0, 0)]


def test_without_a_later_entry_nobody_knows():
    world = World(a_policy())
    seen(world, 10)

    assert spans(world) == [(NEVER_AGAIN, 0)]


def test_each_look_of_an_alert_has_its_own_repeats():
    world = World(a_policy())
    seen(world, 2)
    first = world.at
    world.wait(MINUTE)
    seen(world, 3)
    second = world.at
    world.wait(MINUTE)
    world.green(host="a")
    world.wait(MINUTE)
    seen(world, 0)

    assert spans(world) == [(first, 2), (second, 3), (0, 0), (NEVER_AGAIN, 0)]


def test_repeats_lie_at_equal_intervals():
    span = Span(100, 160, 3)

    assert [span.next_after(at) for at in (0, 100, 119, 120, 159, 160, 999)] == [
        120,
        120,
        120,
        140,
        160,
        0,
        0,
    ]
    assert span.interval() == 20
    assert Span(100, 100, 0).next_after(100) == 0


def test_a_repeat_reopens_what_somebody_resolved_exactly_as_it_was_recorded():
    world = World(a_policy(reopen_within=5 * MINUTE))
    seen(world, 3)
    world.act("resolve", 1)
    for _ in range(8):
        world.wait(MINUTE)
        world.fire(
            window=(
                world.entries[1].draft.events[1].window_start,
                world.entries[1].draft.events[1].window_end,
            ),
            host="a",
        )
    world.wait(MINUTE)
    world.clear(host="a")
    world.wait(HOUR)
    assert world.state.incidents == {} or world.incident(1).generation == 2

    report = again(recording(world), a_policy(reopen_within=5 * MINUTE), until=world.at)

    assert report.numbers.reopened.recorded == report.numbers.reopened.again == 1
    assert report.drift.found == report.effect.found == 0


def test_under_a_longer_reopen_within_a_later_repeat_reopens_it():
    world = World(a_policy(reopen_within=5 * MINUTE))
    begun = world.at
    seen(world, 3)
    world.act("resolve", 1)
    resolved_at = world.at
    for _ in range(30):
        world.wait(MINUTE)
        world.fire(window=(begun - MINUTE, begun), host="a")
    world.wait(MINUTE)
    world.clear(host="a")
    world.wait(HOUR)

    report = again(recording(world), a_policy(reopen_within=20 * MINUTE), until=world.at)

    (difference,) = [one for one in report.effect.differences if one.before is None]
    assert report.numbers.reopened.again == report.numbers.reopened.candidate == 1
    assert difference.after.opened_at == resolved_at + 21 * MINUTE


def test_a_timeout_shorter_than_the_interval_lets_the_alert_come_and_go():
    world = World(a_policy(reopen_within=0, send_resolved=False))
    seen(world, 4, every=10 * MINUTE)
    world.wait(MINUTE)
    world.clear(host="a")
    world.wait(HOUR)

    report = again(
        recording(world),
        a_policy(reopen_within=0, send_resolved=False, resolve_timeout=4 * MINUTE),
        until=world.at,
    )

    assert report.numbers.opened.again == 1
    assert report.numbers.opened.candidate == 5
    assert report.numbers.resolved_by_itself.candidate == 5


def test_a_timeout_longer_than_the_interval_counts_from_the_last_repeat():
    world = World(a_policy())
    seen(world, 30)
    last_at = world.at
    world.wait(2 * HOUR)
    world.clear(host="a")
    world.wait(HOUR)

    report = again(recording(world), a_policy(resolve_timeout=20 * MINUTE), until=world.at)

    (difference,) = report.effect.differences
    assert difference.after.resolved_at == last_at + 20 * MINUTE
    assert difference.settings == ("resolve_timeout: 0s -> 20m",)


def test_what_fires_to_the_end_is_taken_to_be_seen_to_the_end():
    world = World(a_policy())
    seen(world, 3)
    world.wait(DAY)
    world.fire(host="b")

    report = again(recording(world), a_policy(resolve_timeout=20 * MINUTE), until=world.at + HOUR)

    assert report.numbers.resolved_by_itself.candidate == 0


def test_an_alert_with_an_end_expires_when_it_did_in_the_record_whatever_the_policy_says():
    world = World(a_policy())
    seen(world, 10, ends_in=5 * MINUTE)
    world.wait(HOUR)

    report = again(recording(world), a_policy(resolve_timeout=SECOND), until=world.at)

    assert report.inputs["expiries"] == 1
    assert report.numbers.resolved_by_itself.candidate == 1
    assert report.effect.found == report.drift.found == 0


def test_an_absence_of_ours_extends_what_nobody_could_see():
    policy = a_policy(resolve_timeout=10 * MINUTE)
    world = World(policy)
    seen(world, 3)
    world.wait(MINUTE)
    world.at += 2 * HOUR
    world.feed(NodeStart(gap=2 * HOUR))
    world.wait(HOUR)

    report = again(recording(world), policy, until=world.at)

    assert report.inputs["nodes"] == 1
    assert report.numbers.resolved_by_itself.recorded == 1
    assert report.drift.found == report.effect.found == 0


def test_greens_that_the_record_no_longer_needed_go_on():
    world = World(a_policy(greens=2))
    world.fire(host="a")
    for _ in range(2):
        world.wait(MINUTE)
        world.green(host="a")
    cleared_at = world.at
    world.wait(HOUR)

    report = again(recording(world), a_policy(greens=5), until=world.at)

    (difference,) = report.effect.differences
    assert difference.before.resolved_at == cleared_at
    assert difference.after.resolved_at == cleared_at + 3 * MINUTE
    assert difference.settings == ("greens: 2 -> 5",)


# A period that begins while alerts fire


def test_what_is_being_repeated_when_the_period_begins_expires_when_it_did():
    policy = a_policy(resolve_timeout=20 * MINUTE)
    world = World(policy)
    seen(world, 15)
    since = world.at
    begun = world.at - 15 * MINUTE
    for _ in range(15):
        world.wait(MINUTE)
        world.fire(window=(begun - MINUTE, begun), host="a")
    world.wait(HOUR)

    report = again(recording(world), policy, since=since, until=world.at)

    assert report.numbers.resolved_by_itself.recorded == report.numbers.resolved_by_itself.again == 1
    assert report.drift.found == report.effect.found == 0


def test_what_was_last_seen_before_the_period_expires_by_what_nodes_were_away_later():
    policy = a_policy(resolve_timeout=3 * HOUR)
    world = World(policy)
    seen(world, 5)
    world.wait(MINUTE)
    world.at += HOUR
    world.feed(NodeStart(gap=HOUR))
    world.wait(MINUTE)
    since = world.at
    world.wait(5 * HOUR)

    report = again(recording(world), policy, since=since, until=world.at)

    assert report.numbers.resolved_by_itself.again == 1
    assert report.drift.found == report.effect.found == 0


def test_an_end_that_a_sender_gave_before_the_period_holds_in_it():
    policy = a_policy(resolve_timeout=MINUTE)
    world = World(policy)
    seen(world, 5, ends_in=HOUR)
    since = world.at + 1
    world.wait(3 * HOUR)

    report = again(recording(world), policy, since=since, until=world.at)

    assert report.inputs["expiries"] == 1
    assert report.drift.found == report.effect.found == 0


def test_a_node_that_starts_does_not_extend_what_is_seen_after_it():
    policy = a_policy(resolve_timeout=30 * MINUTE)
    world = World(policy)
    seen(world, 3)
    begun = world.at - 3 * MINUTE
    world.wait(MINUTE)
    world.at += 2 * HOUR
    world.feed(NodeStart(gap=2 * HOUR))
    for _ in range(5):
        world.wait(MINUTE)
        world.fire(window=(begun - MINUTE, begun), host="a")
    world.wait(HOUR)

    report = again(recording(world), policy, until=world.at)

    assert report.numbers.resolved_by_itself.again == 1
    assert report.drift.found == report.effect.found == 0
