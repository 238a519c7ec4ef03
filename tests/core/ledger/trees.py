"""Trees for the tests: leaves by number, their tiles, and the root as RFC 6962 defines it."""

import hashlib

from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.ledger.tiles import HASH_BYTES, Edge, Tile

# The certificate-transparency project's test vectors (cpp/merkletree/merkle_tree_test.cc; also in transparency-dev's
# merkle, proof/verify_test.go): eight inputs, and the root of the tree over the first 1, 2, ... 8 of them.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def entries(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def leaves(count: int) -> list[bytes]:
    return [hash_leaf(entry) for entry in entries(count)]


def root_by_definition(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word: split at the largest power of two below n."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    left, right = root_by_definition(hashes[:half]), root_by_definition(hashes[half:])
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tiles:
    """Where the tiles of a tree lie; counts what is read, and gives no tile that the tree has not."""

    def __init__(self, hashes: list[bytes] = ()) -> None:  # type: ignore[assignment]
        self.held: dict[tuple[int, int], bytes] = {}
        self.reads: list[tuple[int, int, int]] = []
        edge = Edge()
        self.keep(edge.extend(hashes))
        self.keep(edge.partial())

    def keep(self, tiles: list[tuple[Tile, bytes]]) -> None:
        """Hold these; a wider one takes the place of a narrower."""
        for tile, data in tiles:
            assert len(data) == tile.width * HASH_BYTES
            known = self.held.get((tile.level, tile.index), b"")
            assert data.startswith(known), "a tile only grows"
            self.held[tile.level, tile.index] = data

    def read(self, level: int, index: int, width: int) -> bytes:
        self.reads.append((level, index, width))
        data = self.held[level, index]
        assert len(data) >= width * HASH_BYTES
        return data
