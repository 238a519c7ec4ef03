"""Bugs: mistakes that real systems made, each as a patch of the real code that lasts as long as its `with`.

They live here and nowhere in what ships. Whoever breaks the suite so that one is no longer found, hears of it.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from tocsin.core.engine import deduplicate, deliver, flush, fold, rate_limit, receive, step, suppress
from tocsin.core.engine import state as state_module
from tocsin.core.engine.state import State
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Status
from tocsin.core.model.notification import Delivered, NotificationKind, Refused, Retry
from tocsin.ports import StoreFailed
from tocsin.runtime import pump as pump_module
from tocsin.runtime.dispatcher import Dispatcher
from tocsin.runtime.pump import Pump
from tocsin.runtime.shared_clock import SharedClock
from tocsin.runtime.world import MachineClock


class Bug(NamedTuple):
    """A mistake. what: what it does; says: what the check that is there for it says of it, a regular expression;
    seeds: within how many simulated stories it must."""

    plant: Callable[[], AbstractContextManager[None]]
    what: str
    says: str
    seeds: int = 40


BUGS: dict[str, Bug] = {}


def bug(
    what: str, *, says: str, seeds: int = 40
) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Any]]:
    """Put a bug on the list."""

    def add(plant: Callable[[], Iterator[None]]) -> Callable[[], Any]:
        planted = contextmanager(plant)
        BUGS[plant.__name__] = Bug(planted, what, says, seeds)
        return planted

    return add


@contextmanager
def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put something in the place of a function, made from it."""
    with patch.object(owner, name, make(getattr(owner, name))):
        yield


# The store and the answer


@bug("a commit that failed is answered as if it had been made", says="was answered, and no entry says it")
def swallows_a_failed_commit() -> Iterator[None]:
    def make(commit: Any) -> Any:
        def swallow(self: Pump, turn: Any, at: int) -> Any:
            try:
                return commit(self, turn, at)
            except StoreFailed:
                self._state = None
                return turn.committed(0)

        return swallow

    with _instead(Pump, "_commit", make):
        yield


@bug(
    "what one node alone commits is written a second after the answer",
    says=r"was answered, and no entry says it|has other \w+ than are stored",
)
def answers_before_it_commits() -> Iterator[None]:
    late: dict[Pump, list[Any]] = defaultdict(list)

    def write(self: Pump) -> None:
        try:
            if late[self]:
                self._store.commit(late[self].pop(0))
        except StoreFailed:
            late[self].clear()  # What was decided since builds on it.
            self._state = None

    def make(commit: Any) -> Any:
        def later(self: Pump, turn: Any, at: int) -> Any:
            batch = turn.batch()
            if batch is None or self.is_shared:
                return commit(self, turn, at)
            late[self].append(deepcopy(batch))  # Its rows are the state's, which goes on.
            asyncio.get_running_loop().call_later(1.0, write, self)
            self._edge = turn.edge
            return turn.committed(0)

        return later

    with _instead(Pump, "_commit", make):
        yield


@bug(
    "the notifications are written in a transaction of their own, after the decision",
    says=r"intents were decided, \d+ are accounted for",
)
def outbox_outside_the_transaction() -> Iterator[None]:
    def make(commit: Any) -> Any:
        def twice(self: Any, batch: Any) -> None:
            commit(self, msgspec.structs.replace(batch, notifications=(), new_deliveries=()))
            if batch.new_deliveries:
                self._faults.step("between the transactions")
                rest = type(batch)(
                    head=batch.head, notifications=batch.notifications, new_deliveries=batch.new_deliveries
                )
                self._inner.commit(rest)
                self._watch(rest)

        return twice

    from tests.simulation.nodes import Disk

    with _instead(Disk, "commit", make):
        yield


@bug(
    "after a commit that failed it goes on with what it had decided",
    says=r"has other \w+ than are stored",
)
def keeps_the_state_of_a_failed_commit() -> Iterator[None]:
    kept: dict[Pump, State] = {}

    def make(load: Any) -> Any:
        def keep(self: Pump) -> State:
            self._state = kept[self] = kept.get(self) or load(self)
            return self._state

        return keep

    with _instead(Pump, "_load", make):
        yield


@bug(
    "a commit whose answer was lost is taken for one that failed: nobody hears what it decided",
    says="is pending in the calm",
)
def forgets_what_a_lost_answer_decided() -> Iterator[None]:
    def make(ready: Any) -> Any:
        def silent(self: Pump) -> State:
            if self._state is None:
                getattr(self._store, "reopen", lambda: None)()
                self._load()
            assert self._state is not None
            return self._state

        return silent

    with _instead(Pump, "_ready", make):
        yield


# Several nodes


@bug(
    "a node goes on deciding by what it knew, and reads nothing of what the others decided",
    says=r"entry \d+ follows \d+",
)
def never_catches_up() -> Iterator[None]:
    with patch.object(Pump, "_catch_up", lambda self, state, news: None):
        yield


