"""SQL: asks a database for the numbers of a rule, and can do nothing there but read.

Two fences stand around each query, and either holds alone: the database's own, which is a connection that cannot write
and a deadline, and a look at the query itself (`fence`). SQLite, PostgreSQL and DuckDB are tested; others go through
SQLAlchemy, with what their driver offers.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from uuid import UUID

from tocsin.core.model.errors import Invalid, check_all
from tocsin.core.model.rule import Ask, Series
from tocsin.core.rules import table
from tocsin.ports import SourceFailed
from tocsin.sources.sql import binds, config, fence
from tocsin.sources.sql.config import SqlConfig as SqlConfig
from tocsin.sources.sql.course import Course, GivenUp
from tocsin.sources.sql.duck import Duck
from tocsin.sources.sql.engine import Mysql, Other, Postgres
from tocsin.sources.sql.sqlite import Sqlite

WINDOW_UNNAMED = "Name it in the query: WHERE at >= :since_epoch AND at < :until_epoch."
"""The next step where rows came, none lies in the window, and the query does not ask for one."""


class Reader(Protocol):
    """Reads from one kind of database, on the threads that call it.

    moments: how it takes them.
    grace_s: how long to wait beyond the timeout, because it ends a statement itself, and keeps its connection then.
    """

    moments: binds.Moments
    grace_s: float

    def load(self) -> None:
        """Import the driver. Raises: Invalid if it is not installed."""
        ...

    def read(
        self, query: fence.Query, values: dict[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Give the names of the columns, and the rows. Raises: SourceFailed, GivenUp."""
        ...

    def close(self) -> None: ...


class Sql:
    """A database as a source. Nothing is imported for it and nobody is asked before the first question.

    Raises: Invalid when the configuration cannot work; its message holds no secret.
    """

    kind = "sql"

    def __init__(self, config_: SqlConfig) -> None:
        check_all([*config.faults(config_)])
        self.name = config_.name
        self._config = config_
        self._reader = _reader(config_)
        self._threads: ThreadPoolExecutor | None = None
        self._courses: set[Course] = set()

    def __repr__(self) -> str:
        return f"Sql({self._config!r})"

    def load_driver(self) -> None:
        """Import what talks to the database; that takes its time. Raises: Invalid if it is not installed."""
        self._reader.load()

    def check(self, query: str) -> None:
        """See `tocsin.ports.Source`."""
        fence.look(query, self._config.dialect)

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """See `tocsin.ports.Source`. The points are in [since, until)."""
        if self._threads is None:
            # Threads of its own: a database that hangs must not block those who use the loop's threads.
            self._threads = ThreadPoolExecutor(self._config.connections, f"sql-{self.name}")
        course = Course()
        self._courses.add(course)
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, ask, course)
        try:
            await asyncio.wait([answer], timeout=self._config.timeout_s + self._reader.grace_s)
            if answer.done():
                return answer.result()
        except GivenUp:
            pass
        finally:
            if not answer.done():
                course.give_up()
                answer.cancel()
            self._courses.discard(course)
        raise self._too_late(course)

    async def close(self) -> None:
        """End what still runs, and let the connections go."""
        for course in self._courses:
            course.give_up()
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

    def _answer(self, ask: Ask, course: Course) -> tuple[Series, ...]:
        """Ask, on a thread of this source."""
        course.check()
        try:
            query = fence.look(ask.query, self._config.dialect)
            values = binds.values(
                ask, [name for name in query.names if name in binds.NAMES], self._reader.moments
            )
            columns, rows = self._reader.read(query, values, course)
            plain = ([_plain(cell) for cell in row] for row in rows)
            return table.read(ask, columns, plain, outside="" if values else WINDOW_UNNAMED)
        except Invalid as error:
            raise SourceFailed(str(error), is_away=False) from None

    def _too_late(self, course: Course) -> SourceFailed:
        if course.began:
            return SourceFailed(config.too_long(self._config), is_away=False)
        return SourceFailed(
            f"The database of {self.name!r} did not answer in time (at most {self._config.timeout_s:g} s).",
            is_away=True,
        )


def _plain(cell: Any) -> Any:
    return str(cell) if isinstance(cell, UUID) else cell


def _reader(config_: SqlConfig) -> Reader:
    match config_.dialect:
        case "sqlite":
            return Sqlite(config_)
        case "postgresql":
            return Postgres(config_)
        case "duckdb":
            return Duck(config_)
        case "mysql" | "mariadb":
            return Mysql(config_)
        case _:
            return Other(config_)
