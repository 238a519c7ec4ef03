"""Export: a ledger as one zip that an auditor can verify with nothing but the program inside, or by hand.

The same ledger, checkpoint and keys give the same bytes. README.txt in it describes the files.
"""

import base64
import itertools
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT, hash_leaf
from tocsin.core.ledger.tiles import ENTRY_BYTES_MAX, WIDTH, Bundle, Edge, pack_bundle, path

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every file in it, the first that a zip can say."""


class ExportFailed(Exception):
    """The entries are not those of the checkpoint: nothing that is written would be sound. Says what differs."""


def write_export(
    file: BinaryIO,
    *,
    segments: Iterable[Segment],
    checkpoint: bytes,
    keys: Sequence[str],
    transitions: Mapping[int, bytes] | None = None,
    scratch: Path | None = None,
) -> None:
    """Write the entries that the checkpoint counts, and what it takes to verify them.

    segments: from the first entry on; what goes beyond the checkpoint is left out. They are read once.
    checkpoint: a signed note over the entries. keys: of the ledger, as vkeys, oldest first.
    transitions: the signed notes that were made when keys changed, by size.
    scratch: a folder with room for a third of the ledger while this runs; None for the system's.
    Raises: ExportFailed, and what was written is of no use then.
    """
    size, root = _said_by(checkpoint)
    edge = Edge()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, _Waiting(archive, scratch) as waiting:
        _add(archive, "README.txt", files(__name__).joinpath("readme.txt").read_bytes())
        _add(archive, "checkpoint", checkpoint)
        _add(archive, "keys.txt", "".join(f"{key}\n" for key in keys).encode())
        for at, transition in sorted((transitions or {}).items()):
            _add(archive, f"transitions/{at}", transition)
        _add(archive, "verify_ledger.py", files(__name__).joinpath("verify_ledger.py").read_bytes())
        with archive.open(_info("entries.jsonl"), "w", force_zip64=True) as lines:
            entries = (entry for segment in segments for entry in unpack(segment.data))
            counted = itertools.islice(entries, size)
            while some := list(itertools.islice(counted, WIDTH)):
                headers = [header for header, _, _ in some]
                lines.writelines(
                    b'{"decision":%b,"header":%b,"private":%b}\n' % (decision, header, private or b"null")
                    for header, decision, private in some
                )
                for seq, header in enumerate(headers, edge.size):
                    if len(header) > ENTRY_BYTES_MAX:
                        raise ExportFailed(
                            f"The header of entry {seq} has {len(header)} bytes, which no bundle can hold."
                        )
                waiting.add(path(Bundle(edge.size // WIDTH, len(some))), pack_bundle(headers))
                for tile, content in edge.extend(map(hash_leaf, headers)):
                    waiting.add(path(tile), content)
        for tile, content in edge.partial():
            waiting.add(path(tile), content)
        waiting.write()
    if edge.size < size:
        raise ExportFailed(f"The checkpoint counts {size} entries, there are {edge.size}.")
    if edge.root() != root:
        raise ExportFailed(f"The root of the first {size} entries is not the one of the checkpoint.")


class _Waiting:
    """Files that wait on the disk until the one that is being written to the archive is complete."""

    def __init__(self, archive: zipfile.ZipFile, scratch: Path | None) -> None:
        self._archive = archive
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - it is closed in __exit__
        self._sizes: list[tuple[str, int]] = []

    def __enter__(self) -> "_Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, name: str, content: bytes) -> None:
        self._file.write(content)
        self._sizes.append((name, len(content)))

    def write(self) -> None:
        self._file.seek(0)
        for name, size in self._sizes:
            _add(self._archive, name, self._file.read(size))


def _info(name: str) -> zipfile.ZipInfo:
    """What the archive says of a file: nothing of when and where it was made."""
    info = zipfile.ZipInfo(name, LONG_AGO)
    info.create_system = 3  # Unix, wherever this runs.
    info.external_attr = 0o100644 << 16
    is_noise = name.startswith("tile/") and not name.startswith("tile/entries/")  # Hashes cannot be packed.
    info.compress_type = zipfile.ZIP_STORED if is_noise else zipfile.ZIP_DEFLATED
    return info


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(_info(name), content)


def _said_by(checkpoint: bytes) -> tuple[int, bytes]:
    """Size and root, as the second and third line of a checkpoint say them."""
    try:
        _, size, root, *_ = checkpoint.decode().split("\n")
        said = int(size), base64.b64decode(root, validate=True)
    except ValueError as error:
        raise ExportFailed(f"What was given as the checkpoint is none: {error}.") from error
    if said[0] < 0 or len(said[1]) != len(EMPTY_ROOT):
        raise ExportFailed("What was given as the checkpoint is none: its size or its root is not one.")
    return said
