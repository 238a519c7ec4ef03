"""What the shell needs from the world, as protocols. `wiring` alone chooses who plays which part."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.ledger.encoding import Segment
from tocsin.core.model.access import Role
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, Message, NotificationKind, Outcome, Target
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Silence


class Clock(Protocol):
    """World time, in integer microseconds UTC: never goes back, and steps of the wall clock are slewed."""

    def now(self) -> int: ...

    def wall(self) -> int:
        """Give the wall clock's own reading, for what other machines compare with theirs (signatures, dates)."""
        ...

    def not_before(self, at: int) -> None:
        """Let world time be at least `at` from now on, because what was decided at `at` lies behind us."""
        ...


class Ids(Protocol):
    """The randomness that security needs. Nothing else may be random."""

    def random_bytes(self, length: int) -> bytes: ...


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

    async def close(self) -> None: ...


class StoreFailed(Exception):
    """The store could not do it; whether a commit took effect is unknown until the head is read again."""


class StoreRefused(Exception):
    """The store cannot be used as it is (newer schema, weaker durability, another writer). Says the next step."""


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


class Batch(msgspec.Struct, kw_only=True):
    """All that one turn commits, at once or not at all.

    withheld: counts of withheld intents by reason, to be added to those kept.
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
    policy: tuple[int, str, Policy] | None = None
    withheld: Sequence[tuple[str, int]] = ()


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """All that state needs to go on. alerts, incidents: only the live ones, by number.

    A lease that was stored after its alert (its seen_at is later) is merged in: repeats, seen_at, lease. An older one
    is not: the alert's own row knew it already, and whatever happened to the alert since.
    """

    head: Head
    policies: Sequence[tuple[int, Policy]]
    incidents: Sequence[LiveIncident]
    alerts: Sequence[LiveAlert]
    deliveries: Sequence[LiveDelivery]
    rates: Sequence[tuple[str, RateWindow]]
    silences: Sequence[tuple[Silence, bool]]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer's token as it is stored: hash is of the token, which nobody keeps. revoked_at: None if it is not."""

    id: str
    name: str
    role: Role
    hash: str
    created_at: int
    revoked_at: int | None = None


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents are asked for; None and () are "all". after: list those with a lower number only."""

    states: tuple[IncidentState, ...] = ()
    severity: Severity | None = None
    rule_id: str | None = None
    after: int | None = None


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as people are shown it. due: the next attempt, None if there is none."""

    number: int
    key: str
    channel: str
    kind: NotificationKind
    state: DeliveryState
    attempts: int
    at: int
    due: int | None
    why: str


def number_of(id_or_number: str) -> int | None:
    """Read an incident's number out of its public id (the hex digits after the first 24) or a decimal.

    Whoever finds the incident still has to compare: the id must be its id, the decimal its number as it is written.
    """
    try:
        number = int(id_or_number[24:], 16) if len(id_or_number) >= 32 else int(id_or_number)
    except ValueError:
        return None
    return number if 0 < number < 1 << 62 else None


class Store(Protocol):
    """What Tocsin remembers. Writing is for one thread; reading for any, and sees only what was committed."""

    def load(self) -> Memory:
        """Read all that state needs. Raises: StoreFailed."""
        ...

    def commit(self, batch: Batch) -> None:
        """Make a turn durable: when this returns, it survives a loss of power. Raises: StoreFailed."""
        ...

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        """Give those of these alerts that are stored, but not live, by number; in one question."""
        ...

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        """Give the leases of these alerts (number -> lease) that were stored after the alerts themselves."""
        ...

    def alive(self, at: int) -> None:
        """Note that somebody listens. Raises: StoreFailed."""
        ...

    def secret(self, name: str) -> bytes | None:
        """Give a secret that belongs to the store (`id_key`), None if it has none."""
        ...

    def keep_secret(self, name: str, value: bytes) -> None:
        """Keep a secret, once. Raises: StoreFailed if there is one of that name."""
        ...

    def put_token(self, token: Token) -> None:
        """Keep a token, or replace the one with its id. Safe from any thread. Raises: StoreFailed."""
        ...

    def tokens(self) -> list[Token]:
        """Give all tokens, oldest first."""
        ...

    def head(self) -> Head:
        """Read where the ledger ends."""
        ...

    def segments(self, first_seq: int = 0) -> Iterator[Segment]:
        """Give the segments in order, from the one that holds `first_seq`."""
        ...

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        """Give the header, decision and private bytes of an entry."""
        ...

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        """Give an incident's title and labels."""
        ...

    def message(self, notification: int) -> Message | None:
        """Give what a notification says."""
        ...

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        """Give the newest incidents that fit, and how many fit in all (`after` left aside)."""
        ...

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        """Find an incident by its id or by its number in decimal; also one that is long over."""
        ...

    def members(self, incident: int) -> list[LiveAlert]:
        """Give the alerts that ever were in an incident, in the order in which Tocsin first saw them."""
        ...

    def incident_view(self, number: int) -> IncidentView | None:
        """Give an incident as people are shown it."""
        ...

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        """Give the deliveries about an incident, oldest first."""
        ...

    def counts(self) -> dict[str, int]:
        """Count deliveries by state, and withheld intents as `withheld:<reason>`."""
        ...

    def close(self) -> None: ...
