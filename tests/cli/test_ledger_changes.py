"""Changes to the record at the terminal: erasures, forks of what was put back, and the replay that notices all others."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.cli.inside import Operator, alert, fresh, run
from tests.cli.terminal import terminal
from tests.core.ledger.test_verify import a_header, entry, ledger_of
from tests.support.server import Server

from tocsin.core.model.alert import CANONICAL
from tocsin.stores.sqlite import SqliteStore

numbers = iter(range(1000))
REASON = ("--reason", "asked for by letter 7")


def entries(data: Path) -> int:
    size: int = run("ledger", "verify", "--data", data).answer["size"]
    return size


def shown(data: Path, seq: int) -> dict[str, Any]:
    found: dict[str, Any] = run("ledger", "show", seq, "--data", data).answer
    return found


def is_sound(data: Path) -> bool:
    said = run("ledger", "verify", "--data", data)
    assert said.code == 0, said.out
    return said.answer["sound"] is True


def an_alert_about(server: Server, name: str, **more: object) -> int:
    number = alert(server, f"disk-{next(numbers)}", message=f"{name} is on call", **more)
    status, _, answer = server.request("POST", f"/api/v1/incidents/{number}/resolve", {})
    assert status == 200, answer
    return number


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fresh(tmp_path_factory.mktemp("changes")) as server:
        yield server


@pytest.fixture
def tocsin(server: Server) -> Operator:
    return Operator(server)


# Erasing


def test_what_is_erased_is_told_and_is_gone(server: Server, tocsin: Operator) -> None:
    number = an_alert_about(server, "Anna")
    before = entries(server.data)

    said = tocsin("ledger", "erase", "--subject", "anna", *REASON, "--yes", "-o", "table")

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Private parts of 1 entry erased.\n")
    assert f"#{number}" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert "Anna" not in json.dumps(tocsin("status", number).answer)
    assert entries(server.data) == before + 1
    made = shown(server.data, before)
    assert (made["header"]["kind"], made["private"]["note"]) == ("erased", REASON[1])
    assert is_sound(server.data)


def test_an_erasure_in_a_pipe_does_not_ask_and_answers_json(server: Server, tocsin: Operator) -> None:
    number = an_alert_about(server, "Ben")
    seq = json.loads(tocsin("ledger", "proof", "--incident", number).out)["entries"][0]["seq"]

    dry = tocsin("ledger", "erase", "--entry", seq, *REASON, "--dry-run")
    done = tocsin("ledger", "erase", "--entry", seq, "--entry", seq, *REASON)

    assert dry.answer == {"dry_run": True, "entries": [seq], "incidents": [number]}
    assert done.answer == {"dry_run": False, "entries": [seq], "incidents": [number]}
    assert shown(server.data, seq)["private"] is None


def test_many_entries_are_counted_and_the_table_stays_narrow(server: Server, tocsin: Operator) -> None:
    for _ in range(25):
        an_alert_about(server, "Carla")

    said = tocsin("ledger", "erase", "--subject", "Carla", *REASON, "--dry-run", "-o", "table")

    assert "would be erased" in said.out
    assert ", and " in said.out
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--subject", "Nobody at all"), 3),
        (("--entry", "999999"), 3),
        (("--subject", "ab"), 2),
        (("--subject", ""), 2),
        (("--entry", "0", "--subject", "Anna"), 2),
        (("--entry", "-1"), 2),
        (("--entry", "1"), 4),  # It adopted the policy in force.
    ],
)
def test_what_cannot_be_erased_is_said(
    server: Server, tocsin: Operator, arguments: tuple[str, ...], code: int
) -> None:
    before = entries(server.data)

    said = tocsin("ledger", "erase", *arguments, *REASON, "--yes", "-o", "table")

    assert (said.code, said.out) == (code, "")
    assert said.err
    assert entries(server.data) == before


def test_a_reason_must_be_given(tocsin: Operator) -> None:
    assert tocsin("ledger", "erase", "--entry", "0").code == 2
    assert tocsin("ledger", "erase", "--entry", "0", "--reason", "").code == 2


def test_what_is_open_is_not_erased_and_the_incident_is_named(server: Server, tocsin: Operator) -> None:
    number = alert(server, "open", message="Dora is on call")

    said = tocsin("ledger", "erase", "--subject", "Dora", *REASON)

    assert said.code == 4
    assert f"#{number}" in said.err


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130), ("", 130)])
def test_at_a_terminal_it_asks_first(server: Server, tocsin: Operator, answer: str, code: int) -> None:
    name = f"Eve {answer or 'nothing'}"
    number = an_alert_about(server, name)
    address = {"URL": f"http://127.0.0.1:{server.port}", "TOKEN": server.token}

    with terminal("ledger", "erase", "--subject", name, *REASON, **address) as screen:
        screen.wait_for("Erase them for good?")
        screen.type(f"{answer}\n")
        assert screen.end() == code

    is_gone = name not in json.dumps(tocsin("status", number).answer)
    assert is_gone == (code == 0)
    assert "would be erased" in screen.seen


def test_with_no_server_the_directory_itself_is_changed(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        an_alert_about(server, "Anna")
        assert server.stop() == 0

        dry = run("ledger", "erase", "--subject", "Anna", *REASON, "--dry-run", "--data", server.data)
        size = entries(server.data)
        done = run("ledger", "erase", "--subject", "Anna", *REASON, "--data", server.data)

        assert (dry.code, done.code) == (0, 0), done.err
        assert done.answer == dry.answer | {"dry_run": False}
        assert entries(server.data) > size
        assert is_sound(server.data)
        assert b"Anna is on call" not in (server.data / "tocsin.db").read_bytes()
        last = shown(server.data, entries(server.data) - 1)
        assert (last["header"]["kind"], last["header"]["actor"][:3]) == ("erased", "os:")
        server.start()
        assert run("ledger", "replay", "--data", server.data).code == 0


# What was put back


def put_back(server: Server, copy: Path) -> None:
    """Put an older copy of the database in its place, as somebody does who knows of no `tocsin restore`."""
    for name in ("tocsin.db-wal", "tocsin.db-shm"):
        (server.data / name).unlink(missing_ok=True)
    shutil.copy(copy, server.data / "tocsin.db")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Server]:
    """A server at rest whose database was replaced by an older copy of it."""
    with fresh(tmp_path) as server:
        alert(server, "before")
        assert server.stop() == 0
        shutil.copy(server.data / "tocsin.db", tmp_path / "copy")
        server.start()
        alert(server, "after")
        assert server.stop() == 0
        put_back(server, tmp_path / "copy")
        yield server


def test_a_database_that_was_put_back_is_refused_with_the_verb_that_helps(older: Server) -> None:
    before = (older.data / "tocsin.db").read_bytes()

    with pytest.raises(AssertionError, match="tocsin ledger fork --reason"):
        older.start()

    assert (older.data / "tocsin.db").read_bytes() == before
    assert "Traceback" not in older.log.read_text()


@pytest.mark.parametrize("arguments", [("checkpoint",), ("proof", "--entry", "0"), ("rotate-key",)])
def test_nothing_is_signed_for_it_by_any_verb(older: Server, arguments: tuple[str, ...]) -> None:
    mark = (older.data / "highwater.json").read_bytes()

    said = run("ledger", *arguments, "--data", older.data)

    assert said.code in (1, 4)
    assert said.out == ""
    assert "tocsin ledger fork" in said.err
    assert (older.data / "highwater.json").read_bytes() == mark


def test_after_a_fork_it_goes_on_under_another_name(older: Server) -> None:
    mark = json.loads((older.data / "highwater.json").read_bytes())
    size = entries(older.data)

    said = run("ledger", "fork", "--reason", "the disk was lost", "--data", older.data)

    assert said.code == 0, said.err
    answer = said.answer
    assert answer["origin"].startswith(f"{mark['origin']}/2-")
    assert (answer["known_size"], answer["known_root"]) == (mark["size"], mark["root"])
    older.start()
    tocsin = Operator(older)
    assert tocsin("ledger", "checkpoint").out.startswith(answer["origin"] + "\n")
    assert [one["origin"] for one in tocsin("ledger", "keys").answer["names"]] == [
        mark["origin"],
        answer["origin"],
    ]
    made = next(
        one for seq in range(size, size + 3) if (one := shown(older.data, seq))["header"]["kind"] == "ledger"
    )
    (event,) = made["decision"]["events"]
    assert (event["type"], event["origin"], event["known_size"]) == (
        "ledger_forked",
        answer["origin"],
        mark["size"],
    )
    assert made["private"]["note"] == "the disk was lost"
    assert made["header"]["actor"].startswith("os:")
    assert is_sound(older.data)
    assert run("ledger", "replay", "--data", older.data).code == 0
    shown_keys = tocsin("ledger", "keys", "-o", "table").out
    assert answer["origin"] in shown_keys
    assert max(map(len, shown_keys.splitlines())) <= 80
    assert older.stop() == 0
    older.start()


def test_a_fork_is_told_in_words(older: Server) -> None:
    said = run("ledger", "fork", "--reason", "a drill", "--data", older.data, "-o", "table")

    assert said.code == 0
    assert said.out.startswith("The ledger goes on as tocsin-")


def test_who_forks_says_why_and_where(older: Server, tmp_path: Path) -> None:
    before = (older.data / "tocsin.db").read_bytes()

    assert run("ledger", "fork", "--data", older.data).code == 2
    assert run("ledger", "fork", "--reason", "x", "--data", tmp_path / "none").code == 3
    assert (older.data / "tocsin.db").read_bytes() == before
    assert not (tmp_path / "none").exists()


def test_no_fork_beside_a_running_server(server: Server) -> None:
    before = entries(server.data)

    said = run("ledger", "fork", "--reason", "x", "--data", server.data)

    assert (said.code, said.out) == (1, "")
    assert entries(server.data) == before


def test_the_mark_may_lie_where_no_copy_of_the_directory_takes_it_along(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "mark.json"
    elsewhere.parent.mkdir()
    with Server(tmp_path / "data", config={"ledger": {"highwater": str(elsewhere)}}) as server:
        assert server.stop() == 0
        shutil.copytree(server.data, tmp_path / "copy")
        server.start()
        alert(server, "after")
        assert server.stop() == 0
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "copy", server.data)

        with pytest.raises(AssertionError, match="tocsin ledger fork"):
            server.start()
        assert not (server.data / "highwater.json").exists()


def test_restore_forks_by_itself_and_the_ledger_says_so(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        alert(server, "before")
        assert run("backup", tmp_path / "b.tar", "--data", server.data).code == 0
        alert(server, "after")
        assert server.stop() == 0
        mark = json.loads((server.data / "highwater.json").read_bytes())
        restored = run("restore", tmp_path / "b.tar", "--data", server.data, "--replace")
        assert restored.code == 0, restored.err
        size = restored.answer["entries"]

        server.start()

        tocsin = Operator(server)
        names = [one["origin"] for one in tocsin("ledger", "keys").answer["names"]]
        assert names[0] == mark["origin"]
        assert names[1].startswith(f"{mark['origin']}/2-")
        kinds = [shown(server.data, seq)["header"]["kind"] for seq in (size, size + 1)]
        assert kinds == ["restored", "ledger"]
        (event,) = shown(server.data, size + 1)["decision"]["events"]
        assert (event["type"], event["known_size"], event["known_root"]) == ("ledger_forked", mark["size"], mark["root"])  # fmt: skip
        assert is_sound(server.data)
        assert run("ledger", "replay", "--data", server.data).code == 0
        assert server.stop() == 0
        server.start()
        assert [one["origin"] for one in tocsin("ledger", "keys").answer["names"]] == names, "it forks once"


# Replay


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a little of everything."""
    folder = tmp_path_factory.mktemp("at-rest")
    with fresh(folder) as server:
        for n in range(5):
            alert(server, f"rule-{n}", message="Anna" if n else "Ben")
        server.request("POST", "/api/v1/incidents/1/ack", {"note": "on it"})
        server.request("POST", "/api/v1/silences", {"matchers": ["a=b"], "minutes": 60})
        server.request("POST", "/api/v1/tokens", {"name": "bot", "role": "service"})
        assert server.stop() == 0
        return server.data


