"""DuckDB: a database file, or a folder of Parquet and CSV files, read in this process behind DuckDB's own lock."""

from collections.abc import Mapping
from typing import Any

from tocsin.sources.sql.binds import Moments
from tocsin.sources.sql.config import SqlConfig
from tocsin.sources.sql.course import Course
from tocsin.sources.sql.fence import Query


class Duck:
    moments = Moments.PLAIN
    grace_s = 0.0

    def __init__(self, config: SqlConfig) -> None:
        self._config = config

    def read(
        self, query: Query, values: Mapping[str, Any], course: Course
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to do: every question has a connection of its own."""
