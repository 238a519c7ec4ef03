"""E-mail goes out encrypted, once per recipient, under one Message-ID; and whatever an alert says stays text."""

import asyncio
import base64
import email
import email.policy
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from html.parser import HTMLParser
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.channels.messages import AT, a_message, an_alert, an_incident
from tests.support.smtp_sink import DROP, HANG, Certificates, SmtpSink, make_certificates

from tocsin.channels import email as channel
from tocsin.channels.email import Email, EmailConfig, payload
from tocsin.channels.email_body import check_address, html_body, is_safe_link, text_body
from tocsin.core.model.alert import Link, Severity, Status
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import Accepted, DryRun, NotificationKind, Outcome, Refused, Retry, Target
from tocsin.outbound import Outbound
from tocsin.ports import Channel

KEY = "5f" * 32
OTHER_KEY = "a0" * 32
PASSWORD = "correct horse battery"
LOGIN = ("tocsin", PASSWORD)
SENDER = "Tocsin <tocsin@example.org>"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), "mail.example.org")


def a_target(address: str = "anna@example.org") -> Target:
    return Target(id="t1", channel="mail", address=address)


def a_config(sink: SmtpSink | None = None, **changes: Any) -> EmailConfig:
    fields: dict[str, Any] = {
        "name": "mail",
        "host": "127.0.0.1",
        "port": sink.port if sink else 0,
        "sender": SENDER,
        "recipients": ("anna@example.org",),
        "tls": "none",
        "timeout_s": 10.0,
    }
    return EmailConfig(**fields | changes)


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def send(via: Email, address: str = "anna@example.org", **changes: Any) -> Outcome:
    options: dict[str, Any] = {"key": KEY, "at": AT, "dry_run": False} | changes
    message = options.pop("message", None) or a_message()
    return await via.send(message, a_target(address), **options)


def one_attempt(sink: SmtpSink, **changes: Any) -> Outcome:
    """Run the server, make one attempt under this configuration, and end both."""

    async def scenario() -> Outcome:
        async with sink:
            via = Email(a_config(sink, **changes), resolve=loopback)
            try:
                return await send(via)
            finally:
                await via.close()

    return asyncio.run(scenario())


def with_plain_sink(sink: SmtpSink, act: Callable[[Email], Awaitable[Any]], **changes: Any) -> Any:
    async def scenario() -> Any:
        async with sink:
            via = Email(a_config(sink, **changes))
            try:
                return await act(via)
            finally:
                await via.close()

    return asyncio.run(scenario())


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    text = found.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


