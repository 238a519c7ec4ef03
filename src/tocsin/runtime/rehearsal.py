"""Rehearsal: a channel that does everything but the network, because its settings say so."""

from typing import Any

from tocsin.core.model.notification import Message, Outcome, Target
from tocsin.ports import Channel, Rendered


class Rehearsal:
    """A channel whose every attempt is a dry run."""

    def __init__(self, channel: Channel) -> None:
        self.name = channel.name
        self.kind = channel.kind
        self.addresses = channel.addresses
        self._channel = channel

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        """See `tocsin.ports.Channel`."""
        return await self._channel.send(message, target, key=key, at=at, dry_run=True)

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        """See `tocsin.ports.Channel`."""
        return self._channel.render(message, target, key=key)

    def __getattr__(self, name: str) -> Any:
        # What else a channel can do (see `tocsin.ports.Reachable`), it can do in rehearsal too.
        return getattr(self._channel, name)

    async def close(self) -> None:
        """See `tocsin.ports.Channel`."""
        await self._channel.close()
