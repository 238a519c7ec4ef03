"""Failing: when a source that gives no answers is itself an alert. Silence is never taken for green.

A source that is away is one alert, however many rules ask it; a question that it cannot answer is one for its rule.
"""

import msgspec

from tocsin.core.model.alert import CANONICAL, Alert, Severity, Status
from tocsin.core.rules.evaluate import SOURCE

RULE_ID = "source-failed"


class Failing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is remembered of a source, or of a rule's questions to it.

    since: when the first answer was missing, 0 while they come; told: whether an alert fires about it.
    """

    since: int = 0
    told: bool = False


def failed(failing: Failing, scope: dict[str, str], why: str, at: int, *, after: int) -> Alert | None:
    """Take note of an answer that did not come. Give an alert once that has gone on for `after` or longer.

    at: now, microseconds UTC.
    """
    failing.since = failing.since or at
    if failing.told or at - failing.since < after:
        return None
    failing.told = True
    what = f"Source {scope['data_source']} is away"
    if "rule" in scope:
        what = f"Rule {scope['rule']} gets no answer from source {scope['data_source']}"
    return _alert(scope, Status.FIRING, f"{what}: {why}", failing.since, at)


def worked(failing: Failing, scope: dict[str, str], at: int) -> Alert | None:
    """Take note of an answer. Give the end of the alert if there was one."""
    told, since = failing.told, failing.since
    failing.since, failing.told = 0, False
    if not told:
        return None
    return _alert(scope, Status.RESOLVED, "It answers again.", since, at)


def key(scope: dict[str, str]) -> str:
    """Name a source, or a rule's questions to it, among what is remembered; no rule is called so."""
    return "\0" + CANONICAL.encode(scope).decode()


def scope_of(key: str) -> dict[str, str]:
    """Read the scope out of its key."""
    return msgspec.json.decode(key[1:], type=dict[str, str])


def _alert(scope: dict[str, str], status: Status, message: str, since: int, at: int) -> Alert:
    return Alert(
        rule_id=RULE_ID,
        scope=scope,
        severity=Severity.ERROR,
        status=status,
        message=message,
        window_start=since,
        window_end=at,
        source=SOURCE,
    )
