"""SLO: what an objective allows, how much of that is used up, and when somebody is to be told how fast it goes.

Source: Google, The Site Reliability Workbook, chapters 2 (the error budget) and 5 (Alerting on SLOs).
"""

from fractions import Fraction

import msgspec

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY, HOUR, MINUTE
from tocsin.core.model.rule import Tier

_TABLE = (
    (1 * HOUR, 5 * MINUTE, 2, Severity.CRITICAL),
    (6 * HOUR, 30 * MINUTE, 5, Severity.ERROR),
    (3 * DAY, 6 * HOUR, 10, Severity.WARNING),
)
"""Google's recommendation for 30 days: long window, short one, percent of the budget that burn in the long one."""

WINDOW_MIN = DAY
"""Below it the windows of tiers would be minutes, and nobody could act on them."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an error budget, as shares of it.

    spent: 0 or more; left: below 0 if more was spent than allowed.
    """

    spent: float
    left: float


def allowed(objective: float) -> Fraction:
    """Give the share of bad events that an objective allows, exactly: 1/1000 for 0.999, 0 < objective < 1."""
    return 1 - Fraction(repr(objective))


def budget(objective: float, good: float, total: float) -> Budget:
    """Say how much of the error budget the events of a window used up: (bad / total) / (1 - objective).

    Without events nothing is spent; good is taken as 0 to total. It is reckoned exactly and rounded once, because
    people write factors such as 14.4 and expect them to be reached. Numbers are finite. Raises: OverflowError.
    """
    if total <= 0:
        return Budget(spent=0.0, left=1.0)
    whole = Fraction(total)
    bad = whole - min(max(Fraction(good), Fraction(0)), whole)
    spent = bad / whole / allowed(objective)
    return Budget(spent=float(spent), left=float(1 - spent))


def tiers(window: int) -> tuple[Tier, ...]:
    """Give the burn rates to tell of for an objective over a window (microseconds), the most severe first.

    The windows are Google's for 30 days, as much longer or shorter as the objective's is, in whole minutes; so the
    factors are about 14.4, 6 and 1 always: share of the budget * window / long.
    """
    made = []
    for long, short, percent, severity in _TABLE:
        scaled = _scaled(long, window)
        made.append(
            Tier(
                long=scaled,
                short=_scaled(short, window),
                factor=percent * window / (100 * scaled),
                severity=severity,
            )
        )
    return tuple(made)


def _scaled(length: int, window: int) -> int:
    return max(1, round(length * window / (30 * DAY) / MINUTE)) * MINUTE
