"""The store on PostgreSQL: many nodes may have it open, and whoever writes holds the row of the head meanwhile.

Turns belong to the pump's thread and its connection. What belongs to no turn (tokens, secrets) is written over another
one. Readers have connections of their own, and cannot write.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

import msgspec
import psycopg
from msgspec.structs import replace

from tocsin.core.engine.state import LiveAlert
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import Batch, Begun, Head, Memory, StoreFailed, StoreRefused
from tocsin.stores.postgres.changes import changed_by, encode_changed, news_of
from tocsin.stores.postgres.connecting import Connection, connect, database_name, told
from tocsin.stores.postgres.dialect import in_postgres
from tocsin.stores.postgres.preparing import STEPS, Step, prepare
from tocsin.stores.postgres.writing import columns_of, run_many
from tocsin.stores.tables.asking import GIVEN, Question, insert, numbers
from tocsin.stores.tables.chains import Chains
from tocsin.stores.tables.decoding import HEAD, head_of
from tocsin.stores.tables.keeping import Keeping
from tocsin.stores.tables.loading import leases, load, recall
from tocsin.stores.tables.readers import Readers
from tocsin.stores.tables.reading import Reading
from tocsin.stores.tables.rows import PUT_EVALUATION, statements

LOCKING_MS = 5000
IDLE_MS = 2000
"""A node that stops in the middle of a turn holds up all others no longer than this; within a question, as `LOCKING_MS`
says, for then it is whoever waits that ends it."""
SILENT_MS = 5000
"""So does one that is cut off."""

LEASE = 30_000_000
"""A node that has not said for so long that it lives is taken for dead."""
VOUCH_EVERY = 5_000_000
"""How often it says so; both in microseconds."""
FORGOTTEN_AFTER = 86_400_000_000
HALF = 1 << 63
CHANGES_KEPT = 10_000
"""A node that missed more turns than that loads everything anew."""
HELD_UP_MAX = 200
"""A node that missed more turns than that catches up before it begins one: some 0.2 s of looks in batches of 64."""

HEAD_AND_TIME = HEAD.replace(
    "SELECT ", "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), "
)

CALLED = "tocsin"
END_WHO_STANDS_STILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND usename = current_user "
    "AND datname = current_database() AND state = 'active' AND wait_event = 'ClientRead' "
    "AND query_start < clock_timestamp() - $2 * INTERVAL '1 millisecond'"
)

INSERT_OWNED = insert("owned", "delivery", "node")

log = logging.getLogger("tocsin.store")

logging.getLogger("psycopg").setLevel(logging.ERROR)
"""It warns of what fails after a failure, of which we tell."""


class PostgresStore(Reading, Keeping):
    """See `tocsin.ports.Store`.

    node_id: tells the nodes apart that write there, and is never that of another one.
    url: `postgresql://user@host/database`, or what else libpq takes; its password may come from where libpq looks.
    Raises: StoreRefused if the server cannot promise what Tocsin promises, or the database is somebody else's or of a
    newer schema; StoreFailed if it cannot be reached, or its tables cannot be led to this program's schema.
    """

    steps: ClassVar[Sequence[Step]] = STEPS
    """The migrations that this program knows."""

    def __init__(self, url: str, *, node_id: str = "alone") -> None:
        self.url = url
        self.name = database_name(url)
        """The database, as people are told of it; without the password."""
        self._readers = Readers(self._new_reader)
        self._aside = threading.Lock()
        self._closed = False
        self._chains = Chains(self._ask_writer)
        self.node_id = node_id
        self.time: Callable[[], int] | None = None
        """Where a test takes the time from, instead of the server's clock."""
        self._is_turning = False
        self._turn = 0
        self._vouched_at = 0
        self._owned: set[int] = set()
        self._leads = False
        self.living = 1
        self._open()

    def _open(self) -> None:
        with self._told("cannot be opened"):
            self._pumps = writer = self._connect(writes=True)
            try:
                prepare(writer, self.name, self.steps)
                self._columns = columns_of(writer)
                self._side = self._connect(writes=True)
            except BaseException:
                writer.close()
                raise

    def _connect(self, *, writes: bool) -> Connection:
        options: dict[str, str | int] = {
            "lock_timeout": LOCKING_MS,
            "idle_in_transaction_session_timeout": IDLE_MS,
            "synchronous_commit": "on",
            "client_min_messages": "error",
        }
        if writes:
            # All that it asks for it names by number; a plan of when a table was small must not scan a large one.
            options |= {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
        else:
            options |= {
                "default_transaction_read_only": "on",
                "default_transaction_isolation": "repeatable\\ read",
            }
        return connect(self.url, called=CALLED, settings=options, silent_ms=SILENT_MS)

    def reopen(self) -> None:
        """Begin anew after a failure; readers too, when they are next asked. Raises: StoreFailed."""
        if self._closed:
            raise StoreFailed(f"{self.name} is closed.")
        self._is_turning = False
        self._vouched_at = 0
        self._close_all()
        try:
            self._open()
        except StoreRefused as refused:
            raise StoreFailed(str(refused)) from refused

    # Writing

    @property
    def _writer(self) -> Connection:
        """The connection of the pump's thread; a new one after a turn that failed."""
        if self._pumps.closed and not self._closed:
            self._pumps = self._connect(writes=True)
        return self._pumps

    def begin(self) -> Begun:
        """See `tocsin.ports.Shared`, as for the next three."""
        with self._whole(), self._told("cannot be asked"):
            self._end_turn()
            writer, self._is_turning = self._writer, True
            try:
                with writer.pipeline():
                    writer.execute("BEGIN")
                    locked = writer.execute("SELECT turn FROM head FOR UPDATE")
                    # Now that it is ours; asked with it, the time could be of before the wait.
                    told = writer.execute(HEAD_AND_TIME, binary=True)
            except psycopg.errors.LockNotAvailable:
                self._end_who_stands_still()
                raise
            ((turn,),) = locked.fetchall()
            ((at, *end),) = told.fetchall()
            head = head_of([end])
            at = self.time() if self.time is not None else at
            taken, dispossessed = self._vouch(at)
            known = Begun(
                at=at, alive_at=head.alive_at, leads=self._leads, taken=taken, dispossessed=dispossessed
            )
            if turn - self._turn > HELD_UP_MAX:
                # The others would wait for so long: catch up first, and then begin.
                self._end_turn()
                with self._of_one_moment():
                    ((turn,),) = self._ask_writer("SELECT turn FROM head")
                    return self._caught_up(replace(known, holds=False), turn, head_of(self._ask_writer(HEAD)))
            return self._caught_up(known, turn, head)

    def _end_who_stands_still(self) -> None:
        """End the sessions of nodes that stopped while the server waits for the rest of what they ask.

        The server takes these for busy, not for idle, so it would wait for ever.
        """
        ended = []
        with suppress(psycopg.Error), self._connect(writes=True) as connection:
            ended = connection.execute(END_WHO_STANDS_STILL, (CALLED, IDLE_MS)).fetchall()
        if ended:
            log.warning(
                "a node that stood still in the middle of a turn held up all others; its session was ended"
            )

    def _caught_up(self, begun: Begun, turn: int, head: Head) -> Begun:
        """Add what other nodes changed up to this turn. head: as it was then."""
        missed = turn - self._turn
        if not missed:
            return begun
        self._chains.forget()
        bodies = [
            body
            for (body,) in self._ask_writer(
                "SELECT body FROM changes WHERE turn > ? ORDER BY turn", (self._turn,)
            )
        ]
        self._turn = turn
        if len(bodies) != missed:
            return replace(begun, is_behind=True)
        return replace(begun, news=news_of(bodies, head, self._ask_writer))

    @contextmanager
    def _of_one_moment(self) -> Iterator[None]:
        """Answer all questions from one commit, and hold up nobody."""
        with self._writer.transaction():
            self._writer.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    def release(self) -> None:
        with self._told("did not commit"):
            self._end_turn()

    def owns(self, delivery: int) -> bool:
        return delivery in self._owned

    def sign_off(self) -> None:
        self._write("DELETE FROM nodes WHERE id = ?", (self.node_id,))

    def _ask_owned(self) -> set[int]:
        return {
            number
            for (number,) in self._ask_writer("SELECT delivery FROM owned WHERE node = ?", (self.node_id,))
        }

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Do all of it, or undo the turn."""
        try:
            yield
        except BaseException:
            self._chains.forget()
            self._is_turning = False
            # What psycopg remembers of an aborted pipeline is wrong; with the connection the server undoes it all.
            self._pumps.close()
            raise

    def _end_turn(self) -> None:
        """Let go of the head, and keep that this node said that it lives."""
        if self._is_turning:
            self._is_turning = False
            self._writer.execute("COMMIT")

    def _vouch(self, at: int) -> tuple[list[int], bool]:
        """Say that this node lives, if it has not for a while, and take over what dead ones owned.

        Returns: what was taken over, and whether this node itself was taken for dead.
        """
        if at < self._vouched_at + VOUCH_EVERY:
            return [], False
        ((known_until,),) = self._ask_writer(
            "WITH before AS (SELECT until_at FROM nodes WHERE id = ?1) INSERT INTO nodes VALUES (?1, ?2) "
            "ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at "
            "RETURNING coalesce((SELECT until_at FROM before), 0)",
            (self.node_id, at + LEASE),
        )
        dispossessed = 0 < known_until < at
        if dispossessed:
            self._owned = self._ask_owned()
        taken = [
            number
            for (number,) in self._ask_writer(
                "UPDATE owned SET node = ?1 WHERE node IN (SELECT o.node FROM owned o LEFT JOIN nodes n "
                "ON n.id = o.node WHERE n.until_at IS NULL OR n.until_at < ?2) RETURNING delivery",
                (self.node_id, at),
            )
        ]
        if not self._vouched_at:  # The first time, for what came from an embedded store is nobody's yet.
            taken += [
                number
                for (number,) in self._ask_writer(
                    "INSERT INTO owned SELECT number, ? FROM deliveries d INDEXED BY deliveries_pending "
                    "WHERE state = 'pending' AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.delivery = d.number) "
                    "RETURNING delivery",
                    (self.node_id,),
                )
            ]
        self._owned.update(taken)
        ((first, self.living),) = self._ask_writer(
            "SELECT min(id), count(*) FROM nodes WHERE until_at >= ?", (at,)
        )
        self._leads = first == self.node_id
        self._ask_writer("DELETE FROM nodes WHERE until_at < ? RETURNING id", (at - FORGOTTEN_AFTER,))
        self._vouched_at = at
        return sorted(taken), dispossessed

    def commit(self, batch: Batch) -> None:
        """See `tocsin.ports.Store`, as for every method here."""
        with self._whole(), self._told("did not commit"):
            while not self._is_turning:
                self.begin()
            turn = self._turn + 1
            with self._writer.pipeline():
                for sql, rows in statements(batch, self._chains, self._ask_writer):
                    if rows:
                        self._run_many(sql, rows)
                owned = self._own(batch)
                self._writer.execute(
                    "WITH moved AS (UPDATE head SET turn = $1) INSERT INTO changes VALUES ($1, $2)",
                    (turn, encode_changed(changed_by(batch))),
                )
                if turn % CHANGES_KEPT == 0:
                    self._writer.execute("DELETE FROM changes WHERE turn <= $1", (turn - CHANGES_KEPT,))
                self._writer.execute("COMMIT")
            self._is_turning = False
        self._turn, self._owned = turn, owned
        if batch.redacted is not None or batch.pruned:
            self._chains.forget()

    def _own(self, batch: Batch) -> set[int]:
        """Own what this batch sends and nobody owns, and nobody what it ended. Returns: what is this node's then."""
        owned = set(self._owned)
        pending = [row.delivery.number for row in batch.new_deliveries if row.state is DeliveryState.PENDING]
        known = [row.delivery.number for row in batch.deliveries if row.state is DeliveryState.PENDING]
        ended = [row.delivery.number for row in batch.deliveries if row.state is not DeliveryState.PENDING]
        if pending:
            self._run_many(INSERT_OWNED, [(n, self.node_id) for n in pending])
            owned.update(pending)
        if any(number not in owned for number in known):
            owned.update(
                number
                for (number,) in self._ask_writer(
                    f"INSERT INTO owned SELECT value, ? FROM {GIVEN} AS given (value) "
                    "ON CONFLICT (delivery) DO NOTHING RETURNING delivery",
                    (self.node_id, numbers(known)),
                )
            )
        if ended:
            self._ask_writer(
                f"DELETE FROM owned WHERE delivery IN {GIVEN} RETURNING delivery", (numbers(ended),)
            )
            owned.difference_update(ended)
        return owned

    def _run_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        run_many(self._writer, self._columns, sql, rows)

    def alive(self, at: int) -> None:
        with self._told("did not commit"):
            self._writer.execute("UPDATE head SET alive_at = $1", (at,))

    def put_evaluations(self, rows: Mapping[str, bytes | None]) -> None:
        with self._aside, self._told("did not commit"), self._side.transaction():
            for rule_id, body in rows.items():
                if body is None:
                    self._side.execute("DELETE FROM evaluations WHERE rule_id = $1", (rule_id,))
                else:
                    self._side.execute(in_postgres(PUT_EVALUATION).encode(), (rule_id, body))

    def _write(self, sql: str, bindings: tuple[Any, ...]) -> None:
        with self._aside, self._told("did not commit"):
            self._side.execute(in_postgres(sql).encode(), bindings)

    def _ask_writer(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Ask in the middle of a turn."""
        return _rows(self._writer, in_postgres(sql), bindings)

    # Reading what state needs, on the writer's own connection

    def load(self) -> Memory:
        with self._told("cannot be read"):
            try:
                if self._is_turning:
                    return self._load()  # Nobody else writes meanwhile.
                with self._of_one_moment():
                    return self._load()
            except msgspec.MsgspecError as error:
                raise StoreFailed(
                    f"{self.name} holds what this program cannot read ({error}). Restore it from a backup."
                ) from error

    def _load(self) -> Memory:
        self._chains.forget()
        ((self._turn,),) = self._ask_writer("SELECT turn FROM head")
        self._owned = self._ask_owned()
        return load(self._ask_writer)

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        with self._told("cannot be read"):
            return recall(self._ask_writer, ids)

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        with self._told("cannot be read"):
            return leases(self._ask_writer, alerts)

    # Reading for everybody

    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        with self._told("cannot be read"):
            return self._readers.ask(questions)

    def _new_reader(self) -> "_Reader":
        if self._closed:
            raise StoreFailed(f"{self.name} is closed.")
        return _Reader(self._connect(writes=False))

    def _bytes(self) -> dict[str, int]:
        return {"bytes": self._ask("SELECT pg_database_size(current_database())")[0][0]}

    def _close_all(self) -> None:
        self._readers.close()
        with self._aside:
            self._side.close()
        self._pumps.close()

    def close(self) -> None:
        """Let running questions end, and close all connections."""
        if not self._closed:
            self._closed = True
            self._close_all()

    def _told(self, what: str) -> AbstractContextManager[None]:
        return told(self.name, what)


class _Reader:
    """A connection that one thread after the other asks over."""

    def __init__(self, connection: Connection) -> None:
        self._asking = threading.Lock()
        self._connection = connection
        self._is_used = False

    def answer(self, questions: Sequence[Question]) -> list[list[Any]] | None:
        """Answer all questions from one commit; None if this reader was closed, by whomever."""
        with self._asking:
            connection = self._connection
            if connection.closed:
                return None
            try:
                answers = self._answer(connection, questions)
            except psycopg.OperationalError:
                if self._is_used and self.is_closed():
                    return None  # The server went and came again: a new connection may have better luck.
                raise
            self._is_used = True
        return answers

    def _answer(self, connection: Connection, questions: Sequence[Question]) -> list[list[Any]]:
        if len(questions) == 1:
            ((sql, bindings),) = questions
            return [_rows(connection, in_postgres(sql), bindings)]
        with connection.transaction():
            return [_rows(connection, in_postgres(sql), bindings) for sql, bindings in questions]

    def is_closed(self) -> bool:
        """Say whether the connection is of no more use."""
        return self._connection.closed

    def close(self) -> None:
        """Close the connection, once the question that runs has its answer."""
        with self._asking:
            self._connection.close()


def _rows(connection: Connection, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
    """Run a question. Raises: OverflowError for a number that no column holds, as SQLite does."""
    for value in bindings:
        if type(value) is int and not -HALF <= value < HALF:
            raise OverflowError(f"{value} is no BIGINT")
    return connection.execute(sql.encode(), bindings, binary=True).fetchall()


__all__ = ["PostgresStore"]
