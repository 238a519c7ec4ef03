"""Route: which incident an alert belongs to, and whom that incident tells.

A policy's tree is read once into plans (every "as its parent" filled in); matching walks the plans.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec
import re2

from tocsin.core.model.alert import CANONICAL, OWN_LABELS, Alert
from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, HOUR, MINUTE, Policy, Route
from tocsin.core.model.silence import Matcher, MatchOp

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

PATTERN_SHOWN = 200
"""So many characters of a wrong pattern are shown again."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A route with every setting filled in; what an open incident keeps. Fields as in `Route`."""

    name: str
    policy: int
    targets: tuple[Target, ...]
    group_by: tuple[str, ...]
    group_wait: int
    group_interval: int
    repeat_interval: int
    send_resolved: bool
    reopen_within: int
    resolve_timeout: int
    greens: int
    ack_timeout: int


class Node(msgspec.Struct, frozen=True):
    """A plan in the tree, with the tests that let an alert in."""

    plan: Plan
    tests: tuple[Test, ...]
    continues: bool
    children: tuple["Node", ...]


class Plans(msgspec.Struct, frozen=True):
    """One version of the policy, ready to decide."""

    version: int
    policy: Policy
    root: Node
    by_name: dict[str, Plan]
    targets: dict[str, Target]


DEFAULTS = Route(
    name="",
    group_by=(ALL_LABELS,),
    group_wait=0,
    group_interval=5 * MINUTE,
    repeat_interval=4 * HOUR,
    send_resolved=True,
    reopen_within=5 * MINUTE,
    resolve_timeout=0,
    greens=3,
    ack_timeout=0,
)


def labels_of(rule_id: str, severity: str, source: str, scope: Mapping[str, str]) -> dict[str, str]:
    """What matchers and group_by see of an alert."""
    return {**scope, "rule_id": rule_id, "severity": severity, "source": source}


def matches_all(tests: tuple[Test, ...], labels: Labels) -> bool:
    """Say whether every test lets these labels in."""
    # A loop, and not `all`: every alert is asked this by every route and silence.
    for test in tests:  # noqa: SIM110
        if not test(labels):
            return False
    return True


def matcher_test(matcher: Matcher) -> Test:
    """Make the test of one matcher.

    Raises: Invalid if its pattern is not RE2.
    """
    name, value = matcher.name, matcher.value
    match matcher.op:
        case MatchOp.EQUAL:
            return lambda labels: labels.get(name, "") == value
        case MatchOp.NOT_EQUAL:
            return lambda labels: labels.get(name, "") != value
        case MatchOp.MATCHES:
            pattern = _pattern(matcher)
            return lambda labels: pattern.fullmatch(labels.get(name, "")) is not None
        case MatchOp.NOT_MATCHES:
            pattern = _pattern(matcher)
            return lambda labels: pattern.fullmatch(labels.get(name, "")) is None
        case _:
            assert_never(matcher.op)


def _pattern(matcher: Matcher) -> "re2._Regexp[str]":
    options = re2.Options()
    options.max_mem = 8 << 20
    options.log_errors = False
    try:
        return re2.compile(matcher.value, options)
    except re2.error as error:
        said = error.args[0]
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise Invalid(
            f"Matcher {matcher.name}{matcher.op}{matcher.value[:PATTERN_SHOWN]!r} is not a regular expression that "
            f"RE2 knows: {why[:PATTERN_SHOWN]}. RE2 has no look-around and no back-references.",
            field=matcher.name,
        ) from error


