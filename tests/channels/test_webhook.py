"""A webhook says everything in stable JSON, and proves who sent it."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError
from tests.channels.messages import AT, a_message, an_alert, an_incident
from tests.support.http_sink import HttpSink, Reply

from tocsin.channels.webhook import Webhook, WebhookConfig, headers, instant, key_of, payload
from tocsin.core.model.alert import Link
from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Delivered, DryRun, NotificationKind, Refused, Retry, Target
from tocsin.outbound import Outbound

KEY = "ab" * 32
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
TARGET = Target(id="t1", channel="hook", address="hook")


def send(*script, message=None, dry_run=False, allow_private=("127.0.0.0/8",), attempts=1, **config):
    """Send a message once (or more often) to a sink with this script; return (sink, the last outcome)."""

    async def run():
        outbound = Outbound(allow_private)
        try:
            async with HttpSink(*script) as sink:
                config.setdefault("url", sink.url("/hook/s3cret"))
                channel = Webhook(WebhookConfig(name="hook", **config), outbound)
                for attempt in range(attempts):
                    outcome = await channel.send(
                        message or a_message(), TARGET, key=KEY, at=AT + attempt * 30_000_000, dry_run=dry_run
                    )
                await channel.close()
                return sink, outcome
        finally:
            await outbound.close()

    return asyncio.run(run())


# What it says


def test_the_body_is_this_json():
    alert = an_alert(
        annotations={"runbook": "r"},
        links=(Link(href="https://x.test", text="graph"),),
        evidence={"rows": [1]},
    )

    assert json.loads(payload(a_message(alerts=(alert,), more=3), KEY)) == {
        "type": "notification.opened",
        "timestamp": "2025-11-24T09:00:00.123456Z",
        "data": {
            "notification_id": "0" * 32,
            "key": KEY,
            "origin": "tocsin.test",
            "record": "1311:5bf7e44f",
            "kind": "opened",
            "severity": "critical",
            "title": "Disk full on db-1",
            "text": "db-1 has no space left.",
            "because": "new incident",
            "more": 3,
            "incident": {
                "id": "inc1",
                "number": 1042,
                "generation": 1,
                "state": "OPEN",
                "severity": "critical",
                "title": "Disk full on db-1",
                "rule_id": "disk_full",
                "route": "default",
                "labels": {"host": "db-1"},
                "opened_at": "2025-11-24T09:00:00.123456Z",
                "updated_at": "2025-11-24T09:00:00.123456Z",
                "resolved_at": None,
                "acked_by": "",
                "acked_by_name": "",
                "firing": 1,
                "cleared": 0,
                "url": "https://tocsin.test/incidents/inc1",
            },
            "alerts": [
                {
                    "status": "firing",
                    "severity": "critical",
                    "rule_id": "disk_full",
                    "message": "disk 97 %",
                    "scope": {"host": "db-1"},
                    "window_start": "2025-11-24T08:59:00.123456Z",
                    "window_end": "2025-11-24T09:00:00.123456Z",
                    "annotations": {"runbook": "r"},
                    "links": [{"href": "https://x.test", "text": "graph"}],
                    "evidence": {"rows": [1]},
                }
            ],
        },
    }


def test_a_message_without_an_incident_says_null():
    data = json.loads(payload(a_message(kind=NotificationKind.TEST, incident=None, alerts=()), KEY))["data"]

    assert data["incident"] is None
    assert data["alerts"] == []


def test_a_thin_body_has_ids_and_states_and_nothing_that_anybody_wrote():
    message = a_message(
        title="PRIVATE", text="PRIVATE", because="PRIVATE", alerts=(an_alert(message="PRIVATE"),),
        incident=an_incident(title="PRIVATE", labels={"a": "PRIVATE"}, acked_by="PRIVATE", acked_by_name="PRIVATE"),
    )  # fmt: skip

    body = payload(message, KEY, thin=True)

    assert b"PRIVATE" not in body
    assert json.loads(body)["data"]["incident"]["number"] == 1042


any_text = st.text(st.characters() | st.characters(categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=10,
)


@example(
    text="half \ud800 pair", at=0, evidence={"a\udfff": [True, None, 2**64, -(2**70), 10**4_999, {"b": "c"}]}
)
@example(text="", at=2**70, evidence=[2**64, 10**4_999])
@given(text=any_text, at=st.integers(-(2**70), 2**70), evidence=json_values)
def test_no_message_is_lost_because_it_cannot_be_written(text, at, evidence):
    alert = an_alert(message=text, scope={text: text}, window_end=at, evidence=evidence)

    body = payload(a_message(text=text, alerts=(alert,)), KEY)

    expected = text.encode("utf-8", "replace").decode()
    assert json.loads(body)["data"]["text"] == expected


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (AT, "2025-11-24T09:00:00.123456Z"),
        (2**70, "9999-12-31T23:59:59.999999Z"),
        (-(2**70), "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_instants_are_iso_8601(at, text):
    assert instant(at) == text


# How it proves itself


def test_the_signature_is_that_of_the_specification():
    # The test vector of the Standard Webhooks 1.0.0 repository.
    found = headers(
        b'{"test": 2432232314}',
        key="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=1_614_265_330_000_000,
        keys=(key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),),
    )

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert found["webhook-timestamp"] == "1614265330"


def now():
    return int(datetime.now(UTC).timestamp() * 1_000_000)  # the published verifier looks at its own clock


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_the_published_library_accepts_either_secret_during_a_rotation(secret):
    body = payload(a_message(), KEY)
    found = headers(body, key=KEY, at=now(), keys=(key_of(SECRET), key_of(OLD_SECRET)))

    assert Verifier(secret).verify(body, found)["data"]["notification_id"] == "0" * 32


def test_the_published_library_rejects_another_body_time_id_or_secret():
    body = payload(a_message(), KEY)
    found = headers(body, key=KEY, at=now(), keys=(key_of(SECRET),))

    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    for secret, content, changed in [
        (SECRET, body + b" ", {}),
        (SECRET, body, {"webhook-id": "cd" * 32}),
        (SECRET, body, {"webhook-timestamp": str(int(found["webhook-timestamp"]) - 1)}),
        (other, body, {}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(content, found | changed)


def test_a_plain_secret_signs_with_its_utf8_bytes():
    body = b"{}"

    found = headers(body, key=KEY, at=AT, keys=(key_of("pässword"),))

    assert found["X-QNWIS-Signature"] == hmac.new("pässword".encode(), body, hashlib.sha256).hexdigest()


def test_without_a_secret_nothing_is_signed_but_the_attempt_is_named():
    sink, outcome = send()

    assert outcome == Delivered(detail="HTTP 200 OK")
    (request,) = sink.requests
    assert request.headers["webhook-id"] == KEY
    assert request.headers["webhook-timestamp"] == "1763974800"
    assert request.headers["tocsin-record"] == "tocsin.test 1311:5bf7e44f"
    assert "webhook-signature" not in request.headers
    assert "x-qnwis-signature" not in request.headers


def test_what_arrives_carries_both_signatures_of_the_bytes_that_arrived():
    sink, _ = send(secrets=(SECRET, OLD_SECRET), signature_header="X-Acme-Signature")

    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", "/hook/s3cret")
    assert request.headers["content-type"] == "application/json"
    assert (
        request.headers["x-acme-signature"] == hmac.new(bytes(range(32)), request.body, "sha256").hexdigest()
    )
    signed = f"{KEY}.1763974800.".encode() + request.body
    assert request.headers["webhook-signature"] == " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        for key in (bytes(range(32)), bytes(range(32, 64)))
    )


def test_every_attempt_has_the_same_id_and_body_and_its_own_time():
    sink, _ = send(Reply(status=500), Reply(), secrets=(SECRET,), attempts=2)

    first, second = sink.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == KEY
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 30
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_an_id_with_a_dot_is_our_mistake():
    with pytest.raises(AssertionError, match="dot"):
        headers(b"", key="a.b", at=AT, keys=())


# What comes of it


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(status=200), Delivered(detail="HTTP 200 OK")),
        (Reply(status=202), Delivered(detail="HTTP 202 Accepted")),
        (Reply(status=400), Refused(why="HTTP 400 Bad Request")),
        (Reply(status=410), Refused(why="HTTP 410 Gone")),
        (
            Reply(status=429, headers={"Retry-After": "7"}),
            Retry(why="HTTP 429 Too Many Requests", after_s=7),
        ),
        (Reply(status=500), Retry(why="HTTP 500 Internal Server Error")),
        (Reply(reset="before"), Retry(why="127.0.0.1 closed the connection before it answered.")),
        (Reply(status=200, body=b"0123456789", reset="body"), Delivered(detail="HTTP 200 OK")),
        (Reply(endless=True), Delivered(detail="HTTP 200 OK")),
    ],
)
def test_the_receivers_answer_decides(reply, outcome):
    sink, got = send(reply)

    assert got == outcome
    assert len(sink.requests) == 1


@pytest.mark.parametrize("status", [302, 404])
def test_what_an_operator_can_mend_is_tried_again(status):
    sink, outcome = send(Reply(status=status, headers={"Location": "/elsewhere"}))

    assert isinstance(outcome, Retry)
    assert len(sink.requests) == 1


def test_a_receiver_that_hangs_costs_the_configured_timeout():
    _, outcome = send(Reply(hang="before"), timeout_s=0.2)

    assert outcome == Retry(why="127.0.0.1 did not answer in time (at most 0.2 s).")


def test_a_private_receiver_is_not_reached_until_it_is_opened_and_what_is_for_it_waits():
    sink, outcome = send(allow_private=())

    assert isinstance(outcome, Retry)
    assert "outgoing.allow_private" in outcome.why
    assert sink.connections == 0


def test_a_dry_run_shows_the_body_and_touches_no_network():
    sink, outcome = send(dry_run=True, secrets=(SECRET,))

    assert isinstance(outcome, DryRun)
    assert outcome.preview.startswith("POST to 127.0.0.1, signed: {")
    assert "Disk full on db-1" in outcome.preview
    assert "s3cret" not in outcome.preview
    assert sink.connections == 0


def test_a_long_preview_is_shortened():
    _, outcome = send(dry_run=True, message=a_message(text="x" * 100_000))

    assert len(outcome.preview) < 2_200
    assert outcome.preview.endswith("characters)")


# Its configuration


def test_extra_headers_are_sent_and_cannot_replace_ours():
    sink, _ = send(extra_headers={"Authorization": "Bearer s3cret"})

    assert sink.requests[0].headers["authorization"] == "Bearer s3cret"


def test_a_configuration_shows_no_secret():
    config = WebhookConfig(
        name="hook", url="https://user:s3cret@hooks.test/s3cret?k=s3cret", secrets=("s3cret",),
        extra_headers={"Authorization": "s3cret"},
    )  # fmt: skip
    channel = Webhook(config, Outbound())

    assert repr(config) == "WebhookConfig(name='hook', host='hooks.test', secrets=1)"
    for shown in (repr(config), str(config), f"{config}", repr(channel), str(channel)):
        assert "s3cret" not in shown


def test_the_channel_reaches_one_address_its_own_name():
    channel = Webhook(WebhookConfig(name="hook", url="https://hooks.test/"), Outbound())

    assert (channel.name, channel.kind, channel.addresses) == ("hook", "webhook", ("hook",))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("url", {"url": "ftp://hooks.test/s3cret"}),
        ("url", {"url": "hooks.test/s3cret"}),
        ("url", {"url": "http://[::1/s3cret"}),
        ("secrets[0]", {"secrets": ("",)}),
        ("secrets[0]", {"secrets": ("whsec_s3cret!",)}),
        ("secrets[0]", {"secrets": ("whsec_s3cret==",)}),
        ("signature_header", {"signature_header": "X Sig"}),
        ("signature_header", {"signature_header": "X-Sig\r\nX: s3cret"}),
        ("signature_header", {"signature_header": "Webhook-Signature"}),
        ("extra_headers", {"extra_headers": {"Content-Length": "0"}}),
        ("extra_headers", {"extra_headers": {"x-qnwis-signature": "forged"}}),
        ("extra_headers", {"extra_headers": {"X-Key": "s3cret\r\nHost: evil"}}),
        ("timeout_s", {"timeout_s": 0}),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_field(field, changes):
    fields = {"name": "hook", "url": "https://hooks.test/"} | changes

    with pytest.raises(Invalid) as caught:
        Webhook(WebhookConfig(**fields), Outbound())

    assert caught.value.field == field
    if field != "signature_header":
        assert "s3cret" not in str(caught.value)
