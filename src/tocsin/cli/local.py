"""Local: no server runs, so the verb takes the data directory's lock and runs the same code itself.

The same application answers the same requests, in this process and without a socket. Whoever may open the directory
is its operator; the ledger names them as the operating system does: `os:anna`.
"""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tocsin.cli.answers import Query, path_of, read_answer
from tocsin.cli.exits import CONFLICT, Failure
from tocsin.core.model.access import Permission, Role, may
from tocsin.core.model.policy import Policy
from tocsin.ports import Store
from tocsin.runtime.node import Node
from tocsin.settings import Settings, read_settings
from tocsin.web.app import build_app
from tocsin.web.auth import Doorkeeper, Principal
from tocsin.wiring import build_node, open_store


class Local:
    """The application in this process, with an event loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node: Node, where: str) -> None:
        self._loop = loop
        self._app = build_app(node, OperatorsDoor(node.store))
        self._where = where

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """See `Api`."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer = self._loop.run_until_complete(self._ask(method, path_of(path, query), data))
        return read_answer(status, answer, self._where)

    async def _ask(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Make one ASGI 3.0 request; a GET gives the loop a moment first, in which deliveries move on."""
        path, _, query = target.partition("?")
        status, parts = 500, []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json")] if body else [],
            "client": None,
            "server": None,
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Any) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            else:
                parts.append(event.get("body", b""))

        await asyncio.sleep(0.02)
        await self._app(scope, receive, send)
        return status, b"".join(parts)


class OperatorsDoor(Doorkeeper):
    """Admits the one who opened the directory; the operating system has checked them."""

    def admit(self, authorization: bytes | None, permission: Permission) -> Principal:
        """See `Doorkeeper`."""
        assert may(Role.ADMIN, permission)
        return Principal(f"os:{user_name()}", Role.ADMIN)


def user_name() -> str:
    """Name the user of this process as the operating system does; its number if it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@contextmanager
def opened(data: Path, *, writes: bool) -> Iterator[Local]:
    """Hold the data directory for a moment and run on it.

    writes: something will be decided: the state is loaded and deliveries go out; else only what is stored is read.
    Raises: Failure (4) if the settings here would change the directory's policy; and as `build_node`.
    """
    settings = read_settings()
    store = open_store(data)
    loop = asyncio.new_event_loop()
    try:
        if writes:
            _check_settings(settings, store, data)
        node = build_node(settings, store, opened=writes)
        running = _running(node) if writes else None
        if running is not None:
            loop.run_until_complete(running.__aenter__())
        try:
            yield Local(loop, node, str(data))
        finally:
            if running is not None:
                loop.run_until_complete(running.__aexit__(None, None, None))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        store.close()


@asynccontextmanager
async def _running(node: Node) -> AsyncIterator[None]:
    node.start()
    try:
        yield
    finally:
        await node.stop()


def _check_settings(settings: Settings, store: Store, data: Path) -> None:
    """Refuse to run with settings that would take routes or channels away from the directory's policy.

    The server has them in its environment; this shell may not. Running here would make these the policy in force.
    """
    policies = store.load().policies
    policy: Policy | None = policies[-1][1] if policies else None
    if policy is None:
        return
    here = set()
    if settings.smtp is not None:
        here.add("email")
    if settings.teams_url:
        here.add("teams")
    if settings.webhook_url:
        here.add("webhook")
    lost = sorted({target.channel for target in policy.targets} - here)
    if lost or (settings.routes is None and policy.routes.name != "default"):
        what = f"channels {', '.join(lost)}" if lost else "its routes"
        raise Failure(
            f"No server runs on {data}, and this shell does not have its settings ({what}), so deciding here would "
            "change its policy. Start the server and send again, or set the same TOCSIN_ variables here.",
            CONFLICT,
        )
