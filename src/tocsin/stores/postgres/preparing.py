"""Preparing: what the server must promise, and its tables: made once, led to this program's schema, or refused.

A rolling upgrade is two steps, and between them programs of two schemas write to one database. A migration that only
expands may run under the programs before it. So it may

- make a table, or a function;
- add a column at the end of a table that may be NULL or has a constant DEFAULT, which PostgreSQL notes without
  writing the table anew;
- make an index that is not UNIQUE, on a table or a part of it (WHERE) that is read within a second: turns wait
  meanwhile, and no longer than LOCKING_MS;
- change some rows, so that programs before it read them as ever.

It makes nothing stricter, renames nothing and drops nothing. Once no program runs that needs the old, another
migration may contract: drop it, and say which programs are the oldest that can do without (`Step.oldest`). A node that
runs is not asked, so they must be gone before. A program names the columns that it writes, and asks for no `*`, since
there may be more of them than it knows.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable

from tocsin.core.engine.state import Counters
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores.postgres.connecting import Connection, said, tables_of
from tocsin.stores.tables.decoding import encode

OLDEST_SERVER = 140_000
SCHEMA_LOCK = 0x746F6373696E
"""Held by whoever makes or changes the tables, so that nodes that start together do it once."""
GIVING_WAY_MS = 500
"""How long a migration waits for a lock: less than the second after which PostgreSQL looks for a deadlock, so that
whoever runs meanwhile need not give up."""
TRIES = 20
"""How often it begins anew, which lets them go on in between."""

_HERE = resources.files(__package__)


class Step(NamedTuple):
    """A migration from one schema to the next.

    sql: the file, in migrations/ and called by the number that it leads to, such as 0002_teams.sql.
    oldest: the schema of the oldest programs that can write to what this makes; None if it only expands, and so all can
    that could before.
    """

    sql: Traversable
    oldest: int | None = None


STEPS: tuple[Step, ...] = ()
"""From schema 1 on, each leads to the next: Step(_HERE / "migrations" / "0002_teams.sql"), and so on. Whoever adds one
says the same in schema.sql."""


class Schema(NamedTuple):
    """What a database says of its tables. oldest: the schema of the oldest programs that may write there."""

    version: int
    oldest: int

    def refuses(self, known: int) -> str:
        """Say why a program that knows this schema may not use them, "" if it may."""
        if self.version > 0 and self.oldest <= known:
            return ""
        least = "" if self.oldest == self.version else f", for programs that know {self.oldest} or newer"
        return f"has schema {self.version}{least}; this program knows {known}."


def version_after(steps: Sequence[Step]) -> int:
    return 1 + len(steps)


def oldest_after(steps: Sequence[Step], oldest: int = 1) -> int:
    return max([oldest, *(step.oldest for step in steps if step.oldest is not None)])


SCHEMA_VERSION = version_after(STEPS)


def schema_of(connection: Connection) -> Schema:
    """Read which one it is. Its tables must be there."""
    noted = dict(_rows(connection, "SELECT key, value FROM meta WHERE key IN ('schema', 'oldest')"))
    version = int(noted.get("schema", b"0"))
    # The first programs did not note the oldest.
    return Schema(version, int(noted.get("oldest", b"%d" % version)))


def prepare(writer: Connection, name: str, steps: Sequence[Step] = STEPS) -> None:
    """Look at the server, make the tables if there are none, and lead older ones to the last step.

    name: of the database, for people. Raises: StoreRefused, StoreFailed if a step failed, psycopg.Error; nothing was
    changed then.
    """
    if weak := weaknesses(settings_of(writer)):
        raise StoreRefused(f"{name} {weak[0]}")
    with writer.transaction():
        writer.execute("SELECT pg_advisory_xact_lock($1)", (SCHEMA_LOCK,))
        tables = tables_of(writer)
        if not tables:
            _make(writer, steps)
        elif "head" in tables and "meta" in tables:
            schema = schema_of(writer)
            known = version_after(steps)
            if refused := schema.refuses(known):
                raise StoreRefused(f"{name} {refused} Start the newer Tocsin that wrote it.")
            if schema.version < known:
                _migrate(writer, name, schema, steps)
        else:
            raise StoreRefused(
                f"{name} is somebody else's: it has tables that Tocsin did not make, such as "
                f"{tables[0]}. Make a database of its own for Tocsin."
            )


def _make(writer: Connection, steps: Sequence[Step]) -> None:
    _run(writer, _HERE / "schema.sql")
    writer.execute(
        "INSERT INTO head VALUES (1, 0, $1, $2, 0, 0, $3, 0)", (EMPTY_ROOT, b"", encode(Counters()))
    )
    _note(writer, Schema(version_after(steps), oldest_after(steps)))


def _migrate(writer: Connection, name: str, schema: Schema, steps: Sequence[Step]) -> None:
    """Take all steps that are missing, or none. The head is held meanwhile, so no turn is met halfway."""
    missing = steps[schema.version - 1 :]
    target = Schema(version_after(steps), oldest_after(missing, schema.oldest))
    failed = f"{name} has schema {schema.version} and could not be led to {target.version}"
    for _ in range(TRIES):
        with suppress(LockNotAvailable), writer.transaction():
            writer.execute(f"SET LOCAL lock_timeout = {GIVING_WAY_MS}".encode())
            writer.execute("SELECT 1 FROM head FOR UPDATE")
            try:
                for step in missing:
                    _run(writer, step.sql)
            except LockNotAvailable:
                raise
            except psycopg.Error as error:
                raise StoreFailed(f"{failed}: {said(error)}. Nothing was changed.") from error
            _note(writer, target)
            return
    raise StoreFailed(
        f"{failed}: somebody held its tables all the time, as a backup does. Nothing was changed. Start again."
    )


def _run(writer: Connection, file: Traversable) -> None:
    writer.execute(file.read_text().encode(), prepare=False)


def _note(writer: Connection, schema: Schema) -> None:
    for key, number in (("schema", schema.version), ("oldest", schema.oldest)):
        writer.execute(
            "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, b"%d" % number),
        )


PROMISING = (
    "server_version_num", "recovery", "server_encoding", "fsync", "full_page_writes", "synchronous_commit",
)  # fmt: skip
"""What `weaknesses` looks at, besides what else is asked for."""


def settings_of(connection: Connection, *others: str) -> dict[str, str]:
    """Read PROMISING and others of the server's settings; `recovery` says whether it is a replica."""
    names = [*PROMISING, *others]
    return dict(
        connection.execute(
            b"SELECT name, setting FROM pg_settings WHERE name = ANY($1) "
            b"UNION ALL SELECT 'recovery', CAST(pg_is_in_recovery() AS TEXT)",
            (names,),
        ).fetchall()
    )


