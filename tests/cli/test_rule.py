"""`tocsin rule test`, `explain` and `backtest` on a real database and a real file: forms, exit codes, hostile names."""

import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.answered import EVIL
from tests.cli.inside import Said, run
from tests.cli.running import tocsin
from tests.cli.terminal import terminal
from tests.support.builders import HOUR, MINUTE
from tests.support.rules import a_rule

from tocsin.cli.rule_explain import FORMULAS, explained
from tocsin.cli.rule_test import guides_of
from tocsin.core.model.alert import Severity
from tocsin.core.model.rule import (
    Absent,
    Break,
    BurnRate,
    DeltaPct,
    Judgement,
    Limit,
    Op,
    Outlier,
    Period,
    Point,
    Series,
    Side,
    Slope,
    Threshold,
    Tier,
    Trigger,
)
from tocsin.core.rules.glance import Glance, Verdict, glance
from tocsin.core.rules.plain import kind_of
from tocsin.runtime.trial import Trial

AT = "2025-01-10T12:00:00Z"
"""A Friday."""
END = datetime.fromisoformat(AT)

FOUR = (Limit(4.0, Severity.ERROR),)
CONFIG = """
sources:
- {kind: sql, name: shop, url: "sqlite:///shop.db"}
- {kind: sql, name: gone, url: "sqlite:///gone.db"}
channels:
- {kind: webhook, name: ops, url: "https://example.org/hook"}
rules:
- rule_id: configured
  source: shop
  severity: error
  query: SELECT at, host, n AS value FROM orders WHERE at >= :since AND at < :until
  window: 1h
  trigger: {kind: threshold, op: gt, value: 1000}
"""

HIGH = """
- rule_id: orders.high
  description: Too many orders
  source: shop
  query: SELECT at, host, n AS value FROM orders WHERE at >= :since AND at < :until
  every: 30m
  window: 2h
  zone: Europe/Berlin
  labels: {team: shop}
  trigger: {kind: threshold, op: gt, limits: [{value: 80, severity: warning}, {value: 95, severity: critical}]}
  for: 2 of 3
"""
NOBODY = """
- rule_id: nobody.home
  source: gone
  severity: error
  query: SELECT at, n AS value FROM orders WHERE at >= :since AND at < :until
  every: 1h
  trigger: {kind: threshold, op: gt, value: 1}
"""
BURN = """
slos:
- name: checkout
  objective: 99.9
  source: shop
  good: SELECT sum(n) AS value FROM orders WHERE at >= :since AND at < :until AND n < 90
  total: SELECT sum(n) AS value FROM orders WHERE at >= :since AND at < :until
"""


def value_at(at: datetime) -> float:
    """High from 9 to 12 and at 23 o'clock UTC, very high on Fridays."""
    if at.hour in (9, 10, 11, 23):
        return 99.0 if at.weekday() == 4 else 85.0
    return 50.0 + at.minute / 10


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rule")
    (folder / "tocsin.yaml").write_text(CONFIG)
    (folder / "high.yaml").write_text(f"rules:{HIGH}")
    (folder / "both.yaml").write_text(f"rules:{HIGH}{NOBODY}")
    (folder / "nobody.yaml").write_text(f"rules:{NOBODY}")
    (folder / "burn.yaml").write_text(BURN)
    rows = [END - timedelta(minutes=5 * n) for n in range(1, 31 * 288)]
    with sqlite3.connect(folder / "shop.db") as db:
        db.execute("CREATE TABLE orders (at TEXT, host TEXT, n REAL)")
        db.execute("CREATE INDEX orders_at ON orders (at)")
        said = [(f"{at:%Y-%m-%d %H:%M:%S}", f"db-1{EVIL}", value_at(at)) for at in rows]
        db.executemany("INSERT INTO orders VALUES (?, ?, ?)", said)
    lines = [f"{at.isoformat()},{value_at(at)},db-1{EVIL}" for at in rows]
    (folder / "history.csv").write_text("\n".join(["at,value,host", *lines]))
    return folder


def rule(place: Path, verb: str, *arguments: object) -> Said:
    return run("rule", verb, *arguments, "--config", place / "tocsin.yaml", "--data", place / "data")


