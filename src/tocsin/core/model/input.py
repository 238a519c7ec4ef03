"""Input: anything that arrives and can change a decision. `at` comes beside it; the core holds no clock."""

import hashlib
from enum import StrEnum

import msgspec

from tocsin.core.model.access import Permission, Token
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.notification import Outcome
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Matcher


class Manual(msgspec.Struct, frozen=True, kw_only=True):
    """A person or program says: tell these channels now. channels: () for those of the route."""

    channels: tuple[str, ...] = ()
    dry_run: bool = False


class AlertReceived(msgspec.Struct, gc=False):
    """An alert came in.

    fingerprint: of its rule and scope, 32 bytes; named: canonical JSON of the two, left open at its end for more.
    id: as state keys the alert, 16 bytes; b"" until whoever drives the core has asked `State.alert_id`.
    """

    alert: Alert
    fingerprint: bytes
    named: bytes
    manual: Manual | None = None
    id: bytes = b""


def received(alert: Alert) -> AlertReceived:
    """Make the input of an alert: its fingerprint is SHA-256 of the canonical JSON of {rule_id, scope}."""
    scope = CANONICAL.encode(alert.scope)
    named = b'{"rule_id":%s,"scope":%s' % (CANONICAL.encode(alert.rule_id), scope)
    return AlertReceived(alert, hashlib.sha256(named + b"}").digest(), named)


class Action(StrEnum):
    """What a person may do to an incident."""

    ACK = "ack"
    UNACK = "unack"
    SILENCE = "silence"
    UNSILENCE = "unsilence"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    NOTE = "note"


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody did something to an incident. until: for a silence, 0 for open-ended."""

    action: Action
    incident: int
    note: str = ""
    until: int = 0


class BulkActed(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody did the same to several incidents, each named once. Those that cannot take it are left as they are."""

    action: Action
    incidents: tuple[int, ...]
    note: str = ""
    until: int = 0


class SilenceRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants silence, [starts_at, ends_at). forced: even if it covers everything."""

    matchers: tuple[Matcher, ...]
    starts_at: int
    ends_at: int
    comment: str = ""
    forced: bool = False


class SilenceMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody gives a silence another end, which lies in the future."""

    silence: int
    ends_at: int


class SilenceCut(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody ends a silence early."""

    silence: int


class MaintenanceRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants silence again and again. Fields as in `Maintenance`; forced: as in SilenceRequested."""

    matchers: tuple[Matcher, ...]
    rrule: str
    zone: str
    begins: str
    lasting: int
    comment: str = ""
    forced: bool = False


class MaintenanceCut(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody ends a maintenance; a silence that it made and that acts now ends with it."""

    maintenance: int


class DeliveryRetryAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants a delivery attempted now. forced: even if it was told already."""

    delivery: int
    forced: bool = False


class DeliveryDiscardAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody gives a delivery up, for a reason."""

    delivery: int
    reason: str


class TokenIssued(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody made a token."""

    token: Token


class TokenCut(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody revoked a token that is there."""

    token: str


class Denial(StrEnum):
    """Why somebody was turned away."""

    SIGN_IN = "sign_in"
    PERMISSION = "permission"
    LIMIT = "limit"


class Basis(StrEnum):
    """Why private parts are erased."""

    ENTRY = "entry"
    SUBJECT = "subject"
    RETENTION = "retention"


class AccessDenied(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody was turned away, `count` times since that was last recorded.

    permission: the one that was missing, None if it is about another reason; client: where from, a network address.
    """

    reason: Denial
    count: int
    client: str = ""
    permission: Permission | None = None


class StoreRestored(msgspec.Struct, frozen=True, kw_only=True):
    """The store was put back from a backup that held `size` entries and was made at that moment."""

    size: int
    made_at: int


class LedgerNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger has this name from now on."""

    origin: str


class LedgerFork(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger goes on from an older state of it. Fields as in `LedgerForked`; reason: in somebody's words."""

    origin: str
    known_size: int
    known_root: str
    reason: str = ""


class KeysChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Another key signs the checkpoints from now on, or one of them no longer does. adopt, retire: as vkeys."""

    adopt: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()


class ErasureAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Private parts shall be erased. entries: seqs, rising.

    incidents, silences, maintenances, policies: numbers of those that they are about; alerts: ids (16 bytes).
    notifications: numbers of those that say what is to be erased.
    reason: in somebody's words; it is kept in the private part of the entry that this makes.
    """

    entries: tuple[int, ...]
    basis: Basis
    reason: str
    alerts: tuple[bytes, ...] = ()
    incidents: tuple[int, ...] = ()
    silences: tuple[int, ...] = ()
    maintenances: tuple[int, ...] = ()
    policies: tuple[int, ...] = ()
    notifications: tuple[int, ...] = ()


class RetentionDue(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept for long enough goes: private parts of entries (seqs), and incidents (numbers); both rising.

    about: numbers of the incidents that the entries are about.
    """

    entries: tuple[int, ...] = ()
    about: tuple[int, ...] = ()
    incidents: tuple[int, ...] = ()


class OutcomeReported(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt ended. attempt: which one, counting from 1."""

    delivery: int
    attempt: int
    outcome: Outcome


class AlertExpired(msgspec.Struct, frozen=True, kw_only=True):
    """A lease ran out: the sender no longer vouches for the alert. id: 16 bytes, as state keys it."""

    id: bytes


class PolicyChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The operator changed the rules of the house."""

    policy: Policy


class NodeStart(msgspec.Struct, frozen=True, kw_only=True):
    """A node begins to listen. gap: microseconds since anybody last did, 0 at the very first start."""

    gap: int


class Tick(msgspec.Struct, frozen=True):
    """Time passed; whatever is due is decided."""


Input = (
    AlertReceived
    | Acted
    | BulkActed
    | SilenceRequested
    | SilenceMoved
    | SilenceCut
    | MaintenanceRequested
    | MaintenanceCut
    | DeliveryRetryAsked
    | DeliveryDiscardAsked
    | TokenIssued
    | TokenCut
    | AccessDenied
    | StoreRestored
    | LedgerNamed
    | LedgerFork
    | KeysChanged
    | ErasureAsked
    | RetentionDue
    | OutcomeReported
    | AlertExpired
    | PolicyChanged
    | NodeStart
    | Tick
)