def test_the_tables_of_a_directory_at_rest_are_what_its_ledger_says(at_rest: Path) -> None:
    before = {path.name: path.read_bytes() for path in at_rest.iterdir()}

    answer = run("ledger", "replay", "--data", at_rest)
    table = run("ledger", "replay", "--data", at_rest, "-o", "table")

    assert (answer.code, table.code) == (0, 0), answer.out
    assert {name: answer.answer[name] for name in ("same", "differences", "first")} == {
        "same": True,
        "differences": 0,
        "first": [],
    }
    assert answer.answer["entries"] == entries(at_rest)
    assert table.out.startswith(f"The tables are what the {entries(at_rest)} entries of the ledger say.\n")
    assert max(map(len, table.out.splitlines())) <= 80
    assert {path.name: path.read_bytes() for path in at_rest.iterdir() if path.name in before} == before


def test_beside_a_running_server_it_is_the_same(server: Server) -> None:
    assert run("ledger", "replay", "--data", server.data).code == 0


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("incidents", "UPDATE incidents SET title = 'all is well\x1b[31m' WHERE number = 1"),
        ("incidents", "DELETE FROM incidents WHERE number = 2"),
        ("alerts", "DELETE FROM alerts WHERE number = 1"),
        ("tokens", "UPDATE tokens SET role = 'admin' WHERE role = 'service'"),
    ],
)
def test_a_table_that_somebody_edited_is_found(
    at_rest: Path, tmp_path: Path, table: str, statement: str
) -> None:
    data = Path(shutil.copytree(at_rest, tmp_path / "data"))
    connection = apsw.Connection(str(data / "tocsin.db"))
    connection.execute(statement).fetchall()
    connection.close()
    assert is_sound(data)  # Verify looks at the ledger alone.

    answer = run("ledger", "replay", "--data", data)
    said = run("ledger", "replay", "--data", data, "-o", "table")

    assert (answer.code, said.code) == (7, 7)
    assert answer.answer["same"] is False
    assert table in {one["table"] for one in answer.answer["first"]}
    assert answer.answer["differences"] == len(answer.answer["first"])
    assert "NOT what the ledger says" in said.out
    assert table in said.out
    assert [c for c in said.out + answer.out if not c.isprintable() and c != "\n"] == []


