"""Rules tried over HTTP: one look with its numbers, a backtest line by line, and nobody is told of either."""

import asyncio
import http.client
import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.builders import HOUR
from tests.support.points import Points
from tests.support.server import Server
from tests.web.faces import Face

from tocsin.core.model.access import Role
from tocsin.core.model.rule import Point, Series
from tocsin.ports import SourceFailed
from tocsin.settings import read_rules_text
from tocsin.web.api import rules_try
from tocsin.web.api.rules_try import POINTS_MAX, RULES_MAX, SCOPES_MAX

TEST = "/api/v1/rules/test"
BACKTEST = "/api/v1/rules/backtest"
AT = "2025-01-10T12:00:00Z"
AT_US = 1_736_510_400_000_000

RULE = """
- rule_id: orders.high
  source: shop
  severity: error
  query: orders
  window: 1h
  trigger: {kind: threshold, op: gt, value: 90}
  for: 2 of 3
"""
RULES = f"rules:{RULE}"


@pytest.fixture
def shop(face: Face) -> Iterator[Points]:
    source = Points("shop", [a_series("db-1", 99.0), a_series("db-2", 50.0)])
    before = face.node.read_rules
    face.node.read_rules = read_rules_text
    face.node.evaluator.sources = {"shop": source}
    yield source
    face.node.read_rules, face.node.evaluator.sources = before, {}


def a_series(host: str, value: float, count: int = 12) -> Series:
    step = HOUR // count
    points = tuple(Point(AT_US - HOUR + number * step, value) for number in range(count))
    return Series(labels={"host": host}, points=points)


def test_a_look_says_the_verdict_of_each_scope_with_its_numbers(face: Face, shop: Points) -> None:
    status, _, answer = face.ask("POST", TEST, {"rules": RULES, "at": AT})

    assert status == 200
    (one,) = answer["rules"]
    assert (one["rule_id"], one["at"], one["failure"], one["scopes_total"]) == ("orders.high", AT, None, 2)
    assert (one["window_start"], one["window_end"]) == ("2025-01-10T11:00:00Z", AT)
    assert (one["looks"], one["of"]) == (2, 3)
    high, low = one["scopes"]
    assert (high["scope"], high["verdict"], high["severity"]) == ({"host": "db-1"}, "firing", "error")
    assert (high["value"], high["limit"], high["formula"]) == (99.0, 90.0, "last = 99 > 90")
    assert high["numbers"] == {"last": 99.0}
    assert high["lines"] == [{"value": 90.0, "severity": "error"}]
    assert high["points"][-1] == {"at": "2025-01-10T11:55:00Z", "value": 99.0}
    assert len(high["points"]) == 12
    assert (low["verdict"], low["severity"], low["formula"]) == ("green", None, "last = 50 is not > 90")


def test_nothing_is_remembered_and_nobody_is_told(face: Face, shop: Points) -> None:
    before = face.settle()

    for _ in range(4):
        assert face.ask("POST", TEST, {"rules": RULES, "at": AT})[0] == 200

    assert face.settle() == before
    assert face.node.store.evaluations() == {}
    assert face.node.evaluator.standings() == []
    assert face.ask("GET", "/api/v1/incidents")[2]["total"] == 0


def test_without_a_moment_it_looks_now(face: Face, shop: Points) -> None:
    before = face.node.clock.now()

    _, _, answer = face.ask("POST", TEST, {"rules": RULES})

    (asked,) = shop.asked
    assert before <= asked.until <= face.node.clock.now()
    (scope,) = answer["rules"][0]["scopes"]
    assert (scope["verdict"], scope["scope"], scope["points"]) == ("no data", {}, [])


def test_an_objective_is_a_rule_too(face: Face, shop: Points) -> None:
    text = "slos: [{name: checkout, objective: 99.9, source: shop, good: a, total: b}]"

    _, _, answer = face.ask("POST", TEST, {"rules": text, "at": AT})

    assert answer["rules"][0]["rule_id"] == "checkout"
    assert {asked.query for asked in shop.asked} == {"a", "b"}


