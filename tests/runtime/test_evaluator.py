"""Rules are looked at when they are due; what is seen becomes alerts, and silence is never taken for green."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.house import House, a_house, a_policy
from tests.support.fakes import FakeClock
from tests.support.http_sink import HttpSink
from tests.support.points import Points
from tests.support.rules import a_rule, above

from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.policy import SECOND, Policy
from tocsin.core.model.rule import Interval, Limit, NoData, Op, Point, Rule, Series, Threshold
from tocsin.core.rules import evaluate
from tocsin.ports import IncidentFilter, SourceFailed, Store
from tocsin.runtime import evaluator as module
from tocsin.runtime.evaluator import Evaluator
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore

SOON = Interval(SECOND // 20)
ALWAYS = 4_000_000_000_000_000


class Live(Points):
    """A source whose series have a value now. values: by region."""

    def __init__(self, name: str = "shop", **values: float) -> None:
        super().__init__(name)
        self.values = values

    async def ask(self, ask: Any) -> tuple[Series, ...]:
        self.series = tuple(
            Series({"region": region}, (Point(ask.until - 1, value),))
            for region, value in self.values.items()
        )
        return await super().ask(ask)


def soon(**more: Any) -> Rule:
    return a_rule(every=SOON, **more)


def incidents(store: Store, *states: IncidentState) -> list[IncidentView]:
    return store.list_incidents(IncidentFilter(states=states), 100)[0]


def firing(house: House) -> set[tuple[str, str]]:
    """What is not over: rule and scope."""
    return {
        (one.rule_id, ",".join(f"{name}={value}" for name, value in sorted(one.labels.items())))
        for one in incidents(house.store, IncidentState.OPEN)
    }


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that waits."""

    @functools.wraps(test)
    def run(*args: Any, **given: Any) -> None:
        asyncio.run(test(*args, **given))

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Return once it is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # What is waited for is told to nobody.


@asynccontextmanager
async def looking(
    rules: Sequence[Rule], *sources: Points, data: Path | Store | None = None, policy: Policy | None = None
) -> AsyncIterator[House]:
    async with a_house(MemoryStore() if data is None else data, policy=policy or a_policy()) as house:
        house.node.evaluator.use(rules, {source.name: source for source in sources})
        yield house


@on_a_loop
async def test_a_rule_fires_is_told_goes_green_and_resolves_by_itself() -> None:
    source = Live(north=9)
    async with HttpSink() as sink, a_house(MemoryStore(), {"hook": sink}) as house:
        house.node.evaluator.use([soon()], {"shop": source})
        await until(lambda: len(sink.requests) == 1)
        assert firing(house) == {("orders", "region=north")}

        source.values["north"] = 1
        await until(lambda: not firing(house))
        await until(lambda: len(sink.requests) == 2)

        resolved = house.events(ev.IncidentResolved)
        assert [(one.auto, one.greens) for one in resolved] == [(True, 3)]
        assert len(house.events(ev.IncidentOpened)) == 1


async def resolutions() -> list[ev.IncidentResolved]:
    """Let one scope stay wrong while another stays right, where a single green look would resolve; what resolved."""
    one_green = a_policy()
    one_green = msgspec.structs.replace(one_green, routes=msgspec.structs.replace(one_green.routes, greens=1))
    source = Live(north=9, south=1)
    async with looking([soon()], source, policy=one_green) as house:
        await until(lambda: house.events(ev.IncidentOpened) != [])
        asked = len(source.asked)
        await until(lambda: len(source.asked) >= asked + 10)
        await house.node.gate.submit((), "test")
        return house.events(ev.IncidentResolved)


@on_a_loop
async def test_greens_of_one_scope_never_resolve_another() -> None:
    assert await resolutions() == []


@on_a_loop
async def test_a_green_look_that_is_put_down_to_another_scope_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = evaluate.look

    def careless(*given: Any) -> Any:
        """Green is green, somebody may think, and leave out whose."""
        looks = honest(*given)
        first = looks[0].scope
        return tuple(
            msgspec.structs.replace(one, alert=msgspec.structs.replace(one.alert, scope=first))
            for one in looks
        )

    monkeypatch.setattr(evaluate, "look", careless)

    assert await resolutions() != []


