"""Plain: a trigger as the configuration writes it, for whoever shows rules to people or programs."""

from collections.abc import Callable
from typing import Any, assert_never

from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import (
    Absent,
    Break,
    BurnRate,
    DeltaPct,
    Limits,
    Outlier,
    Slope,
    Threshold,
    Tier,
    Trigger,
)


def plain(trigger: Trigger, length: Callable[[int], Any]) -> dict[str, Any]:
    """Give the keys of `trigger` with their values, also those that nobody wrote; limits always as `limits`.

    length: how a length of time is written, which comes in microseconds.
    """
    kind = {"kind": kind_of(trigger)}
    match trigger:
        case Threshold():
            return kind | {
                "op": trigger.op.value,
                "limits": _limits(trigger.limits),
                "reduce": trigger.reduce.value,
            }
        case DeltaPct():
            return kind | {
                "op": trigger.op.value,
                "limits": _limits(trigger.limits),
                "against": trigger.against.value,
                "reduce": trigger.reduce.value,
            }
        case Slope():
            return kind | {
                "op": trigger.op.value,
                "limits": _limits(trigger.limits),
                "per": length(trigger.per),
            }
        case Break():
            return kind | {
                "limits": _limits(trigger.limits),
                "k": trigger.k,
                "baseline": trigger.baseline,
                "side": trigger.side.value,
            }
        case Outlier():
            return kind | {"limits": _limits(trigger.limits), "side": trigger.side.value}
        case Absent():
            ages = [
                {"after": length(round(one.value * SECOND)), "severity": one.severity.value}
                for one in trigger.limits
            ]
            return kind | {"limits": ages}
        case BurnRate():
            return kind | {
                "objective": percent(trigger.objective),
                "good": trigger.good,
                "total": trigger.total,
                "tiers": plain_tiers(trigger.tiers, length),
            }
        case _:
            assert_never(trigger)


def kind_of(trigger: Trigger) -> str:
    """Give the kind of a trigger as the configuration calls it."""
    return str(trigger.__struct_config__.tag)


def plain_tiers(tiers: tuple[Tier, ...], length: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Give the tiers of a burn rate."""
    return [
        {
            "long": length(one.long),
            "short": length(one.short),
            "factor": one.factor,
            "severity": one.severity.value,
        }
        for one in tiers
    ]


def percent(share: float) -> float:
    """Write a share in percent as somebody wrote it: 99.9 for 0.999, not 99.89999999999999."""
    return round(100 * share, 10)


def _limits(limits: Limits) -> list[dict[str, Any]]:
    return [{"value": one.value, "severity": one.severity.value} for one in limits]
