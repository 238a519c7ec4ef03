"""What sources measure in their contract: one table, laid out for each kind of source, and what is asked of it.

A new kind of source joins the contract by one more entry in WORLDS. The moments of the rows are one millisecond before
full minutes, because that is where a source with steps of its own (Prometheus) looks, so that all can give the same.
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest
import tests.support.prometheus
from tests.support.postgres import Server, a_postgres, why_not
from tests.support.prometheus import a_prometheus

from tocsin.core.model.rule import Ask, Point, Series
from tocsin.outbound import Outbound
from tocsin.ports import Source
from tocsin.sources.http import Http, HttpConfig
from tocsin.sources.prometheus import Prometheus, PrometheusConfig
from tocsin.sources.sql import Sql, SqlConfig

SECOND = 1_000_000
MINUTE = 60 * SECOND
START = 1_795_000_020 * SECOND  # a full minute in November 2026
MINUTES = 60
SECRET = "hunter2-geheim"

Row = tuple[int, str, float]


def at_minute(number: int) -> int:
    """Give the moment of the rows of a minute: 1 ms before the next one."""
    return START + (number + 1) * MINUTE - 1_000


def value_at(number: int, region: str) -> float:
    """Give numbers that tell minutes and regions apart, some of them negative and broken."""
    return number - 10.25 if region == "eu" else number * 1_000.0


ROWS: list[Row] = [
    (at_minute(number), region, value_at(number, region))
    for number in range(MINUTES)
    for region in ("eu", "us west")
]
"""(moment, region, value)"""


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def window(first: int, minutes: int) -> tuple[int, int]:
    """Give [since, until) of so many minutes from a minute on."""
    return START + first * MINUTE, START + (first + minutes) * MINUTE


def expected(first: int, minutes: int) -> tuple[Series, ...]:
    """Give all points of a window."""
    numbers = range(max(first, 0), min(first + minutes, MINUTES))
    return tuple(
        Series(
            labels={"region": region}, points=tuple(Point(at_minute(n), value_at(n, region)) for n in numbers)
        )
        for region in ("eu", "us west")
        if numbers
    )


class World:
    """The table in one kind of source.

    points, total: the questions for all points of a window, and for their sum by region as one number at its end.
    wrong: a question that the source itself cannot answer, though nothing is wrong with its form.
    """

    points = "SELECT at, region, value FROM measured WHERE at >= :since AND at < :until"
    total = (
        "SELECT region, sum(value) AS value FROM measured WHERE at >= :since AND at < :until GROUP BY region"
    )
    wrong = "SELECT nothing_like_this AS value FROM measured"

    def __init__(self) -> None:
        self.outbound = Outbound(("127.0.0.0/8",))

    @abstractmethod
    def source(self, *, small: bool = False, away: bool = False) -> Source:
        """Make a source. small: it takes at most 10 rows, points or bytes; away: there is nobody."""

    def ask(self, *asks: Ask, small: bool = False, away: bool = False) -> list[tuple[Series, ...]]:
        """Ask one after another, of one source."""

        async def run() -> list[tuple[Series, ...]]:
            source = self.source(small=small, away=away)
            try:
                return [await source.ask(ask) for ask in asks]
            finally:
                await source.close()
                await self.outbound.close()

        return asyncio.run(run())

    def question(self, query: str, first: int, minutes: int) -> Ask:
        since, until = window(first, minutes)
        return Ask(name="q", query=query, since=since, until=until, step=MINUTE)


class SqliteWorld(World):
    # Text is compared as text, so what is compared has the same form.
    points = World.points.replace(":since", ":since || '.000'").replace(":until", ":until || '.000'")
    total = World.total.replace(":since", ":since || '.000'").replace(":until", ":until || '.000'")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path / "measured.db"
        with contextlib.closing(sqlite3.connect(self.path)) as made, made:
            made.execute("CREATE TABLE measured (at TEXT, region TEXT, value REAL)")
            made.executemany(
                "INSERT INTO measured VALUES (?, ?, ?)", [(iso(at), *rest) for at, *rest in ROWS]
            )

    def source(self, *, small: bool = False, away: bool = False) -> Source:
        path = self.path.with_name(SECRET) if away else self.path
        return Sql(SqlConfig(name="shop", url=f"sqlite:///{path}", rows_max=10 if small else 10_000))


@contextlib.contextmanager
def sqlite(directory: Path) -> Iterator[World]:
    yield SqliteWorld(directory)


class PostgresWorld(World):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        values = ", ".join(f"('{iso(at)}', '{region}', {value})" for at, region, value in ROWS)
        server.run(
            "CREATE TABLE IF NOT EXISTS measured (at timestamptz, region text, value double precision)",
            "SET TimeZone = 'UTC'; TRUNCATE measured; INSERT INTO measured VALUES " + values,
        )

    def source(self, *, small: bool = False, away: bool = False) -> Source:
        url = self.server.url(password=SECRET) if away else self.server.url()
        return Sql(SqlConfig(name="shop", url=url, rows_max=10 if small else 10_000))


@contextlib.contextmanager
def postgres(_: Path) -> Iterator[World]:
    if why := why_not():
        pytest.skip(why)
    with a_postgres() as server:
        yield PostgresWorld(server)


class DuckWorld(World):
    def __init__(self, url: str, files: Path | str, table: str) -> None:
        super().__init__()
        self.url, self.files = url, files
        # AT is a word of DuckDB's own, so the column is quoted there.
        self.points = (
            World.points.replace("measured", table).replace("at,", '"at",').replace(" at ", ' "at" ')
        )
        self.total = World.total.replace("measured", table).replace(" at ", ' "at" ')
        self.wrong = World.wrong.replace("measured", table)

    def source(self, *, small: bool = False, away: bool = False) -> Source:
        url = self.url.replace(".duckdb", SECRET) if away else self.url
        files = f"{self.files}/{SECRET}" if away and self.files else str(self.files)
        return Sql(SqlConfig(name="shop", url=url, files=files, rows_max=10 if small else 10_000))


@contextlib.contextmanager
def csv(directory: Path) -> Iterator[World]:
    lines = [f"{iso(at)},{region},{value}" for at, region, value in ROWS]
    (directory / "it's measured").mkdir()
    (directory / "it's measured" / "shop.csv").write_text("\n".join(["at,region,value", *lines]))
    yield DuckWorld("duckdb://", directory / "it's measured", "'shop.csv'")


@contextlib.contextmanager
def parquet(directory: Path) -> Iterator[World]:
    with csv(directory), duckdb.connect() as made:
        (directory / "sub").mkdir()
        target = directory / "sub" / "measured.parquet"
        made.read_csv(str(directory / "it's measured" / "shop.csv")).write_parquet(str(target))
    yield DuckWorld("duckdb://", directory, "read_parquet(['sub/measured.parquet'])")


@contextlib.contextmanager
def duckdb_file(directory: Path) -> Iterator[World]:
    with csv(directory), duckdb.connect(directory / "a.duckdb") as made:
        made.read_csv(str(directory / "it's measured" / "shop.csv")).create("measured")
    yield DuckWorld(f"duckdb:///{directory / 'a.duckdb'}", "", "measured")


class PrometheusWorld(World):
    points = "measured"
    total = "sum by (region) (sum_over_time(measured[$window]))"
    wrong = "sum(measured"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def source(self, *, small: bool = False, away: bool = False) -> Source:
        url = f"http://127.0.0.1:1/{SECRET}" if away else self.url
        config = PrometheusConfig(
            name="shop",
            url=url,
            headers=(("Authorization", f"Bearer {SECRET}"),),
            series_max=1 if small else 1_000,
        )
        return Prometheus(config, self.outbound)


@contextlib.contextmanager
def prometheus(directory: Path) -> Iterator[World]:
    if why := tests.support.prometheus.why_not():
        pytest.skip(why)
    lines = [f'measured{{region="{region}"}} {value} {at / SECOND:.3f}' for at, region, value in ROWS]
    with a_prometheus(directory, ["# TYPE measured gauge", *lines]) as url:
        yield PrometheusWorld(url)


class HttpWorld(World):
    """A server that answers as JSON is served everywhere: with what falls into the window that it is asked for."""

    points = "$.items[*] value=count at=ms"
    total = "$['by region'][*]"
    wrong = "$.itmes[*]"

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def source(self, *, small: bool = False, away: bool = False) -> Source:
        url = f"http://127.0.0.1:{1 if away else self.port}/{SECRET}?from={{since}}&to={{until}}&key={SECRET}"
        config = HttpConfig(
            name="shop",
            url=url,
            headers=(("Authorization", f"Bearer {SECRET}"),),
            bytes_max=100 if small else 4_000_000,
        )
        return Http(config, self.outbound)


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        since, until = (
            round(datetime.fromisoformat(query[name][0]).timestamp() * SECOND) for name in ("from", "to")
        )
        rows = [row for row in ROWS if since <= row[0] < until]
        regions = sorted({region for _, region, _ in rows})
        body = json.dumps(
            {
                "items": [
                    {"ms": at // 1_000, "region": region, "count": count, "tags": ["a"]}
                    for at, region, count in rows
                ],
                "by region": [
                    {"region": region, "Value": sum(value for _, its, value in rows if its == region)}
                    for region in regions
                ],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def http(_: Path) -> Iterator[World]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Shop) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield HttpWorld(server.server_address[1])
        server.shutdown()


WORLDS: dict[str, Callable[[Path], contextlib.AbstractContextManager[World]]] = {
    "sqlite": sqlite,
    "postgres": postgres,
    "csv": csv,
    "parquet": parquet,
    "duckdb": duckdb_file,
    "prometheus": prometheus,
    "http": http,
}