def is_harmless(text: str, *, width: int = 80) -> bool:
    shown = text.replace("\n", "")
    return shown.isprintable() and EVIL not in text and all(len(line) <= width for line in text.splitlines())


# test


def test_a_look_is_told_with_its_formula_and_its_points(place: Path) -> None:
    said = rule(place, "test", place / "high.yaml", "--at", AT)

    assert said.code == 0, said.err
    (one,) = said.answer["rules"]
    assert (one["rule_id"], one["at"], one["failure"]) == ("orders.high", AT, None)
    assert (one["looks"], one["of"]) == (2, 3)
    (scope,) = one["scopes"]
    assert scope["scope"] == {"host": f"db-1{EVIL}", "team": "shop"}
    assert (scope["verdict"], scope["severity"], scope["value"], scope["limit"]) == (
        "firing",
        "critical",
        99.0,
        95.0,
    )
    assert scope["formula"] == "last = 99 > 95"
    assert scope["points"][-1] == ["2025-01-10T11:55:00Z", 99.0]
    assert len(scope["points"]) == 24
    assert scope["lines"] == [{"value": 80.0, "severity": "warning"}, {"value": 95.0, "severity": "critical"}]


def test_a_look_is_drawn_with_its_limits_and_nothing_hostile_reaches_the_terminal(place: Path) -> None:
    said = rule(place, "test", place / "high.yaml", "--at", "2025-01-10T09:30:00Z", "-o", "table")

    assert said.code == 0
    assert is_harmless(said.out)
    assert "firing critical  host=db-1<U+001B>[31mred<U+202E><U+0007> team=shop  last = 99\n> 95" in said.out
    assert "it fires after 2 of 3" in said.out
    assert "95 ┤╌" in said.out
    assert "80 ┤╌" in said.out
    assert said.out.splitlines()[-2].split() == ["08:30", "09:30", "Europe/Berlin", "10:30"]


