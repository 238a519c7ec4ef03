"""`tocsin gate` on a live installation: it passes if that is sound, and each check fails when what it looks at breaks."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.cli.inside import alert, run
from tests.support.http_sink import HttpSink
from tests.support.server import Server, SinkThread

from tocsin.cli import gate_live
from tocsin.cli.gate import LIVE
from tocsin.core.model.policy import DAY
from tocsin.runtime.highwater import HighWater, write

LIVES = [argument for name in LIVE for argument in ("--only", name)]


def settings(sink: HttpSink) -> dict[str, str]:
    return {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}


@pytest.fixture(scope="module")
def sink() -> Iterator[HttpSink]:
    with SinkThread() as made:
        yield made


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, sink: HttpSink) -> Path:
    """A data directory in which somebody was told things, and whose server has stopped."""
    folder = tmp_path_factory.mktemp("lived")
    with Server(folder / "data", settings(sink)) as server:
        for rule in ("disk", "load", "cpu"):
            alert(server, rule)
        assert run("backup", folder / "kept.tar", "--data", server.data).code == 0
        assert server.stop() == 0
    return folder / "data"


@pytest.fixture
def data(lived: Path, tmp_path: Path, sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with the settings of its server."""
    for name, value in settings(sink).items():
        monkeypatch.setenv(name, value)
    return shutil.copytree(lived, tmp_path / "data")


def check(name: str, data: Path, *more: object) -> dict[str, Any]:
    """Make one check, and give what was found."""
    said = run("gate", "--only", name, "--data", data, "--json", *more)
    (found,) = said.answer["checks"]
    assert found["name"] == name
    assert said.code == (7 if found["verdict"] == "FAIL" else 0)
    return dict(found)


def fails(name: str, data: Path, *more: object) -> str:
    """Make one check that must fail; all that is wrong, in one text."""
    found = check(name, data, *more)
    assert found["verdict"] == "FAIL", found
    return "\n".join([found["said"], found["step"], *found["wrong"]])


def change(data: Path, sql: str, *bindings: Any) -> None:
    """Change the database behind Tocsin's back."""
    connection = apsw.Connection(str(data / "tocsin.db"))
    connection.execute(sql, bindings).fetchall()
    connection.close(True)


def files(data: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir() if path.is_file()
    }


def test_an_installation_that_is_sound_passes_and_is_not_changed(data: Path, sink: HttpSink) -> None:
    before, sent = files(data), len(sink.requests)

    said = run("gate", *LIVES, "--data", data, "--json")

    assert said.code == 0, said.out
    verdicts = {one["name"]: one["verdict"] for one in said.answer["checks"]}
    assert verdicts == dict.fromkeys(LIVE, "PASS") | {"live_server": "SKIP"}
    accounting = next(one for one in said.answer["checks"] if one["name"] == "live_accounting")
    assert sum(accounting["figures"]["counts"].values()) == 3
    assert {
        name: there for name, there in files(data).items() if not name.endswith(("-wal", "-shm"))
    } == before
    assert len(sink.requests) == sent


def test_it_is_looked_at_beside_a_running_server(data: Path, sink: HttpSink) -> None:
    with Server(data, settings(sink)):
        sent = run(
            "send",
            "--rule-id",
            "fan",
            "--severity",
            "error",
            "--message",
            "x",
            "--no-dry-run",
            "--data",
            data,
        )
        assert sent.code == 0, sent.err
        said = run("gate", *LIVES, "--data", data, "--json")

    verdicts = {one["name"]: one["verdict"] for one in said.answer["checks"]}
    assert verdicts == dict.fromkeys(LIVE, "PASS"), said.out


def test_a_quick_run_leaves_out_what_takes_long(data: Path) -> None:
    said = run("gate", "--only", "live_replay", "--only", "live_ledger", "--data", data, "--json", "--quick")

    assert [one["verdict"] for one in said.answer["checks"]] == ["PASS", "SKIP"]


def test_what_there_was_no_time_to_verify_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_live, "VERIFY_S", -1.0)
    monkeypatch.setattr(gate_live, "VERIFY_QUICKLY_S", -1.0)

    found = check("live_ledger", data)

    assert found["verdict"] == "WARN"
    assert "The first 0 of" in found["said"]
    assert check("live_ledger", data, "--quick")["verdict"] == "PASS"


# The database


@pytest.mark.parametrize(("version", "said"), [(99, "has schema 99"), (2, "has schema 2")])
def test_another_schema_fails(data: Path, version: int, said: str) -> None:
    change(data, f"PRAGMA user_version = {version}")

    assert said in fails("live_schema", data)
    assert said in fails("live_accounting", data)


