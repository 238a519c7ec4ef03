"""The heartbeat comes while the node does its work, and stays away when it does not, although the process lives."""

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path

import pytest
from tests.cli.running import serving
from tests.runtime.house import SOON_S, House, Wrapped, a_house, an_alert
from tests.support.http_sink import HttpSink, Reply

from tocsin.core.model.errors import Unavailable
from tocsin.outbound import Outbound
from tocsin.ports import Batch, StoreFailed
from tocsin.runtime import gate
from tocsin.stores.memory import MemoryStore

EVERY_S = 0.01


def beats(house: House, outcome: str) -> float:
    value = house.node.metrics.registry.get_sample_value("tocsin_heartbeat_total", {"outcome": outcome})
    assert value is not None
    return value


async def more(house: House, outcome: str, count: int = 2) -> None:
    """Return once so many more heartbeats ended like this."""
    wanted = beats(house, outcome) + count
    async with asyncio.timeout(SOON_S):
        while beats(house, outcome) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def use(house: House, outbound: Outbound, sink: HttpSink, every_s: float = EVERY_S) -> None:
    house.node.heartbeat.use(outbound.get, sink.url("/beat"), every_s)


def test_a_node_that_is_well_is_heard_regularly() -> None:
    async def scenario() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        async with HttpSink() as sink, a_house(MemoryStore()) as house, asyncio.timeout(SOON_S):
            use(house, outbound, sink)

            await sink.received(3)

            assert {(request.method, request.path) for request in sink.requests} == {("GET", "/beat")}
            assert beats(house, "failed") == beats(house, "withheld") == 0
        await outbound.close()

    asyncio.run(scenario())


def test_it_stays_away_while_the_store_fails_and_comes_back_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "AFTER_FAILURE_S", 0.01)

    async def scenario() -> None:
        outbound, store = Outbound(allow_private=("127.0.0.0/8",)), Wrapped(MemoryStore())
        async with HttpSink() as sink, a_house(store) as house:  # type: ignore[arg-type]
            use(house, outbound, sink)
            await more(house, "sent")

            def fail(*_: Batch) -> None:
                raise StoreFailed("the disk is gone, said the test")

            store.before = store.reopen = fail  # type: ignore[attr-defined]
            with pytest.raises(Unavailable):
                await house.fire("disk")
            await more(house, "withheld", 1)  # One that was on its way has ended by now.
            heard = len(sink.requests)
            await more(house, "withheld", 5)
            assert len(sink.requests) == heard

            store.before = store.reopen = lambda *_: None  # type: ignore[attr-defined]
            await more(house, "sent")
        await outbound.close()

    asyncio.run(scenario())


def test_it_stays_away_while_a_turn_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "STUCK_S", 0.05)
    monkeypatch.setattr(gate, "IDLE_S", 0.01)
    release = threading.Event()

    async def scenario() -> None:
        outbound, store = Outbound(allow_private=("127.0.0.0/8",)), Wrapped(MemoryStore())
        async with HttpSink() as sink, a_house(store) as house:  # type: ignore[arg-type]
            use(house, outbound, sink)
            await more(house, "sent")

            store.before = lambda batch: assert_released()
            waiting = house.node.gate.submit([an_alert("disk")], "t")
            await more(house, "withheld")
            release.set()
            await waiting
            await more(house, "sent")
        await outbound.close()

    def assert_released() -> None:
        assert release.wait(SOON_S)

    asyncio.run(scenario())


def test_it_stays_away_when_nobody_would_deliver() -> None:
    async def scenario() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        async with HttpSink() as sink, a_house(MemoryStore()) as house:
            use(house, outbound, sink)
            await more(house, "sent")

            task = house.node.dispatcher._task
            assert task is not None
            task.cancel()

            await more(house, "withheld")
            assert "dispatcher" in house.node.unwell()
        await outbound.close()

    asyncio.run(scenario())


