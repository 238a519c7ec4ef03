"""Demo server: a real `tocsin serve` in a process of its own, to be killed in the middle of the story."""

import asyncio
import base64
import json
import sys
from pathlib import Path

from tocsin.cli import demo_rule
from tocsin.cli.client import TOKEN_FILE, Server
from tocsin.cli.demo_sinks import HOST, Mailbox, WebServer
from tocsin.cli.exits import Failure
from tocsin.settings import child_environment

START_S = 10.0
STOP_S = 10.0
SECRET = "whsec_" + base64.b64encode(b"the webhook secret of the demo!!").decode()

GROUP_WAIT_S = 1.0
GROUP_INTERVAL_S = 1.5
CONFIG = {
    "routes": {
        "name": "by-service",
        "group_by": ["service"],
        "group_wait": f"{GROUP_WAIT_S * 1000:.0f}ms",
        "group_interval": f"{GROUP_INTERVAL_S * 1000:.0f}ms",
        "greens": 3,
    }
}
"""One incident a service. The defaults would wait for minutes; the story has seconds."""


class DemoServer:
    """Starts, kills and stops `tocsin serve` on one data directory."""

    def __init__(self, directory: Path, mailbox: Mailbox, web: WebServer, port: int) -> None:
        self.data = directory / "data"
        self._log = directory / "server.log"
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        config = directory / "tocsin.yaml"
        config.write_text(json.dumps(CONFIG | demo_rule.CONFIG, indent=2) + "\n")  # JSON is YAML.
        self._environment = child_environment(
            {
                "TOCSIN_CONFIG": str(config),
                "TOCSIN_ALLOW_PRIVATE": f"{HOST}/32",
                "TOCSIN_SMTP_HOST": HOST,
                "TOCSIN_SMTP_PORT": str(mailbox.port),
                "TOCSIN_SMTP_TLS": "none",
                "TOCSIN_SMTP_FROM": "Tocsin <tocsin@payments.example>",
                "TOCSIN_SMTP_TO": "oncall@payments.example, database-team@payments.example",
                "TOCSIN_TEAMS_WEBHOOK_URL": f"http://{HOST}:{web.port}/teams",
                "TOCSIN_WEBHOOK_URL": f"http://{HOST}:{web.port}/webhook",
                "TOCSIN_WEBHOOK_SECRET": SECRET,
            }
        )

    async def start(self) -> Server:
        """Start it, and give a client once it listens. Raises: Failure."""
        command = [
            sys.executable,
            "-m",
            "tocsin.cli.main",
            "serve",
            "--with-parent",
            "--log-level",
            "warning",
        ]
        command += ["--data", str(self.data), "--host", HOST, "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its server in order.
            )
        try:
            async with asyncio.timeout(START_S):
                self.url = await self._listening()
        except TimeoutError:
            raise Failure(f"The server did not start within {START_S:.0f} s. {self._last_words()}") from None
        self._port = int(self.url.rpartition(":")[2])  # It comes back where its senders know it to be.
        token = (self.data / TOKEN_FILE).read_text().strip()
        return Server(self.url, token)

    async def _listening(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            if line.startswith("Tocsin listens on "):
                return line.removeprefix("Tocsin listens on ").partition(";")[0].strip()
        raise Failure(f"The server ended instead of starting. {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"It said: {lines[-1]}" if lines else "It said nothing."

    async def kill(self) -> None:
        """End it with SIGKILL: it can save nothing."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """End it in order, and give its exit code; with force if it takes too long."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode
