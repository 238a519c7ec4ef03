"""A Teams card is valid, fits, cannot be abused by what it shows, and a 202 is not called a delivery."""

import asyncio
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.channels.messages import AT, a_message, an_alert, an_incident
from tests.support.http_sink import HttpSink, Reply

from tocsin.channels.teams import (
    BUDGET_BYTES,
    FITS,
    Teams,
    TeamsConfig,
    card,
    doubts,
    escape,
    outcome_of_teams,
    payload,
    safe_href,
)
from tocsin.core.model.alert import Link, Severity, Status
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DryRun,
    NotificationKind,
    Refused,
    Retry,
    Target,
)
from tocsin.outbound import Answer, Failure, FailureKind, Outbound

SCHEMA = json.loads(Path(__file__).with_name("adaptive-card-schema-1.2.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
KEY = "ab" * 32
TARGET = Target(id="t1", channel="ops", address="ops")
SECRET_PATH = "/powerautomate/automations/direct/workflows/s3cret/triggers/manual/paths/invoke?sig=s3cret"

HOSTILE = """[click](https://evil.test) **bold** _i_ ~~s~~ `code` <at>everyone</at> <script>alert(1)</script>
# heading
- item
+ item
1. one
2) two
> quote
===
    indented code
![x](https://evil.test/x.png) <https://evil.test> &lt; &#91;x {{DATE(2017-02-14T06:08:39Z, SHORT)}} \\[x](y)
\x00\x1b[31mred\x1b[0m \u202egnp.exe\u202c \ud800"""


def card_of(message):
    """The card of a message, after its whole body was held against the schema and the budget."""
    body = payload(message)
    assert len(body) <= 18 * 1024
    whole = json.loads(body)
    VALIDATOR.validate(whole)
    return whole["attachments"][0]["content"]


def texts(element):
    """All strings that Teams reads as markdown, in order."""
    match element:
        case {"type": "TextBlock", "text": text}:
            return [text]
        case {"type": "FactSet", "facts": facts}:
            return [text for fact in facts for text in (fact["title"], fact["value"])]
        case dict():
            return [text for value in element.values() for text in texts(value)]
        case list():
            return [text for value in element for text in texts(value)]
        case _:
            return []


def send(*script, message=None, dry_run=False, allow_private=("127.0.0.0/8",), timeout_s=5.0):
    """Send a message to a sink with this script; return (sink, outcome)."""

    async def run():
        outbound = Outbound(allow_private)
        try:
            async with HttpSink(*script) as sink:
                config = TeamsConfig(name="ops", url=sink.url(SECRET_PATH), timeout_s=timeout_s)
                channel = Teams(config, outbound)
                outcome = await channel.send(message or a_message(), TARGET, key=KEY, at=AT, dry_run=dry_run)
                await channel.close()
                return sink, outcome
        finally:
            await outbound.close()

    return asyncio.run(run())


# The card


def test_a_card_says_what_how_bad_why_and_where():
    found = card_of(a_message())

    said = texts(found["body"])
    assert said[:3] == ["Disk full on db-1", "CRITICAL", "db-1 has no space left."]
    assert said[said.index("Incident") + 1] == "#1042"
    assert said[said.index("Rule") + 1] == "disk\\_full"
    assert said[said.index("Opened") + 1] == "2025-11-24 09:00:00 UTC"
    assert "CRITICAL: disk 97 %" in said
    assert said[-1] == "Sent because: new incident\n\nRecord: tocsin.test 1311:5bf7e44f"
    assert found["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open incident", "url": "https://tocsin.test/incidents/inc1"}
    ]
    assert found["msteams"] == {"width": "full"}


@pytest.mark.parametrize("kind", list(NotificationKind))
@pytest.mark.parametrize("severity", list(Severity))
def test_every_kind_and_severity_is_a_valid_card(kind, severity):
    message = a_message(kind=kind, severity=severity)

    found = card_of(message)

    style = found["body"][0]["style"]
    if kind is NotificationKind.RESOLVED:
        assert style == "good"
    else:
        colours = {"critical": "attention", "error": "warning", "warning": "warning", "info": "accent"}
        assert style == colours[severity]
    assert severity.upper() in texts(found["body"])


def test_a_message_with_nothing_but_its_title_is_a_valid_card():
    found = card_of(a_message(incident=None, alerts=(), text="", because="", title="", record=""))

    assert texts(found["body"]) == ["(no title)", "CRITICAL"]
    assert "actions" not in found


def test_who_acknowledged_and_when_it_ended_is_shown():
    incident = an_incident(
        state=IncidentState.RESOLVED,
        acked_by="token:f17f7f59",
        acked_by_name="anna",
        resolved_at=AT + 60_000_000,
    )

    said = texts(card_of(a_message(kind=NotificationKind.RESOLVED, incident=incident)))

    assert said[said.index("Acknowledged by") + 1] == "anna"
    assert said[said.index("Resolved") + 1] == "2025-11-24 09:01:00 UTC"


def test_an_instant_beyond_the_calendar_does_not_lose_the_card():
    said = texts(card_of(a_message(incident=an_incident(opened_at=2**70))))

    assert said[said.index("Opened") + 1] == "unknown"


def test_alerts_that_do_not_fit_the_message_are_counted():
    assert "7 more alerts are not shown here." in texts(card_of(a_message(more=7)))


def test_a_cleared_alert_is_not_shown_as_critical():
    said = texts(card_of(a_message(alerts=(an_alert(status=Status.RESOLVED),))))

    assert "RESOLVED: disk 97 %" in said


def test_the_same_message_gives_the_same_bytes():
    labels = {f"label{n}": str(n) for n in range(20)}
    backwards = dict(reversed(labels.items()))

    one, two = (payload(a_message(incident=an_incident(labels=each))) for each in (labels, backwards))

    assert one == two


# The budget


def test_facts_are_dropped_before_text_is_cut():
    alerts = tuple(an_alert(scope={f"label{n}": "x" * 50 for n in range(20)}) for _ in range(20))
    text = "word " * 700

    found = card_of(a_message(alerts=alerts, text=text))

    said = texts(found["body"])
    assert text.strip() in said
    assert said.count("CRITICAL: disk 97 %") == 20
    assert "label3" not in said
    assert any(line.endswith("Shortened to fit Teams; the incident's page has the whole.") for line in said)


def test_a_huge_message_keeps_title_severity_link_and_says_what_is_missing():
    huge = "\\" * 100_000
    alerts = tuple(
        an_alert(
            message=huge, rule_id=huge, scope={huge: huge}, links=(Link(href="https://x.test", text=huge),)
        )
        for _ in range(20)
    )
    incident = an_incident(title=huge, rule_id=huge, labels={huge: huge}, acked_by=huge, acked_by_name=huge)

    found = card_of(a_message(title="T" + huge, text=huge, because=huge, alerts=alerts, incident=incident))

    said = texts(found["body"])
    assert said[0].startswith("T\\\\")
    assert "(99,801 more characters)" in said[0]
    assert said[1] == "CRITICAL"
    assert found["actions"][0]["url"] == incident.url


any_text = st.text(st.characters(), max_size=300) | st.builds(
    lambda text, times: text * times, st.text(st.characters(), min_size=1, max_size=8), st.integers(1, 20_000)
)


@settings(max_examples=60, deadline=None)
@given(
    title=any_text, text=any_text, because=any_text, message=any_text, name=any_text, href=any_text,
    alerts=st.integers(0, 20), severity=st.sampled_from(Severity), at=st.integers(-(2**70), 2**70),
)  # fmt: skip
def test_every_message_is_a_valid_card_within_the_budget(
    title, text, because, message, name, href, alerts, severity, at
):
    lines = (an_alert(message=message, scope={name: text}, links=(Link(href=href, text=name),)),) * alerts
    incident = an_incident(
        labels={name: message}, rule_id=name, acked_by=name, acked_by_name=name, opened_at=at
    )

    found = card_of(
        a_message(title=title, text=text, because=because, alerts=lines, severity=severity, incident=incident)
    )

    assert found["actions"][0]["url"] == incident.url
    assert severity.upper() in texts(found["body"])[1]


def test_the_smallest_fit_leaves_room_for_the_worst_characters():
    worst = "\\" * 5_000
    incident = an_incident(
        labels={worst: worst},
        rule_id=worst,
        acked_by=worst,
        acked_by_name=worst,
        url="https://t.test/" + "a" * 1_900,
        resolved_at=AT,
    )
    message = a_message(title=worst, text=worst, because=worst, alerts=(an_alert(),) * 20, incident=incident)

    assert len(json.dumps(card(message, FITS[-1]), ensure_ascii=False).encode()) < BUDGET_BYTES - 1_000


# Untrusted text


def test_hostile_text_is_shown_and_never_obeyed():
    alert = an_alert(message=HOSTILE, scope={HOSTILE: HOSTILE})
    incident = an_incident(
        labels={HOSTILE: HOSTILE}, acked_by=HOSTILE, acked_by_name=HOSTILE, rule_id=HOSTILE
    )

    found = card_of(
        a_message(title=HOSTILE, text=HOSTILE, because=HOSTILE, alerts=(alert,), incident=incident)
    )

    for text in texts(found["body"]):
        bare = re.sub(r"\\[^\n]", "x", text)  # what is left when everything escaped is taken for a letter
        assert not re.search(r"[*_`\[\]~]|<[a-z/!]|\{\{|&#?\w+;", bare), text
        assert not re.search(r"^( *[-+#] | *>| *---| *\d+[.)] |    )", bare, re.MULTILINE), text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e\ud800-\udfff]", text), text
    assert "entities" not in found["msteams"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("disk 97 % on db-1.example.com (was 3.5)", "disk 97 % on db-1.example.com (was 3.5)"),
        ("snake_case *x* [a](b)", r"snake\_case \*x\* \[a\](b)"),
        ("a < b && c > d", "a < b && c > d"),
        ("<b>", r"\<b>"),
        ("&lt;", r"\&lt;"),
        ("- a\n1. b\n12) c\n# d\n> e", "\\- a\n\n1\\. b\n\n12\\) c\n\n\\# d\n\n\\> e"),
        ("{{DATE(x)}} {a}", r"\{\{DATE(x)}} {a}"),
        ("a\\", "a\\\\"),
        ("-5 degrees\n#1042\n3.5 GB", "-5 degrees\n\n#1042\n\n3.5 GB"),
        ("---\n##\n-", "\\---\n\n\\##\n\n\\-"),
        ("x:\n    y", "x:\n\n\u00a0\u00a0\u00a0\u00a0y"),
    ],
)
def test_text_is_escaped_where_markdown_would_obey_it_and_left_alone_elsewhere(text, escaped):
    assert escape(text) == escaped


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/passwd", "mailto:a@b.test",
        "vbscript:x", "//evil.test/", "/path", "", "https://", "http:evil.test", "https://good.test@evil.test/",
        "https://good.test\\@evil.test/", "https://evil.test/\r\nX: y", "https://evil.test/a b", "http://[::1",
        "https://еvil.test/", "https://evil.test/\u202e", "ms-appinstaller:?source=https://evil.test",
        "https://x.test/" + "a" * 2_000, 'https://x.test/">', "java\nscript:alert(1)",
    ],
)  # fmt: skip
def test_a_link_that_is_not_plain_http_becomes_no_button(href):
    assert safe_href(href) is None

    alert = an_alert(links=(Link(href=href, text="click"),))
    titles = [button["title"] for button in card_of(a_message(alerts=(alert,)))["actions"]]
    assert titles == ["Open incident"]


