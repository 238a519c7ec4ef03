"""Waiting for what happens on another loop or in a lane: asked again and again, never longer than must be."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.support.http_sink import HttpSink, Reply
from tests.support.server import SinkThread
from tests.web.faces import Face

Done = TypeVar("Done")

SOON_S = 20.0
"""Whatever a test waits for must have happened by then; it is never waited out."""


def until(condition: Callable[[], bool]) -> None:
    """Return once it is so."""
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def on_its_loop(face: Face, what: Coroutine[Any, Any, Done]) -> Done:
    """Let the server's own loop do something, and give its outcome."""
    loop = face.node.gate._loop
    assert loop is not None
    return asyncio.run_coroutine_threadsafe(what, loop).result(SOON_S)


@contextmanager
def a_hanging_sink() -> Iterator[tuple[HttpSink, Callable[[], None]]]:
    """Give a receiver that never answers, and the way to let it hang up, so that nobody waits for it at the end."""
    thread = SinkThread(Reply(hang="before"))
    sink = thread.__enter__()
    left = [thread]

    def hang_up() -> None:
        while left:
            left.pop().__exit__(None, None, None)

    try:
        yield sink, hang_up
    finally:
        hang_up()
