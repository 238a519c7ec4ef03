"""DuckDB: a database file, or a folder of Parquet and CSV files, read in this process behind DuckDB's own locks.

Every question has a connection of its own: it costs milliseconds, sees new files, and holds no lock on a database file
that somebody else wants to write.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.core.model.errors import Invalid
from tocsin.core.rules import foreign
from tocsin.ports import SourceFailed
from tocsin.sources.sql import config as configs
from tocsin.sources.sql.binds import Moments
from tocsin.sources.sql.config import SqlConfig
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query, text

if TYPE_CHECKING:
    import duckdb

CHUNK_ROWS = 500
MEMORY_MAX = "256MB"


class Duck:
    """See `Reader`."""

    moments = Moments.PLAIN
    grace_s = 0.0

    def __init__(self, config: SqlConfig) -> None:
        self._config = config
        self._folder = str(Path(config.files).absolute()) if config.files else ""

    def load(self) -> None:
        """See `Reader`."""
        try:
            import duckdb  # noqa: F401  It is only tried.
        except ImportError as error:
            raise Invalid(configs.no_driver(self._config, error), field="url") from None

    def read(
        self, query: Query, values: Mapping[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Reader`."""
        connection = self._connect()
        try:
            course.connect(connection.interrupt)
            course.begin()
            return self._read(connection, query, values, course)
        finally:
            course.finish()
            connection.close()

    def close(self) -> None:
        """Nothing to do: every question closes its own connection."""

    def _connect(self) -> "duckdb.DuckDBPyConnection":
        name = self._config.name
        try:
            import duckdb
        except ImportError as error:
            raise SourceFailed(configs.no_driver(self._config, error), is_away=True) from None
        path = self._config.path
        if self._folder and not Path(self._folder).is_dir():
            raise SourceFailed(f"The folder of the files of {name!r} is not there.", is_away=True)
        if path and not Path(path).is_file():
            raise SourceFailed(f"The database file of {name!r} is not there.", is_away=True)
        try:
            # A file is attached and not connected to: two connections to a file would share their settings.
            connection = duckdb.connect(":memory:")
            for statement in (*_attach(path), *_locks(self._folder)):
                connection.execute(statement)
        except duckdb.Error as error:
            raise SourceFailed(
                f"The DuckDB of {name!r} cannot be opened: {self._said(error)}", is_away=True
            ) from None
        return connection

    def _read(
        self, connection: "duckdb.DuckDBPyConnection", query: Query, values: Mapping[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        import duckdb

        try:
            statements = connection.extract_statements(query.placed(self._folder).written("dollar"))
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise SourceFailed(
                    "DuckDB takes the query for something else than one SELECT.", is_away=False
                )
            for file in query.files:
                connection.execute(f"CREATE TEMP VIEW {named(file)} AS FROM {text(f'{self._folder}/{file}')}")
            connection.execute(statements[0], dict(values) or None)
            columns = [column[0] for column in connection.description or ()]
            rows: list[tuple[Any, ...]] = []
            while chunk := connection.fetchmany(CHUNK_ROWS):
                rows += chunk
                course.check()
                if len(rows) > self._config.rows_max:
                    raise SourceFailed(configs.too_many(self._config), is_away=False)
        except duckdb.InterruptException:
            raise SourceFailed(configs.too_long(self._config), is_away=False) from None
        except duckdb.Error as error:
            # Errors about data quote data; these are about names, files and room.
            is_about_names = isinstance(
                error, duckdb.CatalogException | duckdb.BinderException | duckdb.ParserException
            )
            is_about_files = isinstance(error, duckdb.IOException | duckdb.PermissionException)
            if is_about_names or is_about_files or isinstance(error, duckdb.OutOfMemoryException):
                said = self._said(error)
            else:
                said = f"{type(error).__name__}. Run it by hand to see with which data."
            raise SourceFailed(f"The statement failed: {said}", is_away=False) from None
        return columns, rows

    def _said(self, error: Exception) -> str:
        return foreign.sentence(str(error), (*self._config.hidden, self._folder, self._config.path))


def _attach(path: str) -> tuple[str, ...]:
    if not path:
        return ()
    name = named(Path(path).stem)
    return f"ATTACH {text(path)} AS {name} (READ_ONLY)", f"USE {name}"


def _locks(folder: str) -> tuple[str, ...]:
    """Give the settings that keep a query inside; the last one keeps the settings."""
    return (
        "SET temp_directory = ''",
        f"SET memory_limit = '{MEMORY_MAX}'",
        "SET threads = 1",
        "SET TimeZone = 'UTC'",
        "SET python_enable_replacements = false",  # Otherwise an unknown table is looked for in our variables.
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET allow_community_extensions = false",
        *([f"SET allowed_directories = [{text(f'{folder}/')}]"] if folder else []),
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    )


def named(name: str) -> str:
    """Write a name as SQL does."""
    return '"' + name.replace('"', '""') + '"'
