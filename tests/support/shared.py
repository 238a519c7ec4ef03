"""Shared: a store in memory that several nodes write to, each through its own end of it; it stands in for PostgreSQL.

What holds of the one must hold of the other: the tests of stores and of nodes run over both. One thread plays all
nodes, so nobody can wait here for another's turn: whoever begins one while another is open has waited until that node,
which died in its turn or stood still, lost it. PostgreSQL ends its session for that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tocsin.core.engine.state import LiveAlert
from tocsin.core.model.access import Token
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import Batch, Begun, Memory, News, Shared, StoreFailed
from tocsin.stores.memory import MemoryStore
from tocsin.stores.memory.rows import (
    decode_delivery,
    decode_head,
    decode_incident,
    decode_rate,
)

LEASE = 30_000_000
"""A node that has not said for so long that it lives is taken for dead."""
VOUCH_EVERY = 5_000_000
"""How often it says so; both in microseconds."""
FORGOTTEN_AFTER = 86_400_000_000
CHANGES_KEPT = 10_000
HELD_UP_MAX = 20
"""A node that missed more turns than that catches up before it begins one."""


class Changed(NamedTuple):
    """What one turn changed: numbers of rows, names of rules, and whether anything of the rest."""

    alerts: frozenset[int]
    incidents: frozenset[int]
    deliveries: frozenset[int]
    rates: frozenset[str]
    policies: bool
    silences: bool
    maintenances: bool
    erased: bool
    tokens: bool


def changed_by(batch: Batch) -> Changed:
    """Say what a batch changes."""
    return Changed(
        frozenset([*(row.alert.number for row in batch.alerts), *(alert.number for alert in batch.leases)]),
        frozenset(row.incident.number for row in batch.incidents),
        frozenset(row.delivery.number for row in (*batch.new_deliveries, *batch.deliveries)),
        frozenset(rule for rule, _ in batch.rates),
        batch.policy is not None,
        bool(batch.silences or batch.ended_silences),
        bool(batch.maintenances or batch.ended_maintenances),
        batch.redacted is not None,
        bool(batch.tokens or batch.revoked),
    )


class Rows(MemoryStore):
    """What all nodes share: the rows, who holds the head, until when each node lives, and who owns which delivery.

    changes_kept: a node that missed more turns loads everything anew.
    """

    def __init__(self, *, changes_kept: int = CHANGES_KEPT) -> None:
        super().__init__()
        self.turn = 0
        self.lives_until: dict[str, int] = {}
        self.owned: dict[int, str] = {}
        self.holder: SharedMemory | None = None
        self._changes_kept = changes_kept
        self._turns: dict[int, Changed] = {}

    def saved(self) -> Callable[[], None]:
        """Give what undoes all that a turn changes before its commit."""
        head, lives_until, owned = self._head, dict(self.lives_until), dict(self.owned)

        def undo() -> None:
            self._head, self.lives_until, self.owned = head, lives_until, owned

        return undo

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        self.turn += 1
        self._turns[self.turn] = changed_by(batch)
        if self.turn % self._changes_kept == 0:
            self._turns = {n: one for n, one in self._turns.items() if n > self.turn - self._changes_kept}

    def news_since(self, turn: int) -> News | None:
        """Give what stands in the rows that later turns changed; None if it is not known any more which they are."""
        if turn + 1 not in self._turns:
            return None
        turns = [self._turns[number] for number in range(turn + 1, self.turn + 1)]
        alerts = _kept(self._alerts, (one.alerts for one in turns))
        incidents = _kept(self._incidents, (one.incidents for one in turns))
        deliveries = _kept(self._deliveries, (one.deliveries for one in turns))
        rates = _kept(self._rates, (one.rates for one in turns))
        has_silences = any(one.silences for one in turns)
        has_maintenances = any(one.maintenances for one in turns)
        pending = DeliveryState.PENDING
        return News(
            head=decode_head(self._head),
            policies=self._loaded_policies() if any(one.policies for one in turns) else (),
            incidents=[decode_incident(row.body) for row in incidents.values() if row.live],
            gone_incidents=[number for number, row in incidents.items() if not row.live],
            alerts=[self._loaded_alert(number) for number, row in alerts.items() if row.live],
            gone_alerts=[row.id for row in alerts.values() if not row.live],
            deliveries=[decode_delivery(row.body) for row in deliveries.values() if row.state is pending],
            ended=[number for number, row in deliveries.items() if row.state is not pending],
            rates=[(rule, decode_rate(body)) for rule, body in rates.items()],
            silences=self._loaded_silences() if has_silences else (),
            has_silences=has_silences,
            maintenances=self._loaded_maintenances() if has_maintenances else (),
            has_maintenances=has_maintenances,
            erased=any(one.erased for one in turns),
            has_tokens=any(one.tokens for one in turns),
        )


def _kept(rows: Mapping[Any, Any], wanted: Iterable[frozenset[Any]]) -> dict[Any, Any]:
    """Give those of the rows that are there, in order."""
    return {key: rows[key] for key in sorted(frozenset().union(*wanted)) if key in rows}


class SharedMemory(MemoryStore, Shared):
    """One node's end of the rows: see `tocsin.ports.Shared`, and `Store` for the rest.

    time: gives the time that all nodes go by, microseconds UTC.
    """

    def __init__(self, rows: Rows, *, node_id: str = "alone", time: Callable[[], int]) -> None:
        # What it reads, it reads from the rows; nothing of a MemoryStore is its own.
        self.name = self.url = "what is shared in memory"
        self.node_id = node_id
        self.time = time
        self.turn = 0
        self._rows = rows
        self._undo: Callable[[], None] | None = None
        self._vouched_at = 0
        self._owned: set[int] = set()
        self._leads = False
        self.living = 1
        self._cut_off = ""
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_rows"], name)

    # A turn

    def begin(self) -> Begun:
        self._reach("cannot be asked")
        self._end_turn()
        rows = self._rows
        if rows.holder is not None:
            rows.holder.cut_off("it stood still in the middle of a turn")
        rows.holder, self._undo = self, rows.saved()
        at, head = self.time(), self.head()
        taken, dispossessed = self._vouch(at)
        news, is_behind, holds = None, False, True
        if self.turn != rows.turn:
            holds = rows.turn - self.turn <= HELD_UP_MAX
            news = rows.news_since(self.turn)
            is_behind = news is None
            self.turn = rows.turn
        if not holds:
            self._end_turn()
        return Begun(
            at=at,
            alive_at=head.alive_at,
            news=news,
            is_behind=is_behind,
            leads=self._leads,
            taken=taken,
            dispossessed=dispossessed,
            holds=holds,
        )

    def release(self) -> None:
        self._reach("did not commit")
        self._end_turn()

    def owns(self, delivery: int) -> bool:
        return delivery in self._owned

    def sign_off(self) -> None:
        self._reach("did not commit")
        self._rows.lives_until.pop(self.node_id, None)

    def _end_turn(self) -> None:
        if self._undo is not None:
            self._undo = self._rows.holder = None

    def _vouch(self, at: int) -> tuple[list[int], bool]:
        """Say that this node lives, if it has not for a while, and take over what dead ones owned."""
        if at < self._vouched_at + VOUCH_EVERY:
            return [], False
        lives, owned = self._rows.lives_until, self._rows.owned
        dispossessed = 0 < lives.get(self.node_id, 0) < at
        lives[self.node_id] = at + LEASE
        if dispossessed:
            self._owned = self._all_owned()
        taken = [number for number, owner in owned.items() if lives.get(owner, 0) < at]
        if not self._vouched_at:
            taken += [one.number for one in self._rows.load().deliveries if one.number not in owned]
        owned.update(dict.fromkeys(taken, self.node_id))
        self._owned.update(taken)
        living = [name for name, until in lives.items() if until >= at]
        self._leads, self.living = self.node_id == min(living), len(living)
        for name in [name for name, until in lives.items() if until < at - FORGOTTEN_AFTER]:
            del lives[name]
        self._vouched_at = at
        return sorted(taken), dispossessed

    def _all_owned(self) -> set[int]:
        return {number for number, owner in self._rows.owned.items() if owner == self.node_id}

    # The end of a connection

    def cut_off(self, why: str) -> None:
        """Lose the connection, and with it a turn that is open."""
        self._roll_back()
        self._cut_off = why

    def reopen(self) -> None:
        """Begin anew after a failure. Raises: StoreFailed."""
        if self._closed:
            raise StoreFailed(f"{self.name} is closed.")
        self.cut_off("")
        self._vouched_at = 0

    def close(self) -> None:
        self.cut_off("it is closed")
        self._closed = True

    def _roll_back(self) -> None:
        if self._undo is not None:
            self._undo()
            self._undo = self._rows.holder = None

    def _reach(self, what: str) -> None:
        if self._cut_off:
            raise StoreFailed(f"{self.name} {what}: {self._cut_off}")

    # Writing

    def commit(self, batch: Batch) -> None:
        self._reach("did not commit")
        if self._undo is None:
            self.begin()
        try:
            owned = self._own(batch)
            self._rows.commit(batch)
        except BaseException:
            self._roll_back()
            raise
        self._end_turn()
        self.turn, self._owned = self._rows.turn, owned

    def _own(self, batch: Batch) -> set[int]:
        """Own what this batch sends and nobody owns, and nobody what it ended. Returns: what is this node's then."""
        owned, owners = set(self._owned), self._rows.owned
        for row in batch.new_deliveries:
            if row.state is DeliveryState.PENDING:
                if row.delivery.number in owners:
                    raise StoreFailed(f"{self.name} did not commit: somebody owns {row.delivery.number}")
                owners[row.delivery.number] = self.node_id
                owned.add(row.delivery.number)
        for row in batch.deliveries:
            if row.state is not DeliveryState.PENDING:
                owners.pop(row.delivery.number, None)
                owned.discard(row.delivery.number)
            elif row.delivery.number not in owners:
                owners[row.delivery.number] = self.node_id
                owned.add(row.delivery.number)
        return owned

    def alive(self, at: int) -> None:
        self._reach("did not commit")
        self._rows.alive(at)

    def keep_secret(self, name: str, value: bytes) -> None:
        self._reach("did not commit")
        self._rows.keep_secret(name, value)

    def put_token(self, token: Token) -> None:
        self._reach("did not commit")
        self._rows.put_token(token)

    # Reading what state needs

    def load(self) -> Memory:
        self._reach("cannot be read")
        self.turn, self._owned = self._rows.turn, self._all_owned()
        return self._rows.load()

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        self._reach("cannot be read")
        return self._rows.recall(ids)

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        self._reach("cannot be read")
        return self._rows.leases(alerts)