def test_a_source_that_gives_no_answer_is_told_as_that(face: Face, shop: Points) -> None:
    shop.fails = SourceFailed("The source shop does not answer.", is_away=True)

    status, _, answer = face.ask("POST", TEST, {"rules": RULES, "at": AT})

    assert status == 200
    assert answer["rules"][0]["failure"] == "The source shop does not answer."
    assert answer["rules"][0]["scopes"] == []


def test_an_answer_is_bounded(face: Face, shop: Points) -> None:
    shop.series = [a_series(f"db-{number:03}", 1.0, 720) for number in range(SCOPES_MAX + 5)]

    _, _, answer = face.ask("POST", TEST, {"rules": RULES, "at": AT})

    (one,) = answer["rules"]
    assert (one["scopes_total"], len(one["scopes"])) == (SCOPES_MAX + 5, SCOPES_MAX)
    assert all(len(scope["points"]) <= POINTS_MAX for scope in one["scopes"])
    assert one["scopes"][0]["points"][-1]["at"] == "2025-01-10T11:59:55Z"


def test_sources_that_take_for_ever_are_not_waited_for(
    face: Face, shop: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(ask: object) -> tuple[Series, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(shop, "ask", never)
    monkeypatch.setattr(rules_try, "TIME_S_MAX", 0.05)

    status, _, answer = face.ask("POST", TEST, {"rules": RULES})

    assert status == 503
    assert "The sources took more than" in answer["detail"]


MANY = "rules:" + "".join(RULE.replace("orders.high", f"r{number}") for number in range(RULES_MAX + 1))


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ({"rules": RULES.replace("gt", "above")}, "rules.yaml:7:", "op"),
        ({"rules": RULES.replace("shop", "shed")}, "rules.yaml:3:", "shed"),
        ({"rules": "rules: ["}, "rules.yaml:", "YAML"),
        ({"rules": f"channels: []\n{RULES}"}, "rules.yaml:1:", "channels"),
        ({"rules": MANY}, "rules", "at most 20"),
        ({"rules": ""}, "", "at least 1"),
        ({"rules": RULES, "at": "yesterday"}, "", "instant"),
        ({"rules": RULES, "more": 1}, "", "more"),
        ({}, "", "rules"),
    ],
)
def test_what_is_wrong_is_refused_and_nobody_is_asked(
    face: Face, shop: Points, form: dict[str, Any], field: str, says: str
) -> None:
    status, headers, problem = face.ask("POST", TEST, form)

    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert says in problem["detail"]
    assert problem.get("field", "").startswith(field)
    assert shop.asked == []


@pytest.mark.parametrize("path", [TEST, BACKTEST])
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_only_an_admin_may_ask_sources_for_whatever_they_like(
    face: Face, shop: Points, path: str, role: Role
) -> None:
    assert face.ask("POST", path, {"rules": RULES}, role=role)[0] == 403
    assert shop.asked == []


# A backtest needs a real server, with a configuration that its child reads too.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("backtest")
    end = datetime.fromisoformat(AT)
    with sqlite3.connect(place / "shop.db") as db:
        db.execute("CREATE TABLE orders (at TEXT, n REAL)")
        rows = [end - timedelta(minutes=10 * number) for number in range(1, 11 * 144)]
        said = [(f"{at:%Y-%m-%d %H:%M:%S}", 99.0 if at.hour == 9 else 1.0) for at in rows]
        db.executemany("INSERT INTO orders VALUES (?, ?)", said)
    config = {
        "sources": [
            {"kind": "sql", "name": "shop", "url": {"env": "SHOP_URL"}},
            {"kind": "sql", "name": "gone", "url": f"sqlite:///{place / 'gone.db'}"},
        ],
        "channels": [{"kind": "webhook", "name": "ops", "url": {"env": "TOCSIN_OPS_URL"}}],
    }
    secrets = {"SHOP_URL": f"sqlite:///{place / 'shop.db'}", "TOCSIN_OPS_URL": "https://hooks.invalid/x"}
    with Server(place / "data", secrets, config) as one:
        yield one


QUERY = "SELECT at, n AS value FROM orders WHERE at >= :since AND at < :until"
REAL = RULES.replace("query: orders", f"query: {QUERY}").replace("window: 1h", "window: 20m\n  every: 10m")


