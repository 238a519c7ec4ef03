"""Senders that never give up: each posts uniquely numbered alerts over its own connection until they are answered."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tests.support.server import Server

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
AGAIN_S = 0.02
"""After an answer that was none; so that the senders do not take the time of whom they wait for."""
ANSWERED = {
    "fresh": {"opened"},
    "occurrence": {"occurrence"},
    "repeat": {"duplicate"},
    "green": {"green_counted", "cleared", "resolved"},
    "resolved": {"cleared", "resolved"},
    "again": {"reopened", "opened"},
}
"""kind of look -> the outcomes of an answer to its first attempt."""


class Nodes(Protocol):
    """Several servers that are one. Each connection is to one of them that is up."""

    def connect(self) -> http.client.HTTPConnection: ...
    def headers(self) -> dict[str, str]: ...
    def request(self, method: str, path: str) -> tuple[int, dict[str, str], Any]: ...


@dataclass
class Sent:
    """What was answered with 2xx. looks: (rule_id, window_end) of those that must have an entry each.

    repeats: answered repeats by rule; attempts: what was posted and may have counted as a repeat, answered or not.
    unknown: how many posts were cut off, so that nobody knew whether they counted; refused: how many got a 5xx.
    """

    looks: Counter[tuple[str, int]] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    refused: int = 0
    answered: int = 0
    wrong: list[str] = field(default_factory=list)


class Sender(threading.Thread):
    """One connection. Its alerts are of rules of its own, so that they are decided in the order of its posts.

    up: set while the server listens; enough: set when no new look shall begin.
    patient: a 5xx does not count as wrong: it is tried again, as after no answer at all.
    """

    def __init__(
        self,
        name: str,
        server: Server | Nodes,
        chance: random.Random,
        up: threading.Event,
        enough: threading.Event,
        patient: bool = False,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.sent = Sent()
        self._server = server
        self._chance = chance
        self._up = up
        self._enough = enough
        self._patient = patient
        self._window = 0
        self._rules = 0
        self._firing: list[tuple[str, dict[str, Any]]] = []
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Post until there is enough, and each post until it is answered."""
        try:
            while not self._enough.is_set():
                self._post(self._looks(self._chance.choice((1, 1, 1, 2, 5))))
        except Exception as error:
            self.sent.wrong.append(f"{self.name}: {error!r}")
        if self._connection is not None:
            self._connection.close()

    def _looks(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Make a request. It has one look at a rule at most: sent again, a firing alert that the same request cleared
        would be news."""
        looks: dict[str, tuple[str, dict[str, Any]]] = {}
        while len(looks) < count:
            kind, alert = self._look(set(looks))
            looks[alert["rule_id"]] = kind, alert
        return list(looks.values())

    def _look(self, taken: set[str]) -> tuple[str, dict[str, Any]]:
        chance = self._chance.random()
        position = self._chance.randrange(max(0, len(self._firing) - 20), len(self._firing) + 1)
        if chance < 0.5 or position == len(self._firing) or self._firing[position][1]["rule_id"] in taken:
            self._rules += 1
            alert = self._alert(f"{self.name}-{self._rules}", "firing")
            # Those that are cleared, and those whose repeats are counted, are different rules.
            kind = "repeated" if self._chance.random() < 0.6 else "cleared"
            self._firing.append((kind, alert))
            return "fresh", alert
        kind, last = self._firing[position]
        if kind == "repeated":
            if chance < 0.8:
                return "repeat", last
            alert = self._alert(last["rule_id"], "firing")
            self._firing[position] = kind, alert
            return "occurrence", alert
        if kind == "over":
            alert = self._alert(last["rule_id"], "firing")
            self._firing[position] = "cleared", alert
            return "again", alert
        if chance < 0.8:
            greens = last.get("greens", 0) + 1
            self._firing[position] = ("over" if greens == 3 else kind), {**last, "greens": greens}
            return "green", self._alert(last["rule_id"], "green")
        self._firing[position] = "over", last
        return "resolved", self._alert(last["rule_id"], "resolved")

    def _alert(self, rule_id: str, status: str) -> dict[str, Any]:
        self._window += 1
        end = BEGIN + timedelta(seconds=self._window)
        return {
            "rule_id": rule_id,
            "scope": {"host": f"host-{rule_id}"},
            "severity": self._chance.choice(("warning", "error", "critical")),
            "status": status,
            "message": f"{rule_id} looked at {end.isoformat()}",
            "window_start": (end - timedelta(seconds=1)).isoformat(),
            "window_end": end.isoformat(),
        }

    def _post(self, looks: list[tuple[str, dict[str, Any]]]) -> None:
        body = json.dumps(
            [{name: value for name, value in alert.items() if name != "greens"} for _, alert in looks]
        )
        tries = 0
        while True:
            self._up.wait()
            tries += 1
            for kind, alert in looks:
                if kind == "repeat" or tries > 1:
                    self.sent.attempts[alert["rule_id"]] += 1
            try:
                if self._connection is None:
                    self._connection = self._server.connect()
                self._connection.request("POST", "/api/v1/alerts", body, self._server.headers())
                response = self._connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                self.sent.unknown += 1
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                if self._patient:
                    time.sleep(AGAIN_S)
                continue
            if self._patient and response.status >= 500:
                self.sent.refused += 1
                time.sleep(AGAIN_S)
                continue
            break
        if response.status != 200 or answer["accepted"] != len(looks):
            self.sent.wrong.append(f"{response.status}: {answer}")
            return
        self.sent.answered += len(looks)
        for (kind, alert), result in zip(looks, answer["results"], strict=True):
            if tries == 1 and result["outcome"] not in ANSWERED[kind]:
                self.sent.wrong.append(f"{kind} {alert['rule_id']} was answered {result['outcome']}")
            if kind == "repeat":
                self.sent.repeats[alert["rule_id"]] += 1
            else:
                end = datetime.fromisoformat(alert["window_end"])
                self.sent.looks[alert["rule_id"], int(end.timestamp()) * 1_000_000] += 1
