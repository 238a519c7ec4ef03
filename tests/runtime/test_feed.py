"""Whoever follows the ledger is woken by what is committed, soon but not for each commit, and asked to go at the end."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.runtime.house import SOON_S, a_house

from tocsin.core.model.errors import Unavailable
from tocsin.runtime.feed import CLIENTS_MAX, Feed
from tocsin.stores.memory import MemoryStore


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(SOON_S):
            await scenario

    asyncio.run(in_time())


def test_it_knows_how_far_the_ledger_is_and_wakes_whoever_waits_for_more() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            await house.fire("first")
            feed, size = house.node.feed, house.store.head().size
            assert feed.size == size
            with feed.client():
                waiting = asyncio.create_task(feed.wait(size, SOON_S))

                await house.fire("disk")
                await waiting

                assert feed.size == house.store.head().size > size
            assert feed.clients == 0

    run(scenario())


def test_nobody_waits_for_what_is_there_already_nor_longer_than_they_said() -> None:
    async def scenario() -> None:
        feed = Feed()
        feed.grew(7)

        await feed.wait(6, 3600)
        await feed.wait(7, 0.01)

        assert feed.size == 7

    run(scenario())


def test_commits_that_come_together_wake_everybody_once() -> None:
    async def scenario() -> None:
        feed, seen = Feed(), []

        async def follow() -> None:
            position = 0
            with feed.client():
                while position < 100:
                    await feed.wait(position, SOON_S)
                    position = feed.size
                    seen.append(position)

        followers = [asyncio.create_task(follow()) for _ in range(3)]
        await asyncio.sleep(0)
        for size in range(1, 101):
            feed.grew(size)
        feed.grew(0)
        feed.grew(99)
        await asyncio.gather(*followers)

        assert seen == [100, 100, 100]

    run(scenario())


def test_at_the_end_all_are_asked_to_go_and_nobody_else_may_come() -> None:
    async def scenario() -> None:
        feed = Feed()
        with feed.client():
            waiting = asyncio.create_task(feed.wait(0, 3600))
            await asyncio.sleep(0)

            feed.close()
            await waiting

        assert feed.closed.is_set()
        with pytest.raises(Unavailable, match="stopping"), feed.client():
            pass

    run(scenario())


def test_only_so_many_may_follow() -> None:
    async def scenario() -> None:
        feed = Feed()
        places = [feed.client() for _ in range(CLIENTS_MAX)]
        for place in places:
            place.__enter__()

        with pytest.raises(Unavailable, match="follow already"), feed.client():
            pass
        places[0].__exit__(None, None, None)
        with feed.client():
            assert feed.clients == CLIENTS_MAX

    run(scenario())
