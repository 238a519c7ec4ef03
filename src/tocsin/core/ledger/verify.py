"""Verify: was anything in the ledger changed, moved or removed? Found by recomputing all of it.

It notices what does not fit together. Who rewrites *everything*, roots included, is noticed by whoever kept an
older root; the checkpoints are made for that.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tocsin.core.ledger.encoding import Segment, read_decision, read_header, unpack
from tocsin.core.ledger.merkle import Frontier, hash_leaf
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.entry import VERSION, Header


class Verdict(NamedTuple):
    """What verification found. bad_seq: the first entry that is wrong, None if none is; what: in words."""

    size: int
    root: bytes
    bad_seq: int | None = None
    what: str = ""

    @property
    def is_sound(self) -> bool:
        return self.bad_seq is None


def verify(segments: Iterable[Segment], *, size: int, root: bytes) -> Verdict:
    """Recompute the ledger from its first entry.

    segments: in order of first_seq. size, root: as the head says, to be met exactly at the end.
    """
    tree = Frontier()
    last_of: dict[str, tuple[int, int]] = {}
    last_at = 0
    for segment in segments:
        if segment.first_seq != tree.size:
            return _bad(
                tree, tree.size, f"entries are missing: the next segment begins at {segment.first_seq}"
            )
        try:
            entries = list(unpack(segment.data))
        except ValueError as error:
            return _bad(tree, tree.size, str(error))
        for header_bytes, decision, private in entries:
            what = _entry(header_bytes, decision, private, tree.size, last_at, last_of)
            if isinstance(what, str):
                return _bad(tree, tree.size, what)
            last_at = what.at
            tree.append(hash_leaf(header_bytes))
        if len(entries) != segment.count:
            return _bad(
                tree, tree.size, f"the segment holds {len(entries)} entries instead of {segment.count}"
            )
        if tree.root() != segment.root:
            return _bad(tree, segment.first_seq, "the tree's root after this segment is not the one recorded")
    if tree.size != size:
        return _bad(tree, min(tree.size, size), f"the head counts {size} entries, there are {tree.size}")
    if tree.root() != root:
        return _bad(tree, max(0, size - 1), "the head's root is not the root of the entries")
    return Verdict(tree.size, tree.root())


def _bad(tree: Frontier, seq: int, what: str) -> Verdict:
    return Verdict(tree.size, tree.root(), seq, what)


def _entry(
    header_bytes: bytes,
    decision: bytes,
    private: bytes,
    seq: int,
    last_at: int,
    last_of: dict[str, tuple[int, int]],
) -> Header | str:
    """Check one entry; the header if it is sound, else what is wrong with it."""
    try:
        header = read_header(header_bytes)
        read_decision(decision)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"it cannot be read: {error}"
    if CANONICAL.encode(header) != header_bytes:
        return "the header is not in canonical form"
    if header.v != VERSION:
        return f"it has version {header.v}; this program knows {VERSION}"
    if header.seq != seq:
        return f"it says that it is entry {header.seq}"
    if header.at < last_at:
        return "it is older than the entry before it"
    if hashlib.sha256(decision).hexdigest() != header.decision_hash:
        return "the decision was changed"
    if hashlib.sha256(private).hexdigest() != header.private_hash:
        return "the private part was changed" if private else "the private part is missing"
    if header.cause is not None and not 0 <= header.cause < seq:
        return f"its cause {header.cause} is not before it"
    if header.incident is None:
        return header
    count, last = last_of.get(header.incident, (0, -1))
    if (
        header.incident_n != count
        or (header.incident_prev if header.incident_prev is not None else -1) != last
    ):
        return "its links to the entries of its incident are wrong"
    last_of[header.incident] = (count + 1, seq)
    return header
