"""Deliveries that stand still are told, so that the process can be started anew; what only waits is left alone.

Looks are made by hand here, as if the time between them had passed.
"""

import asyncio
import logging
from collections.abc import Callable

import pytest
from tests.runtime.house import SOON_S, House, Wrapped, a_house, a_policy
from tests.support.http_sink import HttpSink, Reply

from tocsin.core.model.errors import Unavailable
from tocsin.core.model.policy import HOUR, Retries
from tocsin.ports import Clock, StoreFailed
from tocsin.runtime import dispatcher, gate
from tocsin.runtime.dispatcher import LOOK_EVERY_S, STUCK_S
from tocsin.stores.memory import MemoryStore

LOOKS = int(STUCK_S / LOOK_EVERY_S) + 2
"""So many looks it takes: the first sees how things are, the next that something is due, the others that it stays so."""

STANDS_STILL = "deliveries stand still: channel hook attempts nothing, and something has been due for 30 s"
BUSY = Reply(status=503)


class Boom(Exception):
    """What nobody foresaw."""


class Later:
    """A clock that somebody put forward."""

    def __init__(self, inner: Clock, by: int) -> None:
        self._inner, self._by = inner, by

    def now(self) -> int:
        return self._inner.now() + self._by

    def wall(self) -> int:
        return self._inner.wall() + self._by

    def not_before(self, at: int) -> None:
        self._inner.not_before(at)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # What is waited for is told to nobody.


async def look(house: House, times: int) -> None:
    for _ in range(times):
        house.node.dispatcher._look()
        await asyncio.sleep(0)


def attempts(house: House) -> list[int]:
    """Which attempt comes next of each delivery that the dispatcher holds."""
    return [held.attempt for held in house.node.dispatcher._held.values()]


def told(house: House) -> list[str]:
    """Give the list that what is told will stand in."""
    said: list[str] = []
    house.node.give_up = said.append
    return said


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR and one.name != "asyncio"
    ]


async def ring_raises(house: House, sink: HttpSink) -> None:
    """Let the alarm for the second attempt break."""
    broke = asyncio.Event()

    def ring() -> None:
        raise Boom

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: broke.set())
    house.node.dispatcher._lanes["hook"]._ring = ring  # type: ignore[method-assign]
    await house.fire("disk")
    await broke.wait()
    assert len(sink.requests) == 1


async def is_lost(house: House, sink: HttpSink) -> None:
    """Let a lane forget what it was given."""
    house.node.dispatcher._lanes["hook"].put = lambda dispatch: None  # type: ignore[method-assign]
    await house.fire("disk")
    await until(lambda: any(held.channel == "hook" for held in house.node.dispatcher._held.values()))


async def breaks_off(house: House, sink: HttpSink) -> None:
    """Let an attempt end without an outcome."""
    node, attempted = house.node, house.node.metrics.attempted

    def broken(channel: str, *rest: object, **more: object) -> None:
        if channel == "hook":
            raise Boom
        attempted(channel, *rest, **more)  # type: ignore[arg-type]

    node.metrics.attempted = broken  # type: ignore[method-assign]
    await house.fire("disk")
    await sink.received(1)
    await until(lambda: not node.dispatcher._lanes["hook"]._running)