def test_a_terminal_without_unicode_gets_stars(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    said = tocsin(
        "rule", "test", place / "high.yaml", "--at", AT, "-o", "table", "--config", place / "tocsin.yaml",
        "--data", place / "data",
    )  # fmt: skip

    assert said.code == 0
    assert said.out.isascii()
    assert "95 +---" in said.out
    assert "*" in said.out
    assert "?" not in said.out


@pytest.mark.parametrize(
    ("trigger", "numbers", "levels"),
    [
        (Break(limits=FOUR), {"usual": 10.0, "spread": 2.0}, [8, 10, 12]),
        (Outlier(limits=FOUR), {"median": 10.0, "last": 16.0, "z": 3.0}, [2, 10, 18]),
        (Outlier(limits=FOUR, side=Side.ABOVE), {"median": 10.0, "last": 16.0, "z": 3.0}, [10, 18]),
        (Outlier(limits=FOUR, side=Side.BELOW), {"median": 10.0, "last": 4.0, "z": -3.0}, [2, 10]),
        (Outlier(limits=FOUR), {"median": 10.0, "last": 10.0, "z": 0.0}, [10]),
        (Break(limits=FOUR), {"usual": 1.7e308, "spread": 1.7e308}, [0, 1.7e308]),
        (Break(limits=FOUR), {}, []),
        (Threshold(op=Op.GT, limits=FOUR), {"last": 5.0}, []),
    ],
)
def test_what_is_usual_is_drawn(trigger: Trigger, numbers: dict[str, float], levels: list[float]) -> None:
    judged = Judgement(severity=None, value=1.0, limit=4.0, formula="", numbers=numbers)
    seen = Glance(scope={}, verdict=Verdict.GREEN, judgement=judged, points=(), lines=())

    assert guides_of(a_rule(trigger=trigger), HOUR, seen) == (levels, None)


def test_the_line_that_was_fitted_is_drawn_from_one_end_of_the_window_to_the_other() -> None:
    made = a_rule(trigger=Slope(op=Op.GT, limits=FOUR, per=HOUR), window=2 * HOUR)
    points = [Point(at * 10 * MINUTE, 7.0 + at) for at in range(2, 10)]

    (seen,) = glance(made, 2 * HOUR, {"now": [Series({}, tuple(points))]})

    assert guides_of(made, 2 * HOUR, seen) == ([], (pytest.approx(7), pytest.approx(19)))


def test_a_burn_rate_is_told_by_its_tiers_and_not_drawn(place: Path) -> None:
    said = rule(place, "test", place / "burn.yaml", "--at", AT, "-o", "table")

    assert said.code == 0
    assert "┤" not in said.out
    assert "  error from 6 x on: 652.4 x over 6h, no answer over 30m\n" in said.out
    assert "  warning from 1 x on: 70.26 x over 3d, 652.4 x over 6h\n" in said.out
    assert "  critical from 14.4 x on: " in said.out


def test_without_a_chart_there_is_none(place: Path) -> None:
    said = rule(place, "test", place / "high.yaml", "--at", AT, "-o", "table", "--no-chart")

    assert "┤" not in said.out
    assert "last = 99 > 95" in said.out.replace("\n", " ")


@pytest.mark.parametrize(
    ("at", "verdict", "formula"),
    [
        ("2025-01-10T08:00:00Z", "green", "last = 55.5 is not > 80"),
        ("2020-01-08T08:00:00Z", "no data", "no data, so nothing is said"),
    ],
)
def test_green_and_no_data_are_verdicts_too(place: Path, at: str, verdict: str, formula: str) -> None:
    said = rule(place, "test", place / "high.yaml", "--at", at)

    (scope,) = said.answer["rules"][0]["scopes"]
    assert said.code == 0
    assert (scope["verdict"], scope["severity"], scope["formula"]) == (verdict, None, formula)


def test_a_rule_that_is_configured_is_looked_at_by_its_id(place: Path) -> None:
    said = rule(place, "test", "configured", "--at", AT)

    assert [one["rule_id"] for one in said.answer["rules"]] == ["configured"]
    assert said.code == 0


def test_too_little_data_is_said_as_such(place: Path, tmp_path: Path) -> None:
    text = f"rules:{HIGH}".replace("kind: threshold, op: gt,", "kind: slope, op: gt,").replace("2h", "10m")
    (tmp_path / "slope.yaml").write_text(text)

    said = rule(place, "test", tmp_path / "slope.yaml", "--at", AT)

    (scope,) = said.answer["rules"][0]["scopes"]
    assert scope["verdict"] == "too little data"
    assert "at least 3 are needed" in scope["formula"]


def test_what_is_wrong_exits_with_2_and_its_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(f"rules:{HIGH}".replace("op: gt", "op: above"))

    said = rule(place, "test", tmp_path / "wrong.yaml")

    assert said.code == 2
    assert "wrong.yaml:10:" in said.err
    assert said.out == ""


def test_a_whole_configuration_is_no_file_of_rules(place: Path) -> None:
    said = rule(place, "test", place / "tocsin.yaml")

    assert said.code == 2
    assert "tocsin.yaml is a whole configuration" in said.err
    assert "Name the id of one of its rules instead" in said.err
    assert "There is no such key" not in said.err


def test_a_query_that_would_write_is_refused_before_it_is_asked(place: Path, tmp_path: Path) -> None:
    query = "SELECT at, host, n AS value FROM orders WHERE at >= :since AND at < :until"
    (tmp_path / "wrong.yaml").write_text(f"rules:{HIGH}".replace(query, "DELETE FROM orders"))

    assert rule(place, "test", tmp_path / "wrong.yaml").code == 2


@pytest.mark.parametrize(
    ("arguments", "named"), [(["nowhere"], "configured"), (["high.yaml", "--rule", "x"], "orders.high")]
)
def test_a_rule_that_is_not_there_exits_with_3_and_names_those_that_are(
    place: Path, arguments: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)

    said = rule(place, "test", *arguments)

    assert said.code == 3
    assert named in said.err


@pytest.mark.parametrize(("file", "code"), [("nobody.yaml", 6), ("both.yaml", 8), ("high.yaml", 0)])
def test_sources_that_do_not_answer_show_in_the_exit_code(place: Path, file: str, code: int) -> None:
    said = rule(place, "test", place / file, "--at", AT)

    assert said.code == code
    failures = [one["failure"] for one in said.answer["rules"] if one["failure"]]
    assert len(failures) == (code != 0)


def test_nothing_is_made_where_it_only_looks(place: Path) -> None:
    rule(place, "test", place / "high.yaml", "--at", AT)

    assert not (place / "data").exists()
    assert not (place / "gone.db").exists()


# explain


def test_a_rule_is_explained_in_words_with_its_numbers(place: Path) -> None:
    said = rule(place, "explain", place / "high.yaml", "--at", AT, "-o", "table")

    assert said.code == 0
    assert is_harmless(said.out)
    words = " ".join(said.out.split())
    for sentence in (
        "now: from 2025-01-10 11:00:00 Europe/Berlin to 2025-01-10 13:00:00 Europe/Berlin",
        "SELECT at, host, n AS value FROM orders WHERE at >= :since AND at < :until",
        "every 30m; next 2025-01-10 13:",
        "reduce(points) op limit (threshold)",
        "op = gt, reduce = last",
        "warning above 80, critical above 95; once 2 of the last 3 looks were wrong",
        "a scope without data is no look: all stays as it is",
        "one for each combination of all labels that the answer has",
        "team=shop",
        "firing critical host=db-1",
        "last = 99 > 95",
    ):
        assert sentence in words, sentence


def test_every_kind_of_trigger_has_its_formula_and_its_terms() -> None:
    one, side = (Limit(4.0, Severity.ERROR),), Side.BOTH
    tiers = (Tier(long=HOUR, short=5 * MINUTE, factor=14.4, severity=Severity.CRITICAL),)
    kinds = [
        Threshold(op=Op.GT, limits=one),
        DeltaPct(op=Op.GT, limits=one, against=Period.WEEK),
        Slope(op=Op.GT, limits=one),
        Break(limits=one, side=side),
        Outlier(limits=one, side=side),
        Absent(limits=one),
        BurnRate(objective=0.999, good="good", total="total", tiers=tiers),
    ]
    seen = set()
    for trigger in kinds:
        made = a_rule(trigger=trigger)
        said = explained(Trial(rule=made, at=0))
        seen.add(kind_of(made.trigger))
        assert said["formula"].startswith(FORMULAS[kind_of(made.trigger)][0])
        assert said["questions"]
        assert said["fires"]
    assert seen == set(FORMULAS)


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        (Threshold(op=Op.LT, limits=(Limit(1, Severity.CRITICAL),)), "critical below 1"),
        (Threshold(op=Op.LTE, limits=(Limit(1, Severity.ERROR),)), "error at 1 or below"),
        (Threshold(op=Op.GT, limits=(Limit(0.5, Severity.ERROR),)), "error above 0.5"),
        (Threshold(op=Op.GTE, limits=(Limit(1, Severity.ERROR),)), "error at 1 or above"),
        (Threshold(op=Op.EQ, limits=(Limit(1, Severity.ERROR),)), "error at exactly 1"),
        (Threshold(op=Op.NE, limits=(Limit(1, Severity.ERROR),)), "error at anything but 1"),
        (DeltaPct(op=Op.LT, limits=(Limit(-20, Severity.ERROR),), against=Period.WEEK), "error below -20 %"),
        (Slope(op=Op.GT, limits=(Limit(5, Severity.ERROR),), per=HOUR), "error above 5 per hour"),
        (Break(limits=(Limit(5, Severity.ERROR),)), "error at 5 or above"),
        (Outlier(limits=(Limit(3.5, Severity.INFO),)), "info at 3.5 or above"),
        (Absent(limits=(Limit(90 * 60, Severity.ERROR),)), "error after 1h30m"),
    ],
    ids=str,
)
def test_a_limit_says_on_which_side_of_it_something_is_wrong(trigger: Trigger, says: str) -> None:
    said = explained(Trial(rule=a_rule(trigger=trigger), at=0))

    assert said["fires"] == f"{says}; with the first wrong look"


