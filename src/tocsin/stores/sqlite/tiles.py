"""Tiles: the roots of full tiles, computed from the entries where the table lacks them.

Each commit writes its own; so there is something to do only for a file of an older schema, or one from which the
table was taken.
"""

import apsw

from tocsin.core.ledger.encoding import unpack
from tocsin.core.ledger.merkle import TILE_HEIGHT, Frontier, hash_leaf

ROWS_AT_ONCE = 4096


def fill_tiles(writer: apsw.Connection) -> None:
    """Compute all tiles, unless they are there. Raises: apsw.Error."""
    ((size, known),) = writer.execute("SELECT size, (SELECT count(*) FROM tiles) FROM head").fetchall()
    assert isinstance(size, int)
    if known == sum(size >> height for height in range(TILE_HEIGHT, 64, TILE_HEIGHT)):
        return
    tree = Frontier()
    with writer:
        writer.execute("DELETE FROM tiles").fetchall()
        for (data,) in writer.execute("SELECT data FROM segments ORDER BY first_seq"):
            tree.extend(hash_leaf(header) for header, _, _ in unpack(data))
            if len(tree.completed) >= ROWS_AT_ONCE:
                _write(writer, tree)
        _write(writer, tree)


def _write(writer: apsw.Connection, tree: Frontier) -> None:
    writer.executemany("INSERT INTO tiles VALUES (?, ?, ?)", tree.completed)
    tree.completed.clear()
