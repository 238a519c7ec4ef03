"""Channels: ways to speak, as protocols."""

from typing import Protocol, runtime_checkable

import msgspec

from tocsin.core.model.notification import Message, Outcome, Target


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel sends, for people to look at. No secret stands in it.

    subject, html: of an e-mail, whose body is then the text part; None elsewhere.
    """

    content_type: str
    body: str
    subject: str | None = None
    html: str | None = None


class Channel(Protocol):
    """A way to speak. `send` never raises for what the world does; it answers with an outcome.

    name: as the operator calls it (unique); kind: `email`, `teams`, `webhook`, ...
    addresses: whom it reaches, in the configured order; one for a channel whose address is a secret (its own name).
    """

    name: str
    kind: str
    addresses: tuple[str, ...]

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        """Make one attempt.

        key: the delivery's idempotency key (64 hex digits), the same over all attempts.
        at: the moment of this attempt, for signatures and dates.
        dry_run: do everything but the network, and answer with DryRun.
        """
        ...

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        """Show what `send` sends. Asks nothing and nobody."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Reachable(Protocol):
    """A channel that can be tried without anybody being told.

    host: the name or address that it connects to; doubts: what looks wrong with its settings, but may be right.
    """

    host: str
    doubts: tuple[str, ...]

    async def probe(self) -> str:
        """Connect as for a delivery, under the same guard, and hang up: why that fails, "" if it does not."""
        ...
