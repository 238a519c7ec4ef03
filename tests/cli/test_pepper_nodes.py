"""Nodes and their pepper: whoever starts with another one, or with none, is refused and told where it lies."""

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.cli.nodes import Pair, two_nodes
from tests.cli.running import tocsin
from tests.cli.test_backup import everything_in
from tests.support.databases import a_database
from tests.support.fakes import FakeIds
from tests.support.postgres import PASSWORD

from tocsin.core.model.errors import Conflict
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.connecting import database_name
from tocsin.web.pepper import FINGERPRINT, fingerprint, read_pepper

SEND = ("send", "--rule-id", "x", "--severity", "info", "--message", "x")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes that ran, and run no more."""
    with two_nodes(tmp_path_factory.mktemp("nodes"), a_database()) as pair:
        assert pair.one.stop() == pair.other.stop() == 0
        yield pair


def secrets_of(url: str) -> dict[str, bytes]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def test_the_database_has_a_fingerprint_and_not_the_pepper(stopped: Pair) -> None:
    pepper = (stopped.one.data / "pepper").read_bytes()

    kept = secrets_of(stopped.url)

    assert kept[f"secret:{FINGERPRINT}"] == fingerprint(pepper)
    assert pepper not in kept.values()


def test_a_node_with_another_pepper_does_not_start_and_says_where_the_right_one_is(
    stopped: Pair, tmp_path: Path
) -> None:
    data = shutil.copytree(stopped.other.data, tmp_path / "node")
    (data / "pepper").write_bytes(bytes(32))
    before = secrets_of(stopped.url)

    said = tocsin("serve", "--data", data, "--port", "0", DB=stopped.url)

    assert said.code == 4
    assert f"the tokens of {database_name(stopped.url)} were hashed" in said.err
    assert "Copy pepper and ledger.key from the directory of another node" in said.err
    assert "token reset" not in said.err
    assert secrets_of(stopped.url) == before


def test_a_node_without_a_pepper_does_not_start_and_makes_none(stopped: Pair, tmp_path: Path) -> None:
    data = shutil.copytree(stopped.other.data, tmp_path / "node")
    (data / "pepper").unlink()

    said = tocsin("serve", "--data", data, "--port", "0", DB=stopped.url)

    assert said.code == 4
    assert "pepper is missing" in said.err
    assert "Copy pepper and ledger.key from the directory of another node" in said.err
    assert "token reset" not in said.err
    assert not (data / "pepper").exists()


def test_a_database_of_an_older_program_knows_it_from_the_first_start_on(tmp_path: Path) -> None:
    with two_nodes(tmp_path, a_database()) as pair:
        with psycopg.connect(pair.url, autocommit=True) as connection:
            connection.execute("DELETE FROM meta WHERE key = $$secret:pepper_fingerprint$$")
        assert pair.one.stop() == 0
        pair.one.start()

        kept = secrets_of(pair.url)[f"secret:{FINGERPRINT}"]

        assert kept == fingerprint((pair.one.data / "pepper").read_bytes())


def test_of_nodes_that_begin_together_with_a_pepper_each_only_one_goes_on(tmp_path: Path) -> None:
    url = a_database()
    stores = [PostgresStore(url, node_id=f"node-{number}") for number in range(4)]

    def begin(number: int) -> bytes | None:
        data = tmp_path / str(number)
        data.mkdir()
        (data / "pepper").write_bytes(bytes([number]) * 32)
        try:
            return read_pepper(data, stores[number], FakeIds())
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as threads:
        taken = [one for one in threads.map(begin, range(4)) if one is not None]
    for store in stores:
        store.close()

    assert len(taken) == 1
    assert secrets_of(url)[f"secret:{FINGERPRINT}"] == fingerprint(taken[0])


def test_another_node_makes_no_pepper_before_the_first_one_made_a_token(tmp_path: Path) -> None:
    store = PostgresStore(a_database())
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    made = read_pepper(tmp_path / "one", store, FakeIds())

    with pytest.raises(Conflict, match="If there is neither, nobody ever got a token: drop the database"):
        read_pepper(tmp_path / "other", store, FakeIds())

    assert store.secret(FINGERPRINT) == fingerprint(made)
    store.close()


def test_a_start_that_found_its_port_taken_leaves_no_fingerprint(tmp_path: Path) -> None:
    url = a_database()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = tocsin("serve", "--data", tmp_path / "node", "--port", str(taken.getsockname()[1]), DB=url)

    assert said.code == 1, said.err
    assert f"secret:{FINGERPRINT}" not in secrets_of(url)
    assert not (tmp_path / "node" / "pepper").exists()


def test_what_a_start_that_came_no_further_left_does_not_stop_a_restore(
    stopped: Pair, tmp_path: Path
) -> None:
    url = a_database()
    store = PostgresStore(url)
    read_pepper(tmp_path, store, FakeIds())
    store.close()
    archive = tmp_path / "b.tar"
    assert tocsin("backup", archive, "--data", stopped.one.data, DB=stopped.url).code == 0

    said = tocsin("restore", archive, "--data", tmp_path / "node", DB=url)

    assert said.code == 0, said.err
    pepper = (tmp_path / "node" / "pepper").read_bytes()
    assert secrets_of(url)[f"secret:{FINGERPRINT}"] == fingerprint(pepper)


# Verbs in the directory of a node that does not run


def test_a_reset_is_refused_for_nodes_before_anything_is_changed(stopped: Pair) -> None:
    before = everything_in(stopped.one.data)
    meta = secrets_of(stopped.url)

    for beside, settings in (((), {"DB": stopped.url}), (("--db", stopped.url), {}), ((), {})):
        said = tocsin("token", "reset", "--yes", "--data", stopped.one.data, *beside, **settings)

        assert (said.code, said.out) == (4, "")
        assert "are not reset. Nothing was changed." in said.err
        assert "copy pepper and ledger.key from the directory of another node" in said.err
        assert PASSWORD not in said.err
    assert everything_in(stopped.one.data) == before
    assert secrets_of(stopped.url) == meta


@pytest.mark.parametrize("verb", [("status",), ("status", "--watch"), ("token", "list"), SEND], ids=" ".join)
def test_a_verb_where_no_node_runs_says_where_its_store_is_and_begins_none(
    stopped: Pair, verb: tuple[str, ...]
) -> None:
    before = everything_in(stopped.one.data)

    named = tocsin(*verb, "--data", stopped.one.data, DB=stopped.url)
    unnamed = tocsin(*verb, "--data", stopped.one.data)

    assert (named.code, unnamed.code) == (6, 6)
    assert f"what it knows lies in {database_name(stopped.url)}. Ask another node (--url URL)" in named.err
    assert f"start this one: tocsin serve --data {stopped.one.data}" in named.err
    assert PASSWORD not in named.err
    assert "has keys but no database, as a node's directory has. Ask another node" in unnamed.err
    assert everything_in(stopped.one.data) == before
