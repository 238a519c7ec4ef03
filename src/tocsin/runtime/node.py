"""Node: one running Tocsin: the pump behind its gate, and the dispatcher; started and stopped in order.

Beside them whoever looks on: metrics, the feed of what is committed, the heartbeat. Nothing waits for these.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tocsin.core.engine.route import compile_policy
from tocsin.core.engine.verdict import SYSTEM
from tocsin.core.model.errors import Conflict, Invalid, Unavailable
from tocsin.core.model.input import Input, KeysChanged, LedgerNamed, PolicyChanged
from tocsin.core.model.policy import DAY, MINUTE, Policy
from tocsin.core.model.rule import Rule
from tocsin.ports import Channel, Clock, Head, Ids, Store, StoreRefused, shared
from tocsin.runtime.committed import Committed
from tocsin.runtime.dispatcher import Dispatcher
from tocsin.runtime.evaluator import Evaluator
from tocsin.runtime.feed import Feed
from tocsin.runtime.gate import Gate
from tocsin.runtime.heartbeat import Heartbeat
from tocsin.runtime.housekeeper import Housekeeper
from tocsin.runtime.metrics import Figures, Metrics
from tocsin.runtime.names import Names
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.shared_clock import SharedClock
from tocsin.runtime.simulations import Simulations
from tocsin.runtime.turn import Result

if TYPE_CHECKING:
    from tocsin.runtime.notary import Notary

log = logging.getLogger("tocsin.node")

STOP_GRACE_S = 6.0
"""What is on its way gets so long to end; with the HTTP face's own grace this stays under 10 s."""

POLICY_ACTOR = "settings"

CLOCK_BEHIND_MAX = 10 * MINUTE
CLOCK_AHEAD_MAX = 400 * DAY


ReadRules = Callable[[str, Mapping[str, Callable[[str], None]]], Sequence[Rule]]
"""Reads the text of a file of rules, given what tries a query by the name of its source. Raises: Invalid."""


