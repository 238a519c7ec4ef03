"""A server under load, and what must hold of it when the trouble is over, whatever that was."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.reliability.ledgers import Ledger, read_ledger
from tests.reliability.load import Nodes, Sender, Sent
from tests.support.http_sink import HttpSink
from tests.support.server import Server

from tocsin.core.model.notification import DeliveryState
from tocsin.runtime.dispatcher import PLACES

SENDERS = 4
POLICY = {"routes": {"name": "default", "group_by": ["..."], "repeat_interval": "1d"}, "rate_limit": None}
SETTLE_S = 60.0
LOOK_EVERY_S = 0.005


class Load:
    """Senders that post to a server from now on. patient: a 5xx is no answer to them either, so they try again."""

    def __init__(self, server: "Server | Nodes", chance: random.Random, *, patient: bool = False) -> None:
        self._server = server
        self._up, self._enough = threading.Event(), threading.Event()
        self._up.set()
        self._senders = [
            Sender(f"rule-{number}", server, random.Random(chance.random()), self._up, self._enough, patient)
            for number in range(SENDERS)
        ]
        for sender in self._senders:
            sender.start()

    @property
    def sent(self) -> list[Sent]:
        return [sender.sent for sender in self._senders]

    @property
    def answered(self) -> int:
        """How many looks got their 2xx."""
        return sum(sent.answered for sent in self.sent)

    @property
    def refused(self) -> int:
        """How many requests got a 5xx."""
        return sum(sent.refused for sent in self.sent)

    @property
    def cut_off(self) -> int:
        """How many requests got no answer."""
        return sum(sent.unknown for sent in self.sent)

    def hold(self) -> None:
        """Begin no further post."""
        self._up.clear()

    def go_on(self) -> None:
        """Post again."""
        self._up.set()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Return once it is so."""
        deadline = time.monotonic() + SETTLE_S
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen: {what}"
            assert not any(sent.wrong for sent in self.sent), [sent.wrong[:3] for sent in self.sent]
            time.sleep(LOOK_EVERY_S)

    def wait_for(self, more: int, what: str) -> None:
        """Return once so many more looks were answered."""
        goal = self.answered + more
        self.wait(lambda: self.answered >= goal, what)

    def end(self) -> None:
        """No more faults: let the senders end, and every delivery too."""
        self._enough.set()
        for sender in self._senders:
            sender.join(SETTLE_S)
            assert not sender.is_alive(), "a request was never answered"
            assert sender.sent.wrong == []
        self.wait(lambda: not self._pending(), "all deliveries end")

    def _pending(self) -> int:
        status, _, answer = self._server.request("GET", "/api/v1/deliveries?state=pending&limit=1")
        assert status == 200, answer
        total: int = answer["total"]
        return total

    def finish(self) -> None:
        """End, and stop the server in order; it has nothing to complain of."""
        self.end()
        assert isinstance(self._server, Server)
        assert self._server.stop() == 0
        log = self._server.log.read_text()
        assert "Traceback" not in log, log[-4000:]
        assert "Unclosed" not in log, "a connection was left open at the stop"

    def holds(
        self, data: Path | None = None, *, beside: str | tuple[str, ...] = (), ledger: Ledger | None = None
    ) -> Ledger:
        """Whatever was answered is in the ledger: one entry a look, one count a repeat; what was cut off, at most once.

        data: the server's directory, if it is to be seen elsewhere; beside: what the rules of others begin with.
        ledger: if it is in no directory.
        """
        if ledger is None:
            assert isinstance(self._server, Server)
            ledger = read_ledger(data or self._server.data)
        for one in self.sent:
            assert all(count == 1 for count in one.looks.values()), "the load numbers its looks"
            assert {look: ledger.looks[look] for look in one.looks} == dict(one.looks)
            for rule_id, answered in one.repeats.items():
                counted = ledger.repeats[rule_id]
                assert answered <= counted <= one.attempts[rule_id], (
                    f"{rule_id}: {answered} answered, {counted}"
                )
        looks = {look for one in self.sent for look in one.looks}
        ours = {look for look in ledger.looks if not look[0].startswith(beside)}
        assert ours == looks, "the ledger has a look that nobody sent, or that was never answered"
        return ledger


def settings(sink: HttpSink) -> dict[str, str]:
    return {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}


def told(ledger: Ledger, sink: HttpSink, *, troubles: int) -> int:
    """Every delivery that was decided arrived, under its own key, and hardly ever twice. Returns: how often it did.

    troubles: how often the server was killed, or kept from hearing an answer.
    """
    merged = {key for key, state in ledger.ended.items() if state is DeliveryState.MERGED}
    taken: Counter[str] = Counter()
    bodies: dict[str, set[str]] = {}
    for request, reply in zip(sink.requests, sink.replies, strict=True):
        key = request.headers["webhook-id"]
        bodies.setdefault(key, set()).add(request.body.decode())
        if reply.status == 200 and reply.reset != "before":  # A status that arrived is an answer.
            taken[key] += 1

    assert set(ledger.ended) == set(ledger.keys), "a delivery has no end"
    assert set(ledger.ended.values()) <= {DeliveryState.DELIVERED, DeliveryState.MERGED}
    assert set(ledger.keys) - merged <= set(taken), "a decided delivery never arrived"
    assert set(bodies) <= set(ledger.keys), "something was sent that was not decided"
    assert all(len(said) == 1 for said in bodies.values()), "one key, two bodies"
    extra = sum(taken.values()) - len(taken)
    assert max(taken.values(), default=0) <= 1 + troubles
    assert extra <= troubles * PLACES, f"{extra} duplicates by {troubles} troubles"
    return extra
