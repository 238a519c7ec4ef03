"""Files: writing a small file that only its owner may read, at once or not at all."""

import contextlib
import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or replace the one that is there, so that it survives a loss of power.

    Raises: OSError; then what was there is as it was.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    with contextlib.suppress(OSError):  # Some file systems cannot sync a directory, and then need not.
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_private(path: Path) -> bytes:
    """Read a file that nobody else may read, and see to that.

    One that is mounted, and read-only, may be left to its group. Raises: OSError.
    """
    data = path.read_bytes()
    mode = path.stat().st_mode
    if mode & 0o077:
        try:
            path.chmod(0o600)
        except OSError:
            if mode & 0o007:
                raise
    return data
