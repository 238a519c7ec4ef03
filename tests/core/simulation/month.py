"""A month in a house: seeded, with all that happens in one, told to a world and recorded as its ledger would be."""

import random
from collections.abc import Iterator

from tests.core.simulation.recording import Recorder
from tests.support.builders import DAY, HOUR, MINUTE, NINE, SECOND, a_policy, a_route, an_alert
from tests.support.world import World

from tocsin.core.engine import deduplicate
from tocsin.core.engine import state as live
from tocsin.core.engine.state import LiveIncident
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import (
    Acted,
    Action,
    AlertReceived,
    BulkActed,
    MaintenanceRequested,
    Manual,
    NodeStart,
    SilenceCut,
    SilenceMoved,
)
from tocsin.core.model.policy import Policy, RateLimit
from tocsin.core.simulation.lookahead import Parts
from tocsin.intake.native import received

LENGTH = 30 * DAY
RULES = ("disk", "load", "latency", "errors", "certificate")
SEVERITIES = ("info", "warning", "warning", "error", "critical")


WHAT = ("again",) * 14 + ("green",) * 3 + ("over",) * 2 + ("silent",)
"""What becomes of an alert that fires; it is looked at again and again before it ends."""


def month_policy(limit: int | None = 10, **root: object) -> Policy:
    """The policy of the house: teams, grouping, waits, a limit."""
    fields = {
        "group_by": ("rule_id", "team", "cell"),
        "group_wait": 30 * SECOND,
        "group_interval": 5 * MINUTE,
        "repeat_interval": 4 * HOUR,
        "resolve_timeout": 4 * HOUR,
        "channels": ("webhook",),
        "ack_timeout": 8 * HOUR,
        **root,
    }
    return a_policy(
        "anna",
        "ben",
        "ops@webhook",
        "chat@teams",
        rate_limit=RateLimit(limit=limit) if limit is not None else None,
        routes=(
            a_route(
                "critical",
                "severity=critical",
                group_wait=0,
                group_by=("...",),
                channels=("email", "webhook"),
            ),
            a_route("database", "team=db", channels=("email",), continue_=True, greens=2),
            a_route("web", "team=~web|shop", group_interval=2 * MINUTE, channels=("teams",)),
        ),
        **fields,
    )


class Month(World):
    """A world that hands out what it decided at once, and can be told of many repeats quickly."""

    def __init__(self, policy: Policy) -> None:
        self.recorder = Recorder()
        self.parts: list[Parts] = []
        super().__init__(policy)

    def _follow(self) -> None:
        super()._follow()
        for entry in self.entries:
            self.parts.append(self.recorder.seal(entry.draft, entry.at))
        self.entries.clear()
        self._followed = 0

    def look(self, given: AlertReceived, actor: str) -> None:
        """Take a look at an alert; a mere repeat is only counted, as the pump does it."""
        given.id = self.state.alert_id(given.fingerprint)
        live.begin(self.state, self.at)
        repeated = deduplicate.find_repeated(self.state, given, self.at)
        if repeated is not None:
            live.refresh(self.state, repeated, given.alert.ends_at, self.at)
        else:
            self.feed(given, actor=actor)

    def until(self, at: int) -> None:
        """As in `World`, without looking around when nothing is due."""
        while (wakeup := live.next_wakeup(self.state)) is not None and wakeup <= at:
            self.at = max(self.at, wakeup)
            self.tick()
        self.at = at


