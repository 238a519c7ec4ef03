"""A secret is in the settings and in the channels, and is shown nowhere: not by repr, errors, rich or `config show`."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console
from tests.settings.files import settings_of, wrong_file

from tocsin.outbound import Outbound
from tocsin.settings import read_settings
from tocsin.settings.show import shown_yaml
from tocsin.wiring.outside import build_channels

CANARY = "canary-3f9c"
FILE = """\
channels:
  - {name: mail, kind: email, host: mail.example.org, sender: t@example.org, recipients: [a@example.org], user: u, password: {env: PW}}
  - {name: chat, kind: teams, url: {env: TEAMS}}
  - {name: hook, kind: webhook, url: "https://hook.example.org/canary-3f9c", secrets: [{file: key}], extra_headers: {Authorization: {env: PW}}}
heartbeat: {url: {env: TEAMS}}
ledger: {envelope_secrets: [{env: ENVELOPE}]}
"""
ENVIRONMENT = {
    "ENVELOPE": f"{CANARY} and more than that",
    "PW": CANARY,
    "TEAMS": f"https://teams.example/{CANARY}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(CANARY)
    return tmp_path


def test_right_settings_show_no_secret(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    settings = settings_of(folder, FILE, ENVIRONMENT)
    channels = build_channels(settings, Outbound())

    pretty = io.StringIO()
    Console(file=pretty, width=200).print(settings, settings.channels, settings.heartbeat)
    shown = [
        repr(settings),
        str(settings),
        repr(channels),
        pretty.getvalue(),
        shown_yaml(settings),
        caplog.text,
    ]
    assert [text for text in shown if CANARY in text] == []
    assert "*** (from env PW)" in shown_yaml(settings)
    assert f"*** (from file {folder / 'key'})" in shown_yaml(settings).replace("\n     ", "")


def test_settings_of_the_environment_show_no_secret():
    settings = read_settings(
        environment={
            "TOCSIN_SMTP_HOST": "m.example.org",
            "TOCSIN_SMTP_FROM": "t@example.org",
            "TOCSIN_SMTP_TO": "a@x.org",
            "TOCSIN_SMTP_PASSWORD": CANARY,
            "TOCSIN_WEBHOOK_URL": f"https://x.org/{CANARY}",
            "TOCSIN_WEBHOOK_SECRET": CANARY,
            "TOCSIN_TEAMS_WEBHOOK_URL": f"https://x.org/{CANARY}",
        }
    )

    assert len(settings.channels) == 3
    assert CANARY not in repr(settings) + repr(settings.channels) + shown_yaml(settings)


MAIL = "channels: [{name: m, kind: email, host: h.org, sender: t@x.org, recipients: [a@x.org], user: u, password: %s}]"
HOOK = "channels: [{name: h, kind: webhook, url: 'https://x.org', secrets: [%s]}]"


@pytest.mark.parametrize(
    "text",
    [
        MAIL % CANARY,
        MAIL % f"[{CANARY}]",
        MAIL % f"{{{CANARY}}}",
        MAIL % f"{{value: {CANARY}}}",
        MAIL % f"{{env: '{CANARY} '}}",
        MAIL % f"{{env: [{CANARY}]}}",
        HOOK % CANARY,
        HOOK % "{env: WHSEC}",
        HOOK.replace("https://x.org", f"https://u:{CANARY}@x.org") % "{env: PW}",
        HOOK.replace("https://x.org", f"htps://x.org/{CANARY}") % "{env: PW}",
        f"channels: [{{name: t, kind: teams, url: 'https://x.org/{CANARY}'}}]",
        "channels: [{name: t, kind: teams, url: {env: PW}}]",
        "channels: [{name: h, kind: webhook, url: {env: PW}}]",
        f"channels: [{{name: h, kind: webhook, url: 'https://x.org', extra_headers: {{A: {CANARY}}}}}]",
        "channels: [{name: h, kind: webhook, url: 'https://x.org', extra_headers: {A: {env: UMLAUT}}}]",
        f"heartbeat: {{url: '{CANARY}'}}",
        f"heartbeat: {CANARY}",
        f"heartbeat: {{https://hc-ping.com/{CANARY}}}",
        f"https://x.org/{CANARY}: {{every: 1m}}",
        f"channels: {CANARY}",
        f"channels: [{CANARY}]",
        f"pasword: {CANARY}",
        f"url: &x '{CANARY}",
    ],
)
def test_what_is_said_of_a_wrong_file_holds_no_secret(folder: Path, text: str):
    environment = ENVIRONMENT | {"WHSEC": f"whsec_{CANARY}", "UMLAUT": f"ä{CANARY}"}

    wrong = wrong_file(folder, text, environment)

    assert CANARY not in str(wrong) + repr(wrong) + repr(wrong.problems)
    assert wrong.__suppress_context__ or wrong.__context__ is None, (
        "pydantic's words would show what stands there"
    )
