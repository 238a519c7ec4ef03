"""Node: one running Tocsin: the pump behind its gate, and the dispatcher; started and stopped in order."""

from collections.abc import Callable, Mapping, Sequence

from tocsin.core.model.input import Input, PolicyChanged
from tocsin.core.model.policy import Policy
from tocsin.ports import Channel, Clock, Ids, Store
from tocsin.runtime.dispatcher import Dispatcher
from tocsin.runtime.gate import Gate
from tocsin.runtime.pump import Pump, Request, Result

STOP_GRACE_S = 10.0
POLICY_ACTOR = "settings"


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
    ) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.channels = channels
        self.policy = policy
        self.origin = origin
        self.dry_run = dry_run
        self.gate = Gate(clock)
        self.dispatcher = Dispatcher(channels, self.gate, store, clock, dry_run=dry_run, failpoint=failpoint)
        self._pump = Pump(
            store, clock, ids, origin=origin, on_committed=self.gate.on_committed, failpoint=failpoint
        )

    def open(self) -> None:
        """Load the state and adopt the policy. Raises: StoreFailed, Invalid or Unavailable; nothing runs then."""
        self._pump.open()
        refused: list[Exception] = []

        def answer(_: Request, results: Sequence[Result] | Exception) -> None:
            if isinstance(results, Exception):
                refused.append(results)
            elif results[0].refused is not None:
                refused.append(results[0].refused)

        self._pump.turn([Request((PolicyChanged(policy=self.policy),), POLICY_ACTOR, answer)])
        if refused:
            raise refused[0]

    def start(self) -> None:
        """Begin to take inputs and to deliver; on the running event loop."""
        self.gate.start(self._pump)
        self.dispatcher.start()

    async def stop(self) -> None:
        """Let what is on its way end, then stop."""
        await self.dispatcher.stop(STOP_GRACE_S)
        await self.gate.stop()

    async def ask(self, given: Input, actor: str) -> Result:
        """Hand over one input and wait for its commit.

        Raises: what the input was refused for, or Unavailable.
        """
        (result,) = await self.gate.submit((given,), actor)
        if result.refused is not None:
            raise result.refused
        return result

    def not_ready(self) -> str:
        """Say why this node should not be sent anything, "" if it should."""
        return self.gate.failed
