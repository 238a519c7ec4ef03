"""`tocsin config` says what is wrong with a file and what it comes to, and every verb reads the same file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.cli.running import serving, tocsin
from tests.cli.test_incidents import send, to, webhook
from tests.settings.files import settings_of

from tocsin.settings.show import shown_settings

HOOK = """\
channels:
  - {{name: ops, kind: webhook, url: "{url}", secrets: [{{env: HOOK_SECRET}}]}}
outgoing: {{allow_private: [127.0.0.0/8]}}
"""
RULES = """\
sources:
  - {kind: sql, name: shop, url: "sqlite:///shop.db"}
  - {kind: http, name: web, url: "https://x.example.org/canary-71d0", headers: {Authorization: {env: HOOK_SECRET}}}
rules:
  - rule_id: low
    source: shop
    query: |
      SELECT 1 AS value
      FROM orders
    every: 1m
    window: 20m
    trigger: {kind: threshold, op: lt, value: 1}
    severity: critical
    for: 2 of 3
    no_data: firing
    labels: {team: "sh\u00f6p"}
  - rule_id: gone
    source: web
    query: $.items[*]
    every: 0 8 * * 1-5
    window: 2h
    zone: Europe/Berlin
    by: []
    enabled: false
    trigger: {kind: absent, limits: [{after: 90m, severity: error}]}
slos:
  - name: served
    objective: 99.9
    source: shop
    good: SELECT 1 AS value
    total: SELECT 2 AS value
