"""Child processes that cannot outlive us: pinned to a core, in a session of their own, output in a file.

A session of their own keeps Ctrl-C from reaching them before we have stopped them in order; should we
ourselves be killed, the kernel kills them.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
LOG_TAIL_LINES = 30
TOKEN = re.compile(r"toc_\w+")


class DidNotStart(Exception):
    """A server did not come up; the message ends with the tail of its log."""


class Child:
    """One running process."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        folder: Path | None = None,
    ) -> None:
        """Start it. Raises: DidNotStart if there is no such program."""

        def before_exec() -> None:
            os.sched_setaffinity(0, {core})
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        self.name = name
        self.log = log
        self._ended = False
        self.started_s = time.monotonic()
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    cwd=folder,
                    pass_fds=pass_fds,
                    start_new_session=True,
                    preexec_fn=before_exec,  # Safe, as this process has one thread.
                )
        except OSError as error:
            raise DidNotStart(f"{name} could not be started: {error}. Tried: {' '.join(command)}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def log_tail(self) -> str:
        """The last lines that it wrote, for a message to a person; tokens are left out."""
        lines = self.log.read_text(errors="replace").splitlines()
        tail = "\n".join(lines[-LOG_TAIL_LINES:]) or "(it wrote nothing)"
        return TOKEN.sub("toc_...", tail)

    def did_not_start(self, what: str) -> DidNotStart:
        """The error that says so, with the log's tail."""
        return DidNotStart(f"{self.name} {what}. The end of its log:\n{self.log_tail()}")

    def stop(self, how: signal.Signals = signal.SIGTERM, *, until_s: float = 15) -> bool:
        """Ask it to end, by force when `until_s` seconds are over; whether it went by itself."""
        self._process.send_signal(how)
        try:
            self._process.wait(until_s)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and what it started at once, as a power cut would; harmless when that was done before."""
        if self._ended:
            return
        self._ended = True  # Only once: later its number may be somebody else's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(10)