# --- encryption and login --------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_mail_goes_out_over_tls_after_a_login(certificates: Certificates, tls: Any) -> None:
    sink = SmtpSink(tls=tls, context=certificates.server, login=LOGIN)

    outcome = one_attempt(
        sink, host="mail.example.org", tls=tls, user=LOGIN[0], password=PASSWORD, ca_file=certificates.ca_file
    )

    assert outcome == Accepted(detail="250 2.0.0 Ok: queued as 1")
    [mail] = sink.mails
    assert (mail.sender, mail.recipients) == ("tocsin@example.org", ["anna@example.org"])
    assert mail.tls
    assert mail.user == "tocsin"
    assert b"AUTH" not in sink.heard_in_clear
    assert b"MAIL" not in sink.heard_in_clear
    assert sink.tls_versions <= {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_an_authority_that_nobody_trusts_gets_no_mail_and_no_password(
    certificates: Certificates, tls: Any
) -> None:
    sink = SmtpSink(tls=tls, context=certificates.server, login=LOGIN)

    outcome = one_attempt(sink, host="mail.example.org", tls=tls, user=LOGIN[0], password=PASSWORD)

    assert isinstance(outcome, Retry)
    assert "certificate of mail.example.org" in outcome.why
    assert "ca_file" in outcome.why
    assert sink.mails == []
    assert not {"AUTH", "MAIL"} & set(sink.commands)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_for_another_name_gets_no_mail(certificates: Certificates, tls: Any) -> None:
    sink = SmtpSink(tls=tls, context=certificates.server)

    outcome = one_attempt(sink, host="other.example.org", tls=tls, ca_file=certificates.ca_file)

    assert isinstance(outcome, Retry)
    assert "other.example.org" in outcome.why
    assert sink.mails == []
    assert "MAIL" not in sink.commands


def test_without_starttls_nothing_is_said_in_the_clear() -> None:
    sink = SmtpSink(tls="none", login=LOGIN)

    outcome = one_attempt(sink, host="mail.example.org", tls="starttls", user=LOGIN[0], password=PASSWORD)

    assert isinstance(outcome, Retry)
    assert "does not offer STARTTLS" in outcome.why
    assert sink.mails == []
    assert sink.heard_in_clear == b"EHLO [127.0.0.1]\r\n"


def test_tls_older_than_1_2_is_not_spoken(certificates: Certificates) -> None:
    via = Email(a_config(ca_file=certificates.ca_file))
    lax = ssl.create_default_context()
    lax.check_hostname = False

    assert via._tls_context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(Invalid, match="verifies neither"):
        Email(a_config(), tls_context=lax)


def test_a_password_goes_in_the_clear_only_to_this_machine() -> None:
    with pytest.raises(Invalid, match="in the clear") as error:
        a_config(host="mail.example.org", user="tocsin", password=PASSWORD)
    assert error.value.field == "tls"

    sink = SmtpSink(login=LOGIN)
    assert isinstance(one_attempt(sink, user=LOGIN[0], password=PASSWORD), Accepted)
    assert sink.mails[0].user == "tocsin"


def test_localhost_that_leads_elsewhere_gets_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_peer", lambda client: "192.0.2.7")
    sink = SmtpSink(login=LOGIN)

    outcome = one_attempt(sink, host="localhost", user=LOGIN[0], password=PASSWORD)

    assert outcome == Retry(why="localhost is not on this machine, so no password was sent to it.")
    assert sink.heard_in_clear == b"EHLO [127.0.0.1]\r\n"


def test_a_refused_login_can_be_mended_and_is_tried_again() -> None:
    sink = SmtpSink(login=LOGIN)

    outcome = one_attempt(sink, user=LOGIN[0], password="wrong")

    assert isinstance(outcome, Retry)
    assert "does not accept the login of tocsin" in outcome.why
    assert "535" in outcome.why
    assert sink.mails == []


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
    ],
)
def test_exchange_online_without_passwords_is_explained(reply: str) -> None:
    sink = SmtpSink(login=LOGIN, auths=[reply] * 2)

    outcome = one_attempt(sink, user=LOGIN[0], password=PASSWORD)

    assert isinstance(outcome, Retry)
    assert "Exchange Online no longer takes a user name and password" in outcome.why
    assert reply.split()[1] in outcome.why


def test_the_password_appears_in_no_text() -> None:
    sink = SmtpSink(login=LOGIN, auths=["535 5.7.8 bad credentials: {line} " + PASSWORD] * 2)
    config = a_config(user=LOGIN[0], password=PASSWORD)
    page = StringIO()
    Console(file=page, width=400).print(config, [config])

    outcome = one_attempt(sink, user=LOGIN[0], password=PASSWORD)

    texts = [repr(config), str(config), page.getvalue(), repr(outcome), repr(Email(config))]
    for form in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()):
        assert [text for text in texts if form in text] == []
    assert isinstance(outcome, Retry)
    assert base64.b64encode(f"\0tocsin\0{PASSWORD}".encode()).decode() not in outcome.why
    assert "***" in outcome.why


def test_a_password_that_is_an_ordinary_word_is_not_told_by_what_is_missing_from_our_own_texts() -> None:
    sink = SmtpSink(login=("tocsin", "other"), auths=["535 5.7.8 This server does not know you"] * 2)

    outcomes = [
        one_attempt(sink, user="tocsin", password="server"),
        one_attempt(
            SmtpSink(tls="none"), host="mail.example.org", tls="starttls", user="u", password="server"
        ),
    ]

    assert [outcome.why for outcome in outcomes if isinstance(outcome, Retry) and "***" in outcome.why] == []
    assert "This server does not know you" in repr(outcomes[0])


def test_without_starttls_a_relay_on_this_machine_may_do_without() -> None:
    here = one_attempt(SmtpSink(tls="none"), host="localhost", tls="starttls")
    elsewhere = one_attempt(SmtpSink(tls="none"), host="mail.example.org", tls="starttls")

    assert isinstance(here, Retry)
    assert "It is on this machine: use tls none" in here.why
    assert isinstance(elsewhere, Retry)
    assert "Use tls implicit" in elsewhere.why


