"""Real processes for the tests of the terminal: `tocsin VERB ...` as people run it, and a server to talk to."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "tocsin.cli.main"]


@dataclass(frozen=True)
class Ran:
    """How a verb ended, and what it said."""

    code: int
    out: str
    err: str


def tocsin(*arguments: str | Path, cwd: Path | None = None, **settings: str) -> Ran:
    """Run a verb to its end. settings: TOCSIN_ variables, without that prefix."""
    ran = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def environment(**settings: str) -> dict[str, str]:
    return {**os.environ, **{f"TOCSIN_{name}": value for name, value in settings.items()}}


@dataclass
class Running:
    """A server that listens. said: its lines up to the one that says so; token: what the first start printed."""

    process: subprocess.Popen[str]
    data: Path
    url: str
    said: list[str]

    @property
    def token(self) -> str:
        return next(line for line in self.said if line.startswith("toc_"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """End it; its exit code, and what it said after the start."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@contextlib.contextmanager
def serving(data: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--data", str(data), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**settings),
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line.strip())
            if line.startswith("Tocsin listens on "):
                url = line.removeprefix("Tocsin listens on ").partition(";")[0]
                yield Running(process, data, url, said)
                return
        raise AssertionError(f"it did not start: {process.communicate()[1]}")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run_without_room(limit: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a verb that may write so many bytes to a file, and no more."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        # A coverage tool would have no room for its own file either.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
