"""Ledgers to check: made by driving the real pump over a real store, from a seed."""

import hashlib
import random
from pathlib import Path

import msgspec

from tocsin.core.ledger.encoding import Segment, read_header
from tocsin.core.ledger.verify import End
from tocsin.core.model.access import Role, Token
from tocsin.core.model.alert import Alert, Link, Severity, Status
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.input import (
    AccessDenied,
    Acted,
    Action,
    Basis,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    Denial,
    ErasureAsked,
    Input,
    KeysChanged,
    LedgerFork,
    LedgerNamed,
    MaintenanceCut,
    MaintenanceRequested,
    Manual,
    OutcomeReported,
    PolicyChanged,
    RetentionDue,
    SilenceCut,
    SilenceMoved,
    SilenceRequested,
    StoreRestored,
    TokenCut,
    TokenIssued,
)
from tocsin.core.model.notification import Accepted, Delivered, DryRun, Refused, Retry, Target
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND, Policy, RateLimit, Route
from tocsin.core.model.silence import Matcher, MatchOp
from tocsin.intake.native import received
from tocsin.ports import number_of
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores.sqlite import SqliteStore

START = 1_800_000_000_000_000


class HandClock:
    """Time as this module says."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


class CountedBytes:
    """Bytes that differ each time, and are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def random_bytes(self, length: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(b"%d" % self._count).digest(length)


class Ledger(msgspec.Struct, frozen=True):
    """A ledger as it lies in a store: its segments, and what the head says of it."""

    segments: list[Segment]
    end: End


def a_policy(version: int = 1) -> Policy:
    """One that makes much happen in a short time. version: of it, for a policy that differs."""
    return Policy(
        routes=Route(
            name="default",
            group_by=("cluster",),
            group_interval=MINUTE,
            repeat_interval=HOUR,
            reopen_within=5 * MINUTE,
            resolve_timeout=2 * HOUR,
            ack_timeout=HOUR + version * MINUTE,
            routes=(
                Route(
                    name="database",
                    matchers=(Matcher(name="team", value="db"),),
                    continue_=True,
                    group_by=("...",),
                ),
                Route(name="everything"),
            ),
        ),
        targets=(
            Target(id="0a1b2c3d4e5f6071", channel="email", address="anna@example.org"),
            Target(id="18293a4b5c6d7e8f", channel="email", address="ben@example.org"),
            Target(id="f0e1d2c3b4a59687", channel="webhook", address="webhook"),
        ),
        rate_limit=RateLimit(limit=2, window=2 * HOUR, digest_after=5 * MINUTE),
    )


def an_alert(
    rule_id: str = "disk",
    status: Status = Status.FIRING,
    severity: Severity = Severity.WARNING,
    at: int = START,
    **scope: str,
) -> Alert:
    return Alert(
        rule_id=rule_id,
        scope=scope,
        severity=severity,
        status=status,
        message=f"{rule_id} is nearly full \u2014 \u0007 \U0001f525",
        window_start=at - MINUTE,
        window_end=at,
        annotations={"runbook": "https://runbook.example.org/disk"},
        links=(Link(href="https://graphs.example.org/1", text="graph"),),
        evidence={"value": "97.3", "samples": [1, 2, None, True]},
        source="tests",
    )


def write_ledger(store: SqliteStore, *, seed: int = 1, turns: int = 150, is_whole: bool = False) -> None:
    """Let a house full of trouble go on for so many turns. is_whole: nothing is erased in the end."""
    chance = random.Random(seed)
    clock = HandClock()
    waiting: list[tuple[int, int]] = []

    def on_committed(committed: Committed) -> None:
        waiting.extend((dispatch.delivery, dispatch.attempt) for dispatch in committed.dispatches)

    def answer(request: Request, results: list[Result] | Exception) -> None:
        assert not isinstance(results, Exception), results
        for result in results:
            assert result.refused is None or isinstance(result.refused, TocsinError), result.refused

    pump = Pump(store, clock, CountedBytes(), origin="tests", on_committed=on_committed)
    pump.open()
    pump.turn([Request((PolicyChanged(policy=a_policy()),), "settings", answer)])
    for turn in range(turns):
        clock.at += chance.choice((SECOND, MINUTE, MINUTE, 10 * MINUTE, 45 * MINUTE))
        inputs = [_an_input(chance, clock.at, pump, waiting) for _ in range(chance.choice((1, 1, 2, 3, 8)))]
        actor = chance.choice(("token:7f3a", "user:anna", "token:żółw"))
        pump.turn([Request([given], actor, answer) for given in inputs])
        if turn == turns // 2:
            pump.turn([Request((PolicyChanged(policy=a_policy(2)),), "settings", answer)])
    clock.at += 2 * DAY
    pump.turn([])
    if is_whole:
        return
    vkey = "tests+89abcdef+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
    size = store.head().size
    over = [seq for seq in range(2, size) if _is_over(store, pump, seq)]
    first, second, *rest = over if len(over) > 1 else (0, 0)
    rare: tuple[Input, ...] = (
        LedgerNamed(origin="tests"),
        KeysChanged(adopt=(vkey,)),
        LedgerFork(origin="tests/2", known_size=size, known_root="ab" * 32, reason="a drill"),
        ErasureAsked(
            entries=(first, *rest[: chance.randrange(30) : 2]),
            incidents=(),
            basis=Basis.ENTRY,
            reason="a drill",
        ),
        RetentionDue(entries=(second,), incidents=()),
    )
    pump.turn([Request((given,), "user:anna", answer) for given in rare])
    clock.at += DAY
    pump.turn([Request((KeysChanged(retire=(vkey,)),), "user:anna", answer)])
    past = next(number for number in range(1, 1000) if number not in pump.state.incidents)
    pump.turn([Request((RetentionDue(entries=(), incidents=(past,)),), "system", answer)])


def _is_over(store: SqliteStore, pump: Pump, seq: int) -> bool:
    """Say whether an entry is about an incident that is long over."""
    entry = store.entry(seq)
    assert entry is not None
    incident = read_header(entry[0]).incident
    return incident is not None and number_of(incident) not in pump.state.incidents


def _an_input(chance: random.Random, at: int, pump: Pump, waiting: list[tuple[int, int]]) -> Input:
    kind = chance.choices(("alert", "outcome", "action", "silence", "cut", "other"), (10, 6, 6, 1, 1, 3))[0]
    number = chance.choice([*pump.state.incidents] or [1])
    if kind == "outcome" and waiting:
        delivery, attempt = waiting.pop(chance.randrange(len(waiting)))
        outcome = chance.choice(
            (
                Delivered(detail="250 ok"),
                Accepted(),
                Retry(why="503", after_s=20),
                Refused(why="gone"),
                DryRun(),
            )
        )
        return OutcomeReported(delivery=delivery, attempt=attempt, outcome=outcome)
    if kind == "action":
        action = chance.choice(tuple(Action))
        until = at + HOUR if action is Action.SILENCE else 0
        return Acted(action=action, incident=number, note=chance.choice(("", "on it")), until=until)
    if kind == "silence":
        matcher = Matcher(name="cluster", op=MatchOp.MATCHES, value=f"c{chance.randrange(3)}")
        start = at + chance.choice((0, MINUTE))
        return SilenceRequested(matchers=(matcher,), starts_at=start, ends_at=start + HOUR, comment="works")
    if kind == "other":
        return _a_rare_input(chance, at, number, max(pump.state.silences, default=1))
    if kind == "cut":
        return SilenceCut(silence=chance.randint(1, max(1, pump.state.counters.silence)))
    given = received(
        an_alert(
            chance.choice(("disk", "load")),
            chance.choice((Status.FIRING, Status.FIRING, Status.GREEN, Status.RESOLVED)),
            chance.choice(tuple(Severity)),
            at,
            cluster=f"c{chance.randrange(3)}",
            host=f"h{chance.randrange(4)}",
            team=chance.choice(("db", "web")),
        )
    )
    if chance.randrange(10) == 0:
        given.manual = Manual(channels=("email",), dry_run=chance.randrange(2) == 0)
    return given


def _a_rare_input(chance: random.Random, at: int, incident: int, silence: int) -> Input:
    token = Token(id="81b2", name="bot", role=Role.SERVICE, hash="", created_at=at)
    rare: tuple[Input, ...] = (
        BulkActed(action=chance.choice((Action.NOTE, Action.REOPEN)), incidents=(incident, incident + 1)),
        SilenceMoved(silence=silence, ends_at=at + HOUR),
        MaintenanceRequested(
            matchers=(Matcher(name="cluster", value="c1"),),
            rrule="FREQ=DAILY;COUNT=2",
            zone="Europe/Berlin",
            begins="2027-01-15T09:30",
            lasting=HOUR,
        ),
        MaintenanceCut(maintenance=1),
        DeliveryRetryAsked(delivery=chance.randint(1, 9), forced=True),
        DeliveryDiscardAsked(delivery=chance.randint(1, 9), reason="known"),
        TokenIssued(token=msgspec.structs.replace(token, id=f"{at:x}-{incident}-{chance.random()}")),
        TokenCut(token="81b2"),
        AccessDenied(reason=Denial.SIGN_IN, count=1, client="192.0.2.7"),
        StoreRestored(size=1, made_at=at),
    )
    return chance.choice(rare)


def read_ledger(store: SqliteStore) -> Ledger:
    """Take the whole ledger out of a store."""
    head = store.head()
    return Ledger(list(store.segments()), End(head.size, head.root, head.edge, head.at))


def make_ledger(directory: Path, *, seed: int = 1, turns: int = 150, is_whole: bool = False) -> Ledger:
    """Write a ledger in a data directory, and leave it there."""
    store = SqliteStore(directory)
    try:
        write_ledger(store, seed=seed, turns=turns, is_whole=is_whole)
        return read_ledger(store)
    finally:
        store.close()
