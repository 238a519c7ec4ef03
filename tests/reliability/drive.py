"""Drive the real pump over one store with inputs that a seed decides, and print what its ledger holds. A program.

python drive.py sqlite DIRECTORY SEED        python drive.py memory - SEED
"""

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

from tests.support.fakes import NOON, SECOND, FakeClock, FakeIds

from tocsin.core.ledger.verify import verify
from tocsin.core.model.input import Acted, Action, Input, OutcomeReported, PolicyChanged, SilenceRequested
from tocsin.core.model.notification import Accepted, Delivered, Outcome, Refused, Retry, Target
from tocsin.core.model.policy import HOUR, MINUTE, Policy, RateLimit, Route
from tocsin.core.model.silence import Matcher, MatchOp
from tocsin.intake import native
from tocsin.ports import Store
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump, Request
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore

TURNS = 150
HOSTS = ("db-1", "db-2", "wéb", "ci 🚀", "\ue000")


def a_policy(limit: int) -> Policy:
    """Three routes, one of which goes on to the next; two channels; a rate limit that bites."""
    return Policy(
        routes=Route(
            name="default",
            group_by=("host",),
            group_interval=2 * MINUTE,
            repeat_interval=HOUR,
            resolve_timeout=20 * MINUTE,
            routes=(
                Route(
                    name="all",
                    matchers=(Matcher(name="severity", op=MatchOp.MATCHES, value="critical|error"),),
                    continue_=True,
                    group_by=("...",),
                ),
                Route(
                    name="zone",
                    matchers=(Matcher(name="zone", value="eu"),),
                    group_by=("zone",),
                    group_wait=MINUTE,
                ),
            ),
        ),
        targets=(
            Target(id="t1", channel="hook", address="hook"),
            Target(id="t2", channel="mail", address="anna@example.org"),
            Target(id="t3", channel="mail", address="ben@example.org"),
        ),
        rate_limit=RateLimit(limit=limit, window=10 * MINUTE),
    )


class Drive:
    """The pump, its clock, and what is on the wire."""

    def __init__(self, kind: str, place: str, seed: str) -> None:
        self._kind, self._place = kind, place
        self.chance = random.Random(seed)
        self.clock, self.ids = FakeClock(), FakeIds(seed)
        self.wire: dict[int, tuple[int, str]] = {}
        self._memory = MemoryStore()
        self.store: Store = self._memory
        self.answers = hashlib.sha256()
        self.start()

    def start(self) -> None:
        """Begin, or begin again, on what is stored."""
        if self._kind == "sqlite":
            if isinstance(self.store, SqliteStore):
                self.store.close()
            self.store = SqliteStore(Path(self._place))
        self.wire.clear()
        self.pump = Pump(self.store, self.clock, self.ids, origin="tocsin-test", on_committed=self._committed)
        self.pump.open()

    def _committed(self, committed: Committed) -> None:
        for number in committed.ended:
            self.wire.pop(number, None)
        for dispatch in committed.dispatches:
            self.wire[dispatch.delivery] = dispatch.attempt, dispatch.key

    def turn(self, *requests: list[Input]) -> None:
        """Decide these requests together; their answers belong to what must be equal."""

        def answer(_: Request, results: Any) -> None:
            self.answers.update(repr([(r.outcome, r.incidents, str(r.refused)) for r in results]).encode())

        self.clock.advance(self.chance.randrange(1, 90 * SECOND))
        self.pump.turn([Request(inputs, f"token:{number}", answer) for number, inputs in enumerate(requests)])

    def alerts(self) -> list[Input]:
        """A request as a sender writes it."""
        items = []
        for _ in range(self.chance.choice((1, 1, 3, 20))):
            minute = self.chance.randrange(5)
            item = {
                "rule_id": f"rule-{self.chance.randrange(4)}",
                "scope": {"host": self.chance.choice(HOSTS), "zone": self.chance.choice(("eu", "us"))},
                "severity": self.chance.choice(("info", "warning", "warning", "error", "critical")),
                "status": self.chance.choice(("firing", "firing", "firing", "green", "resolved")),
                "message": self.chance.choice(("disk 97 %", "größer\n", "")),
                "window_start": NOON + minute * MINUTE,
                "window_end": NOON + (minute + 1) * MINUTE,
                "evidence": {"b": 1.50, "a": [self.chance.random(), None, True], "é": 1 << 60},
                "annotations": {"runbook": "https://example.org", "a": "b"},
            }
            if self.chance.random() < 0.3:
                item["ends_at"] = self.clock.now() + self.chance.randrange(1, 30) * MINUTE
            keys = list(item)
            self.chance.shuffle(keys)
            items.append({key: item[key] for key in keys})
        parsed = native.parse(json.dumps(items).encode(), self.clock.now())
        assert not parsed.problems
        return list(parsed.alerts)

    def outcomes(self) -> list[Input]:
        """Some attempts end."""
        found: list[Input] = []
        for number, (attempt, key) in list(self.wire.items())[: self.chance.randrange(40)]:
            outcomes: tuple[Outcome, ...] = (
                Delivered(detail="HTTP 200"), Accepted(detail="250"), Retry(why="503", after_s=30), Refused(why="410"),
            )  # fmt: skip
            outcome = outcomes[int(key[:2], 16) % 4 if attempt < 3 else 0]
            found.append(OutcomeReported(delivery=number, attempt=attempt, outcome=outcome))
            del self.wire[number]
        return found

    def people(self) -> list[Input]:
        """Somebody does something, often what cannot be."""
        now = self.clock.now()
        number = self.chance.randrange(1, 20)
        until = now + 10 * MINUTE
        matcher = Matcher(name="host", value=self.chance.choice(HOSTS))
        choices: tuple[Input, ...] = (
            Acted(action=Action.ACK, incident=number),
            Acted(action=Action.UNACK, incident=number),
            Acted(action=Action.RESOLVE, incident=number, note="mended"),
            Acted(action=Action.SILENCE, incident=number, until=until),
            SilenceRequested(matchers=(matcher,), starts_at=now, ends_at=until, comment="at night"),
        )
        return [self.chance.choice(choices)]

    def run(self) -> dict[str, object]:
        """Everything, with three restarts and two policies."""
        self.turn([PolicyChanged(policy=a_policy(4))])
        for number in range(TURNS):
            requests = [self.alerts() for _ in range(self.chance.randrange(3))]
            if self.chance.random() < 0.5:
                requests.append(self.outcomes())
            if self.chance.random() < 0.2:
                requests.append(self.people())
            self.turn(*requests)
            if number in (40, 80, 120):
                self.start()
            if number == 100:
                self.turn([PolicyChanged(policy=a_policy(2))])
        data = hashlib.sha256()
        for segment in self.store.segments():
            data.update(segment.data)
        head = self.store.head()
        verdict = verify(self.store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)
        assert verdict.is_sound, verdict
        return {
            "size": head.size,
            "root": head.root.hex(),
            "ledger": data.hexdigest(),
            "answers": self.answers.hexdigest(),
            "counts": dict(sorted(self.store.counts().items())),
        }


if __name__ == "__main__":
    print(json.dumps(Drive(sys.argv[1], sys.argv[2], sys.argv[3]).run()))
