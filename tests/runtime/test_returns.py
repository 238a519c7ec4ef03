"""What comes back, and what newer news overtakes: found by reading, kept as facts."""

from pathlib import Path

import msgspec
import pytest
from tests.support.fakes import SECOND, FakeClock, FakeIds

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import Input, OutcomeReported, PolicyChanged
from tocsin.core.model.notification import Retry, Target
from tocsin.core.model.policy import HOUR, MINUTE, Policy, Route
from tocsin.intake import native
from tocsin.ports import Store, StoreFailed
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore

POLICY = Policy(routes=Route(name="all"), targets=(Target(id="aa", channel="webhook", address="webhook"),))


class House:
    """A pump over a store, driven by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.committed: list[Committed] = []
        self.pump = Pump(store, self.clock, FakeIds(), origin="test", on_committed=self.committed.append)
        self.pump.open()
        self.take(PolicyChanged(policy=POLICY))

    def take(self, *inputs: Input) -> list[Result]:
        answers: list[object] = []
        self.pump.turn([Request(inputs, "token:1", lambda _, results: answers.append(results))])
        (answer,) = answers
        if isinstance(answer, Exception):
            raise answer
        return list(answer)  # type: ignore[call-overload]

    def alert(
        self, status: Status = Status.FIRING, severity: Severity = Severity.WARNING, **more: int
    ) -> Result:
        at = self.clock.now()
        given = Alert(
            rule_id="disk",
            scope={"host": "db-1"},
            severity=severity,
            status=status,
            message="m",
            window_start=at,
            window_end=at,
            ends_at=more.get("ends_at"),
        )
        return self.take(native.received(given))[0]


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return House(MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "data"))


def test_an_alert_that_returns_in_the_turn_that_forgets_it_stays_one_alert(house: House):
    house.alert()
    house.alert(Status.RESOLVED)
    house.clock.advance(HOUR)

    assert house.alert().outcome == "opened"
    house.alert(Status.RESOLVED)
    house.clock.advance(HOUR)

    assert house.alert().outcome == "opened"
    assert [alert.number for alert in house.store.load().alerts] == [1]
    assert house.alert(Status.RESOLVED).outcome == "resolved"


def test_what_was_merged_in_the_turn_of_its_failure_is_not_attempted_again(house: House):
    house.alert()
    house.alert(Status.RESOLVED)
    house.committed.clear()

    house.take(OutcomeReported(delivery=1, attempt=1, outcome=Retry(why="down")))

    (committed,) = house.committed
    assert committed.ended == [1]
    assert [dispatch.delivery for dispatch in committed.dispatches] == [2]


def test_a_rise_while_an_attempt_fails_does_not_wait_for_the_next_attempt(house: House):
    house.alert()
    house.clock.advance(SECOND)
    house.alert(severity=Severity.CRITICAL)
    house.committed.clear()

    house.take(OutcomeReported(delivery=1, attempt=1, outcome=Retry(why="busy", after_s=3600)))

    dispatches = [dispatch for committed in house.committed for dispatch in committed.dispatches]
    assert [(dispatch.urgent, dispatch.due <= house.clock.now() + 1) for dispatch in dispatches] == [
        (True, True)
    ]


def test_an_hour_in_which_nothing_could_be_stored_resolves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    house.alert(ends_at=house.clock.now() + 5 * MINUTE)

    def full(batch: object) -> None:
        raise StoreFailed("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(house.store, "commit", full)
        for _ in range(60):
            house.clock.advance(MINUTE)
            with pytest.raises(Exception, match="cannot store"):
                house.alert(ends_at=house.clock.now() + 5 * MINUTE)
    house.take()

    (incident,) = house.store.load().incidents
    assert incident.state == "OPEN"


def test_a_green_sent_twice_leaves_the_lease_alone(house: House):
    house.alert(ends_at=house.clock.now() + HOUR)
    house.alert(Status.GREEN)

    assert house.alert(Status.GREEN, ends_at=house.clock.now() - 1).outcome == "duplicate"

    house.clock.advance(MINUTE)
    house.take()
    assert [incident.state for incident in house.store.load().incidents] == ["OPEN"]


def test_an_address_that_is_replaced_while_an_incident_is_open_hears_of_it(house: House):
    house.alert()
    house.committed.clear()

    other = (Target(id="bb", channel="webhook", address="other"),)
    house.take(PolicyChanged(policy=msgspec.structs.replace(POLICY, targets=other)))

    dispatches = [dispatch for committed in house.committed for dispatch in committed.dispatches]
    assert [dispatch.target and dispatch.target.id for dispatch in dispatches] == ["bb"]
