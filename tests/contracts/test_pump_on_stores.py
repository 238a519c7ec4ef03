"""A pump decides the same over every store, and a restart changes nothing that it decides."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.contracts.places import PLACES, Place
from tests.support.fakes import NOON, SECOND, FakeClock, FakeIds
from tests.support.shared import SharedMemory

from tocsin.core.ledger.encoding import unpack
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import (
    Acted,
    Action,
    AlertReceived,
    Input,
    OutcomeReported,
    PolicyChanged,
    SilenceRequested,
)
from tocsin.core.model.notification import Accepted, Refused, Retry, Target
from tocsin.core.model.policy import MINUTE, Policy, Route
from tocsin.core.model.silence import Matcher
from tocsin.intake.native import received
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores.postgres import PostgresStore

POLICY = Policy(
    routes=Route(
        name="default", group_by=("host",), group_wait=0, group_interval=MINUTE, repeat_interval=5 * MINUTE
    ),
    targets=(
        Target(id="t1", channel="webhook", address="webhook"),
        Target(id="t2", channel="email", address="anna@example.org"),
    ),
)


class Driven:
    """A pump over a place, with a clock that it shares with nobody."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.answers: list[object] = []
        self.restart()

    def restart(self) -> None:
        """End the process and begin another one at the same moment."""
        self.store = self.place.open()
        if isinstance(self.store, PostgresStore | SharedMemory):
            self.store.time = self.clock.now
        self.pump = Pump(
            self.store, self.clock, self.ids, origin="tocsin-test", on_committed=lambda committed: None
        )
        self.pump.open()

    def take(self, *inputs: Input, after: int = SECOND) -> list[Result]:
        """Let time pass (microseconds), then decide all inputs in one turn."""
        self.clock.advance(after)
        given: list[Result] = []

        def answer(_: Request, results: object) -> None:
            assert isinstance(results, list), results
            given.extend(results)

        self.pump.turn([Request(inputs, "token:test", answer)])
        self.answers.append([(one.outcome, one.incidents, str(one.refused or "")) for one in given])
        return given

    def ledger(self) -> list[tuple[int, int, bytes, bytes]]:
        """Give all that the ledger holds, byte for byte."""
        return [(one.first_seq, one.count, one.root, one.data) for one in self.store.segments()]


def an_alert(
    host: str,
    rule: str = "disk_full",
    *,
    status: Status = Status.FIRING,
    window: int = 0,
    severity: Severity = Severity.WARNING,
    ends_at: int | None = None,
) -> AlertReceived:
    return received(
        Alert(
            rule_id=rule,
            scope={"host": host, "note": "ünïcödé"},
            severity=severity,
            status=status,
            message=f"{rule} on {host}",
            window_start=window,
            window_end=window + 1,
            source="prometheus",
            ends_at=ends_at,
        )
    )


def an_eventful_hour(driven: Driven, *, restart: Callable[[Driven], None] = lambda driven: None) -> None:
    """Play alerts, repeats, people, outcomes, silences, expiries and downtime. restart: called now and then."""
    driven.take(PolicyChanged(policy=POLICY))
    driven.take(*(an_alert(f"db-{n}", ends_at=NOON + 20 * MINUTE) for n in range(12)))
    driven.take(*(an_alert(f"db-{n}", rule="cpu", window=n) for n in range(4)), after=30 * SECOND)
    restart(driven)
    driven.take(*(an_alert(f"db-{n}", ends_at=NOON + 25 * MINUTE) for n in range(0, 12, 2)), after=MINUTE)
    driven.take(
        *(OutcomeReported(delivery=n, attempt=1, outcome=Accepted(detail="202")) for n in range(1, 6))
    )
    driven.take(OutcomeReported(delivery=6, attempt=1, outcome=Retry(why="503", after_s=2)))
    driven.take(OutcomeReported(delivery=7, attempt=1, outcome=Refused(why="410")))
    driven.take(
        Acted(action=Action.ACK, incident=1),
        Acted(action=Action.SILENCE, incident=2, until=NOON + 9 * MINUTE),
    )
    restart(driven)
    driven.take(
        SilenceRequested(
            matchers=(Matcher(name="rule_id", value="cpu"),),
            starts_at=NOON,
            ends_at=NOON + 12 * MINUTE,
            comment="deploy",
        )
    )
    driven.take(
        Acted(action=Action.RESOLVE, incident=3, note="false alarm"), Acted(action=Action.ACK, incident=99)
    )
    driven.take(*(an_alert(f"db-{n}", rule="cpu", status=Status.GREEN, window=100 + n) for n in range(4)))
    driven.take(after=7 * MINUTE)
    restart(driven)
    driven.take(
        an_alert("db-2", window=7, severity=Severity.CRITICAL), an_alert("db-3", window=8), after=MINUTE
    )
    driven.take(*(an_alert(f"db-{n}", status=Status.RESOLVED, window=9) for n in range(4, 8)), after=MINUTE)
    driven.take(after=12 * MINUTE)
    driven.take(an_alert("db-5", window=20), an_alert("db-5", window=20), after=6 * MINUTE)
    restart(driven)
    driven.take(after=30 * MINUTE)
    driven.take(an_alert("db-6", window=30), after=MINUTE)


