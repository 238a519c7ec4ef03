"""One turn, one commit: what breaks is refused alone, what cannot be stored is refused together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.house import Wrapped, a_policy, an_alert, events_of, once
from tests.support.fakes import SECOND, FakeClock, FakeIds

from tocsin.core.engine import fold
from tocsin.core.engine.state import State
from tocsin.core.ledger.verify import verify
from tocsin.core.model import event as ev
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import Input, OutcomeReported, PolicyChanged
from tocsin.core.model.notification import Accepted
from tocsin.ports import Store
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore


class Driven:
    """A pump that a test drives by hand."""

    def __init__(self, store: Any, clock: FakeClock | None = None) -> None:
        self.store: Store = store
        self.clock = clock or FakeClock()
        self.committed: list[Committed] = []
        self.pump = Pump(store, self.clock, FakeIds(), origin="test", on_committed=self.committed.append)
        self.pump.open()
        self.turn([PolicyChanged(policy=a_policy("hook"))])

    def turn(self, *requests: Sequence[Input]) -> list[Sequence[Result] | Exception]:
        """Decide these requests in one turn, a second later; the answer to each."""
        answers: list[Sequence[Result] | Exception] = []
        self.clock.advance(SECOND)
        self.pump.turn(
            [Request(inputs, "t", lambda _, result: answers.append(result)) for inputs in requests]
        )
        assert len(answers) == len(requests)
        return answers

    def is_sound(self) -> bool:
        head = self.store.head()
        return verify(
            self.store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at
        ).is_sound


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applying the alert of rule `poison` breaks, after it has changed half of the state."""
    whole = fold._APPLY[ev.AlertFired]

    def breaks(state: State, event: ev.AlertFired, at: int, private: Mapping[str, Any]) -> None:
        whole(state, event, at, private)
        if event.rule_id == "poison":
            raise ZeroDivisionError("the test's poison")

    monkeypatch.setitem(fold._APPLY, ev.AlertFired, breaks)


@pytest.mark.usefixtures("poisoned")
def test_an_input_that_breaks_is_refused_alone() -> None:
    driven = Driven(MemoryStore())
    driven.turn([an_alert("before")])

    first, second, third = driven.turn(
        [an_alert("one")],
        [an_alert("two"), an_alert("poison"), an_alert("three")],
        [an_alert("poison")],
    )

    assert isinstance(first, Sequence)
    assert isinstance(second, Sequence)
    assert isinstance(third, Sequence)
    assert [result.outcome for result in (*first, *second, *third)] == [
        "opened", "opened", "refused", "opened", "refused",
    ]  # fmt: skip
    assert isinstance(second[1].refused, ZeroDivisionError)
    fired = [event.rule_id for event in events_of(driven.store, ev.AlertFired)]
    assert fired == ["before", "one", "two", "three"]
    assert driven.is_sound()
    assert len(driven.pump.state.incidents) == 4


@pytest.mark.usefixtures("poisoned")
def test_after_an_input_that_broke_the_numbers_go_on_without_a_gap() -> None:
    driven = Driven(MemoryStore())

    driven.turn([an_alert("poison"), an_alert("one")])
    driven.turn([an_alert("two")])

    opened = [event.incident for event in events_of(driven.store, ev.IncidentOpened)]
    assert opened == [1, 2]
    assert driven.is_sound()


def test_a_commit_that_fails_is_unavailable_for_all_and_the_state_is_read_anew() -> None:
    store = Wrapped(MemoryStore())
    driven = Driven(store)
    driven.turn([an_alert("before")])
    head = store.head()
    store.before = once(lambda batch: True)

    answers = driven.turn([an_alert("one"), an_alert("before")], [an_alert("two")])

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert store.head() == head
    again = driven.turn([an_alert("one"), an_alert("before")], [an_alert("two")])
    assert [[r.outcome for r in a] for a in again if isinstance(a, Sequence)] == [
        ["opened", "duplicate"],
        ["opened"],
    ]
    assert driven.is_sound()


