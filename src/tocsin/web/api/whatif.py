"""What-if: what would have been different under another policy. The answer comes line by line, with its progress."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tocsin.core.model.errors import Conflict, Invalid, Unavailable
from tocsin.web.forms import Document, instant
from tocsin.web.guard import Auditor, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import Moment

router = APIRouter()

NDJSON = "application/x-ndjson"
CUT_SHORT = (
    "It ended before it was done. The server's memory may be too small for this period: try a shorter one."
)


class WhatIfForm(Form):
    """Another policy, and the period in which to try it: what came at `since` or later, and before `until`.

    policy: the text of a `tocsin.yaml`. Without `channels` in it, those of the record are told.
    zone: where the night is, by its IANA name.
    """

    policy: Annotated[Document, Field(examples=["routes: {name: default, group_wait: 5m}\n"])]
    since: Annotated[Moment | None, Field(description="From the first entry, if it is left out.")] = None
    until: Annotated[Moment | None, Field(description="To the last entry, if it is left out.")] = None
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$", examples=["Europe/Berlin"])] = "UTC"


@router.post(
    "/api/v1/whatif",
    response_class=Response,
    responses={
        200: {
            "content": {NDJSON: {"schema": {"type": "string"}}},
            "description": (
                "Lines of JSON as they come to be: `{doing, entries, of}` for how far it is, and at last either "
                "`{report}`, or `{error}` with what went wrong."
            ),
        },
        404: {},
        409: {},
        422: {},
    },
)
async def what_if(form: WhatIfForm, request: Request, node: TheNode, auditor: Auditor) -> Response:
    """Decide what was recorded again under another policy, and show what would have been different."""
    if form.since is not None and form.until is not None and form.until <= form.since:
        raise Invalid("The period ends before it begins. Swap the two.", field="until")
    options = [f"--zone={form.zone}"]
    for name, moment in (("since", form.since), ("until", form.until)):
        if moment is not None:
            options.append(f"--{name}={instant(moment)}")
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context(node.simulations.begin(form.policy, options))
        first = await _first(lines, request)
        _check(first)
        return WhatIfResponse(stack.pop_all(), _sent(first, lines))


class WhatIfResponse(StreamingResponse):
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
