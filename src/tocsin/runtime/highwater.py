"""High water: the highest checkpoint that was ever signed here, in a file that is no part of the database.

A database that was put back from an older state does not know what it lost; this file does. Two histories under one
name would look like forgery to whoever holds a checkpoint of the other, so they must not come about unnoticed.
"""

from collections.abc import Callable, Sequence
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


def lost(
    mark: HighWater, path: Path, *, names: Sequence[str], size: int, root_of: Callable[[int], bytes | None]
) -> str:
    """Say what a ledger lacks of what was signed, "" if nothing.

    path: of the mark; names: of the ledger, the present one last; root_of: gives the root over its first so many.
    """
    if not size:
        return f"The ledger is empty, but a checkpoint of {mark.size} entries was signed ({path})."
    name = names[-1] if names else "without a name"
    if mark.origin != name:
        if mark.origin in names:
            return ""  # It had that name before.
        return f"The database holds the ledger {name}, but a checkpoint of {mark.origin} was signed here ({path})."
    if mark.size > size:
        return f"The ledger has {size} entries, but a checkpoint of {mark.size} was signed ({path})."
    root = root_of(mark.size)
    if root is None or root.hex() != mark.root:
        return f"The first {mark.size} entries of the ledger are others than those that were signed ({path})."
    return ""


def write(path: Path, mark: HighWater) -> None:
    """Write the file, at once or not at all, so that it survives a loss of power. Raises: OSError."""
    write_whole(path, msgspec.json.encode(mark) + b"\n")
