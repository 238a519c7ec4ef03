"""Entry: one input with the events that it caused for at most one incident; a line of the ledger."""

from collections.abc import Mapping

import msgspec

from tocsin.core.model.event import Decided

VERSION = 1
"""The version of the entry's form, as every header carries it."""


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
