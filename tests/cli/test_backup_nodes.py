"""`tocsin backup` beside nodes on PostgreSQL, and the ways back: into a data directory, and into another PostgreSQL."""

import json
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from click.testing import CliRunner
from tests.cli.inside import Said, alert, run
from tests.cli.nodes import join, two_nodes
from tests.cli.running import run_without_room
from tests.cli.terminal import terminal
from tests.cli.test_backup import everything_in, flipped, members, mode
from tests.cli.test_migrate import all_of
from tests.contracts.places import PLACES, Place
from tests.contracts.test_pump_on_stores import Driven, an_alert, an_eventful_hour
from tests.reliability.under_load import Load
from tests.support.databases import a_database
from tests.support.fakes import NOON
from tests.support.postgres import PASSWORD
from tests.support.server import Server, SinkThread

from tocsin.cli.main import main
from tocsin.core.model.access import Role, Token
from tocsin.ports import Store
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.connecting import database_name as name_of
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.comparing import NOT_COMPARED, TABLES
from tocsin.web.pepper import FINGERPRINT, fingerprint

PEPPER = bytes(range(32))


def an_hour_on(place: Place) -> None:
    """Let an hour go by on a store, and let it keep what is in no ledger."""
    driven = Driven(place)
    an_eventful_hour(driven)
    driven.take(an_alert("a\0b\ue000c", rule="nul"))
    store = driven.store
    store.put_token(Token(id="00000001", name="bot \0", role=Role.SERVICE, hash="ab" * 32, created_at=NOON))
    store.keep_secret("origin", b"tocsin-test")
    store.put_evaluations({"disk": b"\0\xff", "load": b"kept"})
    store.put_checkpoint(3, b"a note\n")
    store.put_secret(FINGERPRINT, fingerprint(PEPPER))
    place.close()


@pytest.fixture
def lived(tmp_path: Path) -> tuple[str, Path]:
    """A PostgreSQL on which an hour went by, and the data directory of its node."""
    url = a_database()
    an_hour_on(Place(lambda: PostgresStore(url)))
    (tmp_path / "node").mkdir(mode=0o700)
    (tmp_path / "node" / "pepper").write_bytes(PEPPER)
    (tmp_path / "node" / "tocsin.yaml").write_text("channels: []\n")
    return url, tmp_path / "node"


