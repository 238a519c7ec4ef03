"""Pump: the one writer. Takes what waits, decides it in order, commits it once, then answers everybody.

`turn` is synchronous and takes its time from the clock it was given, so that a simulator drives the real thing.
An answer without an error is a promise: it is given only after the commit that holds what it speaks of.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from tocsin.core.engine.lifecycle import changes_the_past
from tocsin.core.engine.restore import catch_up, restore
from tocsin.core.engine.state import (
    LiveAlert,
    State,
    begin,
    dismiss,
    leases_due,
    next_wakeup,
    plan_lease,
    recall,
    recall_delivery,
    recall_incident,
)
from tocsin.core.engine.verdict import SYSTEM
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import (
    Acted,
    AlertExpired,
    AlertReceived,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    Input,
    NodeStart,
    Tick,
)
from tocsin.ports import Begun, Clock, Ids, News, Store, StoreFailed, shared
from tocsin.runtime.committed import Committed, dispatch
from tocsin.runtime.texts import Texts
from tocsin.runtime.turn import Poisoned, Result, Turn

log = logging.getLogger("tocsin.pump")

ALIVE_EVERY = 10_000_000
GAP_MIN = 60_000_000
"""Shorter times without a turn or a commit, in microseconds, do not count as an absence of ours."""


SKEW_MAX = 5_000_000
"""A clock that is further from the one that all nodes share is complained of."""


class Request(msgspec.Struct, frozen=True):
    """Inputs that one caller waits for; they go into one commit. answer: called once, on the pump's thread."""

    inputs: Sequence[Input]
    actor: str
    answer: Callable[["Request", Sequence[Result] | Exception], None] | None = None


class Pump:
    """Drives the core over one store. Not safe for several threads: whoever calls `turn` is the writer."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        *,
        origin: str,
        on_committed: Callable[[Committed], None],
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._store = store
        self._shared = shared(store)
        self._clock = clock
        self._ids = ids
        self._origin = origin
        self._on_committed = on_committed
        self._failpoint = failpoint
        self._texts = Texts(store)
        self._state: State | None = None
        self._edge = Frontier()
        self._alive_at = 0
        self._resumed = False
        self._is_opening = False
        self._is_failing = False
        self._leads = self._shared is None
        self._learnt: list[Committed] = []
        """What a turn learnt of other nodes when it began; it holds once the turn is over, and not if that fails."""
        self.ahead = 0
        """How far the clock that all nodes share is before our own, microseconds."""

    # The life of the pump

    def open(self, first: Sequence[Input] = (), *, actor: str = SYSTEM) -> None:
        """Load the state, and record that a node listens.

        first: what is to be recorded before, such as that the store was put back from a backup since it last ran;
        actor: who wants that.
        Raises: StoreFailed.
        """
        self._load()
        state = self._ready()
        gap = max(0, self._clock.now() - self._alive_at) if self._alive_at else 0
        failed: list[Exception] = []

        def answer(_: Request, results: Sequence[Result] | Exception) -> None:
            if isinstance(results, Exception):
                failed.append(results)

        requests = [Request(first, actor, answer)] if first else []
        self._is_opening = True
        self.turn([*requests, Request((NodeStart(gap=gap),), SYSTEM, answer)])
        self._is_opening = False
        if failed:
            raise StoreFailed(str(failed[0]))
        self._announce(state)

    def _announce(self, state: State) -> None:
        """Tell whoever delivers of all that is pending in what is committed."""
        self._on_committed(self._all_pending(state))

    def _all_pending(self, state: State) -> Committed:
        pending = [dispatch(state, number) for number in state.deliveries if self._is_ours(number)]
        return Committed(
            dispatches=pending,
            ended=(),
            is_all=True,
            size=self._edge.size,
            at=state.at,
            has_tokens=self._shared is not None,
        )

    def _is_ours(self, delivery: int) -> bool:
        """Say whether this node attempts a pending delivery."""
        return self._shared is None or self._shared.owns(delivery)

    def _load(self) -> State:
        id_key = self._store.secret("id_key")
        if id_key is None:
            id_key = self._ids.random_bytes(32)
            self._store.keep_secret("id_key", id_key)
        self._texts.forget()
        memory = self._store.load()
        self._edge = Frontier.unpack(memory.head.edge)
        self._alive_at = memory.head.alive_at
        self._state = restore(memory, id_key)
        return self._state

    def _ready(self) -> State:
        if self._state is None:
            reopen = getattr(self._store, "reopen", None)
            if reopen is not None:
                reopen()
            # A commit that failed may have taken effect all the same: nobody was told what it decided to send.
            self._announce(self._load())
            self._resumed = True
        assert self._state is not None
        return self._state

    @property
    def is_shared(self) -> bool:
        """Say whether other nodes decide, too."""
        return self._shared is not None

    def next_wakeup(self) -> int | None:
        """Say when `turn` wants to be called even if nothing waits (microseconds UTC, by this node's own clock)."""
        due = next_wakeup(self._state) if self._state is not None else None
        return None if due is None else due - self.ahead

    @property
    def state(self) -> State:
        """The state, for those on the pump's own thread."""
        return self._ready()

    # A turn

    def turn(self, requests: Sequence[Request]) -> None:
        """Decide all that waits and whatever is due, commit it once, and answer.

        A store that fails answers everybody with Unavailable; the state is then read anew from what is committed.
        """
        refused: dict[tuple[int, int], Exception] = {}
        while True:
            try:
                turned = self._try(requests, refused)
                break
            except Poisoned as poisoned:
                log.exception("an input was refused: applying it failed", exc_info=poisoned.cause)
                refused[poisoned.request, poisoned.position] = poisoned.cause
                self._state = None
            except StoreFailed as failed:
                if not self._is_failing:
                    log.error("nothing is accepted until the store works again: %s", failed)
                self._is_failing = True
                self._state = None
                if self._shared is not None:
                    with suppress(StoreFailed):  # Nobody shall wait for a turn that ends here.
                        self._shared.release()
                unavailable = Unavailable(
                    "Tocsin cannot store anything right now, so it accepted nothing. Try again."
                )
                for request in requests:
                    if request.answer is not None:
                        request.answer(request, unavailable)
                return
            except Exception:
                self._state = None  # Whatever it was, this state has seen half a turn.
                raise
        if self._is_failing:
            self._is_failing = False
            log.warning("the store works again; what could not be accepted meanwhile was answered so")
        for learnt in self._learnt:
            self._leads = self._leads if learnt.leads is None else learnt.leads
            self._on_committed(learnt)
        self._failpoint("before-answer")
        answers, committed = turned
        for request, results in zip(requests, answers, strict=True):
            if request.answer is not None:
                request.answer(request, results)
        if committed.size:
            self._failpoint("before-announce")
            self._on_committed(committed)

    def _try(
        self, requests: Sequence[Request], refused: dict[tuple[int, int], Exception]
    ) -> tuple[list[list[Result]], Committed]:
        state, now = self._ready(), self._clock.now()
        self._learnt = []
        while self._shared is not None:
            begun = self._shared.begin()
            self._compare_clocks(begun.at - self._clock.now())  # Before it began, it may have waited.
            state, now = self._begin(state, begun), begun.at
            if begun.holds:
                break
        at = max(now, state.at + 1)
        turn = Turn(
            state,
            self._edge,
            at,
            store=self._store,
            texts=self._texts,
            ids=self._ids,
            origin=self._origin,
        )
        begin(state, at)  # Before the recall: what is forgotten now is asked for again.
        if self._resumed and at - self._alive_at > GAP_MIN:
            # While nothing could be stored nobody was heard, so what fires must not expire for that.
            turn.take(NodeStart(gap=at - self._alive_at), SYSTEM, None)
        recalled = self._recall(state, requests)
        answers: list[list[Result]] = []
        for request_number, request in enumerate(requests):
            results: list[Result] = []
            for position, given in enumerate(request.inputs):
                broken = refused.get((request_number, position))
                if broken is not None:
                    results.append(Result("refused", refused=broken))
                    continue
                if type(given) is NodeStart and self._others_listened(at):
                    results.append(Result("unchanged"))
                    continue
                results.append(turn.take(given, request.actor, (request_number, position)))
            answers.append(results)
        for alert in recalled:
            if not alert.incidents:  # Nothing came of it: it stays in the store.
                del state.alerts[alert.id], state.touched.alerts[alert.id]
        dismiss(state)
        for alert in self._expired(state, at):
            turn.take(AlertExpired(id=alert.id), SYSTEM, None)
        turn.take(Tick(), SYSTEM, None)
        return answers, self._commit(turn, at)

    def _compare_clocks(self, ahead: int) -> None:
        if abs(ahead) > SKEW_MAX >= abs(self.ahead):
            log.warning(
                "this machine's clock is %.0f s %s the database's, by which Tocsin goes; set both by NTP",
                abs(ahead) / 1e6,
                "behind" if ahead > 0 else "ahead of",
            )
        self.ahead = ahead

    def _others_listened(self, at: int) -> bool:
        """Say whether it does not matter that this node was stopped, since others were not."""
        return self._shared is not None and not self._is_opening and at - self._alive_at <= GAP_MIN

    def _begin(self, state: State, begun: Begun) -> State:
        """Take over what other nodes did, before this one decides anything."""
        if begun.is_behind:
            state = self._load()
            self._learnt.append(self._all_pending(state))
            return state
        self._alive_at = begun.alive_at
        is_moved = begun.leads is not self._leads
        changed: Sequence[int] = ()
        ended: list[int] = []
        size = 0
        if (news := begun.news) is not None:
            self._catch_up(state, news)
            changed, ended = [delivery.number for delivery in news.deliveries], list(news.ended)
            size = news.head.size
        if begun.taken:
            log.warning("%d deliveries of a node that is gone are this node's now", len(begun.taken))
        if begun.dispossessed:
            log.warning("this node was silent for so long that others took over what it had to deliver")
            self._learnt.append(self._all_pending(state))
        ours = [
            number
            for number in {**dict.fromkeys(changed), **dict.fromkeys(begun.taken)}
            if self._is_ours(number)
        ]
        if size or ours or is_moved:
            self._learnt.append(
                Committed(
                    dispatches=[dispatch(state, number) for number in ours if number in state.deliveries],
                    ended=ended,
                    size=size,
                    at=state.at,
                    has_tokens=news is not None and news.has_tokens,
                    leads=begun.leads if is_moved else None,
                )
            )
        return state

    def _catch_up(self, state: State, news: News) -> None:
        catch_up(state, news)
        self._edge = Frontier.unpack(news.head.edge)
        if news.erased:
            self._texts.forget()
        for alert in news.alerts:
            self._texts.drop_alert(alert.number)

    def _commit(self, turn: Turn, at: int) -> Committed:
        """Make a turn durable, and take its edge as ours. Raises: StoreFailed."""
        batch = turn.batch()
        if batch is None:
            if at - self._alive_at >= ALIVE_EVERY:
                self._store.alive(at)
                self._alive_at = at
            if self._shared is not None:
                self._shared.release()
            return Committed(dispatches=(), ended=())
        self._failpoint("before-commit")
        began = self._clock.now()
        self._store.commit(batch)
        commit_us = self._clock.now() - began
        self._failpoint("after-commit")
        self._resumed = False
        self._edge = turn.edge
        self._alive_at = at
        committed = turn.committed(commit_us)
        if self._shared is None:
            return committed
        ours = [one for one in committed.dispatches if self._is_ours(one.delivery)]
        return msgspec.structs.replace(committed, dispatches=ours)

    def _recall(self, state: State, requests: Sequence[Request]) -> list[LiveAlert]:
        """Take back what these inputs speak of and state does not know; asks the store once for all alerts.

        Returns: the alerts that were taken back for being seen again.
        """
        unknown: dict[bytes, None] = {}
        for request in requests:
            for given in request.inputs:
                if type(given) is AlertReceived:
                    id_ = given.id = state.alert_id(given.fingerprint)
                    if id_ not in state.alerts:
                        unknown[id_] = None
                else:
                    self._recall_for(state, given)
        # What this turn forgot is not yet in the store as forgotten: take it back from where it went.
        recalled = [alert for alert in state.touched.forgotten_alerts.values() if alert.id in unknown]
        for alert in recalled:
            del unknown[alert.id]
        if unknown:
            recalled += self._store.recall(list(unknown))
        for alert in recalled:
            recall(state, alert)
        return recalled

    def _recall_for(self, state: State, given: Input) -> None:
        """Take back the incidents that a person wants something of, and a delivery that has ended."""
        match given:
            case Acted(action=action, incident=incident, note=note) if changes_the_past(action, note):
                self._recall_incident(state, incident)
            case BulkActed(action=action, incidents=incidents, note=note) if changes_the_past(action, note):
                for incident in incidents:
                    self._recall_incident(state, incident)
            case DeliveryRetryAsked(delivery=number) | DeliveryDiscardAsked(delivery=number):
                row = self._store.delivery(number) if number not in state.deliveries else None
                if row is not None:
                    recall_delivery(state, row.delivery, row.state)
                    self._recall_incident(state, row.delivery.incident)
            case _:
                pass

    def _recall_incident(self, state: State, number: int) -> None:
        if number in state.incidents:
            return
        incident = state.touched.forgotten_incidents.get(number) or self._store.find_incident(str(number))
        if incident is not None:
            gone = state.touched.forgotten_alerts
            members = [gone.get(alert.number, alert) for alert in self._store.members(number)]
            recall_incident(state, incident, members)

    def _expired(self, state: State, at: int) -> list[LiveAlert]:
        """Find alerts whose lease ran out; the store's side table has the last word."""
        due = leases_due(state, at)
        if not due:
            return due
        stored = self._store.leases([alert.number for alert in due])
        expired = []
        for alert in due:
            alert.lease = max(alert.lease, stored.get(alert.number, 0))
            if alert.lease > at:
                plan_lease(state, alert)
            else:
                expired.append(alert)
        return expired
