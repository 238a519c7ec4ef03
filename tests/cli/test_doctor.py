"""`tocsin doctor` finds what is wrong with what Tocsin stands on, and shows no secret."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.cli.running import Ran, serving, tocsin
from tests.core.ledger.ledgers import make_ledger
from tests.support.http_sink import HttpSink
from tests.support.server import SinkThread

from tocsin.cli import doctor_house
from tocsin.core.model.policy import DAY

LOOPBACK = "127.0.0.0/8"


def look(data: Path, *more: str, **settings: str) -> tuple[Ran, dict[str, Any]]:
    """Run the doctor; how it ended, and its checks by name."""
    ran = tocsin("doctor", "--data", data, *more, **settings)
    answer = json.loads(ran.out)
    checks = {check["name"]: check for check in answer["checks"]}
    assert len(checks) == len(answer["checks"])
    assert all(
        check["state"] in ("ok", "warn", "fail", "skipped") and check["said"] for check in checks.values()
    )
    assert ran.code == (7 if any(check["state"] == "fail" for check in checks.values()) else 0)
    assert answer["ok"] == (ran.code == 0)
    return ran, checks


def webhook(sink: HttpSink) -> dict[str, str]:
    return {"WEBHOOK_URL": sink.url("/hidden-path?hidden-query=1"), "WEBHOOK_SECRET": "hidden-secret"}


def test_a_server_that_is_well_has_nothing_that_fails(tmp_path: Path) -> None:
    with SinkThread() as sink, serving(tmp_path / "d", **webhook(sink), ALLOW_PRIVATE=LOOPBACK) as server:
        kept = tocsin("backup", tmp_path / "kept.tar", "--data", server.data)
        ran, checks = look(server.data, **webhook(sink), ALLOW_PRIVATE=LOOPBACK)

        assert kept.code == 0
        assert ran.code == 0
        well = (
            "versions",
            "data",
            "database",
            "backup",
            "clock",
            "settings",
            "dns webhook",
            "egress webhook",
            "server",
        )
        assert {name: checks[name]["state"] for name in well} == dict.fromkeys(well, "ok")
        assert "ms (median)" in checks["disk sync"]["said"]
        assert server.url in checks["server"]["said"]
        assert sink.connections == 1
        assert sink.requests == []


def test_every_source_is_asked_what_a_rule_asks_it(tmp_path: Path) -> None:
    shop = apsw.Connection(str(tmp_path / "shop.db"))
    shop.execute("CREATE TABLE orders (at INTEGER)").fetchall()
    shop.close()
    (tmp_path / "old.db").write_bytes((tmp_path / "shop.db").read_bytes())
    rule = {"source": "shop", "severity": "error", "trigger": {"kind": "absent", "after": "1m"}}
    sources = {
        name: {"name": name, "kind": "sql", "url": f"sqlite:///{name}.db"}
        for name in ("shop", "idle", "gone", "old")
    }
    (tmp_path / "tocsin.yaml").write_text(
        json.dumps(
            {
                "sources": list(sources.values()),
                "rules": [
                    {**rule, "rule_id": "orders", "query": "select count(*) as value from orders"},
                    {
                        **rule,
                        "rule_id": "renamed",
                        "query": "select sum(n) as value from orders",
                        "source": "old",
                    },
                    {**rule, "rule_id": "lost", "query": "select 1 as value", "source": "gone"},
                    {
                        **rule,
                        "rule_id": "never",
                        "query": "select 1 as value",
                        "source": "idle",
                        "enabled": False,
                    },
                ],
            }
        )
    )

    _, checks = look(tmp_path / "d", "--config", str(tmp_path / "tocsin.yaml"))

    found = {name: checks[f"source {name}"] for name in sources}
    assert {name: one["state"] for name, one in found.items()} == {
        "shop": "ok",
        "idle": "skipped",
        "gone": "fail",
        "old": "fail",
    }
    assert "orders, with 1 series" in found["shop"]["said"]
    assert found["gone"]["said"] == "It does not answer rule lost: The database file of 'gone' is not there."
    assert found["gone"]["step"].startswith("Its rules are not looked at until it answers.")
    assert "tocsin rule test lost" in found["gone"]["step"]
    assert found["old"]["said"] == (
        "It answers, but not rule renamed: The statement failed: no such column: n."
    )
    assert found["old"]["step"] == "Only this rule is not looked at: tocsin rule test renamed"
    assert not (tmp_path / "gone.db").exists()


def test_no_secret_is_shown(tmp_path: Path) -> None:
    with SinkThread() as sink:
        for settings in (webhook(sink), {**webhook(sink), "ALLOW_PRIVATE": LOOPBACK}):
            ran = tocsin("doctor", "--data", tmp_path, **settings)

            assert "127.0.0.1" in ran.out
            assert "hidden" not in ran.out + ran.err


def test_a_private_address_fails_with_the_setting_that_allows_it(tmp_path: Path) -> None:
    with SinkThread() as sink:
        _, checks = look(tmp_path, **webhook(sink))

        assert checks["egress webhook"]["state"] == "fail"
        assert "TOCSIN_ALLOW_PRIVATE" in checks["egress webhook"]["said"]
        assert sink.connections == 0


def test_a_name_that_leads_nowhere_fails(tmp_path: Path) -> None:
    _, checks = look(tmp_path, WEBHOOK_URL="https://nowhere.invalid/")

    assert checks["dns webhook"]["state"] == "fail"
    assert checks["egress webhook"]["state"] == "fail"


def test_settings_that_cannot_be_read_fail_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    _, checks = look(tmp_path, SMTP_HOST="mail.example")

    assert checks["settings"]["state"] == "fail"
    assert "TOCSIN_SMTP_FROM" in checks["settings"]["said"]
    assert checks["server"]["state"] == "skipped"


def test_without_channels_it_warns_that_nobody_is_told(tmp_path: Path) -> None:
    _, checks = look(tmp_path)

    assert checks["settings"]["state"] == "warn"
    assert "nobody would be told" in checks["settings"]["said"]


def test_a_directory_that_is_not_there_yet_is_no_failure(tmp_path: Path) -> None:
    ran, checks = look(tmp_path / "new")

    assert ran.code == 0
    assert checks["data"]["state"] == "skipped"
    assert "disk" not in checks
    assert not (tmp_path / "new").exists()


def test_a_directory_that_others_may_enter_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o755)

    _, checks = look(tmp_path / "d")

    assert checks["data"]["state"] == "warn"
    assert checks["data"]["step"] == f"chmod 0700 {tmp_path / 'd'}"


def test_a_damaged_database_fails_and_its_copy_is_not_touched(tmp_path: Path) -> None:
    make_ledger(tmp_path, seed=3, turns=40)
    with (tmp_path / "tocsin.db").open("r+b") as file:
        file.seek(4 * 4096)
        file.write(b"\xff" * 20 * 4096)
    before = (tmp_path / "tocsin.db").read_bytes()

    _, checks = look(tmp_path)

    assert checks["database"]["state"] == "fail"
    assert "tocsin restore" in checks["database"]["step"]
    assert (tmp_path / "tocsin.db").read_bytes() == before


def test_a_clock_that_a_start_would_refuse_fails(tmp_path: Path) -> None:
    with serving(tmp_path / "d") as server:
        server.stop()
    connection = apsw.Connection(str(tmp_path / "d" / "tocsin.db"))
    connection.execute("UPDATE head SET at = at + ?", (DAY,)).fetchall()
    connection.close()

    _, checks = look(tmp_path / "d")

    assert checks["clock"]["state"] == "fail"
    assert "--accept-clock" in checks["clock"]["step"]


def test_a_ledger_without_a_backup_is_warned_of(tmp_path: Path) -> None:
    make_ledger(tmp_path, seed=3, turns=5)

    _, checks = look(tmp_path)

    assert checks["backup"]["state"] == "warn"
    assert checks["backup"]["step"].startswith("Make one: tocsin backup")


def test_a_server_that_cannot_be_reached_fails(tmp_path: Path) -> None:
    _, checks = look(tmp_path, "--url", "http://127.0.0.1:9")

    assert checks["server"]["state"] == "fail"


def test_at_a_terminal_it_is_a_table_that_ends_with_the_counts(tmp_path: Path) -> None:
    ran = tocsin("doctor", "--data", tmp_path, "-o", "table")

    assert ran.code == 0
    assert "disk sync" in ran.out
    assert " skipped" in ran.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("running", "state"),
    [
        ((3, 11, 14), "warn"),
        ((3, 11, 15), "ok"),
        ((3, 13, 11), "warn"),
        ((3, 14, 3), "ok"),
        ((3, 15, 0), "ok"),
    ],
)
def test_a_python_with_known_holes_is_warned_of(running: tuple[int, int, int], state: str) -> None:
    assert doctor_house.python(running).state == state


@pytest.mark.parametrize(
    ("sqlite", "state"),
    [("3.6.23", "ok"), ("3.7.0", "warn"), ("3.51.2", "warn"), ("3.51.3", "ok"), ("3.54.1", "ok")],
)
def test_an_sqlite_that_can_corrupt_its_wal_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, sqlite: str, state: str
) -> None:
    monkeypatch.setattr(doctor_house, "store_versions", lambda: (f"{sqlite}.0", sqlite))

    assert doctor_house.versions().state == state


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv rw,nosuid - nfs4 nas:/export rw
31 30 8:2 / /srv/fast rw master:1 propagate_from:2 - xfs /dev/sdb1 rw
32 22 0:26 / /mnt/my\\040disk rw - cifs //nas/x rw
"""
PLACES = [
    ("/var/lib", "ext4"), ("/srv", "nfs4"), ("/srv/tocsin", "nfs4"), ("/srv/fast/d", "xfs"),
    ("/srvother", "ext4"), ("/mnt/my disk/d", "cifs"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "kind"), PLACES)
def test_the_file_system_of_a_place_is_the_one_of_its_nearest_mount(
    tmp_path: Path, path: str, kind: str
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)

    assert doctor_house.file_system(Path(path), tmp_path / "mountinfo") == kind


def test_a_network_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_house, "file_system", lambda path, mounts: "nfs4")

    assert doctor_house.disk(tmp_path).state == "fail"
