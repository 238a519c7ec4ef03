"""Entry: one input with the events that it caused for at most one incident; a line of the ledger."""

from collections.abc import Mapping

import msgspec

from tocsin.core.model.event import Decided

VERSION = 2
"""The version of the entry's form that is written, as every header carries it."""

VERSIONS = (1, 2)
"""The versions that can be read.

In version 1 the policy stood in the private part, with its addresses, and the beginning of a silence did not name the
alerts that it covers.
"""


KINDS: dict[str, str] = {
    "alert": "an alert came in",
    "expiry": "nobody vouched for an alert any more",
    "send": "somebody tried out a sending (dry run)",
    "outcome": "an attempt to tell somebody ended",
    "action": "somebody did something to an incident",
    "bulk": "somebody did the same to several incidents; their entries follow",
    "delivery": "somebody wanted a delivery again, or gave it up",
    "silence": "somebody made, moved or ended a silence",
    "maintenance": "somebody made or ended a maintenance",
    "token": "somebody made or revoked a token",
    "access": "somebody was turned away",
    "policy": "the policy changed",
    "cancelled": "what waited for a target that is gone was cancelled",
    "node": "a node began to listen",
    "restored": "the data was put back from a backup",
    "ledger": "the ledger got its name, or a key that signs its checkpoints came or went",
    "erased": "somebody had private parts erased",
    "retention": "what was kept for long enough was erased",
    "due_flush": "it was time to compare what people know of an incident",
    "due_ack": "an acknowledgement lapsed",
    "due_unsilence": "an incident's own silence ran out",
    "due_digest": "it was time to tell what the rate limit withheld",
    "due_silence_begin": "a silence began",
    "due_silence_end": "a silence ended",
    "due_maintenance": "a window of a maintenance opened",
}
"""Every kind of input that leaves an entry, and what it says; `due_` for those that time brought about."""


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is hashed into the tree. Every field is always present.

    seq: counts from 0 without gaps; cause: seq of the entry that this one follows from.
    incident: public id, 32 hex digits; incident_n: how many entries of that incident came before this one;
    incident_prev: seq of the last of them. All three are None for an entry that touches no incident.
    actor: who made the input, such as `token:7f3a` or `system`; policy: version in force.
    decision_hash, private_hash: SHA-256 (64 hex digits) of the two parts' bytes.
    """

    actor: str
    at: int
    cause: int | None
    decision_hash: str
    incident: str | None
    incident_n: int | None
    incident_prev: int | None
    kind: str
    policy: int
    private_hash: str
    seq: int
    v: int


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What folding needs, and what is never erased. late_by: microseconds by which a timer came late."""

    events: tuple[Decided, ...]
    late_by: int = 0


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry before it has its place in the ledger.

    incident: number of the incident that it touches, 0 for none.
    follows: whether it follows from an earlier entry: the last one before it, within the same input, that follows
    from none. That one is its cause.
    private: what may be erased later, by name; values are text, structs of text, or lists of them.
    """

    kind: str
    actor: str
    events: tuple[Decided, ...]
    incident: int = 0
    follows: bool = False
    private: Mapping[str, object] = {}
    late_by: int = 0
