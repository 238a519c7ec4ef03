"""Delta: how much a number changed against the same window a period before, in percent."""

from collections.abc import Sequence

from tocsin.core.model.rule import DeltaPct, Judgement, Point
from tocsin.core.rules import periods
from tocsin.core.rules.triggers import limits, wording
from tocsin.core.rules.triggers.reduce import reduce


def judge(trigger: DeltaPct, points: Sequence[Point], points_before: Sequence[Point]) -> Judgement:
    """Hold `100 * (now - before) / |before| op limit`; both are reduced in the same way. Raises: OverflowError.

    Dividing by the absolute value lets a rise be positive also where the number was negative.
    """
    when = f"the {trigger.against} before"
    if not points:
        return limits.too_little("no point")
    if not points_before:
        return limits.too_little(f"no point {when}")
    now, before = reduce(points, trigger.reduce), reduce(points_before, trigger.reduce)
    if before == 0:
        return limits.too_little(f"nothing to compare with: it was 0 {when}")
    value = 100 * (now - before) / abs(before)
    was = wording.number(before)
    return limits.judged(
        trigger.op,
        trigger.limits,
        value,
        {"now": now, "before": before, "change_pct": value},
        lead=f"100 * ({wording.number(now)} - {was if before > 0 else f'({was})'}) / |{was}| = ",
        tail=f" (against {when})",
        units=(" %", " %"),
        pair=wording.pair_short,
    )


def check(trigger: DeltaPct, window: int) -> limits.Findings:
    """Say what makes no sense."""
    found = limits.check(trigger.op, trigger.limits)
    if window > (shortest := periods.SHORTEST[trigger.against]):
        found.append(
            (
                "against",
                f"The window ({wording.duration(window)}) is longer than a {trigger.against} may be "
                f"({wording.duration(shortest)}), so what is compared overlaps. "
                "Give a shorter window, or a longer period.",
            )
        )
    return found