def test_a_connection_that_is_lost_before_it_is_ready_is_not_said_to_have_been_none() -> None:
    sink = SmtpSink(login=LOGIN, auths=[DROP, DROP])

    outcome = one_attempt(sink, user=LOGIN[0], password=PASSWORD)

    assert isinstance(outcome, Retry)
    assert "No connection" not in outcome.why
    assert f"The connection to 127.0.0.1:{sink.port} was lost before it was ready" in outcome.why


# --- outcomes --------------------------------------------------------------------------------------------


def test_each_recipient_has_an_outcome_of_its_own() -> None:
    sink = SmtpSink(recipients={"ben@example.org": ["550 5.1.1 No such user"]})

    async def act(via: Email) -> list[Outcome]:
        return [await send(via, address) for address in via.addresses]

    outcomes = with_plain_sink(
        sink, act, recipients=("anna@example.org", "ben@example.org", "carla@example.org")
    )

    assert outcomes == [
        Accepted(detail="250 2.0.0 Ok: queued as 1"),
        Refused(why="127.0.0.1 answered 550 at RCPT: 5.1.1 No such user"),
        Accepted(detail="250 2.0.0 Ok: queued as 2"),
    ]
    assert [mail.recipients for mail in sink.mails] == [["anna@example.org"], ["carla@example.org"]]
    assert [parsed(mail.content)["To"] for mail in sink.mails] == ["anna@example.org", "carla@example.org"]


@pytest.mark.parametrize(
    ("script", "kind", "after_s"),
    [
        ({"recipients": {"anna@example.org": ["450 4.2.0 Greylisted"]}}, Retry, 300),
        ({"recipients": {"anna@example.org": ["451 4.7.1 Try again"]}}, Retry, 300),
        ({"recipients": {"anna@example.org": ["452 4.2.2 Mailbox full"]}}, Retry, 300),
        ({"recipients": {"anna@example.org": ["421 4.3.2 Closing"]}}, Retry, None),
        ({"recipients": {"anna@example.org": ["454 4.7.0 No TLS today"]}}, Retry, None),
        ({"recipients": {"anna@example.org": ["530 5.7.0 Log in first"]}}, Retry, None),
        ({"recipients": {"anna@example.org": ["554 5.7.1 Relay access denied"]}}, Refused, None),
        ({"contents": ["451 4.3.0 Queue full"]}, Retry, None),
        ({"contents": ["554 5.7.1 Looks like spam"]}, Refused, None),
        ({"contents": ["550 5.7.30 Basic authentication is not supported"]}, Retry, None),
        ({"contents": ["299 what"]}, Retry, None),
        ({"senders": ["451 4.3.0 Not now"]}, Retry, None),
        ({"senders": ["550 5.7.60 Not your address"]}, Retry, None),
        ({"senders": ["552 5.3.4 Too big"]}, Refused, None),
        ({"senders": [DROP]}, Retry, None),
        ({"contents": [DROP]}, Retry, None),
    ],
)
def test_what_the_relay_says_decides_whether_it_is_asked_again(
    script: dict[str, Any], kind: type, after_s: int | None
) -> None:
    outcome = one_attempt(SmtpSink(**script))

    assert type(outcome) is kind
    if isinstance(outcome, Retry):
        assert outcome.after_s == after_s


def test_a_greylisted_mail_is_taken_the_second_time() -> None:
    sink = SmtpSink(recipients={"anna@example.org": ["450 4.2.0 Greylisted"]})

    async def act(via: Email) -> list[Outcome]:
        return [await send(via), await send(via)]

    first, second = with_plain_sink(sink, act)

    assert isinstance(first, Retry)
    assert isinstance(second, Accepted)
    assert sink.connections == 1  # after a refusal the connection is still good
    assert len(sink.mails) == 1


def test_a_mail_whose_fate_is_unknown_is_sent_again_under_the_same_message_id() -> None:
    sink = SmtpSink(contents=[DROP])

    async def act(via: Email) -> list[Outcome]:
        return [await send(via), await send(via, at=AT + 60_000_000)]

    first, second = with_plain_sink(sink, act)

    assert isinstance(first, Retry)
    assert "unknown" in first.why
    assert isinstance(second, Accepted)
    before, after = (parsed(mail.content) for mail in sink.mails)
    assert before["Message-ID"] == after["Message-ID"] == f"<{KEY}@tocsin.test>"
    assert before["Date"] != after["Date"]


