"""What is decided arrives, whatever the receiver does; and one receiver's trouble is nobody else's."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from tests.runtime.house import SOON_S, Wrapped, a_house, a_policy, an_alert, events_of, once
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import free_port

from tocsin.core.model import event as ev
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.policy import SECOND, Retries
from tocsin.ports import Batch
from tocsin.runtime import dispatcher, node
from tocsin.runtime.dispatcher import PLACES, PLACES_AT_FIRST, PLACES_FOR_URGENT
from tocsin.stores.memory import MemoryStore


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": "0"}),
        Reply(status=429),
        Reply(status=302, headers={"Location": "http://127.0.0.1/elsewhere"}),
        Reply(status=401),
        Reply(reset="before"),
        Reply(raw=b"SSH-2.0-OpenSSH_9.9\r\n"),
    ],
    ids=lambda reply: f"{reply.status}{reply.reset}{reply.raw[:3].decode()}",
)
def test_a_failed_attempt_is_made_again_with_the_same_key_and_body(trouble: Reply) -> None:
    async def scenario() -> None:
        async with (
            HttpSink(trouble, trouble, Reply()) as sink,
            a_house(MemoryStore(), {"hook": sink}) as house,
        ):
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert (end.state, end.attempts) == (DeliveryState.DELIVERED, 3)
            assert [retry.attempts for retry in house.events(ev.DeliveryRetried)] == [1, 2]
            assert len(sink.requests) == 3
            assert len({request.headers["webhook-id"] for request in sink.requests}) == 1
            assert len({request.body for request in sink.requests}) == 1
            assert {request.path for request in sink.requests} == {"/hook"}

    asyncio.run(scenario())


def test_a_status_that_arrived_counts_even_if_the_connection_breaks_after_it() -> None:
    async def scenario() -> None:
        broken = Reply(reset="body", body=b"thanks")
        async with HttpSink(broken, Reply()) as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            assert len(sink.requests) == 1
            assert house.events(ev.DeliveryRetried) == []

    asyncio.run(scenario())


def test_retry_after_is_waited_for() -> None:
    async def scenario() -> None:
        busy = Reply(status=429, headers={"Retry-After": "120"})
        async with HttpSink(busy) as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryRetried) != [])

            (retry,) = house.events(ev.DeliveryRetried)
            wait = retry.due - house.store.head().at
            assert 119_000_000 < wait <= 120_000_000
            assert "120 s" in retry.because

    asyncio.run(scenario())


def test_a_receiver_that_is_gone_is_given_up_and_somebody_else_is_told() -> None:
    async def scenario() -> None:
        async with (
            HttpSink(Reply(status=410)) as gone,
            HttpSink() as well,
            a_house(MemoryStore(), {"gone": gone, "well": well}) as house,
        ):
            await house.fire("disk")
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 3)

            assert len(gone.requests) == 1
            assert sorted(json.loads(request.body)["type"] for request in well.requests) == [
                "notification.meta",
                "notification.opened",
            ]
            (meta,) = [n for n in house.events(ev.Notified) if n.kind is NotificationKind.META]
            assert [new.channel for new in meta.deliveries] == ["well"]

    asyncio.run(scenario())


def test_a_receiver_that_nobody_can_reach_is_asked_again() -> None:
    async def scenario() -> None:
        url = f"http://127.0.0.1:{free_port()}/hook"
        async with a_house(MemoryStore(), {"hook": url}) as house:
            await house.fire("disk")
            await house.until(lambda: len(house.events(ev.DeliveryRetried)) >= 2)

            assert house.events(ev.DeliveryEnded) == []
            assert house.store.counts()["pending"] == 1

    asyncio.run(scenario())


def test_fifty_deliveries_that_hang_delay_no_other_channel_and_leave_room_for_what_is_critical() -> None:
    async def scenario() -> None:
        rules = [f"rule-{number}" for number in range(50)]
        async with (
            HttpSink(Reply(hang="before")) as hangs,
            HttpSink() as well,
            a_house(MemoryStore(), {"hangs": hangs, "well": well}, timeout_s=1.0) as house,
        ):
            await house.fire(*rules)
            async with asyncio.timeout(10):
                await well.received(50)
                await hangs.received(PLACES_AT_FIRST)
            assert len(hangs.requests) == PLACES_AT_FIRST

            await house.fire("fire", severity="critical")
            async with asyncio.timeout(10):
                await hangs.received(PLACES_AT_FIRST + 1)
            assert json.loads(hangs.requests[-1].body)["data"]["severity"] == "critical"
            assert house.events(ev.DeliveryRetried) == [], "nothing of the channel that hangs has ended yet"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answered", "places"),
    [(0, PLACES_AT_FIRST), (10, PLACES_AT_FIRST + 10), (60, PLACES - PLACES_FOR_URGENT)],
)
def test_a_receiver_that_answers_is_told_more_at_once(
    monkeypatch: pytest.MonkeyPatch, answered: int, places: int
) -> None:
    monkeypatch.setattr(node, "STOP_GRACE_S", 0.0)

    async def scenario() -> None:
        script = [*[Reply()] * answered, Reply(hang="before")]
        async with HttpSink(*script) as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            await house.fire(*[f"rule-{number}" for number in range(100)])
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == answered)
            async with asyncio.timeout(10):
                await sink.received(answered + places)

            assert len(sink.requests) == answered + places
            assert len(house.node.dispatcher._lanes["hook"]._running) == places

    asyncio.run(scenario())


def test_a_receiver_that_fails_is_told_less_at_once_until_it_answers() -> None:
    async def scenario() -> None:
        script = [*[Reply()] * 30, *[Reply(status=503)] * 30, Reply()]
        policy = a_policy("hook", retries=Retries(steps=(3_600_000_000,)))
        async with HttpSink(*script) as sink, a_house(MemoryStore(), {"hook": sink}, policy=policy) as house:
            lane = house.node.dispatcher._lanes["hook"]
            places = []
            for name, kind, count in (
                ("fine", ev.DeliveryEnded, 30),
                ("fails", ev.DeliveryRetried, 30),
                ("works", ev.DeliveryEnded, 40),
            ):
                await house.fire(*[f"{name}-{number}" for number in range(10 if name == "works" else 30)])
                await house.until(lambda kind=kind, count=count: len(house.events(kind)) == count)
                places.append(lane._places)

            assert places == [PLACES - PLACES_FOR_URGENT, PLACES_AT_FIRST, PLACES_AT_FIRST + 10]

    asyncio.run(scenario())


def test_an_attempt_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPT_S", 0.05)

    async def scenario() -> None:
        async with (
            HttpSink(Reply(hang="before"), Reply()) as sink,
            a_house(MemoryStore(), {"hook": sink}) as house,
        ):
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert (end.state, end.attempts) == (DeliveryState.DELIVERED, 2)
            assert len({request.headers["webhook-id"] for request in sink.requests}) == 1

    asyncio.run(scenario())


def test_an_outcome_that_could_not_be_stored_is_reported_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "REPORT_AGAIN_S", 0.01)

    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        store.before = once(lambda batch: bool(batch.deliveries))
        async with HttpSink() as sink, a_house(store, {"hook": sink}) as house:  # type: ignore[arg-type]
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert (end.state, end.attempts) == (DeliveryState.DELIVERED, 1)
            assert len(sink.requests) == 1

    asyncio.run(scenario())


def test_what_a_commit_of_unknown_fate_decided_to_send_is_sent_once() -> None:
    async def scenario() -> None:
        store = Wrapped(MemoryStore())
        store.after = once(lambda batch: bool(batch.new_deliveries))
        async with HttpSink() as sink, a_house(store, {"hook": sink}) as house:  # type: ignore[arg-type]
            with pytest.raises(Exception, match="accepted nothing"):
                await house.fire("disk")

            (again,) = await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            assert again.outcome == "duplicate"
            assert len(sink.requests) == 1
            assert len(house.events(ev.Notified)) == 1

    asyncio.run(scenario())


def test_what_was_on_its_way_is_sent_after_a_restart_with_the_same_key_and_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "STOP_GRACE_S", 0.0)

    async def scenario() -> None:
        async with HttpSink(Reply(hang="before"), Reply()) as sink:
            async with a_house(tmp_path, {"hook": sink}) as house:
                await house.fire("disk", severity="critical")
                async with asyncio.timeout(10):
                    await sink.received(1)

            async with a_house(tmp_path, {"hook": sink}) as house:
                await house.until(lambda: house.events(ev.DeliveryEnded) != [])
                assert house.store.counts()["delivered"] == 1

            first, second = sink.requests
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            assert first.body == second.body

    asyncio.run(scenario())


def test_a_retry_that_waits_is_still_made_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        policy = a_policy("hook", retries=Retries(steps=(300_000,)))
        async with HttpSink(Reply(status=500), Reply()) as sink:
            async with a_house(tmp_path, {"hook": sink}, policy=policy) as house:
                await house.fire("disk")
                await house.until(lambda: house.events(ev.DeliveryRetried) != [])

            async with a_house(tmp_path, {"hook": sink}, policy=policy) as house:
                await house.until(lambda: house.events(ev.DeliveryEnded) != [])

                (retry,) = house.events(ev.DeliveryRetried)
                (end,) = house.events(ev.DeliveryEnded)
                assert end.attempts == 2
                assert house.store.head().at >= retry.due
            assert len(sink.requests) == 2

    asyncio.run(scenario())


def test_a_target_whose_channel_went_away_hears_nothing_and_its_deliveries_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, {"old": f"http://127.0.0.1:{free_port()}/"}) as house:
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryRetried) != [])

        async with HttpSink() as sink, a_house(tmp_path, {"new": sink}) as house:
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert end.state is DeliveryState.CANCELLED
            assert sink.requests == []

    asyncio.run(scenario())


def test_a_channel_that_is_missing_is_not_asked_for_in_a_loop() -> None:
    async def scenario() -> None:
        policy = a_policy("missing", "hook")
        async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}, policy=policy) as house:
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryRetried) != [])
            for _ in range(20):
                await house.fire("disk", window=house.store.head().size)

            (retry,) = house.events(ev.DeliveryRetried)
            assert retry.due > house.store.head().at + 500_000_000

    asyncio.run(scenario())


def test_resolved_never_overtakes_opened() -> None:
    async def scenario() -> None:
        async with (
            HttpSink(Reply(status=500), Reply(status=500), Reply()) as sink,
            a_house(MemoryStore(), {"hook": sink}) as house,
        ):
            await house.fire("disk")
            await house.node.ask(an_alert("disk", status="resolved", window=61), "token:test")
            await house.until(
                lambda: (
                    any(e.state is DeliveryState.DELIVERED for e in house.events(ev.DeliveryEnded))
                    and house.store.counts().get("pending", 0) == 0
                )
            )

            kinds = [json.loads(request.body)["type"] for request in sink.requests]
            assert kinds == sorted(kinds), kinds

    asyncio.run(scenario())


def test_a_dry_run_opens_no_connection() -> None:
    async def scenario() -> None:
        async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}) as house:
            house.node.dispatcher._dry_run = True
            await house.fire("disk")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            assert house.events(ev.DeliveryEnded)[0].state is DeliveryState.DRY_RUN
            assert sink.connections == 0

    asyncio.run(scenario())


def test_the_ledger_knows_each_delivery_before_the_receiver_does() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        async with HttpSink() as sink, a_house(store, {"hook": sink}) as house:
            await house.fire(*[f"rule-{number}" for number in range(30)])
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 30)

            keys = [new.key for notified in events_of(store, ev.Notified) for new in notified.deliveries]
            assert sorted(request.headers["webhook-id"] for request in sink.requests) == sorted(keys)

    asyncio.run(scenario())


def test_newer_news_waits_until_what_it_speaks_for_is_no_longer_on_the_wire() -> None:
    """A retry comes due, and begins, between the decision that newer news takes its place and the commit of that."""

    async def scenario() -> None:
        store, decided, begun = Wrapped(MemoryStore()), threading.Event(), threading.Event()

        def commit_late(batch: Batch) -> None:
            if any(row.state is DeliveryState.MERGED for row in batch.deliveries):
                decided.set()
                assert begun.wait(SOON_S)

        store.before = commit_late
        policy = a_policy("hook", retries=Retries(steps=(2 * SECOND,)))
        script = (Reply(status=503), Reply(hang="before"), Reply())
        async with (
            HttpSink(*script) as sink,
            a_house(store, {"hook": sink}, policy=policy, timeout_s=1.0) as house,
        ):
            await house.fire("disk", severity="warning")
            await house.until(lambda: house.events(ev.DeliveryRetried) != [])
            worse = asyncio.ensure_future(house.fire("disk", severity="critical", window=120))
            assert await asyncio.to_thread(decided.wait, SOON_S)
            await sink.received(2)  # The retry, which the receiver keeps waiting for a second.
            begun.set()
            await worse

            unsettled = house.node.dispatcher._unsettled
            assert 1 in unsettled, "the retry is on the wire"
            for _ in range(20):
                house.node.dispatcher._look()
            assert house.node.dispatcher.stuck == "", "what waits behind it does not stand still"
            assert [one.headers["webhook-id"] for one in sink.requests] == [
                sink.requests[0].headers["webhook-id"]
            ] * 2
            await sink.received(3)
            assert 1 not in unsettled
            assert sink.requests[2].headers["webhook-id"] != sink.requests[1].headers["webhook-id"]
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 2)
            merged, told = house.events(ev.DeliveryEnded)
            assert (merged.state, told.state) == (DeliveryState.MERGED, DeliveryState.DELIVERED)
            assert len(sink.requests) == 3

    asyncio.run(scenario())
