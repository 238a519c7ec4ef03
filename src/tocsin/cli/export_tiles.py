"""Export tiles: the hash tiles and bundles of a ledger, as files, computed while its entries go by once.

The layout is that of c2sp.org/tlog-tiles: a tile holds up to 256 hashes of its level, a bundle up to 256 headers.
"""

from collections.abc import Iterator

from tocsin.core.ledger.merkle import Frontier, hash_leaf, hash_node

WIDTH = 256
LENGTH_BYTES = 2
HEADER_BYTES_MAX = (1 << 8 * LENGTH_BYTES) - 1


def tile_path(kind: str, index: int, width: int = WIDTH) -> str:
    """Name the file of a tile. kind: its level, or `entries` for a bundle; width: how much it holds."""
    path = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03}/{path}"
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{kind}/{path}{partial}"


class Tiles:
    """Takes headers one by one, and gives each file as soon as it is full; the others at the end."""

    def __init__(self) -> None:
        self.tree = Frontier()
        self._bundle: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]

    def add(self, header: bytes) -> Iterator[tuple[str, bytes]]:
        """Add an entry. Gives the files that are full with it, as path and content: mostly none.

        Raises: ValueError if the header is too long for a bundle.
        """
        if len(header) > HEADER_BYTES_MAX:
            raise ValueError(
                f"The header of entry {self.tree.size} has {len(header)} bytes, which no bundle can hold."
            )
        hash_ = hash_leaf(header)
        self.tree.append(hash_)
        self._bundle.append(header)
        if len(self._bundle) == WIDTH:
            yield self._bundle_file()
            self._bundle = []
        for level, hashes in enumerate(self._levels):
            hashes.append(hash_)
            if len(hashes) < WIDTH:
                return
            yield self._tile_file(level)
            hash_ = _root(hashes)
            hashes.clear()
        self._levels.append([hash_])

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """Give the files that are not full."""
        if self._bundle:
            yield self._bundle_file()
        for level, hashes in enumerate(self._levels):
            if hashes:
                yield self._tile_file(level)

    def _bundle_file(self) -> tuple[str, bytes]:
        path = tile_path("entries", (self.tree.size - 1) // WIDTH, len(self._bundle))
        return path, b"".join(len(header).to_bytes(LENGTH_BYTES) + header for header in self._bundle)

    def _tile_file(self, level: int) -> tuple[str, bytes]:
        hashes = self._levels[level]
        before = (self.tree.size >> 8 * level) - len(hashes)
        return tile_path(str(level), before // WIDTH, len(hashes)), b"".join(hashes)


def _root(hashes: list[bytes]) -> bytes:
    """Hash a full tile to one hash of the level above."""
    while len(hashes) > 1:
        hashes = [hash_node(*hashes[i : i + 2]) for i in range(0, len(hashes), 2)]
    return hashes[0]
