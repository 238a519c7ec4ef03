"""Burn rate: is an error budget used up so fast that somebody must act?

Source: Google, The Site Reliability Workbook, chapter 5 (Alerting on SLOs), the sixth of its ways: several burn rates,
each over a long window, which says that it matters, and a short one, which says that it still goes on.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from tocsin.core.model.alert import severity_rank
from tocsin.core.model.policy import DAY
from tocsin.core.model.rule import BurnRate, Judgement, Point, Tier
from tocsin.core.rules import slo
from tocsin.core.rules.triggers import limits, wording

FACTOR_MIN = 0.9
"""A little less than 1, which windows in whole minutes may come to."""

WINDOW_MAX = 400 * DAY


class Burn(NamedTuple):
    """How fast the budget burned over a window: 1 uses it up just when its time is over."""

    rate: float
    good: float
    total: float


def asked(trigger: BurnRate) -> list[tuple[str, str, int]]:
    """Give (name of the question, query, window) for each window once, in the order of the tiers."""
    windows = dict.fromkeys(window for tier in trigger.tiers for window in (tier.long, tier.short))
    return [
        (f"{which} {wording.duration(window)}", query, window)
        for window in windows
        for which, query in (("good", trigger.good), ("total", trigger.total))
    ]


def judge(trigger: BurnRate, points: Mapping[str, Sequence[Point]]) -> Judgement:
    """Hold the burn rates of both windows of each tier against its factor; the most severe one that burns counts.

    Of each answer the last point counts: the number of events in the window. A tier without all of its answers does not
    burn; as long as no other one does, nothing can be said then. Raises: OverflowError.
    """
    burns: dict[int, Burn] = {}
    missing: list[str] = []
    for tier in trigger.tiers:
        for window in (tier.long, tier.short):
            good, total = (points.get(f"{which} {wording.duration(window)}") for which in ("good", "total"))
            if good and total:
                burns[window] = burn(trigger.objective, good[-1].value, total[-1].value)
            else:
                missing.append(wording.duration(window))
    known = [tier for tier in trigger.tiers if tier.long in burns and tier.short in burns]
    burning = [tier for tier in known if _pace(tier, burns) >= tier.factor]
    if burning:
        return _judged(max(burning, key=lambda tier: severity_rank[tier.severity]), burns, burning=True)
    if missing:
        return limits.too_little(f"no good or no total of {', '.join(dict.fromkeys(missing))}")
    nearest = max(known, key=lambda tier: (_pace(tier, burns) / tier.factor, -severity_rank[tier.severity]))
    return _judged(nearest, burns, burning=False)


def burn(objective: float, good: float, total: float) -> Burn:
    """Give (bad events / all events) / (1 - objective); 0 if there were no events. Raises: OverflowError."""
    return Burn(slo.budget(objective, good, total).spent, float(good), float(total))


def check(trigger: BurnRate) -> limits.Findings:
    """Say what makes no sense."""
    found: limits.Findings = []
    is_sound = 0 < trigger.objective < 1
    if not is_sound:
        found.append(
            ("objective", "This is a share of good events. Give more than 0 and less than 1, such as 0.999.")
        )
    for which, query in (("good", trigger.good), ("total", trigger.total)):
        if not query.strip():
            found.append((which, f"A burn rate needs the number of {which} events. Give a query for it."))
    if not trigger.tiers:
        found.append(
            ("tiers", "A burn rate needs a tier. Give at least one: long, short, factor and severity.")
        )
    for place, tier in enumerate(trigger.tiers):
        found += _check_tier(
            tier, f"tiers.{place}", float(1 / slo.allowed(trigger.objective)) if is_sound else None
        )
        if any(
            (tier.long, tier.short, tier.factor) == (one.long, one.short, one.factor)
            for one in trigger.tiers[:place]
        ):
            found.append(
                (f"tiers.{place}", "This tier is there twice. Give each severity a factor of its own.")
            )
    return found


def _check_tier(tier: Tier, key: str, rate_max: float | None) -> limits.Findings:
    found: limits.Findings = []
    if not 0 < tier.short < tier.long:
        found.append((f"{key}.short", "The short window must be more than 0s and shorter than the long one."))
    if tier.long > WINDOW_MAX:
        found.append(
            (f"{key}.long", f"A window has at most {wording.duration(WINDOW_MAX)}. Give a shorter one.")
        )
    if not (isfinite(tier.factor) and tier.factor >= FACTOR_MIN):
        what = "At a rate below 1 the budget is never used up. Give 1 or more, such as 14.4."
        found.append((f"{key}.factor", what))
    elif rate_max is not None and tier.factor > rate_max:
        found.append(
            (
                f"{key}.factor",
                f"{wording.number(tier.factor)} can never be reached: if all events are bad, this budget burns "
                f"{wording.number(rate_max)} times as fast as it may. Give less.",
            )
        )
    return found


def _pace(tier: Tier, burns: Mapping[int, Burn]) -> float:
    return min(burns[tier.long].rate, burns[tier.short].rate)


def _judged(tier: Tier, burns: Mapping[int, Burn], *, burning: bool) -> Judgement:
    said: list[str] = []
    numbers: dict[str, float] = {}
    border = ""
    for window in (tier.long, tier.short):
        name, burned = wording.duration(window), burns[window]
        rate, border = wording.pair_short(burned.rate, tier.factor)
        said.append(f"{rate} x ({name}{_odd(burned)})")
        numbers |= {f"burn {name}": burned.rate, f"good {name}": burned.good, f"total {name}": burned.total}
    not_burning = "" if burning else ", not both"
    return Judgement(
        severity=tier.severity if burning else None,
        value=_pace(tier, burns),
        limit=tier.factor,
        formula=f"error budget burns {' and '.join(said)} as fast as it may{not_burning} >= {border}",
        numbers=numbers,
    )


def _odd(burned: Burn) -> str:
    if burned.total <= 0:
        return ", no events"
    if burned.good > burned.total:
        return f", {wording.number(burned.good)} good of {wording.number(burned.total)} taken as all"
    if burned.good < 0:
        return f", {wording.number(burned.good)} good of {wording.number(burned.total)} taken as none"
    return ""
