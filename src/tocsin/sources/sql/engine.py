"""Engine: reads through SQLAlchemy, from PostgreSQL and whatever else has a dialect.

Its errors quote the statement and what was bound; so of them only the driver's own first line is shown, and only where
it speaks of names and not of data.
"""

import math
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tocsin.core.model.errors import Invalid
from tocsin.core.rules import foreign
from tocsin.ports import SourceFailed
from tocsin.sources.sql import config as configs
from tocsin.sources.sql.binds import Moments
from tocsin.sources.sql.config import SqlConfig
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError

CHUNK_ROWS = 500
RECYCLE_S = 1_800
"""A connection that is older is made anew, before a firewall has forgotten it."""


class Engine:
    """A pool of connections, made at the first question."""

    moments = Moments.PLAIN
    grace_s = 0.0
    pings = True
    """Whether a connection is tried before it is used again; otherwise what prepares it does that."""

    def __init__(self, config: SqlConfig) -> None:
        self._config = config
        self._engine: sqlalchemy.Engine | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """See `Reader`."""
        from sqlalchemy import exc

        try:
            self._url().get_dialect().import_dbapi()
        except (exc.NoSuchModuleError, ImportError) as error:
            raise Invalid(configs.no_driver(self._config, error), field="url") from None

    def read(
        self, query: Query, values: Mapping[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Reader`."""
        import sqlalchemy
        from sqlalchemy import exc

        try:
            engine = self._get_engine()
            for is_last in (False, True):
                with engine.connect() as connection:
                    try:
                        course.connect(self._ender(connection))
                        if self._is_ready(connection, course, is_last=is_last):
                            return self._read(connection, query, values, course)
                    finally:
                        course.finish()
            raise AssertionError("the last connection is ready, or raises")
        except exc.DBAPIError as error:
            course.check()
            raise self._failed(error, course) from None
        except exc.TimeoutError:
            raise SourceFailed(f"No connection of {self._config.name!r} became free.", is_away=True) from None
        except (exc.NoSuchModuleError, ImportError) as error:
            raise SourceFailed(configs.no_driver(self._config, error), is_away=True) from None
        except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, TypeError) as error:
            said = foreign.sentence(str(error), self._config.hidden)
            raise SourceFailed(
                f"The database of {self._config.name!r} cannot be asked: {said}", is_away=True
            ) from None

    def close(self) -> None:
        """Close the connections that nobody uses; the others are closed by who uses them."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _get_engine(self) -> "sqlalchemy.Engine":
        with self._lock:
            if self._engine is None:
                self._engine = self._create()
            return self._engine

    def _create(self, **options: Any) -> "sqlalchemy.Engine":
        import sqlalchemy

        options.setdefault("connect_args", {})
        return sqlalchemy.create_engine(
            self._url(),
            poolclass=sqlalchemy.QueuePool,
            pool_size=self._config.connections,
            max_overflow=0,
            pool_timeout=self._config.timeout_s,
            pool_pre_ping=self.pings,
            pool_recycle=RECYCLE_S,
            hide_parameters=True,
            **options,
        )

    def _url(self) -> "sqlalchemy.URL":
        import sqlalchemy

        return sqlalchemy.make_url(self._config.url)

    def _is_ready(self, connection: "sqlalchemy.Connection", course: Course, *, is_last: bool) -> bool:
        """Prepare a connection; False if it was an old one that the server has closed meanwhile."""
        from sqlalchemy import exc

        try:
            self._prepare(connection)
        except exc.DBAPIError as error:
            course.check()
            if is_last or not error.connection_invalidated:
                raise
            return False
        return True

    def _read(
        self, connection: "sqlalchemy.Connection", query: Query, values: Mapping[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        course.begin()
        style = connection.dialect.paramstyle
        bound: Any = values if style in ("named", "pyformat") else tuple(values[name] for name in query.names)
        streaming = connection.execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
        with streaming.exec_driver_sql(query.written(style), bound) as result:
            if not result.returns_rows:
                raise SourceFailed(
                    "The statement gives no rows. Write a SELECT with a column `value`.", is_away=False
                )
            rows: list[tuple[Any, ...]] = []
            while chunk := result.fetchmany(CHUNK_ROWS):
                rows += [tuple(row) for row in chunk]
                course.check()
                if len(rows) > self._config.rows_max:
                    raise SourceFailed(configs.too_many(self._config), is_away=False)
            return [*result.keys()], rows

    def _prepare(self, connection: "sqlalchemy.Connection") -> None:
        """Begin a transaction that cannot write, with a deadline."""

    def _ender(self, connection: "sqlalchemy.Connection") -> Callable[[], object] | None:
        """Give what ends the statement of a connection from another thread, at once."""
        return None

    def _is_too_long(self, error: "DBAPIError") -> bool:
        return False

    def _failed(self, error: "DBAPIError", course: Course) -> SourceFailed:
        from sqlalchemy import exc

        if course.began and self._is_too_long(error):
            return SourceFailed(configs.too_long(self._config), is_away=False)
        if (
            not isinstance(error, exc.ProgrammingError | exc.OperationalError | exc.NotSupportedError)
            and course.began
        ):
            # Errors about data quote data.
            return SourceFailed(
                f"The statement failed: {type(error.orig).__name__}. Run it by hand to see with which data.",
                is_away=False,
            )
        said = foreign.sentence(str(error.orig), self._config.hidden)
        if not course.began:
            return SourceFailed(
                f"No connection to the database of {self._config.name!r}: {said}", is_away=True
            )
        if error.connection_invalidated:
            return SourceFailed(f"The database of {self._config.name!r} hung up: {said}", is_away=True)
        return SourceFailed(f"The statement failed: {said}", is_away=False)


class Postgres(Engine):
    """PostgreSQL, through psycopg: BEGIN READ ONLY, and a statement_timeout."""

    moments = Moments.ZONED
    grace_s = 1.0
    pings = False

    def _url(self) -> "sqlalchemy.URL":
        return super()._url().set(drivername="postgresql+psycopg")

    def _create(self, **options: Any) -> "sqlalchemy.Engine":
        seconds = max(2, math.ceil(self._config.timeout_s))
        arguments = {
            "connect_timeout": seconds,
            "application_name": "tocsin",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 1_000 * seconds,
        }
        return super()._create(connect_args=arguments)

    def _prepare(self, connection: "sqlalchemy.Connection") -> None:
        connection.execution_options(postgresql_readonly=True)
        ms = max(1, int(self._config.timeout_s * 1_000))
        connection.exec_driver_sql(
            "SELECT set_config('statement_timeout', %(ms)s, true),"
            " set_config('idle_in_transaction_session_timeout', %(ms)s, true), set_config('TimeZone', 'UTC', true)",
            {"ms": str(ms)},
        )

    def _ender(self, connection: "sqlalchemy.Connection") -> Callable[[], object] | None:
        # The server ends a statement by itself; this is for a server that says nothing any more.
        driver: Any = connection.connection.driver_connection
        descriptor: int = driver.fileno()
        return lambda: _hang_up(descriptor)

    def _is_too_long(self, error: "DBAPIError") -> bool:
        return getattr(error.orig, "sqlstate", None) == "57014"  # query_canceled


def _hang_up(descriptor: int) -> None:
    """Shut a socket down, so that who waits for it wakes. The descriptor stays its owner's."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is closed already.


class Mysql(Engine):
    """MySQL and MariaDB: sessions whose transactions cannot write, with a time limit for SELECT."""

    def _create(self, **options: Any) -> "sqlalchemy.Engine":
        from sqlalchemy import event

        engine = super()._create(**options)
        ms = max(1, int(self._config.timeout_s * 1_000))
        limit = (
            f"max_statement_time = {ms / 1_000}"
            if engine.dialect.name == "mariadb"
            else f"max_execution_time = {ms}"
        )

        def settle(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(f"SET SESSION {limit}, SESSION time_zone = '+00:00'")
            cursor.close()

        event.listen(engine, "connect", settle)
        return engine


class Other(Engine):
    """A database whose account alone keeps us from writing; see `SqlConfig.trust_readonly`."""
