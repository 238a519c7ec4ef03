"""The environment is read once, and what is wrong in it is named."""

import json
from pathlib import Path

import pytest

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import MINUTE, SECOND, RateLimit
from tocsin.core.model.silence import Matcher, MatchOp
from tocsin.settings import Settings, parse_matcher, read_settings

SMTP = {
    "TOCSIN_SMTP_HOST": "mail.example.org",
    "TOCSIN_SMTP_FROM": "t@example.org",
    "TOCSIN_SMTP_TO": "a@x.org, b@x.org",
}


def test_without_any_variable_there_is_no_channel_and_the_default_policy():
    settings = read_settings({})

    assert (settings.smtp, settings.teams_url, settings.webhook_url) == (None, "", "")
    assert settings.routes is None
    assert settings.rate_limit == RateLimit()
    assert not settings.dry_run


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_mail_has_the_port_of_its_kind_of_tls(tls: str, port: int):
    smtp = read_settings({**SMTP, "TOCSIN_SMTP_TLS": tls}).smtp

    assert smtp is not None
    assert (smtp.port, smtp.recipients) == (port, ("a@x.org", "b@x.org"))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"TOCSIN_SMTP_TLS": "ssl"}, "TOCSIN_SMTP_TLS"),
        ({"TOCSIN_SMTP_PORT": "smtp"}, "TOCSIN_SMTP_PORT"),
        ({"TOCSIN_SMTP_PORT": "70000"}, "TOCSIN_SMTP_PORT"),
        ({"TOCSIN_SMTP_FROM": ""}, "TOCSIN_SMTP_FROM"),
        ({"TOCSIN_SMTP_TO": ""}, "TOCSIN_SMTP_TO"),
        ({"TOCSIN_DRY_RUN": "perhaps"}, "TOCSIN_DRY_RUN"),
        ({"TOCSIN_POLICY_FILE": "/nowhere/policy.json"}, "TOCSIN_POLICY_FILE"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, str], field: str):
    with pytest.raises(Invalid) as raised:
        read_settings({**SMTP, **more})

    assert raised.value.field == field
    assert field in str(raised.value)


def test_secrets_do_not_show():
    settings = read_settings(
        {**SMTP, "TOCSIN_SMTP_PASSWORD": "canary-1", "TOCSIN_WEBHOOK_SECRET": "canary-2"}
    )

    assert "canary" not in repr(settings) + repr(settings.smtp)
    assert isinstance(settings, Settings)


def test_the_policy_file_is_a_tree_in_seconds(tmp_path: Path):
    file = tmp_path / "policy.json"
    file.write_text(
        json.dumps(
            {
                "routes": {
                    "name": "all",
                    "group_by": ["..."],
                    "routes": [
                        {
                            "name": "payments",
                            "matchers": ["team=payments", 'severity=~"error|critical"'],
                            "continue": True,
                            "channels": ["email"],
                            "group_by": ["rule_id"],
                            "group_wait_s": 0.5,
                            "repeat_interval_s": 600,
                            "greens": 5,
                        }
                    ],
                },
                "rate_limit": {"limit": 3, "window_s": 60},
            }
        )
    )

    settings = read_settings({"TOCSIN_POLICY_FILE": str(file)})

    assert settings.routes is not None
    (child,) = settings.routes.routes
    assert child.continue_
    assert (child.group_wait, child.repeat_interval, child.greens) == (SECOND // 2, 10 * MINUTE, 5)
    assert child.group_interval is None
    assert child.matchers[1] == Matcher(name="severity", op=MatchOp.MATCHES, value="error|critical")
    assert settings.rate_limit == RateLimit(limit=3, window=MINUTE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"routes": {"name": "a", "colour": "red"}}', "colour"),
        ('{"routes": {"name": "a", "group_wait_s": "soon"}}', "group_wait_s"),
        ('{"routes": {"name": "a", "matchers": ["team"]}}', "team"),
        ("{", "TOCSIN_POLICY_FILE"),
    ],
)
def test_a_policy_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str):
    file = tmp_path / "policy.json"
    file.write_text(text)

    with pytest.raises(Invalid, match=said):
        read_settings({"TOCSIN_POLICY_FILE": str(file)})


def test_the_rate_limit_can_be_off(tmp_path: Path):
    file = tmp_path / "policy.json"
    file.write_text('{"routes": {"name": "a"}, "rate_limit": null}')

    assert read_settings({"TOCSIN_POLICY_FILE": str(file)}).rate_limit is None


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("host=db-1", ("host", "=", "db-1")),
        ("host!=db-1", ("host", "!=", "db-1")),
        ('host =~ "db-.*"', ("host", "=~", "db-.*")),
        ("host!~db", ("host", "!~", "db")),
        ("host=", ("host", "=", "")),
        ("q=a=b", ("q", "=", "a=b")),
    ],
)
def test_a_matcher_is_read(text: str, matcher: tuple[str, str, str]):
    assert parse_matcher(text) == Matcher(name=matcher[0], op=MatchOp(matcher[1]), value=matcher[2])


@pytest.mark.parametrize("text", ["host", "=db", "host!db", "", "!"])
def test_what_is_no_matcher_is_refused(text: str):
    with pytest.raises(Invalid, match=r"matcher|Matcher"):
        parse_matcher(text)
