"""Storm: one simulated story from a seed: hours of bad weather, then a calm in which everything must settle.

`play(seed)` gives what happened; `Broken` names what does not hold.
"""

import asyncio
import gc
import logging
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from unittest.mock import patch

from tests.simulation.checks import Watch, check_all
from tests.simulation.nodes import Disk, Faults, House, SimGate, Street, a_standstill
from tests.simulation.people import Crew, Senders
from tests.simulation.shelf import Shelf
from tests.simulation.sinks import MOODS, Sink
from tests.simulation.virtual import VirtualLoop
from tests.support.shared import CHANGES_KEPT, Rows

from tocsin.core.model.notification import Target
from tocsin.core.model.policy import HOUR, MINUTE, SECOND, Policy, RateLimit, Retries, Route
from tocsin.core.model.silence import parse_matcher
from tocsin.runtime import node
from tocsin.stores.memory import MemoryStore

HOURS = 6.0
CALM_HOURS = 3.0
LATE_HOURS = 2.0
"""So much longer a story may last, because a node that is down when the calm comes may take its time."""

SETTLES_IN_MINUTES = 10

NAMES = ("ada", "bob", "eve")
"""What nodes are called if there are several."""


class Broken(AssertionError):
    """Something that must always hold does not."""


@dataclass
class Story:
    """What happened. faults: how often each kind of fault came; compared: how often a node's memory was, of several."""

    seed: int
    nodes: int = 1
    steps: int = 0
    starts: int = 0
    entries: int = 0
    answered: int = 0
    unanswered: int = 0
    arrived: int = 0
    twice: int = 0
    acts: int = 0
    compared: int = 0
    root: str = ""
    faults: dict[str, int] = field(default_factory=dict)


def a_policy(chance: random.Random, insists: random.Random) -> Policy:
    """Two channels and three targets; the details are chance's. insists: says for how long it is attempted."""
    return Policy(
        routes=Route(
            name="default",
            group_by=chance.choice((("...",), ("rule_id",), ("team",))),
            group_wait=chance.choice((0, 0, 30 * SECOND)),
            group_interval=chance.choice((MINUTE, 5 * MINUTE)),
            repeat_interval=chance.choice((HOUR, 4 * HOUR)),
            reopen_within=chance.choice((0, 5 * MINUTE, HOUR)),
            resolve_timeout=chance.choice((0, 2 * HOUR)),
            ack_timeout=chance.choice((0, HOUR)),
            greens=chance.choice((1, 2, 3)),
            routes=(
                Route(
                    name="critical",
                    matchers=(parse_matcher("severity=critical"),),
                    continue_=chance.random() < 0.5,
                    channels=("mail", "hook"),
                ),
                Route(
                    name="quiet",
                    matchers=(parse_matcher("team=t2"),),
                    channels=("hook",),
                    send_resolved=False,
                ),
            ),
        ),
        targets=(
            Target(id="t1", channel="hook", address="hook"),
            Target(id="t2", channel="mail", address="anna@example.org"),
            Target(id="t3", channel="mail", address="ben@example.org"),
        ),
        rate_limit=chance.choice((None, RateLimit(limit=3, window=HOUR), RateLimit(limit=20, window=HOUR))),
        retries=Retries(give_up=HOUR) if insists.random() < 0.3 else Retries(),
    )


TROUBLES = (
    "step_kills",
    "kills_hour",
    "commit_fails",
    "answers_lost",
    "slow_commits",
    "moods",
    "clock_jumps_hour",
    "others",
    "stands",
    "stands_hour",
    "turns_lost",
    "cut_off_hour",
    "clocks_off",
    "gone",
    "acts",
)
"""Kinds of trouble, as fields of `Weather`. others: further nodes, and what comes only with them; acts: people."""


