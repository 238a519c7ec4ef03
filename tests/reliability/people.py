"""People at several nodes: they take incidents, let go of them and look, and remember what they were told when."""

import http.client
import json
import random
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from math import inf
from typing import Any

from tests.reliability.histories import NO_ANSWER, NOBODY, Operation
from tests.reliability.load import AGAIN_S, Nodes

ACTIONS_EACH = 25
"""How much happens to an incident before people turn to the next one."""
PAGE = 100


class Desk:
    """The incidents that people work on, one after the other; each is a new one."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._opened = 0
        self._left = 0
        self._incident = 0

    def next(self) -> tuple[int, str]:
        """Give the incident to act on, 0 if a new one is to be opened by the alert of this rule."""
        with self._lock:
            self._left -= 1
            if self._left >= 0:
                return self._incident, ""
            self._opened += 1
            return 0, f"{self._prefix}-{self._opened}"

    def opened(self, incident: int) -> None:
        with self._lock:
            self._incident, self._left = incident, ACTIONS_EACH


class Person(threading.Thread):
    """One client. token: as who; enough: set when no further request shall begin.

    history: incident -> what was asked of it; added: incidents that were opened, with when it was answered.
    pages: reads of the list; sizes: of the ledger, as they were read; roots: size -> root.
    """

    def __init__(
        self, name: str, nodes: Nodes, token: str, desk: Desk, chance: random.Random, enough: threading.Event
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.history: dict[int, list[Operation]] = defaultdict(list)
        self.added: dict[int, float] = {}
        self.pages: list[tuple[float, int, frozenset[int]]] = []
        self.totals: list[int] = []
        self.sizes: list[int] = []
        self.roots: dict[int, str] = {}
        self.unknown = 0
        self.wrong: list[str] = []
        self._nodes, self._desk, self._chance, self._enough = nodes, desk, chance, enough
        self._headers = nodes.headers() | {"Authorization": f"Bearer {token}"}

    def run(self) -> None:
        """Act until there is enough."""
        try:
            while not self._enough.is_set():
                incident, rule = self._desk.next()
                if rule:
                    self._open(rule)
                else:
                    self._act(
                        incident,
                        self._chance.choice(("ack", "ack", "unack", "read", "read", "list", "ledger")),
                    )
        except Exception as error:
            self.wrong.append(f"{self.name}: {error!r}")

    def _ask(self, method: str, path: str, body: object = None) -> tuple[float, int, Any]:
        """Ask a node. Returns: when, the status (0 if nobody knows what became of it), and the answer."""
        asked = time.monotonic()
        connection = self._nodes.connect()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.unknown += 1
            return asked, 0, None
        finally:
            connection.close()
        if response.status >= 500:  # Its commit may have come through all the same.
            self.unknown += 1
            return asked, 0, None
        return asked, response.status, answer

    def _open(self, rule: str) -> None:
        now = datetime.now(UTC).isoformat()
        alert = {
            "rule_id": rule, "scope": {}, "severity": "warning", "status": "firing", "message": rule,
            "window_start": now, "window_end": now,
        }  # fmt: skip
        while True:
            _, status, answer = self._ask("POST", "/api/v1/alerts", alert)
            if status == 200:
                break
            if status:
                self.wrong.append(f"{status}: {answer}")
                return
            time.sleep(AGAIN_S)
        (incident,) = answer["results"][0]["incidents"]
        self.added[incident["number"]] = time.monotonic()
        self._desk.opened(incident["number"])

    def _act(self, incident: int, what: str) -> None:
        if what == "list":
            self._list()
        elif what == "ledger":
            self._ledger()
        elif what == "read":
            asked, status, answer = self._ask("GET", f"/api/v1/incidents/{incident}")
            self._note(incident, what, asked, status, answer)
        else:
            asked, status, answer = self._ask("POST", f"/api/v1/incidents/{incident}/{what}")
            self._note(incident, what, asked, status, answer)

    def _note(self, incident: int, what: str, asked: float, status: int, answer: Any) -> None:
        if status == 0:
            if what != "read":
                self.history[incident].append(Operation(self.name, what, asked, inf, NO_ANSWER))
            return
        if status not in (200, 409):
            self.wrong.append(f"{what} {incident}: {status} {answer}")
            return
        answered = time.monotonic()

        def note(what: str, said: str) -> None:
            self.history[incident].append(Operation(self.name, what, asked, answered, said))

        if what != "read":
            note(what, "409" if status == 409 else "changed" if answer["changed"] else "same")
        if status == 200:  # What an action is answered with is read after it.
            note("read", answer["acked_by_name"] or NOBODY)

    def _list(self) -> None:
        asked, status, answer = self._ask("GET", f"/api/v1/incidents?limit={PAGE}")
        if status == 200:
            shown = frozenset(one["number"] for one in answer["incidents"])
            self.pages.append((asked, min(shown) if len(shown) == PAGE else 1, shown))
            self.totals.append(answer["total"])

    def _ledger(self) -> None:
        _, status, answer = self._ask("GET", "/api/v1/ledger")
        if status == 200:
            self.sizes.append(answer["size"])
            self.roots[answer["size"]] = answer["root"]
