"""Render: what people are shown is what is sent, and no secret is in it."""

from email import message_from_bytes
from email.policy import default as modern
from typing import Any

import pytest
from tests.channels.messages import a_message, an_alert, an_incident

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.email import payload as mail
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.teams import payload as card
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.channels.webhook import payload as body
from tocsin.core.model.notification import Message, Target
from tocsin.outbound import Outbound
from tocsin.ports import Channel, Rendered
from tocsin.runtime.rehearsal import Rehearsal

KEY = "c" * 64
TARGET = Target(id="anna", channel="any", address="anna@example.org")
SECRET = "sesame-and-more-of-it"
MESSAGES = (
    a_message(),
    a_message(incident=None, alerts=()),
    a_message(
        title='<script>"\x1b[2J\u202e\ud800',
        text="x" * 40_000,
        alerts=tuple(an_alert(message="\r\n.\r\n" * 50) for _ in range(20)),
        incident=an_incident(title="\x00\r\nSubject: forged"),
    ),
)


def channels() -> list[Channel]:
    outbound = Outbound()
    url = f"https://hooks.example.org/{SECRET}"
    return [
        Webhook(
            WebhookConfig(
                name="any",
                url=url,
                secrets=(SECRET + SECRET,),
                extra_headers={"Authorization": f"Bearer {SECRET}"},
            ),
            outbound,
        ),
        Webhook(WebhookConfig(name="any", url=url, thin=True), outbound),
        Teams(TeamsConfig(name="any", url=url), outbound),
        Email(
            EmailConfig(
                name="any",
                host="mail.example.org",
                sender="Tocsin <tocsin@example.org>",
                recipients=("anna@example.org",),
                user="tocsin",
                password=SECRET,
            )
        ),
    ]


def shown(channel: Channel, message: Message) -> Rendered:
    return channel.render(message, TARGET, key=KEY)


@pytest.mark.parametrize("message", MESSAGES)
def test_what_is_shown_is_what_is_sent(message: Message) -> None:
    fat, thin, teams, email = channels()

    assert shown(fat, message).body.encode() == body(message, KEY)
    assert shown(thin, message).body.encode() == body(message, KEY, thin=True)
    assert shown(teams, message).body.encode() == card(message)
    parsed: Any = message_from_bytes(mail(message, TARGET, KEY, "tocsin@example.org", 0), policy=modern)
    rendered = shown(email, message)
    assert rendered.subject == parsed["Subject"]
    parts = [part.get_content().replace("\r\n", "\n").rstrip("\n") for part in parsed.iter_parts()]
    assert [rendered.body.rstrip("\n"), (rendered.html or "").rstrip("\n")] == parts


@pytest.mark.parametrize("message", MESSAGES)
def test_no_secret_is_shown(message: Message) -> None:
    for channel in channels():
        assert SECRET not in repr(shown(channel, message))


def test_a_rehearsal_shows_what_the_real_one_would() -> None:
    for channel in channels():
        assert shown(Rehearsal(channel), MESSAGES[0]) == shown(channel, MESSAGES[0])


def test_each_says_what_it_is() -> None:
    kinds = [(channel.kind, shown(channel, MESSAGES[0]).content_type) for channel in channels()]

    assert kinds == [
        ("webhook", "application/json"),
        ("webhook", "application/json"),
        ("teams", "application/json"),
        ("email", "text/plain"),
    ]
