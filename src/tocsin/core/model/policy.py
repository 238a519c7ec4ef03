"""Policy: all that an operator may tune, as one versioned value.

Durations are integer microseconds. A route's None means "as its parent has it".
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.notification import Target
from tocsin.core.model.silence import Matcher

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ALL_LABELS = "..."
"""In `group_by`: every label and the rule, so that each alert is a group of its own."""


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node of the routing tree.

    name: unique and stable; incidents are keyed by it, so that reordering routes never re-keys them.
    group_by: labels that hold an incident together; ("...",) for one alert an incident.
    group_wait: from an incident's opening to its first notification.
    group_interval: least time between notifications about alerts that join or clear.
    repeat_interval: an incident that is still OPEN is told again after this.
    reopen_within: a return of the trouble this soon after resolution reopens the incident.
    resolve_timeout: an alert without `ends_at` expires this long after it was last seen; 0 for never.
    greens: consecutive green evaluations that clear an alert.
    ack_timeout: an acknowledgement lapses after this; 0 for never.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    continue_: bool = msgspec.field(default=False, name="continue")
    channels: tuple[str, ...] | None = None
    group_by: tuple[str, ...] | None = None
    group_wait: int | None = None
    group_interval: int | None = None
    repeat_interval: int | None = None
    send_resolved: bool | None = None
    reopen_within: int | None = None
    resolve_timeout: int | None = None
    greens: int | None = None
    ack_timeout: int | None = None
    routes: tuple["Route", ...] = ()


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At most `limit` notifications of one rule in any `window`; what is withheld is told as a digest."""

    limit: int = 10
    window: int = HOUR
    digest_after: int = 5 * MINUTE
    digest_interval: int = 30 * MINUTE


class Retries(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a failed attempt is made again: each step in turn, then the last one for ever, until `give_up`."""

    steps: tuple[int, ...] = tuple(s * SECOND for s in (1, 2, 4, 15, 60, 300, 900, 1800))
    give_up: int = 72 * HOUR


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of the rules of the house.

    targets: every address of every channel, in configured order.
    keep: how long what is over is kept; 0 for ever.
    """

    routes: Route = Route(name="default", group_by=(ALL_LABELS,))
    targets: tuple[Target, ...] = ()
    rate_limit: RateLimit | None = RateLimit()
    retries: Retries = Retries()
    keep: int = 400 * DAY


DURATIONS = frozenset(
    (
        "ack_timeout",
        "digest_after",
        "digest_interval",
        "give_up",
        "group_interval",
        "group_wait",
        "keep",
        "reopen_within",
        "repeat_interval",
        "resolve_timeout",
        "steps",
        "window",
    )
)
"""The settings that are lengths of time, by their names, for whoever shows them to people."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two policies.

    before, after: plain values; None where there was nothing, or is nothing any more.
    path: such as `keep`, `rate_limit.limit`, `routes[database].group_wait`, `targets[email ops@example.org]`.
    `routes[...].routes` is about which routes stand below one, in their order; `targets` about the order alone.
    """

    path: str
    before: Any
    after: Any


def policy_digest(policy: Policy) -> str:
    """SHA-256 (64 hex digits) of the policy's canonical JSON: two policies with one digest decide alike.

    Without the addresses, which nobody shall guess from it; their targets' ids say which they are.
    """
    return hashlib.sha256(CANONICAL.encode(without_addresses(policy))).hexdigest()


def without_addresses(policy: Policy) -> Policy:
    """Give the policy with every address left empty, as the decision part of an entry holds it."""
    return with_addresses(policy, {})


def with_addresses(policy: Policy, addresses: Mapping[str, str]) -> Policy:
    """Give the policy with the addresses of these targets (id -> address); the others are empty."""
    targets = tuple(
        msgspec.structs.replace(target, address=addresses.get(target.id, "")) for target in policy.targets
    )
    return msgspec.structs.replace(policy, targets=targets)


def addresses_of(policy: Policy) -> dict[str, str]:
    """Give the addresses by the ids of their targets."""
    return {target.id: target.address for target in policy.targets}
