"""The reloader by itself: what becomes of signals that come faster than a file can be read."""

import asyncio
import threading
from typing import NoReturn

from tocsin.cli.reload import Reloader
from tocsin.core.model.errors import Invalid
from tocsin.settings import Settings


def test_signals_that_come_while_one_waits_are_the_same_signal() -> None:
    begun, go_on = threading.Event(), threading.Event()
    reads: list[int] = []

    def read() -> NoReturn:
        reads.append(1)
        begun.set()
        assert go_on.wait(20)
        raise Invalid("wrong")

    async def storm() -> None:
        reloader = Reloader(None, None, Settings(), read)  # type: ignore[arg-type]  # Neither is come to.
        reloader.on_signal()
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(1_000):
            reloader.on_signal()
        go_on.set()
        await reloader.stop()
        assert len(reads) == 2  # One that was at work already, and one for all that came since.
        reloader.on_signal()
        await reloader.stop()

    asyncio.run(storm())

    assert len(reads) == 3
