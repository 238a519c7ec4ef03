"""The contract of `tocsin.ports.Source`, for every source there is: the same questions, the same answers."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.contracts.measured import MINUTES, SECRET, WORLDS, World, expected, value_at, window

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Point
from tocsin.ports import SourceFailed


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with WORLDS[request.param](tmp_path_factory.mktemp(request.param)) as world:
        yield world


# What is given


def test_all_points_of_a_window_come_by_their_labels_with_the_oldest_first(world: World):
    (answer,) = world.ask(world.question(world.points, 5, 20))

    assert answer == expected(5, 20)


def test_windows_that_meet_share_no_point_and_lose_none(world: World):
    halves = world.ask(world.question(world.points, 10, 10), world.question(world.points, 20, 10))

    for series, first, second in zip(expected(10, 20), *halves, strict=True):
        assert first.labels == second.labels == series.labels
        assert first.points + second.points == series.points


def test_one_number_for_a_window_is_the_last_point(world: World):
    (answer,) = world.ask(world.question(world.total, 10, 10))

    since, until = window(10, 10)
    for series, region in zip(answer, ("eu", "us west"), strict=True):
        assert series.labels == {"region": region}
        assert series.points[-1].value == pytest.approx(sum(value_at(n, region) for n in range(10, 20)))
        assert until - 1_000 <= series.points[-1].at < until
        assert all(since <= point.at < until for point in series.points)


def test_the_number_for_a_window_counts_nothing_twice(world: World):
    first, second, whole = world.ask(
        world.question(world.total, 10, 7),
        world.question(world.total, 17, 13),
        world.question(world.total, 10, 20),
    )

    for one, other, both in zip(first, second, whole, strict=True):
        assert one.points[-1].value + other.points[-1].value == pytest.approx(both.points[-1].value)


def test_a_window_without_points_has_no_series(world: World):
    assert world.ask(world.question(world.points, -50_000, 10)) == [()]


def test_points_are_finite_numbers_at_whole_microseconds(world: World):
    (answer,) = world.ask(world.question(world.points, 0, MINUTES))

    assert all(
        type(p) is Point and type(p.at) is int and type(p.value) is float for s in answer for p in s.points
    )


def test_many_may_ask_at_once(world: World):
    async def run():
        source = world.source()
        try:
            asks = [world.question(world.points, first, 5) for first in range(0, 40, 2)]
            return await asyncio.gather(*(source.ask(ask) for ask in asks))
        finally:
            await source.close()
            await world.outbound.close()

    assert asyncio.run(run()) == [expected(first, 5) for first in range(0, 40, 2)]


# What is refused


def test_a_good_question_passes_the_check_and_an_empty_one_does_not(world: World):
    source = world.source()

    source.check(world.points)
    source.check(world.total)
    for empty in ("", "  \n"):
        with pytest.raises(Invalid, match="empty"):
            source.check(empty)


def test_a_question_that_cannot_be_answered_is_not_taken_for_a_source_that_is_away(world: World):
    async def run():
        source = world.source()
        try:
            with pytest.raises(SourceFailed) as failed:
                await source.ask(world.question(world.wrong, 5, 5))
            return failed.value, await source.ask(world.question(world.points, 5, 5))
        finally:
            await source.close()
            await world.outbound.close()

    failed, answer = asyncio.run(run())

    assert not failed.is_away
    assert answer == expected(5, 5)


def test_a_source_that_is_away_says_so_and_tells_no_secret(world: World):
    with pytest.raises(SourceFailed) as failed:
        world.ask(world.question(world.points, 5, 5), away=True)

    assert failed.value.is_away
    assert SECRET not in str(failed.value)
    assert len(str(failed.value)) < 400


def test_an_answer_that_is_too_large_is_refused_whole(world: World):
    with pytest.raises(SourceFailed, match="more than") as failed:
        world.ask(world.question(world.points, 0, MINUTES), small=True)

    assert not failed.value.is_away


# Around it


def test_a_source_says_what_it_is_and_shows_no_secret(world: World):
    source = world.source(away=True)

    assert source.name == "shop"
    assert source.kind in ("sql", "prometheus", "http")
    assert SECRET not in repr(source)


def test_a_source_may_be_closed_twice_and_unused(world: World):
    async def run():
        source = world.source()
        await source.close()
        await source.close()
        await world.outbound.close()

    asyncio.run(run())
