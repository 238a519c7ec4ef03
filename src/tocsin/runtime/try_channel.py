"""Try a channel: a test message to each of its addresses, of no incident and not recorded."""

import asyncio
from typing import assert_never

from tocsin.core.model.alert import Severity
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DryRun,
    Message,
    NotificationKind,
    Outcome,
    Refused,
    Retry,
    Target,
    delivery_key,
)
from tocsin.ports import Channel

TEST_S = 60.0
"""How long a test of one address may take."""


async def try_channel(
    channel: Channel, *, notification_id: str, origin: str, because: str, at: int, dry_run: bool
) -> list[tuple[str, Outcome]]:
    """Send a test to all addresses of a channel at once; each with its outcome, in their order.

    notification_id: 32 hex digits that nobody guesses; origin: a host-like word; because: who asked for it.
    """
    message = Message(
        notification_id=notification_id,
        origin=origin,
        kind=NotificationKind.TEST,
        at=at,
        severity=Severity.INFO,
        title="A test from Tocsin",
        text="This is a test. Nothing is wrong, and nothing needs to be done.",
        because=because,
    )

    async def try_address(address: str) -> Outcome:
        target = Target(id=f"test {address}", channel=channel.name, address=address)
        key = delivery_key(message.notification_id, target)
        try:
            async with asyncio.timeout(TEST_S):
                return await channel.send(message, target, key=key, at=at, dry_run=dry_run)
        except TimeoutError:
            return Retry(why=f"no answer within {TEST_S:.0f} s")

    outcomes = await asyncio.gather(*(try_address(address) for address in channel.addresses))
    return list(zip(channel.addresses, outcomes, strict=True))


def said_of(outcome: Outcome) -> dict[str, str]:
    """Give an outcome as people are shown it: its `outcome` in a word, and `why` in the provider's."""
    match outcome:
        case Delivered(detail=why):
            return {"outcome": "delivered", "why": why}
        case Accepted(detail=why):
            return {"outcome": "accepted", "why": why}
        case DryRun(preview=why):
            return {"outcome": "dry_run", "why": why}
        case Retry(why=why):
            return {"outcome": "retry", "why": why}
        case Refused(why=why):
            return {"outcome": "refused", "why": why}
        case _:
            assert_never(outcome)