class Weather:
    """Which faults this seed has, and how often. Each seed has only some, so that they do not hide each other.

    nodes: the chance of what comes only with several nodes, and of how many there are.
    """

    def __init__(self, chance: random.Random, nodes: random.Random, without: Collection[str]) -> None:
        def maybe(share: float, *values: float) -> float:
            return chance.choice(values) if chance.random() < share else 0.0

        self.step_kills = maybe(0.4, 0.0005, 0.005)
        self.kills_hour = maybe(0.5, 0.5, 3.0)
        self.commit_fails = maybe(0.4, 0.01, 0.2)
        self.answers_lost = maybe(0.4, 0.01, 0.1)
        self.slow_commits = maybe(0.3, 0.01, 0.1)
        self.moods = (
            tuple(chance.sample(MOODS, chance.randrange(1, len(MOODS) + 1))) if chance.random() < 0.8 else ()
        )
        self.mood_changes_hour = chance.choice((1.0, 6.0, 30.0))
        self.clock_jumps_hour = maybe(0.3, 0.3, 2.0)
        self.down_s = chance.choice((1.0, 30.0, 900.0))
        self.acts = True
        self._several(nodes)
        for name in without:
            setattr(self, name, type(getattr(self, name))())
        if not self.others:
            self._alone()

    def _several(self, chance: random.Random) -> None:
        def maybe(share: float, *values: float) -> float:
            return chance.choice(values) if chance.random() < share else 0.0

        self.others = chance.choice((0, 0, 0, 0, 1, 2))
        self.stands = maybe(0.4, 0.0002, 0.002)
        self.stands_hour = maybe(0.6, 0.5, 4.0)
        self.turns_lost = maybe(0.3, 0.001, 0.01)
        self.cut_off_hour = maybe(0.5, 0.5, 3.0)
        self.clocks_off = maybe(0.5, 2.0, 60.0, 3600.0)
        self.gone = chance.random() < 0.3
        self.changes_kept = chance.choice((20, CHANGES_KEPT))

    def _alone(self) -> None:
        self.stands = self.stands_hour = self.turns_lost = self.cut_off_hour = self.clocks_off = 0.0
        self.gone = False


def play(seed: int, *, hours: float = HOURS, without: Collection[str] = ()) -> Story:
    """Play a seed's story. without: kinds of trouble that it shall not have, of TROUBLES. Raises: Broken."""
    with _uncollected():
        return _play_it(seed, hours, without)


def _play_it(seed: int, hours: float, without: Collection[str]) -> Story:
    chance = random.Random(f"story {seed}")
    loop = VirtualLoop(random.Random(f"loop {seed}"))
    loop.ends = (hours + CALM_HOURS + LATE_HOURS) * 3600
    story = Story(seed)
    with _quiet(loop.failures), patch.object(node, "Gate", SimGate):
        _run(story, loop, chance, hours, without)
    return story


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect a story's garbage once, when the next one begins: the collector would look for it again and again.

    At its end it may still be held by whoever asks how it went.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    _spare_what_is_there()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _spare_what_is_there() -> None:
    """Let no collection walk over the modules; once, for what a story leaves must be found."""
    gc.freeze()


@contextmanager
def _quiet(failures: list[str]) -> Iterator[None]:
    """Let nothing be logged; what nobody foresaw is a failure."""
    logger, noted = logging.getLogger("tocsin"), Unforeseen(failures)
    before = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(noted)
    try:
        yield
    finally:
        logger.removeHandler(noted)
        logger.level, logger.propagate = before


