"""Routes: which incidents an alert belongs to, under which plan, and which policies are refused."""

import msgspec
import pytest
from tests.support.builders import HOUR, MINUTE, a_policy, a_route, a_target, an_alert
from tests.support.world import ID_KEY, World

from tocsin.core.engine.route import compile_policy, group_labels, incident_key, plans_for
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import Policy, RateLimit, Retries
from tocsin.intake.native import received

TREE = (
    a_route(
        "db",
        "team=db",
        routes=(
            a_route("db-page", "severity=critical", continue_=True, group_wait=0),
            a_route("db-log", "rule_id!=quiet", group_by=("rule_id",)),
        ),
    ),
    a_route("web", "team=~web|shop", continue_=True),
    a_route("all-info", "severity=info"),
)


@pytest.mark.parametrize(
    ("alert", "names"),
    [
        (an_alert(team="db"), ["db-log"]),
        (an_alert("quiet", team="db"), ["db"]),  # No child takes it: the node itself does.
        (an_alert("quiet", "critical", team="db"), ["db-page"]),
        (an_alert("disk", "critical", team="db"), ["db-page", "db-log"]),
        (an_alert(team="web"), ["web"]),
        (an_alert("disk", "info", team="shop"), ["web", "all-info"]),
        (an_alert(team="webshop"), ["default"]),
        (an_alert(), ["default"]),
    ],
)
def test_an_alert_takes_the_first_way_down_and_others_where_it_may_continue(alert, names):
    plans = compile_policy(a_policy(routes=TREE), 1)

    assert [plan.name for plan in plans_for(plans, alert)] == names


def test_what_a_route_leaves_out_is_as_its_parent_has_it():
    routes = (a_route("a", group_wait=MINUTE, routes=(a_route("b", greens=7, channels=("webhook",)),)),)
    plans = compile_policy(a_policy("anna", "ops@webhook", repeat_interval=HOUR, routes=routes), 1)

    below = plans.by_name["b"]

    assert (below.repeat_interval, below.group_wait, below.greens) == (HOUR, MINUTE, 7)
    assert below.group_by == ("...",)
    assert below.targets == (a_target("ops@webhook"),)
    assert [target.id for target in plans.by_name["a"].targets] == ["anna", "ops"]


def test_a_channel_that_is_named_twice_tells_once():
    plans = compile_policy(a_policy(channels=("email", "email")), 1)

    assert plans.root.plan.targets == (a_target("anna"),)


@pytest.mark.parametrize(
    ("group_by", "one", "other", "same"),
    [
        (("...",), an_alert(host="a"), an_alert(host="b"), False),
        (("...",), an_alert("disk", host="a"), an_alert("cpu", host="a"), False),
        (("...",), an_alert("disk", "info", host="a"), an_alert("disk", "error", host="a"), True),
        ((), an_alert("disk", host="a"), an_alert("cpu", host="b"), True),
        (("team",), an_alert(team="x", host="a"), an_alert("cpu", team="x", host="b"), True),
        (("team",), an_alert(team="x"), an_alert(team="y"), False),
        (("team",), an_alert(host="a"), an_alert(host="b"), True),  # Absent in both.
        (("team",), an_alert(host="a"), an_alert(team="", host="a"), False),
        (("rule_id",), an_alert("disk"), an_alert("cpu"), False),
        (("severity",), an_alert("disk", "info"), an_alert("cpu", "info"), True),
        (("host", "team"), an_alert(host="a", team="b"), an_alert(host="b", team="a"), False),
    ],
)
def test_a_group_is_what_its_labels_hold_together(group_by, one, other, same):
    plan = compile_policy(a_policy(group_by=group_by), 1).root.plan

    keys = [incident_key(plan, alert, received(alert).fingerprint, ID_KEY) for alert in (one, other)]

    assert (keys[0] == keys[1]) == same


def test_the_order_of_routes_and_labels_keys_nothing_anew():
    alert = an_alert(team="x", host="a")
    routes = (a_route("one", "team=y"), a_route("two", group_by=("team", "host")))
    again = (a_route("two", group_by=("host", "team", "host")), a_route("one", "team=y"))

    plans = [compile_policy(a_policy(routes=r), n).by_name["two"] for n, r in enumerate((routes, again))]

    assert len({incident_key(plan, alert, b"", ID_KEY) for plan in plans}) == 1
    assert group_labels(plans[0], alert) == {"host": "a", "team": "x"}


def test_labels_of_a_group_are_those_that_are_there():
    every = compile_policy(a_policy(), 1).root.plan
    some = compile_policy(a_policy(group_by=("rule_id", "team")), 1).root.plan

    assert group_labels(every, an_alert(host="a")) == {"host": "a"}
    assert group_labels(some, an_alert(host="a")) == {"rule_id": "disk"}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (a_policy(name=""), "empty or used twice"),
        (a_policy(routes=(a_route("a"), a_route("a"))), "empty or used twice"),
        (a_policy(channels=("pigeon",)), "'pigeon', which is not configured"),
        (a_policy(routes=(a_route("a", "x=~("),)), "not a regular expression"),
        (a_policy(matchers=(a_route("a", "x=1").matchers)), "takes every alert"),
        (a_policy(continue_=True), "takes every alert"),
        (a_policy("anna", "anna@webhook"), "used twice"),
        (a_policy(group_wait=-1), "negative group_wait"),
        (a_policy(repeat_interval=0), "repeat_interval 0"),
        (a_policy(greens=0), "greens 0"),
        (a_policy(retries=Retries(steps=())), "at least one step"),
        (a_policy(retries=Retries(steps=(0,))), "at least one step"),
        (a_policy(rate_limit=RateLimit(limit=-1)), "rate limit"),
        (a_policy(rate_limit=RateLimit(window=0)), "rate limit"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_and_the_old_one_stays(policy: Policy, message):
    world = World(a_policy())
    entries = len(world.entries)

    with pytest.raises(Invalid, match=message):
        world.adopt(policy)

    assert len(world.entries) == entries
    assert world.state.plans.version == 1


def test_a_policy_that_is_adopted_decides_from_then_on():
    world = World(a_policy())
    world.adopt(a_policy("ben"))

    world.fire()

    assert world.told("ben") == ["opened"]
    assert msgspec.structs.asdict(world.incident())["policy"] == 2
