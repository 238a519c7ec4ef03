"""Config: what a database needs to be asked, what is wrong with that, and what of it no message may show."""

import math
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

import msgspec

from tocsin.core.rules import foreign

TIMEOUT_S_MAX = 300.0
ROWS_MAX = 100_000
CONNECTIONS_MAX = 32

GUARDED = ("sqlite", "postgresql", "duckdb", "mysql", "mariadb")
"""Databases that Tocsin itself keeps from writing."""

PACKAGES = {
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "mariadb": "mariadb",
    "mysql": "mysql-connector-python",
    "oracledb": "oracledb",
    "pyodbc": "pyodbc",
    "pymssql": "pymssql",
    "psycopg": "'tocsin[postgres]'",
    "postgresql": "'tocsin[postgres]'",
    "duckdb": "'tocsin[duckdb]'",
}
"""module of a driver -> what pip installs it by; those that SQLAlchemy's own documentation of dialects names."""

_URL = re.compile(r"(?P<dialect>[a-z][a-z0-9]*)(?:\+(?P<driver>[a-z0-9_]+))?://(?P<rest>.*)", re.DOTALL)
_LOGIN = re.compile(r"[^/@:]*:(?P<password>.*)@", re.DOTALL)
_PASSWORD = re.compile(r"[?&;](?:password|passwd|pwd|token)=(?P<password>[^&;]*)", re.IGNORECASE)


class SqlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One database.

    url: as SQLAlchemy writes it; it is a secret. `sqlite:///relative.db`, `sqlite:////absolute.db`,
        `postgresql://user:password@host/name`, `duckdb:///file.duckdb`, or `duckdb://` with `files`.
    files: of DuckDB: the folder whose Parquet and CSV files can be asked by their relative names; "" for none.
    timeout_s: for connecting and the statement, each. rows_max: an answer with more rows is refused.
    connections: so many questions are asked at once.
    trust_readonly: of databases that Tocsin cannot keep from writing: their account itself can only read.
    """

    name: str
    url: str
    files: str = ""
    timeout_s: float = 10.0
    rows_max: int = 10_000
    connections: int = 2
    trust_readonly: bool = False

    def __repr__(self) -> str:
        return f"SqlConfig(name={self.name!r}, dialect={self.dialect!r})"

    @property
    def dialect(self) -> str:
        """Name the database as SQLAlchemy does; "" if the URL is none."""
        found = _URL.fullmatch(self.url)
        return found["dialect"] if found else ""

    @property
    def path(self) -> str:
        """Give the path of the URL of a file: relative without a slash before it; "" for none or one in memory."""
        found = _URL.fullmatch(self.url)
        path = found["rest"].partition("?")[0].partition("/")[2] if found else ""
        return "" if path == ":memory:" else path

    @property
    def hidden(self) -> tuple[str, ...]:
        """Give what no message may show: the URL, and its passwords in each way in which they may be written."""
        found = _URL.fullmatch(self.url)
        rest = found["rest"] if found else self.url
        login = _LOGIN.match(rest)
        passwords = [login["password"]] if login else []
        passwords += [match["password"] for match in _PASSWORD.finditer(rest)]
        hidden = [self.url, rest] if passwords else [self.url]
        for password in passwords:
            plain = unquote(password)
            hidden += [password, plain, quote(plain, safe=""), repr(plain)[1:-1]]
        return tuple(text for text in dict.fromkeys(hidden) if text)


def faults(config: SqlConfig) -> Iterator[tuple[str, str]]:
    """Find all that is wrong, as (field, what)."""
    name, dialect = config.name, config.dialect
    if not name:
        yield "name", "A source needs a name."
    found = _URL.fullmatch(config.url)
    if found is None:
        yield (
            "url",
            f"The URL of source {name!r} is none. Write it like postgresql://user:password@host/database or"
            " sqlite:////var/lib/shop.db.",
        )
    else:
        yield from _url_faults(config, found["driver"] or "")
    if config.files and dialect != "duckdb":
        yield "files", f"Source {name!r} has `files`, which only DuckDB reads. Give it the URL duckdb://."
    if not (math.isfinite(config.timeout_s) and 0 < config.timeout_s <= TIMEOUT_S_MAX):
        yield (
            "timeout_s",
            f"The timeout of source {name!r} must be more than 0 and at most {TIMEOUT_S_MAX:g} seconds.",
        )
    if not 1 <= config.rows_max <= ROWS_MAX:
        yield "rows_max", f"Source {name!r} may take 1 to {ROWS_MAX:,} rows."
    if not 1 <= config.connections <= CONNECTIONS_MAX:
        yield "connections", f"Source {name!r} may have 1 to {CONNECTIONS_MAX} connections."


def _url_faults(config: SqlConfig, driver: str) -> Iterator[tuple[str, str]]:
    name = config.name
    match config.dialect:
        case "sqlite":
            if driver:
                yield "url", f"Source {name!r} names the driver {driver}. Write sqlite:/// without one."
            if not config.path:
                yield "url", f"Source {name!r} names no file. Write it like sqlite:////var/lib/shop.db."
        case "postgresql":
            if driver not in ("", "psycopg"):
                yield (
                    "url",
                    f"Source {name!r} names the driver {driver}. Write postgresql://, which takes psycopg.",
                )
        case "duckdb":
            if driver:
                yield "url", f"Source {name!r} names the driver {driver}. Write duckdb:// without one."
            if not config.path and not config.files:
                yield (
                    "files",
                    f"Source {name!r} has nothing to read. Give `files`, a folder of Parquet and CSV files, or a URL"
                    " like duckdb:////var/lib/shop.duckdb.",
                )
        case dialect if dialect not in GUARDED and not config.trust_readonly:
            yield (
                "trust_readonly",
                f"Tocsin cannot keep a connection to {dialect} from writing. Give source {name!r} an account that can"
                " only read, and say so: trust_readonly: true.",
            )
        case _:
            pass


def no_driver(config: SqlConfig, error: Exception) -> str:
    """Say that what talks to the database is not installed. error: of who looked for it; it quotes names only."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    said = foreign.one_line(str(error), config.hidden).rstrip(".")
    missing = f"The driver for {config.dialect} is not installed ({said})."
    if not isinstance(error, ImportError):
        return f"{missing} SQLAlchemy knows none of this name. Correct the URL, or install the package that brings it."
    known = PACKAGES.get(module or config.dialect)
    step = f"Install it: pip install {known}." if known else "Install the package that brings it."
    if config.dialect in ("mysql", "mariadb") and module == "MySQLdb":
        step += f" Or install pymysql, and begin the URL with {config.dialect}+pymysql://."
    return f"{missing} {step}"


def too_long(config: SqlConfig) -> str:
    """Say that a statement was ended."""
    return (
        f"The statement took longer than {config.timeout_s:g} s and was ended. Let it read less, or give the source"
        " more time."
    )


def too_many(config: SqlConfig) -> str:
    """Say that the rows are more than are taken."""
    return f"The answer has more than {config.rows_max:,} rows. Group them, or raise rows_max of the source."
