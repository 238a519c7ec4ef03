"""Several nodes on one database: whoever decides knows what all decided before, and each delivery is one node's.

One thread plays all of them, in an order and at moments that the seed draws, so that a seed that fails fails again.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from tests.contracts.rows import a_batch, a_head, a_segment
from tests.stores.shelves import SHELVES, InMemory, OnPostgres
from tests.support.fakes import NOON, SECOND, FakeClock, FakeIds
from tests.support.world import SEEN_WITHOUT_ENTRY, dump

from tocsin.core.engine.restore import restore
from tocsin.core.engine.state import LiveDelivery, begin
from tocsin.core.ledger.encoding import read_decision, read_entry, read_header, unpack
from tocsin.core.ledger.verify import verify
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.event import Notified
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import (
    Acted,
    Action,
    DeliveryRetryAsked,
    Input,
    OutcomeReported,
    PolicyChanged,
    SilenceRequested,
)
from tocsin.core.model.notification import Accepted, Outcome, Refused, Retry, Target
from tocsin.core.model.policy import HOUR, MINUTE, Policy, RateLimit, Route
from tocsin.core.model.silence import Matcher
from tocsin.core.simulation.fold import Fold
from tocsin.intake.native import received
from tocsin.ports import StoreFailed
from tocsin.runtime.committed import Committed, Dispatch
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores import postgres
from tocsin.stores.postgres import LEASE

SEEDS = 4
STEPS = 120
NODES = ("ada", "bob", "eve")

POLICY = Policy(
    routes=Route(
        name="default",
        group_by=("team",),
        group_wait=0,
        group_interval=MINUTE,
        repeat_interval=10 * MINUTE,
        reopen_within=5 * MINUTE,
        resolve_timeout=2 * HOUR,
        greens=2,
    ),
    targets=(
        Target(id="t1", channel="webhook", address="webhook"),
        Target(id="t2", channel="email", address="anna@example.org"),
    ),
)
STRICTER = Policy(routes=POLICY.routes, targets=POLICY.targets, rate_limit=RateLimit(limit=2, window=HOUR))


class Node:
    """A store, a pump, and what its dispatcher would hold. It begins anew after each death."""

    def __init__(self, shelf: OnPostgres | InMemory, name: str, clock: FakeClock) -> None:
        self._shelf, self.name, self._clock = shelf, name, clock
        self._lives = 0
        self.is_cut_off = False
        self.begin()

    def begin(self) -> None:
        """Begin a life."""
        self._lives += 1
        self.held: dict[int, Dispatch] = {}
        self.store = self._shelf.open(f"{self.name}-{self._lives}")
        self.pump = Pump(
            self.store,
            self._clock,
            FakeIds(f"{self.name} {self._lives}"),
            origin="tocsin-test",
            on_committed=self._committed,
        )
        self.pump.open()

    def end(self) -> None:
        """Be gone, without a word."""
        self.store.close()

    def take(self, *inputs: Input) -> Sequence[Result] | Exception:
        """Take a turn; give what was answered."""
        answers: list[Any] = []
        self.pump.turn([Request(inputs, f"token:{self.name}", lambda _, results: answers.append(results))])
        assert len(answers) == 1
        return answers[0]  # type: ignore[no-any-return]

    def _committed(self, committed: Committed) -> None:
        if committed.is_all:
            self.held.clear()
        for number in committed.ended:
            self.held.pop(number, None)
        for dispatch in committed.dispatches:
            self.held[dispatch.delivery] = dispatch


class Story:
    """Some nodes, and what a seed lets happen to them. troubled: they die, and are cut off."""

    def __init__(self, on: str, seed: int, names: Sequence[str] = NODES, *, troubled: bool = True) -> None:
        self.troubled = troubled
        self.chance = random.Random(f"nodes {seed}")
        self.who = random.Random(f"who {seed}")
        self.clock = FakeClock()
        self.shelf = SHELVES[on](self.clock.now)
        self.nodes = [Node(self.shelf, name, self.clock) for name in names]
        self.answered: dict[tuple[str, int], str] = {}
        self.looks = 0
        assert not isinstance(self.nodes[0].take(PolicyChanged(policy=POLICY)), Exception)

    def close(self) -> None:
        for node in self.nodes:
            node.end()

    def play(self) -> None:
        for _ in range(STEPS):
            self.clock.advance(int(self.chance.choice((0.001, 0.5, 2, 20, 70, 400, 4000)) * SECOND))
            node = self.who.choice(self.nodes)
            if self.chance.random() < 0.06 and self.troubled:
                self._trouble(node)
            answer = node.take(*self._inputs(node))
            assert node.is_cut_off or not isinstance(answer, Exception), answer
            node.is_cut_off = False
            self._check(node)
        self.clock.advance(2 * LEASE)
        for _ in range(2):
            for node in self.nodes:
                node.take()
                self._check(node)

    def _inputs(self, node: Node) -> list[Input]:
        chance = self.chance
        draw = chance.random()
        if draw < 0.45:
            return [self._look() for _ in range(chance.choice((1, 2, 6)))]
        if draw < 0.75:
            if (
                not self.troubled
            ):  # It must not matter how many nodes there are, so anybody's outcomes come by any.
                return self._outcomes([(d.number, d.attempts + 1) for d in self._pending()])
            held = [one for one in node.held.values() if one.due <= self.clock.now()]
            return self._outcomes([(one.delivery, one.attempt) for one in held])
        if draw < 0.93:
            return [self._act(node)]
        if draw < 0.96:
            return [PolicyChanged(policy=chance.choice((POLICY, STRICTER)))]
        return []

    def _pending(self) -> list[LiveDelivery]:
        observer = self.shelf.open("observer")
        try:
            return [one for one in observer.load().deliveries if one.due <= self.clock.now()]
        finally:
            observer.close()

    def _outcomes(self, due: Sequence[tuple[int, int]]) -> list[Input]:
        return [
            OutcomeReported(delivery=delivery, attempt=attempt, outcome=self._outcome())
            for delivery, attempt in due[:4]
        ]

    def _look(self) -> Input:
        chance = self.chance
        self.looks += 1
        return received(
            Alert(
                rule_id=f"rule-{chance.randrange(3)}",
                scope={"host": f"h{chance.randrange(4)}", "team": f"t{chance.randrange(2)}"},
                severity=chance.choice((Severity.WARNING, Severity.CRITICAL)),
                status=chance.choice((Status.FIRING, Status.FIRING, Status.GREEN, Status.RESOLVED)),
                message="m",
                window_start=self.looks // 2,
                window_end=self.looks // 2 + 1,
                source="test",
                ends_at=chance.choice((None, self.clock.now() + 20 * MINUTE)),
            )
        )

    def _outcome(self) -> Outcome:
        return self.chance.choice((Accepted(), Accepted(), Retry(why="503"), Refused(why="410")))

    def _act(self, node: Node) -> Input:
        chance = self.chance
        given = node.store.head().counters
        number = chance.randrange(1, given.incident + 2)
        draw = chance.random()
        if draw < 0.15:
            now = self.clock.now()
            return SilenceRequested(
                matchers=(Matcher(name="rule_id", value=f"rule-{chance.randrange(3)}"),),
                starts_at=now + chance.choice((0, MINUTE)),
                ends_at=now + chance.choice((2, 30)) * MINUTE,
            )
        if draw < 0.25:
            return DeliveryRetryAsked(delivery=chance.randrange(1, given.delivery + 2))
        action = chance.choice(
            (Action.ACK, Action.UNACK, Action.SILENCE, Action.UNSILENCE, Action.RESOLVE, Action.REOPEN, Action.NOTE)
        )  # fmt: skip
        until = self.clock.now() + 5 * MINUTE if action is Action.SILENCE else 0
        return Acted(action=action, incident=number, note="because", until=until)

    def _trouble(self, node: Node) -> None:
        """A node stops or dies and begins anew, or its connections do."""
        if self.chance.random() < 0.5:
            if self.chance.random() < 0.5:
                node.store.sign_off()
            node.end()
            node.begin()
        else:
            self.shelf.cut_off()
            for one in self.nodes:
                one.is_cut_off = True

    def _check(self, node: Node) -> None:
        """The node knows what is stored; and each pending delivery is held by whoever owns it."""
        observer = self.shelf.open("observer")
        try:
            memory = observer.load()
            state = node.pump.state
            stored = restore(memory, state.id_key)
            begin(stored, state.at)
            is_, should = dump(state, without=("timer",)), dump(stored, without=("timer",))
            for name, value in should.items():
                assert is_[name] == value, f"{node.name} has other {name}:\n{is_[name]}\n{value}"
            keys = [one.key for one in state.incidents.values() if one.state is not IncidentState.RESOLVED]
            assert len(keys) == len(set(keys))
            owners = self.shelf.owners()
            assert sorted(owners) == sorted(state.deliveries)
            mine = {number for number, owner in owners.items() if owner == node.store.node_id}
            assert {number for number in state.deliveries if node.store.owns(number)} == mine
            assert node.held.keys() == mine
        finally:
            observer.close()


@pytest.mark.parametrize("on", SHELVES)
def test_every_node_knows_what_all_of_them_decided(on: str, seed: int) -> None:
    story = Story(on, seed)
    try:
        story.play()

        store, state = story.nodes[0].store, story.nodes[0].pump.state
        head = store.head()
        assert verify(store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at).is_sound
        fold = Fold(id_key=state.id_key)
        for segment in store.segments():
            for parts in unpack(segment.data):
                fold.take(read_entry(*parts))
        begin(fold.state, state.at)
        without = (*SEEN_WITHOUT_ENTRY, "text_seq")
        folded, is_ = dump(fold.state, without=without), dump(state, without=without)
        for incident in (*folded["incidents"].values(), *is_["incidents"].values()):
            del incident["entries"], incident["last_seq"]
        assert folded == is_
        assert head.size > STEPS
        assert sum(store.counts().values()) == head.counters.intents
        assert {*story.shelf.owners().values()} <= {node.store.node_id for node in story.nodes}, (
            "what a dead node owned was taken over"
        )
    finally:
        story.close()


def test_nodes_decide_the_same_over_either(seed: int) -> None:
    def played(on: str) -> Any:
        story = Story(on, seed)
        try:
            story.play()
            store = story.nodes[0].store
            memory = store.load()
            return [bytes(one.data) for one in store.segments()], memory, story.shelf.owners(), store.counts()
        finally:
            story.close()

    here, there = played("memory"), played("postgres")

    assert len(here[0]) > 40
    assert here == there


@pytest.mark.parametrize("on", SHELVES)
def test_three_nodes_decide_what_one_would(on: str) -> None:
    def told(*names: str) -> list[Any]:
        story = Story(on, 1, names, troubled=False)
        try:
            story.play()
            return [
                (read_header(header).at, event.incident, event.kind, [one.target for one in event.deliveries])
                for segment in story.nodes[0].store.segments()
                for header, decision, _ in unpack(segment.data)
                for event in read_decision(decision).events
                if isinstance(event, Notified)
            ]
        finally:
            story.close()

    alone = told("ada")

    assert len(alone) > 20
    assert told(*NODES) == alone


@contextmanager
def two_nodes(on: str) -> Iterator[tuple[Any, Any]]:
    """Open what nodes share twice, as two of them do."""
    shelf = SHELVES[on](FakeClock().now)
    one, other = shelf.open("one"), shelf.open("other")
    try:
        yield one, other
    finally:
        one.close()
        other.close()


@pytest.mark.parametrize("on", SHELVES)
def test_a_node_that_stands_still_in_its_turn_loses_it(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "IDLE_MS", 100)
    with two_nodes(on) as (slow, other):
        slow.begin()
        other.begin()  # On PostgreSQL it waits until that has ended the other's turn.
        other.commit(a_batch(head=a_head(1), segment=a_segment(0)))

        with pytest.raises(StoreFailed, match="did not commit"):
            slow.commit(a_batch(head=a_head(1), segment=a_segment(0)))

        slow.reopen()
        assert slow.load().head.size == 1


@pytest.mark.parametrize("on", SHELVES)
def test_a_node_that_missed_more_than_is_kept_is_told_so(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "CHANGES_KEPT", 3)
    with two_nodes(on) as (one, other):
        other.load()
        for number in range(7):
            one.commit(a_batch(head=a_head(number + 1), segment=a_segment(number)))

        begun = other.begin()

        assert begun.is_behind
        assert begun.news is None
        other.release()
        assert not other.begin().is_behind


@pytest.mark.parametrize("on", SHELVES)
def test_what_a_turn_did_before_it_failed_was_never_there(on: str) -> None:
    with two_nodes(on) as (one, other):
        one.commit(a_batch(head=a_head(1), segment=a_segment(0)))

        one.begin()
        one.alive(NOON + SECOND)
        with pytest.raises(StoreFailed):
            one.commit(a_batch(head=a_head(2), segment=a_segment(0)))

        begun = other.begin()
        assert begun.alive_at == NOON
        assert other.head().size == 1
