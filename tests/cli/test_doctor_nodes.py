"""`tocsin doctor` and `tocsin gate` of a node: what PostgreSQL, its clock and the keys are like, and no secret shown."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.cli.inside import Said, alert, run
from tests.cli.nodes import Pair, two_nodes
from tests.support.databases import a_database
from tests.support.postgres import PASSWORD, a_postgres, why_not
from tests.support.server import Server

from tocsin.cli import doctor_database
from tocsin.cli.doctor_check import Check
from tocsin.cli.gate import LIVE
from tocsin.core.model.policy import SECOND
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.looking import Looked
from tocsin.wiring.stores import look_at_server

NAMES = ["postgresql", "database", "commit", "database clock", "nodes", "connections", "autovacuum", "keys"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with two_nodes(tmp_path_factory.mktemp("nodes"), a_database()) as made:
        for rule in ("disk", "load"):
            alert(made.one, rule)
        yield made


@pytest.fixture
def data(pair: Pair, tmp_path: Path) -> Path:
    """A copy of a node's directory, to be damaged."""
    return Path(shutil.copytree(pair.one.data, tmp_path / "data"))


def look(data: Path, url: str) -> tuple[Said, dict[str, dict[str, Any]]]:
    said = run("doctor", "--data", data, "--db", url, "-o", "json")
    checks = {check["name"]: check for check in said.answer["checks"]}
    assert len(checks) == len(said.answer["checks"])
    assert said.code == (7 if any(check["state"] == "fail" for check in checks.values()) else 0)
    assert PASSWORD not in said.out + said.err
    return said, checks


def state_of(said: Said) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in said.answer["checks"]}


# The doctor


def test_nodes_that_are_well_have_nothing_that_fails(pair: Pair) -> None:
    said, checks = look(pair.other.data, pair.url)

    assert said.code == 0, said.out
    states = {name: checks[name]["state"] for name in NAMES}
    # The servers of tests run without autovacuum.
    assert states == dict.fromkeys(NAMES, "ok") | {"autovacuum": checks["autovacuum"]["state"]}
    assert checks["nodes"]["said"].startswith("2 live: ")
    assert checks["nodes"]["said"].count("(this machine's, for another ") == 2
    assert "ms (median)" in checks["commit"]["said"]
    assert "schema 1" in checks["database"]["said"].lower()
    assert checks["clock"]["state"] == "ok"
    assert "--db URL" in checks["backup"]["step"]
    assert {"disk", "disk sync"} & {*checks} == set()
    for name in ("pepper", "ledger.key"):
        assert (pair.other.data / name).read_bytes().hex() not in said.out


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    url = a_database()
    PostgresStore(url).close()

    def everything() -> object:
        with psycopg.connect(url) as connection:
            names = connection.execute("SELECT relname, relfilenode FROM pg_class ORDER BY 1").fetchall()
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                )
            ]
            return names, {
                table: connection.execute(f"SELECT *, xmin FROM {table}".encode()).fetchall()
                for table in tables
            }

    before = everything()

    look(tmp_path, url)

    assert everything() == before
    assert [*tmp_path.iterdir()] == []


def test_a_node_that_died_is_told_apart_from_those_that_live(tmp_path: Path) -> None:
    url = a_database()
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        now = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        connection.execute(
            f"INSERT INTO nodes VALUES ('ada', {now} + 20000000), ('bob', {now} - 90000000), "
            f"('cleo', {now} - 3700000000)".encode()
        )

    _, checks = look(tmp_path, url)

    assert checks["nodes"]["state"] == "ok"
    assert (
        "1 live: ada (for another 20 s). Of the last hour, and no longer: bob (9" in checks["nodes"]["said"]
    )
    assert "cleo" not in checks["nodes"]["said"]


def test_a_database_without_a_tocsin_is_no_failure(tmp_path: Path) -> None:
    url = a_database()

    said, checks = look(tmp_path, url)

    assert said.code == 0
    assert checks["database"]["state"] == checks["nodes"]["state"] == checks["clock"]["state"] == "skipped"
    assert "keys" not in checks
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 2200").fetchall() == []


