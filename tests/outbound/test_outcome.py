"""What an answer means for a delivery: success is 2xx, and everything else says whether to come back."""

import pytest

from tocsin.core.model.notification import Accepted, Delivered, Refused, Retry
from tocsin.outbound import Answer, Failure, FailureKind, outcome_of, retry_after_s

AT = 1_445_412_480_000_000  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success(status):
    assert isinstance(outcome_of(Answer(status=status), at=AT), Delivered)
    assert isinstance(outcome_of(Answer(status=status), at=AT, accepted=True), Accepted)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
def test_3xx_is_a_failure_that_may_pass(status):
    outcome = outcome_of(Answer(status=status, location="http://169.254.169.254/"), at=AT)

    assert isinstance(outcome, Retry)
    assert "redirect not followed" in outcome.why
    assert "169.254" not in outcome.why


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 501, 502, 503, 504, 599, 199, 101])
def test_what_may_heal_is_tried_again(status):
    assert isinstance(outcome_of(Answer(status=status), at=AT), Retry)


@pytest.mark.parametrize(
    "status", [400, 402, 405, 406, 409, 410, 411, 412, 413, 414, 415, 422, 431, 451, 499]
)
def test_what_cannot_heal_is_refused(status):
    assert isinstance(outcome_of(Answer(status=status), at=AT), Refused)


def test_the_status_is_said_in_words_and_the_body_is_not_quoted():
    answer = Answer(status=503, body=b"your key was s3cret", retry_after="120")

    assert outcome_of(answer, at=AT) == Retry(why="HTTP 503 Service Unavailable", after_s=120)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (FailureKind.DNS, Retry(why="said so")),
        (FailureKind.CONNECT, Retry(why="said so")),
        (FailureKind.TLS, Retry(why="said so")),
        (FailureKind.TIMEOUT, Retry(why="said so")),
        (FailureKind.RESET, Retry(why="said so")),
        (FailureKind.PROTOCOL, Retry(why="said so")),
        (FailureKind.FORBIDDEN, Retry(why="said so")),
        (FailureKind.INVALID_URL, Refused(why="said so")),
    ],
)
def test_networks_heal_and_a_closed_address_can_be_opened_but_a_url_that_is_none_stays_none(kind, outcome):
    assert outcome_of(Failure(kind=kind, why="said so"), at=AT) == outcome


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("3600", 3600),
        ("3601", 3600),
        ("9" * 5_000, 3600),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:27:30 GMT", 0),
        ("Wed, 21 Oct 2015 09:28:00 GMT", 3600),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30),
        ("Wed Oct 21 07:28:30 2015", 30),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(value, seconds):
    assert retry_after_s(value, at=AT) == seconds
