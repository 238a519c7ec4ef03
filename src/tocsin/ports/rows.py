"""Rows: what one turn gives the store to keep."""

from collections.abc import Sequence

import msgspec

from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.ledger.encoding import Segment
from tocsin.core.model.access import Token
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ledger ends. at: of the last entry or lease; alive_at: when the node last said that it listens.

    edge: the tree's right edge, as `Frontier.pack` gives it.
    """

    size: int
    root: bytes
    edge: bytes
    at: int
    alive_at: int
    counters: Counters


class IncidentRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An incident to remember. live: whether state must know it; title, labels: given once, at its opening."""

    incident: LiveIncident
    live: bool
    title: str | None = None
    labels: dict[str, str] | None = None


class AlertRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An alert to remember. is_new: it was never stored; joined: incidents that it newly is a member of."""

    alert: LiveAlert
    live: bool
    is_new: bool
    joined: tuple[int, ...] = ()


class NotificationRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A notification that was decided, with what it says (canonical JSON of a Message)."""

    number: int
    id: str
    incident: int
    kind: NotificationKind
    at: int
    message: bytes


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a delivery stands. why: the last outcome in words, which may be a provider's."""

    delivery: LiveDelivery
    state: DeliveryState
    at: int
    why: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt that ended. attempt: which one, from 1; outcome: the tag of its Outcome, such as `retry`."""

    delivery: int
    attempt: int
    at: int
    outcome: str
    why: str


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the policy, with who brought it and when."""

    version: int
    digest: str
    policy: Policy
    at: int
    actor: str


class SignerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs checkpoints. vkey: its public half, as signed notes write it.

    adopted_seq, retired_seq: the entries that said so; in a batch, None for what does not change.
    """

    vkey: str
    adopted_seq: int | None = None
    retired_seq: int | None = None


class Redacted(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure takes out of rows that stay, besides alerts, which are rows of the batch like others.

    segments: as they are now; only their data differs. incidents: whose title, labels and the words of whose
    deliveries go; deliveries: others whose words go; notifications: (number, what is left of what they say).
    """

    segments: Sequence[Segment] = ()
    incidents: Sequence[int] = ()
    deliveries: Sequence[int] = ()
    notifications: Sequence[tuple[int, bytes]] = ()
    silences: Sequence[Silence] = ()
    maintenances: Sequence[Maintenance] = ()
    policies: Sequence[PolicyRow] = ()
    tokens: Sequence[str] = ()


class Batch(msgspec.Struct, kw_only=True):
    """All that one turn commits, at once or not at all.

    incidents: one with live=False left state now, and one that came back is in `recalled`, with its live row here too.
    attempts: those that failed; a delivery's own row tells of the last one.
    maintenances: with the moment at which each opens next.
    tokens, revoked: new ones, and the ids of those that open nothing any more (at head.at).
    withheld: counts of withheld intents by reason, to be added to those kept.
    tiles: roots of tiles that are full now, see `Frontier.completed`.
    signers: keys of checkpoints that come or go; origins: (seq, name) from which on the ledger is called so.
    redacted: what an erasure takes away; pruned: numbers of incidents that go, as (first, last) of runs.
    """

    head: Head
    segment: Segment | None = None
    incidents: Sequence[IncidentRow] = ()
    alerts: Sequence[AlertRow] = ()
    leases: Sequence[LiveAlert] = ()
    notifications: Sequence[NotificationRow] = ()
    new_deliveries: Sequence[DeliveryRow] = ()
    deliveries: Sequence[DeliveryRow] = ()
    rates: Sequence[tuple[str, RateWindow]] = ()
    silences: Sequence[tuple[Silence, bool]] = ()
    ended_silences: Sequence[int] = ()
    recalled: Sequence[LiveIncident] = ()
    attempts: Sequence[Attempt] = ()
    maintenances: Sequence[tuple[Maintenance, int]] = ()
    ended_maintenances: Sequence[int] = ()
    policy: PolicyRow | None = None
    tokens: Sequence[Token] = ()
    revoked: Sequence[str] = ()
    withheld: Sequence[tuple[str, int]] = ()
    tiles: Sequence[tuple[int, int, bytes]] = ()
    signers: Sequence[SignerRow] = ()
    origins: Sequence[tuple[int, str]] = ()
    redacted: Redacted | None = None
    pruned: Sequence[tuple[int, int]] = ()
