"""Sizes: how much room the embedded store's files take."""

from pathlib import Path

from tocsin.stores.tables.reading import Reading


class ReadingFile(Reading):
    """The reading half of a store that is a file."""

    _path: Path

    def _bytes(self) -> dict[str, int]:
        return {
            "bytes": _size(self._path),
            "wal_bytes": _size(self._path.with_name(self._path.name + "-wal")),
        }


def _size(path: Path) -> int:
    """Give a file's bytes, 0 if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
