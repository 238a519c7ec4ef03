"""Proof: check that a leaf is in a tree, or that a tree only grew; and the file that proves an entry.

The algorithms are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2, the file is C2SP tlog-proof@v1. Nothing here
needs the tree, or trusts whoever has it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from tocsin.core.ledger.checkpoint import Checkpoint, find_size, read_signed
from tocsin.core.ledger.merkle import EMPTY_ROOT, hash_leaf, hash_node
from tocsin.core.ledger.note import Key, Unverified, Verify, decode64, encode64
from tocsin.core.model.errors import Invalid

HASHES_MAX = 63
"""In a path: no tree is higher."""

_HASH_BYTES = 32
_MAGIC = "c2sp.org/tlog-proof@v1"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """That an entry is in a ledger, as a file.

    index: where, counted from 0; path: hashes from the leaf's sibling up to a child of the root.
    checkpoint: the signed note, byte for byte.
    extra: whatever somebody put beside it, proven by nothing; None if there is none.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def is_included(leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Say whether `path` proves that the leaf of this hash is at `index` in the tree of this size and root."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *path)):
        return False
    place, last = index, size - 1
    found = leaf
    for other in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = hash_node(other, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hash_node(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether `path` proves that the tree `new` begins with the tree `old`, of these sizes and roots."""
    if not 0 <= old <= new or not _are_hashes((old_root, new_root, *path)):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if not path:
        return False
    # A whole subtree is its own proof, so its root is left out.
    first, *others = path if old & (old - 1) else (old_root, *path)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    found_old = found_new = first
    for other in others:
        if last == 0:
            return False
        if place & 1 or place == last:
            found_old, found_new = hash_node(other, found_old), hash_node(other, found_new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found_new = hash_node(found_new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


def write(proof: Proof) -> bytes:
    """Give the file, for `read`; its name ends with `.tlog-proof`."""
    lines = [_MAGIC]
    if proof.extra is not None:
        lines.append(f"extra {encode64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines += map(encode64, proof.path)
    return "\n".join([*lines, "", ""]).encode() + proof.checkpoint


def read(data: bytes) -> Proof:
    """Read the file. Nothing of it is verified; `confirm` does that.

    Raises: Invalid if it is malformed.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        magic, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Invalid("What stands before the checkpoint of a proof is ASCII; this is not.") from error
    if magic != _MAGIC:
        raise Invalid(f"A proof begins with the line {_MAGIC}; this begins with {magic[:80]!r}.")
    if not blank or not checkpoint:
        raise Invalid("This proof has no checkpoint: it lacks the blank line, or what stands under it.")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0).removeprefix("extra "))
        if extra is None:
            raise Invalid("The extra data of a proof is base64; this is not.")
    index = (
        find_size(lines.pop(0).removeprefix("index ")) if lines and lines[0].startswith("index ") else None
    )
    if index is None:
        raise Invalid("A proof says which entry it is of, in a line such as `index 17`; this does not.")
    path = tuple(map(_hash, lines))
    if len(path) > HASHES_MAX:
        raise Invalid(f"A proof has at most {HASHES_MAX} hashes, this one has {len(path)}.")
    return Proof(index=index, path=path, checkpoint=checkpoint, extra=extra)


def confirm(
    proof: Proof, entry: bytes, *, keys: Iterable[Key], verify: Verify, origin: str | None
) -> Checkpoint:
    """Say in which tree this proves the entry to be.

    entry: the data of the leaf (an entry's header). keys, origin: as `checkpoint.read_signed` takes them.
    Raises: Invalid if the checkpoint is malformed; Unverified if it is not signed, or if the entry is not the one.
    """
    checkpoint, _ = read_signed(proof.checkpoint, keys, verify, origin=origin)
    size, root = checkpoint.size, checkpoint.root
    if not is_included(hash_leaf(entry), index=proof.index, size=size, path=proof.path, root=root):
        raise Unverified(f"This proof does not lead from entry {proof.index} to the root of its checkpoint.")
    return checkpoint


def _hash(line: str) -> bytes:
    found = decode64(line)
    if found is None or len(found) != _HASH_BYTES:
        raise Invalid(
            f"The hashes of a proof are {_HASH_BYTES} bytes in base64, one a line; not {line[:80]!r}."
        )
    return found


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == _HASH_BYTES for value in values)