def test_an_entry_that_was_changed_fails(data: Path) -> None:
    change(
        data, "UPDATE segments SET data = CAST(replace(data, 'error', 'fatal') AS BLOB) WHERE first_seq = 4"
    )

    assert "First wrong entry: 4" in fails("live_ledger", data)


def test_a_table_that_says_something_else_than_the_ledger_fails(data: Path) -> None:
    change(data, "UPDATE incidents SET title = 'nothing to see here' WHERE number = 2")

    assert "incidents 2 is not as the ledger says" in fails("live_replay", data)


def test_a_replay_without_room_is_not_made(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_live, "database_bytes", lambda directory, database: 1 << 60)

    assert check("live_replay", data)["verdict"] == "WARN"


def test_an_intent_that_is_told_of_nowhere_fails(data: Path) -> None:
    change(data, "UPDATE delivery_counts SET n = n - 1 WHERE n > 0")

    assert "are told of nowhere" in fails("live_accounting", data)


def test_an_intent_that_is_told_of_twice_fails(data: Path) -> None:
    change(data, "UPDATE delivery_counts SET n = n + 1 WHERE n > 0")

    assert "are told of twice" in fails("live_accounting", data)


# Keys


def test_a_missing_key_fails(data: Path) -> None:
    (data / "ledger.key").unlink()

    assert "ledger.key is missing, so the ledger's keys cannot be opened" in fails("live_keys", data)
    assert not (data / "ledger.key").exists()


def test_another_key_fails(data: Path) -> None:
    (data / "ledger.key").write_bytes(b"x" * 32)

    assert "was wrapped with the key-encryption key" in fails("live_keys", data)


def test_a_signing_key_that_was_exchanged_fails(data: Path) -> None:
    change(data, "UPDATE signers SET vkey = (SELECT 'tocsin-00000000' || substr(vkey, 16) FROM signers)")

    fails("live_keys", data)


@pytest.mark.parametrize("name", ["ledger.key", "pepper", "tocsin.db"])
def test_a_secret_that_others_may_read_fails(data: Path, name: str) -> None:
    (data / name).chmod(0o644)

    assert f"chmod 0600 {data / name}" in fails("live_keys", data)
    assert (data / name).stat().st_mode & 0o777 == 0o644


def test_a_missing_pepper_fails(data: Path) -> None:
    (data / "pepper").unlink()

    assert "pepper is missing, so no token can be recognised" in fails("live_keys", data)


def test_a_damaged_pepper_fails(data: Path) -> None:
    (data / "pepper").write_bytes(b"short")

    assert "pepper has 5 bytes instead of 32" in fails("live_keys", data)


def test_a_database_that_was_put_back_fails(data: Path) -> None:
    mark = json.loads((data / "highwater.json").read_text())
    write(data / "highwater.json", HighWater(origin=mark["origin"], size=mark["size"] + 5, root=mark["root"]))

    assert "tocsin ledger fork" in fails("live_keys", data)


def test_a_high_water_mark_that_is_gone_is_warned_of(data: Path) -> None:
    (data / "highwater.json").unlink()

    found = check("live_keys", data)

    assert found["verdict"] == "WARN"
    assert "highwater.json is missing" in found["said"]
    assert run("gate", "--only", "live_keys", "--data", data, "--strict", "--json").code == 7


def test_a_ledger_that_nobody_signs_is_warned_of(data: Path) -> None:
    change(data, "UPDATE signers SET retired_seq = 5")

    assert "No key signs this ledger" in check("live_keys", data)["said"]


# What the doctor looks at


def test_a_clock_that_stands_before_the_ledger_fails(data: Path) -> None:
    change(data, "UPDATE head SET at = at + ?", DAY)

    assert "The clock stands" in fails("live_clock", data)


def test_a_channel_that_cannot_be_reached_fails(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_ALLOW_PRIVATE")

    said = fails("live_channels", data)

    assert "egress webhook: " in said
    assert "TOCSIN_ALLOW_PRIVATE" in said
    assert "/hook" not in said


def test_settings_that_cannot_be_read_fail(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SMTP_HOST", "mail.example")

    assert "TOCSIN_SMTP_FROM" in fails("live_channels", data)


def test_an_old_backup_is_warned_of(data: Path) -> None:
    path = data / "last-backup.json"
    assert check("live_backup", data)["verdict"] == "PASS"

    path.write_text(json.dumps(json.loads(path.read_text()) | {"made_at": "2026-01-01T00:00:00Z"}))

    assert check("live_backup", data)["verdict"] == "WARN"


def test_a_server_that_does_not_answer_fails(data: Path) -> None:
    assert "cannot be reached" in fails("live_server", data, "--url", "http://127.0.0.1:9")
