"""Key-encryption key: what the ledger's own keys are wrapped with, so that the database alone cannot sign.

It lies in a file of its own beside the database, or wherever the settings say.
"""

import base64
import binascii
from pathlib import Path

from tocsin.core.model.errors import Conflict, Invalid
from tocsin.ports import Ids
from tocsin.runtime.files import read_private, write_whole

KEY_FILE = "ledger.key"
KEK_BYTES = 32


def read_key_text(text: str) -> bytes:
    """Read 32 bytes in base64 or hex. Raises: Invalid."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEK_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEK_BYTES:
        raise Invalid(
            f"`ledger.key` is {KEK_BYTES} random bytes in base64 or hex, and this is something else. Make one: "
            "head -c 32 /dev/urandom | base64",
            field="ledger.key",
        )
    return key


def read_key_file(path: Path, ids: Ids, *, may_make: bool) -> bytes:
    """Read the key from its file, and make it if there is none and nothing was wrapped with it yet.

    Raises: Conflict if it is lost or damaged, or cannot be read or written.
    """
    try:
        key = read_private(path)
    except FileNotFoundError:
        if not may_make:
            raise Conflict(
                f"The file {path} is missing, so the ledger's keys cannot be opened and nothing can be signed. Put it "
                "back from a backup of this data directory; of several nodes, from the directory of another.",
                state="locked",
            ) from None
        return _make(path, ids)
    except OSError as error:
        raise Conflict(
            f"The file {path} cannot be read: {error.strerror}. Let the user who runs Tocsin own it.",
            state="locked",
        ) from error
    if len(key) != KEK_BYTES:
        raise Conflict(
            f"The file {path} has {len(key)} bytes instead of {KEK_BYTES}. Put it back from a backup.",
            state="locked",
        )
    return key


def _make(path: Path, ids: Ids) -> bytes:
    """Write a new key, so that it survives a loss of power before anything is wrapped with it."""
    key = ids.random_bytes(KEK_BYTES)
    try:
        write_whole(path, key)
    except OSError as error:
        raise Conflict(
            f"The file {path} cannot be written: {error.strerror}. Mend the disk or its permissions.",
            state="locked",
        ) from error
    return key
