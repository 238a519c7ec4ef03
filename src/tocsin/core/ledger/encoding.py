"""Encoding: the bytes of an entry. What is hashed, and how entries lie together in a segment.

Canonical JSON: sorted keys, no white space, UTF-8, integers only, instants in microseconds. Byte-equal to RFC 8785
in that subset; the golden vectors in the tests hold every later version to it. One difference: keys are sorted by
code point, there by UTF-16 unit, so a label with an emoji and one with a character from U+E000 to U+FFFF change
places. Only a private part can hold such keys.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.entry import VERSION, Decision, Draft, Header
from tocsin.core.model.event import PolicyAdopted
from tocsin.core.model.notification import Outcome
from tocsin.core.model.policy import Change, Policy, addresses_of, without_addresses
from tocsin.core.model.silence import Maintenance, Silence

NONCE_BYTES = 16
_LENGTHS = struct.Struct("<III")


class Private(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part that privacy law may have erased.

    nonce: 32 hex digits, so that its hash cannot be guessed.
    addresses: of a policy's targets, by their ids; changes: to the policy before this one.
    client: a network address; name: of a token. policy: only in version 1, where it stood here as a whole.
    """

    nonce: str
    addresses: dict[str, str] = {}
    alert: Alert | None = None
    changes: tuple[Change, ...] = ()
    client: str = ""
    maintenance: Maintenance | None = None
    name: str = ""
    note: str = ""
    outcome: Outcome | None = None
    policy: Policy | None = None
    silence: Silence | None = None

    def named(self) -> dict[str, object]:
        """Give the parts that are there by name, as a draft holds them."""
        return {name: value for name in _PRIVATE if (value := getattr(self, name))}


_PRIVATE = tuple(name for name in Private.__struct_fields__ if name != "nonce")
_encode = CANONICAL.encode
_header = msgspec.json.Decoder(Header)
_decision = msgspec.json.Decoder(Decision)
_private = msgspec.json.Decoder(Private)


class Sealed(NamedTuple):
    """An entry as bytes. private: empty once it was erased; leaf: the hash of the header in the tree."""

    header: bytes
    decision: bytes
    private: bytes
    leaf: bytes


class Segment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Entries that were committed together. root: of the tree after them, 32 bytes; data: as `pack` gives it."""

    first_seq: int
    count: int
    root: bytes
    data: bytes


def seal(
    draft: Draft,
    *,
    seq: int,
    at: int,
    policy: int,
    cause: int | None,
    incident: tuple[str, int, int | None] | None,
    nonce: bytes,
) -> Sealed:
    """Turn a draft into the entry at `seq`.

    incident: its public id, how many of its entries came before, and the seq of the last of them.
    nonce: 16 bytes that nobody can guess.
    """
    decision = _encode(Decision(events=draft.events, late_by=draft.late_by))
    private = _encode({**draft.private, "nonce": nonce.hex()})  # A Private, without the cost of making one.
    incident_id, incident_n, incident_prev = incident if incident is not None else (None, None, None)
    header = _encode(
        Header(
            actor=draft.actor,
            at=at,
            cause=cause,
            decision_hash=hashlib.sha256(decision).hexdigest(),
            incident=incident_id,
            incident_n=incident_n,
            incident_prev=incident_prev,
            kind=draft.kind,
            policy=policy,
            private_hash=hashlib.sha256(private).hexdigest(),
            seq=seq,
            v=VERSION,
        )
    )
    return Sealed(header, decision, private, hash_leaf(header))


def read_header(data: bytes) -> Header:
    """Read a header. Raises: msgspec.DecodeError or ValidationError if these bytes are none."""
    return _header.decode(data)


def read_decision(data: bytes) -> Decision:
    """Read a decision. Raises: as `read_header`."""
    return _decision.decode(data)


def read_private(data: bytes) -> Private:
    """Read a private part. Raises: as `read_header`."""
    return _private.decode(data)


class Entry(NamedTuple):
    """An entry, read. private: None if it was erased."""

    header: Header
    decision: Decision
    private: Private | None


def read_entry(header: bytes, decision: bytes, private: bytes) -> Entry:
    """Read an entry of any version in today's form. Raises: as `read_header`."""
    entry = Entry(
        _header.decode(header), _decision.decode(decision), _private.decode(private) if private else None
    )
    return _upcast(entry) if entry.header.v == 1 else entry


def _upcast(entry: Entry) -> Entry:
    """Give an entry of version 1 as version 2 writes it: a policy stands in the decision, its addresses beside."""
    private = entry.private
    if private is None or private.policy is None:
        return entry
    policy = private.policy
    events = tuple(
        msgspec.structs.replace(event, policy=without_addresses(policy))
        if isinstance(event, PolicyAdopted)
        else event
        for event in entry.decision.events
    )
    return Entry(
        entry.header,
        msgspec.structs.replace(entry.decision, events=events),
        msgspec.structs.replace(private, policy=None, addresses=addresses_of(policy)),
    )


def pack(entries: list[Sealed]) -> bytes:
    """Lay entries side by side in a segment: three lengths (little-endian uint32), then the three parts, each."""
    parts: list[bytes] = []
    for header, decision, private, _ in entries:
        parts += (_LENGTHS.pack(len(header), len(decision), len(private)), header, decision, private)
    return b"".join(parts)


def unpack(segment: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give the (header, decision, private) bytes of each entry of a segment.

    Raises: ValueError if the lengths do not fit the bytes.
    """
    position = 0
    while position < len(segment):
        if position + _LENGTHS.size > len(segment):
            raise ValueError("the segment ends inside an entry's lengths")
        header, decision, private = _LENGTHS.unpack_from(segment, position)
        start = position + _LENGTHS.size
        position = start + header + decision + private
        if position > len(segment):
            raise ValueError("the segment ends inside an entry")
        middle = start + header
        yield (
            segment[start:middle],
            segment[middle : middle + decision],
            segment[middle + decision : position],
        )
