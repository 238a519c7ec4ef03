"""The difference between two policies: said once, where it is, and never none where there is one."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders import HOUR, MINUTE, a_policy, a_route, a_target

from tocsin.core.engine.policy_diff import changes, plain
from tocsin.core.model.policy import Change, Policy, RateLimit, Retries, Route, policy_digest


def said(before: Policy, after: Policy) -> list[tuple[str, object, object]]:
    return [(change.path, change.before, change.after) for change in changes(before, after)]


def test_a_single_setting_is_one_change():
    before = a_policy(rate_limit=RateLimit(limit=10))
    after = a_policy(rate_limit=RateLimit(limit=20))

    assert changes(before, after) == [Change(path="rate_limit.limit", before=10, after=20)]


def test_a_rate_limit_that_goes_is_shown_whole():
    assert said(a_policy(rate_limit=RateLimit(window=HOUR)), a_policy()) == [
        (
            "rate_limit",
            {"limit": 10, "window": HOUR, "digest_after": 5 * MINUTE, "digest_interval": 30 * MINUTE},
            None,
        )
    ]


def test_routes_in_another_order_are_a_move_and_nothing_else():
    db, web = a_route("db", "team=db", group_wait=MINUTE), a_route("web", "team=web")

    assert said(a_policy(routes=(db, web)), a_policy(routes=(web, db))) == [
        ("routes[default].routes", ["db", "web"], ["web", "db"])
    ]


def test_a_route_that_moves_below_another_keeps_its_settings():
    db, web = a_route("db", "team=db", group_wait=MINUTE), a_route("web", "team=web")
    below = msgspec.structs.replace(web, routes=(db,))

    assert said(a_policy(routes=(db, web)), a_policy(routes=(below,))) == [
        ("routes[default].routes", ["db", "web"], ["web"]),
        ("routes[web].routes", [], ["db"]),
    ]


def test_a_setting_of_a_route_is_found_by_the_routes_name():
    before = a_policy(routes=(a_route("db", "team=db", continue_=True, group_wait=MINUTE),))
    after = a_policy(routes=(a_route("db", 'team=~"d.*" severity=critical', group_wait=2 * MINUTE),))

    assert said(before, after) == [
        ("routes[db].matchers", ["team=db"], ['team=~""d.*""', "severity=critical"]),
        ("routes[db].continue", True, False),
        ("routes[db].group_wait", MINUTE, 2 * MINUTE),
    ]


def test_a_new_route_is_shown_whole_and_in_its_place():
    first, second = said(a_policy(), a_policy(routes=(a_route("db", "team=db"),)))

    assert first == ("routes[default].routes", [], ["db"])
    path, before, after = second
    assert (path, before) == ("routes[db]", None)
    assert isinstance(after, dict)
    assert (after["name"], after["matchers"], after["group_wait"]) == ("db", ["team=db"], None)


def test_a_root_of_another_name_says_so():
    assert said(a_policy(name="default"), a_policy(name="house"))[0] == ("routes", "default", "house")


def test_targets_are_compared_by_address():
    before = a_policy("anna", "ben", "ops@webhook")
    after = a_policy("ben", "ops@webhook", "carla", "anna")

    assert said(before, after) == [
        (
            "targets",
            ["email anna@example.org", "email ben@example.org", "webhook ops@example.org"],
            ["email ben@example.org", "webhook ops@example.org", "email anna@example.org"],
        ),
        ("targets[email carla@example.org]", None, plain(a_target("carla"))),
    ]


def test_every_field_of_a_policy_is_shown():
    shown = plain(a_policy("anna"))

    assert list(shown) == list(Policy.__struct_encode_fields__)
    assert list(shown["routes"]) == list(Route.__struct_encode_fields__)
    assert shown["retries"]["give_up"] == 72 * HOUR
    msgspec.json.encode(shown)


names = st.sampled_from(["a", "b", "c", "d"])
routes = st.lists(
    st.builds(
        a_route,
        names,
        st.sampled_from(["", "x=1", "x=~1", "x!=1 y=2"]),
        group_wait=st.sampled_from([None, 0, 1]),
        channels=st.sampled_from([None, (), ("email",)]),
        continue_=st.booleans(),
    ),
    unique_by=lambda route: route.name,
    max_size=3,
)
policies = st.builds(
    lambda below, deeper, targets, limit, steps, keep: Policy(
        routes=Route(
            name="default",
            routes=(
                *below,
                a_route("deep", routes=tuple(r for r in deeper if r.name not in {b.name for b in below})),
            ),
        ),
        targets=tuple(a_target(name) for name in targets),
        rate_limit=limit,
        retries=Retries(steps=steps),
        keep=keep,
    ),
    routes,
    routes,
    st.lists(names, unique=True),
    st.sampled_from([None, RateLimit(), RateLimit(limit=3)]),
    st.sampled_from([(1,), (1, 2)]),
    st.sampled_from([0, 1]),
)


@given(policies, policies)
def test_no_changes_means_the_same_policy(before: Policy, after: Policy):
    assert (changes(before, after) == []) == (policy_digest(before) == policy_digest(after))
    assert changes(before, before) == []


@given(policies, policies)
def test_the_way_back_says_the_same_the_other_way_round(before: Policy, after: Policy):
    there = {(change.path, repr(change.before), repr(change.after)) for change in changes(before, after)}
    back = {(change.path, repr(change.after), repr(change.before)) for change in changes(after, before)}

    assert there == back
