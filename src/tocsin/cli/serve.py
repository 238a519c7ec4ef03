"""Serve: run a node with its HTTP face until it is told to stop.

What it prints first is all that a newcomer reads, so nothing else is printed beside it unless something is wrong.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import DATA, TOKEN_FILE, URL_FILE, config_option
from tocsin.cli.exits import UNEXPECTED, Failure, told
from tocsin.cli.plain import plain

if TYPE_CHECKING:
    import uvicorn

    from tocsin.runtime.node import Node
    from tocsin.settings import Settings
    from tocsin.web.auth import Doorkeeper

HTTP_GRACE_S = 3
"""What is being answered gets so long to end; then the node has its own grace."""

BACKLOG = 2048

FILES_MAX = 65_536
"""No more files and connections than that are asked for; each that is open costs the kernel some memory."""

FIRST_ENTRIES = 4
"""What a first start writes: that a node listens, the policy, the ledger's name, and the key that signs for it."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True)
@click.option(
    "--db",
    metavar="URL",
    default="",
    envvar="TOCSIN_DB",
    help="Keep everything in this PostgreSQL (postgresql://user@host/database), which other nodes may share.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8780, show_default=True, help="0 for a free one."
)
@config_option
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the log, on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "console"]),
    default="auto",
    show_default=True,
    help="auto: readable lines at a terminal, else JSON lines.",
)
@click.option(
    "--accept-clock", is_flag=True, help="Start although the clock does not fit the ledger's last entry."
)
@click.option(
    "--with-parent", is_flag=True, hidden=True, help="Stop once stdin closes, as it does with its parent."
)
def serve(
    data: Path,
    db: str,
    host: str,
    port: int,
    config: Path | None,
    log_level: str,
    log_format: str,
    accept_clock: bool,
    with_parent: bool,
) -> None:
    """Run Tocsin. The first start prints the admin's token, once."""
    from tocsin.cli.logs import set_up

    set_up(log_level, log_format)
    _allow_files()
    with told():
        from tocsin.wiring.outside import read_configuration

        def read(*, again: bool = False) -> "Settings":
            return read_configuration(config, data, running=again)

        run(_serve(read, data, db, host, port, accept_clock, with_parent))


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


