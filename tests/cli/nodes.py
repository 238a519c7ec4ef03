"""Real nodes on a PostgreSQL of their own, for the verbs that read it beside them."""

import http.client
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.server import Server

KEYS = ("pepper", "ledger.key")


class Pair:
    """Two nodes that are one to whoever asks: each connection is to one of them."""

    def __init__(self, one: Server, other: Server, url: str) -> None:
        self.one, self.other, self.url = one, other, url
        self._chance = random.Random(7)

    def connect(self) -> http.client.HTTPConnection:
        """Connect to a node."""
        return self._either().connect()

    def headers(self) -> dict[str, str]:
        """Give the headers of a JSON request."""
        return self.one.headers()

    def request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], Any]:
        """Ask a node."""
        return self._either().request(method, path, body)

    def _either(self) -> Server:
        return self._chance.choice((self.one, self.other))


@contextmanager
def two_nodes(folder: Path, url: str, **settings: str) -> Iterator[Pair]:
    """Run two nodes, on `one` and `other` in a folder. settings: TOCSIN_ variables, without that prefix."""
    given = {"TOCSIN_DB": url, **{f"TOCSIN_{name}": value for name, value in settings.items()}}
    one, other = Server(folder / "one", given), Server(folder / "other", given)
    with one:
        join(one, other)
        with other:
            yield Pair(one, other, url)


def join(one: Server, other: Server) -> None:
    """Give another node what it needs of the first."""
    other.data.mkdir(mode=0o700, exist_ok=True)
    for name in KEYS:
        shutil.copy(one.data / name, other.data / name)
    other.token = one.token
