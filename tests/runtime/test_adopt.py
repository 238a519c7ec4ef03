"""Another policy and other channels are taken over while it runs: nothing on its way is lost, nothing is sent twice."""

import asyncio
from collections.abc import Mapping

import pytest
from tests.runtime.house import House, Wrapped, a_house, a_policy, once

from tocsin.core.model import event as ev
from tocsin.core.model.errors import Invalid, TocsinError
from tocsin.core.model.notification import Delivered, DeliveryState, Message, Outcome, Retry, Target
from tocsin.core.model.policy import HOUR, Policy, Retries, Route
from tocsin.ports import Channel
from tocsin.stores.memory import MemoryStore


class Mouth:
    """A channel that remembers what it was asked to say. open: clear it, and attempts wait until it is set."""

    kind = "test"

    def __init__(self, name: str, *, outcome: Outcome | None = None, addresses: tuple[str, ...] = ()) -> None:
        self.name = name
        self.addresses = addresses or (name,)
        self.began: list[str] = []
        self.ended: list[str] = []
        self.dry: list[bool] = []
        self.closed = asyncio.Event()
        self.speaking = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self._outcome = outcome or Delivered(detail="said")

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        assert not self.closed.is_set(), "a closed channel was used"
        self.began.append(target.address)
        self.dry.append(dry_run)
        self.speaking.set()
        await self.open.wait()
        self.ended.append(target.address)
        return self._outcome

    async def close(self) -> None:
        assert len(self.began) == len(self.ended), "it was closed in the middle of an attempt"
        self.closed.set()


def policy_of(channels: Mapping[str, Channel], **more: object) -> Policy:
    targets = tuple(
        Target(id=f"{channel.name}-{address}", channel=channel.name, address=address)
        for channel in channels.values()
        for address in channel.addresses
    )
    base = a_policy()
    return Policy(
        routes=base.routes, targets=targets, rate_limit=None, retries=more.get("retries", base.retries)
    )  # type: ignore[arg-type]


async def adopt(house: House, *mouths: Mouth, **more: object) -> bool:
    channels: dict[str, Channel] = {mouth.name: mouth for mouth in mouths}
    return await house.node.adopt(policy_of(channels, **more), channels, actor="token:test", dry_run=False)


def test_an_attempt_ends_with_the_channel_that_it_began_with_which_is_closed_then() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            old, new = Mouth("m"), Mouth("m")
            await adopt(house, old)
            old.open.clear()
            await house.fire("first")
            await old.speaking.wait()

            changed = await adopt(house, new)
            await house.fire("second")
            await new.speaking.wait()

            assert not changed, "the policy is the same"
            assert (old.ended, new.began) == ([], ["m"])
            assert not old.closed.is_set()
            old.open.set()
            await old.closed.wait()
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 2)
            assert (old.began, old.ended, new.began) == (["m"], ["m"], ["m"])
            assert {end.state for end in house.events(ev.DeliveryEnded)} == {DeliveryState.DELIVERED}

    asyncio.run(scenario())


def test_what_waits_for_another_attempt_is_made_through_the_new_channel() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            deaf, well = Mouth("m", outcome=Retry(why="busy")), Mouth("m")
            await adopt(house, deaf)
            await house.fire("disk")
            await deaf.speaking.wait()

            await adopt(house, well)
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert end.state == DeliveryState.DELIVERED
            assert well.began == ["m"]
            await deaf.closed.wait()

    asyncio.run(scenario())


def test_a_channel_that_is_new_is_there_before_anything_is_sent_through_it() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            await house.fire("before")
            new = Mouth("new")

            assert await adopt(house, new)
            await house.fire("after")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            assert house.events(ev.DeliveryRetried) == []
            assert [end.state for end in house.events(ev.DeliveryEnded)] == [DeliveryState.DELIVERED]

    asyncio.run(scenario())


def test_what_waits_for_a_channel_that_is_taken_away_is_cancelled_and_never_sent() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            gone, stays = Mouth("gone", outcome=Retry(why="busy")), Mouth("stays")
            await adopt(house, gone, stays, retries=Retries(steps=(HOUR,)))
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryRetried) != [] and stays.ended != [])

            assert await adopt(house, stays)

            ended = [end for end in house.events(ev.DeliveryEnded) if end.state == DeliveryState.CANCELLED]
            assert len(ended) == 1
            assert gone.began == ["gone"]
            await gone.closed.wait()
            assert list(house.node.channels) == ["stays"]

    asyncio.run(scenario())


def test_an_address_that_is_taken_away_is_not_written_to_while_the_channels_are_exchanged() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            both = Mouth("mail", outcome=Retry(why="busy"), addresses=("anna", "ben"))
            one = Mouth("mail", addresses=("ben",))
            await adopt(house, both)
            await house.fire("disk")
            await house.until(lambda: len(house.events(ev.DeliveryRetried)) >= 2)

            await adopt(house, one)
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 2)

            assert one.began == ["ben"]
            states = sorted(end.state for end in house.events(ev.DeliveryEnded))
            assert states == [DeliveryState.CANCELLED, DeliveryState.DELIVERED]

    asyncio.run(scenario())


def test_an_attempt_that_runs_when_its_channel_is_taken_away_may_end() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            gone = Mouth("gone")
            await adopt(house, gone)
            gone.open.clear()
            await house.fire("disk")
            await gone.speaking.wait()

            await adopt(house)
            gone.open.set()
            await gone.closed.wait()

            assert gone.ended == ["gone"]
            assert [end.state for end in house.events(ev.DeliveryEnded)] == [DeliveryState.CANCELLED]

    asyncio.run(scenario())


def test_a_policy_that_is_refused_changes_nothing() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            mouth, other = Mouth("m"), Mouth("other")
            await adopt(house, mouth)
            before = house.node.policy
            wrong = Policy(routes=Route(name="root", channels=("nobody",)))

            with pytest.raises(Invalid, match="nobody"):
                await house.node.adopt(wrong, {"other": other}, actor="token:test", dry_run=True)

            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])
            assert (mouth.ended, mouth.dry, other.began) == (["m"], [False], [])
            assert not mouth.closed.is_set()
            assert (house.node.policy, house.node.dry_run) == (before, False)

    asyncio.run(scenario())


def test_a_store_that_fails_changes_nothing_and_the_next_try_is_whole() -> None:
    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        async with a_house(store) as house:  # type: ignore[arg-type]  # the wrapped store has it all
            old, new = Mouth("old"), Mouth("new")
            await adopt(house, old)
            store.before = once(lambda batch: True)

            with pytest.raises(TocsinError):
                await adopt(house, new)
            assert list(house.node.channels) == ["old"]
            assert await adopt(house, new)

            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])
            assert (old.began, new.ended) == ([], ["new"])

    asyncio.run(scenario())


def test_a_dry_run_begins_and_ends_with_the_configuration() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            mouths = [Mouth("m"), Mouth("m")]
            for mouth, dry_run in zip(mouths, (True, False), strict=True):
                channels: dict[str, Channel] = {"m": mouth}
                await house.node.adopt(policy_of(channels), channels, actor="token:test", dry_run=dry_run)
                await house.fire(f"rule-{dry_run}")
                await mouth.speaking.wait()

            assert [mouth.dry for mouth in mouths] == [[True], [False]]

    asyncio.run(scenario())
