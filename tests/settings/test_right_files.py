"""What a right file says is what is settled; what it leaves out is as it is without a file."""

import hashlib
from pathlib import Path

import pytest
from tests.settings.files import settings_of

from tocsin.core.engine.route import DEFAULTS
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import ALL_LABELS, DAY, HOUR, MINUTE, SECOND, RateLimit, Retries
from tocsin.core.model.silence import Matcher, MatchOp
from tocsin.settings import (
    EmailSettings,
    HeartbeatSettings,
    IssuerSettings,
    Secret,
    Settings,
    TeamsSettings,
    WebhookSettings,
    find_file,
    parse_duration,
    read_settings,
    write_duration,
)
from tocsin.settings.document import read_document

EVERYTHING = """\
url: https://tocsin.example.org/
dry_run: true
channels:
  - name: mail
    kind: email
    host: mail.example.org
    tls: implicit
    user: tocsin
    password: {env: SMTP_PASSWORD}
    sender: Tocsin <tocsin@example.org>
    recipients: [oncall@example.org, database@example.org]
    timeout: 1m
  - name: chat
    kind: teams
    url: {file: teams-url}
    dry_run: true
  - name: hook
    kind: webhook
    url: https://hook.example.org/in
    secrets: [{env: HOOK_SECRET}]
    signature_header: ""
    extra_headers: {Authorization: {env: HOOK_AUTH}}
    thin: true
defaults:
  group_wait: 30s
  greens: 5
routes:
  name: all
  group_by: [rule_id]
  group_wait: 10s
  routes:
    - name: payments
      matchers: ['team=payments', 'severity=~"error|critical"']
      continue: true
      channels: [mail, hook]
      repeat_interval: 1h30m
      send_resolved: false
      routes:
        - {name: deep, ack_timeout: 2h}
rate_limit: {limit: 3, window: 10m}
retries: {steps: [1s, 1m], give_up: 1d}
auth:
  issuer:
    issuer: https://id.example.org
    audience: tocsin
    jwks: {url: "https://id.example.org/keys"}
    algorithms: [EdDSA]
    leeway: 5s
    role_claim: groups
    roles: {ops: analyst, 7: viewer}
retention: {keep: 90d}
heartbeat: {url: {env: BEAT}, every: 5m}
outgoing: {allow_private: [10.0.0.0/8, "fd00::/8"]}
"""
ENVIRONMENT = {
    "SMTP_PASSWORD": "p",
    "HOOK_SECRET": "s",
    "HOOK_AUTH": "Bearer b",
    "BEAT": "https://beat.example.org/1",
}


def test_everything_that_a_file_can_say_is_settled(tmp_path: Path):
    (tmp_path / "teams-url").write_text("https://teams.example/x\n")

    settings = settings_of(tmp_path, EVERYTHING, ENVIRONMENT)

    assert settings.url == "https://tocsin.example.org"
    assert settings.dry_run
    assert settings.channels == (
        EmailSettings(
            name="mail",
            host="mail.example.org",
            tls="implicit",
            user="tocsin",
            password=Secret("p", "env SMTP_PASSWORD"),
            sender="Tocsin <tocsin@example.org>",
            recipients=("oncall@example.org", "database@example.org"),
            timeout_s=60,
        ),
        TeamsSettings(
            name="chat", url=Secret("https://teams.example/x", f"file {tmp_path / 'teams-url'}"), dry_run=True
        ),
        WebhookSettings(
            name="hook",
            url=Secret("https://hook.example.org/in", "", "https://hook.example.org/..."),
            secrets=(Secret("s", "env HOOK_SECRET"),),
            signature_header="",
            extra_headers=(("Authorization", Secret("Bearer b", "env HOOK_AUTH")),),
            thin=True,
        ),
    )
    assert settings.channels_in_file
    assert settings.rate_limit == RateLimit(limit=3, window=10 * MINUTE)
    assert settings.retries == Retries(steps=(SECOND, MINUTE), give_up=DAY)
    assert settings.issuer == IssuerSettings(
        issuer="https://id.example.org",
        audience="tocsin",
        jwks_url="https://id.example.org/keys",
        algorithms=("EdDSA",),
        leeway_s=5,
        role_claim="groups",
        roles=(("ops", "analyst"), ("7", "viewer")),
    )
    assert settings.keep == 90 * DAY
    assert settings.heartbeat == HeartbeatSettings(
        url=Secret("https://beat.example.org/1", "env BEAT"), every_s=300
    )
    assert settings.allow_private == ("10.0.0.0/8", "fd00::/8")
    assert settings.path == tmp_path / "tocsin.yaml"
    assert settings.digest == hashlib.sha256(EVERYTHING.encode()).hexdigest()


