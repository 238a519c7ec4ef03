"""What is wrong with the settings is named as the operator wrote it: by its variable or its option."""

from pathlib import Path

import pytest
from tests.cli.inside import run
from tests.cli.running import tocsin

MAIL = {"SMTP_HOST": "mail.example.org", "SMTP_FROM": "a@example.org", "SMTP_TO": "b@example.org"}

VARIABLES: list[dict[str, str]] = [
    {"WEBHOOK_URL": "foo"},
    {"TEAMS_WEBHOOK_URL": "ftp://example.org"},
    {"WEBHOOK_SECRET": "whsec_%%", "WEBHOOK_URL": "https://example.org/hook"},
    {"SMTP_FROM": "nobody", **{name: value for name, value in MAIL.items() if name != "SMTP_FROM"}},
    {"SMTP_TO": "nobody", **{name: value for name, value in MAIL.items() if name != "SMTP_TO"}},
    {"SMTP_HOST": "no host", **{name: value for name, value in MAIL.items() if name != "SMTP_HOST"}},
    {"SMTP_PORT": "many", **MAIL},
    {"SMTP_PASSWORD": "alone", **MAIL},
    {"SMTP_TLS": "maybe", **MAIL},
    {"ALLOW_PRIVATE": "everything"},
    {"DRY_RUN": "perhaps"},
    {"CONFIG": "/there/is/none.yaml"},
]


@pytest.mark.parametrize("settings", VARIABLES, ids=lambda settings: next(iter(settings)))
def test_a_wrong_variable_is_named_and_nothing_starts(tmp_path: Path, settings: dict[str, str]) -> None:
    ran = tocsin("serve", "--data", tmp_path / "data", "--port", "0", **settings)

    name = next(iter(settings))
    named = {"SMTP_PASSWORD": "TOCSIN_SMTP_USER", "CONFIG": settings.get("CONFIG", "")}
    assert ran.code == 2
    assert named.get(name, f"TOCSIN_{name}") in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


OPTIONS = [
    (["status"], {"url": "foo"}, ["--url", "TOCSIN_URL"]),
    (["status"], {"url": "http://127.0.0.1:1", "token": "a b"}, ["--token", "TOCSIN_TOKEN"]),
    (["status", "--data", "/etc/passwd"], {}, ["--data"]),
    (["serve", "--port", "70000"], {}, ["--port"]),
]


@pytest.mark.parametrize(("arguments", "settings", "named"), OPTIONS)
def test_a_wrong_option_is_named(arguments: list[str], settings: dict[str, str], named: list[str]) -> None:
    said = run(*arguments, **settings)

    assert said.code == 2
    for name in named:
        assert name in said.err
