"""What the shell needs from the world, as protocols. `wiring` alone chooses who plays which part."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, Self, cast, runtime_checkable

import msgspec

from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.ledger.encoding import Segment
from tocsin.core.model.access import Token
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, Message, NotificationKind, Outcome, Target
from tocsin.core.model.policy import Policy
from tocsin.core.model.rule import Ask, Series
from tocsin.core.model.silence import Maintenance, Silence


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


class SourceFailed(Exception):
    """A source gave no answer. The message says why and is fit to be shown: neither a secret nor data stands in it.

    is_away: the source itself does not work; otherwise it is this question that it cannot answer.
    """

    def __init__(self, message: str, *, is_away: bool) -> None:
        super().__init__(message)
        self.is_away = is_away


class Source(Protocol):
    """Where rules get their numbers. It only reads, in bounded time, and gives a bounded answer.

    name: as the operator calls it (unique); kind: `sql`, `prometheus`, `http`, ...
    """

    name: str
    kind: str

    def check(self, query: str) -> None:
        """Refuse a query that this source would never answer, without asking anybody. Raises: Invalid.

        That it passes is no promise: what a name in it leads to, only who is asked can tell.
        """
        ...

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """Give the series of a question with their finite points in [since, until), the oldest first.

        No point is no data.
        Raises: SourceFailed. An answer that could be misread is refused, too, and never guessed at.
        """
        ...

    async def close(self) -> None: ...


class StoreFailed(Exception):
    """The store could not do it; whether a commit took effect is unknown until the head is read again."""


class StoreRefused(Exception):
    """The store cannot be used as it is (newer schema, weaker durability, another writer). Says the next step."""


class StoreHeld(StoreRefused):
    """Another process has it; perhaps only for the moment in which it looks."""


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
    maintenances: Sequence[tuple[Maintenance, int]] = ()


class News(Memory, frozen=True, kw_only=True):
    """What other nodes changed since this one last knew everything, as it stands now; besides, see `Memory`.

    incidents, alerts: those that are live; gone_incidents, gone_alerts (ids): those that are not any more.
    deliveries: pending ones; ended: numbers of those that are not any more.
    silences, maintenances: all of them, if others changed any (has_silences, has_maintenances).
    erased: texts were taken out of rows; has_tokens: others made or revoked tokens.
    """

    gone_incidents: Sequence[int] = ()
    gone_alerts: Sequence[bytes] = ()
    ended: Sequence[int] = ()
    has_silences: bool = False
    has_maintenances: bool = False
    erased: bool = False
    has_tokens: bool = False


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands when a turn begins that no other node can come between.

    at: the time, the same for all nodes, microseconds UTC; alive_at: when any of them was last known to listen.
    news: None if nobody changed anything. is_behind: what changed is no longer known; load everything.
    taken: deliveries that were another node's, which is gone, and are ours now.
    leads: of all nodes this one does what only one needs to do.
    dispossessed: this node was gone, and what was its own may be others' now.
    holds: false if no turn began, since there was too much to catch up with; that is known now, so begin again.
    """

    at: int
    alive_at: int
    news: News | None = None
    is_behind: bool = False
    leads: bool = True
    taken: Sequence[int] = ()
    dispossessed: bool = False
    holds: bool = True


class Shared(Protocol):
    """What a store can do besides, if several nodes write to it.

    Each pending delivery is owned by one node, which alone attempts it; by the one that commits it, at first.
    name: the database, as people are told of it; url: with its password, if that stands in it.
    living: how many nodes counted as living when this one, which is among them, last said that it is.
    """

    name: str
    url: str
    living: int

    def begin(self) -> Begun:
        """Begin a turn: until `commit` or `release` no other node decides anything. Raises: StoreFailed."""
        ...

    def release(self) -> None:
        """End a turn that commits nothing. Raises: StoreFailed."""
        ...

    def owns(self, delivery: int) -> bool:
        """Say whether this node is to attempt a pending delivery, as of its last commit or `begin`."""
        ...

    def sign_off(self) -> None:
        """Say that this node lives no more, so that the others take over without waiting. Raises: StoreFailed."""
        ...


def shared(store: "Store") -> Shared | None:
    """Give what a store can do besides if several nodes write to it, None if only one does."""
    return cast(Shared, store) if hasattr(store, "begin") else None


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents are asked for; None and () are "all". after: list those with a lower number only.

    scope: (label, value) pairs that all stand in the incident's labels; text: in its title, whatever the case.
    since, until: opened in [since, until).
    """

    states: tuple[IncidentState, ...] = ()
    severity: Severity | None = None
    rule_id: str | None = None
    scope: tuple[tuple[str, str], ...] = ()
    text: str = ""
    since: int | None = None
    until: int | None = None
    after: int | None = None


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, in microseconds, over `count` incidents; p50 and p90 within 5 %, None without any."""

    count: int
    p50: int | None
    p90: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents in numbers.

    by_rule: rule, how many in all, how many not resolved; those with the most first, at most 50.
    acknowledged, resolved: from opening to the first acknowledgement and to resolution, of those resolved in
    [since, until), by whole days UTC.
    """

    total: int
    by_state: dict[IncidentState, int]
    by_severity: dict[Severity, int]
    by_rule: list[tuple[str, int, int]]
    acknowledged: Durations
    resolved: Durations


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are asked for; None and () are "all". after: list those with a lower number only.

    since, until: of notifications decided in [since, until); rule_id: of incidents of this rule.
    """

    states: tuple[DeliveryState, ...] = ()
    channel: str | None = None
    incident: int | None = None
    rule_id: str | None = None
    since: int | None = None
    until: int | None = None
    after: int | None = None


