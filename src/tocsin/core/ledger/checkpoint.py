"""Checkpoint: a ledger's name, size and root, as C2SP tlog-checkpoint v1.0.0 writes them; signed as a note.

Whoever keeps one can tell later whether anything before it was changed.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from tocsin.core.ledger import note
from tocsin.core.ledger.merkle import EMPTY_ROOT, HEIGHT_MAX
from tocsin.core.ledger.note import Key, Note, Signer, Unverified, Verify
from tocsin.core.model.errors import Invalid

SIZE_MAX = (1 << HEIGHT_MAX + 1) - 1
"""Of a tree: what a signed 64-bit integer holds."""

_HASH_BYTES = 32
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_SHORT = re.compile(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{8})")


class Checkpoint(msgspec.Struct, frozen=True):
    """What a ledger is at a moment.

    origin: its name; size: how many entries it has; root: of the tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes


class Short(msgspec.Struct, frozen=True):
    """The short form of a checkpoint, for the foot of a message: its size, and the root's first 8 hex digits.

    Nobody signed it, and who tries 2**32 roots finds another that begins so. It is worth what its place is worth.
    """

    size: int
    root8: str

    def __str__(self) -> str:
        return f"{self.size}:{self.root8}"


def write(checkpoint: Checkpoint) -> str:
    """Give the text that is signed; no extension lines.

    Raises: Invalid if the origin could not be the name of a key too.
    """
    assert 0 <= checkpoint.size <= SIZE_MAX, checkpoint.size
    assert len(checkpoint.root) == _HASH_BYTES, checkpoint.root
    if not note.is_name(checkpoint.origin):
        raise Invalid(f"{checkpoint.origin!r} cannot name a ledger: no spaces, no plus, and not empty.")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{note.encode64(checkpoint.root)}\n"


def read(text: str) -> Checkpoint:
    """Read the text of a checkpoint, whoever wrote it. Extension lines may follow and are not looked at.

    Raises: Invalid if it is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or "" in lines:
        raise Invalid("A checkpoint has at least three lines, none of them empty: origin, size and root.")
    size, root = find_size(lines[1]), note.decode64(lines[2])
    if size is None:
        raise Invalid(f"The size of a checkpoint is a plain number, not {lines[1][:80]!r}.")
    if root is None or len(root) != _HASH_BYTES:
        raise Invalid(f"The root of a checkpoint is {_HASH_BYTES} bytes in base64, not {lines[2][:80]!r}.")
    if size == 0 and root != EMPTY_ROOT:
        raise Invalid("The root of this checkpoint is not the one of an empty tree, but its size is 0.")
    return Checkpoint(lines[0], size, root)


def sign(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """Give the checkpoint as a signed note. Raises: as `write`."""
    return note.sign(write(checkpoint), signers)


def read_signed(
    data: bytes, keys: Iterable[Key], verify: Verify, *, origin: str | None
) -> tuple[Checkpoint, Note]:
    """Read a signed checkpoint and verify it.

    keys: those that may sign for this ledger. origin: the ledger's name, None if any will do.
    Raises: Invalid if it is malformed; Unverified if none of the keys signed it, or if it is another ledger's.
    """
    signed = note.read(data, keys, verify)
    checkpoint = read(signed.text)
    if origin is not None and checkpoint.origin != origin:
        raise Unverified(f"This checkpoint is of the ledger {checkpoint.origin[:200]!r}, not of {origin!r}.")
    return checkpoint, signed


def shorten(size: int, root: bytes) -> Short:
    """Give the short form, such as `1311:5bf7e44f`."""
    return Short(size, root[:4].hex())


def read_short(text: str) -> Short:
    """Read a short form. Raises: Invalid if it is none."""
    found = _SHORT.fullmatch(text)
    size = find_size(found[1]) if found else None
    if found is None or size is None:
        raise Invalid(f"{text[:80]!r} is no short form of a checkpoint. One looks like this: 1311:5bf7e44f")
    return Short(size, found[2])


def find_size(text: str) -> int | None:
    """Read the size of a tree, or a place in it: decimal, no leading zeros; None if it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    size = int(text)
    return size if size <= SIZE_MAX else None
