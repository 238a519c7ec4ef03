"""Simulations: what-ifs and backtests for those who ask over HTTP, each in a process of its own.

One takes a core for a minute or more. In this process it would take the interpreter from the alerts that come in; in
one of its own, and with less right to the machine, it takes nothing from them, and can be ended at any moment.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tocsin.core.model.errors import Conflict, Unavailable

AT_ONCE = 1
WAIT_S = 1.0
"""So long one waits for another to end; for a minute it need not."""

NICE = 10
LINE_BYTES_MAX = 1 << 30
"""The report is one line."""


class Simulations:
    """Starts the command that simulates. Belongs to the event loop.

    command: up to where the name of a file is expected, such as `tocsin whatif --data ... --policy`; () if the store is
    in memory, so that no other process can read it. environment: the child's.
    file: what the file is called; name: what one of these is called.
    """

    def __init__(
        self,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        file: str = "policy.yaml",
        name: str = "what-if",
    ) -> None:
        self._command = tuple(command)
        self._environment = environment
        self._file = file
        self._name = name
        self._room = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def begin(self, text: str, options: Sequence[str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Simulate with a file that holds this text.

        options: more of the command's. Yields: the lines that it writes with `-o ndjson`, as they come.
        Whoever leaves the block ends it.
        Raises: Unavailable if another one is under way, Conflict if the store is in memory.
        """
        if not self._command:
            raise Conflict(
                "This ledger is in memory alone, where no other process can read it.", state="in memory"
            )
        try:
            async with asyncio.timeout(WAIT_S):
                await self._room.acquire()
        except TimeoutError:
            raise Unavailable(f"A {self._name} is under way, and there is room for one. Try again.") from None
        try:
            with tempfile.TemporaryDirectory(prefix=f"tocsin-{self._name}-") as folder:
                await asyncio.to_thread(Path(folder, self._file).write_text, text, encoding="utf-8")
                async with self._process(folder, options) as process:
                    assert process.stdout is not None
                    yield aiter(process.stdout)
        finally:
            self._room.release()

    @asynccontextmanager
    async def _process(
        self, folder: str, options: Sequence[str]
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            self._file,
            "--output",
            "ndjson",
            *options,
            cwd=folder,  # So that what it says of the file holds no path of this machine.
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES_MAX,
        )
        try:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