def _allow_files() -> None:
    """Let this process open as many files as it may: the usual soft limit of 1,024 is for programs that use select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS may allow less than it says.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(
    read: Callable[..., "Settings"],
    data: Path,
    db: str,
    host: str,
    port: int,
    accept_clock: bool,
    with_parent: bool,
) -> None:
    from tocsin.cli.reload import Reloader
    from tocsin.wiring.access import build_doorkeeper, make_first_token, make_operator_token, read_pepper
    from tocsin.wiring.machine import build_failpoint
    from tocsin.wiring.node import build_node
    from tocsin.wiring.stores import opened_store

    _leave_no_core()
    # Until there is something to reload; by itself the signal would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping = Stopping(with_parent)
    settings = read()
    failpoint = build_failpoint(settings)
    with opened_store(data, db, failpoint, settings=settings) as store, _listening(host, port) as listener:
        pepper = read_pepper(data, store)
        node = build_node(settings, store, data=data, failpoint=failpoint, accept_clock=accept_clock)
        node.give_up = stopping.give_up
        operator = make_operator_token(store, pepper, data)
        url = _url(listener)
        node.start()
        try:
            if (first := make_first_token(store, pepper)) is not None:
                token, stored = first
                click.echo("This is the admin's token. It is shown only now; keep it:")
                click.echo(token)
                sys.stdout.flush()
                failpoint("after-token")
                store.put_token(stored)
            doorkeeper = build_doorkeeper(settings, node, pepper)
            reloader = Reloader(node, doorkeeper, settings, lambda: read(again=True))
            node.reload = reloader.reload
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.on_signal)
            try:
                with _found(data, url, operator):
                    _welcome(node, url, data, settings.path)
                    await _answer(node, doorkeeper, listener, stopping)
            finally:
                await reloader.stop()
                await doorkeeper.close()
        finally:
            await node.stop()
    if stopping.gave_up:
        raise Failure(
            f"Tocsin has stopped by itself: {stopping.gave_up}. Start it again: what is pending is resumed.",
            UNEXPECTED,
        )
    click.echo("Tocsin has stopped.")


def _leave_no_core() -> None:
    """A core file would hold every secret, readable by whoever reads the directory. (What is piped to a collector, such
    as systemd's, is not ours to forbid.)"""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


class Stopping:
    """Hears that the server shall stop, from before it is up: by SIGTERM, SIGINT, the end of its parent, or its node.

    gave_up: why the node wants to be started anew, "" if it does not.
    """

    def __init__(self, with_parent: bool) -> None:
        self._asked = False
        self.gave_up = ""
        self._server: uvicorn.Server | None = None
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._ask)
        if with_parent:
            self._loop.add_reader(0, self._look)

    def stops(self, server: "uvicorn.Server") -> None:
        """Name the server that is to be stopped; at once, if that was asked for already."""
        self._server = server
        server.should_exit = self._asked

    def give_up(self, why: str) -> None:
        """Stop in order, with an error, so that whoever looks after the process starts it again."""
        if not self._asked:
            self.gave_up = why
            self._ask()

    def _ask(self) -> None:
        if self._server is not None:
            self._server.force_exit = self._asked  # The second time, what is being answered is cut short.
            self._server.should_exit = True
        self._asked = True

    def _look(self) -> None:
        if not os.read(0, 1024):
            self._loop.remove_reader(0)
            self._ask()


async def _answer(
    node: "Node", doorkeeper: "Doorkeeper", listener: socket.socket, stopping: Stopping
) -> None:
    """Answer requests until it is asked to stop."""
    import uvicorn

    from tocsin.web.app import build_app
    from tocsin.web.connections import PatientProtocol, Server

    server = Server(
        uvicorn.Config(
            build_app(node, doorkeeper),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=HTTP_GRACE_S,
            http=PatientProtocol,
            ws="none",
        ),
        node.feed,
    )

    stopping.stops(server)
    await server.serve(sockets=[listener])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen, so that whoever is told the address can connect at once. Raises: Failure (1)."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Failure(
            f"Tocsin cannot listen on {host} port {port}: {why}. "
            "Choose another (--port, 0 for any free one; --host), or stop what is there.",
            UNEXPECTED,
        ) from error
    with listener:
        listener.setblocking(False)
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.contextmanager
def _found(data: Path, url: str, operator: str) -> Iterator[None]:
    """Say in the data directory where the server is, and what its operator shows it; only while it runs."""
    _write(data / TOKEN_FILE, operator)
    _write(data / URL_FILE, url)
    try:
        yield
    finally:
        for name in (URL_FILE, TOKEN_FILE):
            (data / name).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    new.replace(path)


def _welcome(node: "Node", url: str, data: Path, config: Path | None) -> None:
    from tocsin.ports import shared

    head = node.store.head()
    channels = (
        ", ".join(node.channels)
        or "none (write tocsin.yaml, or set TOCSIN_SMTP_HOST, TOCSIN_WEBHOOK_URL, ...)"
    )
    entries = f"{head.size} entries in the ledger" if head.size > FIRST_ENTRIES else "new"
    whence = "" if config is None else f" (from {plain(config)})"
    several = shared(node.store)
    place = f"data in {data}" if several is None else f"data in {plain(several.name)}, keys in {data}"
    click.echo(f"Tocsin listens on {url}; {place} ({entries}); channels: {channels}{whence}")
    if node.dry_run:
        click.echo("DRY RUN: everything is decided and recorded, but nothing is sent to anybody.")
    # Who started it in a pipe waits for these lines.
    sys.stdout.flush()
