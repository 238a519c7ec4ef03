"""Evaluator: looks at every rule when it is due, and hands what it sees to the gate as alerts.

A look is *for* a moment that the rule's schedule gives, whenever it is made: made twice, it is the same look with the
same keys, so nothing is counted twice. What rules remember is kept after the alerts are committed; if the process dies
in between, the look is made again.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tocsin.core.model.alert import Alert, Severity
from tocsin.core.model.errors import Invalid, Unavailable
from tocsin.core.model.input import Input, received
from tocsin.core.model.policy import MINUTE, SECOND
from tocsin.core.model.rule import Rule, Series, Slo
from tocsin.core.rules import evaluate, failing, schedule, triggers
from tocsin.core.rules.evaluate import Look, Memory
from tocsin.core.rules.failing import Failing
from tocsin.ports import Clock, Source, SourceFailed, Store, StoreFailed
from tocsin.runtime.metrics import Metrics
from tocsin.runtime.turn import Result

log = logging.getLogger("tocsin.evaluator")

ACTOR = "rules"
AT_ONCE = 64
FAILING_AFTER = 2 * MINUTE
"""A source that has given no answer for so long is an alert."""

AGAIN = SECOND // 2
"""So long waits a look whose rule is still looked at."""

RETRY = 30 * SECOND
"""After a look that could not be made, the next try; each look is tried until the next one is due."""

LOOKS_SHOWN_MAX = 100
"""Of a rule's last looks so many are kept to be shown."""

LOAD_AGAIN_S = 1.0

KEEP_EVERY_S = 1.0
"""What was remembered in this time is kept in one commit."""

Submit = Callable[[Sequence[Input], str], Awaitable[Sequence[Result]]]
Asked = dict[str, tuple[Series, ...]]

