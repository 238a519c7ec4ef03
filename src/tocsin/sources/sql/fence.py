"""Fence: decides whether a text is one query that only reads, and finds the moments that it names.

It is the second fence. The first is the database's own: a transaction that cannot write, and a deadline. This one is
there so that a mistake is told when a rule is written, and for what a reading transaction may still do: read files, ask
other databases, wait, end the work of others.
"""

import itertools
import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from tocsin.core.model.errors import Invalid
from tocsin.sources.sql import binds

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

QUERY_CHARACTERS_MAX = 20_000

_FORBIDDEN = re.compile(
    r"""
    # PostgreSQL: files, waiting, locks, the server and other sessions, settings, queries in texts
    pg_(read|ls|write|file|stat_file|sleep|terminate|cancel|reload|rotate|switch|advisory|try_advisory|notify|logical
        |replication|create|drop|promote|start|stop|backup|wal|import|export|log|current_logfile|restore|sync).*
    | lo_.* | loread | lowrite | dblink.* | set_config | setval | nextval | postgres_fdw.* | adminpack.*
    | (query|table|cursor|schema|database)_to_xml.* | ts_stat | ts_rewrite
    # SQLite and its shell
    | load_extension | readfile | writefile | edit | fts[345]?_tokenizer | fts5 | fsdir | lsdir | zipfile.* | sqlar.*
    # MySQL and MariaDB
    | load_file | benchmark | sleep | sys_(exec|eval|get|set) | get_lock | release_.*lock.* | is_(free|used)_lock
    | (master|source)_.*pos_wait | wait_for_executed_gtid_set.*
    # SQL Server, Oracle and others
    | xp_.* | sp_.* | openrowset | openquery | opendatasource | utl_.* | dbms_.* | httpuritype
    | url | file | remote.* | s3.* | hdfs | executable | jdbc | odbc | mysql | postgresql | mongodb
    # DuckDB: files other than tables, other databases, settings, queries in texts
    | read_(?!csv$|csv_auto$|parquet$).* | glob | sniff_csv | getenv | getvariable | query | query_table
    | (?!parquet_scan$).*_(scan|query|execute|attach).* | st_read.* | .*checkpoint | write_.* | which_secret
    | duckdb_secrets | parse_duckdb_log.* | json_execute_serialized_sql | from_substrait.* | pragma_.* | copy.*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""Functions that no rule may call, by their whole name, whatever the database: one that it has not harms nobody."""

FILES = re.compile(r"read_(csv|csv_auto|parquet)|parquet_scan", re.IGNORECASE)
"""The functions of DuckDB that read tables from files."""

# A name in escapes is not seen by who looks for it; and what MySQL runs is a comment to everybody else.
_HIDING = re.compile(r"\bu&[\"']|/\*[!+m]", re.IGNORECASE)
_FILE = re.compile(r"[/\\\\:*~?\[]|\.[a-z]{2,8}$", re.IGNORECASE)
"""What DuckDB takes for a file where a table is named."""

_PATH = re.compile(
    r"[\w.\-+=*?\[\]{},@ ]+(?:/[\w.\-+=*?\[\]{},@ ]+)*\.(?:csv|csv\.gz|tsv|parquet)", re.IGNORECASE
)
_FILE_MARK = "file:"
_EXPECTED = re.compile(
    r"Expect(?:ed|ing) (\S{1,20}|table name|database name)(?: but got\b|$| after\b)", re.DOTALL
)
_MISSING = {
    "table name": "the name of a table is missing",
    "database name": "the name of a database is missing",
    "type": "the name of a type is missing",
}
_DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}


