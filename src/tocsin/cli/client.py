"""Client: how a verb reaches Tocsin: the server at --url, the one that runs on the data directory, or none.

Standard library only, and no proxies: `tocsin status` must answer at once, and from the machine that was named.
"""

import fcntl
import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from tocsin.cli.answers import Api, Query, path_of, read_answer
from tocsin.cli.exits import NOT_ALLOWED, UNEXPECTED, UNREACHABLE, USAGE, Failure, told

DATA = Path("tocsin-data")
URL_FILE = "url"
"""In the data directory while a server runs on it: where it listens."""

TOKEN_FILE = "operator-token"
"""Beside it, readable by its owner only: what the other verbs show to that server."""

LOCK_FILE = "lock"
TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
PIECE_BYTES = 1 << 20
FREE_LOOKS = 50
LOOK_EVERY_S = 0.1

_F = TypeVar("_F", bound=Callable[..., Any])


def config_option(command: _F) -> _F:
    """Add --config to a verb."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The configuration. Default: $TOCSIN_CONFIG, else tocsin.yaml in the data directory.",
    )(command)


def data_option(command: _F) -> _F:
    """Add --data to a verb that talks to no server."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DATA,
        show_default=True,
        help="The data directory.",
    )(command)


def db_option(command: _F) -> _F:
    """Add --db to a verb that has --data and reads what is stored; it is "" if the data directory is to be read.

    What stands in the environment is meant for all directories, so one with a store of its own goes before it.
    """

    @wraps(command)
    def chosen(*, data: Path, db: str, **options: Any) -> Any:
        is_said = click.get_current_context().get_parameter_source("db") is ParameterSource.COMMANDLINE
        if db and not is_said and (data / "tocsin.db").is_file():
            db = ""
        return command(data=data, db=db, **options)

    return click.option(
        "--db",
        metavar="URL",
        default="",
        envvar="TOCSIN_DB",
        help="The PostgreSQL that has the ledger. From TOCSIN_DB only if the data directory has none.",
    )(cast(_F, chosen))


def server_options(command: _F) -> _F:
    """Add --data, --url and --token to a verb."""
    command = click.option(
        "--token", envvar="TOCSIN_TOKEN", show_envvar=True, help="What to show to the server, toc_..."
    )(command)
    command = click.option("--url", envvar="TOCSIN_URL", show_envvar=True, help="The server to talk to.")(
        command
    )
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DATA,
        show_default=True,
        help="The data directory; used if there is no --url.",
    )(command)