def test_a_rule_for_absence_says_that_no_data_is_what_it_looks_for() -> None:
    absent = Absent(limits=(Limit(60, Severity.ERROR),))

    assert "looks for" in explained(Trial(rule=a_rule(trigger=absent), at=0))["no data"]


# backtest


def test_a_backtest_says_what_would_have_been(place: Path) -> None:
    said = rule(place, "backtest", place / "high.yaml", "--days", 14, "--until", AT)

    assert said.code == 0, said.err
    assert said.answer["channels"] == 1
    (found,) = said.answer["rules"]
    assert (found["since"], found["until"], found["zone"]) == ("2024-12-27T12:00:00Z", AT, "Europe/Berlin")
    assert (found["looks"], found["failed"]) == (14 * 48, 0)
    # Every day from 9 and at 23 UTC, which is after midnight in Berlin; the one of the last Friday is still open.
    # Critical: Friday at 23, a week later both, and the last Friday from 9.
    assert len(found["incidents"]) == 28
    assert found["nights"]["incidents"] == 14
    assert found["severities"] == {"critical": 4, "error": 0, "warning": 24, "info": 0}
    assert found["incidents_per_week"] == 14.0
    assert [one["resolved_at"] for one in found["incidents"]].count(None) == 1
    assert sum(week["incidents"] for week in found["weeks"]) == 28
    assert [week["week"] for week in found["weeks"]] == ["2024-W52", "2025-W01", "2025-W02"]
    assert found["incidents"][0]["scope"] == {"host": f"db-1{EVIL}", "team": "shop"}
    assert {one["kind"] for one in found["notifications"]} == {"opened", "resolved"}


