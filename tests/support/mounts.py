"""A file system of one's own, which nobody else sees: a holder keeps a mount namespace, and a server runs in it.

with Room(tmp_path / "data", "mount -t tmpfs -o size=16m tmpfs {at}") as room:
    server = Server(tmp_path / "data", prefix=room.prefix)
    (room.seen / "ballast").unlink()      # the same directory, from outside
"""

import contextlib
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self


def may_mount(how: str = "mount -t tmpfs -o size=64k tmpfs /mnt") -> bool:
    """Say whether this process may give a child a file system of its own."""
    with contextlib.suppress(OSError):
        return subprocess.run(["unshare", "-m", "sh", "-c", how], capture_output=True).returncode == 0
    return False


class Room:
    """A namespace in which something is mounted at a directory. mount: shell, in which {at} stands for the directory."""

    def __init__(self, at: Path, mount: str) -> None:
        self.at = at
        self._mount = mount
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.at.mkdir(exist_ok=True)
        script = f"{self._mount.format(at=self.at)} && echo mounted && read ended"
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "mounted\n", "it could not be mounted"
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._holder is not None
        self._holder.communicate()

    @property
    def prefix(self) -> list[str]:
        """What a command begins with that shall run in there."""
        assert self._holder is not None
        return ["nsenter", "-t", str(self._holder.pid), "-m", "--"]

    @property
    def seen(self) -> Path:
        """The directory, as it is seen from outside."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self.at}")

    def run(self, how: str) -> None:
        """Do something in there. how: shell, as for `mount`."""
        subprocess.run([*self.prefix, "sh", "-c", how.format(at=self.at)], check=True, capture_output=True)
