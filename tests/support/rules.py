"""Rules for tests, of which a test says only what matters to it."""

from typing import Any

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import MINUTE
from tocsin.core.model.rule import Interval, Limit, Op, Rule, Threshold


def above(limit: float, severity: Severity = Severity.ERROR) -> Threshold:
    return Threshold(op=Op.GT, limits=(Limit(limit, severity),))


def a_rule(**more: Any) -> Rule:
    """By default: the last value of five minutes is above 5."""
    usual = {
        "rule_id": "orders",
        "source": "shop",
        "query": "select 1 as value",
        "every": Interval(MINUTE),
        "window": 5 * MINUTE,
        "trigger": above(5),
    }
    return Rule(**(usual | more))