def test_a_csv_file_in_the_place_of_the_source_gives_the_same(place: Path, tmp_path: Path) -> None:
    until = ("--days", 7, "--until", AT)
    (tmp_path / "else.yaml").write_text(f"rules:{HIGH}".replace("source: shop", "source: nobody_has_this"))

    asked = rule(place, "backtest", place / "high.yaml", *until)
    read = rule(place, "backtest", tmp_path / "else.yaml", *until, "--csv", place / "history.csv")

    assert read.code == 0, read.err
    assert read.answer == asked.answer


def test_for_people_the_verdict_comes_first(place: Path) -> None:
    csv = ("--csv", place / "history.csv", "--until", AT, "-o", "table")

    said = rule(place, "backtest", place / "high.yaml", "--days", 30, *csv)

    assert said.code == 0
    assert is_harmless(said.out)
    words = " ".join(said.out.split())
    assert (
        "60 incidents in 30 days (14.0 a week), 9 critical, 30 opened at night, 119 notifications (" in words
    )
    assert " at night)" in words
    assert "week (Europe/Berlin) incidents notifications incidents, of at most 14" in words
    assert "and 10 more: --output json" in words
    assert "2025-W01 14 28 ████" in words
    assert "The longest: #" in words
    assert "host=db-1<U+001B>[31mred<U+202E><U+0007>" in "".join(words.split())


def test_looks_before_the_history_begins_are_told_apart(place: Path) -> None:
    csv = ("--csv", place / "history.csv", "--until", AT, "-o", "table")

    whole, longer = (
        " ".join(rule(place, "backtest", place / "high.yaml", "--days", days, *csv).out.split())
        for days in (30, 35)
    )

    assert "before there was any" not in whole
    assert "could say nothing: no data, or too little; all of them before there was any." in longer


def test_progress_comes_line_by_line_and_the_report_last(place: Path) -> None:
    said = rule(
        place, "backtest", place / "high.yaml", "--csv", place / "history.csv", "--until", AT, "-o", "ndjson",
        "--days", 5,
    )  # fmt: skip

    *progress, last = map(json.loads, said.out.splitlines())
    assert progress[0] == {"doing": "orders.high", "looks": 0, "of": 240}
    assert progress[-1] == {"doing": "orders.high", "looks": 240, "of": 240}
    assert last["report"]["rules"][0]["looks"] == 240


def test_looks_without_an_answer_are_told(place: Path, tmp_path: Path) -> None:
    lines = (place / "high.yaml").read_text().replace("n AS value", "n AS value, n AS value")
    (tmp_path / "twice.yaml").write_text(lines)

    said = rule(place, "backtest", tmp_path / "twice.yaml", "--days", 1, "--until", AT)

    assert said.code == 6
    (found,) = said.answer["rules"]
    assert found["failed"] == found["looks"] == 48
    assert found["failures"]
    shown = rule(place, "backtest", tmp_path / "twice.yaml", "--days", 1, "--until", AT, "-o", "table")
    assert "48 looks of 48 got no answer" in shown.out


