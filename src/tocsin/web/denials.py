"""Denials: who was turned away, for the ledger. The first at once, further ones as a count, so no flood can fill it.

A count that was not yet recorded is lost if the process is killed; an orderly stop records it. All of it belongs to
the event loop, and nobody waits for it.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tocsin.core.model.access import Permission
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import AccessDenied, Denial

ANONYMOUS = "anonymous"

EVERY_S = 600.0
KEYS_MAX = 256
"""So many (who, why, what, from where) are told apart within that time; all others are one bucket for each reason."""

log = logging.getLogger("tocsin.web")

Submit = Callable[[Sequence[AccessDenied], str], "asyncio.Future[Any]"]


class Key(NamedTuple):
    """What is counted together."""

    actor: str
    reason: Denial
    client: str
    permission: Permission | None


class Denials:
    """Counts, and hands to the pump what is to be recorded."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._counts: dict[Key, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, reason: Denial, actor: str, client: str, permission: Permission | None = None) -> None:
        """Count one. client: as `client_of` gives it."""
        key = Key(actor, reason, client, permission)
        if key not in self._counts and len(self._counts) >= KEYS_MAX:
            key = Key(ANONYMOUS, reason, "others", None)
        if key in self._counts:
            self._counts[key] += 1
        else:
            self._counts[key] = 0
            self._record(key, 1)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def flush(self) -> None:
        """Record what was counted. What was not seen again since the last time is forgotten."""
        counts, self._counts = self._counts, {}
        for key, count in counts.items():
            if count:
                self._counts[key] = 0
                self._record(key, count)

    def close(self) -> None:
        """Record what is left; before the pump stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _look(self) -> None:
        self._timer = None
        self.flush()
        if self._counts:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def _record(self, key: Key, count: int) -> None:
        denied = AccessDenied(reason=key.reason, count=count, client=key.client, permission=key.permission)

        def done(future: "asyncio.Future[Any]") -> None:
            if future.cancelled() or future.exception() is not None:
                self._again(key, count)

        try:
            self._submit((denied,), key.actor).add_done_callback(done)
        except Unavailable:
            self._again(key, count)

    def _again(self, key: Key, count: int) -> None:
        """It may not be stored: count it with the next ones. (A commit of unknown fate may then count it twice.)"""
        log.info("a denial could not be recorded yet")
        self._counts[key] = self._counts.get(key, 0) + count


def client_of(scope: Mapping[str, Any]) -> str:
    """Name where a request comes from: the IPv4 address, the /64 of an IPv6 address, "" if that is not known.

    A host owns a whole /64, so that is what tells it from others.
    """
    client = scope.get("client")
    if not client:
        return ""
    try:
        # What a proxy on this machine passes on may be any text.
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.IPv6Network((int(address), 64), strict=False))
    return str(address)
