"""An auditor's program: follows a ledger through what C2SP tlog-tiles publishes, and believes nothing unverified."""

import json
from typing import Any

from tests.web.faces import Face

from tocsin.core.ledger import prove, tiles
from tocsin.core.ledger.checkpoint import Checkpoint, read_signed
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.ledger.note import Key, decode64, read_key
from tocsin.core.ledger.proof import is_consistent, is_included
from tocsin.core.ledger.tiles import Bundle, Tile, bundles_of, tiles_of, unpack_bundle
from tocsin.core.model.access import Role
from tocsin.runtime.signing import verify


class Auditor:
    """Knows nothing of the server but the keys that it was given."""

    def __init__(self, face: Face, *vkeys: str) -> None:
        self._face = face
        self.keys: list[Key] = [read_key(vkey) for vkey in vkeys]

    def get(self, path: str) -> bytes:
        """Fetch as an auditor may. Raises: KeyError if it is not there."""
        status, _, data = self._face.ask("GET", path, role=Role.AUDITOR)
        if status == 404:
            raise KeyError(path)
        assert status == 200, (path, status, data)
        return data if isinstance(data, bytes) else json.dumps(data).encode()

    def checkpoint(self, data: bytes | None = None) -> Checkpoint:
        """Verify a checkpoint, by default the one that is published."""
        return read_signed(data or self.get("/ledger/checkpoint"), self.keys, verify, origin=None)[0]

    def tile(self, place: Tile | Bundle) -> bytes:
        return self.get(f"/ledger/{tiles.path(place)}")

    def read(self, level: int, index: int, width: int) -> bytes:
        """As `core.ledger.tiles.Read`."""
        return self.tile(Tile(level, index, width))

    def follow(self, signed: Checkpoint) -> list[bytes]:
        """Fetch all of a tree, check every tile against what lies below it, and give the headers of all entries."""
        headers: list[bytes] = []
        for bundle in bundles_of(signed.size):
            found = unpack_bundle(self.tile(bundle))
            assert len(found) == bundle.width
            headers += found
        below = b"".join(map(hash_leaf, headers))
        level = 0
        for place in tiles_of(signed.size):
            if place.level > level:
                full = len(below) // (32 * 256)
                below = b"".join(tiles.fold(below[at * 8192 : (at + 1) * 8192]) for at in range(full))
                level = place.level
            start = place.index * 8192
            assert self.tile(place) == below[start : start + place.width * 32], place
        assert prove.root(signed.size, self.read) == signed.root
        return headers

    def has_grown(self, old: Checkpoint, answer: dict[str, Any]) -> bool:
        """Verify the server's proof that a ledger only grew since an older checkpoint."""
        new = self.checkpoint(answer["checkpoint"].encode())
        assert (answer["old"], answer["size"]) == (old.size, new.size)
        path = [decode64(line) or b"" for line in answer["hashes"]]
        return is_consistent(old=old.size, old_root=old.root, new=new.size, new_root=new.root, path=path)

    def holds(self, signed: Checkpoint, index: int, header: bytes) -> bool:
        """Prove from tiles alone that an entry is in the ledger."""
        path = prove.inclusion(index, signed.size, self.read)
        leaf = hash_leaf(header)
        return is_included(leaf, index=index, size=signed.size, path=path, root=signed.root)
