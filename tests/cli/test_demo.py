"""The demo is the README's claim: it runs here as it runs there, and what it says is checked."""

import json
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.cli.running import COMMAND, Ran, environment, tocsin

from tocsin.cli import demo_storm
from tocsin.cli.demo_check import _twice
from tocsin.cli.demo_show import Stage
from tocsin.cli.demo_sinks import Post, is_signed

STORM = Path(demo_storm.__file__).with_name("storm.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """One run, with its data kept in a directory of its own."""
    kept = tmp_path_factory.mktemp("demo")
    process = subprocess.run(
        [*COMMAND, "demo", "--keep"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**environment(), "TMPDIR": str(kept)},
        check=False,
    )
    return Ran(process.returncode, process.stdout, process.stderr), kept


def test_all_that_it_claims_held(ran: tuple[Ran, Path]) -> None:
    demo, _ = ran

    assert demo.code == 0, demo.out + demo.err
    assert demo.out.count("✓") == 6
    assert "✗" not in demo.out
    assert "0 are lost" in " ".join(demo.out.split())


def test_hundreds_of_alerts_became_a_handful_of_incidents(ran: tuple[Ran, Path]) -> None:
    found = re.search(r"(\d+) alerts became (\d+) incidents", ran[0].out)

    assert found is not None
    alerts, incidents = map(int, found.groups())
    assert alerts >= 500
    assert 5 <= incidents <= 12


def test_the_kill_was_real(ran: tuple[Ran, Path]) -> None:
    found = re.search(r"kill -9 .*? (\d+) of (\d+) requests get no", ran[0].out)

    assert found is not None
    assert int(found[1]) >= 1
    assert "Up again after" in ran[0].out


def test_it_fits_80_columns_and_has_no_escape_sequences_in_a_pipe(ran: tuple[Ran, Path]) -> None:
    assert max(map(len, ran[0].out.splitlines())) <= 80
    assert "\x1b" not in ran[0].out


def test_its_end_names_what_can_be_run_from_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def end() -> str:
        Stage(1, 1).proof([], None)
        return capsys.readouterr().out.strip().splitlines()[-1]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [".venv/bin/tocsin", "demo"])
    assert end() == "Go on: .venv/bin/tocsin serve, then .venv/bin/tocsin status"
    (tmp_path / "Makefile").touch()
    assert end() == "Go on: make serve, then .venv/bin/tocsin status"
    (tmp_path / "tocsin").touch(0o755)
    assert end() == "Go on: tocsin serve, then tocsin status"


def test_what_it_kept_can_be_looked_at(ran: tuple[Ran, Path]) -> None:
    (kept,) = ran[1].glob("tocsin-demo-*")

    listed = tocsin("status", "--data", kept / "data", "--state", "OPEN")

    assert [incident["labels"] for incident in json.loads(listed.out)["incidents"]] == [
        {"service": "payments-db"}
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_server_and_its_data(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment(), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    while "What comes in" not in process.stdout.readline():
        pass
    (directory,) = tmp_path.glob("tocsin-demo-*")

    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Stopped" in err
    assert "Traceback" not in out + err
    assert not directory.exists()  # Its lock and its database with it: the server is gone, too.
    with tempfile.TemporaryDirectory() as clean:
        assert tocsin("status", "--data", clean).code == 6


def test_the_recording_is_what_the_story_gives() -> None:
    recorded = [json.loads(line) for line in STORM.read_text().splitlines()]

    assert recorded == demo_storm.record()


def test_the_story_has_all_that_happens_to_alerts() -> None:
    alerts = [line["alert"] for line in demo_storm.record()]
    looks = [json.dumps(alert, sort_keys=True) for alert in alerts]

    assert len(alerts) >= 500
    assert {alert["status"] for alert in alerts} == {"firing", "green", "resolved"}
    assert {alert["severity"] for alert in alerts} >= {"warning", "error", "critical"}
    assert len(set(looks)) < len(looks)  # repeats
    assert len({alert["rule_id"] for alert in alerts}) >= 8


def test_the_story_is_moved_to_now() -> None:
    now = 1_800_000_000_000_000

    ends = [line["alert"]["window_end"] for line in demo_storm.read_storm(now)]

    assert max(ends) == now
    assert ends == sorted(ends)


def test_another_text_under_the_same_key_is_noticed() -> None:
    one, other = (Post("/webhook", {"webhook-id": "k"}, body) for body in (b'{"a":1}', b'{"a":2}'))

    assert _twice([one, one]).held
    assert not _twice([one, other]).held
    assert not _twice([one]).held


def test_a_wrong_signature_is_noticed() -> None:
    # Standard Webhooks 1.0.0, its own example.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert is_signed(Post("/webhook", headers, b'{"test": 2432232314}'), secret)
    assert not is_signed(Post("/webhook", headers, b'{"test": 2432232315}'), secret)
    assert not is_signed(Post("/webhook", {}, b"{}"), secret)
