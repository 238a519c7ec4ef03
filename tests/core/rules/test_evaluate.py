"""A look at a rule: each series is a scope of its own, and what is said of one says nothing of another."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.rules import a_rule, above

from tocsin.core.model.alert import Severity
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, MINUTE, SECOND
from tocsin.core.model.rule import Absent, DeltaPct, Limit, NoData, Op, Period, Point, Rule, Series
from tocsin.core.rules import evaluate
from tocsin.core.rules.evaluate import Memory

AT = 1_800_000_000_000_000


def a_series(value: float | None, at: int = AT, **labels: str) -> Series:
    return Series(labels, () if value is None else (Point(at - SECOND, value),))


def look(rule: Rule, memory: Memory, *series: Series, at: int = AT) -> dict[str, tuple[str, str]]:
    """Look once: scope as JSON -> (status, message)."""
    looks = evaluate.look(rule, at, {"now": series}, memory)
    return {
        json.dumps(one.scope, sort_keys=True): (one.alert.status.value, one.alert.message) for one in looks
    }


def statuses(rule: Rule, memory: Memory, *series: Series, at: int = AT) -> dict[str, str]:
    return {key: status for key, (status, _) in look(rule, memory, *series, at=at).items()}


def test_each_series_is_a_scope_of_its_own() -> None:
    rule = a_rule(scope={"team": "pay"}, labels={"env": "prod"})

    found = statuses(rule, Memory(), a_series(9, region="north"), a_series(1, region="south"))

    assert found == {
        '{"env": "prod", "region": "north", "team": "pay"}': "firing",
        '{"env": "prod", "region": "south", "team": "pay"}': "green",
    }


def test_by_says_which_labels_tell_series_apart() -> None:
    rule = a_rule(by=("region",))

    assert statuses(rule, Memory(), a_series(9, region="north", pod="a")) == {'{"region": "north"}': "firing"}
    with pytest.raises(Invalid, match="Two series have the scope"):
        look(rule, Memory(), a_series(9, region="north", pod="a"), a_series(9, region="north", pod="b"))
    with pytest.raises(Invalid, match=r"no label 'region'.*It has: pod"):
        look(rule, Memory(), a_series(9, pod="a"))


def test_nothing_is_remembered_of_answers_that_cannot_be_told_apart() -> None:
    rule, memory = a_rule(by=("region",)), Memory()
    with pytest.raises(Invalid):
        look(rule, memory, a_series(9, region="north", pod="a"), a_series(9, region="north", pod="b"))

    assert memory == Memory()


def test_more_series_than_anybody_can_look_at_are_refused() -> None:
    many = [a_series(1, pod=str(n)) for n in range(evaluate.SCOPES_MAX + 1)]

    with pytest.raises(Invalid, match="1,001 series"):
        look(a_rule(), Memory(), *many)
    assert len(look(a_rule(), Memory(), *many[1:])) == evaluate.SCOPES_MAX


def test_it_fires_once_so_many_of_the_last_looks_were_wrong() -> None:
    rule, memory = a_rule(looks=2, of=3), Memory()
    values = [9, 1, 9, 1, 1, 9, 9]

    found = [statuses(rule, memory, a_series(value, region="n"))['{"region": "n"}'] for value in values]

    assert found == ["green", "green", "firing", "green", "green", "green", "firing"]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(0, 5))
def test_n_of_m_is_a_count_of_the_last_looks(wrongs: list[bool], looks: int, more: int) -> None:
    rule, memory = a_rule(looks=looks, of=looks + more), Memory()

    for number, wrong in enumerate(wrongs):
        (status,) = statuses(rule, memory, a_series(9 if wrong else 1, region="n")).values()
        last = wrongs[max(0, number + 1 - rule.of) : number + 1]
        assert (status == "firing") is (sum(last) >= looks)


def test_a_scope_without_data_is_taken_for_what_the_rule_says() -> None:
    both = a_series(9, region="n"), a_series(1, region="s")
    found = {}
    for no_data in NoData:
        rule, memory = a_rule(no_data=no_data), Memory()
        look(rule, memory, *both)
        found[no_data] = statuses(rule, memory)

    assert found == {
        NoData.OK: {'{"region": "n"}': "green", '{"region": "s"}': "green"},
        NoData.FIRING: {'{"region": "n"}': "firing", '{"region": "s"}': "firing"},
        NoData.KEEP: {},
    }


def test_an_empty_series_is_no_data() -> None:
    rule, memory = a_rule(no_data=NoData.OK), Memory()
    look(rule, memory, a_series(9, region="n"))

    assert look(rule, memory, a_series(None, region="n")) == {'{"region": "n"}': ("green", "no data")}


def test_a_rule_that_never_had_data_fires_as_a_whole_and_is_green_once_there_is_some() -> None:
    rule, memory = a_rule(no_data=NoData.FIRING, scope={"team": "pay"}), Memory()

    assert look(rule, memory) == {'{"team": "pay"}': ("firing", "no data")}
    assert look(rule, memory, a_series(1, region="n")) == {
        '{"team": "pay"}': ("resolved", "there is data"),
        '{"region": "n", "team": "pay"}': ("green", "last = 1 is not > 5"),
    }
    assert statuses(a_rule(no_data=NoData.OK), Memory()) == {}
    assert statuses(a_rule(no_data=NoData.KEEP), Memory()) == {}


def test_what_is_absent_fires_and_comes_back() -> None:
    rule = a_rule(trigger=Absent(limits=(Limit(120.0, Severity.CRITICAL),)), window=10 * MINUTE)
    memory = Memory()

    assert statuses(rule, memory) == {"{}": "firing"}
    assert statuses(rule, memory, a_series(1, region="n")) == {"{}": "resolved", '{"region": "n"}': "green"}
    assert statuses(rule, memory) == {'{"region": "n"}': "firing"}


def test_too_little_data_is_neither_wrong_nor_right() -> None:
    trigger = DeltaPct(op=Op.LT, limits=(Limit(-5, Severity.ERROR),), against=Period.WEEK)
    rule, memory = a_rule(trigger=trigger), Memory()

    assert evaluate.look(rule, AT, {"now": [a_series(9)], "before": []}, memory) == ()
    assert memory.scopes["{}"].wrong == 0


def test_the_severity_of_a_firing_alert_is_that_of_its_last_wrong_look() -> None:
    steps = (Limit(5, Severity.WARNING), Limit(10, Severity.CRITICAL))
    rule = a_rule(trigger=above(0).__class__(op=Op.GT, limits=steps), looks=1, of=2)
    memory = Memory()

    found = [
        evaluate.look(rule, AT, {"now": [a_series(value)]}, memory)[0].alert.severity for value in (7, 11, 1)
    ]

    assert found == [Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL]


def test_an_alert_that_goes_on_firing_is_the_same_look_until_something_is_new() -> None:
    steps = (Limit(5, Severity.WARNING), Limit(10, Severity.CRITICAL))
    rule, memory = a_rule(trigger=above(0).__class__(op=Op.GT, limits=steps)), Memory()
    values = [7, 8, 7, 11, 12, 1, 1, 7, 7]

    ends = [
        evaluate.look(rule, AT + n * MINUTE, {"now": [a_series(value, AT + n * MINUTE)]}, memory)[
            0
        ].alert.window_end
        for n, value in enumerate(values)
    ]

    assert [(end - AT) // MINUTE for end in ends] == [0, 0, 0, 3, 3, 5, 6, 7, 7]


def test_an_alert_that_goes_on_firing_is_seen_anew_every_quarter_of_an_hour() -> None:
    rule, memory = a_rule(), Memory()

    ends = [
        evaluate.look(rule, AT + n * MINUTE, {"now": [a_series(9, AT + n * MINUTE)]}, memory)[
            0
        ].alert.window_end
        for n in range(40)
    ]

    assert sorted({(end - AT) // MINUTE for end in ends}) == [0, 15, 30]


def test_evidence_explains_itself_and_has_no_floats() -> None:
    rule = a_rule(
        description="Too many orders wait", owner="shop team", runbook="https://wiki.example.org/orders"
    )
    points = tuple(Point(AT - (500 - n) * SECOND // 2, float(n)) for n in range(500))

    (made,) = evaluate.look(rule, AT, {"now": [Series({}, points)]}, Memory())

    alert = made.alert
    assert alert.message == "Too many orders wait: last = 499 > 5"
    assert alert.annotations == {"description": "Too many orders wait", "owner": "shop team"}
    assert [link.href for link in alert.links] == ["https://wiki.example.org/orders"]
    assert (alert.window_start, alert.window_end) == (AT - 5 * MINUTE, AT)
    evidence: Any = alert.evidence
    assert evidence["formula"] == "last = 499 > 5"
    assert (evidence["value"], evidence["limit"]) == ("499.0", "5.0")
    assert len(evidence["points"]) == evaluate.POINTS_SHOWN
    assert evidence["points"][-1] == ["2027-01-15T07:59:59.500000Z", "499.0"]
    assert evidence["rule"] == evaluate.digest(rule)
    assert not any(isinstance(value, float) for value in walk(evidence))


def walk(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from walk(one)
    else:
        yield value


def test_a_scope_is_forgotten_after_a_week_without_data_unless_it_fires() -> None:
    rule, memory = a_rule(no_data=NoData.KEEP), Memory()
    look(rule, memory, a_series(9, region="n"), a_series(1, region="s"))

    look(rule, memory, at=AT + 7 * DAY - 1)
    assert len(memory.scopes) == 2
    look(rule, memory, at=AT + 7 * DAY)

    assert list(memory.scopes) == ['{"region":"n"}']


def test_what_turns_green_is_still_ended_until_nothing_of_it_is_open() -> None:
    rule, memory = a_rule(), Memory()
    look(rule, memory, a_series(9, region="n"))
    for outcome in ("green", "no_incident"):
        (made,) = evaluate.look(rule, AT, {"now": [a_series(1, region="n")]}, memory)
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)
        assert [one.scope for one in evaluate.ended("orders", AT, kept, "")] == [{"region": "n"}]
        evaluate.answered(memory, made, outcome)

    assert evaluate.ended("orders", AT, memory, "") == ()


def test_a_look_says_how_many_of_the_last_were_wrong() -> None:
    rule, memory = a_rule(looks=3, of=3), Memory()

    wrong = [evaluate.look(rule, AT, {"now": [a_series(9)]}, memory)[0].wrong for _ in range(4)]

    assert wrong == [1, 2, 3, 3]


def test_what_nobody_looks_at_any_more_is_over() -> None:
    rule, memory = a_rule(), Memory()
    look(rule, memory, a_series(9, region="n"), a_series(1, region="s"))

    (alert,) = evaluate.ended("orders", AT, memory, "The rule was removed.")

    assert (alert.status.value, alert.scope, alert.message) == (
        "resolved",
        {"region": "n"},
        "The rule was removed.",
    )
    assert memory.scopes == {}


def test_a_look_gives_the_same_bytes_whatever_the_order_of_the_answer() -> None:
    series = [a_series(n, region=str(n)) for n in range(20)]

    one = evaluate.look(a_rule(), AT, {"now": series}, Memory())
    other = evaluate.look(a_rule(), AT, {"now": series[::-1]}, Memory())

    assert one == other


def test_a_change_of_what_scopes_are_made_of_shows() -> None:
    shapes = {evaluate.shape(rule) for rule in (a_rule(), a_rule(by=()), a_rule(scope={"a": "b"}))}

    assert len(shapes) == 3
    assert evaluate.shape(a_rule(window=MINUTE)) == evaluate.shape(a_rule())
    assert evaluate.digest(a_rule(window=MINUTE)) != evaluate.digest(a_rule())


@pytest.mark.parametrize("name", ["rule_id", "severity", "source"])
def test_a_column_that_is_called_like_a_field_of_every_alert_is_refused(name: str) -> None:
    series = a_series(9, **{name: "x", "region": "north"})

    with pytest.raises(Invalid, match=rf"`{name}`, which is a field of every alert.*[(]AS \.\.\.[)]"):
        look(a_rule(), Memory(), series)
    assert statuses(a_rule(by=("region",)), Memory(), series) == {'{"region": "north"}': "firing"}
