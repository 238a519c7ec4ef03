"""Tiles: the tree cut into files of 256 hashes that never change once full, as C2SP tlog-tiles lays them out.

A tile at level 0 holds leaves; one at level L + 1 holds, for each full tile of level L, the root over it. What is at
the right edge is partial, and grows with the tree. Whoever has the tiles can prove anything (`prove`).
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tocsin.core.ledger.merkle import EMPTY_ROOT, HEIGHT_MAX, hash_node

WIDTH = 256
HASH_BYTES = 32
ENTRY_BYTES_MAX = 65_535

Read = Callable[[int, int, int], bytes]
"""Gives the hashes of the tile at (level, index, width).

It may give more than `width` hashes: a tile that has grown since begins with the same ones.
"""

_FULL = WIDTH * HASH_BYTES
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")
_ENTRY = struct.Struct(">H")


class Tile(msgspec.Struct, frozen=True):
    """Hashes of the tree: level 0 to 63; index: counts from the left; width: how many, 256 in a full one."""

    level: int
    index: int
    width: int = WIDTH


class Bundle(msgspec.Struct, frozen=True):
    """The entries whose hashes are in the tile of level 0 with this index and this width."""

    index: int
    width: int = WIDTH


# Names


def path(place: Tile | Bundle) -> str:
    """Give the path under which it is served, such as `tile/0/x001/x234/067` or `tile/entries/000.p/17`."""
    digits = str(place.index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    elements = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    name = "/".join([*("x" + element for element in elements[:-1]), elements[-1]])
    kind = place.level if isinstance(place, Tile) else "entries"
    return f"tile/{kind}/{name}" + (f".p/{place.width}" if place.width < WIDTH else "")


def find_place(text: str) -> Tile | Bundle | None:
    """Read a path; None if it is not one that `path` gives."""
    found = _PATH.fullmatch(text)
    if found is None:
        return None
    kind, name, width = found[1], found[2], int(found[3] or WIDTH)
    index = int(name.replace("x", "").replace("/", ""))
    place = Bundle(index, width) if kind == "entries" else Tile(int(kind), index, width)
    in_range = 1 <= width <= WIDTH and (kind == "entries" or int(kind) <= 63) and index >> HEIGHT_MAX + 1 == 0
    return place if in_range and path(place) == text else None


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Give the tiles of a tree, full and partial, lowest level first.

    since: only those that its first `since` leaves did not have; where a partial one grew, the wider one.
    """
    assert 0 <= since <= size
    level = 0
    while size:
        if size > since:
            for index in range(since // WIDTH, size // WIDTH):
                yield Tile(level, index)
            if size % WIDTH:
                yield Tile(level, size // WIDTH, size % WIDTH)
        size, since, level = size // WIDTH, since // WIDTH, level + 1


def bundles_of(size: int, *, since: int = 0) -> Iterator[Bundle]:
    """Give the bundles of a tree's entries, as `tiles_of` gives its tiles."""
    for tile in tiles_of(size, since=since):
        if tile.level:
            return
        yield Bundle(tile.index, tile.width)


# Bundles of entries


def pack_bundle(entries: Iterable[bytes]) -> bytes:
    """Lay entries side by side, each after its length (big-endian, 16 bits).

    Raises: ValueError if one has more than 65,535 bytes.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise ValueError(
                f"an entry has {len(entry)} bytes; a bundle holds at most {ENTRY_BYTES_MAX} of each"
            )
        parts += (_ENTRY.pack(len(entry)), entry)
    return b"".join(parts)


def unpack_bundle(data: bytes) -> list[bytes]:
    """Give the entries of a bundle. Raises: ValueError if the lengths do not fit the bytes."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _ENTRY.size
        if start > len(data):
            raise ValueError("the bundle ends inside an entry's length")
        position = start + _ENTRY.unpack_from(data, position)[0]
        if position > len(data):
            raise ValueError("the bundle ends inside an entry")
        entries.append(data[start:position])
    return entries


# Hashes


def pair(hashes: bytes) -> bytes:
    """Give the nodes over each two of the hashes that lie side by side; over a last one without a partner, none."""
    new = hashlib.sha256
    whole = len(hashes) - len(hashes) % (2 * HASH_BYTES)
    return b"".join([new(b"\x01" + hashes[at : at + 64]).digest() for at in range(0, whole, 64)])


def fold(hashes: bytes) -> bytes:
    """Give the root over hashes that lie side by side; their number is a power of two."""
    while len(hashes) > HASH_BYTES:
        hashes = pair(hashes)
    return hashes


def take(read: Read, level: int, index: int, width: int) -> bytes:
    """Read exactly `width` hashes of a tile. Raises: ValueError if there are fewer."""
    data = read(level, index, width)
    if len(data) < width * HASH_BYTES:
        name = path(Tile(level, index, width))
        raise ValueError(f"{name} has {len(data)} bytes instead of {width * HASH_BYTES}")
    return data[: width * HASH_BYTES]


class Edge:
    """The partial tiles of a tree that grows: what it takes to make the next ones. size: how many leaves it has."""

    def __init__(self) -> None:
        self.size = 0
        self._rows: list[bytes] = []  # by level; each shorter than a full tile

    @classmethod
    def of(cls, size: int, read: Read) -> "Edge":
        """Take up a tree of this size again from its partial tiles.

        Raises: ValueError if one of them is too short.
        """
        edge = cls()
        edge.size = size
        while size:
            width, level = size % WIDTH, len(edge._rows)
            edge._rows.append(take(read, level, size // WIDTH, width) if width else b"")
            size //= WIDTH
        return edge

    def extend(self, leaves: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Add the hashes of leaves (32 bytes each), in order, and give the tiles that this made full.

        A tile comes after all those beneath it.
        """
        hashes = b"".join(leaves)
        assert len(hashes) % HASH_BYTES == 0, "a hash has 32 bytes"
        made: list[tuple[Tile, bytes]] = []
        level, index = 0, self.size
        self.size += len(hashes) // HASH_BYTES
        while hashes:
            if level == len(self._rows):
                self._rows.append(b"")
            index //= WIDTH
            row = self._rows[level] + hashes
            end = len(row) - len(row) % _FULL
            full = [row[at : at + _FULL] for at in range(0, end, _FULL)]
            self._rows[level] = row[end:]
            made += [(Tile(level, index + n), data) for n, data in enumerate(full)]
            hashes = b"".join([fold(data) for data in full])
            level += 1
        return made

    def partial(self) -> list[tuple[Tile, bytes]]:
        """Give the tiles that are not full, lowest level first."""
        found: list[tuple[Tile, bytes]] = []
        above = self.size
        for level, row in enumerate(self._rows):
            above //= WIDTH
            if row:
                found.append((Tile(level, above, len(row) // HASH_BYTES), row))
        return found

    def root(self) -> bytes:
        """Give the tree's root (32 bytes)."""
        root: bytes | None = None
        for row in self._rows:
            root = hang(row, root)
        return EMPTY_ROOT if root is None else root


def hang(row: bytes, right: bytes | None) -> bytes | None:
    """Give the root over a row of perfect subtrees, all of one height, with `right` hung on to the right of them.

    row: their hashes, any number; right: the root over what is smaller than one of them, None if nothing is there.
    """
    end = len(row) // HASH_BYTES
    while end:
        count = end & -end
        left = fold(row[(end - count) * HASH_BYTES : end * HASH_BYTES])
        right = left if right is None else hash_node(left, right)
        end -= count
    return right