@on_a_loop
async def test_a_source_that_is_away_is_itself_an_alert_and_nothing_turns_green(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FAILING_AFTER", SECOND // 5)
    monkeypatch.setattr(module, "RETRY", SECOND // 50)
    source = Live(north=9)
    rules = [soon(rule_id=f"orders-{n}", no_data=NoData.OK) for n in range(3)]
    async with looking(rules, source) as house:
        await until(lambda: len(firing(house)) == 3)

        source.fails = SourceFailed("It refuses connections.", is_away=True)
        await until(lambda: ("source-failed", "data_source=shop") in firing(house))
        asked = len(source.asked)
        await until(lambda: len(source.asked) > asked + 20)

        assert firing(house) == {
            ("source-failed", "data_source=shop"),
            *((f"orders-{n}", "region=north") for n in range(3)),
        }
        (standing, *_) = house.node.evaluator.standings()
        assert standing.failure == "It refuses connections."
        assert standing.failing_since

        source.fails = None
        source.values["north"] = 1
        await until(lambda: not firing(house))
        assert house.node.evaluator.standings()[0].failure == ""


@on_a_loop
async def test_a_question_that_has_no_answer_is_an_alert_about_its_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FAILING_AFTER", SECOND // 5)
    monkeypatch.setattr(module, "RETRY", SECOND // 50)
    good, bad = Live(north=1), Live("other")
    bad.fails = SourceFailed("There is no column amount.", is_away=False)
    async with looking([soon(), soon(rule_id="refunds", source="other")], good, bad) as house:
        await until(lambda: ("source-failed", "data_source=other,rule=refunds") in firing(house))

        assert len(firing(house)) == 1
        (one,) = incidents(house.store, IncidentState.OPEN)
        assert "There is no column amount." in (one.title or "")


@on_a_loop
async def test_a_short_failure_is_nobodys_business() -> None:
    source = Live(north=1)
    async with looking([soon()], source) as house:
        await until(lambda: len(source.asked) > 2)
        source.fails = SourceFailed("It is restarting.", is_away=True)
        asked = len(source.asked)
        await until(lambda: len(source.asked) > asked)
        source.fails = None
        await until(lambda: house.node.evaluator.standings()[0].failing_since == 0)

        assert firing(house) == set()
        assert house.events(ev.IncidentOpened) == []


@on_a_loop
async def test_what_rules_remember_outlives_a_restart(tmp_path: Path) -> None:
    source = Live(north=9)
    rule = soon(looks=60, of=60)
    store = SqliteStore(tmp_path / "data")
    async with looking([rule], source, data=store) as house:
        await until(lambda: len(source.asked) >= 30)
        assert firing(house) == set()
    store.close()

    again = Live(north=9)
    store = SqliteStore(tmp_path / "data")
    async with looking([], data=store) as house:
        house.node.evaluator.use([rule], {"shop": again})
        await until(lambda: firing(house) != set())
        assert len(again.asked) < 50
    store.close()


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda rule: [], "The rule was removed."),
        (lambda rule: [msgspec.structs.replace(rule, enabled=False)], "The rule was disabled."),
        (
            lambda rule: [msgspec.structs.replace(rule, labels={"team": "pay"}, trigger=above(100))],
            "The rule's scopes were changed.",
        ),
    ],
)
@on_a_loop
async def test_what_nobody_looks_at_any_more_is_resolved(
    change: Callable[[Rule], list[Rule]], because: str
) -> None:
    source = Live(north=9)
    async with looking([soon()], source) as house:
        await until(lambda: firing(house) != set())

        house.node.evaluator.use(change(soon()), {"shop": source})
        await until(lambda: firing(house) == set())

        assert house.events(ev.IncidentResolved)[-1].auto


@on_a_loop
async def test_a_rule_that_was_removed_while_nobody_was_there_is_resolved_at_the_start(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path / "data")
    async with looking([soon()], Live(north=9), data=store) as house:
        await until(lambda: firing(house) != set())
    store.close()

    store = SqliteStore(tmp_path / "data")
    async with looking([], data=store) as house:
        await until(lambda: firing(house) == set())
        await until(lambda: store.evaluations() == {})
    store.close()


@on_a_loop
async def test_to_forget_a_rule_ends_what_fires_and_a_rule_that_is_not_there_is_not_forgotten() -> None:
    source = Live(north=9, south=9)
    async with looking([soon()], source) as house:
        await until(lambda: len(firing(house)) == 2)
        source.values = {}

        assert await house.node.evaluator.forget("orders", "user:anna", "The shops are closed.") == 2
        assert firing(house) == set()
        with pytest.raises(KeyError):
            await house.node.evaluator.forget("nothing", "user:anna", "No reason.")


@on_a_loop
async def test_a_look_that_was_not_committed_is_made_again_and_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY", SECOND // 50)
    source = Live(north=9)
    async with looking([], source) as house:
        real = house.node.gate.submit
        refused: list[int] = []

        def submit(inputs: Any, actor: str) -> Any:
            if inputs and len(refused) < 5:
                refused.append(1)
                raise Unavailable("Not now.")
            return real(inputs, actor)

        monkeypatch.setattr(house.node.evaluator, "_submit", submit)
        house.node.evaluator.use([a_rule(every=Interval(SECOND))], {"shop": source})
        await until(lambda: firing(house) != set())

        assert len({ask.until for ask in source.asked}) == 1
        assert len(source.asked) == 6


@on_a_loop
async def test_a_rule_is_never_looked_at_twice_at_once_and_others_do_not_wait_for_it() -> None:
    slow, quick = Live("slow", north=1), Live(north=1)
    begun, go_on = asyncio.Event(), asyncio.Event()
    inside = 0
    plain = slow.ask

    async def ask(one: Any) -> Any:
        nonlocal inside
        inside += 1
        assert inside == 1
        begun.set()
        await go_on.wait()
        inside -= 1
        return await plain(one)

    slow.ask = ask  # type: ignore[method-assign]
    async with looking([soon(rule_id="slow", source="slow"), soon()], slow, quick):
        await begun.wait()
        asked = len(quick.asked)
        await until(lambda: len(quick.asked) > asked + 20)
        go_on.set()


