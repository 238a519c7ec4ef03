"""Receivers that say nothing, and names that lead nowhere or elsewhere, are nobody else's trouble.

A real node in this process speaks to real receivers; the silent ones are behind a proxy. What a name server says is a
script here, through the seam that the guarded way out has for it.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from tests.channels.messages import AT, a_message
from tests.reliability.proxy import Proxy, W
from tests.reliability.tally import tally
from tests.runtime.house import a_house, a_policy
from tests.support.http_sink import HttpSink, Reply
from tests.support.smtp_sink import SmtpSink

from tocsin.channels.email import Email, EmailConfig
from tocsin.core.model import event as ev
from tocsin.core.model.notification import Accepted, DeliveryState, Retry, Target
from tocsin.core.model.policy import Retries
from tocsin.outbound import Outbound
from tocsin.runtime import node
from tocsin.runtime.dispatcher import PLACES_AT_FIRST, PLACES_FOR_URGENT
from tocsin.stores.memory import MemoryStore

SILENT = 50
ALERTS = 20
LONG_S = 55.0
SOON_S = 30.0

Said = Exception | Sequence[str]
NOBODY = socket.gaierror(socket.EAI_NONAME, "Name or service not known")  # NXDOMAIN
NOT_NOW = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")  # SERVFAIL, or no answer
HERE = ("127.0.0.1",)
ALLOWED = ("127.0.0.1/32",)
SCRIPT: tuple[tuple[Said, str], ...] = (
    (NOBODY, "could not be resolved|Name or service not known"),
    (NOT_NOW, "could not be resolved|Temporary failure"),
    (("10.0.0.1",), "leads to 10.0.0.1: not on the public internet"),
    (("127.0.0.2",), "leads to 127.0.0.2: not on the public internet"),
    (("127.0.0.1", "10.0.0.1"), "leads to 10.0.0.1: not on the public internet"),
    (("::ffff:127.0.0.2",), "leads to ::ffff:127.0.0.2: not on the public internet"),
    (("169.254.169.254",), "leads to 169.254.169.254: a metadata"),
    (NOT_NOW, "could not be resolved|Temporary failure"),
)
"""What the name server says in turn, and what the attempt then says. After that the name leads where it should."""


class Names:
    """A name server with a script; its last answer is repeated."""

    def __init__(self, *script: Said) -> None:
        self._script = script
        self.asked = 0

    async def lookup(self, host: str, port: int) -> Sequence[str]:
        """Answer what comes next."""
        self.asked += 1
        said = self._script[min(self.asked, len(self._script)) - 1]
        if isinstance(said, Exception):
            raise said
        return said


class Trap:
    """Somebody who listens where nobody may connect to."""

    def __init__(self, host: str, port: int) -> None:
        self._place = host, port
        self.connections = 0

    async def __aenter__(self) -> "Trap":
        self._server = await asyncio.start_server(self._caught, *self._place)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _caught(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.transport.abort()


@pytest.mark.parametrize("kind", ["no_answer", "no_name"])
def test_all_that_one_receiver_is_told_arrives_while_fifty_others_are_silent(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(node, "STOP_GRACE_S", 0.0)
    speaks = threading.Event()

    def lookup(host: str) -> Sequence[str]:
        assert host == "well.test" or speaks.wait(LONG_S)
        return HERE

    monkeypatch.setattr("tocsin.outbound.client._addresses_by_system", lookup)

    async def scenario(proxy: Proxy) -> None:
        proxy.set(W.BLACK_HOLE)
        silent = {
            f"silent-{number}": proxy.url(f"/{number}")
            if kind == "no_answer"
            else f"http://name-{number}.test/"
            for number in range(SILENT)
        }
        async with HttpSink() as well, AsyncExitStack() as stack:
            receivers = {**silent, "well": well.url("/hook", host="well.test")}
            house = await stack.enter_async_context(a_house(MemoryStore(), receivers, timeout_s=LONG_S))
            for number in range(ALERTS):
                await house.fire(f"rule-{number}", severity=("warning", "critical")[number % 2])
            async with asyncio.timeout(SOON_S):
                await well.received(ALERTS)
            await house.until(lambda: len(house.events(ev.DeliveryEnded)) == ALERTS)

            lanes = house.node.dispatcher._lanes
            hanging = sum(len(lanes[name]._running) for name in silent)
            assert house.events(ev.DeliveryRetried) == [], "no attempt at a silent one has ended"
            assert SILENT * PLACES_AT_FIRST <= hanging <= SILENT * (PLACES_AT_FIRST + PLACES_FOR_URGENT)
            assert house.store.counts()["pending"] == SILENT * ALERTS
            tally(f"silent {kind}", alerts=ALERTS, arrivals=len(well.requests), hanging=hanging)
            speaks.set()

    with Proxy(1, seed=kind) as proxy:
        asyncio.run(scenario(proxy))
        assert proxy.counts[W.BLACK_HOLE] == (proxy.open_most if kind == "no_answer" else 0)
        assert (proxy.open_most > 0) == (kind == "no_answer")


def test_a_webhook_whose_name_fails_or_leads_inside_is_told_once_the_name_leads_where_it_should() -> None:
    async def scenario() -> None:
        names = Names(*(said for said, _ in SCRIPT), HERE)
        outbound = Outbound(ALLOWED, lookup=names.lookup)
        async with HttpSink() as sink, Trap("127.0.0.2", sink.port) as trap:
            to = {"hook": sink.url("/hook", host="flips.test")}
            async with a_house(MemoryStore(), to, outbound=outbound) as house:
                await house.fire("disk")
                await house.until(lambda: house.events(ev.DeliveryEnded) != [])

                (end,) = house.events(ev.DeliveryEnded)
                failed = house.store.attempts_of(end.delivery)
            assert (end.state, end.attempts) == (DeliveryState.DELIVERED, len(SCRIPT) + 1)
            for attempt, (_, why) in zip(failed, SCRIPT, strict=True):
                assert re.search(why, attempt.why), attempt.why
            assert (len(sink.requests), sink.connections, trap.connections) == (1, 1, 0)
            assert names.asked == len(SCRIPT) + 1
            tally("dns webhook", alerts=1, attempts=end.attempts, arrivals=1, extra=0)

    asyncio.run(scenario())


def test_a_mail_host_whose_name_fails_or_leads_inside_is_written_to_once_the_name_leads_where_it_should() -> (
    None
):
    async def scenario() -> None:
        names = Names(*(said for said, _ in SCRIPT), HERE)
        outbound = Outbound(ALLOWED, lookup=names.lookup)
        async with SmtpSink() as sink, Trap("127.0.0.2", sink.port) as trap:
            via = Email(
                EmailConfig(
                    name="mail",
                    host="flips.test",
                    port=sink.port,
                    tls="none",
                    sender="tocsin@example.org",
                    recipients=("anna@example.org",),
                ),
                resolve=outbound.addresses,
            )
            target = Target(id="t1", channel="mail", address="anna@example.org")

            for _, why in SCRIPT:
                outcome = await via.send(a_message(), target, key="a" * 64, at=AT, dry_run=False)
                assert isinstance(outcome, Retry)
                assert re.search(why, outcome.why), outcome.why
            assert sink.connections == 0
            outcome = await via.send(a_message(), target, key="a" * 64, at=AT, dry_run=False)

            assert isinstance(outcome, Accepted)
            assert (len(sink.mails), trap.connections) == (1, 0)
            await via.close()
            tally("dns mail", alerts=1, attempts=len(SCRIPT) + 1, arrivals=1, extra=0)

    asyncio.run(scenario())


@pytest.mark.parametrize("hides", ["10.0.0.1", "127.0.0.2", "169.254.169.254"])
def test_a_name_that_turns_inside_after_it_was_good_leads_nowhere(hides: str) -> None:
    async def scenario() -> None:
        names = Names(HERE, (hides,))
        closes = Reply(headers={"Connection": "close"})  # so that the next attempt has to connect again
        policy = a_policy("hook", retries=Retries(steps=(20_000,)))
        async with HttpSink(closes) as sink, Trap("127.0.0.2", sink.port) as trap:
            to = {"hook": sink.url("/hook", host="flips.test")}
            store = MemoryStore()
            async with a_house(
                store, to, policy=policy, outbound=Outbound(ALLOWED, lookup=names.lookup)
            ) as house:
                await house.fire("disk")
                await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 1)
                # The address that was checked is kept for half a minute; nothing is asked, and nothing can flip.
                await house.fire("net")
                await house.until(lambda: len(house.events(ev.DeliveryEnded)) == 2)
                assert (names.asked, sink.connections) == (1, 2)

            async with a_house(
                store, to, policy=policy, outbound=Outbound(ALLOWED, lookup=names.lookup)
            ) as house:
                await house.fire("cpu")
                await house.until(lambda: len(house.events(ev.DeliveryRetried)) >= 3)
                whys = {attempt.why for attempt in house.store.attempts_of(3)}

            assert [why.startswith(f"flips.test leads to {hides}: ") for why in whys] == [True]
            assert (len(sink.requests), sink.connections, trap.connections) == (2, 2, 0)

    asyncio.run(scenario())
