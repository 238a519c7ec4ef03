"""Tree: the ledger's tree as a store has it, tile by tile, for proofs about it and for whoever fetches it.

The lowest tiles are hashed from the entries when they are asked for; the roots of full ones are stored, since there
are few of them.
"""

from collections.abc import Iterator

from tocsin.core.ledger.encoding import unpack
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.ledger.tiles import WIDTH, Read
from tocsin.ports import Store


def headers(store: Store, first: int, count: int) -> Iterator[bytes]:
    """Give the headers of `count` entries from `first` on; fewer if there are no more."""
    end = first + count
    for segment in store.segments(first):
        if segment.first_seq >= end:
            return
        for seq, (header, _, _) in enumerate(unpack(segment.data), segment.first_seq):
            if first <= seq < end:
                yield header


def reader(store: Store) -> Read:
    """Give the function that reads tiles; see `core.ledger.tiles.Read`."""

    def read(level: int, index: int, width: int) -> bytes:
        first = index * WIDTH
        if level:
            return b"".join(store.tiles(level, first, width))
        return b"".join(hash_leaf(header) for header in headers(store, first, width))

    return read
