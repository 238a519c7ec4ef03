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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tocsin.cli.answers import Query, path_of, read_answer
from tocsin.cli.exits import CONFLICT, Failure
from tocsin.core.model.access import Role, granted
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import Policy
from tocsin.ports import Store
from tocsin.runtime.node import Node
from tocsin.settings import Settings
from tocsin.web.app import build_app
from tocsin.web.auth import Doorkeeper, Principal
from tocsin.web.denials import Denials
from tocsin.web.pepper import reset_tokens
from tocsin.wiring.access import read_pepper
from tocsin.wiring.node import build_node
from tocsin.wiring.outside import read_configuration
from tocsin.wiring.stores import check_seen, open_store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Local:
    """The application in this process, with an event loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node: Node, data: Path) -> None:
        self._loop = loop
        self._app = build_app(node, OperatorsDoor(node, data))
        self._node = node
        self._clock = node.clock
        self._data = data
        self._where = str(data)

    def now(self) -> datetime:
        """See `Api`."""
        return EPOCH + timedelta(microseconds=self._clock.now())

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """See `Api`."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer = self._loop.run_until_complete(self._ask(method, path_of(path, query), data))
        return read_answer(status, answer, self._where)

    def fetch(self, path: str, *, query: Query | None = None) -> bytes:
        """See `Api`."""
        status, answer = self._loop.run_until_complete(self._ask("GET", path_of(path, query), b""))
        if status != 200:
            read_answer(status, answer, self._where)
        return answer

    def save(self, path: str, file: BinaryIO, *, timeout_s: float) -> None:
        """See `Api`."""
        file.write(self.fetch(path))

    def reset_tokens(self) -> str:
        """Give all tokens up, and make one for an admin, which is to be shown. Raises: Conflict, Unavailable."""
        return self._loop.run_until_complete(reset_tokens(self._node, self._data, f"os:{user_name()}"))

    async def _ask(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Make one ASGI 3.0 request; a GET gives the loop a moment first, in which deliveries move on."""
        path, _, query = target.partition("?")
        status, parts = 500, []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},  # Nobody goes away before the answer is there.
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

    def __init__(self, node: Node, data: Path) -> None:
        super().__init__(node.store, node.clock, pepper=b"", denials=Denials(node.gate.submit))
        self._data = data
        self._operator = Principal(f"os:{user_name()}", Role.ADMIN, granted(Role.ADMIN))

    @property
    def pepper(self) -> bytes:
        """See `Doorkeeper`. Only who makes a token needs it. Raises: Conflict if it is lost."""
        return read_pepper(self._data, self._store)

    def known(self, authorization: bytes | None) -> Principal:
        """See `Doorkeeper`."""
        return self._operator

    async def identify(self, authorization: bytes | None, client: str) -> Principal:
        """See `Doorkeeper`."""
        return self._operator


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
    settings = _settings(data, writes)
    check_seen(settings, data)
    store = open_store(data)
    loop = asyncio.new_event_loop()
    try:
        if writes:
            _check_settings(settings, store, data)
        node = build_node(settings, store, data=data, opened=writes)
        running = _running(node) if writes else None
        if running is not None:
            loop.run_until_complete(running.__aenter__())
        try:
            yield Local(loop, node, data)
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


def _settings(data: Path, writes: bool) -> Settings:
    """Read the settings; who only looks at what is stored can do without them."""
    try:
        return read_configuration(None, data)
    except Invalid:
        if writes:
            raise
        return Settings()


def _check_settings(settings: Settings, store: Store, data: Path) -> None:
    """Refuse to run with settings that would take routes or channels away from the directory's policy.

    What a file says is meant. But the server may have been told of another file, or have had its channels in its
    environment, which this shell lacks; running here would make these settings the policy in force.
    """
    policies = store.load().policies
    policy: Policy | None = policies[-1][1] if policies else None
    if policy is None:
        return
    here = {channel.name for channel in settings.channels}
    lost = [] if settings.channels_in_file else sorted({target.channel for target in policy.targets} - here)
    rules_lost = settings.path is None and msgspec.structs.replace(policy, targets=()) != Policy()
    if lost or rules_lost:
        what = f"channels {', '.join(lost)}" if lost else "its routes or limits"
        raise Failure(
            f"No server runs on {data}, and this shell does not have its settings ({what}), so deciding here would "
            "change its policy. Start the server and send again, or say here where its configuration is: "
            "TOCSIN_CONFIG, and the TOCSIN_ variables that it has.",
            CONFLICT,
        )