def compile_policy(policy: Policy, version: int) -> Plans:
    """Read a policy into plans.

    Raises: Invalid if a route's name is used twice, a channel is unknown, a pattern is not RE2, the root asks for
    something, a target's id is used twice, or a number makes no sense.
    """
    _check(policy)
    by_name: dict[str, Plan] = {}
    known = {target.channel for target in policy.targets}

    def compile_route(route: Route, parent: Route, tests: tuple[Test, ...]) -> Node:
        if not route.name or route.name in by_name:
            raise Invalid(f"Route name {route.name!r} is empty or used twice. Give each route its own name.")
        inherited = {
            field: getattr(parent, field)
            for field in Route.__struct_fields__
            if field not in ("name", "matchers", "continue_", "routes") and getattr(route, field) is None
        }
        full = msgspec.structs.replace(route, **inherited)
        channels = (
            full.channels
            if full.channels is not None
            else tuple(dict.fromkeys(t.channel for t in policy.targets))
        )
        for channel in channels:
            if channel not in known:
                raise Invalid(f"Route {route.name!r} names channel {channel!r}, which is not configured.")
        for field in ("group_wait", "group_interval", "reopen_within", "resolve_timeout", "ack_timeout"):
            if getattr(full, field) < 0:
                raise Invalid(f"Route {route.name!r} has a negative {field}. Give 0 or more.")
        for field in ("repeat_interval", "greens"):
            if getattr(full, field) <= 0:
                raise Invalid(f"Route {route.name!r} has {field} {getattr(full, field)}. Give more than 0.")
        assert full.group_by is not None
        plan = Plan(
            name=full.name,
            policy=version,
            targets=tuple(t for c in dict.fromkeys(channels) for t in policy.targets if t.channel == c),
            group_by=(ALL_LABELS,) if ALL_LABELS in full.group_by else tuple(sorted(set(full.group_by))),
            **{
                field: getattr(full, field)
                for field in Plan.__struct_fields__
                if field not in ("name", "policy", "targets", "group_by")
            },
        )
        by_name[plan.name] = plan
        children = tuple(
            compile_route(child, full, tuple(matcher_test(m) for m in child.matchers))
            for child in route.routes
        )
        return Node(plan, tests, route.continue_, children)

    root = compile_route(policy.routes, DEFAULTS, ())
    return Plans(version, policy, root, by_name, {target.id: target for target in policy.targets})


def _check(policy: Policy) -> None:
    """Raise Invalid for what is wrong with a policy outside its routes."""
    root = policy.routes
    if root.matchers or root.continue_:
        raise Invalid(
            f"The root route {root.name!r} takes every alert. Move its matchers to a route below it."
        )
    ids = [target.id for target in policy.targets]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise Invalid(f"Target id {id_!r} is used twice. Give each address its own.")
    if not policy.retries.steps or min(policy.retries.steps) <= 0:
        raise Invalid("Retries need at least one step, and every step must be more than 0.")
    limit = policy.rate_limit
    if limit is not None and (limit.limit < 0 or min(limit.window, limit.digest_interval) <= 0):
        raise Invalid(
            "A rate limit needs a limit of 0 or more, and a window and digest_interval of more than 0."
        )


def plans_for(plans: Plans, alert: Alert) -> list[Plan]:
    """Find the plans that an alert falls under, in the tree's order; never empty."""
    root = plans.root
    if not root.children:
        return [root.plan]
    found: list[Plan] = []
    _descend(root, labels_of(alert.rule_id, alert.severity, alert.source, alert.scope), found)
    return found


def _descend(node: Node, labels: Labels, found: list[Plan]) -> None:
    matched = False
    for child in node.children:
        if matches_all(child.tests, labels):
            matched = True
            _descend(child, labels, found)
            if not child.continues:
                break
    if not matched:
        found.append(node.plan)


def group_labels(plan: Plan, alert: Alert) -> dict[str, str]:
    """Give the labels that hold the alert's incident together under this plan."""
    if plan.group_by == (ALL_LABELS,):
        return alert.scope
    labels: dict[str, str] = {}
    for name in plan.group_by:
        value = getattr(alert, name) if name in OWN_LABELS else alert.scope.get(name)
        if value is not None:
            labels[name] = str(value)
    return labels


def incident_key(plan: Plan, alert: Alert, fingerprint: bytes, id_key: bytes) -> bytes:
    """Name the incident that the alert belongs to: 16 bytes, keyed, so that labels cannot be guessed from it."""
    if plan.group_by == (ALL_LABELS,):
        named = plan.name.encode() + b"\x00" + fingerprint
    else:
        scope = alert.scope
        values = [getattr(alert, name) if name in OWN_LABELS else scope.get(name) for name in plan.group_by]
        named = CANONICAL.encode((plan.name, plan.group_by, values))
    return hashlib.blake2b(named, key=id_key, digest_size=16).digest()