@pytest.mark.parametrize("breaks", [ring_raises, is_lost, breaks_off])
def test_a_lane_that_breaks_is_told_once_and_the_others_go_on(
    breaks: Callable[[House, HttpSink], asyncio.Future[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with (
            HttpSink(BUSY) as sink,
            HttpSink() as well,
            a_house(MemoryStore(), {"hook": sink, "well": well}) as house,
            asyncio.timeout(SOON_S),
        ):
            said = told(house)
            await breaks(house, sink)
            await well.received(1)

            await look(house, LOOKS - 1)
            assert (said, house.node.not_ready(), house.node.unwell()) == ([], "", "")
            await look(house, LOOKS)

            assert said == [STANDS_STILL]
            assert house.node.not_ready() == house.node.unwell() == STANDS_STILL
            assert not house.node.figures().ready
            await house.fire("cpu")
            await well.received(2)

    asyncio.run(scenario())
    assert [line for line in errors(caplog) if "without an outcome" not in line] == [
        f"{STANDS_STILL}; a new start resumes them"
    ]


def test_a_dispatcher_that_ends_is_told_at_once_with_what_ended_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore()) as house, asyncio.timeout(SOON_S):
            said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            house.node.give_up = said.set_result

            def take(*_: object) -> None:
                raise Boom

            house.node.dispatcher._take = take  # type: ignore[method-assign]
            await house.fire("disk")

            assert await said == "deliveries stand still: the dispatcher has ended"
            assert house.node.not_ready() == await said

    asyncio.run(scenario())
    (record,) = [one for one in caplog.records if one.name == "tocsin.dispatcher"]
    assert record.exc_info is not None
    assert record.exc_info[0] is Boom


def test_time_in_which_the_process_did_not_run_does_not_count() -> None:
    async def scenario() -> None:
        async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            said = told(house)
            await is_lost(house, sink)
            await look(house, LOOKS - 2)

            house.node.dispatcher._clock = Later(house.node.clock, 10 * HOUR)
            await look(house, 1)
            assert said == []
            await look(house, 1)
            assert said == [STANDS_STILL]

    asyncio.run(scenario())


def test_a_node_that_has_nothing_to_do_and_then_stops_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            said = told(house)
            await house.fire("disk")
            await sink.received(1)
            await until(lambda: attempts(house) == [])

            await look(house, 3 * LOOKS)
        assert said == []

    asyncio.run(scenario())
    assert errors(caplog) == []


def test_a_receiver_that_hangs_with_others_behind_it_is_no_standstill() -> None:
    async def scenario() -> None:
        async with (
            HttpSink(Reply(hang="before")) as sink,
            a_house(MemoryStore(), {"hook": sink}, timeout_s=0.5) as house,
        ):
            said = told(house)
            await house.fire(*[f"rule-{number}" for number in range(50)])
            await until(lambda: len(attempts(house)) == 50)
            assert house.node.dispatcher.figures()["hook"].due != []

            await look(house, 3 * LOOKS)
            assert said == []

    asyncio.run(scenario())


@pytest.mark.parametrize("reply", [BUSY, Reply(status=429, headers={"Retry-After": "120"})])
def test_what_waits_for_its_next_attempt_is_no_standstill(reply: Reply) -> None:
    async def scenario() -> None:
        policy = a_policy("hook", retries=Retries(steps=(HOUR,)))
        async with HttpSink(reply) as sink, a_house(MemoryStore(), {"hook": sink}, policy=policy) as house:
            said = told(house)
            await house.fire("disk")
            await until(lambda: attempts(house) == [2])

            await look(house, 3 * LOOKS)
            assert said == []
            assert len(sink.requests) == 1

    asyncio.run(scenario())


def test_what_waits_for_a_channel_that_is_not_configured_is_no_standstill() -> None:
    async def scenario() -> None:
        async with a_house(MemoryStore(), policy=a_policy("ghost")) as house:
            said = told(house)
            await house.fire("disk")
            await until(lambda: attempts(house) == [2])

            await look(house, 3 * LOOKS)
            assert said == []

    asyncio.run(scenario())


def test_what_is_held_back_for_a_new_configuration_is_no_standstill() -> None:
    async def scenario() -> None:
        async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            said = told(house)
            with house.node.dispatcher.held_back():
                await house.fire("disk")
                await until(lambda: attempts(house) == [1])
                await look(house, 3 * LOOKS)
            await sink.received(1)
            await look(house, 3 * LOOKS)
            assert said == []

    asyncio.run(scenario())


def test_a_message_that_cannot_be_read_is_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_EVERY_S", 0.05)  # As far from READ_AGAIN_S as the real one.
    monkeypatch.setattr(dispatcher, "STUCK_S", 0.1)
    monkeypatch.setattr(dispatcher, "READ_AGAIN_S", 0.01)
    reads: list[int] = []

    def message(number: int) -> None:
        reads.append(number)
        raise StoreFailed("the database is away, said the test")

    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        store.message = message  # type: ignore[attr-defined]
        async with HttpSink(BUSY) as sink, a_house(store, {"hook": sink}) as house:  # type: ignore[arg-type]
            said = told(house)
            await house.fire("disk")
            await until(lambda: len(reads) >= 40)
            assert said == []
            assert len(sink.requests) == 1

    asyncio.run(scenario())


def test_while_the_store_fails_only_that_is_told_and_the_standstill_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "AFTER_FAILURE_S", 0.01)

    def fail(*_: object) -> None:
        raise StoreFailed("the disk is gone, said the test")

    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        async with HttpSink() as sink, a_house(store, {"hook": sink}) as house:  # type: ignore[arg-type]
            said = told(house)
            await is_lost(house, sink)
            store.before = store.reopen = fail  # type: ignore[attr-defined]
            with pytest.raises(Unavailable):
                await house.fire("cpu")
            await look(house, 3 * LOOKS)
            assert said == []
            assert "stand still" not in house.node.not_ready()

            store.before = store.reopen = lambda *_: None  # type: ignore[attr-defined]
            await until(lambda: not house.node.gate.failed)
            await look(house, LOOKS)
            assert said == [STANDS_STILL]

    asyncio.run(scenario())


def test_a_clock_that_is_put_forward_makes_due_what_waited_for_it() -> None:
    async def scenario() -> None:
        policy = a_policy("hook", retries=Retries(steps=(HOUR,)))
        async with (
            HttpSink(BUSY, Reply()) as sink,
            a_house(MemoryStore(), {"hook": sink}, policy=policy) as house,
        ):
            said = told(house)
            await house.fire("disk")
            await until(lambda: attempts(house) == [2])

            house.node.dispatcher._clock = Later(house.node.clock, 2 * HOUR)
            await look(house, 1)
            async with asyncio.timeout(SOON_S):
                await sink.received(2)
            await look(house, 3 * LOOKS)
            assert said == []

    asyncio.run(scenario())
