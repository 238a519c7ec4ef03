"""High water: the highest checkpoint that was ever signed here, in a file that is no part of the database.

A database that was put back from an older state does not know what it lost; this file does. Two histories under one
name would look like forgery to whoever holds a checkpoint of the other, so they must not come about unnoticed.
"""

from pathlib import Path

import msgspec

from tocsin.ports import StoreRefused
from tocsin.runtime.files import write_whole

FILE = "highwater.json"


class HighWater(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint. origin: the ledger's name; size; root: 64 hex digits."""

    origin: str
    size: int
    root: str


def read(path: Path) -> HighWater | None:
    """Read the file, None if there is none. Raises: StoreRefused if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=HighWater)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreRefused(
            f"{path}, which says how far this ledger had come, cannot be read ({error}). Put it back from where it is "
            "kept; or remove it, if you know that the database is not an older state of itself."
        ) from error


def write(path: Path, mark: HighWater) -> None:
    """Write the file, at once or not at all, so that it survives a loss of power. Raises: OSError."""
    write_whole(path, msgspec.json.encode(mark) + b"\n")
