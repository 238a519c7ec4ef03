"""A real `tocsin serve` in a process of its own: started on a free port over a directory, asked, stopped or killed.

    with Server(tmp_path / "data") as server:
        status, headers, answer = server.request("POST", "/api/v1/alerts", {"rule_id": ...})

It kills only the process that it started.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from tests.support.http_sink import HttpSink, Reply

START_S = 30.0
ADMIN = "admin"

Thing = TypeVar("Thing", bound=AbstractAsyncContextManager[Any])


def free_port() -> int:
    """Find a TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One data directory and the server on it; the same port at every start.

    died: how its last process ended, by a signal if it is negative.
    settings: TOCSIN_... variables. config: what TOCSIN_CONFIG names; JSON is YAML.
    prefix: what the command begins with; it must become the server, not its parent. options: more of `tocsin serve`.
    """

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        prefix: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.data = data
        self.port = free_port()
        self.token = ""
        self.log = data.parent / f"{data.name}.log"
        self.died: int | None = None
        self.prefix = tuple(prefix)
        self._settings = dict(settings or {})
        self._options = tuple(options)
        if config is not None:
            path = data.parent / f"{data.name}.yaml"
            path.write_text(json.dumps(config))
            self._settings["TOCSIN_CONFIG"] = str(path)
        self._process: subprocess.Popen[str] | None = None
        self._reading: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self, *, failpoint: str = "") -> bool:
        """Start, and return once it listens.

        failpoint: where it dies, such as `after-commit:3`.
        Returns: whether it came up; with a failpoint it may die before.
        """
        assert self._process is None, "the server runs already"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        environment |= self._settings
        if failpoint:
            environment["TOCSIN_FAILPOINT"] = failpoint
        command = [
            *self.prefix,
            sys.executable,
            "-c",
            "from tocsin.cli.main import main; main()",
            "serve",
            "--data",
            str(self.data),
            "--port",
            str(self.port),
            "--with-parent",
            *self._options,
        ]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        listens = threading.Event()
        self._reading = threading.Thread(target=self._read, args=(self._process, listens), daemon=True)
        self._reading.start()
        came = listens.wait(START_S)
        if self._process.poll() is not None:
            self._end()
            if failpoint:
                return False
        if not came or self._process is None:
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.log.read_text()[-4000:]}")
        return True

    def _read(self, process: subprocess.Popen[str], listens: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("toc_"):
                self.token = line.strip()
            elif line.startswith("Tocsin listens on"):
                listens.set()
        process.wait()
        listens.set()

    def _end(self) -> int:
        assert self._process is not None
        assert self._reading is not None
        code = self.died = self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None
        return code

    @property
    def is_dead(self) -> bool:
        """Whether the process ended by itself."""
        return self._process is None or self._process.poll() is not None

    def ended(self) -> int:
        """Wait until it ends by itself, for the exit code."""
        assert self._process is not None, "the server does not run"
        self._process.wait(60)
        return self._end()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self, within_s: float | None = None) -> int:
        """SIGTERM, and wait for the exit code. Raises: subprocess.TimeoutExpired if it takes longer than that."""
        assert self._process is not None, "the server does not run"
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(within_s)
        return self._end()

    def connect(self, timeout_s: float = 30.0) -> http.client.HTTPConnection:
        """Open a connection of one's own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def headers(self, token: str | None = ADMIN) -> dict[str, str]:
        """Give the headers of a JSON request. token: None for none."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token if token == ADMIN else token}"
        return headers

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """Ask once: status, headers by lower-case name, and the answer (decoded if it is JSON)."""
        connection = self.connect()
        try:
            payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, payload, self.headers(token) | dict(headers or {}))
            response = connection.getresponse()
            read = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            is_json = "json" in found.get("content-type", "")
            return response.status, found, json.loads(read) if is_json and read else read
        finally:
            connection.close()


class Aside(Generic[Thing]):
    """An async context manager on an event loop and a thread of its own, for tests that are no coroutine."""

    def __init__(self, thing: Thing) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thing = thing

    def __enter__(self) -> Thing:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._thing.__aenter__(), self._loop).result(10)
        return self._thing

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._thing.__aexit__(None, None, None), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class SinkThread(Aside[HttpSink]):
    """An HttpSink, aside."""

    def __init__(self, *script: Reply) -> None:
        super().__init__(HttpSink(*script))
