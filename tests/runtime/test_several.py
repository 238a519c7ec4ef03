"""A node among several: what it learns of the others holds when its turn does, and it attempts nothing twice at once."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.house import Wrapped, a_house, a_policy
from tests.support.fakes import SECOND, FakeClock, FakeIds
from tests.support.http_sink import HttpSink, Reply
from tests.support.shared import LEASE, Rows, SharedMemory

from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import Input, OutcomeReported, PolicyChanged
from tocsin.core.model.notification import Accepted, DeliveryState, Target
from tocsin.core.model.policy import Policy, Retries, Route
from tocsin.intake.native import received
from tocsin.ports import StoreFailed
from tocsin.runtime import dispatcher, node
from tocsin.runtime.committed import Committed, dispatch
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.world import MachineClock
from tocsin.stores.memory import MemoryStore

POLICY = Policy(
    routes=Route(name="default", group_wait=0),
    targets=(Target(id="t1", channel="hook", address="hook"),),
)


class Node:
    """A pump on its end of the rows, and what it told."""

    def __init__(self, rows: Rows, name: str, clock: FakeClock) -> None:
        self.store = SharedMemory(rows, node_id=name, time=clock.now)
        self.told: list[Committed] = []
        self.pump = Pump(self.store, clock, FakeIds(name), origin="test", on_committed=self.told.append)
        self.pump.open()

    def take(self, *inputs: Input) -> Any:
        """Take a turn; give what was answered."""
        answers: list[Any] = []
        self.pump.turn([Request(inputs, "token:test", lambda _, results: answers.append(results))])
        return answers[0]


def an_alert(host: str, window: int = 1) -> Input:
    return received(
        Alert(
            rule_id="disk",
            scope={"host": host},
            severity=Severity.WARNING,
            status=Status.FIRING,
            message="full",
            window_start=0,
            window_end=window,
            source="test",
        )
    )


def fails_once(store: SharedMemory) -> Callable[[Any], None]:
    """Give a commit that fails the first time."""
    real, left = store.commit, [StoreFailed("the connection is lost")]

    def commit(batch: Any) -> None:
        if left:
            failed = left.pop()
            store.cut_off(str(failed))
            raise failed
        real(batch)

    return commit


def test_what_a_turn_took_over_is_told_once_the_turn_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rows = FakeClock(), Rows()
    dead, node = Node(rows, "a", clock), Node(rows, "b", clock)
    dead.take(PolicyChanged(policy=POLICY))
    dead.take(an_alert("db-1"))
    node.take()
    clock.advance(LEASE // 2)
    node.take()
    node.told.clear()
    clock.advance(LEASE // 2 + SECOND)
    monkeypatch.setattr(node.store, "commit", fails_once(node.store))

    assert isinstance(node.take(an_alert("db-2")), Exception)

    assert [one.delivery for told in node.told for one in told.dispatches] == []
    assert rows.owned == {1: "a"}

    node.take(an_alert("db-2"))

    assert 1 in [one.delivery for told in node.told for one in told.dispatches]
    assert node.told[-1].leads is None
    assert any(told.leads for told in node.told), "the one before it was the first by name"
    assert rows.owned == {1: "b", 2: "b"}


def test_a_turn_that_cannot_be_decided_holds_up_no_other_node() -> None:
    clock, rows = FakeClock(), Rows()
    node = Node(rows, "a", clock)
    node.take(PolicyChanged(policy=POLICY))
    node.take(an_alert("db-1"))
    node.take(OutcomeReported(delivery=1, attempt=1, outcome=Accepted()))
    clock.advance(5 * 3600 * SECOND)  # A reminder is due, and goes with what is heard next.
    node.pump._texts.forget()

    def fails(number: int) -> Any:
        raise StoreFailed("the connection is lost")

    node.store.incident_text = fails  # type: ignore[method-assign]

    assert isinstance(node.take(an_alert("db-1", window=2)), Unavailable)

    assert rows.holder is None


def test_how_many_nodes_live_and_how_far_the_clock_is_off_is_told() -> None:
    clock, rows = MachineClock(), Rows()

    async def scenario() -> None:
        def ahead() -> int:
            return clock.now() + 7 * SECOND

        other = SharedMemory(rows, node_id="a", time=ahead)
        other.begin()
        other.release()
        async with a_house(SharedMemory(rows, node_id="b", time=ahead)) as house:
            await house.fire("disk")
            told = house.node.metrics.render(house.node.figures(), house.node.store).decode()

        assert "tocsin_nodes_live 2.0\n" in told
        (off,) = re.findall(r"^tocsin_clock_ahead_seconds (.*)$", told, re.M)
        assert float(off) == pytest.approx(7, abs=1)

    asyncio.run(scenario())


class Unreadable(Wrapped):
    """A store from which no message can be read for the first few times."""

    left = 3

    def message(self, notification: int) -> Any:
        """Read a message."""
        if self.left:
            self.left -= 1
            raise StoreFailed("the database cannot be reached")
        return self._inner.message(notification)


def test_a_message_that_cannot_be_read_now_is_sent_later_and_that_is_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatcher, "READ_AGAIN_S", 0.01)

    async def scenario() -> None:
        store = Unreadable(MemoryStore())
        policy = a_policy("hook", retries=Retries(steps=(1_000,)))
        async with HttpSink(Reply(status=500), Reply()) as sink:
            async with a_house(store, {"hook": sink}, policy=policy) as house:  # type: ignore[arg-type]
                await house.fire("disk")
                await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            (end,) = house.events(ev.DeliveryEnded)
            assert (end.state, end.attempts) == (DeliveryState.DELIVERED, 2)
            assert (store.left, len(sink.requests)) == (0, 2)

    asyncio.run(scenario())


def test_what_is_lost_and_taken_over_again_is_not_attempted_twice_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node, "STOP_GRACE_S", 0.05)

    async def scenario() -> None:
        async with (
            HttpSink(Reply(hang="before"), Reply()) as sink,
            a_house(MemoryStore(), {"hook": sink}) as house,
        ):
            await house.fire("disk")
            while not sink.requests:  # noqa: ASYNC110 - a sink tells nobody
                await asyncio.sleep(0)
            state = house.node._pump.state
            (number,) = state.deliveries
            gate = house.node.gate

            gate.on_committed(Committed(dispatches=(), ended=(), is_all=True))  # It is another node's,
            gate.on_committed(Committed(dispatches=[dispatch(state, number)], ended=()))  # and again its own.
            gate._hand_over()
            await house.fire("cpu")
            await house.until(lambda: house.events(ev.DeliveryEnded) != [])

            assert len(sink.requests) == 2, "one for each incident"

    asyncio.run(scenario())


def test_a_start_that_changes_the_policy_of_all_says_so(caplog: pytest.LogCaptureFixture) -> None:
    clock, rows = MachineClock(), Rows()

    async def starts(policy: Policy) -> None:
        async with a_house(SharedMemory(rows, node_id=f"node-{rows.turn}", time=clock.now), policy=policy):
            pass

    def said(policy: Policy) -> list[str]:
        caplog.clear()
        asyncio.run(starts(policy))
        return [record.message for record in caplog.records if record.name == "tocsin.node"]

    assert said(a_policy("hook")) == []
    assert said(a_policy("hook")) == []
    assert said(a_policy("other")) == [
        "the policy of this node's settings is another one than was in force; it is now, for all nodes"
    ]


def test_a_store_that_fails_is_told_once_and_once_more_when_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, rows = FakeClock(), Rows()
    node = Node(rows, "a", clock)
    node.take(PolicyChanged(policy=POLICY))
    caplog.clear()

    node.store.cut_off("the database is away")
    real, node.store.reopen = node.store.reopen, lambda: None  # type: ignore[method-assign]
    for host in ("db-1", "db-2", "db-3"):
        assert isinstance(node.take(an_alert(host)), Exception)
    node.store.reopen = real  # type: ignore[method-assign]
    node.take(an_alert("db-4"))
    node.take(an_alert("db-5"))

    assert [record.message.split(":")[0] for record in caplog.records] == [
        "nothing is accepted until the store works again",
        "the store works again; what could not be accepted meanwhile was answered so",
    ]
