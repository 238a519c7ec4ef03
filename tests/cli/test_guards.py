"""What keeps nodes and their verbs from the wrong store: a fork under live nodes, a database that is not named any more,
one that is older than what was signed, and the embedded store in place of the one that was asked for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from tests.cli.inside import Said, alert, run
from tests.cli.nodes import join, two_nodes
from tests.cli.test_backup import everything_in
from tests.cli.test_backup_nodes import changed, tables_of
from tests.support.databases import a_database
from tests.support.server import Server

from tocsin.cli.main import main
from tocsin.runtime import notary
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.connecting import database_name as name_of
from tocsin.stores.sqlite import SqliteStore


def entries(data: Path, url: str) -> int:
    size: int = run("ledger", "verify", "--data", data, "--db", url).answer["size"]
    return size


def copied(url: str) -> str:
    """Copy a database that nobody uses; the URL of the copy."""
    server, name = url.rsplit("/", 1)
    changed(f"{server}/postgres", f'CREATE DATABASE "{name}_old" TEMPLATE "{name}"')
    return f"{url}_old"


def put_back(url: str) -> None:
    """Put the copy in the place of a database."""
    server, name = url.rsplit("/", 1)
    changed(
        f"{server}/postgres", f'DROP DATABASE "{name}"', f'ALTER DATABASE "{name}_old" RENAME TO "{name}"'
    )


def serve(data: Path, *more: object) -> Said:
    """Start a server that will not come up; whatever does is stopped at once, by its stdin."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tocsin.cli.main import main; main()",
            "serve",
            "--data",
            str(data),
            "--port",
            "0",
            "--with-parent",
            *map(str, more),
        ],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def older(tmp_path: Path) -> tuple[Server, str]:
    """A node at rest whose database was put back to an older state by other means than restore."""
    url = a_database()
    node = Server(tmp_path / "node", {"TOCSIN_DB": url})
    with node:
        assert node.stop() == 0
        copied(url)
        node.start()
        alert(node)
        assert node.stop() == 0
    put_back(url)
    return node, url


# A fork


def test_nothing_is_forked_under_live_nodes(tmp_path: Path) -> None:
    with two_nodes(tmp_path, a_database()) as pair:
        before = entries(pair.one.data, pair.url)
        shutil.copytree(pair.one.data, tmp_path / "third")
        (tmp_path / "third" / "highwater.json").unlink()

        said = run("ledger", "fork", "--reason", "x", "--data", tmp_path / "third", "--db", pair.url)

        assert (said.code, said.out) == (1, "")
        with psycopg.connect(pair.url) as connection:
            living = [name for (name,) in connection.execute("SELECT id FROM nodes")]
        assert len(living) == 2
        assert all(name in said.err for name in living)
        assert "Stop all of them" in said.err
        assert entries(pair.one.data, pair.url) == before


def test_a_node_that_stops_is_live_no_longer_and_one_that_was_killed_is_for_a_while(tmp_path: Path) -> None:
    url = a_database()
    node = Server(tmp_path / "node", {"TOCSIN_DB": url})
    with node:
        assert node.stop() == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id FROM nodes").fetchall() == []

    with node:
        node.kill()
    said = run("ledger", "fork", "--reason", "x", "--data", node.data, "--db", url)

    assert said.code == 1
    assert "one that was killed counts as running for" in said.err


def test_nothing_is_forked_where_nothing_is_lost(tmp_path: Path) -> None:
    url = a_database()
    node = Server(tmp_path / "node", {"TOCSIN_DB": url})
    with node:
        assert node.stop() == 0
    before = entries(node.data, url)

    said = run("ledger", "fork", "--reason", "x", "--data", node.data, "--db", url)

    assert (said.code, said.out) == (4, "")
    assert "nothing to fork for" in said.err
    assert entries(node.data, url) == before


def test_a_directory_that_lacks_the_keys_forks_nothing(older: tuple[Server, str], tmp_path: Path) -> None:
    node, url = older
    before = entries(node.data, url)

    said = run("ledger", "fork", "--reason", "x", "--data", tmp_path / "stranger", "--db", url)

    assert said.code == 4
    assert "ledger.key" in said.err
    assert entries(node.data, url) == before
    assert not (tmp_path / "stranger" / "highwater.json").exists()


