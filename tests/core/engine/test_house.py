"""House: what people ask for beside single incidents: bulk actions, deliveries again, silences moved, tokens."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, a_matcher, a_policy
from tests.support.world import World, delivers, hangs

from tocsin.core.engine import suppress
from tocsin.core.model import event as ev
from tocsin.core.model.access import Permission, Role, Token
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.input import (
    AccessDenied,
    Action,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    Denial,
    SilenceMoved,
    SilenceRequested,
    StoreRestored,
    TokenCut,
    TokenIssued,
)
from tocsin.core.model.notification import DeliveryState, Refused, Retry
from tocsin.core.model.policy import RateLimit


def a_quiet_world(**more) -> World:
    return World(a_policy(), **more)


def a_world(**root) -> World:
    world = World(a_policy(**root))
    world.fire()
    return world


# Incidents that are over


def over(**more) -> World:
    world = a_world(**more)
    world.clear()
    world.wait(2 * HOUR)
    assert world.state.incidents == {}
    return world


def test_an_incident_that_is_long_over_can_be_reopened_and_its_alert_is_known_again():
    world = over()

    assert world.act("reopen").outcome == "changed"

    assert world.incident().generation == 2
    assert [alert.incidents for alert in world.state.members[1]] == [(1,)]
    assert world.fire().incidents == ((1, "joined"),)


@pytest.mark.parametrize("action", ["note", "resolve"])
def test_a_note_on_an_incident_that_is_long_over_is_recorded_and_forgotten_again(action):
    world = over()

    world.act(action, note="the disk was replaced")

    assert world.entries[-1].draft.incident == 1
    assert world.entries[-1].draft.private == {"note": "the disk was replaced"}
    world.wait(MINUTE)
    assert world.state.incidents == {}
    assert world.state.alerts == {}


def test_one_whose_place_a_newer_one_has_taken_takes_a_note_but_stays_over():
    world = over()
    world.fire()
    assert world.incident(2).state == "OPEN"

    with pytest.raises(Conflict, match="#2 has taken its place"):
        world.act("reopen", 1)
    assert 1 not in world.state.incidents
    world.act("note", 1, note="see #2")

    world.wait(MINUTE)
    assert list(world.state.incidents) == [2]
    assert [alert.incidents for alert in world.state.members[2]] == [(2,)]


def test_the_first_acknowledgement_since_it_opened_is_remembered():
    world = a_world()
    world.wait(MINUTE)
    world.act("ack")
    first = world.at
    world.act("unack")
    world.wait(MINUTE)
    world.act("ack")
    assert world.incident().acked_at == first

    world.act("resolve")
    world.act("reopen")

    assert world.incident().acked_at == 0


# Bulk


def test_a_bulk_action_is_one_entry_and_one_for_each_incident_that_changes():
    world = a_world()
    world.fire("cpu")
    world.fire("net")
    world.act("resolve", 3)
    entries = len(world.entries)

    step = world.feed(BulkActed(action=Action.ACK, incidents=(1, 2, 3, 9), note="mine"), actor="ben")

    assert step.incidents == ((1, "changed"), (2, "changed"), (3, "conflict"), (9, "not_found"))
    drafts = [entry.draft for entry in world.entries[entries:]]
    assert [(d.kind, d.incident, d.follows, d.private) for d in drafts] == [
        ("bulk", 0, False, {}),
        ("action", 1, True, {"note": "mine"}),
        ("action", 2, True, {"note": "mine"}),
    ]
    assert drafts[0].events[0].count == 2
    assert [world.incident(n).acked_by for n in (1, 2, 3)] == ["ben", "ben", ""]


def test_a_bulk_action_that_changes_nothing_leaves_no_entry():
    world = a_world()
    world.act("ack")
    entries = len(world.entries)

    step = world.feed(BulkActed(action=Action.ACK, incidents=(1, 7)))

    assert (step.outcome, step.incidents) == ("unchanged", ((1, "unchanged"), (7, "not_found")))
    assert len(world.entries) == entries


def test_each_incident_of_a_bulk_resolution_is_told_once():
    world = a_quiet_world()
    for rule in ("disk", "cpu", "net"):
        world.fire(rule)

    world.feed(BulkActed(action=Action.RESOLVE, incidents=(1, 2, 3)))

    assert world.told() == ["opened"] * 3 + ["resolved"] * 3
    world.wait(DAY)
    assert len(world.told()) == 6


# Silences


def test_a_silence_can_be_given_a_later_or_an_earlier_end():
    world = a_quiet_world()
    world.silence("rule_id=disk", lasting=HOUR)
    world.fire("disk")

    world.feed(SilenceMoved(silence=1, ends_at=world.at + 3 * HOUR))
    world.wait(2 * HOUR)
    assert world.told() == []
    world.feed(SilenceMoved(silence=1, ends_at=world.at + 10 * MINUTE))
    world.wait(11 * MINUTE)

    assert world.told() == ["opened"]
    assert len(world.events(ev.SilenceEnded)) == 1
    with pytest.raises(NotFound):
        world.feed(SilenceMoved(silence=1, ends_at=world.at + HOUR))


def test_an_end_that_has_passed_is_refused():
    world = a_world()
    world.silence("rule_id=disk", after=HOUR, lasting=HOUR)

    with pytest.raises(Invalid, match="lies in the past"):
        world.feed(SilenceMoved(silence=1, ends_at=world.at))
    with pytest.raises(Invalid, match="before it starts"):
        world.feed(SilenceMoved(silence=1, ends_at=world.at + MINUTE))


@pytest.mark.parametrize(
    ("matchers", "everything"),
    [
        ("", True),
        ("rule_id=~.*", True),
        ("rule_id=~.+", True),
        ("rule_id=~.+ severity=~info|warning|error|critical", True),
        ("severity!=debug", True),
        ("host=~.*", True),
        ("host!=db-1", True),
        ("host=", False),
        ("host=~.+", False),
        ("rule_id=disk", False),
        ("severity=~info|warning|error", False),
        ("rule_id=~.* host=db-1", False),
        ("rule_id=~disk.*", False),
    ],
)
def test_matchers_that_ask_for_nothing_are_refused_unless_somebody_insists(matchers, everything):
    world = a_world()
    asked = tuple(a_matcher(text) for text in matchers.split())
    wanted = SilenceRequested(matchers=asked, starts_at=world.at, ends_at=world.at + HOUR)

    assert suppress.covers_everything(asked) is everything
    if everything:
        with pytest.raises(Invalid, match="every alert"):
            world.feed(wanted)
        world.feed(SilenceRequested(matchers=asked, starts_at=world.at, ends_at=world.at + HOUR, forced=True))
    else:
        world.feed(wanted)

    assert len(world.state.silences) == 1


# Deliveries


def dead() -> World:
    world = a_quiet_world(answers=lambda *_: Refused(why="410"))
    world.fire()
    assert [e.state for e in world.events(ev.DeliveryEnded)] == ["dead"]
    return world


def test_a_dead_delivery_is_attempted_again_under_its_key():
    world = dead()
    (first,) = world.events(ev.Notified)[0].deliveries
    world.answers = delivers

    assert world.feed(DeliveryRetryAsked(delivery=1), actor="ben").outcome == "changed"

    (revived,) = world.events(ev.DeliveryRevived)
    assert (revived.key, revived.was, revived.because) == (first.key, "dead", "ben asked for it")
    assert [(sent.delivery, sent.attempt) for sent in world.sent] == [(1, 1), (1, 2)]
    assert [e.state for e in world.events(ev.DeliveryEnded)] == ["dead", "delivered"]


def test_one_that_was_told_is_told_again_only_if_forced():
    world = a_quiet_world()
    world.fire()

    with pytest.raises(Conflict, match="it was told") as refused:
        world.feed(DeliveryRetryAsked(delivery=1))
    assert refused.value.state == DeliveryState.DELIVERED
    world.feed(DeliveryRetryAsked(delivery=1, forced=True))

    assert [(sent.delivery, sent.attempt) for sent in world.sent] == [(1, 1), (1, 2)]


def test_one_that_waits_is_attempted_now_and_one_that_is_on_the_wire_is_not():
    world = a_quiet_world(answers=lambda *_: Retry(why="503"))
    world.fire()
    world.wait(MINUTE)
    waiting = world.state.deliveries[1]
    attempts = len(world.sent)

    assert world.feed(DeliveryRetryAsked(delivery=1)).outcome == "changed"

    assert len(world.sent) == attempts + 1
    assert waiting.attempts == attempts + 1
    world.answers = hangs
    world.until(world.state.deliveries[1].due)
    with pytest.raises(Conflict, match="under way"):
        world.feed(DeliveryRetryAsked(delivery=1))


def test_one_whose_incident_is_long_over_is_linked_to_it_all_the_same():
    world = dead()
    world.clear()
    world.wait(DAY)
    assert world.state.incidents == {}
    world.answers = delivers

    world.feed(DeliveryRetryAsked(delivery=1))

    asked = [entry.draft for entry in world.entries if entry.draft.kind == "delivery"]
    assert [(draft.incident, draft.actor) for draft in asked] == [(1, "anna")]
    assert world.sent[-1].delivery == 1


def test_whoever_gives_a_delivery_up_says_why():
    world = a_quiet_world(answers=lambda *_: Retry(why="503"))
    world.fire()
    attempts = len(world.sent)

    world.feed(DeliveryDiscardAsked(delivery=1, reason="the office is closed"))

    assert world.entries[-1].draft.private == {"note": "the office is closed"}
    assert world.state.deliveries == {}
    world.wait(HOUR)
    assert len(world.sent) == attempts


def test_a_dead_one_can_be_given_up_and_that_is_said_only_once():
    world = dead()

    assert world.feed(DeliveryDiscardAsked(delivery=1, reason="known")).outcome == "changed"
    assert world.feed(DeliveryDiscardAsked(delivery=1, reason="known")).outcome == "unchanged"

    assert [e.state for e in world.events(ev.DeliveryEnded)] == ["dead", "discarded"]
    assert world.feed(DeliveryRetryAsked(delivery=1)).outcome == "changed"


def test_what_is_no_delivery_is_not_found():
    world = dead()

    for asked in (DeliveryRetryAsked(delivery=99), DeliveryDiscardAsked(delivery=99, reason="?")):
        with pytest.raises(NotFound, match="no delivery 99"):
            world.feed(asked)


# The rate window says which one it is


def test_a_notification_says_which_one_of_its_rate_window_it_is():
    world = a_world()
    assert world.events(ev.Notified)[0].charge == 0

    world = World(a_policy(rate_limit=RateLimit(limit=2)))
    for host in "abc":
        world.fire(host=host)

    assert [(e.charged, e.charge) for e in world.events(ev.Notified)] == [("disk", 1), ("disk", 2)]


# What is only recorded


def test_a_token_is_recorded_without_its_hash():
    world = a_world()
    token = Token(
        id="7f3a",
        name="deploy bot",
        role=Role.SERVICE,
        hash="c0ffee",
        created_at=world.at,
        scopes=(Permission.SEND,),
    )

    world.feed(TokenIssued(token=token))
    world.feed(TokenCut(token="7f3a"))

    issued, cut = world.entries[-2:]
    assert issued.draft.private == {"name": "deploy bot"}
    assert b"c0ffee" not in issued.decision + issued.private
    assert (issued.draft.events[0].scopes, cut.draft.events[0].token) == (("send",), "7f3a")


def test_whoever_is_turned_away_is_recorded_with_the_address_apart():
    world = a_world()

    world.feed(
        AccessDenied(reason=Denial.PERMISSION, count=3, client="192.0.2.7", permission=Permission.SILENCE),
        actor="token:7f3a",
    )

    entry = world.entries[-1]
    assert (entry.draft.kind, entry.draft.actor) == ("access", "token:7f3a")
    assert entry.draft.private == {"client": "192.0.2.7"}
    assert b"192.0.2.7" not in entry.decision


def test_a_restored_store_is_recorded():
    world = a_world()

    world.feed(StoreRestored(size=5, made_at=world.at - DAY))

    (back,) = world.events(ev.StorePutBack)
    assert (back.size, back.made_at) == (5, world.at - DAY)
