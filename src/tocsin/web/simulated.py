"""Simulated: what a long simulation answers, line by line, from a process that ends with whoever asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tocsin.core.model.errors import Conflict, Invalid, Unavailable
from tocsin.runtime.simulations import Simulations

NDJSON = "application/x-ndjson"
CUT_SHORT = (
    "It ended before it was done. The server's memory may be too small for this period: try a shorter one."
)


def answers(progress: str) -> dict[int | str, dict[str, Any]]:
    """Describe what a simulation answers. progress: the form of its lines about how far it is."""
    said = (
        f"Lines of JSON as they come to be: `{progress}` for how far it is, and at last either `{{report}}`, or "
        "`{error}` with what went wrong."
    )
    return {
        200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": said},
        404: {},
        409: {},
        422: {},
    }


async def simulated(
    simulations: Simulations, text: str, options: Sequence[str], request: Request
) -> Response:
    """Begin a simulation, and answer with its lines. Raises: Invalid, Conflict, Unavailable before the first."""
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context(simulations.begin(text, options))
        first = await _first(lines, request)
        _check(first)
        return SimulatedResponse(stack.pop_all(), _sent(first, lines))


class SimulatedResponse(StreamingResponse):
    """Ends what it tells of when it ends itself, also if whoever asked went away."""

    def __init__(self, running: AsyncExitStack, lines: AsyncIterator[bytes]) -> None:
        super().__init__(lines, media_type=NDJSON, headers={"cache-control": "no-store"})
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._running:
            await super().__call__(scope, receive, send)


async def _first(lines: AsyncIterator[bytes], request: Request) -> bytes:
    """Wait for a line, as long as there is somebody who waits for it; b"" if none comes."""
    line = asyncio.ensure_future(anext(lines, b""))
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((line, gone), return_when=asyncio.FIRST_COMPLETED)
        return line.result() if line.done() else b""
    finally:
        line.cancel()
        gone.cancel()


async def _sent(line: bytes, more: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give all lines. The last one always says how it ended."""
    yield line
    async for line in more:
        yield line
    if not line.startswith((b'{"report":', b'{"error":')):
        yield msgspec.json.encode({"error": {"detail": CUT_SHORT}}) + b"\n"


def _check(line: bytes) -> None:
    """Refuse what ended before it began. Raises: Invalid, Conflict, Unavailable."""
    if not line:
        raise Unavailable(CUT_SHORT)
    error: dict[str, Any] | None = msgspec.json.decode(line).get("error")
    if error is None:
        return
    if not error["invalid"]:
        raise Conflict(error["detail"], state="not readable")
    errors = [(one["field"], one["message"]) for one in error["errors"]]
    raise Invalid(error["detail"], field=error["field"], errors=errors)
