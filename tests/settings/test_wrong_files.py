"""Whatever is wrong with a file is told at its line and column, all at once, with what would be right."""

from pathlib import Path

import pytest
from tests.settings.files import settings_of, wrongs_of

from tocsin.core.model.errors import Invalid
from tocsin.settings.problems import WrongFile

MAIL = """\
channels:
  - kind: email
    name: mail
    host: mail.example.org
    sender: t@example.org
    recipients: [a@example.org]
"""
HOOK = """\
channels:
  - kind: webhook
    name: hook
    url: https://hook.example.org/x
"""
ISSUER = """\
auth:
  issuer:
    issuer: https://id.example.org
    audience: tocsin
    jwks: {url: "https://id.example.org/keys"}
    roles: {ops: analyst}
"""

# what it is -> the file, and what is said: line:column key: the start of the message
WRONG: dict[str, tuple[str, str]] = {
    # YAML itself
    "no YAML": ("channels: [", "2:1 : This is not YAML"),
    "a tab": ("routes:\n\tname: a", "2:1 : This is not YAML"),
    "no mapping": ("- a\n- b", "1:1 : This takes a mapping of keys to values, not a list"),
    "text": ("hello", "1:1 : This takes a mapping of keys to values, not text"),
    "two documents": ("dry_run: true\n---\nurl: x", "2:1 : A second document begins here"),
    "a key twice": ("dry_run: true\nurl: https://x.org\ndry_run: false", "3:1 dry_run: This key stands here twice, first in line 1"),
    "a deep key twice": ("rate_limit:\n  limit: 1\n  limit: 2", "3:3 rate_limit.limit: This key stands here twice, first in line 2"),
    "an anchor": ("url: &u https://x.org", "1:6 url: Anchors"),
    "an alias": ("url: *u", "1:6 url: Aliases"),
    "a merge key": ("rate_limit:\n  <<: {limit: 5}", "2:3 rate_limit['<<']: Merge keys"),
    "a tag": ("url: !!str https://x.org", "1:6 url: Tags"),
    "an object's tag": ("url: !!python/object/apply:os.system [id]", "1:6 url: Tags"),
    "a list as a key": ("? [a]\n: b", "1:3 : A key is a plain word"),
    "a control character": ("url: 'a\x07b'", "1:8 : The character U+0007 cannot stand in YAML"),
    # keys
    "an unknown key": ("rotues: {}", "1:1 rotues: There is no such key. Did you mean routes?"),
    "a key that resembles none": ("zzz: 1", "1:1 zzz: There is no such key. There are channels, "),
    "an unknown key of a channel": (MAIL + "    pasword: x", "7:5 channels[0].pasword: There is no such key. Did you mean password?"),
    "a key of another kind of channel": (HOOK + "    recipients: [a]", "5:5 channels[0].recipients: There is no such key."),
    "an unknown key of a branch": ("routes:\n  routes:\n    - name: a\n      continu: true", "4:7 routes.routes[0].continu: There is no such key. Did you mean continue?"),
    "matchers at the root": ("routes:\n  matchers: [a=b]", "2:3 routes.matchers: There is no such key."),
    "a branch without a name": ("routes:\n  routes:\n    - greens: 2", "3:7 routes.routes[0].name: This key is missing"),
    "a channel without a kind": ("channels:\n  - name: a", "2:5 channels[0].kind: This key is missing. Add it: email, teams or webhook."),
    "a channel of no kind": ("channels:\n  - kind: emial\n    name: a", "2:11 channels[0].kind: 'emial' is none of email, teams, webhook. Did you mean email?"),
    "a relay without a host": ("channels:\n  - {kind: email, name: a, sender: a@b.org, recipients: [a@b.org]}", "2:5 channels[0].host: This key is missing"),
    # kinds of values
    "a word for a truth": ("dry_run: yes", "1:10 dry_run: This takes true or false, not text"),
    "True for a truth": ("dry_run: True", "1:10 dry_run: This takes true or false, not text"),
    "a truth for a number": ("rate_limit:\n  limit: true", "2:10 rate_limit.limit: This takes a whole number, not true or false"),
    "text for a number": ("rate_limit: {limit: '5'}", "1:21 rate_limit.limit: This takes a whole number, not text"),
    "scientific notation": ("rate_limit: {limit: 1e3}", "1:21 rate_limit.limit: This takes a whole number, not text"),
    "a fraction": ("rate_limit: {limit: 1.5}", "1:21 rate_limit.limit: This takes a whole number, not a number"),
    "a leading zero": ("rate_limit: {limit: 010}", "1:21 rate_limit.limit: This takes a whole number, not text"),
    "a number for text": ("routes: {name: 5}", "1:16 routes.name: This takes text; put it in quotes if it is meant as text, not a number"),
    "text for a list": ("routes: {group_by: rule_id}", "1:20 routes.group_by: This takes a list, not text"),
    "a list for a mapping": ("rate_limit: []", "1:13 rate_limit: This takes a mapping of keys to values, not a list"),
    "nothing for a mapping": ("retries:", "1:9 retries: This takes a mapping of keys to values, not nothing"),
    # lengths of time
    "seconds without a unit": ("defaults: {group_wait: 30}", "1:24 defaults.group_wait: 30 is a plain number. Write a length of time with its unit, such as 30s or 5m."),
    "a fraction of an hour": ("defaults: {group_wait: 1.5h}", "1:24 defaults.group_wait: '1.5h' is no length of time"),
    "units in the wrong order": ("defaults: {group_wait: 30m1h}", "1:24 defaults.group_wait: '30m1h' is no length of time"),
    "a negative time": ("defaults: {group_wait: -5s}", "1:24 defaults.group_wait: '-5s' is no length of time"),
    "a time without end": ("defaults: {group_wait: 999999999d}", "1:24 defaults.group_wait: '999999999d' is longer than 100 years"),
    "a pause of nothing": ("retries: {steps: [1s, 0s]}", "1:23 retries.steps[1]: This must be more than 0s"),
    "a heart that races": (
        "heartbeat: {url: 'https://x.org', every: 10ms}",
        "1:42 heartbeat.every: This must be 1s or more",
    ),
    "no pauses": ("retries: {steps: []}", "1:18 retries.steps: This is empty"),
    # numbers
    "too few greens": ("defaults: {greens: 0}", "1:20 defaults.greens: This is too small. Give 1 or more."),
    "a negative limit": ("rate_limit: {limit: -1}", "1:21 rate_limit.limit: This is too small. Give 0 or more."),
    "a port that does not exist": (MAIL + "    port: 70000", "7:11 channels[0].port: This is too large. Give 65,535 or less."),
    # names and references between parts
    "two channels of one name": (HOOK + "  - {kind: webhook, name: hook, url: 'https://x.org'}", "5:27 channels[1].name: 'hook' is the name in line 3 too"),
    "two routes of one name": ("routes:\n  name: a\n  routes:\n    - name: a", "4:13 routes.routes[0].name: 'a' is the name in line 2 too"),
    "a branch named like the root": ("routes:\n  routes:\n    - name: default", "3:13 routes.routes[0].name: 'default' is the name in line 2 too"),
    "a channel that is not there": (HOOK + "routes: {channels: [hok]}", "5:21 routes.channels[0]: Channel 'hok' is not configured. Did you mean hook?"),
    "a channel where there is none": ("defaults: {channels: [mail]}", "1:23 defaults.channels[0]: Channel 'mail' is not configured. No channel is configured."),
    "a name with a line break": ("routes: {name: \"a\\nb\"}", "1:16 routes.name: A name has 1 to 64 visible characters"),
    # the little languages
    "no matcher": ("routes: {routes: [{name: a, matchers: [team]}]}", "1:40 routes.routes[0].matchers[0]: Matcher 'team' is none. Write name=value"),
    "look-around": ("routes: {routes: [{name: a, matchers: ['x=~(?=y)']}]}", "1:40 routes.routes[0].matchers[0]: Matcher x=~'(?=y)' is not a regular expression that RE2 knows"),
    "no network": ("outgoing: {allow_private: [10.0.0.1/8]}", "1:28 outgoing.allow_private[0]: This is not a network: 10.0.0.1/8 has host bits set"),
    "no URL": ("url: tocsin.example.org", "1:6 url: This is no address of a server"),
    "no kind of TLS": (MAIL + "    tls: ssl", "7:10 channels[0].tls: 'ssl' is none of starttls, implicit, none"),
    # what a channel says itself
    "no address": (MAIL.replace("[a@example.org]", "[a@example.org, nobody]"), "6:33 channels[0].recipients[1]: 'nobody' is no e-mail address"),
    "no recipients": (MAIL.replace("[a@example.org]", "[]"), "6:17 channels[0].recipients: This is empty"),
    "no sender": (MAIL.replace("t@example.org", "me"), "5:13 channels[0].sender: 'me' is no e-mail address"),
    "a user without a password": (MAIL + "    user: tocsin", "2:5 channels[0].password: A mail login needs both user and password"),
    "authorities that are not there": (MAIL + "    ca_file: /nowhere/ca.pem", "7:14 channels[0].ca_file: /nowhere/ca.pem cannot be read: No such file or directory"),
    "a header that is ours": (HOOK + "    signature_header: webhook-id", "5:23 channels[0].signature_header: The signature header of webhook 'hook' cannot be named"),
    "a time for an attempt that is none": (HOOK + "    timeout: 0s", "5:14 channels[0].timeout: This must be more than 0s"),
    # secrets
    "a password in the open": (MAIL + "    user: u\n    password: hunter2", "8:15 channels[0].password: A secret does not stand in this file. Write {env: NAME} or {file: path}"),
    "a secret in the open": (HOOK + "    secrets: [hunter2]", "5:15 channels[0].secrets[0]: A secret does not stand in this file."),
    "a Teams URL in the open": ("channels: [{kind: teams, name: t, url: 'https://hunter2.example'}]", "1:40 channels[0].url: A secret does not stand in this file."),
    "a URL with a password": (HOOK.replace("//", "//u:hunter2@"), "4:10 channels[0].url: This is no URL without a user in it."),
    "a URL of another kind": (HOOK.replace("https://", "ftp://"), "4:10 channels[0].url: This must begin with https:// or http://, and this one does not."),
    "a header in the open": (HOOK + "    extra_headers: {Authorization: Bearer hunter2}", "5:36 channels[0].extra_headers.Authorization: A secret does not stand in this file."),
    "a reference to nothing": (HOOK + "    secrets: [{env: NOPE}]", "5:15 channels[0].secrets[0]: The environment has no variable NOPE, or it is empty."),
    "a file that is not there": (HOOK + "    secrets: [{file: nope.txt}]", "5:15 channels[0].secrets[0]: The secret's file "),
    "a reference to a folder": (HOOK + "    secrets: [{file: .}]", "5:15 channels[0].secrets[0]: The secret's file "),
    "two references in one": (HOOK + "    secrets: [{env: A, file: b}]", "5:15 channels[0].secrets[0]: This is no reference to a secret."),
    "a reference of another kind": (HOOK + "    secrets: [{vault: hunter2}]", "5:15 channels[0].secrets[0]: This is no reference to a secret."),
    # the issuer
    "keys at two places": (ISSUER.replace("{url:", "{file: /nowhere, url:"), "5:18 auth.issuer.jwks.file: /nowhere cannot be read"),
    "keys nowhere": (ISSUER.replace('{url: "https://id.example.org/keys"}', "{}"), "5:11 auth.issuer.jwks: The keys are at one place. Give either url or file."),
    "keys that anybody may change": (ISSUER.replace("https://id.example.org/keys", "http://id.example.org/keys"), "5:17 auth.issuer.jwks.url: Keys that come over http could be anybody's"),
    "an algorithm with a shared secret": (ISSUER + "    algorithms: [HS256]", "7:18 auth.issuer.algorithms[0]: 'HS256' is none of RS256, PS256, ES256, EdDSA. Did you mean"),
    "no algorithm": (ISSUER + "    algorithms: [none]", "7:18 auth.issuer.algorithms[0]: 'none' is none of RS256"),
    "a role that is none": (ISSUER.replace("analyst", "analist"), "6:18 auth.issuer.roles.ops: 'analist' is none of admin, analyst, service, viewer, auditor. Did you mean analyst?"),
    "an issuer without an audience": (ISSUER.replace("    audience: tocsin\n", ""), "3:5 auth.issuer.audience: This key is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_told_at_its_place(tmp_path: Path, text: str, said: str):
    wrongs = wrongs_of(tmp_path, text)

    assert len(wrongs) == 1, "\n".join(wrongs)
    assert wrongs[0].startswith(said)


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_file(tmp_path: Path):
    wrongs = wrongs_of(
        tmp_path,
        """\
        channels:
          - kind: webhook
            name: hook
            url: ftp://x
          - kind: email
            name: hook
            host: "mail example"
            sender: t@example.org
            recipients: [a@example.org]
        routes:
          channels: [nobody]
          routes:
            - name: a
              matchers: ["a=~["]
        colour: red
        """,
    )

    assert [wrong.split(": ")[0] for wrong in wrongs] == [
        "4:10 channels[0].url",
        "6:11 channels[1].name",
        "7:11 channels[1].host",
        "11:14 routes.channels[0]",
        "14:18 routes.routes[0].matchers[0]",
        "15:1 colour",
    ]


def test_all_that_is_wrong_within_a_channel_is_told_at_once(tmp_path: Path):
    wrongs = wrongs_of(
        tmp_path,
        """\
        channels:
          - kind: email
            name: mail
            host: "mail example"
            port: 70000
            user: tocsin
            password: {env: NOPE}
            sender: nobody
            recipients: [a@example.org, nobody, a@example.org]
            colour: red
          - kind: email
            name: other
            sender: me
            recipients: [you]
          - kind: webhook
            name: hook
            url: https://x.org
            secrets: [{file: nope}]
            signature_header: webhook-id
            extra_headers: {Host: {env: HOOK}}
        """,
        {"HOOK": "x\x07"},
    )

    assert [wrong.split(": ")[0] for wrong in wrongs] == [
        "4:11 channels[0].host",
        "5:11 channels[0].port",
        "7:15 channels[0].password",
        "8:13 channels[0].sender",
        "9:33 channels[0].recipients[1]",
        "9:41 channels[0].recipients[2]",
        "10:5 channels[0].colour",
        "11:5 channels[1].host",
        "13:13 channels[1].sender",
        "14:18 channels[1].recipients[0]",
        "18:15 channels[2].secrets[0]",
        "19:23 channels[2].signature_header",
        "20:20 channels[2].extra_headers",
    ]


def test_a_byte_that_is_not_utf8_has_a_place(tmp_path: Path):
    assert wrongs_of(tmp_path, "# ä\nurl: ü".encode() + b"\xff") == [
        "2:7 : This byte is not UTF-8. Save the file as UTF-8."
    ]


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("ledger: {key: {env: K}}", "hunter2", "1:15 ledger.key: What is in env K is no key. "),
        ("ledger: {key: {env: K}}", "00" * 31, "1:15 ledger.key: What is in env K is no key. "),
        ("ledger: {envelope_secrets: [{env: K}]}", "hunter2hunter2hunter2xx", "1:29 ledger.envelope_secrets[0]: What is in env K is too short. "),
    ],
)  # fmt: skip
def test_a_secret_of_the_ledger_that_is_of_no_use_is_told_and_not_shown(
    tmp_path: Path, text: str, value: str, said: str
):
    (wrong,) = wrongs_of(tmp_path, text, {"K": value})

    assert wrong.startswith(said)
    assert value not in wrong