def test_a_ledger_that_cannot_be_read_ends_with_7(at_rest: Path, tmp_path: Path) -> None:
    for number, statement in enumerate(
        (
            "UPDATE segments SET data = substr(data, 1, 40) WHERE first_seq = 0",
            "UPDATE segments SET data = x'ffffffffffffffffffffffff' WHERE first_seq = 0",
            "DELETE FROM segments WHERE first_seq = 0",
            "UPDATE segments SET root = x'00' WHERE first_seq = 0",
        )
    ):
        data = Path(shutil.copytree(at_rest, tmp_path / f"data-{number}"))
        connection = apsw.Connection(str(data / "tocsin.db"))
        connection.execute(statement).fetchall()
        connection.close()

        said = run("ledger", "replay", "--data", data)

        assert (said.code, said.out) == (7, ""), (statement, said)
        assert said.err, statement


def test_a_ledger_whose_hashes_are_right_but_which_nobody_decided_ends_with_7(tmp_path: Path) -> None:
    because = {"because": "x"}
    resolved = because | {"type": "incident_resolved", "incident": 77, "change": 1, "auto": False}
    said = CANONICAL.encode({"events": [resolved]})
    ledger = ledger_of([entry(a_header(0, incident="0" * 31 + "1", incident_n=0, v=2), said)])
    SqliteStore(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "tocsin.db"))
    (segment,), end = ledger.segments, ledger.end
    connection.execute("INSERT INTO meta VALUES ('secret:origin', x'61')").fetchall()
    connection.execute(
        "INSERT INTO segments (first_seq, count, root, data) VALUES (0, 1, ?, ?)",
        (segment.root, segment.data),
    ).fetchall()
    connection.execute(
        "UPDATE head SET size = 1, root = ?, edge = ?, at = ?", (end.root, end.edge, end.at)
    ).fetchall()
    connection.close()
    assert is_sound(tmp_path)

    ran = run("ledger", "replay", "--data", tmp_path)

    assert (ran.code, ran.out) == (7, "")
    assert "entry 0" in ran.err


def test_where_there_is_no_ledger_there_is_nothing_to_replay(tmp_path: Path) -> None:
    said = run("ledger", "replay", "--data", tmp_path)

    assert (said.code, said.out) == (3, "")


def test_nothing_is_left_of_the_copy(at_rest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert run("ledger", "replay", "--data", at_rest).code == 0

    assert list(tmp_path.iterdir()) == []