def asked(server: Server, form: dict[str, Any]) -> tuple[int, str, list[dict[str, Any]]]:
    """Ask to the end: status, type, and the lines."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        connection.request("POST", BACKTEST, json.dumps(form), headers)
        answer = connection.getresponse()
        kind = answer.getheader("content-type", "")
        return answer.status, kind, [json.loads(line) for line in answer.read().splitlines()]
    finally:
        connection.close()


def test_a_backtest_comes_with_its_progress_and_knows_the_servers_secrets(server: Server) -> None:
    status, kind, lines = asked(server, {"rules": REAL, "days": 10, "until": AT})

    assert (status, kind) == (200, "application/x-ndjson")
    assert lines[0] == {"doing": "orders.high", "looks": 0, "of": 1440}
    report = lines[-1]["report"]
    assert report["channels"] == 1
    (found,) = report["rules"]
    assert (found["since"], found["until"]) == ("2024-12-31T12:00:00Z", AT)
    assert len(found["incidents"]) == 10
    assert len(found["notifications"]) == 20
    status, _, incidents = server.request("GET", "/api/v1/incidents")
    assert (status, incidents["total"]) == (200, 0)


def test_a_server_looks_once_with_its_own_source(server: Server) -> None:
    status, _, answer = server.request("POST", TEST, {"rules": REAL, "at": "2025-01-10T09:30:00Z"})

    assert status == 200
    (scope,) = answer["rules"][0]["scopes"]
    assert (scope["verdict"], scope["value"]) == ("firing", 99.0)


def test_of_several_rules_one_can_be_named(server: Server) -> None:
    text = REAL + RULE.replace("orders.high", "other").replace("query: orders", f"query: {QUERY}")

    lines = asked(server, {"rules": text, "rule": "other", "since": "2025-01-10T11:00:00Z", "until": AT})[2]

    assert [one["rule_id"] for one in lines[-1]["report"]["rules"]] == ["other"]
    assert lines[-1]["report"]["rules"][0]["looks"] == 12


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"rules": REAL.replace("gt", "above")}, "rules.yaml"),
        ({"rules": REAL.replace("shop", "shed")}, "shed"),
        ({"rules": REAL, "rule": "nobody"}, "There is no rule nobody"),
        ({"rules": REAL, "rule": "--help"}, "rule"),
        ({"rules": REAL, "days": 0}, "days"),
        ({"rules": REAL, "days": 401}, "days"),
        ({"rules": REAL, "since": AT, "until": "2025-01-01T00:00:00Z"}, "Swap the two"),
        ({"rules": REAL, "until": "2999-01-01T00:00:00Z"}, "future"),
        ({"rules": REAL, "since": "2001-01-01T00:00:00Z", "until": AT}, "longer than 400 days"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_asked(
    server: Server, form: dict[str, Any], says: str
) -> None:
    status, kind, (problem,) = asked(server, form)

    assert (status, kind) == (422, "application/problem+json")
    assert says in problem["detail"]
    assert "/tmp" not in json.dumps(problem)


def test_looks_without_an_answer_are_told(server: Server) -> None:
    text = REAL.replace("FROM orders", "FROM nowhere")

    lines = asked(server, {"rules": text, "days": 1, "until": AT})[2]

    found = lines[-1]["report"]["rules"][0]
    assert found["failed"] == found["looks"] == 144
    assert "no such table" in found["failures"][0]


def test_a_source_that_is_away_ends_it_with_an_error(server: Server) -> None:
    lines = asked(server, {"rules": REAL.replace("source: shop", "source: gone"), "days": 1, "until": AT})[2]

    assert lines[0] == {"doing": "orders.high", "looks": 0, "of": 144}
    assert lines[-1]["error"]["detail"].startswith("Rule orders.high:")
    assert lines[-1]["error"]["invalid"] is False


def test_a_ledger_in_memory_has_no_backtests(face: Face) -> None:
    status, _, problem = face.ask("POST", BACKTEST, {"rules": RULES})

    assert status == 409
    assert problem["state"] == "in memory"