def record(policy: Policy, inputs: int, *, seed: int = 1) -> Iterator[Parts]:
    """Give the entries of a month with about so many inputs that leave an entry, as they are decided."""
    chance = random.Random(seed)
    house = Month(policy)
    hosts = max(20, inputs // 400)
    step = LENGTH // inputs
    until = NINE + LENGTH
    firing: dict[tuple[str, int], list[int]] = {}
    given = 0
    while house.at < until:
        house.until(house.at + chance.randrange(1, 2 * step))
        given += 1
        what = chance.randrange(1000)
        if what < 960:
            _alert(house, chance, hosts, max(8, 30 * MINUTE // step), min(MINUTE, 4 * step), firing)
        elif what < 985:
            _person(house, chance)
        else:
            _house(house, chance)
        yield from house.parts
        house.parts.clear()
    house.until(until + 6 * HOUR)
    yield from house.parts


def _alert(
    house: Month,
    chance: random.Random,
    hosts: int,
    pool: int,
    pace: int,
    firing: dict[tuple[str, int], list[int]],
) -> None:
    """Something begins, goes on, is seen green, or ends; what goes on is repeated a few times first."""
    if firing and chance.randrange(100) < 91:
        rule, host = key = chance.choice([*firing][:pool])
        severity, vouched, begun = firing[key]
        what = chance.choice(WHAT)
    else:
        rule, host = key = chance.choice(RULES), chance.randrange(hosts)
        severity, vouched, begun = chance.randrange(5), chance.randrange(4), house.at
        firing[key] = [severity, vouched, begun]
        what = "fires"
    ends_at = house.at + 3 * HOUR if not vouched else None
    window = begun - MINUTE, begun
    if what == "again":
        for _ in range(chance.randrange(5) if chance.randrange(20) == 0 else 0):
            house.until(house.at + pace)
            _look(house, rule, host, severity, "firing", window, house.at + 3 * HOUR if not vouched else None)
        window = house.at - MINUTE, house.at
        severity = firing[key][0] = min(4, severity + chance.randrange(40) // 39)
        ends_at = house.at + 3 * HOUR if not vouched else None
    elif what != "fires":
        window = house.at - MINUTE, house.at
    if what in ("over", "silent"):
        del firing[key]
    if what != "silent":
        status = {"over": "resolved", "green": "green"}.get(what, "firing")
        _look(house, rule, host, severity, status, window, ends_at)


def _look(
    house: Month,
    rule: str,
    host: int,
    severity: int,
    status: str,
    window: tuple[int, int],
    ends_at: int | None,
) -> None:
    team = ("db", "web", "shop", "core")[host % 4]
    alert = an_alert(
        rule,
        SEVERITIES[severity],
        status,
        window=window,
        ends_at=ends_at,
        source="monitor",
        message=f"{rule} on host-{host:05d} is beyond what it should be, look at the graphs",
        host=f"host-{host:05d}",
        team=team,
        cell=f"c{host % 40}",
    )
    house.look(received(alert), "token:7f3a")


def _some_incident(house: Month, chance: random.Random, *, is_over: bool = False) -> LiveIncident | None:
    numbers = [*house.state.incidents][-200:]
    for number in chance.sample(numbers, min(len(numbers), 20)):
        incident = house.state.incidents[number]
        if (incident.state is IncidentState.RESOLVED) is is_over:
            return incident
    return None


def _person(house: Month, chance: random.Random) -> None:
    action = chance.choice(
        (
            Action.ACK,
            Action.ACK,
            Action.ACK,
            Action.RESOLVE,
            Action.SILENCE,
            Action.NOTE,
            Action.UNACK,
            Action.REOPEN,
        )
    )
    incident = _some_incident(house, chance, is_over=action is Action.REOPEN)
    number = incident.number if incident is not None else 0
    if action is Action.REOPEN and house.archive.incidents and chance.randrange(2):
        number = chance.choice([*house.archive.incidents][-50:])
    if not number:
        return
    until = house.at + 2 * HOUR if action is Action.SILENCE and chance.randrange(2) else 0
    actor = chance.choice(("user:anna", "user:ben"))
    try:
        if chance.randrange(10) == 0:
            house.feed(
                BulkActed(action=action, incidents=(number, number + 1, number + 2), until=until), actor=actor
            )
        else:
            house.feed(Acted(action=action, incident=number, until=until, note="so it is"), actor=actor)
    except TocsinError:
        pass


def _house(house: Month, chance: random.Random) -> None:
    what = chance.randrange(12)
    silences = [*house.state.silences]
    try:
        if what < 5:
            matchers = f"rule_id={chance.choice(RULES)} cell=c{chance.randrange(40)}"
            house.silence(matchers, after=chance.choice((0, HOUR)), lasting=chance.choice((HOUR, 6 * HOUR)))
        elif what == 5 and silences:
            house.feed(SilenceCut(silence=chance.choice(silences)), actor="user:anna")
        elif what == 6 and silences:
            moved = SilenceMoved(silence=chance.choice(silences), ends_at=house.at + 3 * HOUR)
            house.feed(moved, actor="user:anna")
        elif what == 7 and house.state.counters.maintenance < 4:
            house.feed(
                MaintenanceRequested(
                    matchers=(house_matcher(chance),),
                    rrule="FREQ=DAILY",
                    zone="Europe/Berlin",
                    begins="2027-01-15T02:00",
                    lasting=2 * HOUR,
                ),
                actor="user:ben",
            )
        elif what == 8:
            alert = an_alert("by-hand", "error", host="none", source="manual")
            house.send(
                alert, manual=Manual(channels=chance.choice(((), ("teams",))), dry_run=chance.random() < 0.3)
            )
        elif what == 9 and chance.randrange(20) == 0:
            house.at += 20 * MINUTE
            house.feed(NodeStart(gap=20 * MINUTE), actor="system")
    except TocsinError:
        pass


def house_matcher(chance: random.Random):  # type: ignore[no-untyped-def]
    from tests.support.builders import a_matcher

    return a_matcher(f"cell=c{chance.randrange(40)}")
