"""A terminal of 80 by 24 with a verb in it, for what only happens where somebody sits."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cli.running import COMMAND, environment

READ_S = 120.0
"""Whatever a test waits for must have been shown by then; it is never waited out."""


@dataclass
class Terminal:
    """What stood on the screen so far, and the keys."""

    process: subprocess.Popen[bytes]
    screen: int
    seen: str = ""
    _pending: bytes = field(default=b"", repr=False)

    def wait_for(self, text: str) -> None:
        """Read until this text has been shown. Raises: AssertionError if the verb ends without it."""
        while text not in self.seen:
            assert self._read(), f"{text!r} was never shown:\n{self.seen}"

    def type(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def end(self) -> int:
        """Read to the end, and give the exit code."""
        while self._read():
            pass
        return self.process.wait(READ_S)

    def _read(self) -> bool:
        readable, _, _ = select.select([self.screen], [], [], READ_S)
        assert readable, f"nothing more was shown for {READ_S:.0f} s:\n{self.seen}"
        try:
            read = os.read(self.screen, 65536)
        except OSError:  # Linux says EIO when nobody has the other side any more.
            return False
        self._pending += read
        text = self._pending.decode("utf-8", "ignore")
        self.seen, self._pending = self.seen + text, b""
        return bool(read)


@contextmanager
def terminal(*arguments: object, **settings: str) -> Iterator[Terminal]:
    """Run a verb at a terminal. settings: TOCSIN_ variables, without that prefix."""
    screen, inside = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches whoever owns the terminal.
        env={**environment(**settings), "TERM": "xterm-256color"},
    )
    os.close(inside)
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(screen)
