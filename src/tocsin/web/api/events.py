"""Events: the ledger as it grows, as server-sent events (WHATWG HTML, 9.2).

A stream is a place in the ledger and nothing else: whoever comes back with the last id that they saw goes on behind
it, and nothing is kept for them meanwhile. Only decisions are sent; what could be erased later never leaves here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from tocsin.core.ledger import encoding
from tocsin.core.model.access import Permission
from tocsin.core.model.errors import Invalid, NotFound, TocsinError, Unavailable
from tocsin.ports import Store, StoreFailed, number_of
from tocsin.runtime.feed import Feed
from tocsin.web.auth import Doorkeeper, Limited, Principal, Unauthenticated
from tocsin.web.denials import client_of
from tocsin.web.forms import instant
from tocsin.web.guard import Reader, TheDoorkeeper, TheNode

log = logging.getLogger("tocsin.web")

router = APIRouter()

LINES_AT_ONCE = 200
EACH_MAX = 60
"""So many streams may one token, or one person, have at a time; there is room for a hundred in all."""

SIGN_OF_LIFE_S = 15.0
"""So often, at least, a stream says something, and asks whether its token still opens it."""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Type": "text/event-stream"}

FOR_AUDITORS = frozenset({"access", "erased", "ledger", "policy", "restored", "retention", "token"})
"""Kinds of entries that only those see who may read the ledger."""


class Line(NamedTuple):
    """One entry as it is sent. incident: its public id, "" if it touches none."""

    seq: int
    kind: str
    incident: str
    text: bytes


class Wanted(NamedTuple):
    """Which entries a stream shows. kinds: () for all; incident: its public id, "" for all."""

    kinds: tuple[str, ...]
    incident: str
    audits: bool

    def has(self, line: Line) -> bool:
        """Say whether this line is one of them."""
        return (
            (not self.kinds or line.kind in self.kinds)
            and (not self.incident or line.incident == self.incident)
            and (self.audits or line.kind not in FOR_AUDITORS)
        )


class _Decision(msgspec.Struct):
    events: msgspec.Raw


_decision = msgspec.json.Decoder(_Decision).decode
_encode = msgspec.json.Encoder().encode


def read_lines(store: Store, first: int) -> list[Line]:
    """Give the entries from `first` on, at most LINES_AT_ONCE. Raises: StoreFailed."""
    lines: list[Line] = []
    for segment in store.segments(first):
        for seq, (header, decision, _) in enumerate(encoding.unpack(segment.data), segment.first_seq):
            if seq >= first:
                lines.append(_line(header, decision))
            if len(lines) == LINES_AT_ONCE:
                return lines
    return lines


def _line(header_bytes: bytes, decision: bytes) -> Line:
    header = encoding.read_header(header_bytes)
    data = _encode(
        {
            "seq": header.seq,
            "at": instant(header.at),
            "kind": header.kind,
            "actor": header.actor,
            "incident_id": header.incident,
            "number": number_of(header.incident) if header.incident else None,
            "policy": header.policy,
            "cause": header.cause,
            "events": _decision(decision).events,
        }
    )
    text = b"id: %d\nevent: %s\ndata: %s\n\n" % (header.seq, header.kind.encode(), data)
    return Line(header.seq, header.kind, header.incident or "", text)


class Pages:
    """Reads the ledger for all streams: those that stand at the same place at the same time share one reading."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading: dict[int, asyncio.Task[list[Line]]] = {}

    async def at(self, first: int) -> list[Line]:
        """Give the entries from `first` on, as `read_lines`."""
        task = self._reading.get(first)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(read_lines, self._store, first))
            self._reading[first] = task
            task.add_done_callback(lambda task: self._done(first, task))
        # Whoever goes away must not take the reading from the others.
        return await asyncio.shield(task)

    def _done(self, first: int, task: asyncio.Task[list[Line]]) -> None:
        del self._reading[first]
        if not task.cancelled():
            task.exception()  # All who would have heard of it may be gone.


