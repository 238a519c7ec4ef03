"""`tocsin rule list`, `show` and `forget` against a real server that looks every second."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.answered import EVIL
from tests.cli.inside import Operator, run
from tests.support.server import Server
from tests.web.waiting import until

LONG = "SELECT 1 AS value" + " WHERE 1 = 1" + " AND 2 = 2" * 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("rules")
    with sqlite3.connect(place / "shop.db") as db:
        db.execute("CREATE TABLE hosts (host TEXT, value REAL)")
        db.execute("INSERT INTO hosts VALUES (?, 9)", [f"db-1{EVIL}"])
    config = {
        "sources": [{"kind": "sql", "name": "shop", "url": f"sqlite:///{place / 'shop.db'}"}],
        "rules": [
            {
                "rule_id": "hosts.high",
                "description": f"Hosts are busy {EVIL}",
                "source": "shop",
                "severity": "error",
                "every": "1s",
                "query": "SELECT host, value\nFROM hosts",
                "trigger": {"kind": "threshold", "op": "gt", "value": 5},
                "owner": "anna",
            },
            {
                "rule_id": "asleep",
                "source": "shop",
                "severity": "info",
                "enabled": False,
                "query": LONG,
                "trigger": {"kind": "threshold", "op": "gt", "value": 5},
            },
        ],
        "slos": [
            {
                "name": "orders_served",
                "objective": 99.0,
                "source": "shop",
                "good": "SELECT 999.0 AS value",
                "total": "SELECT 1000.0 AS value",
            }
        ],
    }
    with Server(place / "data", {}, config) as one:
        until(lambda: one.request("GET", "/api/v1/rules/hosts.high")[2]["state"] == "firing")
        yield one


@pytest.fixture
def operator(server: Server) -> Operator:
    return Operator(server)


def is_harmless(text: str) -> bool:
    return text.replace("\n", "").isprintable() and all(len(line) <= 80 for line in text.splitlines())


def test_rules_are_listed_with_how_they_stand(operator: Operator) -> None:
    said = operator("rule", "list")

    assert said.code == 0
    assert [(one["rule_id"], one["state"]) for one in said.answer["rules"]] == [
        ("asleep", "disabled"),
        ("hosts.high", "firing"),
        ("orders_served", "waiting"),
    ]
    shown = operator("rule", "list", "-o", "table")
    assert is_harmless(shown.out)
    words = " ".join(shown.out.split())
    assert "asleep disabled shop 0 of 0" in words
    assert "hosts.high firing shop 1 of 1" in words


def test_a_rule_is_shown_with_its_query_and_its_last_look(operator: Operator) -> None:
    said = operator("rule", "show", "hosts.high", "-o", "table")

    assert said.code == 0
    assert is_harmless(said.out)
    words = " ".join(said.out.split())
    assert "says Hosts are busy <U+001B>[31mred<U+202E><U+0007>" in words
    assert "owner anna" in words
    assert "looks every 1s, over the last 5m" in words
    assert "trigger threshold: op = gt, reduce = last" in words
    assert "fires error above 5; with the first wrong look" in words
    assert "no data a scope without data is no look: all stays as it is" in words
    assert "    SELECT host, value\n    FROM hosts\n" in said.out
    assert "firing error host=db-1<U+001B>[31mred<U+202E><U+0007> last = 9 > 5" in words
    assert operator("rule", "show", "hosts.high").answer["query"] == "SELECT host, value\nFROM hosts"


def test_the_rule_of_an_objective_shows_its_queries_and_its_tiers(operator: Operator) -> None:
    said = operator("rule", "show", "orders_served", "-o", "table")

    assert is_harmless(said.out)
    words = " ".join(said.out.split())
    assert "trigger burn_rate: objective = 99 %" in words
    assert "fires critical at 14.4 x over 1h and 5m, error at 6 x over 6h and 30m, warning" in words
    assert "good SELECT 999.0 AS value" in words
    assert "total SELECT 1000.0 AS value" in words


def test_a_long_query_is_wrapped(operator: Operator) -> None:
    said = operator("rule", "show", "asleep", "-o", "table")

    assert is_harmless(said.out)
    query = said.out.partition("  query\n")[2]
    assert " ".join(query.split()) == LONG
    assert len(query.splitlines()) > 2


def test_a_budget_says_what_is_left_of_it(operator: Operator) -> None:
    said = operator("rule", "budget")

    assert [one["name"] for one in said.answer["slos"]] == ["orders_served"]
    assert said.answer["slos"][0]["budgets"][0]["left"] == 0.9
    shown = operator("rule", "budget", "orders_served", "-o", "table")
    assert is_harmless(shown.out)
    assert "orders_served 99 % 30 days 999 1,000 90.0 %" in " ".join(shown.out.split())
    assert operator("rule", "budget", "nothing").code == 3


def test_a_rule_forgets_what_fires(server: Server, operator: Operator) -> None:
    said = operator("rule", "forget", "hosts.high", "--reason", "moved", "-o", "table")

    assert said.code == 0
    assert said.out == "Rule hosts.high forgot; 1 alert ended.\n"
    assert operator("rule", "forget", "asleep", "--reason", "moved").answer == {
        "rule_id": "asleep",
        "ended": 0,
    }


@pytest.mark.parametrize("arguments", [["show", "nobody"], ["forget", "nobody", "--reason", "x"]])
def test_a_rule_that_is_not_there_exits_with_3(operator: Operator, arguments: list[str]) -> None:
    said = operator("rule", *arguments)

    assert said.code == 3
    assert "tocsin rule list" in said.err


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["forget", "x", "--reason", "x"]])
def test_where_no_server_runs_nobody_looks(tmp_path: Path, arguments: list[str]) -> None:
    said = run("rule", *arguments, "--data", tmp_path)

    assert said.code == 6
    assert "tocsin rule test" in said.err


def test_to_forget_needs_a_reason(operator: Operator) -> None:
    assert operator("rule", "forget", "hosts.high").code == 2