def test_a_newer_schema_fails(tmp_path: Path) -> None:
    url = a_database()
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key IN ('schema', 'oldest')")

    _, checks = look(tmp_path, url)

    assert checks["database"]["state"] == "fail"
    assert "has schema 99" in checks["database"]["said"]


def test_everything_that_a_server_does_not_keep_is_told(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(why)
    with a_postgres(fsync="off", full_page_writes="off", autovacuum="on", max_connections=12) as server:
        _, checks = look(tmp_path, server.url())

    assert checks["postgresql"]["state"] == checks["postgresql 2"]["state"] == "fail"
    assert "fsync = off" in checks["postgresql"]["said"]
    assert "full_page_writes = off" in checks["postgresql 2"]["said"]
    assert checks["autovacuum"]["state"] == "ok"
    assert checks["connections"]["state"] == "warn"


def test_a_role_that_may_open_few_connections_is_warned_of() -> None:
    url = a_database()
    name = url.rsplit("/", 1)[1]
    free = look_at_server(url).connections_free
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 9'.encode())

    assert free > 20
    assert look_at_server(url).connections_free <= 9


def found(**other: object) -> Looked:
    whole = Looked(
        name="PostgreSQL db/tocsin",
        settings={
            "server_version": "15.4", "synchronous_standby_names": "", "autovacuum": "on", "track_counts": "on",
            "max_connections": "100",
        },
        weak=(),
        connections_free=80,
        skew=1000,
        asked=[200] * 30,
        committed=[1500] * 30,
        disk_bytes=9 << 20,
        schema=1,
    )  # fmt: skip
    settings = {**whole.settings, **other.pop("settings", {})}  # type: ignore[dict-item]
    return msgspec.structs.replace(whole, settings=settings, **other)


FINDINGS: list[tuple[Any, Looked, str, str]] = [
    (doctor_database.commit, found(), "ok", "A commit takes 1.50 ms (median)"),
    (doctor_database.commit, found(committed=[90_000] * 30), "warn", "90.00 ms"),
    (doctor_database.commit, found(committed=[]), "skipped", "replica"),
    (doctor_database.clocks, found(skew=-SECOND), "ok", "1.000 s behind"),
    (doctor_database.clocks, found(skew=6 * SECOND), "warn", "6.000 s ahead of"),
    (doctor_database.clocks, found(skew=-6 * SECOND), "warn", "6.000 s behind"),
    (doctor_database.connections, found(connections_free=19), "warn", "19 more"),
    (doctor_database.connections, found(connections_free=-1), "warn", "0 more"),
    (doctor_database.autovacuum, found(settings={"autovacuum": "off"}), "warn", "autovacuum is off"),
    (doctor_database.autovacuum, found(settings={"track_counts": "off"}), "warn", "track_counts is off"),
    (doctor_database.nodes, found(), "warn", "No node lives."),
    (doctor_database.nodes, found(schema=None), "skipped", "No Tocsin"),
    (doctor_database.database, found(schema=None, stranger="customers"), "fail", "customers"),
    (doctor_database.database, found(), "ok", "9 MiB"),
]


@pytest.mark.parametrize(("look_at", "there", "state", "said"), FINDINGS)
def test_each_thing_is_told_as_it_is(look_at: Any, there: Looked, state: str, said: str) -> None:
    check: Check = look_at(there)

    assert check.state == state
    assert said in check.said
    assert check.step or state in ("ok", "skipped")


# Keys that do not fit


def damage(data: Path, what: str) -> str:
    """Do something to the keys of a node; what should be said of it."""
    if what == "other key":
        (data / "ledger.key").write_bytes(bytes(32))
        return "was wrapped with the key-encryption key"
    if what == "no key":
        (data / "ledger.key").unlink()
        return "ledger.key is missing"
    if what == "short pepper":
        (data / "pepper").write_bytes(b"short")
        return "pepper has 5 bytes instead of 32"
    if what == "no pepper":
        (data / "pepper").unlink()
        return "pepper is missing"
    (data / "pepper").chmod(0o644)
    return "has mode 0644, so others may read it"


@pytest.mark.parametrize("what", ["other key", "no key", "short pepper", "no pepper", "open pepper"])
def test_keys_that_do_not_fit_the_database_fail(pair: Pair, data: Path, what: str) -> None:
    expected = damage(data, what)

    _, checks = look(data, pair.url)
    gate = run("gate", "--only", "live_keys", "--data", data, "--db", pair.url, "--json")

    assert checks["keys"]["state"] == "fail"
    assert expected in checks["keys"]["said"]
    assert (gate.code, expected in json.dumps(gate.answer)) == (7, True)


def test_the_pepper_of_another_house_is_noticed_whether_a_node_runs_there_or_not(
    pair: Pair, data: Path
) -> None:
    for there in (pair.other.data, data):
        path = there / "pepper"
        mine = path.read_bytes()
        path.write_bytes(bytes(32))
        try:
            _, checks = look(there, pair.url)
        finally:
            path.write_bytes(mine)

        assert checks["keys"]["state"] == "fail"
        assert "is not the one that this store's tokens were hashed with" in checks["keys"]["said"]
        assert "copy pepper and ledger.key" in checks["keys"]["step"]


def test_a_ledger_that_was_shortened_is_not_a_matter_of_keys(pair: Pair, data: Path) -> None:
    mark = json.loads((data / "highwater.json").read_text())
    (data / "highwater.json").write_text(json.dumps(mark | {"size": mark["size"] + 1000}))

    _, checks = look(data, pair.url)

    assert checks["keys"]["state"] == "fail"
    assert f"a checkpoint of {mark['size'] + 1000} was signed" in checks["keys"]["said"]
    assert checks["keys"]["step"] == ""
    assert "copy pepper" not in checks["keys"]["said"]


def test_a_database_that_does_not_answer_is_told_once_and_in_words(tmp_path: Path) -> None:
    said, checks = look(tmp_path, "postgresql://anna:geheim@127.0.0.1:1/tocsin")

    failed = [name for name, check in checks.items() if check["state"] == "fail"]
    assert failed == ["postgresql"]
    assert checks["postgresql"]["said"].startswith("PostgreSQL 127.0.0.1:1/tocsin cannot be looked at: ")
    assert checks["postgresql"]["said"].endswith("Connection refused.")
    assert checks["clock"]["state"] == "skipped"
    for words in ("StoreFailed", "could not be looked at", "geheim", "?."):
        assert words not in said.out


# The gate


def test_the_gate_passes_beside_nodes(pair: Pair, tmp_path: Path) -> None:
    only = [argument for name in LIVE for argument in ("--only", name)]
    assert run("backup", tmp_path / "b.tar", "--data", pair.one.data, "--db", pair.url).code == 0

    said = run("gate", *only, "--data", pair.one.data, "--db", pair.url, "--json")

    # Without a channel nobody can be told, and that is warned of.
    assert state_of(said) == dict.fromkeys(LIVE, "PASS") | {"live_channels": "WARN"}, said.out
    assert PASSWORD not in said.out


def test_the_gate_fails_for_tables_that_are_not_what_the_ledger_says(tmp_path: Path) -> None:
    url = a_database()
    with Server(tmp_path / "node", {"TOCSIN_DB": url}) as node:
        alert(node)
        assert node.stop() == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE incidents SET title = 'forged'")
        connection.execute("UPDATE segments SET root = decode(repeat('00', 32), 'hex') WHERE first_seq = 1")

    only = ("--only", "live_replay", "--only", "live_ledger", "--only", "live_schema")
    said = run("gate", *only, "--data", node.data, "--db", url, "--json")

    assert said.code == 7
    assert state_of(said) == {"live_schema": "PASS", "live_ledger": "FAIL", "live_replay": "FAIL"}


def test_a_gate_without_its_server_fails(tmp_path: Path) -> None:
    said = run(
        "gate", "--only", "live_schema", "--data", tmp_path, "--db", "postgresql://127.0.0.1:1/x", "--json"
    )

    assert said.code == 7
    assert "cannot be looked at" in said.out