@bug(
    "a node that was taken for dead goes on sending what others took over",
    says="s after it learnt that it is not its own",
)
def sends_after_its_lease() -> Iterator[None]:
    def make(begin: Any) -> Any:
        def deaf(self: Pump, state: State, begun: Any) -> Any:
            return begin(self, state, msgspec.structs.replace(begun, dispossessed=False))

        return deaf

    with _instead(Pump, "_begin", make):
        yield


@bug("what a dead node was to send is taken over by nobody", says="is pending in the calm")
def takes_nothing_over() -> Iterator[None]:
    def make(begin: Any) -> Any:
        def idle(self: Pump, state: State, begun: Any) -> Any:
            return begin(self, state, msgspec.structs.replace(begun, taken=()))

        return idle

    with _instead(Pump, "_begin", make):
        yield


@bug("every node sends what any of them decided", says="which never was its own")
def sends_what_is_anothers() -> Iterator[None]:
    with patch.object(Pump, "_is_ours", lambda self, delivery: True):
        yield


@bug("attempts are due by each node's own clock", says=r"was asked again after \S+ s, and had said")
def trusts_its_own_clock() -> Iterator[None]:
    with patch.object(SharedClock, "now", lambda self: self._own.now()):
        yield


# Restart


@bug(
    "what was pending when the process ended is never attempted again (GoAlert, P2)",
    says="is pending in the calm",
)
def resumes_nothing() -> Iterator[None]:
    with patch.object(Pump, "_announce", lambda self, state: None):
        yield


@bug("timers live in memory only", says=r"was told of #\d+, and never that it is over|was never told of")
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