class Query(msgspec.Struct, frozen=True):
    """A query that was looked at.

    parts: its text and the names of its binds in turn; text first and last. A name may also be `file:` and a path.
    files: those that stand where a table does.
    """

    parts: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The binds, in the order of the text; one that is used twice is there twice."""
        return self.parts[1::2]

    def placed(self, folder: str) -> "Query":
        """Write the files as texts, in a folder."""
        parts = [self.parts[0]]
        for name, following in zip(self.parts[1::2], self.parts[2::2], strict=True):
            if name.startswith(_FILE_MARK):
                parts[-1] += text(f"{folder}/{name.removeprefix(_FILE_MARK)}") + following
            else:
                parts += [name, following]
        return Query(tuple(parts))

    def written(self, style: str) -> str:
        """Write the query with the placeholders of a driver. style: a `paramstyle` of PEP 249, or `dollar`."""
        texts: Sequence[str] = self.parts[::2]
        if style in ("format", "pyformat"):
            texts = [one.replace("%", "%%") for one in texts]
        said = [texts[0]]
        for number, (name, following) in enumerate(zip(self.names, texts[1:], strict=True), 1):
            said += [_placeholder(style, name, number), following]
        return "".join(said)


def text(said: str) -> str:
    """Write a text as SQL does."""
    return "'" + said.replace("'", "''") + "'"


def _placeholder(style: str, name: str, number: int) -> str:
    match style:
        case "named":
            return f":{name}"
        case "pyformat":
            return f"%({name})s"
        case "dollar":
            return f"${name}"
        case "numeric":
            return f":{number}"
        case "format":
            return "%s"
        case _:
            return "?"


@lru_cache(maxsize=1_024)
def look(query: str, database: str) -> Query:
    """Look at a query in the language of a database, named as SQLAlchemy does. Raises: Invalid."""
    if not query.strip():
        raise Invalid("The query is empty. Write a SELECT with a column `value`.")
    if len(query) > QUERY_CHARACTERS_MAX:
        raise Invalid(
            f"The query has {len(query):,} characters; at most {QUERY_CHARACTERS_MAX:,} are taken. Make a view of it."
        )
    if "\0" in query:
        raise Invalid("The query holds the character NUL, which is no part of SQL.")
    if hiding := _HIDING.search(query):
        raise Invalid(f"The query holds {hiding.group()}, with which a text can be hidden. Write it without.")
    tokens, statement = _read(query, database)
    _check_functions(tokens)
    _check_parts(statement)
    if database != "duckdb":
        return _parted(query, tokens)
    _check_reserved(tokens)
    files, in_calls = _check_files(statement)
    found = _parted(query, tokens, _places(tokens) if in_calls else frozenset())
    return Query(found.parts, files)


def _read(query: str, database: str) -> tuple[list["Token"], Any]:
    """Parse a query that is one statement; give its tokens and its tree."""
    import sqlglot
    from sqlglot import errors, exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # It would write queries into the log.
    dialect = _DIALECTS.get(database, database)
    if dialect not in sqlglot.Dialect.classes:
        dialect = ""
    try:
        tokens = list(sqlglot.tokenize(query, read=dialect))
        statements = [
            one for one in sqlglot.parse(query, read=dialect) if one and not isinstance(one, exp.Semicolon)
        ]
        if len(statements) != 1:
            raise Invalid(f"The query is {len(statements)} statements. Write one SELECT, and no semicolon.")
    except errors.ParseError as error:
        raise Invalid(_no_sql(error.errors, database)) from None
    except errors.SqlglotError as error:
        unclosed = isinstance(error, errors.TokenError)
        what = "a text, a name in quotes or a comment has no end" if unclosed else "it cannot be read"
        raise Invalid(f"The query is no SQL as {database} reads it: {what}.") from None
    except RecursionError:
        raise Invalid("The query is nested too deeply. Write it flatter, or make a view of it.") from None
    return tokens, statements[0]


def _no_sql(errors: Sequence[dict[str, Any]], database: str) -> str:
    first = errors[0] if errors else {}
    where = f" at line {first['line']}, column {first['col']}" if first.get("line") else ""
    near = f", near {first['highlight'][:40]!r}" if first.get("highlight") else ""
    what = _plainly(str(first.get("description") or ""))
    return f"The query is no SQL as {database} reads it{where}{near}: {what}."


def _plainly(description: str) -> str:
    """Say what the parser says without its own words: `Expecting )`, `Expected table name but got <Token ...>`."""
    named = _EXPECTED.match(description)
    if named is not None:
        return f"here {_MISSING.get(named[1].lower(), f'{named[1]} is missing')}"
    if description.startswith("Invalid expression / Unexpected token"):
        return "this cannot stand here"
    if "<" in description or not description:  # The parser's own names help nobody.
        return "something is missing"
    return description.rstrip(".")[:200]


def _check_parts(statement: Any) -> None:
    from sqlglot import exp

    if not isinstance(statement, exp.Query):
        raise Invalid(f"The query is not a SELECT, but {_named(statement)}. A rule only reads.")
    for node in statement.walk():
        match node:
            case exp.DDL() | exp.DML() | exp.Command() | exp.Copy() | exp.Set() | exp.Pragma():
                raise Invalid(f"The query holds {_named(node)}, which changes something. A rule only reads.")
            case exp.Into():
                raise Invalid(
                    "The query has an INTO, which would write its rows somewhere. A rule only reads."
                )
            case exp.Lock():
                raise Invalid(
                    "The query locks its rows (FOR UPDATE, FOR SHARE). A rule only reads; leave that out."
                )
            case _:
                pass


def _named(node: Any) -> str:
    name = str(node.this) if node.key == "command" else node.key
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name.upper()[:40]}"


def _check_functions(tokens: Sequence["Token"]) -> None:
    """Look at what is called, and at what stands before it with a dot, such as a package."""
    for index, token in enumerate(tokens):
        following = index + 1
        while following + 1 < len(tokens) and tokens[following].token_type.name == "DOT":
            following += 2
        is_call = following < len(tokens) and tokens[following].token_type.name == "L_PAREN"
        if is_call and _FORBIDDEN.fullmatch(token.text):
            raise Invalid(
                f"The query calls {token.text[:60]}() at line {token.line}, which no rule may: it reaches files, other"
                " databases or the server itself, writes, or only waits."
            )


def _check_reserved(tokens: Sequence["Token"]) -> None:
    """Refuse the column `at` where DuckDB wants it in quotes; its own error would name what comes behind it.

    It takes the bare word behind a dot or AS, as the name of a function or an argument, and in AT TIME ZONE.
    """
    for index, token in enumerate(tokens):
        if token.token_type.name != "VAR" or token.text.lower() != "at":
            continue
        before = tokens[index - 1].token_type.name if index else ""
        behind = tokens[index + 1].token_type.name if index + 1 < len(tokens) else ""
        if before not in ("DOT", "ALIAS") and behind not in ("L_PAREN", "COLON_EQ", "FARROW", "TIME"):
            raise Invalid(
                f"The query has a bare `at` at line {token.line}, a word that DuckDB reserves. Put it in quotes: "
                '"at".'
            )


def _check_files(statement: Any) -> tuple[tuple[str, ...], bool]:
    """Let what DuckDB may take for files be those of the folder only: FROM 'a.csv', read_csv(['a.csv', 'b.csv']).

    Returns: the files that stand for tables, and whether a function reads files.
    """
    from sqlglot import exp

    files: dict[str, None] = {}
    in_calls = False
    for node in statement.walk():
        match node:
            case exp.Table() if _FILE.search(node.name):
                _check_path(node.name)
                files[node.name] = None
            case exp.Func() if FILES.fullmatch(name := _function(node)):
                in_calls = True
                first = node.this if isinstance(node.this, exp.Expr) else next(iter(node.expressions), None)
                paths = first.expressions if isinstance(first, exp.Array) else [first]
                for path in paths:
                    if not (isinstance(path, exp.Literal) and path.is_string):
                        raise Invalid(
                            f"{name}() takes names of files as plain texts here: {name}('sales/2026.csv')."
                        )
                    _check_path(path.name)
            case _:
                pass
    return tuple(files), in_calls


def _places(tokens: Sequence["Token"]) -> frozenset[int]:
    """Find the texts that name files in calls: at which characters they start."""
    found: list[int] = []
    for index, token in enumerate(tokens[:-2]):
        if not FILES.fullmatch(token.text) or tokens[index + 1].token_type.name != "L_PAREN":
            continue
        inside = itertools.takewhile(
            lambda one: one.token_type.name in ("L_BRACKET", "STRING", "COMMA"), tokens[index + 2 :]
        )
        listed = tokens[index + 2].token_type.name == "L_BRACKET"
        texts = [one.start for one in inside if one.token_type.name == "STRING"]
        found += texts if listed else texts[:1]
    return frozenset(found)


def _function(node: Any) -> str:
    from sqlglot import exp

    return (str(node.this) if isinstance(node, exp.Anonymous) else str(node.sql_name())).lower()


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not _PATH.fullmatch(path) or ".." in parts or "." in parts:
        raise Invalid(
            f"The query reads {path[:60]!r}. It may read Parquet and CSV files of the folder of this source, by their"
            " relative names: FROM 'sales/2026.csv'."
        )


def _parted(query: str, tokens: Sequence["Token"], places: frozenset[int] = frozenset()) -> Query:
    """Find the binds, a colon and a name at once behind it outside of texts and comments, and the texts at `places`."""
    parts: list[str] = []
    done = 0
    for colon, name in itertools.pairwise(tokens):
        if colon.start in places:
            parts += [query[done : colon.start], _FILE_MARK + colon.text]
            done = colon.end + 1
            continue
        if colon.token_type.name != "COLON" or colon.end + 1 != name.start:
            continue
        word = query[name.start : name.end + 1]
        if not word.isidentifier():
            continue
        if word not in binds.NAMES:
            known = ", ".join(f":{name}" for name in binds.NAMES)
            raise Invalid(f"The query asks for :{word[:40]} at line {name.line}. There are {known}.")
        parts += [query[done : colon.start], word]
        done = name.end + 1
    return Query((*parts, query[done:].rstrip().rstrip(";")))
