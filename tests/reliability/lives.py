"""The real pump over the real store on a disk that loses power, life after life, and what it promised in them.

What was promised is written down outside of that world: it must be found in whatever survives.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.reliability.drive import Drive, a_policy
from tests.reliability.ledgers import read_ledger
from tests.reliability.powerless import Disk, PowerCut, eio, full
from tests.support.fakes import NOON, SECOND

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import Acted, Action, AlertReceived, Input, PolicyChanged
from tocsin.intake.native import received
from tocsin.ports import Head, StoreFailed
from tocsin.runtime.pump import Pump, Request
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.copying import check_database
from tocsin.wiring.ledgers import replay_ledger

ORIGIN = "tocsin-test"
TURNS = 60
"""A life that has no cut by then ends with one."""
CUTS_AT = (150, 400, 2500)
"""In the first so many operations of a life something happens: while it opens, soon after, or later."""
STARTS_FAILED_MAX = 100
REPEATED = 5
FAULTS = (("read", eio, 200), ("write", full, 300), ("sync", eio, 40))
"""What fails, how, and which one is the last that may be the first to do so."""


class Lives(Drive):
    """One house through many cuts. folder: for the directories of its lives; answered: inputs with an answer.

    looks, repeats: answered ones, by (rule, window_end) and by rule; heads: (size, root) that anybody was shown.
    """

    def __init__(self, folder: Path, seed: str, store: Callable[[Path], SqliteStore] = SqliteStore) -> None:
        super().__init__("memory", "-", seed)
        self._folder = folder
        self._open_store = store
        self._window = 0
        self._firing: list[Alert] = []
        self.number = 0
        self.why = ""
        self.answered = self.refused = self.failed = self.cuts = self.starts_failed = 0
        self.attempts: Counter[str] = Counter()
        self.repeats: Counter[str] = Counter()
        self.looks: set[tuple[str, int]] = set()
        self.heads: list[tuple[int, bytes]] = []
        self.fates: Counter[str] = Counter()

    @property
    def place(self) -> Path:
        """The directory of the life that is lived."""
        return self._folder / f"life-{self.number}"

    def live_by_chance(self) -> None:
        """Live until the power goes, at a moment that chance decides; the disk may fail before."""

        def weather(disk: Disk) -> None:
            disk.cut_at = self.chance.randrange(1, self.chance.choice(CUTS_AT))
            if self.chance.random() < 0.4:
                kind, error, most = self.chance.choice(FAULTS)
                first = self.chance.randrange(1, most)
                disk.fail(kind, first, self.chance.choice((1, 2, 5)), error)

        self.live(self._some_turns, weather)

    def live(
        self, doing: Callable[[], None], weather: Callable[[Disk], None] = lambda disk: None, fate: str = ""
    ) -> None:
        """Go on with what survived, do this until the power goes, at the latest then; check what survives that.

        fate: what becomes of what was not synced, if the power goes at the end; "" for what chance decides.
        """
        after = self._folder / f"life-{self.number + 1}"
        with Disk(self.place, self.chance, cut_to=after) as self.disk:
            weather(self.disk)
            try:
                while not self._open():
                    self.starts_failed += 1
                    assert self.starts_failed < STARTS_FAILED_MAX, f"it never comes up again: {self.why}"
                doing()
                self.disk.cut(fate)
            except PowerCut:
                pass
            self.failed += self.disk.failed
            self.fates[self.disk.fate] += 1
            self._close()
        self.number += 1
        self.cuts += 1
        self.check(self.place)
        shutil.rmtree(self._folder / f"life-{self.number - 1}", ignore_errors=True)

    def _open(self) -> bool:
        """Begin, and say whether it came up: a start that the disk fails ends, and somebody starts it again."""
        self.wire.clear()
        try:
            self.store = self._open_store(self.place)
            self._watch()
            if self.store.secret("origin") is None:
                self.store.keep_secret("origin", ORIGIN.encode())
            self.pump = Pump(self.store, self.clock, self.ids, origin=ORIGIN, on_committed=self._committed)
            self.pump.open()
        except StoreFailed as failed:
            self._watch()
            self.why = str(failed)
            self._close()
            return False
        self._watch()
        return True

    def _close(self) -> None:
        if isinstance(self.store, SqliteStore):
            self.store.close()
            self.store = MemoryStore()

    def _some_turns(self) -> None:
        policy = a_policy(4)
        routes = msgspec.structs.replace(policy.routes, resolve_timeout=None)
        self.turn([PolicyChanged(policy=msgspec.structs.replace(policy, routes=routes))])
        for _ in range(TURNS):
            requests = [self.alerts() for _ in range(self.chance.randrange(3))]
            if self.chance.random() < 0.5:
                requests.append(self.outcomes())
            if self.chance.random() < 0.2:
                requests.append(self.people())
            self.turn(*requests)

    def turn(self, *requests: list[Input]) -> None:
        """Decide these together, and write down what is answered while there is power."""
        for given in (given for request in requests for given in request if isinstance(given, AlertReceived)):
            self.attempts[given.alert.rule_id] += 1
        self.clock.advance(self.chance.randrange(1, 90 * SECOND))
        self.pump.turn([Request(inputs, "token:1", self._answer) for inputs in requests])
        self._watch()

    def _answer(self, request: Request, results: Sequence[Any] | Exception) -> None:
        self._watch()
        if isinstance(results, Exception):
            self.refused += 1
            return
        head = self._head()
        self.heads.append((head.size, head.root))
        for given, result in zip(request.inputs, results, strict=True):
            self.answered += 1
            if isinstance(given, AlertReceived):
                assert result.refused is None, result
                if result.outcome == "duplicate":
                    self.repeats[given.alert.rule_id] += 1
                elif result.outcome not in ("no_incident", "held"):
                    self.looks.add((given.alert.rule_id, given.alert.window_end))

    def _head(self) -> Head:
        """Look at the ledger as people would, again and again while the disk fails them."""
        while True:
            try:
                return self.store.head()
            except StoreFailed:
                self._watch()

    def _watch(self) -> None:
        """Raises: PowerCut, if SQLite was told of it and kept it to itself."""
        if self.disk.is_dead:
            raise PowerCut

    def alerts(self) -> list[Input]:
        """A request whose looks are numbered, but for those that are meant to repeat one."""
        made: dict[str, Alert] = {}
        for _ in range(self.chance.choice((1, 1, 3, 20))):
            alert = self._alert()
            made[alert.rule_id] = alert
        return [received(alert) for alert in made.values()]

    def people(self) -> list[Input]:
        """Somebody does something; but for resolving, after which a repeat would say nothing that is counted."""
        return [
            given
            for given in super().people()
            if not isinstance(given, Acted) or given.action is not Action.RESOLVE
        ]

    def _alert(self) -> Alert:
        chance = self.chance.random()
        self._window += 1
        at = NOON + self._window * SECOND
        if chance < 0.3:
            number = self.chance.randrange(REPEATED)
            return self._look(f"repeated-{number}", NOON, "firing")
        if chance < 0.6 and self._firing:
            last = self.chance.choice(self._firing[-20:])
            return self._look(last.rule_id, at, self.chance.choice(("firing", "green", "green", "resolved")))
        alert = self._look(f"rule-{self._window}", at, "firing")
        self._firing.append(alert)
        return alert

    def _look(self, rule_id: str, at: int, status: str) -> Alert:
        severities = (Severity.INFO, Severity.WARNING, Severity.ERROR, Severity.CRITICAL)
        return Alert(
            rule_id=rule_id,
            scope={"host": f"db-{len(rule_id)}", "zone": "eu" if rule_id[-1] in "02468" else "us"},
            severity=severities[hash_of(rule_id) % 4],
            status=Status(status),
            message="x" * self.chance.choice((5, 50, 3000)),
            window_start=at - SECOND,
            window_end=at,
        )

    def check(self, survived: Path) -> None:
        """What was promised is there, the record proves itself, and the tables are what it says."""
        copy, folder = self._folder / "copy", self._folder / "replayed"
        database = survived / "tocsin.db"
        if not self.heads and (not database.exists() or not schema_of(database)):
            return  # It was cut before it had begun.
        try:
            folder.mkdir(parents=True)
            shutil.copytree(survived, copy)
            found, _, size = replay_ledger(copy, folder, lambda segments, size, what: segments)
            assert found == []
            check_database(copy / "tocsin.db")
            ledger = read_ledger(copy)
            roots = ledger.roots
        finally:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
        for head in self.heads[-100:]:
            assert roots.get(head[0]) == head[1], f"{head[0]} entries were shown, {size} are there"
        del self.heads[:-1]
        lost = self.looks - ledger.looks.keys()
        assert not lost, f"{len(lost)} of {len(self.looks)} answered looks are lost: {sorted(lost)[:3]}"
        for rule_id, answered in self.repeats.items():
            assert answered <= ledger.repeats[rule_id] <= self.attempts[rule_id], rule_id


def hash_of(text: str) -> int:
    return sum(text.encode())


def schema_of(database: Path) -> int:
    """Give the version that a file's header claims to have, 0 for a file without one. It may lie in the WAL still."""
    import sqlite3

    copy = database.with_name("schema")
    shutil.copytree(database.parent, copy)
    try:
        connection = sqlite3.connect(copy / database.name)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()
    finally:
        shutil.rmtree(copy)
    assert isinstance(version, int)
    return version
