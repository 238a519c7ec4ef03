"""Looking: how a server, the database on it and the nodes that share it are, for whoever asks what is wrong.

Nothing is changed. To time a commit, a note is written to the WAL that stands in no table and that nobody reads.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.ports import Clock
from tocsin.stores.postgres.connecting import Connection, connect, database_name, tables_of, told
from tocsin.stores.postgres.preparing import SCHEMA_VERSION, schema_of, settings_of, weaknesses

COMMITS = 30
OTHER_SETTINGS = (
    "server_version", "autovacuum", "track_counts", "max_connections", "synchronous_standby_names",
)  # fmt: skip


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Instants and lengths are microseconds.

    name: the database, without its password; settings: of the server, by name; weak: why it cannot promise what Tocsin
    promises; connections_free: how many more may be opened by this role; skew: how far this machine's wall clock is
    ahead of the server's; asked, committed: how long each question and each commit took, [] on a replica;
    schema: None if no Tocsin began there, and then nothing behind it is known; refused: why this program may not use
    it; stranger: a table of somebody else, if there is no Tocsin; nodes: each with how much longer it counts as living,
    less than 0 if it is taken for dead.
    """

    name: str
    settings: Mapping[str, str]
    weak: tuple[str, ...]
    connections_free: int
    skew: int
    asked: list[int]
    committed: list[int]
    disk_bytes: int
    schema: int | None = None
    refused: str = ""
    stranger: str = ""
    size: int = 0
    root: bytes = b""
    nodes: list[tuple[str, int]] = []


def look(url: str, clock: Clock) -> Looked:
    """Look at all of it. Raises: StoreRefused if the URL is none; StoreFailed."""
    name = database_name(url)
    with (
        told(name, "cannot be looked at"),
        # As a node has it.
        connect(url, called="tocsin doctor", settings={"synchronous_commit": "on"}) as connection,
    ):
        return _look(name, connection, clock)


def _look(name: str, connection: Connection, clock: Clock) -> Looked:
    settings = settings_of(connection, *OTHER_SETTINGS)
    asked, skew = _asked(connection, clock)
    found = Looked(
        name=name,
        settings=settings,
        weak=tuple(weaknesses(settings)),
        connections_free=_one(connection, CONNECTIONS_FREE),
        skew=skew,
        asked=asked,
        committed=[] if settings["recovery"] == "true" else _committed(connection, clock),
        disk_bytes=_one(connection, "SELECT pg_database_size(current_database())"),
    )
    tables = tables_of(connection)
    if not {"head", "meta", "nodes"} <= {*tables}:
        return msgspec.structs.replace(found, stranger=tables[0] if tables else "")
    schema = schema_of(connection)
    if refused := schema.refuses(SCHEMA_VERSION):
        return msgspec.structs.replace(found, schema=schema.version, refused=refused)
    ((size, root),) = connection.execute(b"SELECT size, root FROM head").fetchall()
    nodes = connection.execute(
        b"SELECT id, until_at - CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM nodes ORDER BY id"
    ).fetchall()
    return msgspec.structs.replace(
        found, schema=schema.version, size=size, root=root, nodes=[(str(id_), left) for id_, left in nodes]
    )


CONNECTIONS_FREE = """
SELECT least(
    CAST(current_setting('max_connections') AS BIGINT)
    - CAST(current_setting('superuser_reserved_connections') AS BIGINT)
    - CAST(coalesce(current_setting('reserved_connections', true), '0') AS BIGINT)
    - (SELECT CAST(sum(numbackends) AS BIGINT) FROM pg_stat_database),
    (SELECT d.datconnlimit - s.numbackends FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid
     WHERE d.datname = current_database() AND d.datconnlimit >= 0),
    (SELECT rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user)
     FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0)
)
"""
"""How many more this role may open; limits of the database and of the role are there only if somebody set them."""


def _asked(connection: Connection, clock: Clock) -> tuple[list[int], int]:
    """Ask for the time again and again. Returns: how long that took, and how far our clock is ahead.

    What was answered the quickest tells best what time it was here.
    """
    took: list[tuple[int, int]] = []
    for _ in range(COMMITS):
        began, wall = clock.now(), clock.wall()
        there = _one(connection, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")
        length = clock.now() - began
        took.append((length, wall + length // 2 - there))
    return [length for length, _ in took], min(took)[1]


def _committed(connection: Connection, clock: Clock) -> list[int]:
    took = []
    for _ in range(COMMITS):
        began = clock.now()
        connection.execute(b"SELECT pg_logical_emit_message(true, 'tocsin doctor', '')").fetchall()
        took.append(clock.now() - began)
    return took


def _one(connection: Connection, sql: str) -> Any:
    ((value,),) = connection.execute(sql.encode()).fetchall()
    return value
