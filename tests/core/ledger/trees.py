"""Trees for the tests: leaves by number, their tiles, and the root as RFC 6962 defines it."""

import hashlib
from collections.abc import Iterable

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

# Proofs in the tree over INPUTS, as transparency-dev's merkle (proof/verify_test.go) has them; leaves counted from 0.
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (0, 1): [],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


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

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
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
