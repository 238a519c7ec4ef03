"""Check: is a checkpoint, a proof or an envelope what it says? Decided from its bytes and the keys that are trusted."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from tocsin.cli.exits import USAGE, Failure
from tocsin.core.ledger import checkpoint, envelope, note, proof
from tocsin.core.ledger.encoding import read_header
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.ledger.note import Key, Unverified
from tocsin.core.model.errors import Invalid
from tocsin.ports import number_of
from tocsin.runtime.evidence import VERSION, IncidentProof
from tocsin.runtime.signing import verify
from tocsin.settings import read_settings

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Growth(msgspec.Struct, frozen=True):
    """That the ledger of a checkpoint begins with the one of size `old`, as the API gives it."""

    old: int
    size: int
    root: str
    hashes: tuple[str, ...]
    checkpoint: str


_growth_proof = msgspec.json.Decoder(Growth, strict=True).decode
_incident_proof = msgspec.json.Decoder(IncidentProof, strict=True).decode


def check_file(
    data: bytes,
    keys: Sequence[Key],
    header: bytes | None,
    config: Path | None,
    older: bytes | None = None,
) -> dict[str, Any]:
    """Check a file of any of these kinds: `kind`, `sound`, `what` is wrong, `verified` by a key, and `facts`.

    header: of the entry, if it is not in its proof; older: the checkpoint that a proof of growth begins with.
    Raises: Failure (2) if it cannot be checked without more; Invalid if the configuration is wrong.
    """
    facts: dict[str, Any] = {}
    what = ""
    kind, check = _kind(data, keys, header, older, config)
    try:
        what = check(facts)
    except (Unverified, Invalid) as error:
        what = str(error)
    except UNREADABLE as error:
        what = f"a header in it cannot be read: {error}"
    return {"kind": kind, "sound": not what, "what": what, "verified": bool(keys), "facts": facts}


def _kind(
    data: bytes, keys: Sequence[Key], header: bytes | None, older: bytes | None, config: Path | None
) -> tuple[str, Callable[[dict[str, Any]], str]]:
    """Say what a file looks like, and give what checks it: fills in facts, gives what is wrong or raises it."""
    if data.startswith(b"c2sp.org/tlog-proof@"):
        return "proof of an entry", lambda facts: _entry(facts, data, keys, header)
    if not data.lstrip().startswith(b"{"):
        return "checkpoint", lambda facts: _checkpoint(facts, data, keys)
    if b'"seal":' in data or b'"deliveries":' in data:
        secrets = tuple(one.value for one in read_settings(config=config, data=None).envelope_secrets)
        return "envelope", lambda facts: _envelope(facts, data, keys, secrets)
    if b'"hashes":' in data:
        if older is None:
            raise Failure("Give the older checkpoint that you hold: --checkpoint FILE.", USAGE)
        return "proof of growth", lambda facts: _growth(facts, data, keys, older)
    return "proof of an incident", lambda facts: _incident(facts, data, keys)


def _signed(data: bytes, keys: Sequence[Key]) -> checkpoint.Checkpoint:
    """Read a checkpoint, and verify it if there are keys. Raises: Invalid, Unverified."""
    if keys:
        return checkpoint.read_signed(data, keys, verify, origin=None)[0]
    return checkpoint.read(note.split(data)[0])


def _about(signed: checkpoint.Checkpoint) -> dict[str, Any]:
    return {"ledger": signed.origin, "checkpoint": f"{signed.size}:{signed.root.hex()[:8]}"}


def _checkpoint(facts: dict[str, Any], data: bytes, keys: Sequence[Key]) -> str:
    signed = _signed(data, keys)
    facts |= {**_about(signed), "entries": signed.size, "root": signed.root.hex()}
    return ""


def _entry(facts: dict[str, Any], data: bytes, keys: Sequence[Key], header: bytes | None) -> str:
    found = proof.read(data)
    signed = _signed(found.checkpoint, keys)
    leaf = header if header is not None else found.extra
    if leaf is None:
        raise Failure("The entry's header is not in this proof. Give it: --header FILE.", USAGE)
    if not _leads(leaf, found.index, found.path, signed):
        return f"it does not lead from entry {found.index} to the root of its checkpoint"
    read = read_header(leaf)
    facts |= {**_about(signed), "entry": found.index, "kind": read.kind, "actor": read.actor}
    return ""


def _leads(leaf: bytes, index: int, path: Sequence[bytes], signed: checkpoint.Checkpoint) -> bool:
    return proof.is_included(hash_leaf(leaf), index=index, size=signed.size, path=path, root=signed.root)


def _growth(facts: dict[str, Any], data: bytes, keys: Sequence[Key], older: bytes) -> str:
    try:
        given = _growth_proof(data)
    except UNREADABLE as error:
        return f"it is no proof of growth: {error}"
    before, now = _signed(older, keys), _signed(given.checkpoint.encode(), keys)
    if before.origin != now.origin:
        return f"it is about the ledger {now.origin}, and the older checkpoint is of {before.origin}"
    if given.old != before.size:
        return f"it is about size {given.old}, and the older checkpoint is of {before.size} entries"
    if (given.size, given.root) != (now.size, note.encode64(now.root)):
        return "it names another size or root than its checkpoint"
    path = [note.decode64(line) or b"" for line in given.hashes]
    if not proof.is_consistent(
        old=before.size, old_root=before.root, new=now.size, new_root=now.root, path=path
    ):
        return f"the ledger does not begin with the {before.size} entries of the older checkpoint"
    facts |= {**_about(now), "begins with": f"{before.size}:{before.root.hex()[:8]}"}
    return ""


def _incident(facts: dict[str, Any], data: bytes, keys: Sequence[Key]) -> str:
    try:
        given = _incident_proof(data)
    except UNREADABLE as error:
        return f"it is no proof of an incident: {error}"
    if given.v != VERSION:
        return f"it has version {given.v}; this program knows {VERSION}"
    if not given.entries or number_of(given.incident) != given.number:
        return "it proves no entry of the incident that it names"
    signed = _signed(given.checkpoint.encode(), keys)
    before: int | None = None
    for count, entry in enumerate(given.entries):
        leaf = entry.header.encode()
        path = [note.decode64(line) or b"" for line in entry.path]
        if not _leads(leaf, entry.seq, path, signed):
            return f"entry {entry.seq} does not lead to the root of the checkpoint"
        header = read_header(leaf)
        if (header.seq, header.incident) != (entry.seq, given.incident):
            return f"entry {entry.seq} is not about this incident"
        if (header.incident_n, header.incident_prev) != (count, before):
            return f"an entry before {entry.seq} is missing"
        for name, part, hashed in (
            ("decision", entry.decision, header.decision_hash),
            ("private part", entry.private, header.private_hash),
        ):
            if part is not None and sha256(part.encode()).hexdigest() != hashed:
                return f"the {name} of entry {entry.seq} is not the one that was hashed"
        before = entry.seq
    bare = sum(entry.private is None for entry in given.entries)
    facts |= {
        **_about(signed),
        "incident": f"#{given.number} ({given.incident})",
        "entries": f"{len(given.entries)}, complete up to entry {before}",
        **({"without": f"{bare} private parts, which were erased or left out"} if bare else {}),
    }
    return ""


def _envelope(facts: dict[str, Any], data: bytes, keys: Sequence[Key], secrets: tuple[str, ...]) -> str:
    found, wrong = envelope.open_(data, secrets)
    facts |= {
        "incident": f"#{found.incident.number} ({found.incident.id})",
        "state": found.incident.state,
        "entries": found.entries,
    }
    if wrong:
        return wrong
    if wrong := _entry(facts, found.proof.encode(), keys, found.header.encode()):
        return wrong
    header = read_header(found.header.encode())
    if (header.incident, header.seq) != (found.incident.id, found.last_seq):
        return "the entry that is proven in it is not about this incident"
    return ""