def test_a_fork_is_done_once_and_the_other_nodes_follow_it(older: tuple[Server, str], tmp_path: Path) -> None:
    node, url = older

    forked = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url)
    again = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url)

    assert forked.code == 0, forked.err
    assert forked.err == ""
    assert (again.code, again.out) == (4, "")
    assert "nothing to fork for" in again.err
    assert run("ledger", "verify", "--data", node.data, "--db", url).code == 0
    other = Server(tmp_path / "other", {"TOCSIN_DB": url})
    join(node, other)
    with node, other:
        assert other.request("GET", "/readyz")[0] == 200


def test_what_fails_after_the_commit_is_told_and_is_no_failure(
    older: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, url = older
    written = notary.highwater.write
    mark = (node.data / "highwater.json").read_bytes()

    def once(path: Path, what: notary.HighWater) -> None:
        if "/2-" in what.origin:
            raise OSError(28, "No space left on device")
        written(path, what)

    monkeypatch.setattr(notary.highwater, "write", once)
    said = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url)

    assert said.code == 0
    assert "/2-" in said.answer["origin"]
    assert "the next start does it" in said.err
    assert (node.data / "highwater.json").read_bytes() == mark
    monkeypatch.undo()
    with node:
        assert node.stop() == 0
    now = json.loads((node.data / "highwater.json").read_bytes())
    assert now["origin"] == said.answer["origin"]


def test_a_commit_whose_answer_was_lost_counts(
    older: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, url = older
    commit = PostgresStore.commit

    def lost(store: PostgresStore, batch: object) -> None:
        commit(store, batch)  # type: ignore[arg-type]
        raise notary.StoreFailed("the answer was lost")

    monkeypatch.setattr(PostgresStore, "commit", lost)
    said = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url)

    assert said.code == 0, said.err
    monkeypatch.undo()
    with node:
        assert node.request("GET", "/readyz")[0] == 200


def test_a_commit_that_failed_is_told_and_nothing_is_forked(
    older: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, url = older
    before = entries(node.data, url)

    def failing(store: PostgresStore, batch: object) -> None:
        raise notary.StoreFailed("no room")

    monkeypatch.setattr(PostgresStore, "commit", failing)
    said = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url)

    assert (said.code, said.out) == (1, "")
    assert "accepted nothing" in said.err
    assert entries(node.data, url) == before


# A store that is not named any more, or that lost everything


def test_a_node_that_lost_its_database_makes_no_new_one(tmp_path: Path) -> None:
    node = Server(tmp_path / "node", {"TOCSIN_DB": a_database()})
    with node:
        alert(node)
        assert node.stop() == 0
    before = everything_in(node.data)
    mark = json.loads(before["highwater.json"])
    empty = a_database()

    unnamed = serve(node.data)
    other = serve(node.data, "--db", empty)
    sent = run("send", "--rule-id", "disk", "--severity", "error", "--message", "x", "--data", node.data)

    assert (unnamed.code, other.code) == (1, 1)
    assert "toc_" not in unnamed.out + other.out
    assert f"up to entry {mark['size'] - 1} " in unnamed.err
    assert mark["origin"] in unnamed.err
    assert f"there is none in {node.data}." in unnamed.err
    assert f"there is none in {name_of(empty)}." in other.err
    assert "TOCSIN_DB" in unnamed.err
    assert "tocsin restore" in unnamed.err
    assert sent.code == 6
    assert "No server runs on" in sent.err
    assert everything_in(node.data) == before
    assert tables_of(empty) == []
    node.start()
    assert node.stop() == 0


def test_a_database_in_which_only_tables_are_is_as_empty(tmp_path: Path) -> None:
    node = Server(tmp_path / "node", {"TOCSIN_DB": a_database()})
    with node:
        assert node.stop() == 0
    before = everything_in(node.data)
    empty = a_database()
    PostgresStore(empty).close()

    said = serve(node.data, "--db", empty)

    assert said.code == 1
    assert "was signed here" in said.err
    assert everything_in(node.data) == before
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM meta WHERE key LIKE 'secret:%'").fetchall() == [(0,)]


