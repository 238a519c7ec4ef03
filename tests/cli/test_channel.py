"""A channel is tried out by itself, and the answer says no more than is known."""

import json
from collections.abc import Sequence

import pytest
from tests.cli.running import Ran, tocsin
from tests.cli.test_incidents import LOOPBACK, webhook
from tests.support.http_sink import HttpSink, Reply

from tocsin.cli.channel import exit_code


def channel_test(name: str, sink: HttpSink, *more: str) -> Ran:
    return tocsin(
        "channel", "test", name, *more,
        WEBHOOK_URL=sink.url("/hook"), TEAMS_WEBHOOK_URL=sink.url("/teams"), ALLOW_PRIVATE=LOOPBACK,
    )  # fmt: skip


def test_a_webhook_that_answers_has_it() -> None:
    with webhook() as sink:
        ran = channel_test("webhook", sink)

        (request,) = sink.requests
    assert ran.code == 0
    assert json.loads(ran.out)["results"][0]["outcome"] == "delivered"
    assert json.loads(request.body)["type"] == "notification.test"


def test_what_a_provider_took_is_not_called_delivered() -> None:
    with webhook(Reply(status=202)) as sink:
        ran = channel_test("teams", sink, "-o", "table")

    assert ran.code == 0
    assert "accepted by the provider" in ran.out
    assert "delivered" not in ran.out


def test_a_dry_run_does_not_touch_the_network() -> None:
    with webhook() as sink:
        ran = channel_test("webhook", sink, "--dry-run")

        assert sink.requests == []
    assert ran.code == 0
    assert json.loads(ran.out)["results"][0]["outcome"] == "dry_run"
    assert "nothing was sent" in ran.err


@pytest.mark.parametrize(
    ("reply", "code"), [(Reply(status=410), 1), (Reply(status=503), 6), (Reply(reset="before"), 6)]
)
def test_a_refusal_and_silence_have_codes_of_their_own(reply: Reply, code: int) -> None:
    with webhook(reply) as sink:
        ran = channel_test("webhook", sink)

    assert ran.code == code


def test_a_channel_that_is_not_configured_is_not_found() -> None:
    with webhook() as sink:
        ran = channel_test("pigeon", sink)

    assert ran.code == 3
    assert "teams, webhook" in ran.err
    assert "TOCSIN_WEBHOOK_URL" in tocsin("channel", "test", "email").err


OUTCOMES: list[tuple[Sequence[str], int]] = [
    (["delivered", "accepted", "dry_run"], 0),
    (["retry"], 6),
    (["refused"], 1),
    (["retry", "refused"], 1),
    (["accepted", "refused"], 8),
    (["delivered", "retry"], 8),
]


@pytest.mark.parametrize(("outcomes", "code"), OUTCOMES)
def test_several_addresses_have_one_exit_code(outcomes: list[str], code: int) -> None:
    assert exit_code(outcomes) == code
