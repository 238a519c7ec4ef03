"""Sinks: whom the channels of a simulated node speak to. They stand outside, and remember all that reached them."""

import asyncio
import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from tests.simulation.virtual import PROCESS

from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DryRun,
    Message,
    Outcome,
    Refused,
    Retry,
    Target,
)
from tocsin.ports import Rendered

MOODS = ("well", "accepts", "busy", "later", "redirects", "refuses", "hangs", "slow", "resets", "loses")
"""What a sink may be like: 200, 202, 503, 429, 302, 410, no answer, a late one, a reset before or after the body."""


class Arrived(NamedTuple):
    """Something reached a sink. at: virtual seconds; process: that sent it.

    owned: it was that process's to send. One that stood still may not know that it is another's by now.
    """

    at: float
    channel: str
    target: str
    key: str
    kind: str
    incident: int
    body: bytes
    process: str
    owned: bool


class Asked(NamedTuple):
    """Somebody began to speak to a sink. mood: what the sink was like; after_s: what it asked for with HTTP 429.

    owned: see Arrived. went_on_at: when the process last went on after it had stood still, 0 if it never did.
    """

    at: float
    process: str
    key: str
    mood: str
    after_s: int
    owned: bool
    went_on_at: float


class Sink:
    """One receiver. mood: how it is now; had: all that it had; asked, arrived: what came, in order."""

    def __init__(self, name: str, chance: random.Random, moods: tuple[str, ...]) -> None:
        self.name = name
        self.mood = "well"
        self.arrived: list[Arrived] = []
        self.asked: list[Asked] = []
        self.had = {"well"}
        self._chance = chance
        self._moods = moods
        self._calm = False

    def change(self) -> None:
        """Become another."""
        if not self._calm:
            self.mood = self._chance.choice(self._moods)
            self.had.add(self.mood)

    def calm(self) -> None:
        """Be well for good."""
        self._calm, self.mood = True, "well"

    async def take(
        self, message: Message, target: Target, key: str, process: str, owns: Callable[[str], bool]
    ) -> Outcome:
        """Be spoken to. owns: says whether what has a key is the process's to send."""
        chance, mood = self._chance, self.mood
        after_s = chance.choice((1, 30, 3600)) if mood == "later" else 0
        here = PROCESS.get()
        assert here is not None
        now = asyncio.get_running_loop().time()
        self.asked.append(Asked(now, process, key, mood, after_s, owns(key), here.went_on_at))
        await asyncio.sleep(chance.choice((0.001, 0.01, 0.2)))
        if mood == "resets":
            return Retry(why="connection reset")
        if mood == "slow":
            await asyncio.sleep(chance.uniform(1, 50))
        incident = message.incident.number if message.incident is not None else 0
        body = msgspec.json.encode(message)
        arrived = Arrived(
            asyncio.get_running_loop().time(),
            self.name,
            target.id,
            key,
            message.kind,
            incident,
            body,
            process,
            owns(key),
        )
        if mood in ("well", "accepts", "hangs", "slow", "loses"):
            self.arrived.append(arrived)
        await asyncio.sleep(chance.choice((0.001, 0.01, 0.2)))
        match mood:
            case "busy":
                return Retry(why="HTTP 503")
            case "later":
                return Retry(why="HTTP 429", after_s=after_s)
            case "redirects":
                return Retry(why="HTTP 302")
            case "refuses":
                return Refused(why="HTTP 410")
            case "hangs":
                await asyncio.sleep(10_000)
                return Retry(why="never")
            case "loses":
                return Retry(why="connection reset after the request")
            case "accepts":
                return Accepted(detail="HTTP 202")
            case _:
                return Delivered(detail="HTTP 200")


class SimChannel:
    """See `tocsin.ports.Channel`; it leads to a sink."""

    kind = "sim"

    def __init__(
        self, sink: Sink, process: str, step: Callable[[str], None], owns: Callable[[str], bool]
    ) -> None:
        self.name = sink.name
        self.addresses = (sink.name,)
        self._sink = sink
        self._process = process
        self._step = step
        self._owns = owns

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        if dry_run:
            return DryRun()
        self._step("before-send")
        outcome = await self._sink.take(message, target, key, self._process, self._owns)
        self._step("after-answer")
        return outcome

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        return Rendered(content_type="text/plain", body=message.title)

    async def close(self) -> None:
        """Nothing is open."""
