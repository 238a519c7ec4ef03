"""Databases: a fresh one for each test, on servers that the tests of this process share, one a version of PostgreSQL.

TOCSIN_TEST_PG_URL names a server, whose user may make databases; without it they are started, and end with us.
"""

import os
from contextlib import ExitStack
from functools import cache
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.support.postgres import a_postgres, chosen, in_memory, why_not

GIVEN = os.environ.get("TOCSIN_TEST_PG_URL", "")
_INSTALLED = {} if GIVEN or why_not() else {f"pg{programs.version}": programs for programs in chosen()}
VERSIONS = (*_INSTALLED,) or ("postgres",)
"""What a test that must hold on each of them is run for, the newest last; the one that is given has no other name."""

_numbers = count(1)
_running = ExitStack()


@cache
def _server(version: str) -> str:
    if GIVEN:
        return GIVEN
    if why := why_not():
        pytest.skip(why)
    server = a_postgres(_INSTALLED[version], folder=in_memory(), fsync="on", max_connections=200)
    return _running.enter_context(server).url("postgres")


def a_database(version: str = VERSIONS[-1]) -> str:
    """Make an empty database and give its URL; without a server the test is skipped, and says why."""
    server = _server(version)
    name = f"tocsin_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING UTF8'.encode())
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def drop(url: str) -> None:
    """Make room in memory; on a disk that would take longer than making the database did."""
    if not GIVEN and in_memory():
        name = urlsplit(url).path[1:]
        with psycopg.connect(
            urlunsplit(urlsplit(url)._replace(path="/postgres")), autocommit=True
        ) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def end() -> None:
    """Stop the servers that were started."""
    _running.close()
    _server.cache_clear()