def test_one_that_fails_is_said_once_and_counted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tocsin.heartbeat")

    async def scenario() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        replies = (
            Reply(status=500),
            Reply(raw=b"220 this is no HTTP\r\n"),
            Reply(status=302),
            Reply(status=204),
        )
        async with HttpSink(*replies) as sink, a_house(MemoryStore()) as house:
            use(house, outbound, sink)
            await more(house, "sent")

            assert beats(house, "failed") == 3
        await outbound.close()

    asyncio.run(scenario())
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" (")[0] for line in said] == [
        "the heartbeat fails: it was answered with HTTP 500",
        "the heartbeat is sent again",
    ]


def test_an_address_that_must_not_be_reached_is_not_reached(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        outbound = Outbound()
        async with HttpSink() as sink, a_house(MemoryStore()) as house:
            use(house, outbound, sink)
            await more(house, "failed")
            assert sink.connections == 0
        await outbound.close()

    asyncio.run(scenario())
    assert "TOCSIN_ALLOW_PRIVATE" in caplog.text
    assert "/beat" not in caplog.text


def test_it_goes_elsewhere_from_one_moment_to_the_next_and_nowhere_if_nobody_is_named() -> None:
    async def scenario() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        async with HttpSink() as old, HttpSink() as new, a_house(MemoryStore()) as house:
            use(house, outbound, old)
            await more(house, "sent")

            use(house, outbound, new, every_s=3600)
            async with asyncio.timeout(SOON_S):
                await new.received(1)
            heard = len(old.requests)
            use(house, outbound, new)
            await more(house, "sent", 5)
            assert len(old.requests) == heard

            house.node.heartbeat.use(outbound.get, "", 0)
            heard = len(new.requests)
            await house.fire("disk")
            await house.fire("cpu")
            assert len(new.requests) == heard
        await outbound.close()

    asyncio.run(scenario())


def test_a_receiver_that_hangs_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.runtime.heartbeat.BEAT_S", 0.05)

    async def scenario() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        async with HttpSink(Reply(hang="before")) as sink, a_house(MemoryStore()) as house:
            use(house, outbound, sink, every_s=0.06)
            assert (await house.fire("disk"))[0].outcome == "opened"
            await more(house, "failed")
        await outbound.close()

    asyncio.run(scenario())


def test_a_stopped_process_is_not_heard_and_beats_once_when_it_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HttpSink() as sink:
            config = tmp_path / "tocsin.yaml"
            config.write_text(
                f"heartbeat: {{url: '{sink.url('/beat')}', every: 1s}}\noutgoing: {{allow_private: [127.0.0.0/8]}}\n"
            )
            with await asyncio.to_thread(lambda: Opened(tmp_path / "data", config)) as server:
                async with asyncio.timeout(120):
                    await sink.received(2)
                    server.running.process.send_signal(signal.SIGSTOP)
                    await asyncio.to_thread(_is_stopped, server.running.process.pid)
                    await _all_is_read(sink)
                    heard = len(sink.requests)
                    await asyncio.sleep(2.5)  # It is silence that is looked for: two more were due.
                    assert len(sink.requests) == heard
                    server.running.process.send_signal(signal.SIGCONT)
                    await sink.received(heard + 2)
                    await asyncio.to_thread(server.running.stop)

    asyncio.run(scenario())


def _is_stopped(process: int) -> None:
    """Return once the child has stopped: a signal that was sent is not yet one that was taken."""
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)


async def _all_is_read(sink: HttpSink) -> None:
    """Return once the sink has read what had been sent to it before: it reads in the order in which things come."""
    for _ in range(2):
        marks = len(sink.requests)
        reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
        writer.write(b"GET /mark HTTP/1.1\r\nHost: sink\r\n\r\n")
        await sink.received(marks + 1)
        await reader.readline()
        writer.close()


class Opened:
    """A server as a plain context manager, so that it can be started beside an event loop."""

    def __init__(self, data: Path, config: Path) -> None:
        self._serving = serving(data, "--config", str(config))
        self.running = self._serving.__enter__()

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *raised: object) -> None:
        self._serving.__exit__(*raised)  # type: ignore[arg-type]