@on_a_loop
async def test_a_rule_that_is_changed_while_it_is_looked_at_is_looked_at_again() -> None:
    slow = Live(north=9)
    begun, go_on = asyncio.Event(), asyncio.Event()
    plain = slow.ask

    async def ask(one: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await plain(one)

    slow.ask = ask  # type: ignore[method-assign]
    quick = Live(north=1)
    async with looking([soon()], slow) as house:
        await begun.wait()
        house.node.evaluator.use([soon(description="changed")], {"shop": quick})
        due = house.node.evaluator.standings()[0].due or 0
        await until(
            lambda: house.node.clock.now() > due + SECOND // 10
        )  # It is due, while the old look is under way.
        assert quick.asked == []
        go_on.set()
        await until(lambda: len(quick.asked) > 3)


@on_a_loop
async def test_a_source_that_answers_something_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILING_AFTER", SECOND // 5)
    monkeypatch.setattr(module, "RETRY", SECOND // 50)
    source = Live(north=1)
    async with looking([soon()], source) as house:
        source.fails = SourceFailed("It is away.", is_away=True)
        await until(lambda: firing(house) == {("source-failed", "data_source=shop")})

        source.fails = SourceFailed("There is no such column.", is_away=False)
        await until(lambda: firing(house) == {("source-failed", "data_source=shop,rule=orders")})

        source.fails = None
        await until(lambda: firing(house) == set())


@on_a_loop
async def test_a_rule_without_any_data_is_over_as_a_whole_once_there_is_some() -> None:
    source = Live()
    async with looking([soon(no_data=NoData.FIRING)], source) as house:
        await until(lambda: firing(house) == {("orders", "")})
        source.values["north"] = 9
        await until(lambda: firing(house) == {("orders", "region=north")})


@on_a_loop
async def test_what_fires_without_data_is_not_hidden() -> None:
    source = Live(north=9)
    async with looking([soon()], source) as house:
        await until(lambda: firing(house) != set())
        source.values = {"south": 1.0}
        await until(lambda: house.node.evaluator.standings()[0].looks[0].scope == {"region": "south"})

        ((scope, severity, seen_at),) = house.node.evaluator.standings()[0].silent

        assert (scope, severity) == ({"region": "north"}, Severity.ERROR)
        assert seen_at


@on_a_loop
async def test_what_is_turning_green_is_ended_with_its_rule() -> None:
    patient = a_policy()
    patient = msgspec.structs.replace(patient, routes=msgspec.structs.replace(patient.routes, greens=1000))
    source = Live(north=9)
    async with looking([soon()], source, policy=patient) as house:
        await until(lambda: firing(house) != set())
        source.values["north"] = 1
        await until(lambda: house.events(ev.AlertGreen) != [])

        house.node.evaluator.use([], {"shop": source})

        await until(lambda: firing(house) == set())


@on_a_loop
async def test_many_rules_tell_once_that_their_source_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILING_AFTER", SECOND // 5)
    monkeypatch.setattr(module, "RETRY", SECOND // 50)
    source = Live(north=1)
    source.fails = SourceFailed("It is away.", is_away=True)
    rules = [soon(rule_id=f"orders-{n}") for n in range(40)]
    async with looking(rules, source) as house:
        await until(lambda: firing(house) == {("source-failed", "data_source=shop")})
        asked = len(source.asked)
        await until(lambda: len(source.asked) > asked + 100)

        looks = house.events(ev.AlertFired, ev.AlertSeen)
        assert len(looks) == 1


@on_a_loop
async def test_sources_are_closed_when_they_are_no_longer_asked() -> None:
    first, second = Live(north=1), Live(north=1)
    async with looking([soon()], first) as house:
        gone = house.node.evaluator.use([soon()], {"shop": second})
        assert gone == [first]
        await until(lambda: len(second.asked) > 0)
    assert second.is_closed


def test_two_evaluators_look_at_the_same_moments() -> None:
    """What a look is for does not depend on who makes it, or when it began."""
    dues = []
    for start in (ALWAYS, ALWAYS + 7):
        clock = FakeClock(start)
        one = Evaluator(MemoryStore(), clock, None, None)  # type: ignore[arg-type]
        one.use([a_rule(every=Interval(3600 * SECOND))], {})
        dues.append(one.standings()[0].due)

    assert dues[0] == dues[1]


@on_a_loop
async def test_a_severity_that_rises_is_told(tmp_path: Path) -> None:
    source = Live(north=9)
    steps = Threshold(op=Op.GT, limits=(Limit(5, Severity.WARNING), Limit(50, Severity.CRITICAL)))
    async with looking([soon(trigger=steps)], source) as house:
        await until(lambda: firing(house) != set())
        source.values["north"] = 90
        await until(lambda: incidents(house.store, IncidentState.OPEN)[0].severity is Severity.CRITICAL)