@pytest.mark.parametrize(
    "script",
    [{"senders": [HANG]}, {"recipients": {"anna@example.org": [HANG]}}, {"contents": [HANG]}],
)
def test_a_relay_that_says_nothing_more_costs_one_attempt(script: dict[str, Any]) -> None:
    outcome = one_attempt(SmtpSink(**script), timeout_s=0.2)

    assert isinstance(outcome, Retry)
    assert "was lost at" in outcome.why


def test_nobody_listening_is_a_retry_that_says_where() -> None:
    async def scenario() -> Outcome:
        async with SmtpSink() as sink:
            config = a_config(sink)
        return await send(Email(config))

    outcome = asyncio.run(scenario())

    assert isinstance(outcome, Retry)
    assert "No connection to 127.0.0.1:" in outcome.why


def test_what_the_relay_says_is_shortened_and_made_harmless() -> None:
    sink = SmtpSink(contents=["250 \x1b[31mred\x07 " + "x" * 2000])

    outcome = one_attempt(sink)

    assert isinstance(outcome, Accepted)
    assert outcome.detail.startswith("250 [31mred xxx")
    assert len(outcome.detail) <= 400


def test_a_private_relay_is_not_reached_until_it_is_opened_and_what_is_for_it_waits() -> None:
    async def scenario() -> tuple[Outcome, int]:
        async with SmtpSink() as sink:
            return await send(Email(a_config(sink), resolve=Outbound().addresses)), sink.connections

    outcome, connections = asyncio.run(scenario())

    assert isinstance(outcome, Retry)
    assert "outgoing.allow_private" in outcome.why
    assert connections == 0


def test_an_address_that_is_none_is_refused_before_anything_is_said() -> None:
    sink = SmtpSink()

    outcome = with_plain_sink(sink, lambda via: send(via, "anna@example.org>\r\nRCPT TO:<eve@example.org"))

    assert isinstance(outcome, Refused)
    assert sink.connections == 0


def test_a_dry_run_does_everything_but_the_network() -> None:
    sink = SmtpSink()

    outcome = with_plain_sink(sink, lambda via: send(via, dry_run=True))

    assert isinstance(outcome, DryRun)
    assert "To: anna@example.org\nSubject: [#1042] Disk full on db-1\n" in outcome.preview
    assert "db-1 has no space left." in outcome.preview
    assert sink.connections == 0


# --- connections -----------------------------------------------------------------------------------------


def test_one_connection_serves_one_mail_after_the_other() -> None:
    sink = SmtpSink()

    async def act(via: Email) -> list[Outcome]:
        return [await send(via) for _ in range(5)]

    outcomes = with_plain_sink(sink, act)

    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(sink.mails) == 5
    assert sink.connections == 1
    assert sink.commands[-1] == "QUIT"


def test_a_burst_opens_at_most_eight_connections() -> None:
    sink = SmtpSink()

    async def act(via: Email) -> list[Outcome]:
        return await asyncio.gather(*(send(via) for _ in range(60)))

    outcomes = with_plain_sink(sink, act)

    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(sink.mails) == 60
    assert 2 <= sink.connections_most <= 8
    assert sink.connections <= 8


def test_a_connection_that_died_while_idle_costs_no_attempt() -> None:
    sink = SmtpSink()

    async def act(via: Email) -> list[Outcome]:
        first = await send(via)
        sink.hang_up()
        return [first, await send(via)]

    outcomes = with_plain_sink(sink, act)

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
    assert sink.connections == 2
    assert len(sink.mails) == 2


@pytest.mark.parametrize("death", [DROP, HANG, "421 4.4.2 Idle for too long"])
def test_a_reused_connection_that_dies_at_the_next_mail_costs_no_attempt(
    death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "IDLE_CHECK_S", 0.2)
    sink = SmtpSink()

    async def act(via: Email) -> list[Outcome]:
        first = await send(via)
        sink.senders.append(death)
        return [first, await send(via, key=OTHER_KEY)]

    outcomes = with_plain_sink(sink, act)

    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
    assert sink.connections == 2
    assert [parsed(mail.content)["X-Tocsin-Delivery"] for mail in sink.mails] == [KEY, OTHER_KEY]