class Unforeseen(logging.Handler):
    """Notes errors that are logged with a traceback."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._failures.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def _run(
    story: Story, loop: VirtualLoop, chance: random.Random, hours: float, without: Collection[str]
) -> None:
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_play(story, loop, chance, hours, without))
    except (AssertionError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Broken(str(error)) from error
    finally:
        asyncio.set_event_loop(None)
        loop.bury()


async def _play(
    story: Story, loop: VirtualLoop, chance: random.Random, hours: float, without: Collection[str]
) -> None:
    weather = Weather(
        random.Random(f"weather {story.seed}"), random.Random(f"neighbours {story.seed}"), without
    )
    faults = Faults(
        random.Random(f"faults {story.seed}"),
        kills=weather.step_kills,
        fails=weather.commit_fails,
        lies=weather.answers_lost,
        delays=weather.slow_commits,
        stands=weather.stands,
        loses=weather.turns_lost,
    )
    sinks = [
        Sink(name, random.Random(f"{name} {story.seed}"), weather.moods or ("well",))
        for name in ("hook", "mail")
    ]
    watch = Watch(is_shared=weather.others > 0)
    policy = a_policy(chance, random.Random(f"insists {story.seed}"))
    disk, houses = _build(story.seed, weather, faults, sinks, policy, watch)
    street = Street(houses, faults, random.Random(f"street {story.seed}"))
    senders = Senders(street, random.Random(f"senders {story.seed}"))
    crew = Crew(street, random.Random(f"crew {story.seed}"))
    until = hours * 3600.0
    for house in houses:
        house.start()
    saviours = [
        asyncio.ensure_future(
            _supervise(house, weather, random.Random(f"supervisor {story.seed}{' ' * number}"))
        )
        for number, house in enumerate(houses)
    ]
    bad = [
        asyncio.ensure_future(one)
        for one in (
            _kill(street, weather, random.Random(f"killer {story.seed}")),
            _change(sinks, weather, random.Random(f"moods {story.seed}")),
            _jump(street, weather, random.Random(f"clock {story.seed}")),
            _stand(street, weather, random.Random(f"stands {story.seed}")),
            _cut_off(street, weather, random.Random(f"cut off {story.seed}")),
            _leave(street, weather, random.Random(f"leaves {story.seed}"), until),
        )
    ]
    living = asyncio.gather(senders.live(until), crew.live(until if weather.acts else 0.0))
    await asyncio.sleep(until)
    for task in bad:
        task.cancel()
    faults.calm()
    for sink in sinks:
        sink.calm()
    weather.down_s = 1.0
    await living
    await senders.end()
    await asyncio.sleep(CALM_HOURS * 3600)
    for house in houses:
        assert house.is_gone or house.is_up(), f"no {house.name} lives in the calm"
    for _ in range(SETTLES_IN_MINUTES):
        if not street.owes():
            break
        await asyncio.sleep(60)  # Somebody was reminded just now.
    for task in saviours:
        task.cancel()
    assert not loop.failures, loop.failures[:3]
    story.steps, story.starts = loop.steps, sum(house.starts for house in houses)
    story.nodes = len(houses)
    story.faults = dict(sorted(faults.counted.items()))
    story.answered, story.unanswered, story.acts = len(senders.answered), senders.unanswered, crew.did
    story.arrived = sum(len(sink.arrived) for sink in sinks)
    check_all(story, street, senders, sinks, disk, watch)


def _build(
    seed: int, weather: Weather, faults: Faults, sinks: list[Sink], policy: Policy, watch: Watch
) -> tuple[MemoryStore, list[House]]:
    """Give what remembers, and the houses of all nodes."""
    if not weather.others:
        alone = MemoryStore()
        disk = Disk(alone, faults, watch.committed)
        return alone, [House("node", lambda *_: disk, sinks, policy, faults, str(seed))]
    rows = Rows(changes_kept=weather.changes_kept)
    shelf = Shelf(rows, faults, watch.committed, random.Random(f"shelf {seed}"))
    shelf.houses = houses = [
        House(name, shelf.open, sinks, policy, faults, f"{seed}/{name}")
        for name in NAMES[: weather.others + 1]
    ]
    clocks = random.Random(f"clocks {seed}")
    for house in houses:
        house.wall_off = clocks.choice((0.0, -weather.clocks_off, weather.clocks_off))
    return rows, houses


async def _supervise(house: House, weather: Weather, chance: random.Random) -> None:
    """Start a node where none lives, after a while."""
    while True:
        assert house.process is not None
        await house.process.died.wait()
        if house.is_gone:
            return
        await asyncio.sleep(chance.expovariate(1 / weather.down_s))
        if not house.is_gone:
            house.start()


def _draw(street: Street, chance: random.Random) -> House | None:
    """Draw a house in which a process runs; what it runs may not be up yet."""
    there = [house for house in street.houses if house.process is not None and not house.process.dead]
    return there[0] if len(there) == 1 else chance.choice(there) if there else None


async def _kill(street: Street, weather: Weather, chance: random.Random) -> None:
    while weather.kills_hour:
        await asyncio.sleep(chance.expovariate(weather.kills_hour / 3600))
        house = _draw(street, chance)
        if house is not None:
            assert house.process is not None
            street.faults.count("kill from outside")
            house.process.kill()


async def _change(sinks: list[Sink], weather: Weather, chance: random.Random) -> None:
    while weather.moods:
        await asyncio.sleep(chance.expovariate(weather.mood_changes_hour / 3600))
        chance.choice(sinks).change()


async def _jump(street: Street, weather: Weather, chance: random.Random) -> None:
    """Let somebody set a machine's clock; the one by which several nodes go is another."""
    while weather.clock_jumps_hour:
        await asyncio.sleep(chance.expovariate(weather.clock_jumps_hour / 3600))
        house = street.houses[0] if len(street.houses) == 1 else chance.choice(street.houses)
        house.wall_off += chance.choice((-3600.0, 3600.0, -60.0, 60.0, -6.0, 86_400.0))
        street.faults.count("clock jumped")


async def _stand(street: Street, weather: Weather, chance: random.Random) -> None:
    while weather.stands_hour:
        await asyncio.sleep(chance.expovariate(weather.stands_hour / 3600))
        house = _draw(street, chance)
        if house is not None:
            assert house.process is not None
            street.faults.count("stood still")
            house.process.stand(a_standstill(chance))


async def _cut_off(street: Street, weather: Weather, chance: random.Random) -> None:
    """Let a node not reach the database for a while."""
    while weather.cut_off_hour:
        await asyncio.sleep(chance.expovariate(weather.cut_off_hour / 3600))
        house = chance.choice(street.houses)
        house.cut_until = asyncio.get_running_loop().time() + chance.choice((1.0, 10.0, 40.0, 300.0))
        street.faults.count("cut off")


async def _leave(street: Street, weather: Weather, chance: random.Random, until: float) -> None:
    """Let a node die that nobody starts again."""
    if weather.gone:
        await asyncio.sleep(chance.uniform(0, until))
        house = chance.choice(street.houses)
        house.is_gone = True
        street.faults.count("gone for good")
        if house.process is not None:
            house.process.kill()