class Node:
    """Takes inputs, and carries out what is decided. `store` is for reading by anybody."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: Ids,
        channels: Mapping[str, Channel],
        policy: Policy,
        origin: str,
        dry_run: bool = False,
        failpoint: Callable[[str], None] = lambda name: None,
        close: Callable[[], Awaitable[None]] | None = None,
        metrics: Metrics | None = None,
        notary: "Notary | None" = None,
        envelope_secrets: Sequence[str] = (),
        simulations: Simulations | None = None,
        backtests: Simulations | None = None,
        read_rules: ReadRules | None = None,
    ) -> None:
        self.store = store
        self._shared = shared(store)
        is_alone = self._shared is None
        self.clock = clock if is_alone else SharedClock(clock, lambda: self._pump.ahead)
        self.ids = ids
        self.names = Names(store)
        self.channels = channels
        self.policy = policy
        self.plans = compile_policy(policy, 0)
        self.origin = origin
        self.dry_run = dry_run
        self._failpoint = failpoint
        self._notary = notary
        self.envelope_secrets = tuple(envelope_secrets)
        self.simulations = simulations or Simulations()
        self.backtests = backtests or Simulations()
        self.read_rules = read_rules or _no_rules
        # Reads the configuration again for an actor, and says whether it is another one. Raises: Invalid, Unavailable.
        self.reload: Callable[[str], Awaitable[bool]] = _no_reload
        # Ends the process in order, since only a new start helps; told why. Whoever runs the node says how.
        self.give_up: Callable[[str], None] = lambda why: None
        self._close = close
        self.metrics = metrics or Metrics()
        self.metrics.use_channels(list(channels))
        self.gate = Gate(clock, self.metrics)
        self.feed = Feed()
        self.heartbeat = Heartbeat(self.unwell, clock, self.metrics)
        self.leads = is_alone
        """Whether this node does what only one needs to do, of all that share a store."""
        self.evaluator = Evaluator(store, self.clock, self.gate.submit, self.metrics, self.leads)
        self.housekeeper = Housekeeper(
            store, self.clock, self._keep_house, lambda: self.policy.keep if self.leads else 0
        )
        self.gate.watch(self._noticed)
        self.dispatcher = Dispatcher(
            channels,
            self.gate,
            store,
            self.clock,
            self.metrics,
            dry_run=dry_run,
            failpoint=failpoint,
            give_up=lambda why: self.give_up(why),
        )
        self._pump = Pump(
            store, clock, ids, origin=origin, on_committed=self.gate.on_committed, failpoint=failpoint
        )

    @property
    def notary(self) -> "Notary":
        """Who signs the ledger's checkpoints. Raises: Conflict if nobody does."""
        if self._notary is None:
            raise Conflict("Nobody signs checkpoints of this ledger.", state="unsigned")
        return self._notary

    def open(self, *, accept_clock: bool = False, first: Sequence[Input] = ()) -> None:
        """Load the state and adopt the policy; name the ledger and make its key, if it has none.

        accept_clock: start although the clock does not fit the ledger.
        first: what is to be recorded before anything else.
        Raises: StoreRefused, StoreFailed, Invalid or Unavailable; nothing runs then.
        """
        why = "" if accept_clock else clock_trouble(self.clock.now(), self.store.head())
        if why:
            raise StoreRefused(f"{why} Set the machine's clock, or confirm that it is right: --accept-clock.")
        self.clock.not_before(self.store.head().at)
        self._pump.open(first)
        self.evaluator.load()
        self._failpoint("before-policy")
        is_first = not self.store.policies(None, 1)
        outcome = self._record(PolicyChanged(policy=self.policy), POLICY_ACTOR)
        if outcome != "unchanged" and not is_first and shared(self.store) is not None:
            log.warning(
                "the policy of this node's settings is another one than was in force; it is now, for all nodes"
            )
        self._failpoint("after-policy")
        if self._notary is not None:
            self._introduce(self._notary)

    def _introduce(self, notary: "Notary") -> None:
        """Let the ledger say what it is called, and which key signs for it."""
        if not self.store.origins():
            self._record(LedgerNamed(origin=self.origin), SYSTEM)
        if not self.store.signers():
            vkey = notary.make_key()
            self._failpoint("after-key")
            self._record(KeysChanged(adopt=(vkey,)), SYSTEM)
        notary.keys_changed()

    def _record(self, given: Input, actor: str) -> str:
        """Take an input before anybody else can bring one. Returns: its outcome. Raises: what it is refused for."""
        refused: list[Exception] = []
        outcomes: list[str] = []

        def answer(_: Request, results: Sequence[Result] | Exception) -> None:
            if isinstance(results, Exception):
                refused.append(results)
            elif results[0].refused is not None:
                refused.append(results[0].refused)
            else:
                outcomes.append(results[0].outcome)

        self._pump.turn([Request((given,), actor, answer)])
        if refused:
            raise refused[0]
        return outcomes[0]

    def start(self) -> None:
        """Begin to take inputs and to deliver; on the running event loop."""
        self.gate.start(self._pump)
        self.dispatcher.start()
        self.heartbeat.start()
        self.housekeeper.start()
        self.evaluator.start()
        if self._notary is not None:
            self._notary.start()

    async def stop(self) -> None:
        """Let what is on its way end, then stop."""
        self.feed.close()
        await self.heartbeat.stop()
        await self.housekeeper.stop()
        await self.evaluator.stop()
        await self.dispatcher.stop(STOP_GRACE_S)
        await self.gate.stop()
        if self._notary is not None:
            await self._notary.stop()
        if self._close is not None:
            await self._close()

    async def ask(self, given: Input, actor: str) -> Result:
        """Hand over one input and wait for its commit.

        Raises: what the input was refused for, or Unavailable.
        """
        (result,) = await self.gate.submit((given,), actor)
        if result.refused is not None:
            raise result.refused
        return result

    async def _keep_house(self, given: Input) -> Result:
        return await self.ask(given, SYSTEM)

    async def adopt(
        self,
        policy: Policy,
        channels: Mapping[str, Channel],
        *,
        actor: str,
        dry_run: bool,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Take over another policy and other channels, and say whether the policy is another one.

        close: closes what these channels share, once they are no longer used.
        Raises: Invalid, Unavailable; then everything is as it was.
        """
        with self.dispatcher.held_back():
            self._failpoint("before-policy")
            result = await self.ask(PolicyChanged(policy=policy), actor)
            self._failpoint("after-policy")
            try:
                await self.gate.submit(
                    (), actor
                )  # Once this is answered, what was committed before was heard of.
            except Unavailable:
                pass
            self.dispatcher.use(channels, dry_run=dry_run, close=self._close)
        self.channels, self.policy, self.plans = channels, policy, compile_policy(policy, 0)
        self.dry_run, self._close = dry_run, close
        self.metrics.use_channels(list(channels))
        return result.outcome != "unchanged"

    def not_ready(self) -> str:
        """Say why this node should not be sent anything, "" if it should."""
        return self.gate.failed or self.dispatcher.stuck

    def unwell(self) -> str:
        """Say why this node does not do its work, "" if it does: what the heartbeat vouches for."""
        return self.not_ready() or self.gate.stuck()

    def figures(self) -> Figures:
        """Say how everything stands that belongs to the event loop, for `Metrics.render`."""
        inputs, oldest_s = self.gate.waiting()
        return Figures(
            at=self.clock.now(),
            ready=not self.not_ready(),
            inputs=inputs,
            oldest_s=oldest_s,
            ledger_size=self.feed.size,
            streams=self.feed.clients,
            nodes=self._shared.living if self._shared is not None else 1,
            ahead_s=self._pump.ahead / 1e6,
            channels=self.dispatcher.figures(),
        )

    def _noticed(self, committed: Committed) -> None:
        self.feed.grew(committed.size)
        if committed.leads is not None:
            self.leads = committed.leads
            self.evaluator.lead(committed.leads)
        self.metrics.count(committed.tally)


def _no_rules(text: str, sources: Mapping[str, Callable[[str], None]]) -> Sequence[Rule]:
    raise Invalid("Nobody here reads rules.")


async def _no_reload(actor: str) -> bool:
    raise Invalid(
        "No server runs here that could read its configuration again. It is read at the next start."
    )


def clock_trouble(now: int, head: Head) -> str:
    """Say why a node should not start at this time, "" if it may.

    The ledger's time never goes back, so an entry from a wrong future would hold all later ones at its moment.
    now: the clock's reading at the start, microseconds UTC.
    """
    if not head.size:
        return ""
    last = max(head.at, head.alive_at)
    if now < last - CLOCK_BEHIND_MAX:
        return f"The clock says {_minute(now)}, but the ledger was last written at {_minute(last)}, which is later."
    if now > last + CLOCK_AHEAD_MAX:
        days = (now - last) // DAY
        return (
            f"The clock says {_minute(now)}, {days} days after the ledger was last written ({_minute(last)})."
        )
    return ""


def _minute(at: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).strftime("%Y-%m-%d %H:%M UTC")
