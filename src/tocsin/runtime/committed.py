"""Committed: what a turn committed that others act on: deliveries to attempt, and what happened, counted."""

import msgspec

from tocsin.core.engine.state import State
from tocsin.core.model.notification import Message, Target


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery to be attempted. message: None if whoever holds the delivery has it already.

    since: when it was decided, or its target began to be out of reach (see NewDelivery.since).
    replaces: the delivery that was merged into this one as it was decided, 0 for none. It may have come due, and be on
    the wire, before that was committed; then this one waits until it is not.
    """

    delivery: int
    attempt: int
    due: int
    since: int
    channel: str
    target: Target | None
    key: str
    urgent: bool
    dry_run: bool
    notification: int
    message: Message | None = None
    replaces: int = 0


class Committed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a turn committed that others act on. ended: deliveries without a further attempt.

    is_all: the dispatches are all that is pending; whatever else somebody holds has ended.
    size: of the ledger now, 0 if that is not said; at: of the turn.
    has_tokens: another node made or revoked tokens.
    leads: this node does from now on what only one needs to do, or does not; None if that is as before.
    tally: what happened, counted: `input:<outcome>`, `withheld:<reason>` (targets), `state:<STATE>` (incidents that
    entered it), `auto_resolved`, `notified:<kind>`, `delivery:<channel>:<state>` (`retry` for a failed attempt),
    `entries`, `commit_us` (how long the store took).
    """

    dispatches: tuple[Dispatch, ...] | list[Dispatch]
    ended: tuple[int, ...] | list[int]
    is_all: bool = False
    size: int = 0
    at: int = 0
    has_tokens: bool = False
    leads: bool | None = None
    tally: dict[str, int] = {}


def dispatch(state: State, number: int, message: Message | None = None, *, replaces: int = 0) -> Dispatch:
    """Give the next attempt of a delivery. Fields as in Dispatch."""
    delivery = state.deliveries[number]
    return Dispatch(
        delivery=number,
        attempt=delivery.attempts + 1,
        due=delivery.due,
        since=delivery.first_at,
        channel=delivery.channel,
        target=state.plans.targets.get(delivery.target),
        key=delivery.key,
        urgent=delivery.severity == "critical",
        dry_run=delivery.dry_run,
        notification=delivery.notification,
        message=message,
        replaces=replaces,
    )