class Server:
    """A server that is spoken to over HTTP.

    url: http or https, with a path in front of the API's if there is one. token: "" to show none.
    Raises: Failure (2) if the URL or the token cannot be one.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https") or parts.username is not None:
            raise Failure(
                f"{url!r} (--url or TOCSIN_URL) is not a server's URL. Write it like http://127.0.0.1:8780.",
                USAGE,
            )
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Failure(
                "The token (--token or TOCSIN_TOKEN) holds characters that no token has. Copy it again.",
                USAGE,
            )
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._prefix = host, port, parts.path.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """See `Api`."""
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.asked(method, path_of(path, query), data) as answer:
            return read_answer(answer.status, answer.read(ANSWER_BYTES_MAX), self.url)

    def fetch(self, path: str, *, query: Query | None = None) -> bytes:
        """See `Api`."""
        with self.asked("GET", path_of(path, query)) as answer:
            body: bytes = answer.read(ANSWER_BYTES_MAX)
        if answer.status != 200:
            read_answer(answer.status, body, self.url)
        return body

    def save(self, path: str, file: BinaryIO, *, timeout_s: float) -> None:
        """See `Api`."""
        with self.asked("GET", path, timeout_s=timeout_s) as answer:
            if answer.status != 200:
                read_answer(answer.status, answer.read(ANSWER_BYTES_MAX), self.url)
            shutil.copyfileobj(answer, file, PIECE_BYTES)
            if answer.length:
                raise Failure(f"{self.url} stopped in the middle. Try again.", UNREACHABLE)

    def now(self) -> datetime:
        """See `Api`. To the second: it stands in the Date of every answer."""
        with self.asked("GET", "/healthz") as answer:
            answer.read(ANSWER_BYTES_MAX)
            date = answer.headers.get("Date", "")
        try:
            return parsedate_to_datetime(date).astimezone(UTC)
        except ValueError as error:
            raise Failure(
                f"{self.url} does not say what time it is there. Give times as ISO 8601, "
                "such as 2026-03-01T09:30:00Z.",
                UNEXPECTED,
            ) from error

    @contextmanager
    def asked(
        self,
        method: str,
        target: str,
        data: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Make one request; its answer can be read until the block ends.

        Raises: Failure (6), also for what goes wrong with the connection inside of the block.
        """
        sent = {"Accept": "application/json", "User-Agent": "tocsin-cli"}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        if data is not None:
            sent["Content-Type"] = "application/json"
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        timeout_s = timeout_s or self._timeout_s
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            connection.request(method, self._prefix + target, data, {**sent, **(headers or {})})
            yield connection.getresponse()
        except TimeoutError as error:
            raise Failure(
                f"{self.url} did not answer within {timeout_s:.0f} s, so whether it did what was asked is "
                "unknown. Look with: tocsin status",
                UNREACHABLE,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Failure(
                f"{self.url} cannot be reached: {why}. Is the server running? Start one: tocsin serve",
                UNREACHABLE,
            ) from error
        finally:
            connection.close()


@contextmanager
def reach(
    data: Path, url: str | None, token: str | None, *, writes: bool, creates: bool = False
) -> Iterator[tuple[Api, bool]]:
    """Find the server, or be it for a moment.

    writes: something will be decided, so the settings must be those of the directory; else nothing is written.
    creates: make the data directory if there is none.
    Yields: where to ask, and whether that is in this process.
    """
    server = find_server(data, url, token)
    if server is not None:
        yield server, False
        return
    if not (data / "tocsin.db").exists():
        _check_begins(data, creates)
    with told():
        from tocsin.cli.local import opened  # It brings the whole server, which a client can do without.

        with opened(data, writes=writes) as local:
            yield local, True


def _check_begins(data: Path, creates: bool) -> None:
    """See whether a store may begin in a directory that has none; not if it is a node's. Raises: Failure (6)."""
    # As --db reads it, which this verb does not have.
    database = click.Option(["--db"], envvar="TOCSIN_DB").resolve_envvar_value(click.get_current_context())
    if database:
        with told():
            from tocsin.wiring.stores import name_of_database

            name = name_of_database(database)
        raise Failure(
            f"No node runs on {data}; what it knows lies in {name}. Ask another node (--url URL), or start this one: "
            f"tocsin serve --data {data}",
            UNREACHABLE,
        )
    if (data / "pepper").exists():
        raise Failure(
            f"No server runs on {data}, which has keys but no database, as a node's directory has. Ask another node "
            f"(--url URL), or start this one: tocsin serve --data {data} --db URL",
            UNREACHABLE,
        )
    if not creates:
        raise Failure(
            f"There is no Tocsin: no server runs on {data}, and nothing is stored there. "
            "Start one (tocsin serve), or say where it is: --url, --data.",
            UNREACHABLE,
        )


def find_server(data: Path, url: str | None, token: str | None) -> Server | None:
    """Find the server to talk to; None if none runs on the data directory, which is free then.

    Raises: Failure (6) if somebody holds the directory, but cannot be talked to.
    """
    if url:
        return Server(url, token or _token_for(data, url))
    pause = threading.Event()
    for _ in range(FREE_LOOKS):
        if not is_held(data):
            return None
        found = _read(data / URL_FILE)
        if found:
            return Server(found, token or _read(data / TOKEN_FILE))
        pause.wait(LOOK_EVERY_S)  # It is starting or stopping, or another verb holds the directory.
    raise Failure(
        f"Another Tocsin holds {data}, but does not say where it listens. Wait, or give its --url.",
        UNREACHABLE,
    )


def is_held(data: Path) -> bool:
    """Say whether a process holds the data directory. A file that a killed server left behind proves nothing."""
    try:
        with (data / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(f"{data} cannot be read: {error.strerror}.", NOT_ALLOWED) from error
    return False


def _token_for(data: Path, url: str) -> str:
    """Give the local operator's token if that very server runs here."""
    local = _read(data / URL_FILE)
    return _read(data / TOKEN_FILE) if local and local == url.rstrip("/") and is_held(data) else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise Failure(
            f"{path} cannot be read: {error.strerror}. Run this as the user of the server, or give --token.",
            NOT_ALLOWED,
        ) from error
