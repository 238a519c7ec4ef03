"""Whatever the network between Tocsin and a receiver does, alerts are taken, nothing is said to have arrived that did
not, and all of it arrives once the weather calms.

A real server speaks to real receivers through a proxy that spoils what passes. `TOCSIN_TEST_NETWORK_ROUNDS` says how
often each weather strikes (1), `TOCSIN_TEST_SEED` with which seed.
"""

import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any

import pytest
from tests.reliability.ledgers import read_ledger
from tests.reliability.proxy import DUPLICATES, Proxy, W, Weather, smtp_ends, tls_ends
from tests.reliability.tally import tally
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import Aside, Server, SinkThread
from tests.support.smtp_sink import SmtpSink, make_certificates

ROUNDS = int(os.environ.get("TOCSIN_TEST_NETWORK_ROUNDS", "1"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
ALERTS = 6
SETTLE_S = 60.0
TIMEOUT_S = 2
SECRET = "s3cret-path"
TOLD = {"delivered", "accepted"}

CLOSED = "closed the connection before it answered"
HOOK = {
    W.PASSES: "",
    W.REFUSES: f"No connection to 127.0.0.1: Connection refused|{CLOSED}",
    W.RESETS_AT_ONCE: f"{CLOSED}|No connection to 127.0.0.1: Connection reset",
    W.RESETS_IN_REQUEST: CLOSED,
    W.BLACK_HOLE: "did not answer in time",
    W.LATENCY: "",
    W.DRIP: "",
    W.TRUNCATES: f"{CLOSED}|did not answer in HTTP",
    W.LOSES_REPLY: CLOSED,
    W.HALF_CLOSES: CLOSED,
    W.GARBAGE: f"did not answer in HTTP|{CLOSED}",
    W.DROPS_IDLE: CLOSED,
}
"""weather -> what the deliveries say of it. "" if it delays and no more."""

LOST = "was lost at|was lost before it was ready|is not ready"
MAIL = {
    W.PASSES: "",
    W.REFUSES: f"No connection to 127.0.0.1|{LOST}",
    W.RESETS_AT_ONCE: f"{LOST}|No connection to 127.0.0.1",
    W.RESETS_IN_REQUEST: "was lost at DATA .* it is sent again",
    W.BLACK_HOLE: f"was not ready within {TIMEOUT_S} s",
    W.LATENCY: "",
    W.DRIP: "",
    W.TRUNCATES: "was lost at DATA .* it is sent again|at DATA",
    W.LOSES_REPLY: "was lost at DATA .* it is sent again",
    W.HALF_CLOSES: LOST,
    W.GARBAGE: f"{LOST}|Not an answer that SMTP knows",
    W.BUSY: "is not ready; it answered 421",
    W.DROPS_IDLE: "",
}
SECURE = {
    W.RESETS_IN_REQUEST: f"No connection to 127.0.0.1|No TLS with|{CLOSED}",
    W.BLACK_HOLE: "did not answer in time",
    W.GARBAGE: f"No TLS with 127.0.0.1|{CLOSED}|No connection to",
}
PASSING = {W.PASSES, W.LATENCY, W.DRIP}
PARTLY = {W.TRUNCATES, W.DROPS_IDLE}
"""Some attempts succeed under these."""

FAIR = (W.PASSES,) * 4
MIXTURES = {
    name: tuple(weather for weather in weathers if weather is not W.REFUSES) + FAIR
    for name, weathers in (("hook", HOOK), ("mail", MAIL), ("secure", SECURE))
}


@dataclass(frozen=True)
class Receiver:
    """Who is told through a channel. arrived: (key, body) of all that came, in order. proxy: in front of it."""

    name: str
    arrived: Callable[[], list[tuple[str, bytes]]]
    proxy: Proxy | None = None


class Net:
    """A running server, what it was asked to tell, and whom."""

    def __init__(self, server: Server, receivers: dict[str, Receiver]) -> None:
        self.server = server
        self.receivers = receivers
        self._rules = 0

    def rule(self) -> str:
        """Name a rule that no other round uses."""
        self._rules += 1
        return f"rule-{self._rules}"

    def fire(self, rule: str, chance: random.Random, *, count: int = ALERTS, status: str = "firing") -> None:
        """Send alerts, each an incident of its own; every request must be answered as in the best of weathers."""
        for number in range(count):
            status_code, _, answer = self.server.request(
                "POST", "/api/v1/alerts", _alert(rule, number, chance, status)
            )
            assert status_code == 200, answer
            assert answer["accepted"] == 1, answer

    def rows(self, rule: str, channel: str | None = None) -> list[dict[str, Any]]:
        """Give the deliveries about a rule's incidents, or only those of a channel."""
        query = f"rule_id={rule}&limit=500" + (f"&channel={channel}" if channel else "")
        status, _, answer = self.server.request("GET", f"/api/v1/deliveries?{query}")
        assert status == 200, answer
        found: list[dict[str, Any]] = answer["deliveries"]
        return found

    def attempts(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Give the attempts of a delivery."""
        status, _, answer = self.server.request("GET", f"/api/v1/deliveries/{row['number']}")
        assert status == 200, answer
        found: list[dict[str, Any]] = answer["attempts"]
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Ask until it is so."""
        deadline = time.monotonic() + SETTLE_S
        while not condition():
            assert time.monotonic() < deadline, (
                f"it did not happen: {what}\n{self.server.log.read_text()[-2000:]}"
            )
            time.sleep(0.02)

    def bodies(self, name: str) -> dict[str, list[bytes]]:
        """Give what arrived at a receiver, by key."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for key, body in self.receivers[name].arrived():
            found[key].append(body)
        return found

    def is_honest(self, rule: str) -> None:
        """Nothing is said to have arrived that did not."""
        rows = self.rows(rule)
        for name in self.receivers:
            arrived = self.bodies(name)
            for row in rows:
                if row["channel"] == name and row["state"] in TOLD:
                    assert row["key"] in arrived, f"told, and it never arrived: {row}"


def _alert(rule: str, number: int, chance: random.Random, status: str) -> dict[str, Any]:
    return {
        "rule_id": rule,
        "scope": {"host": f"host-{number}"},
        "severity": chance.choice(("warning", "error", "critical")),
        "status": status,
        "message": f"{rule} speaks of {number}: " + "größer als erlaubt. " * 20,
        "window_start": f"2026-01-01T00:00:0{int(status != 'firing')}Z",
        "window_end": f"2026-01-01T00:01:0{int(status != 'firing')}Z",
    }


def _posts(sink: HttpSink) -> list[tuple[str, bytes]]:
    return [(request.headers["webhook-id"], request.body) for request in tuple(sink.requests)]


def _mails(sink: SmtpSink) -> list[tuple[str, bytes]]:
    """The Date tells of the attempt; all else must be the same."""
    found = []
    for mail in tuple(sink.mails):
        message = message_from_bytes(mail.content)
        assert message["Message-ID"].startswith(f"<{message['X-Tocsin-Delivery']}@")
        undated = b"\r\n".join(line for line in mail.content.split(b"\r\n") if not line.startswith(b"Date: "))
        found.append((message["X-Tocsin-Delivery"], undated))
    return found


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A server with four receivers, three of them behind proxies. At its end the ledger is read."""
    folder = tmp_path_factory.mktemp("network")
    certificates = make_certificates(folder, "127.0.0.1")
    with ExitStack() as running:
        thanks = Reply(body=b"thanks")
        sink, well = (running.enter_context(SinkThread(thanks)) for _ in range(2))
        sink_tls = running.enter_context(Aside(HttpSink(thanks, tls=certificates.server)))
        relay = running.enter_context(Aside(SmtpSink()))
        hook = running.enter_context(Proxy(sink.port, seed=f"{SEED} hook"))
        secure = running.enter_context(Proxy(sink_tls.port, ends=tls_ends, seed=f"{SEED} secure"))
        mail = running.enter_context(
            Proxy(relay.port, ends=smtp_ends, greets=True, cuts_after=b"\r\nDATA\r\n", seed=f"{SEED} mail")
        )
        channels = [
            _webhook("hook", hook.url(f"/{SECRET}")),
            _webhook("secure", secure.url(f"/{SECRET}", scheme="https")),
            _webhook("well", well.url("/well")),
            {
                "kind": "email",
                "name": "mail",
                "host": "127.0.0.1",
                "port": mail.port,
                "tls": "none",
                "sender": "tocsin@example.org",
                "recipients": ["anna@example.org"],
                "timeout": f"{TIMEOUT_S}s",
            },
        ]
        config = {
            "channels": channels,
            "routes": {"name": "default", "group_by": ["..."], "repeat_interval": "1d"},
            "rate_limit": None,
            "retries": {"steps": ["150ms"]},
            "outgoing": {"allow_private": ["127.0.0.0/8"]},
        }
        server = Server(folder / "data", {"SSL_CERT_FILE": certificates.ca_file}, config)
        receivers = (
            Receiver("hook", lambda: _posts(sink), hook),
            Receiver("secure", lambda: _posts(sink_tls), secure),
            Receiver("well", lambda: _posts(well)),
            Receiver("mail", lambda: _mails(relay), mail),
        )
        with server:
            net = Net(server, {receiver.name: receiver for receiver in receivers})
            yield net
            for proxy in (hook, secure, mail):
                proxy.set(Weather.PASSES)
            net.until(
                lambda: not server.request("GET", "/api/v1/deliveries?state=pending")[2]["total"], "all ends"
            )
            assert server.stop() == 0
        log = server.log.read_text()
        assert "Traceback" not in log, log[-4000:]
        assert "Unclosed" not in log, "a connection was left open at the stop"
        assert SECRET not in log
        ledger = read_ledger(folder / "data")
        arrived = {key for receiver in receivers for key, _ in receiver.arrived()}
        assert set(ledger.ended) == set(ledger.keys), "a delivery has no end"
        assert arrived <= set(ledger.keys), "something was sent that was not decided"


def _webhook(name: str, url: str) -> dict[str, Any]:
    return {"kind": "webhook", "name": name, "url": url, "timeout": f"{TIMEOUT_S}s"}


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance of a test's own."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("weather", HOOK)
def test_a_webhook_survives_every_weather(
    net: Net, chance: random.Random, weather: Weather, turn: int
) -> None:
    strike(net, chance, "hook", weather, HOOK[weather])


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("weather", MAIL)
def test_a_mail_survives_every_weather(net: Net, chance: random.Random, weather: Weather, turn: int) -> None:
    strike(net, chance, "mail", weather, MAIL[weather])


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("weather", SECURE)
def test_a_webhook_over_tls_survives_every_weather(
    net: Net, chance: random.Random, weather: Weather, turn: int
) -> None:
    strike(net, chance, "secure", weather, SECURE[weather])


def strike(net: Net, chance: random.Random, name: str, weather: Weather, why: str) -> None:
    """Let a weather strike one receiver, look at what holds meanwhile, let it calm, and look again."""
    proxy, rule = net.receivers[name].proxy, net.rule()
    assert proxy is not None
    lost, struck = proxy.lost, proxy.counts[weather]

    proxy.set(weather)
    net.fire(rule, chance)

    elsewhere = {one for one in net.receivers if one != name}
    net.until(
        lambda: all(row["state"] in TOLD for row in net.rows(rule) if row["channel"] in elsewhere),
        "the others are told meanwhile",
    )
    net.until(
        lambda: all(row["attempts"] for row in net.rows(rule, name)), "each was tried under that weather"
    )
    net.is_honest(rule)
    if weather not in PASSING | PARTLY:
        assert {row["state"] for row in net.rows(rule, name)} == {"pending"}
    for row in net.rows(rule, name):
        if row["state"] == "pending":
            assert re.search(why, row["why"]), row["why"]

    proxy.set(Weather.PASSES)

    net.until(lambda: all(row["state"] in TOLD for row in net.rows(rule)), "all is told once it is calm")
    net.is_honest(rule)
    said = weigh(net, rule, name)[name]
    assert said["extra"] <= (proxy.lost - lost if weather in DUPLICATES else 0), said
    if weather in PASSING:
        assert said["attempts"] == ALERTS
    if weather is Weather.LOSES_REPLY:
        assert said["extra"] >= ALERTS, "each had arrived before its answer was lost"
    if weather is not Weather.REFUSES:
        assert proxy.counts[weather] > struck, "the weather never struck"
    print(f"{name} {weather}: {said}")
    tally(f"network {name} {weather}", **said)


def weigh(net: Net, rule: str, *struck: str) -> dict[str, dict[str, int]]:
    """Check what holds of all arrivals about a rule, and count those at each receiver. struck: by bad weather."""
    counted = {}
    for name in net.receivers:
        said = counted[name] = {"alerts": ALERTS, "attempts": 0, "arrivals": 0, "extra": 0}
        bodies = net.bodies(name)
        for row in net.rows(rule, name):
            attempts, arrived = net.attempts(row), bodies[row["key"]]
            if row["state"] in TOLD:
                assert 1 <= len(arrived) <= len(attempts) == row["attempts"], row
            assert len(set(arrived)) <= 1, "one key, two bodies"
            assert all(SECRET not in attempt["why"] for attempt in attempts)
            assert name in struck or len(attempts) == 1, f"tried again in good weather: {attempts}"
            said["attempts"] += len(attempts)
            said["arrivals"] += len(arrived)
            said["extra"] += max(0, len(arrived) - 1)
    return counted


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_in_mixed_weather_everything_arrives_and_no_end_overtakes_its_beginning(
    net: Net, chance: random.Random, turn: int
) -> None:
    rule = net.rule()
    lost = {}
    for name, mixture in MIXTURES.items():
        proxy = net.receivers[name].proxy
        assert proxy is not None
        lost[name] = proxy.lost
        proxy.set(Weather.MIXED, *mixture)

    net.fire(rule, chance)
    net.until(lambda: sum(row["state"] in TOLD for row in net.rows(rule)) >= 2 * ALERTS, "half of it is told")
    net.fire(rule, chance, count=ALERTS // 2, status="resolved")
    net.until(lambda: sum(row["state"] in TOLD for row in net.rows(rule)) >= 3 * ALERTS, "more of it is told")
    net.is_honest(rule)
    for name in MIXTURES:
        net.receivers[name].proxy.set(Weather.PASSES)  # type: ignore[union-attr]

    over = TOLD | {"merged"}
    net.until(lambda: all(row["state"] in over for row in net.rows(rule)), "all is told once it is calm")
    net.is_honest(rule)
    counted = weigh(net, rule, *MIXTURES)
    for name, said in counted.items():
        proxy = net.receivers[name].proxy
        assert said["extra"] <= (proxy.lost - lost[name] if proxy is not None else 0), (name, said)
        print(f"{name} mixed: {said}")
        tally(f"network {name} mixed", **said)
    for name in ("hook", "secure", "well"):
        heard: dict[int, list[str]] = defaultdict(list)
        for _, body in net.receivers[name].arrived():
            whole = json.loads(body)
            if whole["data"]["incident"]["rule_id"] == rule:
                heard[whole["data"]["incident"]["number"]].append(whole["data"]["kind"])
        assert len(heard) == ALERTS
        assert sum(kinds[-1] == "resolved" for kinds in heard.values()) == ALERTS // 2
        assert all(kinds == sorted(kinds) for kinds in heard.values()), heard  # opened, resolved