def test_the_tree_of_routes_begins_with_the_defaults(tmp_path: Path):
    (tmp_path / "teams-url").write_text("https://teams.example/x\n")

    root = settings_of(tmp_path, EVERYTHING, ENVIRONMENT).routes

    assert root is not None
    (payments,) = root.routes
    (deep,) = payments.routes
    assert (root.name, root.group_by, root.group_wait, root.greens) == ("all", ("rule_id",), 10 * SECOND, 5)
    assert payments.matchers == (
        Matcher(name="team", value="payments"),
        Matcher(name="severity", op=MatchOp.MATCHES, value="error|critical"),
    )
    assert payments.continue_
    assert (payments.channels, payments.repeat_interval, payments.send_resolved) == (
        ("mail", "hook"),
        90 * MINUTE,
        False,
    )
    assert payments.greens is None, "it inherits"
    assert deep.ack_timeout == 2 * HOUR


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "null\n", "{}\n", "\ufeff"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str):
    settings = settings_of(tmp_path, text)

    nothing = Settings(path=settings.path, digest=settings.digest)
    assert settings == nothing


def test_defaults_alone_make_the_one_route(tmp_path: Path):
    root = settings_of(tmp_path, "defaults: {ack_timeout: 1h}").routes

    assert root is not None
    assert (root.name, root.group_by, root.ack_timeout) == ("default", (ALL_LABELS,), HOUR)
    assert root.group_by == DEFAULTS.group_by


def test_the_rate_limit_can_be_off(tmp_path: Path):
    assert settings_of(tmp_path, "rate_limit: null").rate_limit is None


def test_what_is_over_can_be_kept_for_ever(tmp_path: Path):
    assert settings_of(tmp_path, "retention: {keep: 0s}").keep == 0


def test_without_channels_in_the_file_those_of_the_environment_hold(tmp_path: Path):
    settings = settings_of(
        tmp_path, "routes: {channels: [webhook]}", {"TOCSIN_WEBHOOK_URL": "https://x.example.org"}
    )

    assert [channel.name for channel in settings.channels] == ["webhook"]
    assert not settings.channels_in_file


def test_the_environment_adds_dry_run_and_networks(tmp_path: Path):
    settings = settings_of(
        tmp_path,
        "outgoing: {allow_private: [10.0.0.0/8]}",
        {"TOCSIN_DRY_RUN": "1", "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8, 10.0.0.0/8"},
    )

    assert settings.dry_run
    assert settings.allow_private == ("10.0.0.0/8", "127.0.0.0/8")


@pytest.mark.parametrize(
    ("content", "value"), [(b"s", "s"), (b"s\n", "s"), (b"s\r\n", "s"), (b"s\n\n", "s\n"), (b" s ", " s ")]
)
def test_a_secret_in_a_file_loses_one_line_end(tmp_path: Path, content: bytes, value: str):
    (tmp_path / "secret").write_bytes(content)

    (hook,) = settings_of(
        tmp_path,
        "channels: [{kind: webhook, name: h, url: 'https://x.org', secrets: [{file: secret}]}]",
    ).channels

    assert isinstance(hook, WebhookSettings)
    assert hook.secrets[0].value == value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"), ("on", "on"), ("True", "True"), ("1e3", "1e3"), ("0x10", "0x10"), ("010", "010"), ("1_000", "1_000"),
        ("12:30", "12:30"), ("2026-01-01", "2026-01-01"), (".inf", ".inf"), ("'5'", "5"), ('"true"', "true"),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("5", 5), ("-5", -5), ("0", 0), ("1.5", 1.5), ("9" * 30, "9" * 30), ("|\n  two\n  lines", "two\nlines"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_yaml_1_2_says_and_no_more(written: str, read: object):
    value = read_document(f"a: {written}".encode()).data["a"]

    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("text", "length"),
    [("0s", 0), ("250ms", SECOND // 4), ("30s", 30 * SECOND), ("1h30m", 90 * MINUTE), ("2d", 2 * DAY), ("1d1h1m1s1ms", DAY + HOUR + MINUTE + SECOND + 1000)],
)  # fmt: skip
def test_a_length_of_time_is_read_and_written(text: str, length: int):
    assert parse_duration(text) == length
    assert write_duration(length) == text


@pytest.mark.parametrize(
    "text", ["", "s", "5", "5 s", "5S", "1m1h", "1s1s", "+5s", "1.5s", "5s\n", "٥s", 5, True, None]
)
def test_what_is_no_length_of_time_is_refused(text: object):
    with pytest.raises(Invalid):
        parse_duration(text)


def test_the_file_is_found_in_this_order(tmp_path: Path):
    given, named, data = tmp_path / "given.yaml", tmp_path / "named.yaml", tmp_path / "data"
    data.mkdir()
    (data / "tocsin.yaml").write_text("url: https://own.example.org")

    assert find_file(given, data, {"TOCSIN_CONFIG": str(named)}) == given
    assert find_file(None, data, {"TOCSIN_CONFIG": str(named)}) == named
    assert find_file(None, data, {}) == data / "tocsin.yaml"
    assert find_file(None, tmp_path, {}) is None
    assert read_settings(data=data, environment={}).url == "https://own.example.org"
