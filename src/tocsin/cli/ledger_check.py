"""Check: is a checkpoint, a proof or an envelope what it says? Decided from its bytes and the keys that are trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tocsin.core.ledger import checkpoint, envelope, note, proof
from tocsin.core.ledger.encoding import read_header
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.ledger.note import Key, Unverified
from tocsin.core.model.errors import Invalid, TocsinError
from tocsin.runtime.evidence import IncidentProof
from tocsin.runtime.signing import verify

_incident_proof = msgspec.json.Decoder(IncidentProof, strict=True).decode


def check_file(data: bytes, keys: Sequence[Key], header: bytes | None, config: Path | None) -> dict[str, Any]:
    """Check a file of any of these kinds: `kind`, `sound`, `what` is wrong, `verified` by a key, and `facts`.

    Raises: Invalid if it is none of them.
    """
    if data.startswith(b"c2sp.org/tlog-proof@"):
        kind = "proof of an entry"
    elif not data.lstrip().startswith(b"{"):
        kind = "checkpoint"
    elif b'"seal":' in data:
        return _envelope(data, keys, config)
    else:
        kind = "proof of an incident"
    try:
        if kind == "proof of an entry":
            facts = _entry(data, keys, header)
        else:
            facts = _checkpoint(data, keys) if kind == "checkpoint" else _incident(data, keys)
    except (Unverified, _Wrong) as error:
        return {"kind": kind, "sound": False, "what": str(error), "verified": bool(keys), "facts": {}}
    return {"kind": kind, "sound": True, "what": "", "verified": bool(keys), "facts": facts}


class _Wrong(TocsinError):
    """What somebody gave us is not what it says."""

    type = "unverified"


def _signed(data: bytes, keys: Sequence[Key]) -> checkpoint.Checkpoint:
    """Read a checkpoint, and verify it if there are keys. Raises: Invalid, Unverified."""
    if keys:
        return checkpoint.read_signed(data, keys, verify, origin=None)[0]
    return checkpoint.read(note.split(data)[0])


def _about(signed: checkpoint.Checkpoint) -> dict[str, Any]:
    return {"ledger": signed.origin, "checkpoint": f"{signed.size}:{signed.root.hex()[:8]}"}


def _checkpoint(data: bytes, keys: Sequence[Key]) -> dict[str, Any]:
    signed = _signed(data, keys)
    return {**_about(signed), "entries": signed.size, "root": signed.root.hex()}


def _entry(data: bytes, keys: Sequence[Key], header: bytes | None) -> dict[str, Any]:
    found = proof.read(data)
    signed = _signed(found.checkpoint, keys)
    leaf = header if header is not None else found.extra
    if leaf is None:
        raise Invalid("The entry's header is not in this proof. Give it: --header FILE.")
    if not proof.is_included(
        hash_leaf(leaf), index=found.index, size=signed.size, path=found.path, root=signed.root
    ):
        raise _Wrong(f"it does not lead from entry {found.index} to the root of its checkpoint")
    read = read_header(leaf)
    return {**_about(signed), "entry": found.index, "kind": read.kind, "actor": read.actor}


def _incident(data: bytes, keys: Sequence[Key]) -> dict[str, Any]:
    try:
        given = _incident_proof(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"This is no proof of an incident: {error}.") from error
    signed = _signed(given.checkpoint.encode(), keys)
    before: int | None = None
    for count, entry in enumerate(given.entries):
        leaf = entry.header.encode()
        path = [note.decode64(line) or b"" for line in entry.path]
        if not proof.is_included(
            hash_leaf(leaf), index=entry.seq, size=signed.size, path=path, root=signed.root
        ):
            raise _Wrong(f"entry {entry.seq} does not lead to the root of the checkpoint")
        header = read_header(leaf)
        if (header.seq, header.incident) != (entry.seq, given.incident):
            raise _Wrong(f"entry {entry.seq} is not about this incident")
        if (header.incident_n, header.incident_prev) != (count, before):
            raise _Wrong(f"an entry before {entry.seq} is missing")
        _check_part(entry.seq, "decision", entry.decision, header.decision_hash)
        if entry.private is not None:
            _check_part(entry.seq, "private part", entry.private, header.private_hash)
        before = entry.seq
    erased = sum(entry.private is None for entry in given.entries)
    return {
        **_about(signed),
        "incident": f"#{given.number} ({given.incident})",
        "entries": f"{len(given.entries)}, complete up to entry {before}",
        **({"erased": f"{erased} private parts"} if erased else {}),
    }


def _check_part(seq: int, name: str, part: str, wanted: str) -> None:
    from hashlib import sha256

    if sha256(part.encode()).hexdigest() != wanted:
        raise _Wrong(f"the {name} of entry {seq} is not the one that was hashed")


def _envelope(data: bytes, keys: Sequence[Key], config: Path | None) -> dict[str, Any]:
    from tocsin.settings import read_settings

    secrets = tuple(one.value for one in read_settings(config=config, data=None).envelope_secrets)
    found, wrong = envelope.open_(data, secrets)
    facts: dict[str, Any] = {"incident": f"#{found.incident.number} ({found.incident.id})"}
    if not wrong:
        try:
            facts |= _entry(found.proof.encode(), keys, found.header.encode())
        except (Unverified, _Wrong) as error:
            wrong = str(error)
        header = read_header(found.header.encode())
        if not wrong and (header.incident, header.seq) != (found.incident.id, found.last_seq):
            wrong = "the entry that is proven in it is not about this incident"
    return {
        "kind": "envelope",
        "sound": not wrong,
        "what": wrong,
        "verified": bool(keys),
        "facts": {**facts, "state": found.incident.state, "entries": found.entries},
    }