def test_an_idle_connection_is_closed_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "IDLE_S", 0.0)
    sink = SmtpSink()

    async def act(via: Email) -> None:
        await send(via)
        await sink.until(lambda: not sink.connections_open)

    with_plain_sink(sink, act)

    assert sink.commands[-1] == "QUIT"


def test_a_cancelled_attempt_leaves_no_connection_and_no_slot_behind() -> None:
    sink = SmtpSink(contents=[HANG] * 20)

    async def act(via: Email) -> Outcome:
        for number in range(1, 11):  # more than there are slots
            attempt = asyncio.create_task(send(via))
            await sink.until(lambda number=number: len(sink.mails) == number)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
        await sink.until(lambda: not sink.connections_open)
        sink.contents.clear()
        return await send(via)

    assert isinstance(with_plain_sink(sink, act), Accepted)


def test_the_addresses_are_tried_in_order_and_only_those_that_were_allowed() -> None:
    asked: list[tuple[str, int]] = []

    async def scenario() -> tuple[Outcome, int]:
        async with SmtpSink() as sink:

            async def resolve(host: str, port: int) -> list[str]:
                asked.append((host, port))
                return ["::1", "127.0.0.1"]

            via = Email(a_config(sink, host="mail.example.org"), resolve=resolve)
            outcome = await send(via)
            await via.close()
            return outcome, sink.port

    outcome, port = asyncio.run(scenario())

    assert isinstance(outcome, Accepted)
    assert asked == [("mail.example.org", port)]


@pytest.mark.parametrize("trouble", [None, OSError("10.0.0.7 may not be reached"), ValueError("no")])
def test_a_host_that_the_guard_does_not_allow_is_not_connected_to(trouble: Exception | None) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if trouble:
            raise trouble
        return []

    async def scenario() -> tuple[Outcome, int]:
        async with SmtpSink() as sink:
            return await send(Email(a_config(sink), resolve=resolve)), sink.connections

    outcome, connections = asyncio.run(scenario())

    assert isinstance(outcome, Retry)
    assert str(trouble or "no address of 127.0.0.1 may be connected to") in outcome.why
    assert connections == 0


# --- what the mail says ----------------------------------------------------------------------------------


