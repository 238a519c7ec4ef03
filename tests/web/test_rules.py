"""Rules over HTTP: how they stand, what their last look saw, and what is left of an objective's budget."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.support.points import Points
from tests.support.rules import a_rule, above
from tests.web.faces import Face, a_face
from tests.web.waiting import until

from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY, HOUR, SECOND
from tocsin.core.model.rule import Cron, Interval, Point, Rule, Series, Slo, Tier
from tocsin.core.rules import objectives
from tocsin.ports import SourceFailed

ALWAYS = 4_000_000_000_000_000
SOON = Interval(SECOND // 20)
TIERS = (Tier(long=HOUR, short=HOUR // 12, factor=14.4, severity=Severity.CRITICAL),)
ORDERS = Slo(
    name="orders_served",
    objective=0.99,
    window=30 * DAY,
    source="shop",
    good="good",
    total="total",
    every=SOON,
    tiers=TIERS,
)


class Now(Points):
    """The same values at every moment."""

    async def ask(self, ask):
        plain = self.series, self.by_query
        self.series = tuple(
            Series(one.labels, (Point(ask.until - 1, one.points[0].value),)) for one in self.series
        )
        self.by_query = {
            name: tuple(Series(one.labels, (Point(ask.until - 1, one.points[0].value),)) for one in found)
            for name, found in self.by_query.items()
        }
        try:
            return await super().ask(ask)
        finally:
            self.series, self.by_query = plain


def a_value(value: float, **labels: str) -> Series:
    return Series(labels, (Point(0, value),))


@pytest.fixture
def face() -> Iterator[Face]:
    with a_face() as one:
        yield one


def use(face: Face, source: Points, *rules: Rule, slos: tuple[Slo, ...] = ()) -> None:
    async def change() -> None:
        mine = (*rules, *map(objectives.rule_of, slos))
        face.node.evaluator.use(mine, {source.name: source}, slos)

    face.on_loop(change())


def rule(face: Face, name: str = "orders") -> dict:
    status, _, found = face.ask("GET", f"/api/v1/rules/{name}", role=Role.VIEWER)
    assert status == 200
    return found


def test_a_rule_shows_what_its_last_look_saw(face: Face) -> None:
    source = Now("shop", [a_value(9, region="north"), a_value(1, region="south")])
    use(face, source, a_rule(every=SOON, owner="shop team", labels={"team": "pay"}))
    until(lambda: rule(face)["state"] == "firing")

    found = rule(face)

    assert {name: found[name] for name in ("scopes", "firing", "owner", "trigger", "every", "labels")} == {
        "scopes": 2,
        "firing": 1,
        "owner": "shop team",
        "trigger": "threshold",
        "every": "0.05s",
        "labels": {"team": "pay"},
    }
    assert found["trigger_settings"] == {
        "kind": "threshold",
        "op": "gt",
        "limits": [{"value": 5.0, "severity": "error"}],
        "reduce": "last",
    }
    north, south = found["last"]
    assert (north["status"], north["formula"], north["value"], north["limit"]) == (
        "firing",
        "last = 9 > 5",
        9.0,
        5.0,
    )
    assert north["scope"] == {"region": "north", "team": "pay"}
    assert (south["status"], south["formula"]) == ("green", "last = 1 is not > 5")
    assert [point["value"] for point in north["points"]] == [9.0]
    assert datetime.fromisoformat(found["done_at"]) < datetime.fromisoformat(found["due_at"])


def test_a_rule_that_never_asked_says_what_another_one_heard_of_its_source(face: Face) -> None:
    broken = Now("shop")
    broken.fails = SourceFailed("It is away.", is_away=True)
    use(face, broken, a_rule(every=SOON), a_rule(rule_id="rare", every=Cron("0 0 29 2 *")))
    until(lambda: rule(face)["failure"])

    assert rule(face, "rare")["state"] == "failing"
    assert rule(face, "rare")["failure"] == "Source shop gave no answer, as rule orders heard: It is away."


@pytest.mark.parametrize(
    ("length", "said"), [(SECOND // 20, "0.05s"), (90 * SECOND, "90s"), (1_234_567 * SECOND, "1234567s")]
)
def test_how_often_it_looks_is_said_exactly(face: Face, length: int, said: str) -> None:
    use(face, Now("shop"), a_rule(every=Interval(length), enabled=False))

    assert rule(face)["every"] == said


def test_the_rule_of_an_objective_shows_its_queries(face: Face) -> None:
    use(face, Now("shop", by_query={"good": [], "total": []}), slos=(ORDERS,))

    found = rule(face, "orders_served")

    assert found["query"] == ""
    assert found["trigger_settings"] == {
        "kind": "burn_rate",
        "objective": 99.0,
        "good": "good",
        "total": "total",
        "tiers": [{"long": 3600.0, "short": 300.0, "factor": 14.4, "severity": "critical"}],
    }


def test_rules_are_listed_by_name_in_all_their_states(face: Face) -> None:
    source, broken = Now("shop", [a_value(1)]), Now("broken")
    broken.fails = SourceFailed("It is away.", is_away=True)

    async def change() -> None:
        rules = [
            a_rule(rule_id="green", every=SOON),
            a_rule(rule_id="firing", every=SOON, trigger=above(0)),
            a_rule(rule_id="failing", every=SOON, source="broken"),
            a_rule(rule_id="waiting", every=Cron("0 0 29 2 *"), zone="Europe/Berlin"),
            a_rule(rule_id="disabled", enabled=False),
        ]
        face.node.evaluator.use(rules, {"shop": source, "broken": broken})

    face.on_loop(change())

    def states() -> dict[str, str]:
        _, _, found = face.ask("GET", "/api/v1/rules")
        assert found["total"] == 5
        return {one["rule_id"]: one["state"] for one in found["rules"]}

    until(
        lambda: (
            states()["firing"] == "firing"
            and states()["green"] == "green"
            and rule(face, "failing")["failure"]
        )
    )
    assert states() == {name: name for name in ("disabled", "failing", "firing", "green", "waiting")}
    assert list(states()) == sorted(states())
    assert rule(face, "failing")["failure"] == "It is away."
    assert rule(face, "failing")["failing_since"] is not None
    assert rule(face, "waiting")["every"] == "0 0 29 2 *"
    assert rule(face, "waiting")["due_at"] == "2028-02-28T23:00:00Z"
    assert rule(face, "disabled")["due_at"] is None


def test_a_rule_that_is_not_there_is_404(face: Face) -> None:
    for method, path, body in (
        ("GET", "/api/v1/rules/nothing", None),
        ("GET", "/api/v1/slos/nothing", None),
        ("POST", "/api/v1/rules/nothing/forget", {"reason": "x"}),
    ):
        status, _, problem = face.ask(method, path, body)
        assert status == 404
        assert "nothing" in problem["detail"]


def test_what_is_forgotten_is_over_by_who_said_so(face: Face) -> None:
    source = Now("shop", [a_value(9, region="north")])
    use(face, source, a_rule(every=SOON))
    until(lambda: rule(face)["firing"] == 1)
    source.series = ()

    status, _, found = face.ask("POST", "/api/v1/rules/orders/forget", {"reason": "The shop was closed."})

    assert (status, found) == (200, {"rule_id": "orders", "ended": 1})
    assert len(face.events()) > 0
    assert [type(event) for event in face.events()].count(ev.IncidentResolved) == 1
    assert face.ask("POST", "/api/v1/rules/orders/forget", {"reason": ""})[0] == 422
    assert face.ask("POST", "/api/v1/rules/orders/forget", {"reason": "x"}, role=Role.ANALYST)[0] == 403


def test_an_objective_says_what_is_left_of_its_budget(face: Face) -> None:
    good = [a_value(9_950, region="north"), a_value(90, region="south"), a_value(1, region="lost")]
    total = [a_value(10_000, region="north"), a_value(100, region="south"), a_value(0, region="idle")]
    source = Now("shop", by_query={"good": good, "total": total})
    use(face, source, slos=(ORDERS,))
    until(lambda: face.ask("GET", "/api/v1/slos/orders_served")[2]["state"] != "waiting")

    _, _, listed = face.ask("GET", "/api/v1/slos")
    status, _, found = face.ask("GET", "/api/v1/slos/orders_served", role=Role.VIEWER)

    assert [(one["name"], one["objective"]) for one in listed["slos"]] == [("orders_served", 0.99)]
    assert status == 200
    assert found["budgets"] == [
        {"scope": {"region": "north"}, "good": 9950.0, "total": 10000.0, "spent": 0.5, "left": 0.5},
        {"scope": {"region": "south"}, "good": 90.0, "total": 100.0, "spent": 10.0, "left": -9.0},
    ]
    source.fails = SourceFailed("It is away.", is_away=True)
    status, headers, problem = face.ask("GET", "/api/v1/slos/orders_served")
    assert status == 503
    assert "It is away." in problem["detail"]
    assert "retry-after" in headers
