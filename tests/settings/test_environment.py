"""The environment is read once, and what is wrong in it is named."""

import pytest

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import RateLimit
from tocsin.outbound import Outbound
from tocsin.settings import EmailSettings, Settings, TeamsSettings, WebhookSettings, read_settings
from tocsin.wiring.outside import build_channel

SMTP = {
    "TOCSIN_SMTP_HOST": "mail.example.org",
    "TOCSIN_SMTP_FROM": "t@example.org",
    "TOCSIN_SMTP_TO": "a@x.org, b@x.org",
}


def test_without_any_variable_there_is_no_channel_and_the_default_policy():
    settings = read_settings(environment={})

    assert settings == Settings()
    assert settings.channels == ()
    assert settings.routes is None
    assert settings.rate_limit == RateLimit()
    assert not settings.dry_run


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_mail_has_the_port_of_its_kind_of_tls(tls: str, port: int):
    (smtp,) = read_settings(environment={**SMTP, "TOCSIN_SMTP_TLS": tls}).channels

    assert isinstance(smtp, EmailSettings)
    assert (smtp.name, smtp.port, smtp.recipients) == ("email", port, ("a@x.org", "b@x.org"))


def test_each_address_turns_its_channel_on():
    settings = read_settings(
        environment={
            "TOCSIN_TEAMS_WEBHOOK_URL": "https://teams.example/1",
            "TOCSIN_WEBHOOK_URL": "https://hook.example/2",
            "TOCSIN_WEBHOOK_SECRET": "shared",
        }
    )

    teams, webhook = settings.channels
    assert isinstance(teams, TeamsSettings)
    assert isinstance(webhook, WebhookSettings)
    assert (teams.name, teams.url.value) == ("teams", "https://teams.example/1")
    assert (webhook.name, webhook.url.value) == ("webhook", "https://hook.example/2")
    assert [secret.value for secret in webhook.secrets] == ["shared"]
    assert not settings.channels_in_file


def test_every_variable_of_a_channel_that_is_wrong_is_named():
    env = {**SMTP, "TOCSIN_SMTP_FROM": "me", "TOCSIN_SMTP_TO": "a@x.org you", "TOCSIN_SMTP_USER": "u"}

    def try_channel(channel: object) -> None:
        assert isinstance(channel, EmailSettings)
        build_channel(channel, Outbound())

    with pytest.raises(Invalid) as raised:
        read_settings(environment=env, try_channel=try_channel)

    assert [field for field, _ in raised.value.errors] == [
        "TOCSIN_SMTP_PASSWORD", "TOCSIN_SMTP_FROM", "TOCSIN_SMTP_TO",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"TOCSIN_SMTP_TLS": "ssl"}, "TOCSIN_SMTP_TLS"),
        ({"TOCSIN_SMTP_PORT": "smtp"}, "TOCSIN_SMTP_PORT"),
        ({"TOCSIN_SMTP_PORT": "70000"}, "TOCSIN_SMTP_PORT"),
        ({"TOCSIN_SMTP_PORT": "²"}, "TOCSIN_SMTP_PORT"),
        ({"TOCSIN_SMTP_FROM": ""}, "TOCSIN_SMTP_FROM"),
        ({"TOCSIN_SMTP_TO": ""}, "TOCSIN_SMTP_TO"),
        ({"TOCSIN_DRY_RUN": "perhaps"}, "TOCSIN_DRY_RUN"),
        ({"TOCSIN_FAILPOINT": "after-lunch:1"}, "TOCSIN_FAILPOINT"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, str], field: str):
    with pytest.raises(Invalid) as raised:
        read_settings(environment={**SMTP, **more})

    assert raised.value.field == field
    assert field in str(raised.value)


def test_a_file_that_is_named_but_not_there_is_an_error():
    with pytest.raises(Invalid, match=r"/nowhere/tocsin\.yaml cannot be read"):
        read_settings(environment={"TOCSIN_CONFIG": "/nowhere/tocsin.yaml"})