def test_the_headers_are_exactly_these() -> None:
    mail = parsed(payload(a_message(), a_target(), KEY, SENDER, AT))

    assert [(name, str(value)) for name, value in mail.items() if name != "Content-Type"] == [
        ("Date", "Mon, 24 Nov 2025 09:00:00 +0000"),
        ("From", "Tocsin <tocsin@example.org>"),
        ("To", "anna@example.org"),
        ("Subject", "[#1042] Disk full on db-1"),
        ("Message-ID", f"<{KEY}@tocsin.test>"),
        ("In-Reply-To", "<inc-inc1.g1@tocsin.test>"),
        ("References", "<inc-inc1.g1@tocsin.test>"),
        ("X-Tocsin-Incident", "inc1"),
        ("X-Tocsin-Severity", "critical"),
        ("X-Tocsin-Delivery", KEY),
        ("List-Id", "<mail.tocsin.test>"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("Importance", "high"),
        ("MIME-Version", "1.0"),
    ]
    assert [inner.get_content_type() for inner in mail.iter_parts()] == ["text/plain", "text/html"]


def test_the_mails_of_one_incident_are_one_thread_and_its_reopening_is_another() -> None:
    opened = a_message()
    resolved = a_message(
        kind=NotificationKind.RESOLVED,
        title="Disk on db-1 is fine again",
        incident=an_incident(state=IncidentState.RESOLVED, firing=0, cleared=1, resolved_at=AT + 1),
    )
    reopened = a_message(incident=an_incident(generation=2))

    first, second, third = (
        parsed(payload(message, a_target(), key, SENDER, AT))
        for message, key in ((opened, KEY), (resolved, OTHER_KEY), (reopened, "b1" * 32))
    )

    assert first["Subject"] == second["Subject"] == third["Subject"] == "[#1042] Disk full on db-1"
    assert first["References"] == second["References"] == second["In-Reply-To"]
    assert first["References"] != third["References"]
    assert len({mail["Message-ID"] for mail in (first, second, third)}) == 3
    assert part(second, "plain").startswith(
        "CRITICAL · Resolved · #1042 · RESOLVED\nDisk on db-1 is fine again"
    )
    assert second["Importance"] is None


@pytest.mark.parametrize("severity", [Severity.INFO, Severity.WARNING, Severity.ERROR])
def test_only_a_critical_mail_is_marked_important(severity: Severity) -> None:
    mail = parsed(payload(a_message(severity=severity), a_target(), KEY, SENDER, AT))

    assert mail["Importance"] is None
    assert mail["Precedence"] is None


def test_a_message_without_an_incident_stands_alone() -> None:
    mail = parsed(payload(a_message(incident=None, alerts=()), a_target(), KEY, SENDER, AT))

    assert mail["Subject"] == "Disk full on db-1"
    assert mail["References"] is None


def test_the_same_arguments_make_the_same_bytes() -> None:
    scope = {"b": "2", "a": "1"}
    first = payload(a_message(alerts=(an_alert(scope=scope),)), a_target(), KEY, SENDER, AT)
    second = payload(
        a_message(alerts=(an_alert(scope=dict(sorted(scope.items()))),)), a_target(), KEY, SENDER, AT
    )

    assert first == second


def test_the_foot_of_a_mail_says_how_far_the_record_had_come() -> None:
    mail = parsed(payload(a_message(), a_target(), KEY, SENDER, AT))
    without = parsed(payload(a_message(record=""), a_target(), KEY, SENDER, AT))

    assert (
        part(mail, "plain")
        .rstrip("\n")
        .endswith("Why you get this: new incident\nRecord: tocsin.test 1311:5bf7e44f")
    )
    assert "Record: tocsin.test 1311:5bf7e44f" in part(mail, "html")
    assert "Record" not in part(without, "plain") + part(without, "html")


def test_every_letter_arrives() -> None:
    title = "Füllstand 97 % — диск «db-1» 磁盘已满 🔔 " + "ü" * 60
    message = a_message(title=title, text=f"{title}\nzweite Zeile", incident=an_incident(title=title))

    raw = payload(message, a_target(), KEY, "Glöckner <tocsin@example.org>", AT)

    mail = parsed(raw)
    assert mail["Subject"] == f"[#1042] {title}"
    assert str(mail["From"]) == "Glöckner <tocsin@example.org>"
    assert f"{title}\nzweite Zeile" in part(mail, "plain")
    assert "zweite Zeile" in part(mail, "html")
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 100


def test_a_long_text_says_how_much_is_left_out() -> None:
    mail = parsed(payload(a_message(text="x" * 5_000), a_target(), KEY, SENDER, AT))

    assert "x… (3000 characters left out)" in part(mail, "plain")
    assert "x… (3000 characters left out)" in part(mail, "html")


def test_many_labels_are_counted_and_the_alerts_left_out_too() -> None:
    scope = {f"label{n:02}": "v" for n in range(30)}
    message = a_message(alerts=(an_alert(scope=scope),), more=7)

    for body in (text_body(message), html_body(message)):
        assert "label19" in body
        assert "label20" not in body
        assert "and 10 more" in body
        assert "and 7 more" in body


def test_the_points_that_a_rule_saw_are_only_counted_in_a_mail() -> None:
    evidence = {"formula": "last = 9 > 5", "points": [["2026-11-27T09:00:00Z", "9.0"]] * 60, "window": [1, 2]}

    said = text_body(a_message(alerts=(an_alert(evidence=evidence),)))

    assert 'evidence: {"formula":"last = 9 > 5","points":"(60 items)","window":[1,2]}' in said


def test_a_strange_evidence_does_not_cost_the_notification() -> None:
    assert "evidence: (cannot be shown)" in text_body(a_message(alerts=(an_alert(evidence=object()),)))
    assert 'evidence: {"value":"97.1"}' in text_body(
        a_message(alerts=(an_alert(evidence={"value": "97.1"}),))
    )


# --- hostile texts ---------------------------------------------------------------------------------------

HOSTILE = [
    "x\r\nBcc: eve@example.org",
    "x\nBcc: eve@example.org\n\nbody",
    "x\rBcc: eve@example.org",
    "x\x00y",
    "x\u2028Bcc: eve@example.org\u2029\x85\x0b\x0cBcc: eve@example.org",
    "x\r\n.\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nspam\r\n.\r\n",
    "x\n.\n",
    "x\r.\r",
    ".",
    "..\n.\n.x",
    "\u202eexe.fdp\u202c \u2067abc\u2069 \u200f",
    "=?utf-8?q?x=0D=0ABcc:_eve=40example.org?=",
    "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLm9yZw==?=",
    f"--=_{KEY[:32]}--\r\n\r\n--=_x\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></div><iframe src=javascript:alert(1)>",
    "<!-- <b> --!><svg/onload=alert(1)>",
    "{0.__class__} {colour} {{}} %s",
    "javascript:alert(1)",
    'https://example.org/" onclick="alert(1)',
    "lone \ud800 surrogate",
    "\x1b]0;title\x07\x1b[2J",
    "&lt;script&gt; &#60;script&#62;",
    "=3Cscript=3E = =\r\n =20",
    "",
    " ",
    "x" * 3_000,
]


def hostile_everywhere(text: str) -> Any:
    line = an_alert(
        rule_id=text,
        message=text,
        scope={text: text, "host": text},
        annotations={text: text},
        links=(Link(href=text, text=text), Link(href="https://example.org/ok", text=text)),
        evidence={"said": [text]},
    )
    return a_message(
        origin=text,
        title=text,
        text=text,
        because=text,
        alerts=(line, an_alert(status=Status.RESOLVED)),
        incident=an_incident(
            id=text,
            title=text,
            rule_id=text,
            route=text,
            labels={text: text},
            acked_by=text,
            url=text,
            acked_by_name=text,
        ),
    )


class Tags(HTMLParser):
    """What a browser would make of it: tags, attributes, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attributes)))
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.said += data


def tags_of(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    return tags


@pytest.fixture(scope="module")
def harmless() -> Tags:
    return tags_of(html_body(hostile_everywhere("harmless")))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_header_no_recipient_and_no_mail(text: str) -> None:
    sink = SmtpSink()

    outcome = with_plain_sink(sink, lambda via: send(via, message=hostile_everywhere(text)))

    assert isinstance(outcome, Accepted)
    [mail] = sink.mails
    assert (mail.sender, mail.recipients) == ("tocsin@example.org", ["anna@example.org"])
    assert sink.commands.count("MAIL") == sink.commands.count("RCPT") == sink.commands.count("DATA") == 1
    expected = parsed(payload(hostile_everywhere("harmless"), a_target(), KEY, SENDER, AT))
    read = parsed(mail.content)
    assert read.keys() == expected.keys()
    assert str(read["To"]) == "anna@example.org"
    assert len(list(read.iter_parts())) == 2
    assert [inner.keys() for inner in read.iter_parts()] == [inner.keys() for inner in expected.iter_parts()]
    # Nothing steers a display, in headers as they are decoded or in bodies.
    for said in (*map(str, read.values()), part(read, "plain"), part(read, "html")):
        assert not [sign for sign in said if sign in "\x00\x07\x1b\x7f\x85\u2028\u2029\u202e\u2067"]
    assert not [value for value in map(str, read.values()) if "\r" in value or "\n" in value]
    # SMTP smuggling: the only line ends are CRLF.
    assert b"\r" not in mail.content.replace(b"\r\n", b"")
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert mail.content.isascii()


@given(st.text(st.characters(), max_size=200))  # lone surrogates too
def test_any_text_becomes_a_mail_with_the_same_headers_and_tags(text: str) -> None:
    raw = payload(hostile_everywhere(text), a_target(), KEY, SENDER, AT)

    read = parsed(raw)
    assert read.keys() == parsed(payload(hostile_everywhere("harmless"), a_target(), KEY, SENDER, AT)).keys()
    assert raw.isascii()
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert b"\r\n.\r\n" not in raw
    assert {tag for tag, _ in tags_of(part(read, "html")).found} <= {
        *("html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td"),
        *("p", "span", "h1", "b", "br", "a"),
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_makes_no_tag_and_no_attribute(text: str, harmless: Tags) -> None:
    html = html_body(hostile_everywhere(text))

    tags = tags_of(html)

    allowed = set(harmless.found) | {("a", ("href", "style")), ("br", ())}
    assert set(tags.found) <= allowed
    assert not {"script", "img", "iframe", "svg"} & {tag for tag, _ in tags.found}
    assert all(link.startswith(("http://", "https://", "mailto:")) for link in tags.links)
    assert [tag for tag, _ in tags.found].count("h1") == 1
    assert html.count("<style") == html.count("</style>") == 1


@pytest.mark.parametrize(
    ("href", "safe"),
    [
        ("https://example.org/a?b=c&d=e#f", True),
        ("http://[2001:db8::1]:8080/", True),
        ("HTTPS://EXAMPLE.ORG", True),
        ("mailto:anna@example.org", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("java\tscript:alert(1)", False),
        ("\x01https://example.org", False),
        (" https://example.org", False),
        ("data:text/html,<script>", False),
        ("vbscript:x", False),
        ("file:///etc/passwd", False),
        ("//example.org", False),
        ("https:example.org", False),
        ("https://exa mple.org", False),
        ("https://[broken", False),
        ("https://example.org/\u202egpj", False),
        ("", False),
    ],
)
def test_only_web_and_mail_links_become_links(href: str, safe: bool) -> None:
    assert is_safe_link(href) is safe
    message = a_message(incident=None, alerts=(an_alert(links=(Link(href=href, text="look"),)),))
    assert tags_of(html_body(message)).links == ([href] if safe else [])


def test_a_link_says_where_it_leads() -> None:
    alert = an_alert(links=(Link(href="https://evil.test/x", text="https://bank.test"),))

    said = tags_of(html_body(a_message(alerts=(alert,)))).said

    assert "https://bank.test (evil.test)" in said


# --- construction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "",
        "anna",
        "@example.org",
        "anna@",
        "anna@@example.org",
        "anna@exa mple.org",
        "anna@example.org\r\nBcc: eve@example.org",
        "anna@example.org\n",
        "anna@example.org\u2028",
        "anna\x00@example.org",
        "anna@example.org,eve@example.org",
        "<anna@example.org>",
        "Anna <anna@example.org>",
        '"a b"@example.org',
        "anna@[127.0.0.1]",
        ".anna@example.org",
        "an..na@example.org",
        "anna@-example.org",
        "anna@example..org",
        "ännä@example.org",
        "anna@exämple.org",
        "a" * 65 + "@example.org",
        "anna@" + "a." * 130 + "org",
    ],
)
def test_what_is_no_address_is_refused_when_the_channel_is_made(address: str) -> None:
    with pytest.raises(Invalid) as error:
        a_config(recipients=("anna@example.org", address))
    assert error.value.field == "recipients[1]"
    with pytest.raises(Invalid) as error:
        payload(a_message(), a_target(address), KEY, SENDER, AT)
    assert error.value.field == "address"


@pytest.mark.parametrize(
    "address",
    ["anna@example.org", "root@localhost", "anna+pager@x.example.org", "o'neil_1@xn--exmple-cua.org"],
)
def test_what_is_an_address_is_taken(address: str) -> None:
    assert check_address(address, field="x") == address


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"host": ""}, "host"),
        ({"host": "mail example"}, "host"),
        ({"host": "mail.example.org\r\n"}, "host"),
        ({"port": 70_000}, "port"),
        ({"port": -1}, "port"),
        ({"tls": "maybe"}, "tls"),
        ({"user": "tocsin"}, "password"),
        ({"password": "x"}, "user"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"ehlo_name": "x y"}, "ehlo_name"),
        ({"sender": "Tocsin"}, "sender"),
        ({"sender": "Tocsin\r\nBcc: e@x.org <a@example.org>"}, "sender"),
        ({"sender": 'To"csin <a@example.org>'}, "sender"),
        ({"sender": "Tocsin <a@example.org> <b@example.org>"}, "sender"),
        ({"recipients": ()}, "recipients"),
        ({"recipients": ("a@x.org", "a@x.org")}, "recipients[1]"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as error:
        a_config(**changes)
    assert error.value.field == field


def test_a_missing_authority_file_is_named() -> None:
    with pytest.raises(Invalid) as error:
        Email(a_config(ca_file="/nonexistent.pem"))
    assert error.value.field == "ca_file"


def test_starttls_on_its_port_is_the_default_and_it_is_a_channel() -> None:
    config = EmailConfig(
        name="mail", host="mail.example.org", sender=SENDER, recipients=("a@x.org", "b@x.org")
    )

    via: Channel = Email(config)

    assert config.tls == "starttls"
    assert (via.name, via.kind, via.addresses) == ("mail", "email", ("a@x.org", "b@x.org"))
    assert Email(config)._port == 587
