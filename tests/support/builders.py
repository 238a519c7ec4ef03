"""Builders: values for tests that show only what matters to the fact at hand."""

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, DAY, HOUR, MINUTE, SECOND, Policy, RateLimit, Retries, Route
from tocsin.core.model.silence import Matcher, MatchOp

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "NINE",
    "SECOND",
    "a_matcher",
    "a_policy",
    "a_route",
    "a_target",
    "an_alert",
]

NINE = 1_800_003_600_000_000
"""A Friday in January 2027, 09:00 UTC, at which most tests begin."""


def an_alert(
    rule_id: str = "disk",
    severity: str = "warning",
    status: str = "firing",
    *,
    window: tuple[int, int] = (0, 0),
    ends_at: int | None = None,
    source: str = "",
    message: str = "",
    **scope: str,
) -> Alert:
    """One look at a trouble. window: (0, 0) lets the world take the minute before it arrives."""
    return Alert(
        rule_id=rule_id,
        scope=scope,
        severity=Severity(severity),
        status=Status(status),
        message=message,
        window_start=window[0],
        window_end=window[1],
        ends_at=ends_at,
        source=source,
    )


def a_matcher(text: str) -> Matcher:
    """Read `name=value`, `name!=value`, `name=~value` or `name!~value`."""
    for op in (MatchOp.NOT_EQUAL, MatchOp.MATCHES, MatchOp.NOT_MATCHES, MatchOp.EQUAL):
        name, found, value = text.partition(op)
        if found:
            return Matcher(name=name, op=op, value=value)
    raise ValueError(text)


def a_target(text: str) -> Target:
    """Read `anna` (by e-mail) or `ops@webhook`."""
    name, _, channel = text.partition("@")
    return Target(id=name, channel=channel or "email", address=f"{name}@example.org")


def a_route(name: str = "default", match: str = "", **fields: object) -> Route:
    """One route. match: matchers, separated by spaces."""
    return Route(name=name, matchers=tuple(a_matcher(text) for text in match.split()), **fields)  # type: ignore[arg-type]


def a_policy(
    *targets: str,
    rate_limit: RateLimit | None = None,
    retries: Retries | None = None,
    **root: object,
) -> Policy:
    """A policy whose root route is named `default`; without targets, anna is told. Limits nothing unless asked."""
    fields = {"name": "default", "group_by": (ALL_LABELS,), **root}
    return Policy(
        routes=Route(**fields),  # type: ignore[arg-type]
        targets=tuple(a_target(text) for text in targets or ("anna",)),
        rate_limit=rate_limit,
        retries=retries or Retries(),
    )