def test_after_the_move_only_the_database_is_served(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    with server:
        number = alert(server)
        assert server.stop() == 0
    url = a_database()
    assert run("migrate-store", "--data", server.data, "--db", url).code == 0
    before = everything_in(server.data)

    said = serve(server.data)

    assert said.code == 1
    assert "was signed here" in said.err
    assert everything_in(server.data) == before
    node = Server(server.data, {"TOCSIN_DB": url})
    node.token = server.token
    with node:
        assert alert(node) == number


def test_an_embedded_store_that_was_lost_comes_back_from_a_backup_only(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    with server:
        alert(server)
        assert server.stop() == 0
    assert run("backup", tmp_path / "b.tar", "--data", server.data).code == 0
    for path in server.data.glob("tocsin.db*"):
        path.unlink()
    missing = serve(server.data)
    SqliteStore(server.data).close()
    new = serve(server.data)

    assert (missing.code, new.code) == (1, 1)
    assert "was signed here" in missing.err
    assert "was signed here" in new.err
    restored = run("restore", tmp_path / "b.tar", "--data", server.data, "--replace")
    assert restored.code == 0, restored.err
    assert run("ledger", "verify", "--data", server.data).code == 0
    server.start()
    assert server.stop() == 0
    assert run("ledger", "verify", "--data", server.data).code == 0


# Which store is read


def test_a_database_that_is_said_goes_before_the_store_of_the_directory(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    with server:
        assert server.stop() == 0
    node = Server(tmp_path / "node", {"TOCSIN_DB": (url := a_database())})
    with node:
        alert(node)
        assert node.stop() == 0

    def verified(*more: object, **environment: str) -> dict[str, object]:
        asked = ["ledger", "verify", "--data", str(server.data), *map(str, more)]
        ran = CliRunner().invoke(main, asked, env={"TOCSIN_DB": None, **environment})
        answer: dict[str, object] = json.loads(ran.stdout)
        return answer

    (server.data / "highwater.json").unlink()
    here, said, told = verified(), verified("--db", url), verified(TOCSIN_DB=url)

    assert here["store"] == told["store"] == str(server.data)
    assert said["store"] == name_of(url)
    assert here["root"] == told["root"] != said["root"]
    shown = run("ledger", "verify", "--data", server.data, "--db", url, "-o", "table").out
    assert f"store   {name_of(url)}\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    replayed = run("ledger", "replay", "--data", server.data, "--db", url, "-o", "table")
    assert replayed.code == 0
    assert f"store   {name_of(url)}\n" in replayed.out
    assert run("ledger", "replay", "--data", server.data).answer["store"] == str(server.data)


# A ledger that is older than what was signed


def test_a_database_that_was_rolled_back_is_not_sound(older: tuple[Server, str]) -> None:
    node, url = older
    mark = json.loads((node.data / "highwater.json").read_bytes())

    said = run("ledger", "verify", "--data", node.data, "--db", url)
    shown = run("ledger", "verify", "--data", node.data, "--db", url, "-o", "table")

    assert (said.code, shown.code) == (7, 7)
    assert said.answer["sound"] is False
    assert said.answer["bad_seq"] is None
    assert f"a checkpoint of {mark['size']} was signed" in said.answer["what"]
    assert shown.out.startswith("The ledger is NOT sound: what was signed is not in it.\n")
    assert run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url).code == 0
    assert run("ledger", "verify", "--data", node.data, "--db", url).code == 0


def test_beside_nodes_under_way_the_mark_is_never_ahead(tmp_path: Path) -> None:
    with two_nodes(tmp_path, a_database()) as pair:
        for number in range(20):
            alert(pair.one, f"rule-{number}")
            said = run("ledger", "verify", "--data", pair.other.data, "--db", pair.url)
            assert said.code == 0, said.out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"size": 1000}, "a checkpoint of 1000 was signed"),
        ({"root": "00" * 32}, "are others than those that were signed"),
        ({"origin": "tocsin-other"}, "a checkpoint of tocsin-other was signed here"),
    ],
)
def test_a_file_that_contradicts_its_mark_is_not_sound(
    tmp_path: Path, change: dict[str, object], what: str
) -> None:
    server = Server(tmp_path / "data")
    with server:
        alert(server)
        assert server.stop() == 0
    mark = json.loads((server.data / "highwater.json").read_bytes())
    sound = run("ledger", "verify", "--data", server.data)
    (server.data / "highwater.json").write_text(json.dumps(mark | change))

    said = run("ledger", "verify", "--data", server.data)

    assert sound.code == 0
    assert (said.code, said.answer["sound"]) == (7, False)
    assert what in said.answer["what"]
    (server.data / "highwater.json").write_text("{}")
    assert run("ledger", "verify", "--data", server.data).code == 1
