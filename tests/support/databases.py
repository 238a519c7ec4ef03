"""Databases: a fresh one for each test, on a PostgreSQL that the tests of this process share.

TOCSIN_TEST_PG_URL names the server, whose user may make databases; without it one is started that ends with us.
"""

import os
from contextlib import ExitStack
from functools import cache
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.support.postgres import a_postgres, why_not

_numbers = count(1)
_running = ExitStack()


@cache
def _server() -> str:
    given = os.environ.get("TOCSIN_TEST_PG_URL", "")
    if given:
        return given
    if why := why_not():
        pytest.skip(why)
    return _running.enter_context(a_postgres(fsync="on", max_connections=200)).url("postgres")


def a_database() -> str:
    """Make an empty database and give its URL; without a server the test is skipped, and says why."""
    server = _server()
    name = f"tocsin_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING UTF8'.encode())
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def end() -> None:
    """Stop the server, if one was started."""
    _running.close()
    _server.cache_clear()
