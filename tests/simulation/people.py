"""People: senders that repeat until they are answered, and those who acknowledge, silence and resolve."""

import asyncio
import json
import random
from typing import Any, NamedTuple

from tests.simulation.nodes import START, Street

from tocsin.core.model.alert import idempotency_key
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.input import Acted, Action, Input, SilenceRequested
from tocsin.core.model.silence import Matcher
from tocsin.intake import native

PATIENCE_S = 10.0
SEVERITIES = ("info", "warning", "warning", "error", "critical")


class Said(NamedTuple):
    """A look at an alert that was answered with a 2xx.

    at: virtual seconds of the answer; identity: its rule and host; incidents: the numbers that the answer named.
    """

    at: float
    key: str
    identity: tuple[str, str]
    status: str
    outcome: str
    incidents: tuple[int, ...]


class Senders:
    """Monitoring that looks at its alerts, and sends each look until somebody says that it is stored."""

    def __init__(self, street: Street, chance: random.Random) -> None:
        self._street = street
        self._chance = chance
        self.answered: list[Said] = []
        self.unanswered = 0
        self.firing: dict[tuple[str, str], dict[str, Any]] = {}

    async def live(self, until: float) -> None:
        """Look at things until then."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self._chance.expovariate(1 / 150))
            await self.say([self._look() for _ in range(self._chance.choice((1, 1, 1, 4, 12)))])

    async def end(self) -> None:
        """Say of much that it is over, and of the rest once more that it is not."""
        for key in list(self.firing):
            is_over = self._chance.random() < 0.6
            await self.say([self._alert(*key, "resolved" if is_over else "firing")])
            if is_over:
                del self.firing[key]

    def _look(self) -> dict[str, Any]:
        if self.firing and self._chance.random() < 0.6:
            rule, host = self._chance.choice(list(self.firing))
            status = self._chance.choice(("firing", "firing", "firing", "green", "green", "resolved"))
            if status == "resolved":
                alert = self._alert(rule, host, status)
                del self.firing[rule, host]
                return alert
            return self._alert(rule, host, status)
        rule, host = f"rule-{self._chance.randrange(6)}", f"host-{self._chance.randrange(8)}"
        self.firing.setdefault((rule, host), {"severity": self._chance.choice(SEVERITIES)})
        if self._chance.random() < 0.1:
            self.firing[rule, host]["severity"] = "critical"
        return self._alert(rule, host, "firing")

    def _alert(self, rule: str, host: str, status: str) -> dict[str, Any]:
        now = int((START + asyncio.get_running_loop().time()) * 1e6)
        return {
            "rule_id": rule,
            "scope": {"host": host, "team": f"t{hash_of(host) % 3}"},
            "severity": self.firing.get((rule, host), {"severity": "warning"})["severity"],
            "status": status,
            "message": f"{rule} on {host}",
            "window_start": now - 60_000_000,
            "window_end": now,
        }

    async def say(self, alerts: list[dict[str, Any]]) -> None:
        """Send a request again and again until it is answered."""
        body = json.dumps(alerts).encode()
        wait = 0.5
        while True:
            results = await self._post(body)
            if results is not None:
                break
            self.unanswered += 1
            await asyncio.sleep(wait)
            wait = min(30.0, wait * 2)
        now = asyncio.get_running_loop().time()
        for alert, result in zip(alerts, results, strict=True):
            key = idempotency_key(
                alert["rule_id"], alert["scope"], alert["window_start"], alert["window_end"]
            )
            identity = alert["rule_id"], alert["scope"]["host"]
            numbers = tuple(number for _, number, _ in result.incidents)
            self.answered.append(Said(now, key, identity, alert["status"], result.outcome, numbers))

    async def _post(self, body: bytes) -> Any:
        """Send a request once. None: there was no 2xx, whatever became of it."""
        await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.05)))
        house = self._street.find()
        if house is None:
            return None
        process, node = house.process, house.node
        assert process is not None
        assert node is not None
        try:
            if process.stands:
                async with asyncio.timeout(PATIENCE_S):
                    await process.hears()
            parsed = native.parse(body, node.clock.now())
            assert not parsed.problems, parsed.problems
            future = process.call(node.gate.submit, parsed.alerts, "token:sender")
            future.add_done_callback(_seen)
            async with asyncio.timeout(PATIENCE_S):
                results = await asyncio.shield(future)
        except (TocsinError, TimeoutError):
            return None
        await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.05)))
        if self._chance.random() < self._street.faults.lies or any(one.refused for one in results):
            return None  # The answer was lost on its way.
        return results


def _seen(future: "asyncio.Future[Any]") -> None:
    """Whoever asked may have lost patience: then nobody looks at how it ended."""
    if not future.cancelled():
        future.exception()


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(text.encode())


class Crew:
    """Those on duty: they do what people do, and often what cannot be."""

    def __init__(self, street: Street, chance: random.Random) -> None:
        self._street = street
        self._chance = chance
        self.did = 0

    async def live(self, until: float) -> None:
        """Act now and then, until then."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self._chance.expovariate(1 / 500))
            await self.act()

    async def act(self) -> None:
        """Do something."""
        house = self._street.find()
        if house is None:
            return
        node, process = house.node, house.process
        assert node is not None
        assert process is not None
        counters = node.store.head().counters
        if not counters.incident:
            return
        chance, now = self._chance, node.clock.now()
        number = chance.randrange(max(1, counters.incident - 8), counters.incident + 2)
        hour = 3_600_000_000
        given: Input = chance.choice(
            (
                Acted(action=Action.ACK, incident=number),
                Acted(action=Action.UNACK, incident=number),
                Acted(action=Action.RESOLVE, incident=number, note="mended"),
                Acted(action=Action.SILENCE, incident=number, until=now + hour),
                Acted(action=Action.UNSILENCE, incident=number),
                Acted(action=Action.REOPEN, incident=number),
                SilenceRequested(
                    matchers=(Matcher(name="team", value=f"t{chance.randrange(3)}"),),
                    starts_at=now,
                    ends_at=now + chance.choice((hour // 6, hour)),
                ),
            )
        )
        try:
            if process.stands:
                async with asyncio.timeout(PATIENCE_S):
                    await process.hears()
            future = process.call(node.gate.submit, (given,), "user:anna")
            future.add_done_callback(_seen)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(future)
            self.did += 1
        except (TocsinError, TimeoutError):
            pass