@contextmanager
def opened(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()


def everything_on(store: Store) -> dict[str, object]:
    with opened(store):
        checkpoints = store.checkpoints()
        of_pepper = store.secret(FINGERPRINT)
        assert of_pepper == fingerprint(PEPPER)
        return all_of(store) | {
            "evaluations": store.evaluations(),
            "checkpoints": checkpoints,
            "of_pepper": of_pepper,
        }


def tables_of(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200")
        return [name for (name,) in rows]


def changed(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def kept(url: str, data: Path, file: Path) -> Said:
    said = run("backup", file, "--data", data, "--db", url)
    assert said.code == 0, said.err
    return said


def kinds(said: Said, *more: object) -> list[str]:
    """Give what kinds of entries a ledger has, from where a backup ended."""
    found = []
    seq = said.answer["entries"]
    while (shown := run("ledger", "show", seq, *more, "-o", "json")).code == 0:
        found.append(shown.answer["header"]["kind"])
        seq += 1
    return found


# All of it, there and back


def test_everything_comes_back_in_a_data_directory_and_on_another_postgresql(
    lived: tuple[str, Path], tmp_path: Path
) -> None:
    url, data = lived
    before = everything_on(PostgresStore(url))

    said = kept(url, data, tmp_path / "b.tar")
    here = run("restore", tmp_path / "b.tar", "--data", tmp_path / "here")
    there_url = a_database()
    there = run("restore", tmp_path / "b.tar", "--data", tmp_path / "there", "--db", there_url)

    assert (here.code, there.code) == (0, 0), here.err + there.err
    assert set(members(tmp_path / "b.tar")) == {"manifest.json", "tocsin.db", "pepper", "tocsin.yaml"}
    assert mode(tmp_path / "b.tar") == 0o600
    assert everything_on(SqliteStore(tmp_path / "here")) == before
    assert everything_on(PostgresStore(there_url)) == before
    assert said.answer["of"] == name_of(url)
    assert said.answer["root"] == here.answer["root"] == there.answer["root"]
    assert {path.name: mode(path) for path in (tmp_path / "there").iterdir()} == dict.fromkeys(
        ["lock", "pepper", "tocsin.yaml"], 0o600
    )
    assert "ledger.key is not in" in said.err


def test_a_copy_from_postgresql_is_what_an_embedded_store_would_have_written(
    lived: tuple[str, Path], tmp_path: Path
) -> None:
    an_hour_on(PLACES["sqlite"](tmp_path))
    kept(lived[0], lived[1], tmp_path / "b.tar")
    (tmp_path / "copy.db").write_bytes(members(tmp_path / "b.tar")["tocsin.db"])

    ours, copied = (apsw.Connection(str(tmp_path / name)) for name in ("data/tocsin.db", "copy.db"))

    schemas = [
        one.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() for one in (ours, copied)
    ]
    assert schemas[0] == schemas[1]
    for table in (*TABLES, *NOT_COMPARED):
        rows = [sorted(one.execute(f"SELECT * FROM {table}").fetchall()) for one in (ours, copied)]
        assert rows[0] == rows[1], table
    assert [one.pragma("user_version") for one in (ours, copied)] == [4, 4]
    for one in (ours, copied):
        one.close()


def test_a_backup_of_an_embedded_store_may_be_put_on_postgresql(tmp_path: Path) -> None:
    an_hour_on(PLACES["sqlite"](tmp_path))
    (tmp_path / "data" / "pepper").write_bytes(PEPPER)
    before = everything_on(SqliteStore(tmp_path / "data"))
    assert run("backup", tmp_path / "b.tar", "--data", tmp_path / "data").code == 0
    url = a_database()

    said = run("restore", tmp_path / "b.tar", "--data", tmp_path / "node", "--db", url, "-o", "table")

    assert said.code == 0, said.err
    assert everything_on(PostgresStore(url)) == before
    assert f"{name_of(url)} holds the ledger as it was at" in said.out
    assert "files    pepper\n" in said.out
    assert said.err == ""
    assert "Start a node, then the others" in said.out


def test_at_a_terminal_one_line_says_what_is_being_restored(lived: tuple[str, Path], tmp_path: Path) -> None:
    kept(*lived, tmp_path / "b.tar")

    with terminal("restore", tmp_path / "b.tar", "--data", tmp_path / "new", "--db", a_database()) as screen:
        assert screen.end() == 0

    shown, _, rest = screen.seen.partition(" holds the ledger as it was at")
    assert "Restoring" in shown
    assert shown.count("\r\n") == 1
    assert "\x1b[1A\x1b[2KPostgreSQL" in shown, "what was shown meanwhile is to be gone"
    assert "files    pepper, tocsin.yaml" in rest


def test_a_store_of_the_directory_goes_before_a_postgresql_of_the_environment_only(tmp_path: Path) -> None:
    an_hour_on(PLACES["sqlite"](tmp_path))
    asked = "backup", str(tmp_path / "b.tar"), "--data", str(tmp_path / "data")
    url = "postgresql://127.0.0.1:1/x"

    around = CliRunner().invoke(main, asked, env={"TOCSIN_DB": url})
    said = run(*asked, "--force", "--db", url)

    assert around.exit_code == 0, around.output
    assert said.code == 1
    assert "127.0.0.1:1/x cannot be opened" in said.err


def test_the_record_is_replayed_beside_the_nodes_as_on_an_embedded_store(
    lived: tuple[str, Path], tmp_path: Path
) -> None:
    url, data = lived
    kept(url, data, tmp_path / "b.tar")
    run("restore", tmp_path / "b.tar", "--data", tmp_path / "here")
    connection = apsw.Connection(str(tmp_path / "here" / "tocsin.db"))

    def answers() -> tuple[dict[str, Any], dict[str, Any]]:
        here = run("ledger", "replay", "--data", tmp_path / "here", "-o", "json")
        there = run("ledger", "replay", "--data", data, "--db", url, "-o", "json")
        assert here.code == there.code == (0 if here.answer["same"] else 7), there.err
        same = {"seconds": 0, "store": ""}
        return here.answer | same, there.answer | same

    here, there = answers()
    assert here == there
    assert here["same"]
    assert here["entries"] > 20

    changed(
        url, "UPDATE incidents SET title = 'forged' WHERE number = 2", "DELETE FROM silences WHERE number = 1"
    )
    connection.execute("UPDATE incidents SET title = 'forged' WHERE number = 2").fetchall()
    connection.execute("DELETE FROM silences WHERE number = 1").fetchall()
    here, there = answers()
    assert here == there
    assert {one["table"] for one in there["first"]} >= {"incidents", "silences"}

    changed(url, "UPDATE segments SET data = set_byte(data, 40, 63) WHERE first_seq = 0")
    assert run("ledger", "replay", "--data", data, "--db", url).code == 7


# Nodes that run


def test_what_two_nodes_under_load_had_goes_on_here_and_there(tmp_path: Path) -> None:
    with SinkThread() as sink:
        settings = {"WEBHOOK_URL": sink.url("/hook"), "ALLOW_PRIVATE": "127.0.0.0/8", "ENVELOPE_SECRET": ""}
        settings.pop("ENVELOPE_SECRET")
        with two_nodes(tmp_path, a_database(), **settings) as pair:
            first = alert(pair.one, "first")
            about = alert(pair.one, "about-anna", message="anna@example.org is on call")
            assert pair.other.request("POST", f"/api/v1/incidents/{about}/resolve", {})[0] == 200
            erased = run(
                "ledger", "erase", "--subject", "anna@example.org", "--reason", "letter 7", "--yes",
                url=f"http://127.0.0.1:{pair.other.port}", token=pair.one.token,
            )  # fmt: skip
            assert erased.code == 0, erased.err
            load = Load(pair, random.Random(8127), patient=True)
            load.wait_for(60, "load before the backup")
            said = kept(pair.url, pair.other.data, tmp_path / "b.tar")
            load.wait_for(60, "load after the backup")
            load.end()
            after = alert(pair.one, "after")
            token = pair.one.token
            lost = pair.one.data
            assert pair.one.stop() == pair.other.stop() == 0

        held = members(tmp_path / "b.tar")
        assert b"anna@example.org" not in held["tocsin.db"]
        assert b"is on call" not in held["tocsin.db"]
        verified = run("ledger", "verify", "--data", lost, "--db", pair.url, "-o", "json").answer
        assert verified["size"] > said.answer["entries"]

        url = a_database()
        assert run("restore", tmp_path / "b.tar", "--data", tmp_path / "here").code == 0
        # The directory of a node that was not lost knows a higher mark than what is put back.
        back = run("restore", tmp_path / "b.tar", "--data", lost, "--db", url, "--replace")
        assert back.code == 0, back.err

        given = {f"TOCSIN_{name}": value for name, value in settings.items()}
        here = Server(tmp_path / "here", given)
        there, other = (Server(path, given | {"TOCSIN_DB": url}) for path in (lost, tmp_path / "other"))
        for server, beside in ((here, ()), (there, ("--db", url))):
            verified = run("ledger", "verify", "--data", server.data, *beside, "-o", "json").answer
            assert (verified["size"], verified["root"]) == (said.answer["entries"], said.answer["root"])
            server.token = token
            with server:
                incidents = server.request("GET", "/api/v1/incidents?limit=200")[2]["incidents"]
                rules = {one["rule_id"] for one in incidents}
                assert "after" not in rules
                status, _, shown = server.request("GET", f"/api/v1/incidents/{first}")
                assert (status, shown["rule_id"], shown["state"]) == (200, "first", "OPEN")
                assert alert(server, "here") <= after
                assert server.stop() == 0
            assert run("ledger", "verify", "--data", server.data, *beside).code == 0
            assert run("ledger", "replay", "--data", server.data, *beside).code == 0
            assert kinds(said, "--data", server.data, *beside)[:3] == ["restored", "ledger", "node"]

        # Another one, which knows a mark of what was lost, starts once the first has said what happened.
        other.token = token
        with there, other:
            assert alert(other, "both") == alert(there, "both")
        assert kinds(said, "--data", lost, "--db", url).count("restored") == 1


def test_whichever_node_starts_first_records_that_it_was_put_back(tmp_path: Path) -> None:
    with two_nodes(tmp_path, a_database()) as pair:
        said = kept(pair.url, pair.one.data, tmp_path / "b.tar")
    url = a_database()
    assert run("restore", tmp_path / "b.tar", "--data", tmp_path / "there", "--db", url).code == 0

    new = Server(tmp_path / "new", {"TOCSIN_DB": url})
    join(Server(tmp_path / "there"), new)
    with new:
        assert new.stop() == 0

    assert kinds(said, "--data", tmp_path / "there", "--db", url)[:2] == ["restored", "ledger"]


def test_an_older_state_that_was_put_back_by_other_means_goes_on_under_another_name(tmp_path: Path) -> None:
    url = a_database()
    server, name = url.rsplit("/", 1)
    node = Server(tmp_path / "node", {"TOCSIN_DB": url})
    with node:
        assert node.stop() == 0
    changed(f"{server}/postgres", f'CREATE DATABASE "{name}_old" TEMPLATE "{name}"')
    node.start()
    alert(node)
    assert node.stop() == 0
    changed(
        f"{server}/postgres", f'DROP DATABASE "{name}"', f'ALTER DATABASE "{name}_old" RENAME TO "{name}"'
    )
    with pytest.raises(AssertionError, match="tocsin ledger fork --reason"):
        node.start()

    forked = run("ledger", "fork", "--reason", "failover", "--data", node.data, "--db", url, "-o", "json")

    assert forked.code == 0, forked.err
    with node:
        assert node.request("GET", "/readyz")[0] == 200
    assert run("ledger", "verify", "--data", node.data, "--db", url).code == 0
    nothing = a_database()
    assert run("ledger", "fork", "--reason", "x", "--data", node.data, "--db", nothing).code == 3
    assert tables_of(nothing) == []


# What is refused


@pytest.fixture
def archived(lived: tuple[str, Path], tmp_path: Path) -> Path:
    kept(*lived, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def test_a_database_that_holds_something_is_left_alone(
    archived: Path, lived: tuple[str, Path], tmp_path: Path
) -> None:
    before = everything_on(PostgresStore(lived[0]))

    said = run("restore", archived, "--data", tmp_path / "new", "--db", lived[0])

    assert said.code == 4
    assert "holds a Tocsin's data already" in said.err
    assert PASSWORD not in said.err
    assert everything_on(PostgresStore(lived[0])) == before
    assert not (tmp_path / "new").exists()


def test_a_database_of_somebody_else_is_left_alone(archived: Path, tmp_path: Path) -> None:
    url = a_database()
    changed(url, "CREATE TABLE customers (id int)")

    said = run("restore", archived, "--data", tmp_path / "new", "--db", url)

    assert said.code == 1
    assert "somebody else's" in said.err
    assert tables_of(url) == ["customers"]
    assert everything_in(tmp_path / "new") == {"lock": b""}


def test_a_damaged_backup_changes_nothing(archived: Path, tmp_path: Path) -> None:
    url = a_database()
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(flipped(archived, 20_000))

    said = run("restore", damaged, "--data", tmp_path / "new", "--db", url)

    assert said.code == 7, said.err
    assert tables_of(url) == []
    assert everything_in(tmp_path / "new") == {"lock": b""}


def test_keys_that_are_there_already_are_left_alone(archived: Path, tmp_path: Path) -> None:
    url = a_database()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "pepper").write_bytes(b"mine")

    said = run("restore", archived, "--data", tmp_path / "new", "--db", url)

    assert said.code == 4
    assert "--replace" in said.err
    assert tables_of(url) == []
    assert (tmp_path / "new" / "pepper").read_bytes() == b"mine"
    assert run("restore", archived, "--data", tmp_path / "new", "--db", url, "--replace").code == 0
    assert (tmp_path / "new" / "pepper").read_bytes() == PEPPER


def test_a_database_that_takes_not_all_takes_nothing_and_quotes_nothing(
    archived: Path, tmp_path: Path
) -> None:
    url = a_database()
    PostgresStore(url).close()
    changed(url, f"ALTER TABLE tokens ADD CHECK (hash <> '{'ab' * 32}')")

    said = run("restore", archived, "--data", tmp_path / "new", "--db", url)

    assert said.code == 1
    assert "The database took nothing" in said.err
    assert "ab" * 32 not in said.err + said.out
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM segments").fetchall() == [(0,)]
    assert everything_in(tmp_path / "new") == {"lock": b""}

    changed(url, "ALTER TABLE tokens DROP CONSTRAINT tokens_hash_check")
    assert run("restore", archived, "--data", tmp_path / "new", "--db", url).code == 0


def test_what_does_not_arrive_sound_is_told(archived: Path, tmp_path: Path) -> None:
    url = a_database()
    PostgresStore(url).close()
    changed(
        url,
        "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.data := set_byte(NEW.data, 40, 63); RETURN NEW; END $$",
        "CREATE TRIGGER harm BEFORE INSERT ON segments FOR EACH ROW WHEN (NEW.first_seq > 3) EXECUTE FUNCTION harm()",
    )

    said = run("restore", archived, "--data", tmp_path / "new", "--db", url)

    assert said.code == 7
    assert "Drop that database" in said.err
    assert everything_in(tmp_path / "new") == {"lock": b""}


def test_a_ledger_that_was_changed_makes_no_backup(lived: tuple[str, Path], tmp_path: Path) -> None:
    changed(lived[0], "UPDATE segments SET data = set_byte(data, 40, 63) WHERE first_seq = 0")

    said = run("backup", tmp_path / "b.tar", "--data", lived[1], "--db", lived[0])

    assert said.code == 7
    assert "the ledger is wrong from entry 0" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


@pytest.mark.parametrize("version", ["2", "0"])
def test_tables_that_are_not_this_programs_make_no_backup(
    lived: tuple[str, Path], tmp_path: Path, version: str
) -> None:
    changed(
        lived[0],
        f"UPDATE meta SET value = '{version}' WHERE key = 'schema'",
        "INSERT INTO meta VALUES ('oldest', '1') ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )

    said = run("backup", tmp_path / "b.tar", "--data", lived[1], "--db", lived[0])

    assert said.code == 1
    assert f"has schema {version}" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_a_directory_with_other_keys_makes_no_backup(tmp_path: Path) -> None:
    with two_nodes(tmp_path, a_database()) as pair:
        other = shutil.copytree(pair.one.data, tmp_path / "copy")
        (other / "ledger.key").write_bytes(bytes(32))
        salted = shutil.copytree(pair.one.data, tmp_path / "salted")
        (salted / "pepper").write_bytes(bytes(32))
        (tmp_path / "empty").mkdir()

        wrong = run("backup", tmp_path / "b.tar", "--data", other, "--db", pair.url)
        foreign = run("backup", tmp_path / "b.tar", "--data", salted, "--db", pair.url)
        none = run("backup", tmp_path / "b.tar", "--data", tmp_path / "empty", "--db", pair.url)

    assert (wrong.code, foreign.code, none.code) == (3, 3, 3)
    assert "pepper is not the one that this store's tokens were hashed with" in foreign.err
    assert "has not the keys of this database" in wrong.err
    assert "key-encryption key" in wrong.err
    assert "pepper is missing" in none.err
    assert not (tmp_path / "b.tar").exists()


VERBS = [
    ("backup", "FILE"), ("doctor",), ("gate", "--only", "live_ledger"), ("ledger", "replay"), ("ledger", "verify"),
    ("ledger", "fork", "--reason", "x"),
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_server_that_does_not_answer_is_named_without_its_password(
    verb: tuple[str, ...], tmp_path: Path
) -> None:
    asked = [tmp_path / "b.tar" if one == "FILE" else one for one in verb]

    said = run(
        *asked, "--data", tmp_path, "--db", "postgresql://anna:geheim@127.0.0.1:1/tocsin", "-o", "json"
    )

    assert said.code in (1, 7)
    assert "127.0.0.1:1/tocsin" in said.err + said.out
    assert "geheim" not in said.err + said.out


@pytest.mark.parametrize("verb", [*VERBS, ("restore", "FILE")])
def test_without_the_driver_each_verb_says_how_to_get_it(
    verb: tuple[str, ...], archived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.startswith("tocsin.stores.postgres"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    there = archived if verb[0] == "restore" else tmp_path / "new.tar"
    asked = [there if one == "FILE" else one for one in verb]

    said = run(*asked, "--data", tmp_path / "nothing", "--db", "postgresql://127.0.0.1/tocsin", "-o", "json")

    assert said.code in (2, 7)
    assert "pip install 'tocsin[postgres]'" in said.err + said.out
    assert not (tmp_path / "nothing").exists()


def test_a_room_that_is_too_small_is_refused_before_anything_is_written(
    lived: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil._ntuple_diskusage(1 << 30, (1 << 30) - 4096, 4096)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)

    said = run("backup", tmp_path / "b.tar", "--data", lived[1], "--db", lived[0])

    assert said.code == 1
    assert "Make room" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


@pytest.mark.parametrize("where", ["at once", "in the copy", "in the archive"])
def test_a_write_that_fails_half_way_leaves_nothing(
    lived: tuple[str, Path], tmp_path: Path, where: str
) -> None:
    kept(*lived, tmp_path / "whole.tar")
    size = len(members(tmp_path / "whole.tar")["tocsin.db"])
    (tmp_path / "whole.tar").unlink()
    limit = {"at once": 1024, "in the copy": size // 2, "in the archive": size + 512}[where]

    ran = run_without_room(limit, "backup", tmp_path / "b.tar", "--data", lived[1], "--db", lived[0])

    assert ran.returncode == 1
    told = [line for line in ran.stderr.splitlines() if line and not line.startswith("ledger.key is not in")]
    assert len(told) == 1
    assert told[0].startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_when_the_last_backup_was_made_is_kept_where_it_was_made(
    lived: tuple[str, Path], tmp_path: Path
) -> None:
    url, data = lived

    said = kept(url, data, tmp_path / "b.tar")

    assert json.loads((data / "last-backup.json").read_text())["root"] == said.answer["root"]
