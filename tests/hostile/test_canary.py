"""A secret goes where it is meant to go, and nowhere else: planted everywhere, driven through everything, looked for in
every byte that a server keeps, says or sends, in every spelling that it might have there.

Where a secret is kept, by name: `pepper`, `ledger.key` and `operator-token` in the data directory, and a backup of it,
which holds the first two (docs/operations.md). Where it is sent: a password to its relay, a header and a path to their
receiver. A new token is shown once, to who made it.
"""

import base64
import http.client
import json
import os
import resource
import secrets as chance
import signal
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import pytest
from click.testing import CliRunner
from tests.hostile.scene import LoopThread, parsed
from tests.reliability.tally import tally
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import Server
from tests.support.smtp_sink import SmtpSink

from tocsin.cli.main import main

KEPT = ("pepper", "ledger.key", "operator-token")
JSON = ("application/json", "application/problem+json")
WINDOW = 10
"""So many characters of a secret in a row are a leak of it."""


class Canaries:
    """Secrets by where they are planted, and all the spellings by which a leak would be known."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._marks: dict[bytes, str] = {}

    def new(self, where: str) -> str:
        """Make one."""
        return self.plant(where, "zq" + chance.token_hex(14))

    def plant(self, where: str, text: str) -> str:
        """Look for this one, too."""
        self.texts[where] = text
        self._spell(where, text.encode())
        return text

    def plant_bytes(self, where: str, data: bytes) -> None:
        """Look for these bytes as they are, and as text."""
        self._mark(where, data)
        for text in (
            data.hex(),
            data.hex().upper(),
            base64.b64encode(data).decode(),
            base64.urlsafe_b64encode(data).decode(),
        ):
            self._spell(where, text.rstrip("=").encode())

    def _spell(self, where: str, data: bytes) -> None:
        windows = [data[:WINDOW], data[len(data) // 2 :][:WINDOW], data[-WINDOW:]]
        for window in windows:
            self._mark(where, window)
            self._mark(where, window.hex().encode())
            self._mark(where, window[::-1])
            self._mark(where, quote(window, safe="").encode())
            self._mark(where, json.dumps(window.decode("latin-1"))[1:-1].encode())
        for offset in range(3):  # in base64 of something longer, a secret begins at one of three places
            for part in (data[:WINDOW], data[-WINDOW:]):
                coded = base64.b64encode(bytes(offset) + part)
                inner = coded[(0, 2, 3)[offset] :].rstrip(b"=")[: WINDOW + 1]
                self._mark(where, inner)
                self._mark(where, inner.replace(b"+", b"-").replace(b"/", b"_"))

    def _mark(self, where: str, mark: bytes) -> None:
        if len(mark) >= WINDOW - 2:
            self._marks[mark] = where

    def found_in(self, data: bytes) -> set[str]:
        """Say which of them left something in these bytes."""
        return {where for mark, where in self._marks.items() if mark in data}


class Heard:
    """All that was said, by whom."""

    def __init__(self) -> None:
        self.parts: dict[str, list[bytes]] = {}

    def add(self, who: str, what: bytes | str) -> None:
        self.parts.setdefault(who, []).append(
            what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what
        )


def closed_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Play:
    """One server with a secret in every place that takes one, and what it does to be told so."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.canaries, self.heard = Canaries(), Heard()
        self.loop = stack.enter_context(LoopThread())
        echo = Reply(status=401, body=b"", headers={})
        self.good, self.refusing, self.breaking = HttpSink(), HttpSink(echo), HttpSink(Reply(reset="before"))
        self.relay = SmtpSink(login=("tocsin", self.canaries.new("password of the relay")))
        self.wrong_relay = SmtpSink(login=("tocsin", "another"), auths=["535 5.7.8 no: {line}"] * 500)
        for sink in (self.good, self.refusing, self.breaking, self.relay, self.wrong_relay):
            self.loop.do(sink.__aenter__())
            stack.callback(lambda sink=sink: self.loop.do(sink.__aexit__(None, None, None)))
        self.environment = self._environment()
        self.config = self._config()

    def secret(self, where: str) -> str:
        return self.canaries.new(where)

    def _environment(self) -> dict[str, str]:
        canaries, port = self.canaries, closed_port()
        kek, signing = chance.token_bytes(32), chance.token_bytes(32)
        canaries.plant_bytes("ledger key", kek)
        canaries.plant_bytes("signing secret", signing)
        return {
            "C_PASSWORD": canaries.texts["password of the relay"],
            "C_WRONG": self.secret("password that the relay refuses"),
            "C_GOOD_URL": self.good.url(
                f"/{self.secret('path of a webhook')}?sig={self.secret('query of a webhook')}"
            ),
            "C_REFUSING_URL": self.refusing.url(f"/{self.secret('path that is refused')}"),
            "C_BREAKING_URL": self.breaking.url(f"/{self.secret('path that breaks')}"),
            "C_CLOSED_URL": f"http://127.0.0.1:{port}/{self.secret('path of a closed port')}",
            "C_TLS_URL": self.good.url(f"/{self.secret('path without TLS')}").replace("http:", "https:"),
            "C_NAME_URL": f"https://nowhere.invalid/{self.secret('path of no host')}",
            "C_INSIDE_URL": f"http://10.255.255.1/{self.secret('path of an address inside')}",
            "C_USER_URL": self.good.url("/user").replace("//", f"//anna:{self.secret('password in a URL')}@"),
            "C_SIGNING": "whsec_" + base64.b64encode(signing).decode(),
            "C_PLAIN_SIGNING": self.secret("plain signing secret"),
            "C_HEADER": f"Bearer {self.secret('header of a webhook')}",
            "C_KEK": base64.b64encode(kek).decode(),
            "C_ENVELOPE": self.secret("envelope secret") + self.secret("second half of it"),
            "C_HEARTBEAT": self.refusing.url(f"/{self.secret('path of the heartbeat')}"),
            "C_DSN": f"postgresql+psycopg://reader:{self.secret('password of a database')}@127.0.0.1:{port}/shop",
            "C_SQLITE": f"sqlite:///{self.folder}/nothing-{self.secret('path of a database')}.db",
            "C_PROMETHEUS": f"http://127.0.0.1:{port}/{self.secret('path of Prometheus')}",
            "C_SOURCE_HEADER": f"Bearer {self.secret('header of a source')}",
            "C_JSON_URL": self.refusing.url(f"/x?key={self.secret('query of a source')}"),
        }

    def _file(self, name: str, text: str) -> dict[str, str]:
        (self.folder / name).write_text(text)
        return {"file": name}

    def _config(self) -> dict[str, Any]:
        def mail(name: str, sink: SmtpSink, password: str) -> dict[str, Any]:
            return {"name": name, "kind": "email", "host": "127.0.0.1", "port": sink.port, "tls": "none", "user": "tocsin",
                    "password": {"env": password}, "sender": "t@example.org", "recipients": ["a@example.org"]}  # fmt: skip

        def hook(name: str, url: str, **more: Any) -> dict[str, Any]:
            return {"name": name, "kind": "webhook", "url": {"env": url}, "timeout": "500ms", **more}

        def rule(name: str, source: str, query: str) -> dict[str, Any]:
            return {"rule_id": name, "source": source, "query": query, "every": "1s", "window": "10s", "severity": "error",
                    "step": "1s", "trigger": {"kind": "threshold", "op": "gt", "value": 1}}  # fmt: skip

        teams_url = self.refusing.url(
            f"/{self.secret('path of Teams')}?sig={self.secret('signature of Teams')}"
        )
        return {
            "channels": [
                mail("mail", self.relay, "C_PASSWORD"),
                mail("mail-refused", self.wrong_relay, "C_WRONG"),
                {"name": "chat", "kind": "teams", "url": self._file("chat-url", teams_url), "timeout": "2s"},
                hook("good", "C_GOOD_URL", secrets=[{"env": "C_SIGNING"}, {"env": "C_PLAIN_SIGNING"}],
                     extra_headers={"Authorization": {"env": "C_HEADER"}, "X-Key": {"env": "C_PLAIN_SIGNING"}}),
                hook("signed-by-file", "C_GOOD_URL", secrets=[self._file("signing", self.secret("signing secret in a file"))]),
                *(hook(name, f"C_{name.upper()}_URL") for name in ("refusing", "breaking", "closed", "tls", "name", "inside")),
            ],
            "sources": [
                {"name": "database", "kind": "sql", "url": {"env": "C_DSN"}, "timeout": "300ms"},
                {"name": "file", "kind": "sql", "url": {"env": "C_SQLITE"}, "timeout": "300ms"},
                {"name": "prometheus", "kind": "prometheus", "url": {"env": "C_PROMETHEUS"}, "timeout": "300ms",
                 "headers": {"Authorization": {"env": "C_SOURCE_HEADER"}}},
                {"name": "json", "kind": "http", "url": {"env": "C_JSON_URL"}, "timeout": "300ms",
                 "headers": {"X-Key": {"env": "C_SOURCE_HEADER"}}},
            ],
            "rules": [
                rule("asks_a_database", "database", "SELECT 1 AS value"),
                rule("asks_a_file", "file", "SELECT 1 AS value"),
                rule("asks_prometheus", "prometheus", "up"),
                rule("asks_json", "json", "$.value"),
            ],
            "auth": {"issuer": {"issuer": "https://id.example.org", "audience": "tocsin",
                                "jwks": {"url": f"http://127.0.0.1:{closed_port()}/jwks"}, "roles": {"ops": "analyst"}}},
            "ledger": {"key": {"env": "C_KEK"},
                       "envelope_secrets": [{"env": "C_ENVELOPE"}, self._file("envelope", self.secret("envelope secret in a file") * 2)]},
            "heartbeat": {"url": {"env": "C_HEARTBEAT"}, "every": "1s"},
            "outgoing": {"allow_private": ["127.0.0.0/8"]},
        }  # fmt: skip

    # What is done to it

    def run(self) -> None:
        settings = self.environment | {"PYTHONFAULTHANDLER": "1", "PYTHONASYNCIODEBUG": "1"}
        self.server = Server(
            self.folder / "data",
            settings,
            self.config,
            options=("--log-level", "debug", "--log-format", "json"),
        )
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(
            resource.RLIMIT_CORE, (hard, hard)
        )  # A crash may leave a core, if the server lets it.
        self.stack.callback(resource.setrlimit, resource.RLIMIT_CORE, (soft, hard))
        with self.server:
            self.canaries.plant("first token", self.server.token.split("_")[2])
            self.canaries.plant_bytes("pepper", (self.folder / "data" / "pepper").read_bytes())
            self.canaries.plant(
                "operator's token",
                (self.folder / "data" / "operator-token").read_text().strip().split("_")[2],
            )
            self._follow()
            self._alert(3)
            self._sign_in_wrongly()
            self._ask_for_everything()
            self._run_verbs()
            self._reload_wrongly()
            self._alert(1)
            self.limits = Path(f"/proc/{self.server.pid}/limits").read_text()
            os.kill(self.server.pid, signal.SIGABRT)
            self.server._end()
        self.heard.add("log", self.server.log.read_bytes())
        with Server(
            self.folder / "data",
            settings,
            self.config,
            options=("--log-level", "debug", "--log-format", "console"),
        ) as again:
            assert again.token == "", "a second start shows no token"
            again.token = self.server.token
            self.canaries.plant(
                "operator's second token",
                (self.folder / "data" / "operator-token").read_text().strip().split("_")[2],
            )
            self.get("/api/v1/channels", server=again)
            self._everywhere_in_the_data(self.folder / "data")
            assert again.stop() == 0
            self.heard.add("log", again.log.read_bytes())
        self._everywhere_in_the_data(self.folder / "data")
        for name, sink in (("good", self.good), ("refusing", self.refusing), ("breaking", self.breaking)):
            for request in sink.requests:
                self.heard.add(f"body to {name}", request.body)
        for name, relay in (("mail", self.relay), ("mail-refused", self.wrong_relay)):
            for mail in relay.mails:
                self.heard.add(f"mail to {name}", mail.content + parsed(mail).as_bytes())

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        token: str | None = None,
        server: Server | None = None,
    ) -> Any:
        """Ask, and remember the answer."""
        server = server or self.server
        connection = server.connect()
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, server.headers(server.token if token is None else token))
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        self.heard.add(f"answer to {method} {path}", repr(response.getheaders()).encode() + raw)
        return json.loads(raw) if response.getheader("content-type", "") in JSON else raw

    def _follow(self) -> None:
        """Follow the events to the end of the server."""
        read: list[bytes] = []

        def follow() -> None:
            connection = self.server.connect()
            connection.request("GET", "/api/v1/events?after=-1", headers=self.server.headers())
            response = connection.getresponse()
            try:
                while part := response.read1(65_536):
                    read.append(part)
            except (OSError, http.client.HTTPException):
                pass  # the server was killed
            self.heard.add("events", b"".join(read))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        self.stack.callback(thread.join, 10)

    def _alert(self, count: int) -> None:
        for number in range(count):
            alert = {"rule_id": f"canary {number}", "severity": "critical", "message": "x"}
            self.get("/api/v1/alerts", method="POST", body=alert)
        self.loop.do(self.good.received(2 * count))
        while any(
            one["last_outcome"] is None
            for one in self.server.request("GET", "/api/v1/channels")[2]["channels"]
        ):
            pass

    def _sign_in_wrongly(self) -> None:
        wrong = [
            f"toc_deadbeef_{self.secret('token that is none')}{'0' * 34}",
            self.secret("word for a token"),
            ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in
                     ('{"alg":"RS256","kid":"x"}', json.dumps({"sub": self.secret("claim of a JWT")}), self.secret("signature of a JWT"))),
            f"eyJhbGciOiJub25lIn0.{self.secret('half of a JWT')}.",
        ]  # fmt: skip
        for token in wrong:
            self.get("/api/v1/me", token=token)
            self.get("/api/v1/alerts", method="POST", body={}, token=token)
        made = self.server.request("POST", "/api/v1/tokens", {"name": "canary", "role": "viewer"})[2]
        self.canaries.plant("made token", made["token"].split("_")[2])
        self.get("/api/v1/policy", token=made["token"])
        self.get(f"/api/v1/tokens/{made['id']}", method="DELETE")
        self.get("/api/v1/me", token=made["token"])

    def _ask_for_everything(self) -> None:
        self.get("/docs")
        for path, operations in self.get("/api/v1/openapi.json")["paths"].items():
            if "get" in operations and not path.endswith("/events"):
                self.get(path.format(incident_id=1, delivery=1, silence_id=1, version=1, seq=5, rule_id="asks_a_database",
                                     name="x", place="0/000", maintenance_id=1))  # fmt: skip
        for path in ("policy/diff?from=1&to=1", "ledger/export", "ledger/consistency?old=1", "incidents/1/envelope",
                     "deliveries?limit=500", "deliveries/2", "deliveries/3/preview", "rules", "channels"):  # fmt: skip
            self.get(f"/api/v1/{path}")
        for channel in self.config["channels"]:
            self.get(f"/api/v1/channels/{channel['name']}/test", method="POST", body={})
        for one in self.config["rules"]:
            rules = {"rules": json.dumps({"rules": [one]})}
            self.get("/api/v1/rules/test", method="POST", body=rules)
            if one["source"] in ("database", "prometheus"):
                self.get("/api/v1/rules/backtest", method="POST", body={**rules, "days": 1})
        self.get("/api/v1/notify/replay", method="POST", body={"dry_run": False})
        self.get("/api/v1/whatif", method="POST", body={"policy": "routes: {name: other, channels: [good]}"})

    def verb(self, *arguments: object) -> None:
        """Run one in the environment of the server, and remember all that it said."""
        environment = {**self.environment, "TOCSIN_CONFIG": str(self.folder / "data.yaml"), "COLUMNS": "200"}
        ran = CliRunner().invoke(main, [str(one) for one in arguments], env=environment, prog_name="tocsin")
        said = ran.stdout + ran.stderr
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        assert ran.exit_code != 2 or arguments[0] == "config", f"nothing was done: {said}"
        self.heard.add(f"tocsin {' '.join(map(str, arguments))}", said)

    def _run_verbs(self) -> None:
        data = ("--data", self.folder / "data")
        for line in ("config check", "config show", "config show -o json", "doctor -o table", "doctor -o json", "channel list",
                     "channel test chat", "channel test mail-refused", "status -o table", "status 1 -o table",
                     "why 1 -o table", "deliveries list -o table", "policy show", "token list", "ledger keys", "ledger verify",
                     "rule list", "rule show asks_a_database", "rule test asks_a_database", "rule test asks_json", "stats",
                     "rule explain asks_prometheus", "rule test asks_file", "gate --quick --only live_channels --only live_keys -o json"):  # fmt: skip
            self.verb(*line.split(), *data)
        self.verb("backup", self.folder / "kept.tar", *data)
        with tarfile.open(self.folder / "kept.tar") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name not in KEPT:
                    self.heard.add(f"backup: {member.name}", file.read())
        self.verb("ledger", "export", self.folder / "export.zip", *data)
        with zipfile.ZipFile(self.folder / "export.zip") as archive:
            for name in archive.namelist():
                self.heard.add(f"export: {name}", archive.read(name))

    def _reload_wrongly(self) -> None:
        path, right = self.folder / "data.yaml", json.dumps(self.config)
        shown = self.canaries.texts
        for wrong in (
            right.replace('{"env": "C_WRONG"}', json.dumps(shown["password that the relay refuses"])),
            right.replace('{"env": "C_KEK"}', json.dumps(self.environment["C_KEK"])),
            right.replace('{"env": "C_DSN"}', json.dumps(self.environment["C_DSN"])),
            right.replace('{"env": "C_GOOD_URL"}', '{"env": "C_HEADER"}'),
            right.replace('{"env": "C_DSN"}', '{"env": "C_HEADER"}'),
            right.replace('{"env": "C_GOOD_URL"}', '{"env": "C_USER_URL"}'),
            right.replace('{"env": "C_SIGNING"}', '{"env": "C_NONE"}'),
            right.replace('"chat-url"', '"signing"'),
            right.replace('"heartbeat"', json.dumps(self.environment["C_HEARTBEAT"])),
            right[:-30] + json.dumps(self.environment["C_HEARTBEAT"]),
        ):
            assert wrong != right
            path.write_text(wrong)
            self.get("/api/v1/config/reload", method="POST", body={})
            self.verb("config", "check", path)
        os.kill(self.server.pid, signal.SIGHUP)
        path.write_text(right)
        self.get("/api/v1/config/reload", method="POST", body={})

    def _everywhere_in_the_data(self, data: Path) -> None:
        for path in sorted(data.rglob("*")):
            if path.is_file() and path.name not in KEPT:
                self.heard.add(f"file {path.name}", path.read_bytes())
        database = apsw.Connection(
            f"file:{data / 'tocsin.db'}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        for (table,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, str | bytes):
                        self.heard.add(f"table {table}", value)
        database.close()


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    with ExitStack() as stack:
        play = Play(tmp_path_factory.mktemp("canary"), stack)
        play.run()
        yield play


def test_no_secret_is_anywhere_but_where_it_is_kept_and_where_it_is_sent(play: Play) -> None:
    leaks = {
        who: found
        for who, parts in play.heard.parts.items()
        if (found := play.canaries.found_in(b"\n".join(parts)))
    }

    assert leaks == {}
    tally("planted secrets", secrets=len(play.canaries.texts), places=len(play.heard.parts),
          bytes=sum(len(part) for parts in play.heard.parts.values() for part in parts))  # fmt: skip


def test_a_leak_would_be_found(play: Play) -> None:
    for text in play.canaries.texts.values():
        for leak in (text, quote(text), text.encode().hex(), base64.b64encode(b"x" + text.encode()).decode(),
                     base64.b64encode(b"xy" + text.encode() + b"z").decode(), text[: WINDOW + 2], text[-WINDOW:]):  # fmt: skip
            assert play.canaries.found_in(f"before {leak} after".encode()), leak
    assert not play.canaries.found_in(b"nothing of it")


def test_everything_was_driven_that_could_leak(play: Play) -> None:
    """What was not reached could not leak, and would prove nothing."""
    assert len(play.canaries.texts) >= 30
    log = b"".join(play.heard.parts["log"])
    assert b'"level": "debug"' in log or b'"level":"debug"' in log
    assert b"Fatal Python error: Aborted" in log
    assert any(
        request.headers.get("authorization") == play.environment["C_HEADER"] for request in play.good.requests
    )
    assert play.relay.mails
    assert "AUTH" in play.wrong_relay.commands
    assert play.refusing.requests
    assert play.breaking.requests
    whys = json.dumps(
        [part.decode() for part in play.heard.parts["answer to GET /api/v1/deliveries?limit=500"]]
    )
    for said in (
        "401",
        "535",
        "closed the connection",
        "No connection",
        "did not answer in time",
        "could not be resolved",
        "not on the public",
    ):
        assert said in whys, said
    for verb in ("test", "backtest"):
        tried = b"".join(play.heard.parts[f"answer to POST /api/v1/rules/{verb}"])
        assert tried.count(b"No connection") >= 2, tried
    for source in ("asks_a_database", "asks_a_file", "asks_prometheus", "asks_json"):
        assert source.encode() in b"".join(play.heard.parts["answer to GET /api/v1/rules"])


def test_a_crash_leaves_no_core_file(play: Play) -> None:
    [line] = [line for line in play.limits.splitlines() if line.startswith("Max core file size")]

    assert line.split()[4] == "0"
    assert [path.name for path in (play.folder / "data").rglob("core*")] == []
