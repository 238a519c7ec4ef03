"""Verify: was anything in the ledger changed, moved or removed? Found by recomputing all of it.

It notices what does not fit together. Who rewrites *everything*, roots included, is noticed by whoever kept an
older root; the checkpoints are made for that. Whether the events are the right ones is for a replay to say.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tocsin.core.ledger.encoding import Segment, read_decision, read_header, unpack
from tocsin.core.ledger.merkle import Frontier, hash_leaf
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.entry import VERSIONS, Decision, Header
from tocsin.core.model.event import PrivateErased

INTEGER_MAX = (1 << 53) - 1
"""The largest integer that every reader of JSON keeps (RFC 8785, RFC 7493)."""

ERASING = ("erased", "retention")
"""The kinds of entries that tell of private parts which were erased."""

_INCIDENT_ID = re.compile(r"[0-9a-f]{32}")
_COUNTS = 1 << 40  # (last seq, count) of an incident as last * _COUNTS + count
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Damaged(Exception):
    """What holds the ledger cannot be read any more from here on; says where. Stores raise it for `verify`."""


class Verdict(NamedTuple):
    """What verification found.

    size, root: of the entries that were read until then, all of them if none is wrong.
    bad_seq: the first wrong entry, None if none is. If only its segment can be told, the first of the segment.
    what: in words. root_then: of as many entries as were asked about, None if none were or there are fewer.
    """

    size: int
    root: bytes
    bad_seq: int | None = None
    what: str = ""
    root_then: bytes | None = None

    @property
    def is_sound(self) -> bool:
        return self.bad_seq is None


class End(NamedTuple):
    """Where the head says that the ledger ends. root: 32 bytes; edge: as `Frontier.pack` gives it.

    at: of the last entry, or of something later that left none.
    """

    size: int
    root: bytes
    edge: bytes
    at: int


def verify(
    segments: Iterable[Segment],
    *,
    size: int,
    root: bytes,
    edge: bytes | None = None,
    at: int | None = None,
    later: Iterable[Segment] = (),
    then: int | None = None,
) -> Verdict:
    """Recompute the ledger from its first entry.

    segments: in order of first_seq; that they raise Damaged is one of the things that can be wrong.
    size, root, edge, at: as the head says (see `End`), to be met exactly at the end; None for not to be checked.
    later: what was written behind it meanwhile; only asked, and checked as the rest, if it must be there that a
    private part was erased.
    then: a size of which somebody knows what the root was; the verdict says what it is.
    """
    walk = _Walk(then)
    try:
        for segment in segments:
            wrong = _segment(walk, segment)
            if wrong is not None:
                return walk.verdict(*wrong)
    except Damaged as error:
        return walk.verdict(walk.tree.size, str(error))
    tree = walk.tree
    if tree.size != size:
        return walk.verdict(
            max(0, min(tree.size, size)), f"the head counts {size} entries, there are {tree.size}"
        )
    last = max(0, size - 1)
    if tree.root() != root:
        return walk.verdict(last, "the head's root is not the root of the entries")
    if edge is not None and tree.pack() != edge:
        return walk.verdict(last, "the head's edge of the tree is not the one of the entries")
    if at is not None and at < walk.at:
        return walk.verdict(last, "the head says that the ledger ended before its last entry")
    if not (wrong_part := _erased(walk)):
        return walk.verdict()
    return _grown(walk, later, wrong_part)


def _grown(walk: "_Walk", later: Iterable[Segment], wrong: tuple[int, str]) -> Verdict:
    """Look whether what was written meanwhile says that the private parts were erased which are missing."""
    asked = walk.verdict()
    missing, told = [*walk.missing], [*walk.erased]
    try:
        for segment in later:
            found = _segment(walk, segment)
            if found is not None:
                return walk.verdict(*found)
    except Damaged as error:
        return walk.verdict(walk.tree.size, str(error))
    # What was there when it was read, and erased after that, is as it should be.
    since = [part for run in walk.erased[len(told) :] for part in _common(run, missing)]
    walk.missing, walk.erased = missing, told + since
    still = _erased(walk) if since else wrong
    return asked._replace(bad_seq=still[0], what=still[1]) if still else asked


def _common(run: tuple[int, int], runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give the parts of runs, (first, last) of each, that lie in one run."""
    first, last = run
    return [(max(first, a), min(last, b)) for a, b in runs if a <= last and first <= b]


class _Walk:
    """What is remembered from entry to entry. at, policy: of the last one.

    incidents: the last entry of each incident, and how many it had; in one integer, because there may be millions.
    missing: entries whose private part is gone; erased: those that a later entry says were erased. Both as (first,
    last) of runs.
    """

    def __init__(self, then: int | None) -> None:
        self.tree = Frontier()
        self.then = then
        self.root_then: bytes | None = None
        self.at = 0
        self.policy = 0
        self.incidents: dict[str, int] = {}
        self.missing: list[tuple[int, int]] = []
        self.erased: list[tuple[int, int]] = []

    def verdict(self, bad_seq: int | None = None, what: str = "") -> Verdict:
        return Verdict(self.tree.size, self.tree.root(), bad_seq, what, self.root_then)


def _segment(walk: _Walk, segment: Segment) -> tuple[int, str] | None:
    """Check one segment; None if it is sound, else the first wrong entry and what is wrong."""
    tree = walk.tree
    first, count = segment.first_seq, segment.count
    if first > tree.size:
        return tree.size, f"entries are missing: the next segment begins at {first}"
    if first < tree.size:
        return max(0, first), f"a segment begins at {first}, but entry {tree.size} comes next"
    misfit = None
    try:
        for header_bytes, decision, private in unpack(segment.data):
            header = _entry(walk, tree.size, header_bytes, decision, private)
            if isinstance(header, str):
                return tree.size, header
            if misfit is None and (what := _fit(walk, header)) is not None:
                misfit = tree.size, what
            tree.append(hash_leaf(header_bytes))
            if tree.size == walk.then:
                walk.root_then = tree.root()
    except ValueError as error:
        return tree.size, str(error)
    found = tree.size - first
    if found != count:
        return first + max(0, min(found, count)), f"the segment holds {found} entries instead of {count}"
    if not found:
        return first, "a segment is empty"
    if tree.root() != segment.root:
        # Some header was changed: one that does not fit, or one before it which the others no longer fit.
        return first, misfit[1] if misfit else "the tree's root after this segment is not the one recorded"
    return misfit


def _entry(walk: _Walk, seq: int, header_bytes: bytes, decision: bytes, private: bytes) -> Header | str:
    """Check what one entry says of itself; its header if that is sound, else what is wrong with it."""
    try:
        header = read_header(header_bytes)
    except _UNREADABLE as error:
        return f"the header cannot be read: {error}"
    # Also finds fields that no header has, keys that stand twice, white space, and bytes after the end.
    if CANONICAL.encode(header) != header_bytes:
        return "the header is not in canonical form"
    if header.v not in VERSIONS:
        return f"it has version {header.v}; this program knows up to {VERSIONS[-1]}"
    if header.seq != seq:
        return f"it says that it is entry {header.seq}"
    if hashlib.sha256(decision).hexdigest() != header.decision_hash:
        return "the decision was changed"
    if not private:
        _append(walk.missing, seq)
    elif hashlib.sha256(private).hexdigest() != header.private_hash:
        return "the private part was changed"
    try:
        read = read_decision(decision)
    except _UNREADABLE as error:
        return f"the decision cannot be read: {error}"
    if CANONICAL.encode(read) != decision:
        return "the decision is not in canonical form"
    if header.kind in ERASING and (what := _erases(walk, seq, read)) is not None:
        return what
    if not 0 <= header.at <= INTEGER_MAX or not 0 <= header.policy <= INTEGER_MAX:
        return "its instant or its policy is out of range"
    if not header.kind or not header.actor:
        return "it does not say what kind it is, or who caused it"
    if header.cause is not None and not 0 <= header.cause < seq:
        return f"its cause {header.cause} is not before it"
    if header.incident is None and (header.incident_n is not None or header.incident_prev is not None):
        return "it has links to an incident, but names none"
    if header.incident is not None and _INCIDENT_ID.fullmatch(header.incident) is None:
        return "the incident that it names is not 32 hex digits"
    return header


def _append(runs: list[tuple[int, int]], seq: int) -> None:
    if runs and runs[-1][1] == seq - 1:
        runs[-1] = runs[-1][0], seq
    else:
        runs.append((seq, seq))


def _erases(walk: _Walk, seq: int, decision: Decision) -> str | None:
    """Note what an entry says of parts that were erased; None if that can be, else what is wrong."""
    for event in decision.events:
        if isinstance(event, PrivateErased):
            for first, last in event.entries:
                if not 0 <= first <= last < seq:
                    return f"it says that entries {first} to {last} were erased, which do not lie before it"
                walk.erased.append((first, last))
    return None


def _erased(walk: _Walk) -> tuple[int, str] | tuple[()]:
    """Compare which private parts are gone with which were erased on the record; () if they are the same."""
    erased: list[tuple[int, int]] = []
    for first, last in sorted(walk.erased):
        if erased and first <= erased[-1][1] + 1:
            erased[-1] = erased[-1][0], max(erased[-1][1], last)
        else:
            erased.append((first, last))
    if erased == walk.missing:
        return ()
    told, gone = set(erased), set(walk.missing)
    wrong = min(told ^ gone)
    # Two runs that begin alike and end differently: the first difference lies behind the shorter one.
    ends = [last for first, last in told ^ gone if first == wrong[0]]
    first_wrong = min(ends) + 1 if len(ends) == 2 else wrong[0]
    if any(first <= first_wrong <= last for first, last in gone):
        return first_wrong, "the private part is missing, and no later entry says that it was erased"
    return first_wrong, "the private part is there, although a later entry says that it was erased"


def _fit(walk: _Walk, header: Header) -> str | None:
    """Check how an entry fits the ones before it, and remember it; None if it does, else what is wrong."""
    if header.at < walk.at:
        return "it is older than the entry before it"
    if header.policy < walk.policy:
        return f"it has policy {header.policy}, but the entry before it has {walk.policy} already"
    walk.at, walk.policy = header.at, header.policy
    if header.incident is None:
        return None
    known = walk.incidents.get(header.incident)
    if known is None:
        is_linked, count = header.incident_n == 0 and header.incident_prev is None, 0
    else:
        last, count = divmod(known, _COUNTS)
        is_linked = header.incident_n == count and header.incident_prev == last
    if not is_linked:
        return "its links to the entries of its incident are wrong"
    walk.incidents[header.incident] = header.seq * _COUNTS + count + 1
    return None
