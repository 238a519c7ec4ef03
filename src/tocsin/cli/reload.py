"""Reload: the configuration is read again while the server runs; all of it is taken over, or nothing."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tocsin.core.model.errors import Invalid, TocsinError
from tocsin.runtime.node import POLICY_ACTOR, Node
from tocsin.wiring.access import build_verifier
from tocsin.wiring.node import use_heartbeat
from tocsin.wiring.outside import build_channels, build_outbound, build_sources
from tocsin.wiring.policies import build_policy

if TYPE_CHECKING:
    from tocsin.settings import Settings
    from tocsin.web.auth import Doorkeeper

log = logging.getLogger("tocsin.reload")


class Reloader:
    """Reads again and takes over, on the event loop. Who comes while it is at work waits for their turn.

    settings: those that are in force; read: gives those that stand there now, or raises Invalid with all errors.
    """

    def __init__(
        self, node: Node, doorkeeper: "Doorkeeper", settings: "Settings", read: Callable[[], "Settings"]
    ) -> None:
        self._node = node
        self._doorkeeper = doorkeeper
        self._settings = settings
        self._read = read
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[bool]] = set()
        self._signal_waits = False

    async def reload(self, actor: str) -> bool:
        """Take over what stands there now, and say whether that is anything else than before.

        actor: who asked, as the ledger names them.
        Raises: Invalid with all errors, Unavailable; then nothing has changed.
        """
        task = asyncio.create_task(self._reload(actor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)  # Whoever asked may go; half of it must not stay.

    def on_signal(self) -> None:
        """Do the same because of a signal; the log has the answer. One that waits already will do for this one too."""
        if self._signal_waits:
            return
        self._signal_waits = True
        task = asyncio.create_task(self._reload(POLICY_ACTOR, by_signal=True))
        self._tasks.add(task)
        task.add_done_callback(self._tell)

    async def stop(self) -> None:
        """Let what is at work end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reload(self, actor: str, *, by_signal: bool = False) -> bool:
        async with self._turn:
            if by_signal:
                self._signal_waits = False
            settings = await asyncio.to_thread(self._read)
            changed = await self._take_over(settings, actor)
            before, self._settings = self._settings, settings
            return changed or msgspec.structs.replace(before, digest=settings.digest) != settings

    async def _take_over(self, settings: "Settings", actor: str) -> bool:
        """Let the node run on these settings. Returns: whether the policy is another one."""
        node, before = self._node, self._settings
        id_key = node.store.secret("id_key")
        assert id_key is not None
        outbound = build_outbound(settings)
        try:
            channels = build_channels(settings, outbound)
            sources = build_sources(settings, outbound)
            policy = build_policy(settings, channels, id_key)
            is_same = (settings.issuer, settings.allow_private) == (before.issuer, before.allow_private)
            verifier = None if is_same else build_verifier(settings, node.clock)
            changed = await node.adopt(
                policy, channels, actor=actor, dry_run=settings.dry_run, close=outbound.close
            )
        except BaseException:
            await outbound.close()
            raise
        use_heartbeat(node, settings, outbound)
        for gone in node.evaluator.use(settings.rules, sources, settings.slos):
            await gone.close()
        node.envelope_secrets = tuple(secret.value for secret in settings.envelope_secrets)
        if not is_same:
            await self._doorkeeper.change_issuer(verifier)
        return changed

    def _tell(self, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            channels = ", ".join(self._node.channels) or "none"
            what = "and taken over" if task.result() else "and says what it said"
            log.info("the configuration was read again %s; channels: %s", what, channels)
        elif isinstance(error, Invalid) and error.errors:
            log.error("the configuration is not taken over: %s", str(error).partition("\n")[0])
            for where, message in error.errors:
                log.error("%s: %s", where, message)
        elif isinstance(error, TocsinError):
            log.error("the configuration is not taken over: %s", error)
        else:
            log.error("the configuration is not taken over, for a mistake of ours", exc_info=error)
