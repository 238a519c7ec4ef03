"""Evidence: how a rule came to what its alert says, for people: the formula, the limit, the window and the points.

Evidence is whatever the sender of an alert likes. What does not look as that of a rule is left out here.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tocsin.cli.rule_chart import sparkline
from tocsin.cli.show import has_unicode, moment, zone
from tocsin.core.rules.triggers import wording

POINTS_MAX = 60
TEXT_MAX = 400


def evidence_facts(evidence: object) -> list[tuple[str, object]]:
    """Give names and values, "" for what is not there; [] if this is no evidence of a rule."""
    if not isinstance(evidence, Mapping) or not isinstance(evidence.get("formula"), str):
        return []
    return [
        ("formula", evidence["formula"][:TEXT_MAX]),
        ("limit", _limit(evidence.get("limit"))),
        ("window", _window(evidence.get("window"))),
        ("points", _points(evidence.get("points"))),
    ]


def _limit(said: object) -> str:
    value = _number(said)
    return "" if value is None else wording.number(value)


def _window(said: object) -> str:
    if not (isinstance(said, list) and len(said) == 2 and all(isinstance(one, str) for one in said)):
        return ""
    begin, end = (moment(one[:TEXT_MAX]) for one in said)
    return f"{begin} to {end} ({zone()})"


def _points(said: object) -> str:
    pairs = said[-POINTS_MAX:] if isinstance(said, list) else []
    found = [_number(one[1]) for one in pairs if isinstance(one, list) and len(one) == 2]
    values = [value for value in found if value is not None]
    if not values:
        return ""
    low, high = wording.short(min(values)), wording.short(max(values))
    drawn = sparkline(values, unicode=has_unicode())
    return f"{drawn} {low} to {high}" if drawn else f"{low} to {high}" if low != high else low


def _number(said: Any) -> float | None:
    """Read a number, which canonical JSON has as text."""
    try:
        value = float(said)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if isfinite(value) else None
