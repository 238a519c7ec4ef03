"""Scene: a real server with a mail relay, a Teams flow and a receiver of webhooks, all told the whole corpus once.

    scene.alerts[name]     the alert that holds the text of that name in every field that takes text
    scene.incidents[name]  the number of its incident
    scene.hooks, scene.cards, scene.mails     what arrived, by the alert's name

Everything that a face shows of it is then looked at by the tests, which change nothing that others look at.
"""

import asyncio
import base64
import email
import email.policy
import json
import threading
from collections.abc import Callable, Coroutine
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.hostile.corpus import NAME_MAX, NUMBERS, TEXTS
from tests.support.http_sink import HttpSink
from tests.support.server import Server
from tests.support.smtp_sink import Mail, SmtpSink

HARMLESS = "harmless"
RECIPIENT = "anna@example.org"
SENDER = "tocsin@example.org"
MAIL = 'mail <eve@evil.test>, "x" [b] \u00e4 =?utf-8?q?=0D?='
"""A name that a configuration may give to a channel."""

WAIT_S = 60.0

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, for sinks that tests ask from outside."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there, and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_S)


def alert_of(text: str) -> dict[str, Any]:
    """An alert with this text wherever text can stand."""
    name = text[:NAME_MAX]
    return {
        "rule_id": name,
        "severity": "critical",
        "message": text,
        "scope": {name: text, "host": text} if name != "host" else {name: text},
        "annotations": {name: text, "note": text} if name != "note" else {name: text},
        "links": [{"href": text[:2048], "text": name}, {"href": "https://example.org/", "text": name}],
        "evidence": {name: [text, {name: text}]},
        "source": name,
    }


class Scene:
    """See the head of this file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alerts = {HARMLESS: alert_of(HARMLESS)} | {name: alert_of(text) for name, text in TEXTS.items()}
        self.numbers = {
            name: b'{"rule_id":"number %s","severity":"error","message":"x","evidence":{"n":%s}}'
            % (name.encode(), text.encode())
            for name, text in NUMBERS.items()
        }
        self.incidents: dict[str, int] = {}
        self.ids: dict[str, str] = {}
        self._threads = LoopThread()

    def __enter__(self) -> Self:
        self._threads.__enter__()
        self.hook_sink, self.chat_sink, self.mail_sink = HttpSink(), HttpSink(), SmtpSink()
        for sink in (self.hook_sink, self.chat_sink, self.mail_sink):
            self._threads.do(sink.__aenter__())
        channels = [
            {"name": "hook", "kind": "webhook", "url": self.hook_sink.url("/hook")},
            {"name": "chat", "kind": "teams", "url": {"file": "chat-url"}},
            {"name": MAIL, "kind": "email", "host": "127.0.0.1", "port": self.mail_sink.port, "tls": "none",
             "sender": f"Tocsin <{SENDER}>", "recipients": [RECIPIENT]},
        ]  # fmt: skip
        (self.folder / "chat-url").write_text(self.chat_sink.url("/chat"))
        config = {
            "url": "https://tocsin.test",
            "channels": channels,
            "outgoing": {"allow_private": ["127.0.0.0/8"]},
            "ledger": {"envelope_secrets": [{"file": "envelope"}]},
        }
        (self.folder / "envelope").write_text("an envelope's secret, long enough")
        self.server = Server(self.folder / "data", config=config)
        self.server.start()
        try:
            self._tell()
        except BaseException:
            self.server.kill()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.kill()
        for sink in (self.hook_sink, self.chat_sink, self.mail_sink):
            self._threads.do(sink.__aexit__(None, None, None))
        self._threads.__exit__(None, None, None)

    def _tell(self) -> None:
        for name, alert in self.alerts.items():
            body = json.dumps(alert, ensure_ascii=False).encode()
            status, _, answer = self.server.request("POST", "/api/v1/alerts", body)
            assert status == 200, (name, answer)
            [incident] = answer["results"][0]["incidents"]
            assert incident["outcome"] == "opened", name
            self.incidents[name], self.ids[name] = incident["number"], incident["incident_id"]
        count = len(self.alerts)
        self._threads.do(self.hook_sink.received(count))
        self._threads.do(self.chat_sink.received(count))
        self._threads.do(self._mailed(count))
        self.hooks = self._by_name(
            [json.loads(request.body) for request in self.hook_sink.requests], _of_hook
        )
        self.cards = self._by_name(
            [json.loads(request.body) for request in self.chat_sink.requests], _of_card
        )
        self.mails = self._by_name(self.mail_sink.mails, _of_mail)

    async def _mailed(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.mail_sink.mails) < count:
                self.mail_sink._changed.clear()
                await self.mail_sink._changed.wait()

    def _by_name(self, arrived: list[T], known_by: Callable[[T], int | str]) -> dict[str, T]:
        names: dict[int | str, str] = {number: name for name, number in self.incidents.items()}
        names |= {id_: name for name, id_ in self.ids.items()}
        found = {names[known_by(one)]: one for one in arrived}
        assert len(found) == len(arrived) == len(self.alerts), "each alert arrives once"
        return found

    def size(self) -> int:
        """How many entries the ledger has, once nothing more is on its way to anybody."""
        while self.get("/api/v1/deliveries?state=pending&limit=1")["total"]:
            pass
        return size_of(self.server)

    def get(self, path: str) -> Any:
        """What a GET answers, which must be 200."""
        status, _, answer = self.server.request("GET", path)
        assert status == 200, (path, answer)
        return answer


def size_of(server: Server) -> int:
    """How many entries a server's ledger has."""
    metrics = server.request("GET", "/metrics")[2].decode()
    [line] = [line for line in metrics.splitlines() if line.startswith("tocsin_ledger_size ")]
    return int(float(line.split()[1]))


def parsed(mail: Mail) -> EmailMessage:
    """A mail as the standard library reads it."""
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _of_hook(body: dict[str, Any]) -> int:
    number: int = body["data"]["incident"]["number"]
    return number


def _of_card(body: dict[str, Any]) -> int:
    card = body["attachments"][0]["content"]
    [facts] = [one["facts"] for one in card["body"] if one["type"] == "FactSet"][:1]
    return int(facts[0]["value"].removeprefix("#").removeprefix("\\#"))


def _of_mail(mail: Mail) -> str:
    return str(parsed(mail)["X-Tocsin-Incident"])


def coded(text: str) -> list[str]:
    """A secret in the forms in which it might leak."""
    from urllib.parse import quote

    data = text.encode()
    return [text, quote(text, safe=""), data.hex(), base64.b64encode(data).decode().rstrip("=")]