_encode = msgspec.msgpack.Encoder().encode
_memory = msgspec.msgpack.Decoder(Memory).decode
_failing = msgspec.msgpack.Decoder(Failing).decode


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a rule stands. due: the moment of its next look, None if it is not enabled; done: of its last, 0 for none.

    looks: the last look at each scope, the first 100 of them; looked: whether there was one since the start.
    silent: scopes whose alert fires, and of which the last look had nothing to say: (scope, severity, seen at).
    failing_since, failure: since when it gets no answer, and why.
    """

    rule: Rule
    due: int | None
    done: int
    looked: bool
    looks: tuple[Look, ...]
    silent: tuple[tuple[dict[str, str], Severity, int], ...]
    failing_since: int
    failure: str


class _Due(NamedTuple):
    begins: int
    at: int
    rule_id: str


class Evaluator:
    """Belongs to the event loop. submit: see `Gate.submit`; leads: look at once, and not only when told to (`lead`)."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        submit: Submit,
        metrics: Metrics,
        leads: bool = True,
    ) -> None:
        self._store = store
        self._clock = clock
        self._submit = submit
        self._metrics = metrics
        self._rules: dict[str, Rule] = {}
        self.sources: Mapping[str, Source] = {}
        self.slos: tuple[Slo, ...] = ()
        self._memories: dict[str, Memory] = {}
        self._failings: dict[str, Failing] = {}
        self._looks: dict[str, tuple[Look, ...]] = {}
        self._why: dict[str, str] = {}
        self._due: list[_Due] = []
        self._next: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._dirty: dict[str, bytes | None] = {}
        self._is_dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self._leads = asyncio.Event()
        self.lead(leads)
        self._is_new = False
        self._tasks: list[asyncio.Task[None]] = []

    def lead(self, leads: bool) -> None:
        """Look from now on, or leave that to another node."""
        if leads:
            self._leads.set()
        else:
            self._leads.clear()
        self._changed.set()

    def load(self) -> None:
        """Read what rules remember. Raises: StoreFailed."""
        rows = self._store.evaluations()
        self._failings = {name: _failing(body) for name, body in rows.items() if name.startswith("\0")}
        self._memories = {name: _memory(body) for name, body in rows.items() if not name.startswith("\0")}

    def use(
        self, rules: Sequence[Rule], sources: Mapping[str, Source], slos: Sequence[Slo] = ()
    ) -> list[Source]:
        """Look at these rules from now on, those of the objectives among them.

        Gives the sources that are no longer asked, for their owner to close.
        """
        gone = [source for name, source in self.sources.items() if sources.get(name) is not source]
        self._rules = {rule.rule_id: rule for rule in rules}
        self.sources, self.slos = sources, tuple(slos)
        self._plan_all()
        self._looks = {name: looks for name, looks in self._looks.items() if name in self._rules}
        self._is_new = True
        self._changed.set()
        return gone

    def _plan_all(self) -> None:
        now = self._clock.now()
        self._next, self._due = {}, []
        for rule in self._rules.values():
            if rule.enabled:
                memory = self._memories.get(rule.rule_id, Memory())
                done = memory.done if memory.shape == evaluate.shape(rule) else 0
                self._plan(rule, schedule.due_after_pause(rule, done, now))

    def start(self) -> None:
        """Begin to look; on the running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._keep_regularly())]

    async def stop(self) -> None:
        """Look no more. Looks under way are dropped, and made when it runs again."""
        for task in [*self._tasks, *self._running.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._running.values(), return_exceptions=True)
        self._tasks, self._running = [], {}
        await self._keep()
        for source in self.sources.values():
            await source.close()

    def standings(self) -> list[Standing]:
        """Say how all rules stand, by name."""
        return [self.standing(name) for name in sorted(self._rules)]

    def standing(self, rule_id: str) -> Standing:
        """Say how a rule stands. Raises: KeyError."""
        rule = self._rules[rule_id]
        memory = self._memories.get(rule_id, Memory())
        failings = [self._failings.get(failing.key(scope)) for scope in _scopes_of(rule)]
        since = [one.since for one in failings if one is not None and one.since]
        return Standing(
            rule=rule,
            due=self._next.get(rule_id),
            done=memory.done,
            looked=rule_id in self._looks,
            looks=self._looks.get(rule_id, ())[:LOOKS_SHOWN_MAX],
            silent=self._silent(memory, self._looks.get(rule_id, ())),
            failing_since=min(since, default=0),
            failure=self._why.get(rule_id, "") if since else "",
        )

    def _silent(
        self, memory: Memory, looks: Sequence[Look]
    ) -> tuple[tuple[dict[str, str], Severity, int], ...]:
        seen = [look.scope for look in looks]
        found = (
            (evaluate.scope_of(key), remembered.severity, remembered.seen_at)
            for key, remembered in sorted(memory.scopes.items())
            if remembered.severity is not None
        )
        return tuple(one for one in found if one[0] not in seen)[:LOOKS_SHOWN_MAX]

    async def forget(self, rule_id: str, actor: str, because: str) -> int:
        """End all that fires of a rule, and remember none of its scopes; how many fired.

        Raises: KeyError, Unavailable.
        """
        if rule_id not in self._rules:
            raise KeyError(rule_id)
        return await self._end(rule_id, because, actor)

    # Looking

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if not self._leads.is_set():
                await self._until_it_leads()
            if self._is_new:
                self._is_new = False
                await self._end_strangers()
            now = self._clock.now()
            while self._due and self._due[0].begins <= now and len(self._running) < AT_ONCE:
                due = heapq.heappop(self._due)
                if self._next.get(due.rule_id) != due.at:
                    continue  # It was planned before the rules changed.
                if due.rule_id in self._running:  # A look of before the change; it ends first.
                    heapq.heappush(self._due, due._replace(begins=now + AGAIN))
                    continue
                self._running[due.rule_id] = asyncio.get_running_loop().create_task(self._look(due))
            wait = (
                (self._due[0].begins - now) / SECOND if self._due and len(self._running) < AT_ONCE else None
            )
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _until_it_leads(self) -> None:
        """Leave the looking to another node, and go on where that one has come to when it is gone."""
        while True:
            await self._leads.wait()
            try:
                await asyncio.to_thread(self.load)
            except StoreFailed as error:
                log.warning("what another node remembered of the rules is read later: %s", error)
                await asyncio.sleep(LOAD_AGAIN_S)
            else:
                break
        self._plan_all()

    async def _end_strangers(self) -> None:
        """End what fires of rules and sources that are no longer there, and of rules that have other scopes now."""
        asked = [scope for rule in self._rules.values() if rule.enabled for scope in _scopes_of(rule)]
        for name in self._failings.keys() - {failing.key(scope) for scope in asked}:
            await self._worked(failing.scope_of(name))
        for name, memory in list(self._memories.items()):
            rule = self._rules.get(name)
            try:
                if rule is None or not rule.enabled:
                    await self._end(
                        name, "The rule was removed." if rule is None else "The rule was disabled.", ACTOR
                    )
                    self._memories.pop(name, None)
                    self._keep_later({name: None})
                elif memory.shape and memory.shape != evaluate.shape(rule):
                    await self._end(name, "The rule's scopes were changed.", ACTOR)
            except Unavailable as error:
                log.warning("what rule %s left behind is not ended yet: %s", name, error)

    async def _end(self, rule_id: str, because: str, actor: str) -> int:
        if rule_id in self._running:
            await asyncio.wait([self._running[rule_id]])
        memory = _copy(self._memories.get(rule_id, Memory()))
        alerts = evaluate.ended(rule_id, self._clock.now(), memory, because)
        await self._hand_over(alerts, actor)
        self._remember(rule_id, memory)
        self._looks.pop(rule_id, None)
        return len(alerts)

    async def _look(self, due: _Due) -> None:
        rule = self._rules.get(due.rule_id)
        retry = False
        try:
            if rule is not None:
                retry = not await self._looked(rule, due.at)
        except Exception:
            log.exception("rule %s could not be looked at, by a mistake of ours", due.rule_id)
            self._metrics.evaluated("failed", 0.0)
        finally:
            self._running.pop(due.rule_id, None)
            self._changed.set()
        if rule is not None and self._rules.get(rule.rule_id) is rule:
            self._plan_next(rule, due.at, retry=retry)

    def _plan_next(self, rule: Rule, at: int, *, retry: bool) -> None:
        now = self._clock.now()
        following = schedule.next_due(rule, at)
        if following <= now:
            following = schedule.due_after_pause(rule, at, now)
        elif retry and now + RETRY < following:
            self._next[rule.rule_id] = at
            heapq.heappush(self._due, _Due(now + RETRY, at, rule.rule_id))
            return
        self._plan(rule, following)

    def _plan(self, rule: Rule, at: int) -> None:
        self._next[rule.rule_id] = at
        heapq.heappush(self._due, _Due(schedule.begins_at(rule, at, self._clock.now()), at, rule.rule_id))

    async def _looked(self, rule: Rule, at: int) -> bool:
        """Make one look; say whether there was an answer, and it was handed over."""
        begun = asyncio.get_running_loop().time()
        memory = _copy(self._memories.get(rule.rule_id, Memory()))
        try:
            answers = await ask(rule, at, self.sources)
            looks = evaluate.look(rule, at, answers, memory)
        except (SourceFailed, Invalid) as error:
            await self._failed(rule, str(error), is_away=isinstance(error, SourceFailed) and error.is_away)
            self._metrics.evaluated("failed", asyncio.get_running_loop().time() - begun)
            return False
        for scope in _scopes_of(rule):
            await self._worked(scope)
        try:
            outcomes = await self._hand_over([one.alert for one in looks], ACTOR)
        except Unavailable as error:
            log.warning("the look at rule %s is made again: %s", rule.rule_id, error)
            return False
        for one, outcome in zip(looks, outcomes, strict=True):
            evaluate.answered(memory, one, outcome)
        self._remember(rule.rule_id, memory)
        self._looks[rule.rule_id] = looks
        self._why.pop(rule.rule_id, None)
        fires = any(one.alert.status == "firing" for one in looks)
        self._metrics.evaluated(
            "firing" if fires else "green" if looks else "nothing", asyncio.get_running_loop().time() - begun
        )
        return True

    async def _failed(self, rule: Rule, why: str, *, is_away: bool) -> None:
        if self._why.get(rule.rule_id) != why:  # Said once, and not at every look.
            log.warning("rule %s gets no answer from source %s: %s", rule.rule_id, rule.source, why)
        self._why[rule.rule_id] = why
        of_source, of_rule = _scopes_of(rule)
        if not is_away:
            await self._worked(of_source)  # It cannot answer this, but it answers.
        scope = of_source if is_away else of_rule
        name = failing.key(scope)
        noted = msgspec.structs.replace(self._failings.get(name, Failing()))
        alert = failing.failed(noted, scope, why, self._clock.now(), after=FAILING_AFTER)
        await self._note(name, noted, alert)

    async def _worked(self, scope: dict[str, str]) -> None:
        name = failing.key(scope)
        if name in self._failings:
            noted = msgspec.structs.replace(self._failings[name])
            await self._note(name, noted, failing.worked(noted, scope, self._clock.now()))

    async def _note(self, name: str, noted: Failing, alert: Alert | None) -> None:
        before = self._failings.get(name)
        self._failings[name] = noted  # At once: other rules ask the same source meanwhile.
        try:
            await self._hand_over([alert] if alert is not None else [], ACTOR)
        except Unavailable as error:
            log.warning("what is known of a source is told later: %s", error)
            self._failings[name] = before or Failing()
            return
        if noted.since:
            self._keep_later({name: _encode(noted)})
        elif self._failings[name] is noted:
            del self._failings[name]
            self._keep_later({name: None})

    async def _hand_over(self, alerts: Sequence[Alert], actor: str) -> list[str]:
        """Have alerts decided, and give what came of each. Raises: Unavailable if they were not committed."""
        results = await self._submit([received(alert) for alert in alerts], actor) if alerts else ()
        for result in results:
            if isinstance(result.refused, Unavailable):
                raise result.refused
        return [result.outcome for result in results]

    # Remembering

    def _remember(self, rule_id: str, memory: Memory) -> None:
        self._memories[rule_id] = memory
        self._keep_later({rule_id: _encode(memory)})

    def _keep_later(self, rows: Mapping[str, bytes | None]) -> None:
        """Have these rows kept soon. None: what a rule remembered is to be forgotten."""
        self._dirty.update(rows)
        self._is_dirty.set()

    async def _keep_regularly(self) -> None:
        while True:
            await self._is_dirty.wait()
            await asyncio.sleep(KEEP_EVERY_S)
            await self._keep()

    async def _keep(self) -> None:
        self._is_dirty.clear()
        if not self._dirty:
            return
        rows, self._dirty = self._dirty, {}
        try:
            await asyncio.to_thread(self._store.put_evaluations, rows)
        except StoreFailed as error:
            log.warning("what rules remember is kept later: %s", error)
            self._keep_later(rows | self._dirty)


async def ask(rule: Rule, at: int, sources: Mapping[str, Source]) -> Asked:
    """Ask all questions of a look, one after the other. Raises: SourceFailed."""
    source = sources[rule.source]
    return {one.name: await source.ask(one) for one in triggers.asks(rule, at)}


def _scopes_of(rule: Rule) -> tuple[dict[str, str], dict[str, str]]:
    """Give the scopes of what can fail: the source, and this rule's questions to it."""
    return {"data_source": rule.source}, {"data_source": rule.source, "rule": rule.rule_id}


def _copy(memory: Memory) -> Memory:
    return _memory(_encode(memory))
