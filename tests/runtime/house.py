"""A house: a real node over a real store, with real webhooks to receivers on this machine, in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.http_sink import HttpSink

from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.ledger.encoding import read_decision, unpack
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import AlertReceived
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, Policy, Retries, Route
from tocsin.intake import native
from tocsin.outbound import Outbound
from tocsin.ports import Batch, Channel, Store, StoreFailed
from tocsin.runtime.committed import Committed
from tocsin.runtime.node import Node
from tocsin.runtime.turn import Result
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.stores.sqlite import SqliteStore

SOON_S = 20.0
"""Whatever a test waits for must have happened by then; it is never waited out."""

QUICK = Retries(steps=(20_000,))
"""A fiftieth of a second between attempts."""


class House:
    """A running node. told: what it committed that others act on, since the test last looked."""

    def __init__(self, node: Node, store: Store) -> None:
        self.node = node
        self.store = store
        self._committed = node.gate.listen()

    async def fire(self, *rules: str, severity: str = "warning", window: int = 60) -> Sequence[Result]:
        """Send one alert per rule in one request, and wait for the commit."""
        inputs = [an_alert(rule, severity=severity, window=window) for rule in rules]
        return await self.node.gate.submit(inputs, "token:test")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once something is so; it is asked again after each commit that others act on."""
        async with asyncio.timeout(SOON_S):
            while not condition():
                await self._committed.get()

    def events(self, *kinds: type[ev.Decided]) -> list[Any]:
        """Give all events of these kinds that the ledger holds, in order."""
        return events_of(self.store, *kinds)


def events_of(store: Store, *kinds: type[ev.Decided]) -> list[Any]:
    """Give all events of these kinds that a ledger holds, in order."""
    return [
        event
        for segment in store.segments()
        for _, decision, _ in unpack(segment.data)
        for event in read_decision(decision).events
        if isinstance(event, kinds)
    ]


def an_alert(
    rule: str, *, severity: str = "warning", window: int = 60, status: str = "firing"
) -> AlertReceived:
    """One look at one trouble. window: its length in seconds tells one look from another."""
    return native.received(
        Alert(
            rule_id=rule,
            scope={"host": "db-1"},
            severity=Severity(severity),
            status=Status(status),
            message="full",
            window_start=0,
            window_end=window * 1_000_000,
        )
    )


def a_policy(*channels: str, retries: Retries = QUICK) -> Policy:
    """Every alert is an incident of its own and is told at once, without a limit, through all of these channels."""
    return Policy(
        routes=Route(name="default", group_by=(ALL_LABELS,)),
        targets=tuple(Target(id=f"{name}-target", channel=name, address=name) for name in channels),
        rate_limit=None,
        retries=retries,
    )


@asynccontextmanager
async def a_house(
    data: Path | Store,
    channels: Mapping[str, HttpSink | str] | None = None,
    *,
    policy: Policy | None = None,
    timeout_s: float = 15.0,
    outbound: Outbound | None = None,
) -> AsyncIterator[House]:
    """Open a house. data: the directory of its store, or a store that the caller closes.

    channels: name -> where its webhook goes. outbound: the way there, which the house closes.
    """
    store = SqliteStore(data) if isinstance(data, Path) else data
    outbound = outbound or Outbound(allow_private=("127.0.0.0/8",))
    speaking: dict[str, Channel] = {
        name: Webhook(
            WebhookConfig(name=name, url=to if isinstance(to, str) else to.url("/hook"), timeout_s=timeout_s),
            outbound,
        )
        for name, to in (channels or {}).items()
    }
    node = Node(
        store=store,
        clock=MachineClock(),
        ids=MachineIds(),
        channels=speaking,
        policy=policy or a_policy(*speaking),
        origin="tocsin-test",
        close=outbound.close,
    )
    try:
        node.open()
        house = House(node, store)
        node.start()
        try:
            yield house
        finally:
            await node.stop()
    finally:
        if isinstance(data, Path):
            store.close()


class Wrapped:
    """A store whose commits pass through a function first; everything else is the store's own.

    before: called with each batch, and may raise. after: called once it is committed, and may raise too.
    """

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.before: Callable[[Batch], None] = lambda batch: None
        self.after: Callable[[Batch], None] = lambda batch: None

    def commit(self, batch: Batch) -> None:
        """Commit."""
        self.before(batch)
        self._inner.commit(batch)
        self.after(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def once(condition: Callable[[Batch], bool]) -> Callable[[Batch], None]:
    """Make a fault: the first batch for which the condition holds fails."""
    left = [1]

    def fail(batch: Batch) -> None:
        if left[0] and condition(batch):
            left[0] = 0
            raise StoreFailed("the disk is gone, said the test")

    return fail


__all__ = ["Committed", "House", "Wrapped", "a_house", "a_policy", "an_alert", "events_of", "once"]
