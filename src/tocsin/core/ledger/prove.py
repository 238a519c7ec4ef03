"""Prove: what an auditor needs to see that an entry is in the tree, or that a tree only grew; read from its tiles.

PATH and PROOF of RFC 6962 sections 2.1.1 and 2.1.2. Each takes one or two tiles a level, so six at most for a tree of
16 million. `proof` checks what is made here, and shares nothing with it.
"""

from tocsin.core.ledger.merkle import hash_node
from tocsin.core.ledger.tiles import HASH_BYTES, WIDTH, Edge, Read, pair, take


def root(size: int, read: Read) -> bytes:
    """Give the root over the first `size` leaves (32 bytes).

    Raises: ValueError if a tile is too short, as do the others here.
    """
    return Edge.of(size, read).root()


def inclusion(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """Prove that a leaf is at `index` in the tree of `size`: hashes from its sibling up.

    index: counts from 0, index < size.
    """
    return Tree(size, read).inclusion(index)


def consistency(old: int, new: int, read: Read) -> tuple[bytes, ...]:
    """Prove that the tree of size `new` begins with the one of size `old`; nothing is needed if that is 0 or `new`."""
    return Tree(new, read).consistency(old)


class Tree:
    """The tree of one size, for several proofs: each of its tiles is read and hashed at most once."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._read = read
        self._rows: dict[
            tuple[int, int], list[bytes]
        ] = {}  # of each tile: its hashes, the nodes over them, ...

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """As the function of this name."""
        assert 0 <= index < self.size, (index, self.size)
        path: list[bytes] = []
        start, end = 0, self.size
        while end - start > 1:
            middle = start + _half(end - start)
            if index < middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency(self, old: int) -> tuple[bytes, ...]:
        """As the function of this name."""
        assert 0 <= old <= self.size, (old, self.size)
        if old in (0, self.size):
            return ()
        path: list[bytes] = []
        start, end = 0, self.size
        while end != old:
            middle = start + _half(end - start)
            if old <= middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        if start:  # Else it is the old root, which whoever verifies has.
            path.append(self._over(start, end))
        return tuple(reversed(path))

    def _over(self, start: int, end: int) -> bytes:
        """Give the root over a span of leaves at which the tree is split."""
        peaks: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            peaks.append(self._perfect(height, start >> height))
            start += 1 << height
        root = peaks.pop()
        while peaks:
            root = hash_node(peaks.pop(), root)
        return root

    def _perfect(self, height: int, number: int) -> bytes:
        """Give the root of a perfect subtree; number: how many of its height are to the left of it."""
        level, rest = divmod(height, 8)
        index, place = divmod(number << rest, WIDTH)
        rows = self._rows.get((level, index))
        if rows is None:
            width = min(WIDTH, (self.size >> 8 * level) - index * WIDTH)
            rows = self._rows[level, index] = [take(self._read, level, index, width)]
        while len(rows) <= rest:
            rows.append(pair(rows[-1]))
        at = (place >> rest) * HASH_BYTES
        return rows[rest][at : at + HASH_BYTES]


def _half(count: int) -> int:
    """Give the largest power of two below `count`, which is 2 at least."""
    return 1 << (count - 1).bit_length() - 1
