"""Backtest: what a rule would have done in a time that is past, with the server's own policy.

Every look that the rule's schedule gives is made again, against what the source says of that moment today: a source
that has changed its history since, or only says how things are now, gives another answer than it gave then.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tocsin.core.ledger.encoding import read_decision, read_header, unpack
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.errors import Invalid
from tocsin.core.model.input import received
from tocsin.core.model.notification import NotificationKind
from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import Ask, Rule, Series
from tocsin.core.rules import evaluate, schedule, triggers
from tocsin.core.rules.evaluate import Memory
from tocsin.core.simulation.hours import NIGHT, Hours
from tocsin.ports import SourceFailed, Store
from tocsin.runtime.evaluator import ACTOR
from tocsin.runtime.house import House

LOOKS_MAX = 500_000
FAILURES_SHOWN = 5
AWAY_MAX = 20
"""After so many looks in a row at a source that is away, nothing more is asked of it."""

PROGRESS_EVERY = 100

Asking = Callable[[Ask], Awaitable[tuple[Series, ...]]]
Progress = Callable[[int, int], None]
"""Is told how many looks of how many are made."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An incident. resolved_at: 0 if it was still open at the end; severity: the highest that it ever had.

    reopened: how often it came back after it was resolved; open_for: how long it was open in all.
    """

    number: int
    opened_at: int
    resolved_at: int
    severity: Severity
    scope: dict[str, str]
    title: str
    reopened: int
    open_for: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notification. incident: 0 for a digest; channels: to how many it went."""

    at: int
    kind: NotificationKind
    severity: Severity
    incident: int
    channels: int


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """A week by ISO 8601, such as `2026-W05`: how many incidents were opened in it, and how many notifications told."""

    week: str
    incidents: int
    notifications: int


class Nights(msgspec.Struct, frozen=True, kw_only=True):
    """The same between 22:00 and 07:00."""

    incidents: int
    notifications: int


