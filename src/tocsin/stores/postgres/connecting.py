"""Connecting: how this program reaches a PostgreSQL, what it calls it, and how it tells what went wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tocsin.ports import StoreFailed, StoreRefused
from tocsin.stores.postgres.dialect import adapt

CONNECTING_S = 10
Connection = psycopg.Connection[tuple[Any, ...]]


def connect(url: str, *, called: str, settings: Mapping[str, str | int], silent_ms: int = 0) -> Connection:
    """Open a connection that commits each statement, and speaks the dialect.

    called: what the server shows it as; settings: of its session. silent_ms: how long what was sent may stay
    unconfirmed by the other side's TCP before the connection counts as dead; 0 for what the system says.
    Raises: psycopg.Error.
    """
    connection = psycopg.connect(
        url,
        autocommit=True,
        cursor_factory=psycopg.RawCursor,
        connect_timeout=CONNECTING_S,
        application_name=called,
        client_encoding="UTF8",
        tcp_user_timeout=silent_ms,
        options=" ".join(f"-c {name}={value}" for name, value in {"timezone": "UTC", **settings}.items()),
    )
    adapt(connection)
    return connection


@contextmanager
def told(name: str, what: str) -> Iterator[None]:
    """Tell in our words what PostgreSQL says meanwhile. name: of the database. Raises: StoreFailed."""
    try:
        yield
    except (psycopg.Error, psycopg.Warning) as error:
        raise StoreFailed(f"{name} {what}: {said(error)}") from error


def said(error: psycopg.Error | psycopg.Warning) -> str:
    """Give what PostgreSQL said, without the lines that may quote a row."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def tables_of(connection: Connection) -> list[str]:
    """Name the tables that there are, in order."""
    return [
        str(table)
        for (table,) in connection.execute(
            b"SELECT CAST(table_name AS TEXT) FROM information_schema.tables "
            b"WHERE table_schema = current_schema() ORDER BY 1"
        )
    ]


def database_name(url: str) -> str:
    """Name a database without its password: its host, with the port if that is not the usual one, and its name."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise StoreRefused(
            "The URL of the database cannot be read. Write postgresql://user@host/database."
        ) from error
    hosts = str(parts.get("host", parts.get("hostaddr", "localhost"))).split(",")
    ports = str(parts.get("port", "")).split(",")
    if len(ports) < len(hosts):
        ports *= len(hosts)  # One is that of all.
    where = ",".join(map(_server_name, hosts, ports))
    return f"PostgreSQL {where}/{parts.get('dbname', parts.get('user', ''))}"


def _server_name(host: str, port: str) -> str:
    if port in ("", "5432"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
