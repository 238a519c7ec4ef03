"""Evidence: what proves something about entries to whoever does not trust us: proofs, and envelopes of incidents."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tocsin.core.ledger import checkpoint, encoding, envelope, proof, prove
from tocsin.core.ledger.checkpoint import Checkpoint
from tocsin.core.ledger.envelope import Envelope, Told
from tocsin.core.ledger.note import encode64, split
from tocsin.core.ledger.proof import Proof
from tocsin.core.ledger.prove import Tree
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.ports import Store
from tocsin.runtime.tree import reader

VERSION = 1


class ProvenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its way to the root. header, decision, private: as text, byte for byte; private: None if erased.

    path: hashes in base64, from the leaf's sibling up.
    """

    seq: int
    header: str
    decision: str
    private: str | None
    path: tuple[str, ...]


class IncidentProof(msgspec.Struct, frozen=True, kw_only=True):
    """All entries of an incident, each proven to be in the tree of the checkpoint (a signed note).

    They are complete up to the last one: each header names the entry of this incident before it, down to the first.
    """

    v: int
    incident: str
    number: int
    checkpoint: str
    entries: tuple[ProvenEntry, ...]


def signed_tree(store: Store, note: bytes) -> tuple[Checkpoint, Tree]:
    """Give what a checkpoint of ours says, and the tree of its size."""
    signed = checkpoint.read(split(note)[0])
    return signed, Tree(signed.size, reader(store))


def prove_entry(store: Store, note: bytes, seq: int) -> bytes:
    """Give the tlog-proof file of an entry; its header lies beside it as extra data. Raises: NotFound, Conflict."""
    signed, tree = signed_tree(store, note)
    entry = store.entry(seq)
    if entry is None:
        raise NotFound(f"There is no entry {seq}; the ledger has {store.head().size}.")
    return proof.write(Proof(index=seq, path=_path(tree, signed, seq), checkpoint=note, extra=entry[0]))


def prove_incident(store: Store, note: bytes, id_or_number: str) -> IncidentProof:
    """Prove all entries of an incident that the checkpoint covers. Raises: NotFound, Conflict."""
    found = store.find_incident(id_or_number)
    if found is None:
        raise NotFound(f"There is no incident {id_or_number[:80]!r}.")
    signed, tree = signed_tree(store, note)
    entries = []
    for seq, (header, decision, private) in _backwards(store, found.last_seq):
        if seq < signed.size:
            entries.append(
                ProvenEntry(
                    seq=seq,
                    header=header.decode(),
                    decision=decision.decode(),
                    private=private.decode() if private else None,
                    path=tuple(map(encode64, _path(tree, signed, seq))),
                )
            )
    if not entries:
        raise Conflict(
            f"Incident #{found.number} is newer than the checkpoint of {signed.size} entries. Ask again in a moment.",
            state="unsigned",
        )
    return IncidentProof(
        v=VERSION,
        incident=found.id,
        number=found.number,
        checkpoint=note.decode(),
        entries=tuple(reversed(entries)),
    )


def make_envelope(store: Store, note: bytes, id_or_number: str, secret: str) -> bytes:
    """Put an incident in an envelope. Raises: NotFound, Conflict, and Invalid for a secret that is too short."""
    found = store.find_incident(id_or_number)
    view = store.incident_view(found.number) if found is not None else None
    if found is None or view is None:
        raise NotFound(f"There is no incident {id_or_number[:80]!r}.")
    signed, tree = signed_tree(store, note)
    entry = store.entry(found.last_seq)
    assert entry is not None, "an incident's last entry is in the ledger"
    path = _path(tree, signed, found.last_seq)
    made = Envelope(
        v=VERSION,
        origin=signed.origin,
        incident=view,
        deliveries=tuple(
            Told(
                number=one.number,
                channel=one.channel,
                target=one.target,
                kind=one.kind,
                state=one.state,
                attempts=one.attempts,
                at=one.at,
            )
            for one in store.deliveries_of(found.number)
        ),
        entries=found.entries,
        last_seq=found.last_seq,
        header=entry[0].decode(),
        proof=proof.write(Proof(index=found.last_seq, path=path, checkpoint=note)).decode(),
    )
    return envelope.close(made, secret)


class Growth(NamedTuple):
    """That a tree of this size and root begins with an older one. path: the proof of RFC 6962 section 2.1.2."""

    size: int
    root: bytes
    path: tuple[bytes, ...]


def prove_growth(store: Store, note: bytes, old: int, size: int | None = None) -> Growth:
    """Prove that the tree of `size` begins with the tree of `old`.

    size: None for the one of the checkpoint. Raises: Conflict if the ledger has not so many entries; Invalid.
    """
    signed = checkpoint.read(split(note)[0])
    tree = Tree(signed.size if size is None else size, reader(store))
    if size is not None and old > size:
        raise Invalid("`old` is larger than `size`. Swap the two.", field="old")
    if max(old, tree.size) > signed.size:
        old = max(old, tree.size)
        raise Conflict(
            f"The ledger has {signed.size} entries, fewer than {old}. Whoever holds a checkpoint of {old} should ask "
            "why.",
            state="shorter",
        )
    root = signed.root if tree.size == signed.size else prove.root(tree.size, reader(store))
    return Growth(tree.size, root, tree.consistency(old))


def _path(tree: Tree, signed: Checkpoint, seq: int) -> tuple[bytes, ...]:
    if seq >= signed.size:
        raise Conflict(
            f"Entry {seq} is newer than the checkpoint of {signed.size} entries. Ask again in a moment.",
            state="unsigned",
        )
    return tree.inclusion(seq)


def _backwards(store: Store, last_seq: int) -> Iterator[tuple[int, tuple[bytes, bytes, bytes]]]:
    """Walk along the entries of an incident from its last one."""
    seq: int | None = last_seq
    while seq is not None and seq >= 0:
        entry = store.entry(seq)
        if entry is None:
            return
        yield seq, entry
        seq = encoding.read_header(entry[0]).incident_prev