def test_plain_links_become_buttons_once_each_and_few():
    links = tuple(Link(href=f"https://x.test/{n % 5}?a=b#c", text=f"graph {n}") for n in range(10))

    found = card_of(a_message(alerts=(an_alert(links=links),)))

    titles = [button["title"] for button in found["actions"]]
    assert titles == ["Open incident", "graph 0", "graph 1", "graph 2"]


# The answer


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=202), Accepted(detail="HTTP 202 Accepted")),
        (Answer(status=200), Accepted(detail="HTTP 200 OK")),
        (Answer(status=200, body=b"1"), Accepted(detail="HTTP 200 OK")),
        (
            Answer(status=200, body=b'{"ok": true, "messageId": "1700000000001"}'),
            Delivered(detail="message 1700000000001"),
        ),
        (Answer(status=200, body=b'{"ok": true}'), Delivered(detail="The flow says that it has posted.")),
        (
            Answer(status=200, body=b'{"ok": true, "messageId": "<script>"}'),
            Delivered(detail="The flow says that it has posted."),
        ),
        (
            Answer(status=200, body=b'{"ok": false}'),
            Retry(why="The flow ran, but says that its post failed. Look at its run history."),
        ),
        (
            Answer(
                status=200,
                retry_after="9",
                body=b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error"
                b" 429 with ContextId tcid=0",
            ),
            Retry(why="HTTP 429 Too Many Requests, inside an HTTP 200", after_s=9),
        ),
        (
            Answer(status=200, body=b"... Microsoft Teams endpoint returned HTTP error 413 with ContextId"),
            Refused(why="HTTP 413 Request Entity Too Large, inside an HTTP 200"),
        ),
        (
            Answer(status=200, body=b"returned HTTP error 200"),
            Retry(why="An error inside an HTTP 200"),
        ),
        (Answer(status=429, retry_after="30"), Retry(why="HTTP 429 Too Many Requests", after_s=30)),
        (
            Answer(status=412, retry_after="3"),
            Retry(why="HTTP 412 Precondition Failed", after_s=3),
        ),
        (Answer(status=502), Retry(why="HTTP 502 Bad Gateway")),
        (Answer(status=400), Refused(why="HTTP 400 Bad Request")),
        (Answer(status=410), Refused(why="HTTP 410 Gone")),
        (Failure(kind=FailureKind.TIMEOUT, why="slow"), Retry(why="slow")),
    ],
)
def test_a_202_is_accepted_and_only_the_flow_itself_can_say_delivered(answer, outcome):
    assert outcome_of_teams(answer, at=AT) == outcome


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": ' + b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"ok": true, "messageId": "\xff"}',
        b"\xff\xfe{",
        b"[" * 60_000,
    ],
    ids=["deep beside", "deep", "no UTF-8", "UTF-16", "deep list"],
)
def test_an_answer_that_cannot_be_read_is_a_2xx_and_no_mistake_of_ours(body):
    assert isinstance(outcome_of_teams(Answer(status=200, body=body), at=AT), Accepted)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_flow_that_was_switched_off_may_be_switched_on_again(status):
    assert isinstance(outcome_of_teams(Answer(status=status), at=AT), Retry)