@bug(
    "a delivery is marked as done before it is sent (Healthchecks, P1)",
    says="is delivered, and nothing arrived",
)
def marks_before_it_sends() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def marked(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            self._report(dispatch, Delivered(detail="HTTP 200"))
            return await send(self, channel, dispatch, message)

        return marked

    def once(settle: Any) -> Any:
        return lambda self, delivery: settle(self, delivery) if delivery in self._unsettled else None

    with _instead(Dispatcher, "_send", make), _instead(Dispatcher, "_settle", once):
        yield


@bug("an error of the receiver counts as success (GoAlert, P3)", says="is delivered, and nothing arrived")
def takes_failures_for_success() -> Iterator[None]:
    with _outcomes(lambda outcome: Delivered(detail="sent") if isinstance(outcome, Retry) else outcome):
        yield


@bug("what failed once is given up", says="given up")
def gives_up_at_once() -> Iterator[None]:
    with _outcomes(lambda outcome: Refused(why="it failed") if isinstance(outcome, Retry) else outcome):
        yield


@bug("what was refused for good is attempted again and again", says=r"refused \w+, and was asked again")
def never_takes_no_for_an_answer() -> Iterator[None]:
    with _outcomes(lambda outcome: Retry(why="refused") if isinstance(outcome, Refused) else outcome):
        yield


@bug("the receiver's Retry-After is ignored", says=r"was asked again after \S+ s, and had said [1-9]")
def ignores_retry_after() -> Iterator[None]:
    with _outcomes(lambda outcome: Retry(why=outcome.why) if isinstance(outcome, Retry) else outcome):
        yield


@bug("a failed attempt is repeated at once", says=r"was asked again after \S+ s, and had said 0")
def never_backs_off() -> Iterator[None]:
    with patch.object(deliver, "back_off", lambda retries, attempts, key: 500_000):
        yield


@contextmanager
def _outcomes(change: Callable[[Any], Any]) -> Iterator[None]:
    def make(reported: Any) -> Any:
        def changed(state: State, report: Any, at: int) -> Any:
            return reported(state, msgspec.structs.replace(report, outcome=change(report.outcome)), at)

        return changed

    with _instead(deliver, "reported", make):
        yield


@bug("each attempt has an idempotency key of its own (Alertmanager's e-mail, P12)", says="nobody decided")
def new_key_for_each_attempt() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def other(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            key = hashlib.sha256(f"{dispatch.key} {dispatch.attempt}".encode()).hexdigest()
            return await send(self, channel, msgspec.structs.replace(dispatch, key=key), message)

        return other

    with _instead(Dispatcher, "_send", make):
        yield


@bug("a repeated attempt says something else under the same key", says="says two things")
def new_body_for_each_attempt() -> Iterator[None]:
    def make(send: Any) -> Any:
        async def other(self: Dispatcher, channel: Any, dispatch: Any, message: Any) -> Any:
            title = f"{message.title} ({dispatch.attempt})"
            return await send(self, channel, dispatch, msgspec.structs.replace(message, title=title))

        return other

    with _instead(Dispatcher, "_send", make):
        yield


@bug("how an attempt ended is reported once, whether it can be stored or not", says="is pending in the calm")
def reports_only_once() -> Iterator[None]:
    with patch.object(Dispatcher, "_reported", lambda self, future, report: future.exception()):
        yield


@bug("news overtake what is on its way to the same target", says="out of order")
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


@bug("a delivery that is dead is buried in silence", says="a delivery died in silence")
def dies_in_silence() -> Iterator[None]:
    def alone(state: State, delivery: Any, attempts: int, because: str, at: int) -> Any:
        return deliver._ended(state, delivery, deliver.DeliveryState.DEAD, attempts, because, at)

    with patch.object(deliver, "_dead", alone):
        yield


# Time


@bug("timers follow the wall clock, which somebody sets", says="passed in the ledger")
def trusts_the_wall_clock() -> Iterator[None]:
    with patch.object(MachineClock, "now", MachineClock.wall):
        yield


@bug("an alert expires although it was seen a moment ago", says="lets an alert expire too early")
def never_renews_a_lease() -> Iterator[None]:
    def make(real: Any) -> Any:
        def once(state: State, alert: Any, *more: Any) -> None:
            if not alert.lease:
                real(state, alert, *more)

        return once

    with _instead(fold, "renew", make), _instead(state_module, "renew", make):
        yield


# Decisions


@bug("a look that is sent again, for its answer was lost, counts again", says="was counted 2 times")
def counts_what_is_sent_again() -> Iterator[None]:
    with patch.object(deduplicate, "has_look", lambda *look: False):
        yield


@bug("people are told of something once, and not reminded while it goes on", says="was not reminded of")
def reminds_nobody() -> Iterator[None]:
    with patch.object(flush, "_reminder_at", lambda told, plan: told.at + 10**15):
        yield


@bug("the rate limit withholds what first says CRITICAL", says="withholds what first says that")
def limits_what_is_critical() -> Iterator[None]:
    with patch.object(rate_limit, "is_exempt", lambda incident, kind, told: kind not in rate_limit.CHARGED):
        yield


@bug(
    "the scope is left out of an alert's identity: the green of one host clears another",
    says="an alert of .+ counts for",
)
def forgets_the_scope() -> Iterator[None]:
    def make(real: Any) -> Any:
        def ruled(state: State, given: Any, at: int, actor: str) -> Any:
            if given.alert.status is not Status.FIRING:
                rule = given.alert.rule_id
                given.id = next((one.id for one in state.alerts.values() if one.rule_id == rule), given.id)
            return real(state, given, at, actor)

        return ruled

    with _instead(receive, "received", make):
        yield


@bug(
    "when a silence ends, what it withheld is forgotten",
    says=r"was never told of|was told of #\d+, and never that it is over",
)
def silence_swallows() -> Iterator[None]:
    def make(real: Any) -> Any:
        def known(state: State, alert: Any, change: int) -> None:
            alert.untold = False
            real(state, alert, change)

        return known

    with patch.object(step, "covered_only_by", lambda state, silence: []), _instead(fold, "_uncovered", make):
        yield


@bug("a silence does not silence", says="whose alerts are all silenced")
def nobody_is_silenced() -> Iterator[None]:
    with patch.object(suppress, "why_suppressed", lambda state, incident: None):
        yield


@bug("one green look is enough, however many were asked for", says=r"clears after \d greens of")
def one_green_is_enough() -> Iterator[None]:
    def make(calmer: Any) -> Any:
        def hasty(state: State, live: Any, *rest: Any) -> Any:
            live.greens = 9
            return calmer(state, live, *rest)

        return hasty

    with _instead(receive, "_calmer", make):
        yield


@bug("a firing look does not end a row of green ones", says=r"counts \d greens, there were")
def greens_add_up() -> Iterator[None]:
    def make(real: Any) -> Any:
        def kept(state: State, event: Any, at: int, private: Any) -> None:
            greens = state.alerts[bytes.fromhex(event.id)].greens
            real(state, event, at, private)
            state.alerts[bytes.fromhex(event.id)].greens = greens

        return kept

    with patch.dict(fold._APPLY, {ev.AlertSeen: make(fold._APPLY[ev.AlertSeen])}):
        yield


@bug("another look undoes an acknowledgement", says="undoes an acknowledgement")
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


@bug("each alert opens an incident, whatever is open already", says="have one key, and neither is over")
def opens_a_second_incident() -> Iterator[None]:
    def make(real: Any) -> Any:
        def opened(state: State, event: Any, at: int, private: Any) -> None:
            real(state, event, at, private)
            state.by_key.pop(bytes.fromhex(event.key), None)

        return opened

    with patch.dict(fold._APPLY, {ev.IncidentOpened: make(fold._incident_opened)}):
        yield


@bug("what the rate limit withholds is never told", says="heard no digest of what was withheld")
def no_digest_comes() -> Iterator[None]:
    with patch.object(flush, "digest", lambda state, rule_id, at: None):
        yield


@bug("nobody hears that it is over", says="and never that it is over")
def no_end_is_told() -> Iterator[None]:
    def make(real: Any) -> Any:
        def news(*args: Any) -> Any:
            found = real(*args)
            return None if found is not None and found.kind is NotificationKind.RESOLVED else found

        return news

    with _instead(flush, "_news", make):
        yield
