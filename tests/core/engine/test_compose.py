"""What a notification says."""

import pytest
from tests.support.builders import MINUTE, a_policy, an_alert
from tests.support.world import World

from tocsin.core.engine import compose
from tocsin.core.engine.route import compile_policy
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity
from tocsin.core.model.notification import Message, NotificationKind


def said(world: World, incident: int = 1, *, kind: str = "", **more) -> Message:
    """The message of the last notification. kind: as if it had been of another."""
    notified = world.events(ev.Notified)[-1]
    if kind:
        notified = ev.Notified(
            notification=1,
            id="n",
            incident=incident,
            kind=NotificationKind(kind),
            severity=notified.severity,
            change=0,
            deliveries=(),
            rule_id="disk",
            because="of a test",
        )
    live = world.incident(incident)
    members = compose.pick(world.state.members[incident], incident)
    lines = [compose.line_of(alert, an_alert(message="full", host="a"), incident) for alert in members]
    view = compose.view_of(live, "disk: full", {"host": "a"}, "https://tocsin.example.org/1")
    return compose.message(
        notified, at=world.at, origin="tests", incident=live, view=view, lines=lines, **more
    )


@pytest.mark.parametrize(
    ("group_by", "alert", "title"),
    [
        (("...",), an_alert(message="full"), "disk: full"),
        (("...",), an_alert(), "disk"),
        (("...",), an_alert(message="x" * 200), "disk: " + "x" * 153 + "…"),
        (("...",), an_alert("cpu", message="over 95 %", host="db-1"), "cpu (host=db-1): over 95 %"),
        (("...",), an_alert("cpu", message="hot", host="b", az="1"), "cpu (az=1, host=b): hot"),
        (("...",), an_alert("cpu", host="db-1"), "cpu (host=db-1)"),
        (
            ("...",),
            an_alert("cpu", message="hot", a="x" * 30, b="y" * 19, c="z"),
            f"cpu (a={'x' * 30}, b={'y' * 19}, c=z): hot",
        ),
        (
            ("...",),
            an_alert("cpu", message="hot", a="x" * 30, b="y" * 30, c="z"),
            f"cpu (a={'x' * 30}, …): hot",
        ),
        (("...",), an_alert("cpu", message="hot", a="x" * 200, b="y"), f"cpu (a={'x' * 54}…, …): hot"),
        (("team",), an_alert(message="full", team="db"), "disk (team=db)"),
        (("rule_id",), an_alert(message="full"), "disk"),
        ((), an_alert(message="full"), "disk"),
    ],
)
def test_an_incident_has_the_name_of_what_opened_it(group_by, alert, title):
    plan = compile_policy(a_policy(group_by=group_by), 1).root.plan

    assert compose.title_of(plan, alert) == title


def test_a_message_says_how_many_alerts_fire():
    world = World(a_policy(group_by=()))
    world.fire(host="a")
    assert said(world).text == "New incident. 1 alert firing."

    world.fire(host="b")
    world.fire(host="c")
    world.clear(host="b")
    world.wait(5 * MINUTE)
    assert said(world).text == "Something changed in this incident. 2 alerts firing, 1 cleared."

    world.act("ack")
    assert said(world).text == "Something changed in this incident. 2 alerts firing, 1 cleared (ACK)."


def test_a_message_says_what_silences_hide():
    world = World(a_policy())
    world.fire()

    assert said(world, silenced=1).text.endswith(" 1 silenced alert is left out.")
    assert said(world, silenced=2).text.endswith(" 2 silenced alerts are left out.")


def test_a_return_is_called_one():
    world = World(a_policy())
    world.fire()
    world.clear()
    world.fire()

    assert said(world).text == "It is back, for the 2nd time. 1 alert firing."


@pytest.mark.parametrize(
    ("generation", "times"),
    [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (22, "22nd"), (112, "112th")],
)  # fmt: skip
def test_returns_are_counted_in_english(generation, times):
    world = World(a_policy())
    world.fire()
    world.incident().generation = generation

    assert said(world).text.startswith(f"It is back, for the {times} time.")


def test_a_return_by_hand_says_whose():
    world = World(a_policy())
    world.fire()
    world.act("resolve")
    world.act("reopen", actor="token:f17f7f59")

    assert said(world, by="token:f17f7f59").text == "Reopened by token:f17f7f59. 1 alert firing."
    assert said(world, by="os:ben").text == "Reopened by ben. 1 alert firing."


@pytest.mark.parametrize(
    ("greens", "text"),
    [(2, "Over: all alerts cleared after 2 green looks."), (0, "Over: all alerts cleared.")],
)
def test_an_end_says_how_it_came(greens, text):
    world = World(a_policy(greens=2))
    world.fire()
    for _ in range(greens):
        world.wait(MINUTE)
        world.green()
    if not greens:
        world.clear()

    assert said(world).text == text


def test_an_end_by_hand_says_whose_and_what_had_not_cleared():
    world = World(a_policy(group_by=()))
    world.fire(host="a")
    world.act("resolve")
    assert said(world, by="jwt:ben").text == "Over: ben resolved it. 1 alert had not cleared."
    assert said(world).text == "Over: somebody resolved it. 1 alert had not cleared."

    world = World(a_policy(group_by=()))
    world.fire(host="a")
    world.fire(host="b")
    world.act("resolve")
    assert said(world, by="jwt:ben").text == "Over: ben resolved it. 2 alerts had not cleared."


def test_an_end_says_what_the_alert_said_that_brought_it():
    world = World(a_policy())
    world.fire()
    world.clear()

    assert (
        said(world, last_said="fine\nagain").text == "Over: all alerts cleared. The last one said: fine again"
    )
    assert len(said(world, last_said="x" * 999).text) < 300


def test_worst_and_newest_alerts_come_first_and_twenty_are_shown():
    world = World(a_policy(group_by=()))
    for number in range(23):
        world.fire("disk", "critical" if number == 7 else "warning", host=str(number))
    world.clear(host="22")

    message = said(world)
    shown = compose.pick(world.state.members[1], 1)

    assert [alert.number for alert in shown] == [8, 22, 21, *range(20, 8, -1), 7, 6, 5, 4, 3]
    assert len(message.alerts) == 20
    assert message.more == 3
    assert {line.status for line in message.alerts} == {"firing"}


def test_what_could_not_be_told_and_what_was_withheld_say_so():
    world = World(a_policy())
    world.fire()

    meta = said(world, kind="meta", failed="Nobody answered.")
    digest = said(world, kind="digest", digest="The rate limit withheld 3.")

    assert (meta.title, meta.text) == ("Could not be told: disk: full", "Nobody answered.")
    assert digest.text == "The rate limit withheld 3."


@pytest.mark.parametrize(
    ("kind", "text"), [(NotificationKind.DIGEST, "Three."), (NotificationKind.MANUAL, "Sent by hand.")]
)
def test_a_message_may_belong_to_no_incident(kind, text):
    notified = ev.Notified(
        notification=1,
        id="n",
        incident=0,
        kind=kind,
        severity=Severity.INFO,
        change=0,
        deliveries=(),
        rule_id="disk",
        because="of a test",
    )

    message = compose.message(
        notified, at=1, origin="tests", incident=None, view=None, lines=(), digest="Three."
    )

    assert (message.title, message.text, message.incident) == ("Notifications of rule disk", text, None)