# Over the wire


def test_what_arrives_is_the_card_with_the_deliverys_key():
    sink, outcome = send(Reply(status=202))

    assert outcome == Accepted(detail="HTTP 202 Accepted")
    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", SECRET_PATH)
    assert request.body == payload(a_message())
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == KEY


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=302, headers={"Location": "http://169.254.169.254/"}), Retry),
        (Reply(status=400), Refused),
        (Reply(status=404), Retry),
        (Reply(status=410), Refused),
        (Reply(status=429, headers={"Retry-After": "5"}), Retry),
        (Reply(status=500), Retry),
        (Reply(hang="before"), Retry),
        (Reply(reset="before"), Retry),
        (Reply(status=202, body=b"0123456789", reset="body"), Accepted),
        (Reply(endless=True), Accepted),
        (Reply(raw=b"\x16\x03garbage\r\n\r\n"), Retry),
    ],
)
def test_whatever_happens_is_an_outcome_that_does_not_hold_the_url(reply, kind):
    sink, outcome = send(reply, timeout_s=0.5)

    assert isinstance(outcome, kind)
    assert "s3cret" not in repr(outcome)
    assert len(sink.requests) == 1


def test_a_private_address_is_not_reached_until_it_is_opened_and_the_url_is_not_said():
    sink, outcome = send(allow_private=())

    assert isinstance(outcome, Retry)
    assert "s3cret" not in outcome.why
    assert sink.connections == 0