@pytest.fixture(params=[kind for kind in PLACES if kind != "memory"])
def other(request: pytest.FixtureRequest, tmp_path: Path):
    place = PLACES[request.param](tmp_path)
    yield place
    place.leave()


@pytest.mark.parametrize("restarts", [False, True], ids=["one process", "restarts"])
def test_the_same_inputs_give_the_same_ledger_over_memory_and_a_real_store(
    other: Place, tmp_path: Path, restarts: bool
):
    reference, real = Driven(PLACES["memory"](tmp_path)), Driven(other)

    for driven in (reference, real):
        an_eventful_hour(driven, restart=Driven.restart if restarts else lambda driven: None)

    assert real.answers == reference.answers
    assert real.ledger() == reference.ledger()
    assert sum(count for _, count, _, _ in real.ledger()) > 60
    assert msgspec.json.encode(real.store.load()) == msgspec.json.encode(reference.store.load())
    assert real.store.counts() == reference.store.counts()
    for number in range(1, 14):
        assert real.store.incident_view(number) == reference.store.incident_view(number)
        assert real.store.members(number) == reference.store.members(number)
        assert real.store.deliveries_of(number) == reference.store.deliveries_of(number)


def test_every_entry_of_a_ledger_is_where_it_is_sought(place: Place):
    driven = Driven(place)
    an_eventful_hour(driven)
    store = driven.store

    entries = [entry for segment in store.segments() for entry in unpack(segment.data)]

    assert len(entries) == store.head().size > 60
    assert [store.entry(seq) for seq in range(len(entries))] == entries
    assert store.entry(len(entries)) is None


def test_what_the_store_loads_is_what_the_pump_had(place: Place):
    driven = Driven(place)
    an_eventful_hour(driven)
    state = driven.pump.state

    memory = place.open().load()

    assert {one.number: one for one in memory.incidents} == state.incidents
    assert {one.number: one for one in memory.deliveries} == state.deliveries
    assert dict(memory.rates) == state.rates
    live = {alert.id: msgspec.structs.replace(alert, timer=0) for alert in state.alerts.values()}
    assert {alert.id: msgspec.structs.replace(alert, timer=0) for alert in memory.alerts} == live


def test_two_outages_of_ours_in_a_row_resolve_nothing_that_is_still_wrong(place: Place):
    """The extension that the first start gave must outlive the lease that was stored before it."""
    driven = Driven(place)
    driven.take(an_alert("db-1", ends_at=NOON + 10 * MINUTE))
    driven.take(
        an_alert("db-1", ends_at=NOON + 11 * MINUTE), after=MINUTE
    )  # a repeat: in the side table only

    driven.clock.advance(60 * MINUTE)
    driven.restart()
    driven.clock.advance(60 * MINUTE)
    driven.restart()
    driven.take(after=6 * MINUTE)

    (alert,) = driven.pump.state.alerts.values()
    assert alert.firing_in == (1,)
    assert driven.clock.now() < alert.lease

    driven.take(after=60 * MINUTE)

    assert driven.store.incident_view(1).state == "RESOLVED"  # type: ignore[union-attr]
