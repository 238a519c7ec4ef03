"""A log line is one line, shows no secret, and cannot do anything to a terminal."""

import json
import logging
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.running import COMMAND, environment

from tocsin.cli.logs import set_up

HOSTILE = "disk\nfull\r\x1b[2J\x1b]0;pwned\x07\u202e\x85\u2028\x9b31m\x7fé"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put the root logger back as pytest has it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_json_line_says_when_how_bad_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "json")

    logging.getLogger("tocsin.pump").warning(
        "%d were refused", 3, extra={"channel": "email", "count": 3, "at": "no"}
    )

    line = json.loads(said(capsys))
    at = datetime.fromisoformat(line.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert line == {
        "level": "warning", "logger": "tocsin.pump", "event": "3 were refused", "channel": "email", "count": 3,
    }  # fmt: skip


def test_in_a_pipe_auto_is_json_and_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", "auto")

    logging.getLogger("tocsin.x").info("not this")
    logging.getLogger("tocsin.x").error("this")
    logging.getLogger("uvicorn.error").info("nor this")

    assert json.loads(said(capsys))["event"] == "this"


def test_a_console_line_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "console")

    logging.getLogger("tocsin.x").warning("channel %s fails", "email", extra={"count": 3})

    line = said(capsys)
    assert line.endswith("Z warning  tocsin.x: channel email fails count=3\n")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_hostile_text_stays_on_its_line_and_moves_nothing(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    set_up("info", format_)

    logging.getLogger("tocsin.x").warning("got %s", HOSTILE, extra={"label": HOSTILE, HOSTILE: 1})

    line = said(capsys)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert all(character.isprintable() for character in line[:-1])
    assert "\u202e" not in line
    if format_ == "json":
        assert line.isascii()
        assert json.loads(line)["label"] == HOSTILE


@pytest.mark.parametrize("format_", ["json", "console"])
def test_what_was_raised_cannot_pass_for_a_line_of_ours(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    set_up("info", format_)
    forged = "2026-11-24T04:00:00Z error    tocsin.x: forged toc_12345678_abcdef"

    try:
        raise ValueError(f"x\n{forged}\x1b[2J")
    except ValueError:
        logging.getLogger("tocsin.x").exception("it broke")

    lines = said(capsys).rstrip("\n").split("\n")
    assert "it broke" in lines[0]
    assert all(line.startswith("    ") for line in lines[1:])
    assert any("ValueError" in line for line in lines)
    assert "abcdef" not in "".join(lines)
    assert "\x1b" not in "".join(lines)


SECRETS = [
    "toc_8bfc284c_HIDDEN1",
    "whsec_HIDDEN1+/=",
    "whsk_HIDDEN1",
    "Authorization: Bearer HIDDEN1",
    "authorization=Basic HIDDEN1",
    '{"Authorization": "HIDDEN1"}',
    "asked with bearer HIDDEN1",
    "https://anna:HIDDEN1@example.org/x",
    "https://HIDDEN1@example.org/x",
    "postgres://u:HIDDEN1@db/x",
    "https://example.org/hook?token=HIDDEN1&x=HIDDEN1",
]


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_hidden(
    capsys: pytest.CaptureFixture[str], secret: str, format_: str
) -> None:
    set_up("info", format_)

    logging.getLogger("tocsin.x").warning(
        f"before {secret}, after", extra={"one": secret, "many": [{"a": secret}]}
    )

    line = said(capsys)
    assert "HIDDEN1" not in line
    assert "before" in line
    assert "***" in line


@pytest.mark.parametrize("name", ["password", "Authorization", "smtp_secret", "token", "api_key"])
def test_what_is_called_a_secret_is_hidden(capsys: pytest.CaptureFixture[str], name: str) -> None:
    set_up("info", "json")

    logging.getLogger("tocsin.x").warning("x", extra={name: "HIDDEN1", "more": {name: ["HIDDEN1"]}})

    line = json.loads(said(capsys))
    assert line[name] == "***"
    assert line["more"] == {name: "***"}


def test_what_is_no_secret_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "https://example.org/runbook#step-2 by anna@example.org, tocsin_incidents 7? yes"
    set_up("info", "json")

    logging.getLogger("tocsin.x").warning(text)

    assert json.loads(said(capsys))["event"] == text


def test_a_servers_log_is_lines_at_a_terminal_and_json_in_a_pipe(tmp_path: Path) -> None:
    script = (
        "import logging, tocsin.cli.logs as logs; logs.set_up('info', 'auto'); "
        "logging.getLogger('tocsin.x').info('hello')"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stderr=theirs, check=True, timeout=60)
    with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123  # a descriptor, not a path
        assert terminal.read(1000).endswith(b"info     tocsin.x: hello\r\n")

    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert json.loads(piped.stderr)["event"] == "hello"


def test_serve_takes_the_format(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "serve", "--data", str(tmp_path), "--log-format", "xml"],
        capture_output=True, text=True, check=False, timeout=60, env=environment(),
    )  # fmt: skip

    assert ran.returncode == 2
    assert "'auto', 'json', 'console'" in ran.stderr
