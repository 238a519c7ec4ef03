"""Looks at an alert: what counts as news, what as a repeat, and when an alert is clear."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, NINE, a_policy, a_route
from tests.support.world import World

from tocsin.core.model import event as ev
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import AlertExpired, NodeStart

W1, W2 = (NINE - 2 * MINUTE, NINE - MINUTE), (NINE - MINUTE, NINE)


def a_world(**root) -> World:
    return World(a_policy(**root))


def outcomes(world: World, *looks: tuple) -> list[str]:
    return [
        getattr(world, how)(severity=severity, window=window).outcome
        if how == "fire"
        else getattr(world, how)(window=window).outcome
        for how, severity, window in looks
    ]


@pytest.mark.parametrize(
    ("looks", "last"),
    [
        ([("fire", "warning", W1), ("fire", "warning", W1)], "duplicate"),
        ([("fire", "warning", W1), ("fire", "info", W1)], "duplicate"),
        ([("fire", "warning", W1), ("fire", "error", W1)], "occurrence"),
        ([("fire", "warning", W1), ("fire", "warning", W2)], "occurrence"),
        ([("fire", "warning", W1), ("clear", "", W1)], "resolved"),
        ([("fire", "warning", W1), ("clear", "", W1), ("clear", "", W1)], "no_incident"),
        ([("fire", "warning", W1), ("clear", "", W1), ("fire", "warning", W1)], "reopened"),
        ([("fire", "warning", W1), ("clear", "", W2), ("fire", "warning", W1)], "duplicate"),
        ([("fire", "warning", W1), ("clear", "", W2), ("fire", "error", W1)], "reopened"),
        ([("fire", "warning", W2), ("clear", "", W1), ("fire", "warning", W2)], "reopened"),
        ([("fire", "warning", W1), ("clear", "", W2), ("fire", "warning", W2)], "reopened"),
        ([("fire", "warning", W1), ("green", "", W1)], "green_counted"),
        ([("fire", "warning", W1), ("green", "", W1), ("green", "", W1)], "duplicate"),
        ([("fire", "warning", W1), ("green", "", W1), ("fire", "warning", W1)], "occurrence"),
        ([("green", "", W1)], "no_incident"),
        ([("clear", "", W1)], "no_incident"),
    ],
)
def test_a_look_is_a_duplicate_if_it_says_what_was_seen(looks, last):
    assert outcomes(a_world(), *looks)[-1] == last


def test_a_duplicate_leaves_no_entry_and_is_counted_in_the_next_one():
    world = a_world()
    world.fire(window=W1)
    entries = len(world.entries)

    world.fire(window=W1)
    world.wait(MINUTE)
    world.fire(window=W1)

    assert len(world.entries) == entries
    world.fire(window=W2)
    (seen,) = world.events(ev.AlertSeen)
    assert (seen.repeats, seen.last_at) == (2, NINE + MINUTE)


@pytest.mark.parametrize("how", ["green", "clear"])
def test_a_calmer_look_carries_the_repeats_too(how):
    world = a_world()
    world.fire(window=W1)
    world.fire(window=W1)

    getattr(world, how)(window=W2)

    (event,) = world.events(ev.AlertGreen, ev.AlertCleared)
    assert (event.repeats, event.last_at) == (1, NINE)


def test_a_batch_that_says_fires_and_is_over_changes_nothing_when_it_is_sent_again():
    world = a_world()
    batch = [("fire", "warning", W1), ("clear", "", W2)]
    assert outcomes(world, *batch) == ["opened", "resolved"]
    entries, sent = len(world.entries), len(world.sent)

    assert outcomes(world, *batch) == ["duplicate", "no_incident"]

    assert (len(world.entries), len(world.sent)) == (entries, sent)


def test_sixteen_looks_are_remembered():
    world = a_world()
    windows = [(NINE - (n + 1) * MINUTE, NINE - n * MINUTE) for n in range(17)]
    for window in windows[:16]:
        world.fire(window=window)

    assert world.fire(window=windows[0]).outcome == "duplicate"
    world.fire(window=windows[16])
    assert world.fire(window=windows[0]).outcome == "occurrence"


def test_a_look_is_remembered_for_seven_days():
    world = a_world()
    world.fire(window=W1)

    world.wait(7 * DAY)
    assert world.fire(window=W1).outcome == "duplicate"

    world.wait(1)
    assert world.fire(window=W1).outcome == "occurrence"


def test_looks_are_remembered_over_the_end_of_an_incident():
    world = a_world(reopen_within=0)
    world.fire(window=W1)
    world.clear(window=W2)
    world.wait(HOUR)
    assert world.state.alerts == {}

    world.fire(window=(NINE, NINE + MINUTE))

    assert world.fire(window=W1).outcome == "duplicate"
    assert world.state.counters.alert == 1


def test_an_alert_without_scope_is_an_alert():
    world = a_world()

    assert world.fire().outcome == "opened"
    assert world.told() == ["opened"]


def test_as_many_greens_as_the_route_asks_for_clear_an_alert():
    world = a_world(greens=3)
    world.fire(host="a")

    said = []
    for _ in range(3):
        world.wait(MINUTE)
        said.append(world.green(host="a").outcome)

    assert said == ["green_counted", "green_counted", "resolved"]
    assert world.incident().auto_resolved
    assert world.incident().greens == 3
    assert world.told() == ["opened", "resolved"]


def test_greens_are_counted_for_each_scope_by_itself():
    world = a_world(greens=2, group_by=())
    world.fire(host="a")
    world.fire(host="b")

    for host in ("a", "b"):
        world.wait(MINUTE)
        assert world.green(host=host).outcome == "green_counted"
    world.wait(MINUTE)

    assert world.green(host="a").outcome == "cleared"
    assert world.incident().firing == 1


def test_a_firing_look_sets_the_greens_back():
    world = a_world(greens=2)
    world.fire()
    world.wait(MINUTE)
    world.green()
    world.wait(MINUTE)
    world.fire()
    world.wait(MINUTE)

    assert world.green().outcome == "green_counted"


def test_an_incident_ends_when_all_its_alerts_are_clear():
    world = a_world(group_by=(), group_interval=MINUTE)
    world.fire(host="a")
    world.fire(host="b")

    assert world.clear(host="a").outcome == "cleared"
    assert world.clear(host="b").outcome == "resolved"
    assert world.incident().state is IncidentState.RESOLVED
    assert world.incident().cleared == 2


def test_an_alert_expires_when_its_sender_no_longer_vouches_for_it():
    world = a_world()
    world.fire(ends_at=NINE + 4 * MINUTE)

    world.until(NINE + 4 * MINUTE - 1)
    assert world.incident().firing == 1

    world.until(NINE + 4 * MINUTE)
    assert world.incident().state is IncidentState.RESOLVED
    assert world.told() == ["opened", "resolved"]
    assert world.entries[-2].draft.kind == "expiry"


def test_a_repeat_renews_the_lease_without_an_entry():
    world = a_world()
    world.fire(window=W1, ends_at=NINE + 4 * MINUTE)
    world.wait(MINUTE)
    entries = len(world.entries)

    world.fire(window=W1, ends_at=NINE + 5 * MINUTE)

    assert len(world.entries) == entries
    world.until(NINE + 5 * MINUTE - 1)
    assert world.incident().firing == 1
    world.until(NINE + 5 * MINUTE)
    assert world.incident().firing == 0


def test_a_lease_may_become_shorter():
    world = a_world()
    world.fire(window=W1, ends_at=NINE + HOUR)
    world.fire(window=W1, ends_at=NINE + MINUTE)

    world.until(NINE + MINUTE)

    assert world.incident().firing == 0
    world.wait(2 * HOUR)
    assert len(world.events(ev.AlertCleared)) == 1


def test_without_an_end_an_alert_expires_only_if_its_route_says_so():
    never, sometime = a_world(), a_world(resolve_timeout=HOUR)
    for world in (never, sometime):
        world.fire()
        world.wait(30 * MINUTE)
        world.fire()
        world.wait(HOUR - 1)

    assert sometime.incident().firing == 1
    sometime.wait(1)
    assert sometime.incident().state is IncidentState.RESOLVED
    never.wait(30 * DAY)
    assert never.incident().firing == 1


def test_an_alert_that_came_back_after_long_still_expires():
    world = a_world()
    world.fire(ends_at=NINE + HOUR)
    world.clear()
    world.wait(2 * HOUR)  # By now it is forgotten, and its timer has come for nobody.

    world.fire(ends_at=world.at + HOUR)
    world.wait(HOUR)

    assert world.incident(2).state is IncidentState.RESOLVED


def test_leases_run_out_in_their_order_however_often_they_were_renewed():
    worlds = [a_world(), a_world()]
    for world in worlds:
        world.fire("cpu", window=W1, ends_at=NINE + 10 * MINUTE)
        world.fire("disk", window=W1, ends_at=NINE + 20 * MINUTE)
        world.fire("cpu", window=W1, ends_at=NINE + 30 * MINUTE)
    worlds[1].restart()
    for world in worlds:
        world.jump(HOUR)

    assert [[e.incident for e in world.events(ev.AlertCleared)] for world in worlds] == [[2, 1], [2, 1]]


def test_our_own_absence_resolves_nothing():
    world = a_world()
    world.fire(ends_at=NINE + 4 * MINUTE)

    world.at += HOUR
    world.feed(NodeStart(gap=HOUR))
    world.tick()

    assert world.incident().firing == 1
    world.until(NINE + 4 * MINUTE + HOUR + 5 * MINUTE - 1)
    assert world.incident().firing == 1
    world.wait(1)
    assert world.incident().firing == 0


def test_a_first_start_extends_nothing():
    world = a_world()
    world.fire(ends_at=NINE + 4 * MINUTE)
    world.fire("cpu")

    world.feed(NodeStart(gap=0))

    world.until(NINE + 4 * MINUTE)
    assert world.incident(1).firing == 0


def test_an_expiry_that_is_out_of_date_does_nothing():
    world = a_world()
    world.fire(ends_at=NINE + 4 * MINUTE)
    (alert,) = world.state.alerts.values()

    assert not world.feed(AlertExpired(id=alert.id)).drafts
    assert not world.feed(AlertExpired(id=bytes(16))).drafts


def test_an_alert_whose_text_was_erased_folds_without_it():
    world = a_world()
    world.fire(host="a")
    (alert,) = world.state.alerts.values()
    folded = World(a_policy()).state

    from tocsin.core.engine.fold import apply

    for entry in world.entries[1:]:
        for event in entry.draft.events:
            apply(folded, event, entry.at, {})

    assert folded.alerts[alert.id].scope == b""
    assert folded.incidents[1].firing == 1


def test_an_alert_may_belong_to_several_incidents_and_each_gets_its_entry():
    routes = (a_route("first", continue_=True), a_route("second", group_by=()))
    world = World(a_policy(routes=routes, greens=2))

    step = world.fire(host="a")

    assert step.incidents == ((1, "opened"), (2, "opened"))
    assert [draft.follows for draft in step.drafts] == [False, True]
    assert world.state.counters.change == 1
    world.wait(MINUTE)
    assert world.fire("disk", "critical", host="a").incidents == ((1, "occurrence"), (2, "occurrence"))
    assert [world.incident(n).severity for n in (1, 2)] == ["critical", "critical"]
    world.wait(MINUTE)
    assert world.green(host="a").incidents == ((1, "green_counted"), (2, "green_counted"))
    assert world.clear(host="a").incidents == ((1, "resolved"), (2, "resolved"))


def test_an_illegal_input_is_refused():
    with pytest.raises(TocsinError):
        a_world().act("ack", 7)