class Followers:
    """Counts who follows how often, so that nobody alone takes every place. Belongs to the event loop."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one(self, actor: str) -> Iterator[None]:
        """Count one more of theirs. Raises: Unavailable if they have too many."""
        if self._counts[actor] >= EACH_MAX:
            raise Unavailable(
                f"{actor} follows {EACH_MAX} times already, which is the most. Close one, or use another token."
            )
        self._counts[actor] += 1
        try:
            yield
        finally:
            self._counts[actor] -= 1
            self._counts += Counter()  # Forgets those who are at 0.


class EventStream(StreamingResponse):
    """A stream that counts as one of the feed's clients, and of its actor's, for as long as it is sent."""

    def __init__(self, feed: Feed, followers: Followers, actor: str, parts: AsyncIterator[bytes]) -> None:
        super().__init__(parts, headers=HEADERS)
        self._feed, self._followers, self._actor = feed, followers, actor

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it. Raises: Unavailable, before anything was sent."""

        async def heard() -> Any:
            try:
                return await receive()
            except HTTPException:  # More of a body than is taken: who sends that is not following.
                return {"type": "http.disconnect"}

        with self._followers.one(self._actor), self._feed.client():
            await super().__call__(scope, heard, send)


@router.get(
    "/api/v1/events",
    response_class=Response,
    responses={200: {"description": "A stream without end", "content": {"text/event-stream": {}}}, 404: {}},
)
async def events(
    request: Request,
    node: TheNode,
    doorkeeper: TheDoorkeeper,
    reader: Reader,
    after: Annotated[int | None, Query(ge=-1, lt=1 << 62)] = None,
    kind: Annotated[list[str] | None, Query(max_length=50)] = None,
    incident: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[int | None, Header(ge=-1, lt=1 << 62)] = None,
) -> Response:
    """Follow the ledger: what comes next, or everything behind `after` (-1: from the beginning) or `Last-Event-ID`.

    A browser that comes back repeats its address with `after` in it, so `Last-Event-ID` counts more.
    """
    head, id_ = await asyncio.to_thread(_look_up, node.store, incident)
    seen = last_event_id if last_event_id is not None else after
    if seen is not None and seen >= head:
        raise Invalid(
            f"There is no entry {seen}; the ledger has {head}, the last is {head - 1}. Begin without it.",
            field="Last-Event-ID" if last_event_id is not None else "after",
        )
    if request.scope.get("head"):
        return Response(headers=HEADERS)
    wanted = Wanted(tuple(kind or ()), id_, Permission.READ_LEDGER in reader.permissions)
    first = head if seen is None else seen + 1
    still = _still_admitted(doorkeeper, reader, request)
    pages: Pages = request.app.state.pages
    followers: Followers = request.app.state.followers
    parts = follow(node.feed, pages, wanted, first, still)
    return EventStream(node.feed, followers, reader.actor, parts)


async def follow(
    feed: Feed, pages: Pages, wanted: Wanted, first: int, still: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """Give the stream's bytes, from the entry `first` on, until it shall end.

    still: says whether the one who follows may go on.
    """
    time = asyncio.get_running_loop().time
    yield b"retry: 1000\n\n"
    spoke = asked = time()
    while not feed.closed.is_set():
        await feed.wait(first, max(0.0, min(spoke, asked) + SIGN_OF_LIFE_S - time()))
        if time() >= asked + SIGN_OF_LIFE_S:
            asked = time()
            if not await still():
                return
        if feed.size > first and not feed.closed.is_set():
            try:
                lines = await pages.at(first)
            except StoreFailed as error:
                log.info("a stream of events ends, and is asked to come back: %s", error)
                return
            if not lines:
                return  # The ledger is not the one that it was.
            first = lines[-1].seq + 1
            if part := b"".join([line.text for line in lines if wanted.has(line)]):
                yield part
                spoke = time()
        if time() >= spoke + SIGN_OF_LIFE_S:
            yield b": \n\n"
            spoke = time()


def _look_up(store: Store, incident: str | None) -> tuple[int, str]:
    """Give how many entries there are, and the incident's public id. Raises: NotFound, StoreFailed."""
    found = store.find_incident(incident) if incident is not None else None
    if incident is not None and found is None:
        raise NotFound(f"There is no incident {incident!r}. List them: GET /api/v1/incidents.")
    return store.head().size, found.id if found is not None else ""


def _still_admitted(
    doorkeeper: Doorkeeper, reader: Principal, request: Request
) -> Callable[[], Awaitable[bool]]:
    """Make the question whether whoever began the stream would be let in now, with no less than they had."""
    header = request.headers.get("authorization", "").encode("latin-1")

    async def still() -> bool:
        try:
            now = await doorkeeper.identify(header, client_of(request.scope))
        except Limited:
            return True  # They ask often, and are who they were.
        except (Unauthenticated, TocsinError):
            return False
        return now.permissions >= reader.permissions

    return still
