"""Merkle: the tree of RFC 6962 section 2.1 over the entries' headers, grown one leaf at a time.

The right edge of the tree (its perfect subtrees, largest first) is all that growing needs.
"""

import hashlib
import struct
from collections.abc import Iterable

EMPTY_ROOT = hashlib.sha256(b"").digest()
HEIGHT_MAX = 62
"""Of a subtree, so that every size is a signed 64-bit integer."""

_EDGE = struct.Struct("<B32s")


def hash_leaf(data: bytes) -> bytes:
    """SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


TILE_HEIGHT = 8
"""Of a tile of C2SP tlog-tiles: 256 hashes side by side are the leaves of a subtree of this height."""


class Frontier:
    """The right edge of a tree that grows. size: how many leaves it has.

    completed: the roots of the full tiles that it grew beyond since it was made or copied, in order: (level, index,
    hash), where level 1 holds the roots of 256 leaves, level 2 those of 256 roots of level 1, and so on.
    """

    def __init__(self) -> None:
        self.size = 0
        self.completed: list[tuple[int, int, bytes]] = []
        self._heights: list[int] = []
        self._hashes: list[bytes] = []
        self._root: bytes | None = None

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf (32 bytes)."""
        heights, hashes = self._heights, self._hashes
        height = 0
        while heights and heights[-1] == height:
            heights.pop()
            leaf = hash_node(hashes.pop(), leaf)
            height += 1
            if not height % TILE_HEIGHT:
                self.completed.append((height // TILE_HEIGHT, self.size >> height, leaf))
        heights.append(height)
        hashes.append(leaf)
        self.size += 1
        self._root = None

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of several leaves, in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """Give the tree's root (32 bytes); of the empty tree, the hash of nothing."""
        if not self._hashes:
            return EMPTY_ROOT
        if self._root is None:  # It is asked for at the end of one turn, and at the beginning of the next.
            root = self._hashes[-1]
            for left in reversed(self._hashes[:-1]):
                root = hash_node(left, root)
            self._root = root
        return self._root

    def short(self) -> str:
        """Give the short form of a checkpoint: the size and the first 8 hex digits of the root, `1311:5bf7e44f`."""
        return f"{self.size}:{self.root().hex()[:8]}"

    def copy(self) -> "Frontier":
        """Give an independent copy."""
        other = Frontier()
        other.size, other._heights, other._hashes = self.size, self._heights.copy(), self._hashes.copy()
        other._root = self._root
        return other

    def pack(self) -> bytes:
        """Give the edge as bytes, for `unpack`: its subtrees largest first, height and hash of each."""
        return b"".join(_EDGE.pack(*pair) for pair in zip(self._heights, self._hashes, strict=True))

    @classmethod
    def unpack(cls, packed: bytes) -> "Frontier":
        """Read what `pack` gave.

        Raises: ValueError if these bytes are no edge.
        """
        if len(packed) % _EDGE.size:
            raise ValueError(f"A tree's edge is a multiple of {_EDGE.size} bytes, these are {len(packed)}.")
        frontier = cls()
        above = HEIGHT_MAX + 1
        for height, digest in _EDGE.iter_unpack(packed):
            if height >= above:
                raise ValueError("The subtrees of a tree's edge are of falling height; these are not.")
            above = height
            frontier._heights.append(height)
            frontier._hashes.append(digest)
            frontier.size += 1 << height
        return frontier
