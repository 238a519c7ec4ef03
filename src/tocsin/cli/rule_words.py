"""Rule words: a rule's settings in words, from what the API or the configuration says of its trigger.

Settings are those of `core/rules/plain` with lengths of time in seconds; what a server of another age leaves out is
left out here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.core.model.policy import SECOND
from tocsin.core.rules.triggers import wording

BEYOND = {
    "lt": "below {}",
    "lte": "at {} or below",
    "gt": "above {}",
    "gte": "at {} or above",
    "eq": "at exactly {}",
    "ne": "at anything but {}",
}
NO_DATA = {
    "ok": "a scope without data is a green look",
    "firing": "a scope without data is a wrong look",
    "keep": "a scope without data is no look: all stays as it is",
}
NO_DATA_ABSENT = "is what it looks for, whatever `no_data` says"
_TOLD_ELSEWHERE = ("kind", "limits", "tiers", "good", "total")


def steps(settings: Mapping[str, Any]) -> str:
    """Say from where on it is how severe: `warning above 80, critical above 95`."""
    if settings.get("kind") == "burn_rate":
        return ", ".join(
            f"{one['severity']} at {wording.number(one['factor'])} x over {length(one['long'])} "
            f"and {length(one['short'])}"
            for one in settings["tiers"]
        )
    return ", ".join(f"{one['severity']} {_border(settings, one)}" for one in settings.get("limits", []))


def terms(settings: Mapping[str, Any]) -> Iterator[str]:
    """Say what the other settings are: `op = lt`, `reduce = last`, `before = the week before`."""
    for name, value in settings.items():
        if name not in _TOLD_ELSEWHERE:
            yield _term(name, value)


def once(looks: int, of: int) -> str:
    """Say how many wrong looks make it fire."""
    if of == 1:
        return "with the first wrong look"
    if looks == of:
        return f"once the last {of} looks were wrong"
    return f"once {looks} of the last {of} looks were wrong"


def no_data(kind: str, said: str) -> str:
    """Say what a look without data is taken for."""
    return NO_DATA_ABSENT if kind == "absent" else NO_DATA.get(said, said)


def length(seconds: float) -> str:
    """Write a length of time exactly."""
    return wording.duration(round(seconds * SECOND))


def _border(settings: Mapping[str, Any], limit: Mapping[str, Any]) -> str:
    kind = settings["kind"]
    if kind == "absent":
        return f"after {length(limit['after'])}"
    unit = {"delta_pct": " %", "slope": f" per {wording.each(round(settings.get('per', 0) * SECOND))}"}
    return BEYOND[settings.get("op", "gte")].format(wording.number(limit["value"]) + unit.get(kind, ""))


def _term(name: str, value: Any) -> str:
    match name:
        case "against":
            return f"before = the {value} before"
        case "per":
            return f"t in units of {length(value)}"
        case "objective":
            return f"objective = {wording.number(value)} %"
        case "baseline":
            return f"baseline = the first {100 * value:g} % of the points"
        case _:
            return f"{name} = {wording.number(value) if isinstance(value, float) else value}"