def weaknesses(settings: Mapping[str, str]) -> list[str]:
    """Say why a server with these settings cannot promise what Tocsin promises, one thing each; nothing if it can."""
    weak = []
    if int(settings["server_version_num"]) < OLDEST_SERVER:
        major = int(settings["server_version_num"]) // 10_000
        weak.append(f"is PostgreSQL {major}; Tocsin needs 14 or newer. Upgrade it.")
    if settings["recovery"] == "true":
        weak.append("is a replica, which takes no writes. Name the primary.")
    if settings["server_encoding"] != "UTF8":
        weak.append(f"is encoded as {settings['server_encoding']}. Make a database with ENCODING 'UTF8'.")
    weak += [
        f"runs with {name} = {settings[name]}, so a loss of power may lose what was accepted. Set it to on, and "
        "restart PostgreSQL."
        for name in ("fsync", "full_page_writes")
        if settings[name] != "on"
    ]
    if settings["synchronous_commit"] != "on":
        weak.append(
            f"insists on synchronous_commit = {settings['synchronous_commit']} instead of on, so what is accepted "
            "might be lost. Take that from the settings of the role or the database."
        )
    return weak


def _rows(connection: Connection, sql: str) -> list[Any]:
    return connection.execute(sql.encode(), binary=True).fetchall()
