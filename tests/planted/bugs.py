"""Bugs: mistakes that real systems made, each as a patch of the real code that lasts as long as its `with`.

They live here and nowhere in what ships. Whoever breaks the suite so that one is no longer found, hears of it.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextlib import suppress as suppressed
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from tocsin.core.engine import deliver, flush, fold, receive, step, suppress
from tocsin.core.engine.state import State
from tocsin.core.model import event as ev
from tocsin.core.model.notification import Delivered, NotificationKind, Refused, Retry
from tocsin.ports import StoreFailed
from tocsin.runtime import pump as pump_module
from tocsin.runtime.dispatcher import Dispatcher
from tocsin.runtime.pump import Pump
from tocsin.runtime.shared_clock import SharedClock
from tocsin.runtime.world import MachineClock


class Bug(NamedTuple):
    """A mistake. what: what it does; who: where it was seen or what it stands for; seeds: within how many simulated
    stories it must be found."""

    plant: Callable[[], AbstractContextManager[None]]
    what: str
    seeds: int = 40


BUGS: dict[str, Bug] = {}


def bug(what: str, *, seeds: int = 40) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Any]]:
    """Put a bug on the list."""

    def add(plant: Callable[[], Iterator[None]]) -> Callable[[], Any]:
        planted = contextmanager(plant)
        BUGS[plant.__name__] = Bug(planted, what, seeds)
        return planted

    return add


@contextmanager
def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put something in the place of a function, made from it."""
    with patch.object(owner, name, make(getattr(owner, name))):
        yield


# The store and the answer


@bug("a commit that failed is answered as if it had been made")
def swallows_a_failed_commit() -> Iterator[None]:
    def make(commit: Any) -> Any:
        def swallow(self: Pump, turn: Any, at: int) -> Any:
            try:
                return commit(self, turn, at)
            except StoreFailed:
                self._edge = turn.edge
                return turn.committed(0)

        return swallow

    with _instead(Pump, "_commit", make):
        yield


@bug("what is committed is written a second after the answer")
def answers_before_it_commits() -> Iterator[None]:
    def write(self: Pump, batch: Any) -> None:
        with suppressed(StoreFailed):
            self._store.commit(batch)

    def make(commit: Any) -> Any:
        def later(self: Pump, turn: Any, at: int) -> Any:
            batch = turn.batch()
            if batch is None:
                return commit(self, turn, at)
            asyncio.get_running_loop().call_later(1.0, write, self, batch)
            self._edge = turn.edge
            return turn.committed(0)

        return later

    with _instead(Pump, "_commit", make):
        yield


@bug("the notifications are written in a transaction of their own, after the decision")
def outbox_outside_the_transaction() -> Iterator[None]:
    def make(commit: Any) -> Any:
        def twice(self: Any, batch: Any) -> None:
            commit(self, msgspec.structs.replace(batch, notifications=(), new_deliveries=()))
            if batch.new_deliveries:
                self._faults.step("between the transactions")
                self._inner.commit(
                    type(batch)(
                        head=batch.head,
                        notifications=batch.notifications,
                        new_deliveries=batch.new_deliveries,
                    )
                )

        return twice

    from tests.simulation.nodes import Disk

    with _instead(Disk, "commit", make):
        yield


@bug("after a commit that failed it goes on with what it had decided")
def keeps_the_state_of_a_failed_commit() -> Iterator[None]:
    def make(turn: Any) -> Any:
        def keep(self: Pump, requests: Sequence[Any]) -> None:
            before = self._state
            turn(self, requests)
            if self._state is None:
                self._state = before

        return keep

    with _instead(Pump, "turn", make):
        yield


@bug("a commit whose answer was lost is taken for one that failed: nobody hears what it decided")
def forgets_what_a_lost_answer_decided() -> Iterator[None]:
    def make(ready: Any) -> Any:
        def silent(self: Pump) -> State:
            if self._state is None:
                self._load()
            assert self._state is not None
            return self._state

        return silent

    with _instead(Pump, "_ready", make):
        yield


# Several nodes


@bug("a node goes on deciding by what it knew, and reads nothing of what the others decided")
def never_catches_up() -> Iterator[None]:
    with patch.object(Pump, "_catch_up", lambda self, state, news: None):
        yield


@bug("a node that was taken for dead goes on sending what others took over")
def sends_after_its_lease() -> Iterator[None]:
    def make(begin: Any) -> Any:
        def deaf(self: Pump, state: State, begun: Any) -> Any:
            return begin(self, state, msgspec.structs.replace(begun, dispossessed=False))

        return deaf

    with _instead(Pump, "_begin", make):
        yield