def test_a_commit_that_failed_but_took_effect_counts_once() -> None:
    store = Wrapped(MemoryStore())
    driven = Driven(store)
    store.after = once(lambda batch: True)

    (lost,) = driven.turn([an_alert("one")])
    (again,) = driven.turn([an_alert("one")])

    assert isinstance(lost, Unavailable)
    assert isinstance(again, Sequence)
    assert again[0].outcome == "duplicate"
    assert len(events_of(driven.store, ev.AlertFired)) == 1
    pending = {dispatch.delivery for one in driven.committed for dispatch in one.dispatches}
    assert pending == {1}, "what that commit decided to send was announced when it was found"
    assert driven.is_sound()


def test_a_store_that_cannot_be_read_in_the_middle_of_an_input_is_not_that_inputs_fault() -> None:
    inner = MemoryStore()
    store = Wrapped(inner)
    driven = Driven(store)
    driven.turn([an_alert("one")])
    driven.turn([OutcomeReported(delivery=1, attempt=1, outcome=Accepted())])
    driven.clock.advance(5 * 3600 * SECOND)  # A reminder is due, and goes with what is heard next.
    head = store.head()
    driven.pump._texts.forget()
    read = once(lambda batch: True)
    store.incident_text = lambda number: read(None) or inner.incident_text(number)  # type: ignore[attr-defined, func-returns-value, arg-type]
    still = an_alert("one", window=120)
    requests = [an_alert("two"), still], [an_alert("three")]

    answers = driven.turn(*requests)

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert store.head() == head
    first, second = driven.turn(*requests)
    assert isinstance(first, Sequence)
    assert isinstance(second, Sequence)
    assert [result.refused for result in (*first, *second)] == [None, None, None]
    assert driven.is_sound()


def test_a_store_that_cannot_even_be_read_keeps_answering_unavailable() -> None:
    inner = MemoryStore()
    store = Wrapped(inner)
    driven = Driven(store)
    store.before = once(lambda batch: True)
    driven.turn([an_alert("one")])
    load = once(lambda batch: True)
    store.load = lambda: load(None) or inner.load()  # type: ignore[attr-defined, func-returns-value, arg-type]

    (unread,) = driven.turn([an_alert("one")])
    (read,) = driven.turn([an_alert("one")])

    assert isinstance(unread, Unavailable)
    assert isinstance(read, Sequence)
    assert read[0].outcome == "opened"


def test_a_turn_of_repeats_leaves_no_entry_but_their_count_survives(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    driven = Driven(store)
    driven.turn([an_alert("disk"), an_alert("net")])
    size = store.head().size

    for _ in range(3):
        answers = driven.turn([an_alert("disk"), an_alert("disk")], [an_alert("net")])
        assert [[r.outcome for r in a] for a in answers if isinstance(a, Sequence)] == [
            ["duplicate", "duplicate"],
            ["duplicate"],
        ]
    assert store.head().size == size
    seen_at = driven.clock.now()
    store.close()

    store = SqliteStore(tmp_path)
    again = Driven(store, driven.clock)
    counted = {live.rule_id: (live.repeats, live.seen_at) for live in again.pump.state.alerts.values()}
    assert counted == {"disk": (6, seen_at), "net": (3, seen_at)}
    again.turn([an_alert("disk", window=61)])
    (seen,) = events_of(store, ev.AlertSeen)
    assert (seen.repeats, seen.last_at) == (6, seen_at)
    store.close()


def test_a_turn_without_news_writes_nothing() -> None:
    driven = Driven(MemoryStore())
    driven.turn([an_alert("disk")])
    before, told = driven.store.head(), len(driven.committed)

    driven.turn()
    driven.turn([])

    assert driven.store.head().size == before.size
    assert len(driven.committed) == told
