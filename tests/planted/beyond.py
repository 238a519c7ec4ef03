"""Beyond: planted bugs of what the simulator does not play: channels, outgoing connections, real stores, and days.

Each is found by tests that run anyway; here they run with the bug planted, and must fail.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch


class Bug(NamedTuple):
    """A mistake. what: what it does; tests: those that find it; says: what they say then, a regular expression."""

    plant: Callable[[], AbstractContextManager[None]]
    what: str
    says: str
    tests: tuple[str, ...]


BUGS: dict[str, Bug] = {}


def bug(what: str, *tests: str, says: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Any]]:
    """Put a bug on the list."""

    def add(plant: Callable[[], Iterator[None]]) -> Callable[[], Any]:
        planted = contextmanager(plant)
        BUGS[plant.__name__] = Bug(planted, what, says, tests)
        return planted

    return add


@bug(
    "a redirect counts as success",
    "tests/channels/test_webhook.py::test_what_an_operator_can_mend_is_tried_again",
    says=r"False = isinstance\(Delivered\(detail='HTTP 302'\), Retry\)",
)
def takes_a_redirect_for_success() -> Iterator[None]:
    from tocsin import outbound
    from tocsin.channels import webhook
    from tocsin.core.model.notification import Delivered

    def lenient(answer: Any, **more: Any) -> Any:
        if 300 <= getattr(answer, "status", 0) < 400:
            return Delivered(detail=f"HTTP {answer.status}")
        return outbound.outcome_of(answer, **more)

    with patch.object(webhook, "outcome_of", lenient):
        yield


@bug(
    "a redirect is followed, wherever it leads",
    "tests/outbound/test_outbound.py::test_a_redirect_to_ourselves_is_not_followed_either",
    says="assert 200 == 302",
)
def follows_redirects() -> Iterator[None]:
    import aiohttp

    request = aiohttp.ClientSession.request

    def follow(self: Any, *args: Any, **more: Any) -> Any:
        return request(self, *args, **{**more, "allow_redirects": True})

    with patch.object(aiohttp.ClientSession, "request", follow):
        yield


@bug(
    "one recipient that is refused is overlooked",
    "tests/channels/test_email.py::test_each_recipient_has_an_outcome_of_its_own",
    says=r"Accepted\(detail='250 Ok'\) != Refused\(why='127.0.0.1 answered 550",
)
def overlooks_a_refused_recipient() -> Iterator[None]:
    from tocsin.channels.email import Email
    from tocsin.core.model.notification import Accepted

    with patch.object(Email, "_judge", lambda self, stage, code, text: Accepted(detail="250 Ok")):
        yield


@bug(
    "a mail that is sent again is another mail (Alertmanager, P12)",
    "tests/channels/test_email.py::test_a_mail_whose_fate_is_unknown_is_sent_again_under_the_same_message_id",
    says=r"assert '<\S+>' == '<\S+>'",
)
def gives_each_mail_a_new_id() -> Iterator[None]:
    from itertools import count

    from tocsin.channels import email_body

    numbers, real = count(), email_body._dot_atom
    with patch.object(email_body, "_dot_atom", lambda text: f"{real(text)}.{next(numbers)}"):
        yield


@bug(
    "an address is checked when the name is looked up, and not when it is connected to",
    "tests/outbound/test_outbound.py::test_the_last_check_holds_by_itself_should_an_earlier_one_be_missed",
    says=r"assert 1 == 0\n.+\.connections",
)
def trusts_what_the_name_led_to() -> Iterator[None]:
    import socket

    from tocsin.outbound import Outbound

    def unchecked(self: Any, info: Any) -> socket.socket:
        made = socket.socket(family=info[0], type=info[1], proto=info[2])
        made.setblocking(False)
        return made

    with patch.object(Outbound, "_checked_socket", unchecked):
        yield


@bug(
    "how long a receiver wants to be left in peace is not capped",
    "tests/outbound/test_outcome.py::test_retry_after_is_seconds_or_a_date_and_at_most_an_hour",
    says="assert 3601 == 3600",
)
def waits_as_long_as_it_is_told() -> Iterator[None]:
    from tocsin.outbound import answers

    with patch.object(answers, "RETRY_AFTER_S_MAX", 10**9):
        yield


@bug(
    "a delivery is attempted again for ever",
    "tests/core/engine/test_telling.py::test_what_cannot_be_delivered_is_given_up_in_time_and_somebody_else_hears_of_it",
    says="Right contains one more item: 'meta'",
)
def never_gives_up() -> Iterator[None]:
    from tocsin.core.engine import deliver
    from tocsin.core.model.event import DeliveryRetried
    from tocsin.core.model.policy import HOUR

    dead = deliver._dead

    def retried(state: Any, delivery: Any, attempts: int, because: str, at: int) -> Any:
        if because == deliver.REFUSED:
            return dead(state, delivery, attempts, because, at)
        return (DeliveryRetried(delivery=delivery.number, attempts=attempts, due=at + HOUR, because=because),)

    with patch.object(deliver, "_dead", retried):
        yield


@bug(
    "a node reads the head without locking it, and decides by what another one is about to change",
    "tests/stores/test_postgres.py::test_whoever_begins_while_another_decides_waits_and_learns_what_that_one_decided",
    says="it began while another node's turn was open",
)
def reads_the_head_outside_the_lock() -> Iterator[None]:
    import psycopg

    execute = psycopg.Connection.execute

    def unlocked(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        if query == "SELECT turn FROM head FOR UPDATE":
            query = "SELECT turn FROM head"
        return execute(self, query, *args, **more)

    with patch.object(psycopg.Connection, "execute", unlocked):
        yield


@bug(
    "a commit is answered before the disk has it: FULL turned to NORMAL",
    "tests/reliability/test_power_loss.py::test_what_was_answered_survives_every_loss_of_power",
    says="were shown",
)
def does_not_wait_for_the_disk() -> Iterator[None]:
    from tocsin.stores.sqlite import SqliteStore

    prepare = SqliteStore._prepare

    def hasty(self: SqliteStore, writer: Any) -> None:
        prepare(self, writer)
        writer.execute("PRAGMA synchronous = NORMAL").fetchall()

    with patch.object(SqliteStore, "_prepare", hasty):
        yield