@bug("what a dead node was to send is taken over by nobody")
def takes_nothing_over() -> Iterator[None]:
    def make(begin: Any) -> Any:
        def idle(self: Pump, state: State, begun: Any) -> Any:
            return begin(self, state, msgspec.structs.replace(begun, taken=()))

        return idle

    with _instead(Pump, "_begin", make):
        yield


@bug("every node sends what any of them decided")
def sends_what_is_anothers() -> Iterator[None]:
    with patch.object(Pump, "_is_ours", lambda self, delivery: True):
        yield


@bug("attempts are due by each node's own clock")
def trusts_its_own_clock() -> Iterator[None]:
    with patch.object(SharedClock, "now", lambda self: self._own.now()):
        yield


# Restart


@bug("what was pending when the process ended is never attempted again (GoAlert, P2)")
def resumes_nothing() -> Iterator[None]:
    with patch.object(Pump, "_announce", lambda self, state: None):
        yield


@bug("timers live in memory only")
def forgets_timers() -> Iterator[None]:
    def make(real: Any) -> Any:
        def without(memory: Any, id_key: bytes) -> State:
            state = real(memory, id_key)
            state.timers.clear()
            return state

        return without

    with _instead(pump_module, "restore", make):
        yield


# Delivery


@bug("a delivery is marked as done before it is sent (Healthchecks, P1)")
def marks_before_it_sends() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def marked(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            self._report(dispatch, Delivered(detail="HTTP 200"))
            return await send(self, channel, dispatch, message)

        return marked

    with _instead(Dispatcher, "_send", make):
        yield


@bug("an error of the receiver counts as success (GoAlert, P3)")
def takes_failures_for_success() -> Iterator[None]:
    with _outcomes(lambda outcome: Delivered(detail="sent") if isinstance(outcome, Retry) else outcome):
        yield


@bug("what failed once is given up")
def gives_up_at_once() -> Iterator[None]:
    def give_up(outcome: Any) -> Any:
        return Refused(why="it failed") if isinstance(outcome, Retry) else outcome

    with _outcomes(give_up), patch.object(deliver, "_dead", _dies_alone):
        yield


def _dies_alone(state: State, delivery: Any, attempts: int, because: str, at: int) -> Any:
    return deliver._ended(state, delivery, deliver.DeliveryState.DEAD, attempts, because, at)


@bug("what was refused for good is attempted again and again")
def never_takes_no_for_an_answer() -> Iterator[None]:
    with _outcomes(lambda outcome: Retry(why="refused") if isinstance(outcome, Refused) else outcome):
        yield


@bug("the receiver's Retry-After is ignored")
def ignores_retry_after() -> Iterator[None]:
    with _outcomes(lambda outcome: Retry(why=outcome.why) if isinstance(outcome, Retry) else outcome):
        yield


@bug("a failed attempt is repeated at once")
def never_backs_off() -> Iterator[None]:
    with patch.object(deliver, "back_off", lambda retries, attempts, key: 1_000):
        yield


@contextmanager
def _outcomes(change: Callable[[Any], Any]) -> Iterator[None]:
    def make(reported: Any) -> Any:
        def changed(state: State, report: Any, at: int) -> Any:
            return reported(state, msgspec.structs.replace(report, outcome=change(report.outcome)), at)

        return changed

    with _instead(deliver, "reported", make):
        yield


@bug("each attempt has an idempotency key of its own (Alertmanager's e-mail, P12)")
def new_key_for_each_attempt() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def other(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            key = hashlib.sha256(f"{dispatch.key} {dispatch.attempt}".encode()).hexdigest()
            return await send(self, channel, msgspec.structs.replace(dispatch, key=key), message)

        return other

    with _instead(Dispatcher, "_send", make):
        yield


@bug("a repeated attempt says something else under the same key")
def new_body_for_each_attempt() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def other(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            title = f"{message.title} ({dispatch.attempt})"
            return await send(self, channel, dispatch, msgspec.structs.replace(message, title=title))

        return other

    with _instead(Dispatcher, "_send", make):
        yield


@bug("how an attempt ended is reported once, whether it can be stored or not")
def reports_only_once() -> Iterator[None]:
    with patch.object(Dispatcher, "_reported", lambda self, future, report: future.exception()):
        yield


@bug("news overtake what is on its way to the same target")
def lets_news_overtake() -> Iterator[None]:
    def make(real: Any) -> Any:
        def notified(state: State, event: Any, at: int, private: Any) -> None:
            real(state, event, at, private)
            incident = state.incidents.get(event.incident)
            for told in incident.told if incident is not None else ():
                told.delivery = 0

        return notified

    with patch.dict(fold._APPLY, {ev.Notified: make(fold._notified)}):
        yield


@bug("a delivery that is dead is buried in silence")
def dies_in_silence() -> Iterator[None]:
    with patch.object(deliver, "_dead", _dies_alone):
        yield


# Time


@bug("timers follow the wall clock, which somebody sets")
def trusts_the_wall_clock() -> Iterator[None]:
    with patch.object(MachineClock, "now", MachineClock.wall):
        yield


@bug("an alert expires although it was seen a moment ago")
def never_renews_a_lease() -> Iterator[None]:
    def make(real: Any) -> Any:
        def early(state: State, at: int) -> Any:
            for alert in state.alerts.values():
                if alert.lease and alert.firing_in and alert.lease - at < 90 * 60_000_000:
                    alert.lease = at
            return [one for one in state.alerts.values() if one.firing_in and 0 < one.lease <= at]

        return early

    def expired(self: Pump, state: State, at: int) -> Any:
        return pump_module.leases_due(state, at)

    with _instead(pump_module, "leases_due", make), patch.object(Pump, "_expired", expired):
        yield


# Decisions


@bug("the scope is left out of an alert's identity: the green of one host clears another")
def forgets_the_scope() -> Iterator[None]:
    def make(real: Any) -> Any:
        def ruled(state: State, given: Any, at: int, actor: str) -> Any:
            given.id = state.alert_id(given.alert.rule_id.encode())
            return real(state, given, at, actor)

        return ruled

    with _instead(receive, "received", make):
        yield


@bug("when a silence ends, what it withheld is forgotten")
def silence_swallows() -> Iterator[None]:
    with (
        patch.object(step, "covered_only_by", lambda state, silence: []),
        patch.object(fold, "_uncovered", lambda state, alert, change: None),
    ):
        yield


@bug("a silence does not silence")
def nobody_is_silenced() -> Iterator[None]:
    with patch.object(suppress, "why_suppressed", lambda state, incident: None):
        yield


@bug("one green look is enough, however many were asked for")
def one_green_is_enough() -> Iterator[None]:
    def make(calmer: Any) -> Any:
        def hasty(state: State, live: Any, *rest: Any) -> Any:
            live.greens = 9
            return calmer(state, live, *rest)

        return hasty

    with _instead(receive, "_calmer", make):
        yield


@bug("a firing look does not end a row of green ones")
def greens_add_up() -> Iterator[None]:
    def make(real: Any) -> Any:
        def kept(state: State, event: Any, at: int, private: Any) -> None:
            greens = state.alerts[bytes.fromhex(event.id)].greens
            real(state, event, at, private)
            state.alerts[bytes.fromhex(event.id)].greens = greens

        return kept

    with patch.dict(fold._APPLY, {ev.AlertSeen: make(fold._APPLY[ev.AlertSeen])}):
        yield


@bug("another look undoes an acknowledgement")
def a_look_undoes_an_ack() -> Iterator[None]:
    def make(seen: Any) -> Any:
        def undo(state: State, live: Any, alert: Any, incident: Any, *rest: Any) -> Any:
            events = seen(state, live, alert, incident, *rest)
            if incident.state is not fold.IncidentState.ACK:
                return events
            because = "it still fires"
            return (*events, ev.IncidentUnacknowledged(incident=incident.number, because=because))

        return undo

    with _instead(receive, "_seen", make):
        yield


@bug("each alert opens an incident, whatever is open already")
def opens_a_second_incident() -> Iterator[None]:
    def make(real: Any) -> Any:
        def opened(state: State, event: Any, at: int, private: Any) -> None:
            real(state, event, at, private)
            state.by_key.pop(bytes.fromhex(event.key), None)

        return opened

    with patch.dict(fold._APPLY, {ev.IncidentOpened: make(fold._incident_opened)}):
        yield


@bug("what the rate limit withholds is never told")
def no_digest_comes() -> Iterator[None]:
    with patch.object(flush, "digest", lambda state, rule_id, at: None):
        yield


@bug("nobody hears that it is over")
def no_end_is_told() -> Iterator[None]:
    def make(real: Any) -> Any:
        def news(*args: Any) -> Any:
            found = real(*args)
            return None if found is not None and found.kind is NotificationKind.RESOLVED else found

        return news

    with _instead(flush, "_news", make):
        yield
