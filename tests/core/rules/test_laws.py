"""What holds for every trigger, whatever the points say."""

import math

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
from tests.core.rules.rules import AT, a_rule, limits

from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.policy import DAY, HOUR, MINUTE
from tocsin.core.model.rule import (
    Absent,
    Break,
    BurnRate,
    DeltaPct,
    Limits,
    Op,
    Outlier,
    Period,
    Point,
    Reduce,
    Side,
    Slope,
    Threshold,
    Trigger,
)
from tocsin.core.rules import slo, triggers
from tocsin.core.rules.triggers import wording

NUMBERS = st.floats(-1e12, 1e12) | st.floats() | st.sampled_from([0.0, 1.0, 5e-324, 1.7e308, -1.7e308])
POSITIVE = st.floats(0.001, 1e6)


def ordered(values: list[float], *, falling: bool) -> Limits:
    ranked = sorted(values, reverse=falling)
    return limits(**{severity.value: value for severity, value in zip(Severity, ranked, strict=False)})


def some_limits(numbers: st.SearchStrategy[float], *, falling: bool = False) -> st.SearchStrategy[Limits]:
    return st.lists(numbers, min_size=1, max_size=4, unique=True).map(
        lambda values: ordered(values, falling=falling)
    )


@st.composite
def some_triggers(draw: st.DrawFn) -> Trigger:
    op = draw(st.sampled_from(Op))
    numbers = st.floats(-1e6, 1e6)
    if op in (Op.EQ, Op.NE):
        held = limits(error=draw(numbers))
    else:
        held = draw(some_limits(numbers, falling=op in (Op.LT, Op.LTE)))
    above = draw(some_limits(POSITIVE))
    side = draw(st.sampled_from(Side))
    how = draw(st.sampled_from(Reduce))
    return draw(
        st.sampled_from(
            [
                Threshold(op=op, limits=held, reduce=how),
                DeltaPct(op=op, limits=held, against=draw(st.sampled_from(Period)), reduce=how),
                Slope(op=op, limits=held, per=draw(st.integers(1, 30 * DAY))),
                Break(limits=above, k=draw(st.floats(0, 3)), baseline=draw(st.floats(0.1, 0.9)), side=side),
                Outlier(limits=above, side=side),
                Absent(limits=draw(some_limits(st.floats(1, 3600)))),
                BurnRate(objective=draw(st.floats(0.95, 0.999)), good="g", total="t", tiers=slo.tiers(DAY)),
            ]
        )
    )


some_points = st.lists(st.tuples(st.integers(0, HOUR - 1), NUMBERS), max_size=40).map(
    lambda drawn: tuple(Point(AT - HOUR + at, value) for at, value in sorted(drawn, key=lambda one: one[0]))
)


@given(some_triggers())
def test_triggers_that_make_sense_are_let_pass(trigger: Trigger) -> None:
    assert triggers.check(a_rule(trigger)) == []


@hypothesis.settings(max_examples=1000)
@given(some_triggers(), st.data())
def test_a_judgement_is_whole_whatever_the_points_say(trigger: Trigger, data: st.DataObject) -> None:
    rule = a_rule(trigger)
    answers = {
        ask.name: data.draw(some_points) for ask in triggers.asks(rule, AT) if data.draw(st.booleans())
    }

    said = triggers.judge(rule, AT, answers)

    assert said == triggers.judge(rule, AT, dict(reversed(answers.items())))
    if said.value is None:
        assert (said.severity, said.limit, said.numbers) == (None, None, {})
        assert said.formula
        return
    assert said.limit is not None
    assert all(math.isfinite(number) for number in (said.value, said.limit, *said.numbers.values()))
    assert (
        said.value in map(abs, said.numbers.values())
        or said.value in said.numbers.values()
        or -said.value in said.numbers.values()
    )
    assert (said.severity is None) == ("is not " in said.formula or "not both" in said.formula)
    if said.severity is not None:
        assert severity_rank[said.severity] >= severity_rank[triggers.mildest(trigger)]
    if not isinstance(trigger, Absent):
        written = {wording.number(said.value, digits) for digits in range(4, 18)}
        assert any(text in said.formula for text in written)


@given(some_triggers(), st.integers(0, 4_000_000_000_000_000), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_every_question_has_a_name_of_its_own_and_a_window(trigger: Trigger, at: int, zone: str) -> None:
    asks = triggers.asks(a_rule(trigger, zone=zone, window=5 * MINUTE), at)

    assert len({ask.name for ask in asks}) == len(asks) > 0
    assert all(ask.since < ask.until <= at for ask in asks)
    assert asks == triggers.asks(a_rule(trigger, zone=zone, window=5 * MINUTE), at)
