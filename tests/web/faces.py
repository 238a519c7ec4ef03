"""A face: the real application over a real node, served by a real uvicorn in a thread, with a token for every role."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from tests.runtime.house import Wrapped, a_policy, an_alert
from tests.support.http_sink import HttpSink

from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.ledger.encoding import read_decision
from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.policy import Policy
from tocsin.outbound import Outbound
from tocsin.ports import Channel, Clock
from tocsin.runtime.node import Node
from tocsin.runtime.notary import Notary
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.stores.memory import MemoryStore
from tocsin.web.app import build_app
from tocsin.web.auth import Doorkeeper, Verifier, make_token
from tocsin.web.connections import PatientProtocol, Server
from tocsin.web.denials import Denials
from tocsin.web.hot import AlertsRoute

PEPPER = b"a pepper that the tests all share"[:32]
ORIGIN = "tocsin-test"
Answer = tuple[int, dict[str, str], Any]
ALERT: dict[str, Any] = {"rule_id": "disk", "scope": {"host": "db-1"}, "severity": "error", "message": "full"}


class Hasty(PatientProtocol):
    """As the real one, but with the patience of a test; only for tests of it, as a busy machine may be slower."""

    head_s = 0.3
    request_s = 0.6
    look_every_s = 0.05


class Face:
    """Asks the server over HTTP. store: what it stands on, with places for faults."""

    def __init__(
        self,
        node: Node,
        store: Wrapped,
        app: AlertsRoute,
        doorkeeper: Doorkeeper,
        port: int,
        tokens: dict[Role, str],
    ) -> None:
        self.node, self.store, self.app, self.port, self.tokens = node, store, app, port, tokens
        self.doorkeeper = doorkeeper

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: Role | None = Role.ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask once on a connection of its own. role: None for no token. Headers of the answer are lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}
            if body is not None:
                sent["Content-Type"] = "application/json"
            payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, payload, sent | dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            endless = found.get("content-type") == "text/event-stream"
            read = b"" if endless else response.read()
            is_json = found.get("content-type", "").endswith(("/json", "+json")) and read
            return response.status, found, json.loads(read) if is_json else read
        finally:
            connection.close()

    def post(self, body: object, query: str = "", **more: Any) -> Answer:
        """Send alerts."""
        return self.ask("POST", f"/api/v1/alerts{query}", body, **more)

    def raw(self, data: bytes) -> bytes:
        """Write bytes, and give all that comes back until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            return self.rest(connection)

    @staticmethod
    def rest(connection: socket.socket) -> bytes:
        """Read to the end."""
        parts = []
        try:
            while part := connection.recv(65_536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def settle(self) -> int:
        """Have all denials recorded, also those that are only counted yet, and give the ledger's size then."""

        async def wait() -> None:
            self.doorkeeper.denials.flush()
            await self.node.gate.submit((), "test")

        self.on_loop(wait())
        return self.entries()

    def on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the server's loop, and return once it is done."""
        loop = self.node.gate._loop
        assert loop is not None
        asyncio.run_coroutine_threadsafe(work, loop).result(20)

    def events(self, since: int = 0) -> list[ev.Decided]:
        """Give all events of the entries from `since` on."""
        store = self.node.store
        entries = [store.entry(seq) for seq in range(since, store.head().size)]
        return [event for entry in entries if entry for event in read_decision(entry[1]).events]

    def entries(self) -> int:
        """How many entries the ledger has."""
        return self.node.store.head().size


@contextmanager
def a_face(
    *,
    sink: HttpSink | None = None,
    protocol: type[PatientProtocol] = PatientProtocol,
    verifier: Callable[[Clock], Verifier] | None = None,
    failures_max: int = 1_000_000,
    signs: bool = False,
    policy: Policy | None = None,
) -> Iterator[Face]:
    """Serve until the block ends.

    sink: where the channel `hook` speaks to; without it there is none. verifier: makes who verifies JWTs.
    failures_max: failed sign-ins a minute; by default more than any test has.
    signs: whether somebody signs checkpoints; that makes two entries more. policy: see `a_policy`.
    """
    ready, done = threading.Event(), threading.Event()
    faces: list[Face] = []
    failed: list[BaseException] = []
    stop: list[Any] = []

    async def serve() -> None:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        channels: dict[str, Channel] = {}
        if sink is not None:
            channels["hook"] = Webhook(WebhookConfig(name="hook", url=sink.url("/hook")), outbound)
        store = Wrapped(MemoryStore())
        clock, ids = MachineClock(), MachineIds()
        tokens = {}
        for role in Role:
            tokens[role], stored = make_token(
                ids.random_bytes(36), name=role, role=role, at=clock.now(), pepper=PEPPER
            )
            store.put_token(stored)
        node = Node(
            store=store,  # type: ignore[arg-type]
            clock=clock,
            ids=ids,
            channels=channels,
            policy=policy or a_policy(*channels),
            origin=ORIGIN,
            close=outbound.close,
            notary=Notary(store, ids, origin=ORIGIN, kek=lambda: bytes(32), mark=None) if signs else None,  # type: ignore[arg-type]
        )
        node.open()
        doorkeeper = Doorkeeper(
            store,  # type: ignore[arg-type]
            clock,
            pepper=PEPPER,
            denials=Denials(node.gate.submit),
            verifier=verifier(clock) if verifier is not None else None,
            failures_max=failures_max,
        )
        app = build_app(node, doorkeeper)
        assert isinstance(app, AlertsRoute)
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(
            uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, http=protocol, ws="none"),
            node.feed,
        )
        node.start()
        faces.append(Face(node, store, app, doorkeeper, listener.getsockname()[1], tokens))
        stop.append(server)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # uvicorn tells nobody when it has begun.
        ready.set()
        await serving
        await doorkeeper.close()
        await node.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    assert not failed, failed
    try:
        yield faces[0]
    finally:
        stop[0].should_exit = True
        assert done.wait(20)
        thread.join()
        assert not failed, failed


__all__ = ["ALERT", "Answer", "Face", "Hasty", "a_face", "an_alert"]