class SilenceView(msgspec.Struct, frozen=True, kw_only=True):
    """A silence as people are shown it. ended_at: None while it has not ended; ends_at is what was planned."""

    silence: Silence
    began: bool
    ended_at: int | None


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as people are shown it. due: the next attempt, None if there is none.

    target: the target's id; incident: its number, 0 for none; at: of the last change.
    dry_run: it was a drill, and reaches nobody.
    """

    number: int
    notification: int
    incident: int
    target: str
    key: str
    channel: str
    kind: NotificationKind
    state: DeliveryState
    attempts: int
    at: int
    due: int | None
    why: str
    dry_run: bool = False

    @classmethod
    def of(cls, row: DeliveryRow) -> Self:
        """Show a delivery as it stands."""
        delivery = row.delivery
        return cls(
            number=delivery.number,
            notification=delivery.notification,
            incident=delivery.incident,
            target=delivery.target,
            key=delivery.key,
            channel=delivery.channel,
            kind=delivery.kind,
            state=row.state,
            attempts=delivery.attempts,
            at=row.at,
            due=delivery.due if row.state is DeliveryState.PENDING else None,
            why=row.why,
            dry_run=delivery.dry_run,
        )


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
    """What Tocsin remembers. Writing is for one thread; reading for any, and sees only what was committed.

    Any text comes back as it was. What rows are found by (ids, rules, channels, reasons) has at most 256 characters.
    """

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

    def put_secret(self, name: str, value: bytes) -> None:
        """Keep a secret, or replace the one of that name. Raises: StoreFailed."""
        ...

    def put_token(self, token: Token) -> None:
        """Keep a token, or replace the one with its id. Safe from any thread. Raises: StoreFailed."""
        ...

    def tokens(self) -> list[Token]:
        """Give all tokens, oldest first."""
        ...

    def put_evaluations(self, rows: Mapping[str, bytes | None]) -> None:
        """Keep what rules remember (rule_id -> bytes; None for a rule that is to be forgotten), all of it or nothing.

        Safe from any thread. Raises: StoreFailed.
        """
        ...

    def evaluations(self) -> dict[str, bytes]:
        """Give what all rules remember, by rule_id."""
        ...

    def put_checkpoint(self, size: int, note: bytes) -> None:
        """Keep a signed checkpoint that hands over from one key to another. Safe from any thread.

        Raises: StoreFailed.
        """
        ...

    def head(self) -> Head:
        """Read where the ledger ends."""
        ...

    def tiles(self, level: int, first: int, count: int) -> list[bytes]:
        """Give the roots of full tiles (32 bytes each) that are there, of `count` from number `first`; level from 1."""
        ...

    def signers(self) -> list[SignerRow]:
        """Give the keys that ever signed checkpoints, in the order in which they were adopted."""
        ...

    def origins(self) -> list[tuple[int, str]]:
        """Give (seq, name) of what the ledger is called from which entry on, in order."""
        ...

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Give (size, note) of the checkpoints that were kept, by size."""
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

    def is_live(self, incident: int) -> bool:
        """Say whether state knows an incident."""
        ...

    def resolved_before(self, before: int, limit: int) -> list[int]:
        """Give the lowest numbers of incidents that state does not know, and that were resolved before a moment."""
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

    def stats(self, since: int, until: int) -> Stats:
        """Count incidents, and say how long people took; see Stats for what the two bound."""
        ...

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> tuple[list[DeliveryView], int]:
        """Give the newest deliveries that fit, and how many fit in all (`after` left aside)."""
        ...

    def delivery(self, number: int) -> DeliveryRow | None:
        """Give a delivery as it stands."""
        ...

    def delivery_view(self, number: int) -> DeliveryView | None:
        """Give a delivery as people are shown it."""
        ...

    def attempts_of(self, delivery: int) -> list[Attempt]:
        """Give the attempts of a delivery that failed, first to last."""
        ...

    def list_silences(
        self, *, ended: bool | None, after: int | None, limit: int
    ) -> tuple[list[SilenceView], int]:
        """Give the newest silences, and how many fit in all. ended: None for all; after: lower numbers only."""
        ...

    def find_silence(self, id_or_number: str) -> SilenceView | None:
        """Find a silence by its id or number, also one that is over."""
        ...

    def list_maintenances(self) -> list[tuple[Maintenance, int, bool]]:
        """Give all maintenances, newest first: when each opens next (0 for never again), and whether it is over."""
        ...

    def policies(self, after: int | None, limit: int) -> list[PolicyRow]:
        """Give the newest versions of the policy, those below `after` if it is given."""
        ...

    def policy(self, version: int) -> PolicyRow | None:
        """Give one version of the policy."""
        ...

    def alerts_seen(self, since: int) -> Iterator[LiveAlert]:
        """Give the alerts that are live, then those that are not and were last seen at `since` or later."""
        ...

    def kept(self) -> dict[str, int]:
        """Give sizes for the operator: bytes of the file(s) and rows of the large tables, by name."""
        ...

    def counts(self) -> dict[str, int]:
        """Count deliveries by state, and withheld intents as `withheld:<reason>`."""
        ...

    def close(self) -> None: ...
