"""Rule answer: what was tried, as plain data: instants as ISO 8601, lengths of time in seconds."""

from typing import Any

from tocsin.cli.whatif_answer import instant
from tocsin.core.model.policy import SECOND
from tocsin.core.rules.glance import Glance
from tocsin.runtime.backtest import Backtested
from tocsin.runtime.trial import Trial


def trial_answer(made: Trial, *, points: bool = True) -> dict[str, Any]:
    """Give what one rule sees. points: whether they are given too."""
    rule = made.rule
    return {
        "rule_id": rule.rule_id,
        "at": instant(made.at),
        "window": [instant(made.at - rule.window), instant(made.at)],
        "looks": rule.looks,
        "of": rule.of,
        "failure": made.failure or None,
        "scopes": [_scope(one, points=points) for one in made.glances],
    }


def _scope(one: Glance, *, points: bool) -> dict[str, Any]:
    judged = one.judgement
    given: dict[str, Any] = {
        "scope": one.scope,
        "verdict": one.verdict,
        "severity": judged.severity,
        "value": judged.value,
        "limit": judged.limit,
        "formula": judged.formula,
        "numbers": judged.numbers,
        "lines": [{"value": line.value, "severity": line.severity} for line in one.lines],
    }
    return given | ({"points": [[instant(point.at), point.value] for point in one.points]} if points else {})


def backtest_answer(found: Backtested) -> dict[str, Any]:
    """Give what one rule would have done. Whatever has not happened is null."""
    days = (found.until - found.since) / (86_400 * SECOND)
    return {
        "rule_id": found.rule_id,
        "zone": found.zone,
        "since": instant(found.since),
        "until": instant(found.until),
        "looks": found.looks,
        "failed": found.failed,
        "failures": list(found.failures),
        "nothing": found.nothing,
        "before": found.before,
        "wrong": found.wrong,
        "incidents_per_week": round(len(found.incidents) * 7 / days, 3),
        "severities": {str(severity): count for severity, count in found.severities.items()},
        "nights": {"incidents": found.nights.incidents, "notifications": found.nights.notifications},
        "firing_s": found.firing / SECOND,
        "weeks": [
            {"week": one.week, "incidents": one.incidents, "notifications": one.notifications}
            for one in found.weeks
        ],
        "incidents": [
            {
                "number": one.number,
                "opened_at": instant(one.opened_at),
                "resolved_at": instant(one.resolved_at),
                "severity": one.severity,
                "scope": one.scope,
                "title": one.title,
                "reopened": one.reopened,
                "open_s": one.open_for / SECOND,
            }
            for one in found.incidents
        ],
        "notifications": [
            {
                "at": instant(one.at),
                "kind": one.kind,
                "severity": one.severity,
                "incident": one.incident or None,
                "channels": one.channels,
            }
            for one in found.notifications
        ],
    }
