"""Burn rate: an error budget that is used up too fast; and what an objective allows."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.rules.rules import AT, a_rule, keys

from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY, HOUR, MINUTE
from tocsin.core.model.rule import BurnRate, Judgement, Point, Tier
from tocsin.core.rules import slo, triggers

FAST = Tier(long=HOUR, short=5 * MINUTE, factor=14.4, severity=Severity.CRITICAL)
SLOW = Tier(long=6 * HOUR, short=30 * MINUTE, factor=6, severity=Severity.ERROR)
Answers = dict[str, tuple[float, float]]


def a_burn_rate(*tiers: Tier, objective: float = 0.999, good: str = "g", total: str = "t") -> BurnRate:
    return BurnRate(objective=objective, good=good, total=total, tiers=tiers or (FAST, SLOW))


def burned(trigger: BurnRate, **answers: tuple[float | None, float | None]) -> Judgement:
    """Judge (good, total) of each window: burned(..., w1h=(90, 100)). None: there is no such point."""
    points = {
        f"{which} {window[1:]}": (Point(AT - 2, 7.0), Point(AT - 1, number))
        for window, answer in answers.items()
        for which, number in zip(("good", "total"), answer, strict=True)
        if number is not None
    }
    return triggers.judge(a_rule(trigger), AT, points)


def test_it_asks_for_each_window_once() -> None:
    other = Tier(long=3 * DAY, short=6 * HOUR, factor=1, severity=Severity.WARNING)

    asks = triggers.asks(a_rule(a_burn_rate(FAST, SLOW, other), step=60, zone="Europe/Berlin"), AT)

    assert [(ask.name, ask.query, AT - ask.since) for ask in asks] == [
        ("good 1h", "g", HOUR),
        ("total 1h", "t", HOUR),
        ("good 5m", "g", 5 * MINUTE),
        ("total 5m", "t", 5 * MINUTE),
        ("good 6h", "g", 6 * HOUR),
        ("total 6h", "t", 6 * HOUR),
        ("good 30m", "g", 30 * MINUTE),
        ("total 30m", "t", 30 * MINUTE),
        ("good 3d", "g", 3 * DAY),
        ("total 3d", "t", 3 * DAY),
    ]
    assert {(ask.until, ask.step, ask.zone) for ask in asks} == {(AT, 60, "Europe/Berlin")}


def test_a_tier_burns_when_both_of_its_windows_do() -> None:
    said = burned(a_burn_rate(FAST), w1h=(98_480, 100_000), w5m=(9_840, 10_000))

    assert said.formula == "error budget burns 15.2 x (1h) and 16 x (5m) as fast as it may >= 14.4"
    assert (said.severity, said.value, said.limit) == ("critical", 15.2, 14.4)
    assert said.numbers == {
        "burn 1h": 15.2,
        "good 1h": 98_480,
        "total 1h": 100_000,
        "burn 5m": 16.0,
        "good 5m": 9_840,
        "total 5m": 10_000,
    }


@pytest.mark.parametrize(
    ("long", "short", "said"),
    [
        (9_848, 9_999, "15.2 x (1h) and 0.1 x (5m)"),
        (9_999, 9_848, "0.1 x (1h) and 15.2 x (5m)"),
        (10_000, 10_000, "0 x (1h) and 0 x (5m)"),
    ],
)
def test_one_window_is_not_enough(long: float, short: float, said: str) -> None:
    judgement = burned(a_burn_rate(FAST), w1h=(long, 10_000), w5m=(short, 10_000))

    assert (judgement.severity, judgement.limit) == (None, 14.4)
    assert judgement.formula == f"error budget burns {said} as fast as it may, not both >= 14.4"


@pytest.mark.parametrize("factor", [14.4, 6, 1, 0.1])
@pytest.mark.parametrize("objective", [0.95, 0.99, 0.999, 0.9995, 0.9999])
def test_a_factor_is_reached_exactly_where_people_reckon_it(factor: float, objective: float) -> None:
    tier = Tier(long=HOUR, short=MINUTE, factor=factor, severity=Severity.ERROR)
    total = 1_000_000
    bad = round(Fraction(str(factor)) * (1 - Fraction(str(objective))) * total)

    reached = burned(
        a_burn_rate(tier, objective=objective), w1h=(total - bad, total), w1m=(total - bad, total)
    )
    almost = burned(a_burn_rate(tier, objective=objective), w1h=(total - bad + 1, total), w1m=(0, total))

    assert (reached.severity, reached.value) == ("error", factor)
    assert almost.severity is None


def test_the_most_severe_tier_that_burns_counts() -> None:
    bad = (0, 100)

    said = burned(a_burn_rate(SLOW, FAST), w1h=bad, w5m=bad, w6h=bad, w30m=bad)

    assert (said.severity, said.limit) == ("critical", 14.4)
    assert "(1h) and 1000 x (5m)" in said.formula


def test_else_the_tier_that_is_nearest_to_burning_is_told() -> None:
    said = burned(a_burn_rate(), w1h=(990, 1000), w5m=(990, 1000), w6h=(995, 1000), w30m=(995, 1000))

    assert (said.severity, said.value, said.limit) == (None, 5, 6)
    assert said.formula == "error budget burns 5 x (6h) and 5 x (30m) as fast as it may, not both >= 6"


def test_of_tiers_that_are_equally_near_the_mildest_is_told() -> None:
    none_bad = (10, 10)

    assert burned(a_burn_rate(), w1h=none_bad, w5m=none_bad, w6h=none_bad, w30m=none_bad).limit == 6


@pytest.mark.parametrize(
    ("answer", "burn", "said"),
    [
        ((0, 0), 0, "0 x (1h, no events)"),
        ((0, -5), 0, "0 x (1h, no events)"),
        ((12, 10), 0, "0 x (1h, 12 good of 10 taken as all)"),
        ((-3, 10), 1000, "1000 x (1h, -3 good of 10 taken as none)"),
    ],
)
def test_counts_that_cannot_be_are_said(answer: tuple[float, float], burn: float, said: str) -> None:
    judgement = burned(a_burn_rate(FAST), w1h=answer, w5m=(1, 1))

    assert judgement.numbers["burn 1h"] == burn
    assert judgement.formula.startswith(f"error budget burns {said} and 0 x (5m)")
    assert judgement.severity is None


@pytest.mark.parametrize("missing", [(None, 10), (10, None), (None, None)])
def test_without_an_answer_nothing_is_said(missing: tuple[float | None, float | None]) -> None:
    said = burned(a_burn_rate(FAST), w1h=missing, w5m=(0, 10))

    assert (said.severity, said.value) == (None, None)
    assert said.formula == "too little data: no good or no total of 1h"


def test_a_tier_that_burns_is_told_though_another_has_no_answer() -> None:
    bad, fine = (0, 100), (100, 100)

    assert burned(a_burn_rate(), w1h=bad, w5m=bad, w6h=fine).severity == "critical"
    assert burned(a_burn_rate(), w1h=fine, w5m=fine, w6h=fine).value is None


def test_a_burn_without_room_for_it_is_a_sentence() -> None:
    said = burned(a_burn_rate(FAST, objective=1 - 2**-53), w1h=(10**400, 1), w5m=(0, 1))

    assert (said.severity, said.value, said.formula) == (
        None,
        None,
        "the numbers are too large to reckon with",
    )


def test_the_mildest_severity_is_that_of_the_mildest_tier() -> None:
    assert triggers.mildest(a_burn_rate()) is Severity.ERROR


def tier(**changed: object) -> Tier:
    return Tier(**{"long": HOUR, "short": MINUTE, "factor": 2.0, "severity": Severity.ERROR} | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trigger", "found"),
    [
        (a_burn_rate(), []),
        (a_burn_rate(objective=0), ["objective"]),
        (a_burn_rate(objective=1), ["objective"]),
        (a_burn_rate(objective=math.nan), ["objective"]),
        (a_burn_rate(good=" ", total=""), ["good", "total"]),
        (BurnRate(objective=0.9, good="g", total="t", tiers=()), ["tiers"]),
        (a_burn_rate(tier(short=HOUR)), ["tiers.0.short"]),
        (a_burn_rate(tier(short=0)), ["tiers.0.short"]),
        (a_burn_rate(tier(long=400 * DAY)), []),
        (a_burn_rate(FAST, tier(long=400 * DAY + 1)), ["tiers.1.long"]),
        (a_burn_rate(tier(factor=0)), ["tiers.0.factor"]),
        (a_burn_rate(tier(factor=math.nan)), ["tiers.0.factor"]),
        (a_burn_rate(tier(factor=math.inf)), ["tiers.0.factor"]),
        (a_burn_rate(tier(factor=1000.0)), []),
        (a_burn_rate(tier(factor=1000.1)), ["tiers.0.factor"]),
        (a_burn_rate(tier(factor=14.4), objective=0.9), ["tiers.0.factor"]),
        (a_burn_rate(tier(), tier(severity=Severity.INFO)), ["tiers.1"]),
        (a_burn_rate(tier(), tier(factor=3.0)), []),
    ],
)
def test_what_makes_no_sense_is_found(trigger: BurnRate, found: list[str]) -> None:
    assert keys(trigger) == found


def test_it_is_said_how_fast_a_budget_can_burn() -> None:
    ((_, sentence),) = triggers.check(a_rule(a_burn_rate(FAST, objective=0.9)))

    assert sentence == (
        "14.4 can never be reached: if all events are bad, this budget burns 10 times as fast as it may. Give less."
    )


def test_googles_table_comes_out_for_thirty_days() -> None:
    assert [(one.long, one.short, one.factor, one.severity) for one in slo.tiers(30 * DAY)] == [
        (HOUR, 5 * MINUTE, 14.4, "critical"),
        (6 * HOUR, 30 * MINUTE, 6, "error"),
        (3 * DAY, 6 * HOUR, 1, "warning"),
    ]


@pytest.mark.parametrize(
    ("window", "windows"),
    [
        (30 * DAY, [(60, 5), (360, 30), (4320, 360)]),
        (28 * DAY, [(56, 5), (336, 28), (4032, 336)]),
        (7 * DAY, [(14, 1), (84, 7), (1008, 84)]),
        (DAY, [(2, 1), (12, 1), (144, 12)]),
        (90 * DAY, [(180, 15), (1080, 90), (12960, 1080)]),
    ],
)
def test_windows_scale_with_the_objective_and_factors_stay(
    window: int, windows: list[tuple[int, int]]
) -> None:
    made = slo.tiers(window)

    assert [(one.long // MINUTE, one.short // MINUTE) for one in made] == windows
    assert [one.factor for one in made] == pytest.approx([14.4, 6, 1])


@given(st.integers(DAY, 400 * DAY))
def test_a_tier_spends_its_share_of_the_budget_in_its_long_window(window: int) -> None:
    shares = [one.factor * one.long / window for one in slo.tiers(window)]

    assert shares == pytest.approx([0.02, 0.05, 0.1][: len(shares)])


@pytest.mark.parametrize(
    ("good", "total", "spent"),
    [
        (999, 1000, 1),
        (1000, 1000, 0),
        (9_995, 10_000, 0.5),
        (998, 1000, 2),
        (0, 0, 0),
        (5, 4, 0),
        (-1, 1, 1000),
    ],
)
def test_a_budget_is_spent_by_bad_events(good: float, total: float, spent: float) -> None:
    assert slo.budget(0.999, good, total) == slo.Budget(spent=spent, left=1 - spent)


@given(st.floats(0.5, 0.99999), st.integers(0, 10**9), st.integers(1, 10**9))
def test_what_is_spent_and_what_is_left_make_one(objective: float, good: int, more: int) -> None:
    budget = slo.budget(objective, good, good + more)

    assert budget.spent + budget.left == pytest.approx(1, abs=budget.spent * 1e-12)
    assert 0 < budget.spent <= float(1 / slo.allowed(objective))