class Backtested(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule would have done in [since, until). Weeks and nights are those of its zone.

    looks: all that were made; failed: those without an answer, of which `failures` gives the first few reasons;
    nothing: those with an answer that says nothing of any scope; before: those of them that came before the first one
    that said something; wrong: those with at least one scope wrong.
    incidents, notifications: in the order in which they came; severities: incidents by the highest they had.
    firing: how long at least one incident was open.
    """

    rule_id: str
    zone: str
    since: int
    until: int
    looks: int
    failed: int
    nothing: int
    before: int
    wrong: int
    failures: tuple[str, ...]
    incidents: tuple[Opened, ...]
    notifications: tuple[Told, ...]
    weeks: tuple[Week, ...]
    severities: dict[Severity, int]
    nights: Nights
    firing: int


def moments(rule: Rule, since: int, until: int) -> list[int]:
    """Give the moments in [since, until) for which a rule looks. Raises: Invalid for too many."""
    found: list[int] = []
    at = schedule.next_due(rule, since - 1)
    while at < until:
        found.append(at)
        if len(found) > LOOKS_MAX:
            raise Invalid(
                f"Rule {rule.rule_id} looks more than {LOOKS_MAX:,} times in this period. Take a shorter one."
            )
        at = schedule.next_due(rule, at)
    return found


async def backtest(
    rule: Rule,
    *,
    since: int,
    until: int,
    ask: Asking,
    house: House,
    on_progress: Progress = lambda looks, of: None,
) -> Backtested:
    """Make every look of [since, until), and let a house decide what comes of it.

    house: a new one that begins at `since`.
    Raises: Invalid for too many looks; SourceFailed if the source stays away.
    """
    test = Backtest(rule, since=since, ask=ask, house=house)
    await test.go_on(until, on_progress)
    return test.found()


class Backtest:
    """A backtest that can be made in parts. The parameters are those of `backtest`."""

    def __init__(self, rule: Rule, *, since: int, ask: Asking, house: House) -> None:
        self._rule = rule
        self._since = self._until = since
        self._ask = ask
        self._house = house
        self._memory = Memory()
        self._looks = self._failed = self._nothing = self._before = self._wrong = self._away = 0
        self._begins = True
        self._failures: dict[str, None] = {}
        self._decided: dict[int, int] = {}

    async def go_on(self, until: int, on_progress: Progress = lambda looks, of: None) -> None:
        """Make the looks up to `until`. Raises: as `backtest`."""
        due = moments(self._rule, self._until, until)
        for number, at in enumerate(due):
            if number % PROGRESS_EVERY == 0:
                on_progress(number, len(due))
            await self._look(at)
        self._house.until(until - 1)
        self._until = until
        on_progress(len(due), len(due))

    async def _look(self, at: int) -> None:
        self._house.until(at)
        self._looks += 1
        try:
            answers = {one.name: await self._ask(one) for one in triggers.asks(self._rule, at)}
            looks = evaluate.look(self._rule, at, answers, self._memory)
        except (SourceFailed, Invalid) as error:
            self._note(error)
            return
        self._away = 0
        if not looks:
            self._nothing += 1
            self._before += self._begins
        self._begins = self._begins and not looks
        self._wrong += any(one.judgement.severity is not None for one in looks)
        if looks:
            # The ledger's time rises with each turn; what comes of a look is said to come at the look's own moment.
            self._decided[max(at, self._house.pump.state.at + 1)] = at
            results = self._house.take(*[received(one.alert) for one in looks], actor=ACTOR)
            for one, result in zip(looks, results, strict=True):
                evaluate.answered(self._memory, one, result.outcome)

    def _note(self, error: SourceFailed | Invalid) -> None:
        """Count a look without an answer. Raises: SourceFailed if it was one too many."""
        self._failed += 1
        if len(self._failures) < FAILURES_SHOWN:
            self._failures[str(error)] = None
        self._away = self._away + 1 if isinstance(error, SourceFailed) and error.is_away else 0
        if self._away == AWAY_MAX:
            said = f"{error} So it was for {AWAY_MAX} looks in a row; it is not asked any more."
            raise SourceFailed(said, is_away=True) from error

    def found(self) -> Backtested:
        """Say what it came to so far."""
        life = _Life(self._house.store, self._decided)
        incidents, told = life.incidents(self._until), tuple(life.told)
        zone = self._rule.zone
        hours = Hours(zone)
        return Backtested(
            rule_id=self._rule.rule_id,
            zone=zone,
            since=self._since,
            until=self._until,
            looks=self._looks,
            failed=self._failed,
            nothing=self._nothing,
            before=self._before,
            wrong=self._wrong,
            failures=tuple(self._failures),
            incidents=incidents,
            notifications=told,
            weeks=_weeks(ZoneInfo(zone), self._since, self._until, incidents, told),
            severities={
                severity: sum(one.severity is severity for one in incidents)
                for severity in reversed(Severity)
            },
            nights=Nights(
                incidents=sum(hours.of(one.opened_at) in NIGHT for one in incidents),
                notifications=sum(hours.of(one.at) in NIGHT for one in told),
            ),
            firing=_union(life.open_between(self._until)),
        )


class _Life:
    """What a ledger tells of incidents and notifications. decided: the instant of a turn -> the look it belongs to."""

    def __init__(self, store: Store, decided: dict[int, int]) -> None:
        self._store = store
        self._spans: dict[int, list[tuple[int, int]]] = {}
        """incident -> when it was opened and resolved, each time; 0 for not yet."""
        self._severity: dict[int, Severity] = {}
        self.told: list[Told] = []
        for segment in store.segments():
            for header, decision, _ in unpack(segment.data):
                at = read_header(header).at
                for event in read_decision(decision).events:
                    self._follow(event, decided.get(at, at))

    def _follow(self, event: ev.Decided, at: int) -> None:
        match event:
            case ev.IncidentOpened() | ev.IncidentReopened():
                self._spans.setdefault(event.incident, []).append((at, 0))
            case ev.IncidentResolved():
                spans = self._spans[event.incident]
                spans[-1] = spans[-1][0], at
            case ev.AlertFired() | ev.AlertSeen():
                known = self._severity.get(event.incident, event.severity)
                self._severity[event.incident] = max(known, event.severity, key=severity_rank.__getitem__)
            case ev.Notified():
                self.told.append(
                    Told(
                        at=at,
                        kind=event.kind,
                        severity=event.severity,
                        incident=event.incident,
                        channels=len({one.channel for one in event.deliveries}),
                    )
                )
            case _:
                pass

    def incidents(self, until: int) -> tuple[Opened, ...]:
        """Give the incidents by number."""
        found = []
        for number, spans in sorted(self._spans.items()):
            title, labels = self._store.incident_text(number) or ("", {})
            found.append(
                Opened(
                    number=number,
                    opened_at=spans[0][0],
                    resolved_at=spans[-1][1],
                    severity=self._severity[number],
                    scope=labels,
                    title=title,
                    reopened=len(spans) - 1,
                    open_for=sum((end or until) - begin for begin, end in spans),
                )
            )
        return tuple(found)

    def open_between(self, until: int) -> Iterator[tuple[int, int]]:
        """Give from when to when incidents were open, those with an earlier beginning first."""
        spans = [span for spans in self._spans.values() for span in spans]
        return ((begin, end or until) for begin, end in sorted(spans))


def _union(spans: Iterator[tuple[int, int]]) -> int:
    """Give the length of time that spans cover together; they come by their beginning."""
    covered = reached = 0
    for begin, end in spans:
        covered += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def _weeks(
    zone: ZoneInfo, since: int, until: int, incidents: Sequence[Opened], told: Sequence[Told]
) -> tuple[Week, ...]:
    """Count by the week; weeks in which nothing came are there too."""
    opened, notified = (
        Counter(_week(_day(at, zone)) for at in instants)
        for instants in ([one.opened_at for one in incidents], [one.at for one in told])
    )
    day, last = _day(since, zone), _day(until - 1, zone)
    names: dict[str, None] = {}
    while day <= last:
        names[_week(day)] = None
        day += timedelta(days=1)
    return tuple(Week(week=name, incidents=opened[name], notifications=notified[name]) for name in names)


def _day(at: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at // SECOND, tz=UTC).astimezone(zone).date()


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"