@pytest.mark.parametrize(
    "value", ["ab" * 32, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", " " + "AB" * 32]
)
def test_a_key_of_the_ledger_is_hex_or_base64(tmp_path: Path, value: str):
    settings = settings_of(tmp_path, "ledger: {key: {env: K}}", {"K": value})

    assert settings.ledger_key is not None
    assert settings.ledger_key.value == value


def test_channels_in_the_file_and_in_the_environment_are_too_many(tmp_path: Path):
    (wrong,) = wrongs_of(tmp_path, HOOK, {"TOCSIN_WEBHOOK_URL": "https://x.org", "TOCSIN_SMTP_TO": "a@x.org"})

    assert wrong.startswith(
        "1:1 channels: Channels stand here and in the environment (TOCSIN_SMTP_TO, TOCSIN_WEBHOOK_URL)."
    )


def test_a_hundred_errors_are_enough(tmp_path: Path):
    with pytest.raises(WrongFile) as raised:
        settings_of(tmp_path, "".join(f"k{number}: 1\n" for number in range(150)))

    assert len(raised.value.problems) == 150
    assert len(raised.value.errors) == 101
    assert raised.value.errors[-1][1] == "And 50 more."


def test_a_channel_of_the_environment_beside_a_file_is_tried_too(tmp_path: Path):
    with pytest.raises(Invalid) as raised:
        settings_of(tmp_path, "dry_run: true", {"TOCSIN_WEBHOOK_URL": "ftp://x"})

    assert raised.value.field == "TOCSIN_WEBHOOK_URL"