def test_a_source_that_is_away_ends_it(place: Path) -> None:
    said = rule(place, "backtest", place / "nobody.yaml", "--until", AT)

    assert said.code == 6
    assert said.out == ""
    assert "Rule nobody.home:" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--since", "2025-01-11", "--until", AT], 2, "ends before it begins"),
        (["--since", "2020-01-01", "--until", AT], 2, "longer than 400 days"),
        (["--until", "2999-01-01"], 2, "in the future"),
        (["--days", "0"], 2, "--days"),
        (["--csv", "nowhere.csv"], 2, "nowhere.csv is no history"),
        (["--rule", "x"], 3, "There is no rule x"),
    ],
)
def test_what_cannot_be_tried_is_refused(place: Path, arguments: list[str], code: int, says: str) -> None:
    said = rule(place, "backtest", place / "high.yaml", *arguments)

    assert said.code == code
    assert says in said.err
    assert said.out == ""


def test_a_program_is_told_of_a_failure_too(place: Path) -> None:
    said = rule(place, "backtest", place / "high.yaml", "--rule", "x", "-o", "ndjson")

    (line,) = said.out.splitlines()
    error = json.loads(line)["error"]
    assert error["invalid"] is True
    assert "There is no rule x" in error["detail"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("value\n1\n", "No column says when: history needs a column `at`. There are: 'value'."),
        ("time;room;value\n1;a;2\n", "There are: 'time;room;value'. Put commas between them."),
        (
            "at,value\n\n2025-01-01,1\n\n2025-01-02,x\n2025-01-03\nnow,2\n",
            "Line 6 has 1 columns, the header 2. ",
        ),
        ("at,value\n\n2025-01-01,1\n\n2025-01-02,x\n2025-01-03\nnow,2\n", "value of line 5 is no number"),
        ("at,value,a\n2025-01-01,1,'\n2025-01-02,x,'\n", "value of line 3"),
        ('at,value,a\n2025-01-01,1,"b\nc"\n2025-01-02,x,"b\nc"\n', "The value of line 4 is"),
        ("at,value\n" + "now,1\n" * 6, "moment of line 6 cannot be read"),
        ("at,value\n" + "now,1\n" * 6, " There may be more."),
        ("at,n\n2025-01-01,1\n", "No column is called `value`. There are: at, n. Name the columns"),
        ("at,value\nyesterday,1\n", "moment of line 2 cannot be read"),
        ("at,value\n2025-01-01,many\n", "value of line 2 is no number, but text. Write it with digits"),
        ("at,value\n2025-01-01,1_000\n", "value of line 2"),
        ("at,value\n2025-01-01,1,2\n", "Line 2 has 3 columns, the header 2."),
        ("at,value\n2025-01-01,1\n2025-01-01,2\n", "same moment"),
        ("", "No column says when"),
        ("\xff\xfe", "is no history"),
    ],
)
def test_a_file_that_is_no_history_is_refused_and_says_why(
    place: Path, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "h.csv").write_bytes(text.encode("latin-1"))

    said = rule(place, "backtest", place / "high.yaml", "--csv", tmp_path / "h.csv", "--until", AT)

    assert said.code == 2
    assert says in said.err


def test_a_csv_file_does_not_answer_two_questions(place: Path) -> None:
    said = rule(place, "backtest", place / "burn.yaml", "--csv", place / "history.csv", "--until", AT)

    assert said.code == 2
    assert "a CSV file answers one" in said.err


def test_at_a_terminal_it_shows_how_far_it_is(place: Path) -> None:
    arguments = (
        "rule", "backtest", place / "high.yaml", "--until", AT, "--csv", place / "history.csv",
        "--config", place / "tocsin.yaml", "--data", place / "data",
    )  # fmt: skip
    with terminal(*arguments) as screen:
        screen.wait_for("orders.high")
        assert screen.end() == 0
    assert "incidents in 90 days" in screen.seen
    assert "\x1b[31mred" not in screen.seen