def test_a_dry_run_shows_the_card_and_touches_no_network():
    sink, outcome = send(dry_run=True)

    assert isinstance(outcome, DryRun)
    assert "Disk full on db-1" in outcome.preview
    assert "s3cret" not in outcome.preview
    assert sink.connections == 0


# Its configuration


@pytest.mark.parametrize(
    "url",
    [
        "https://contoso.webhook.office.com/webhookb2/s3cret/IncomingWebhook/s3cret",
        "https://CONTOSO.WEBHOOK.OFFICE.COM./webhookb2/s3cret",
        "https://webhook.office.com/s3cret",
        "https://outlook.office.com/webhook/s3cret",
        "https://outlook.office365.com/webhook/s3cret",
    ],
)
def test_a_connectors_url_is_refused_with_the_way_out(url):
    with pytest.raises(Invalid, match="Workflows") as caught:
        Teams(TeamsConfig(name="ops", url=url), Outbound())

    assert caught.value.field == "url"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("url", {"url": ""}),
        ("url", {"url": "ftp://s3cret"}),
        ("url", {"url": "https://[s3cret"}),
        ("timeout_s", {"timeout_s": 0}),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_field(field, changes):
    with pytest.raises(Invalid) as caught:
        Teams(TeamsConfig(**{"name": "ops", "url": "https://flow.test/"} | changes), Outbound())

    assert caught.value.field == field
    assert "s3cret" not in str(caught.value)


def test_no_host_is_prescribed_but_an_old_one_is_doubted():
    new = TeamsConfig(name="ops", url=f"https://x.environment.api.powerplatform.com:443{SECRET_PATH}")
    old = TeamsConfig(name="ops", url=f"https://prod-1.westeurope.logic.azure.com:443{SECRET_PATH}")
    plain = TeamsConfig(name="ops", url=f"http://relay.corp.test{SECRET_PATH}")

    for config in (new, old, plain):
        Teams(config, Outbound())
    assert doubts(new) == ()
    assert "30 November 2025" in doubts(old)[0]
    assert "in the clear" in doubts(plain)[0]
    assert "s3cret" not in repr((doubts(old), doubts(plain)))


def test_a_configuration_shows_no_secret():
    config = TeamsConfig(name="ops", url=f"https://flow.test{SECRET_PATH}")
    channel = Teams(config, Outbound())

    for shown in (repr(config), str(config), f"{config}", repr(channel), str(channel)):
        assert "s3cret" not in shown
    assert (channel.name, channel.kind, channel.addresses) == ("ops", "teams", ("ops",))