"""
WRONG = "dry_run: perhaps\nchanels: []\n"


@pytest.fixture(autouse=True)
def _a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "canary-71d0")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_right_file_is_said_to_be_right(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", HOOK.format(url="https://x.example.org/in"))

    table, data = (tocsin("config", "check", file, "-o", how) for how in ("table", "json"))

    assert (table.code, data.code) == (0, 0)
    assert table.out == f"{file} is right. Channels: ops.\n"
    assert json.loads(data.out) == {
        "file": str(file),
        "ok": True,
        "errors": [],
        "doubts": [],
        "channels": ["ops"],
        "sources": [],
        "rules": 0,
        "slos": 0,
    }


def test_rules_and_their_sources_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", RULES)

    table, data = (tocsin("config", "check", file, "-o", how) for how in ("table", "json"))

    assert table.out == f"{file} is right. Channels: none. Sources: shop, web. 2 rules, 1 objective.\n"
    answer = json.loads(data.out)
    assert (answer["sources"], answer["rules"], answer["slos"]) == (["shop", "web"], 2, 1)


def test_rules_are_shown_as_the_file_is_written(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", RULES)

    table, data = (tocsin("config", "show", "--config", file, "-o", how) for how in ("table", "json"))

    assert (table.code, data.code) == (0, 0)
    assert "canary" not in table.out + data.out
    assert table.out.isascii()
    settings = json.loads(data.out)["settings"]
    shop, web = settings["sources"]
    assert (shop["url"], web["url"]) == ("sqlite:///shop.db", "https://x.example.org/...")
    assert web["headers"] == {"Authorization": "*** (from env HOOK_SECRET)"}
    assert settings["rules"][0] == {
        "rule_id": "low",
        "source": "shop",
        "query": "SELECT 1 AS value\nFROM orders\n",
        "every": "1m",
        "window": "20m",
        "trigger": {
            "kind": "threshold",
            "op": "lt",
            "limits": [{"value": 1, "severity": "critical"}],
            "reduce": "last",
        },
        "for": "2 of 3",
        "no_data": "firing",
        "labels": {"team": "sh\u00f6p"},
        "zone": "UTC",
        "enabled": True,
    }
    assert "\n  query: |\n    SELECT 1 AS value\n    FROM orders\n" in table.out
    assert [one["name"] for one in settings["slos"]] == ["served"]


def test_rules_that_are_shown_are_the_same_when_they_are_read_again(tmp_path: Path) -> None:
    first = settings_of(tmp_path, RULES, {"HOOK_SECRET": "canary-71d0"})

    shown = shown_settings(first)
    again = RULES.partition("rules:")[0] + yaml.safe_dump({name: shown[name] for name in ("rules", "slos")})

    second = settings_of(tmp_path, again, {"HOOK_SECRET": "canary-71d0"})
    assert (second.rules, second.slos) == (first.rules, first.slos)


def test_what_looks_wrong_but_may_be_right_is_said_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT", "https://prod-1.westus.logic.azure.com/canary")
    file = written(tmp_path / "t.yaml", "channels: [{name: chat, kind: teams, url: {env: CHAT}}]")

    ran = tocsin("config", "check", file, "-o", "table")

    assert ran.code == 0
    assert "logic.azure.com" in ran.err
    assert "canary" not in ran.err


def test_a_wrong_file_is_told_line_by_line(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", WRONG)

    ran = tocsin("config", "check", file, "-o", "table")

    assert ran.code == 2
    assert ran.err.splitlines() == [
        f"Error: {file} has 2 errors.",
        f"{file}:1:10: dry_run: This takes true or false, not text.",
        f"{file}:2:1: chanels: There is no such key. Did you mean channels?",
    ]
    assert ran.out == ""


def test_a_program_gets_the_errors_as_data(tmp_path: Path) -> None:
    ran = tocsin("config", "check", written(tmp_path / "t.yaml", WRONG), "-o", "json")

    answer = json.loads(ran.out)
    assert ran.code == 2
    assert not answer["ok"]
    assert answer["errors"][1] == {
        "file": str(tmp_path / "t.yaml"),
        "line": 2,
        "column": 1,
        "key": "chanels",
        "message": "There is no such key. Did you mean channels?",
    }


def test_a_wrong_variable_is_an_error_too() -> None:
    ran = tocsin("config", "check", "-o", "json", DRY_RUN="perhaps")

    assert ran.code == 2
    assert json.loads(ran.out)["errors"][0]["key"] == "TOCSIN_DRY_RUN"


def test_text_of_the_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", '"a\\e[2J\\u202e": 1\nroutes: {name: "b\\e]0;x\\a"}\n')

    ran = tocsin("config", "check", file, "-o", "table")

    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert "\u202e" not in ran.err


def test_what_is_in_force_is_shown_without_its_secrets(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", HOOK.format(url="https://x.example.org/canary-71d0"))

    table, data = (tocsin("config", "show", "--config", file, "-o", how) for how in ("table", "json"))

    assert (table.code, data.code) == (0, 0)
    assert "canary" not in table.out + data.out
    assert "*** (from env HOOK_SECRET)" in table.out
    answer = json.loads(data.out)
    assert answer["channels_from"] == "file"
    assert answer["settings"]["channels"][0]["url"] == "https://x.example.org/..."
    assert answer["settings"]["rate_limit"]["limit"] == 10


def test_without_a_file_the_environment_is_shown(tmp_path: Path) -> None:
    ran = tocsin("config", "show", "-o", "json", cwd=tmp_path, WEBHOOK_URL="https://x.example.org/canary")

    answer = json.loads(ran.out)
    assert (answer["file"], answer["channels_from"]) == (None, "environment")
    assert answer["settings"]["channels"][0]["url"] == "*** (from env TOCSIN_WEBHOOK_URL)"


def test_a_channel_of_the_file_in_the_data_directory_is_tried(tmp_path: Path) -> None:
    with webhook() as sink:
        written(tmp_path / "d" / "tocsin.yaml", HOOK.format(url=sink.url("/in")))

        ran = tocsin("channel", "test", "ops", "--data", tmp_path / "d")

        (request,) = sink.requests
    assert ran.code == 0
    assert request.headers["webhook-signature"]


def test_a_channel_of_a_file_that_is_named_is_tried(tmp_path: Path) -> None:
    with webhook() as sink:
        file = written(tmp_path / "other.yaml", HOOK.format(url=sink.url("/in")))

        given = tocsin("channel", "test", "ops", "--config", file, cwd=tmp_path)
        named = tocsin("channel", "test", "ops", cwd=tmp_path, CONFIG=str(file))

        assert len(sink.requests) == 2
    assert (given.code, named.code) == (0, 0)


def test_a_channel_that_rehearses_touches_no_network(tmp_path: Path) -> None:
    with webhook() as sink:
        text = HOOK.format(url=sink.url("/in")).replace("secrets:", "dry_run: true, secrets:")

        ran = tocsin("channel", "test", "ops", "--config", written(tmp_path / "t.yaml", text))

        assert sink.requests == []
    assert json.loads(ran.out)["results"][0]["outcome"] == "dry_run"


@pytest.mark.parametrize("verb", [("serve", "--port", "0"), ("channel", "test", "ops"), ("send", "--rule-id", "r", "--severity", "info", "--message", "m", "--no-dry-run")])  # fmt: skip
def test_every_verb_that_needs_the_file_refuses_a_wrong_one(tmp_path: Path, verb: tuple[str, ...]) -> None:
    file = written(tmp_path / "d" / "tocsin.yaml", WRONG)

    ran = tocsin(*verb, "--data", tmp_path / "d")

    assert ran.code == 2, ran.err
    assert f"{file}:2:1: chanels: There is no such key." in ran.err


def test_a_server_says_which_file_it_reads(tmp_path: Path) -> None:
    file = written(tmp_path / "other.yaml", HOOK.format(url="https://x.example.org/in"))

    with serving(tmp_path / "d", "--config", str(file)) as server:
        assert server.said[-1].endswith(f"channels: ops (from {file})")


def test_who_only_looks_needs_no_right_file(tmp_path: Path) -> None:
    send(tmp_path / "d", "--no-dry-run")
    written(tmp_path / "d" / "tocsin.yaml", WRONG)

    ran = tocsin("status", "--data", tmp_path / "d", "-o", "json")

    assert ran.code == 0
    assert json.loads(ran.out)["total"] == 1


def test_the_file_is_meant_also_where_no_server_runs(tmp_path: Path) -> None:
    with webhook() as sink:
        send(tmp_path / "d", **to(sink))
        written(tmp_path / "d" / "tocsin.yaml", HOOK.format(url=sink.url("/in")))

        ran = send(tmp_path / "d", "--no-dry-run", message="told by the file")

        assert "told by the file" in sink.requests[-1].body.decode()
    assert ran.code == 0


def test_a_shell_without_the_file_does_not_decide_in_its_place(tmp_path: Path) -> None:
    file = written(tmp_path / "t.yaml", "rate_limit: {limit: 99}\n")
    with webhook() as sink:
        send(tmp_path / "d", CONFIG=str(file), **to(sink))

        ran = send(tmp_path / "d", **to(sink))

    assert ran.code == 4
    assert "TOCSIN_CONFIG" in ran.err


def test_verbs_that_talk_to_a_server_load_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, tocsin.cli.main, tocsin.cli.status, tocsin.cli.send, tocsin.settings;"
        "print([name for name in ('pydantic', 'yaml', 'fastapi', 'aiohttp') if name in sys.modules])"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"
