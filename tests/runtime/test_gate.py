"""The gate sheds load before it accepts anything, keeps the order, and notices when the store works again."""

import asyncio
import gc
import threading
from collections.abc import Sequence

import pytest
from tests.runtime.house import Wrapped, a_house, an_alert, events_of, once

from tocsin.core.model import event as ev
from tocsin.core.model.errors import NotFound, Unavailable
from tocsin.core.model.input import Acted, Action, Input
from tocsin.ports import Batch
from tocsin.runtime import gate
from tocsin.stores.memory import MemoryStore


class Held:
    """A commit that waits until the test lets it go on. begun: set once it waits."""

    def __init__(self) -> None:
        self.begun, self._go_on = threading.Event(), threading.Event()

    def __call__(self, batch: Batch) -> None:
        self.begun.set()
        assert self._go_on.wait(20)

    def release(self) -> None:
        """Let this and all later commits through."""
        self._go_on.set()


def test_what_is_more_than_may_wait_is_refused_and_all_else_is_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "INPUTS_WAITING_MAX", 100)

    async def scenario() -> None:
        store, held = Wrapped(MemoryStore()), Held()
        async with a_house(store) as house:  # type: ignore[arg-type]
            store.before = held
            accepted = [house.node.gate.submit([an_alert("first")], "t")]
            await asyncio.to_thread(held.begun.wait, 20)
            for number in range(9):
                accepted.append(house.node.gate.submit(_some(number, 11), "t"))
            with pytest.raises(Unavailable, match="Nothing was accepted"):
                house.node.gate.submit(_some(10, 1), "t")
            assert house.node.not_ready() == ""

            held.release()
            results = await asyncio.gather(*accepted)

            assert sum(len(one) for one in results) == 100
            fired = events_of(store, ev.AlertFired)  # type: ignore[arg-type]
            assert len(fired) == 100
            assert not any(event.rule_id.startswith("rule-10-") for event in fired)
            assert (await house.fire("later"))[0].outcome == "opened"

    asyncio.run(scenario())


def test_a_request_larger_than_all_that_may_wait_is_taken_when_nothing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "INPUTS_WAITING_MAX", 10)

    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            results = await house.node.gate.submit(_some(0, 25), "t")

            assert len(results) == 25

    asyncio.run(scenario())


def test_what_waited_is_decided_in_the_order_in_which_it_came_and_in_one_commit() -> None:
    async def scenario() -> None:
        store, held = Wrapped(MemoryStore()), Held()
        async with a_house(store) as house:  # type: ignore[arg-type]
            store.before = held
            futures = [house.node.gate.submit([an_alert("disk", window=1)], "t")]
            await asyncio.to_thread(held.begun.wait, 20)
            before = len(list(store.segments()))
            futures += [house.node.gate.submit([an_alert("disk", window=n)], "t") for n in range(2, 40)]

            held.release()
            await asyncio.gather(*futures)

            windows = [event.window_end for event in events_of(store, ev.AlertFired, ev.AlertSeen)]  # type: ignore[arg-type]
            assert windows == [n * 1_000_000 for n in range(1, 40)]
            assert len(list(store.segments())) == before + 2

    asyncio.run(scenario())


def test_whoever_goes_away_does_not_take_others_along_and_what_was_sent_stays() -> None:
    async def scenario() -> None:
        store, held = Wrapped(MemoryStore()), Held()
        async with a_house(store) as house:  # type: ignore[arg-type]
            store.before = held
            first = house.node.gate.submit([an_alert("first")], "t")
            await asyncio.to_thread(held.begun.wait, 20)
            gone = house.node.gate.submit([an_alert("gone")], "t")
            stays = house.node.gate.submit([an_alert("stays")], "t")
            gone.cancel()

            held.release()
            await asyncio.gather(first, stays)

            assert stays.result()[0].outcome == "opened"
            assert [event.rule_id for event in events_of(store, ev.AlertFired)] == ["first", "gone", "stays"]  # type: ignore[arg-type]
            assert house.node.gate._waiting == 0

    asyncio.run(scenario())


def test_a_store_that_works_again_is_noticed_although_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "AFTER_FAILURE_S", 0.01)

    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        async with a_house(store) as house:  # type: ignore[arg-type]
            store.before = once(lambda batch: True)
            with pytest.raises(Unavailable):
                await house.fire("disk")
            assert house.node.not_ready() != ""

            async with asyncio.timeout(10):
                while house.node.not_ready():  # noqa: ASYNC110
                    await asyncio.sleep(0)

            assert events_of(store, ev.AlertFired) == []  # type: ignore[arg-type]
            assert (await house.fire("disk"))[0].outcome == "opened"

    asyncio.run(scenario())


def test_a_turn_that_fails_as_nobody_foresaw_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        async with a_house(store) as house:  # type: ignore[arg-type]

            def break_once(batch: Batch) -> None:
                store.before = lambda batch: None
                raise ZeroDivisionError

            store.before = break_once
            with pytest.raises(Unavailable, match="Try again"):
                await house.fire("disk")

            assert (await house.fire("disk"))[0].outcome == "opened"

    asyncio.run(scenario())


def test_stopping_decides_what_waits_first() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with a_house(store) as house:
            futures = [house.node.gate.submit(_some(number, 50), "t") for number in range(20)]

        assert all(future.done() for future in futures)
        assert len(events_of(store, ev.AlertFired)) == 1000

    asyncio.run(scenario())


def _some(request: int, count: int) -> Sequence[Input]:
    return [an_alert(f"rule-{request}-{number}") for number in range(count)]


def test_what_is_refused_does_not_stay_in_memory() -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(one, NotFound) for one in gc.get_objects())

    async def scenario() -> None:
        async with a_house(MemoryStore()) as house:
            before = kept()
            for number in range(20):
                with pytest.raises(NotFound):
                    await house.node.ask(Acted(action=Action.ACK, incident=1_000 + number), "token:test")
            assert kept() <= before + 1  # The last one may still be at hand.

    asyncio.run(scenario())
