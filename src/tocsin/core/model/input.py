"""Input: anything that arrives and can change a decision. `at` comes beside it; the core holds no clock."""

from enum import StrEnum

import msgspec

from tocsin.core.model.alert import Alert
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


class SilenceRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants silence, [starts_at, ends_at)."""

    matchers: tuple[Matcher, ...]
    starts_at: int
    ends_at: int
    comment: str = ""


class SilenceCut(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody ends a silence early."""

    silence: int


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
    | SilenceRequested
    | SilenceCut
    | OutcomeReported
    | AlertExpired
    | PolicyChanged
    | NodeStart
    | Tick
)
