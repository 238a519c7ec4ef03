"""What is wrong with sources, rules and objectives is told for all files at once, and nothing that is right is blamed."""

from pathlib import Path

import pytest
from tests.settings.files import wrong_file

from tocsin.settings.problems import path_of

SHOP = 'sources: [{kind: sql, name: shop, url: "sqlite:///shop.db"}]\n'


def a_rule(name: str, more: str = "") -> str:
    query = "query: SELECT 1 AS value, severity: error"
    return f"- {{rule_id: {name}, source: shop, {query}, trigger: {{kind: threshold, op: gt, value: 5}}{more}}}\n"


def told(folder: Path, main: str, **rules: str) -> tuple[str, list[str]]:
    """Give the headline of what is wrong with a configuration, and each problem as `file:line key: message`."""
    (folder / "rules").mkdir(exist_ok=True)
    for name, text in rules.items():
        (folder / "rules" / f"{name}.yaml").write_text(text)
    wrong = wrong_file(folder, main)
    said = [
        f"{(one.path or wrong.path).name}:{one.place.line} {path_of(one.key)}: {one.message}"
        for one in wrong.problems
    ]
    headline, *said = (one.replace(f"{folder}/", "") for one in (str(wrong).partition("\n")[0], *said))
    return headline, said


def check(said: list[str], starts: list[str]) -> None:
    """Hold each of what is said against its beginning."""
    assert [one[: len(start)] for one, start in zip(said, starts, strict=False)] == starts
    assert len(said) == len(starts), said


def test_a_file_of_rules_that_is_no_yaml_hides_nothing_that_is_wrong_elsewhere(tmp_path: Path) -> None:
    headline, said = told(
        tmp_path,
        f"{SHOP}chanels: 1\n",
        a="rules: [",
        b="rules:\n" + a_rule("b", ", every: never"),
        c="rules:\n" + a_rule("c", ", window: 500d"),
        d="- a\n---\n",
    )

    assert headline == "The configuration has 5 errors in 5 files."
    check(
        said,
        [
            "tocsin.yaml:2 chanels: There is no such key.",
            "a.yaml:2 : This is not YAML",
            "b.yaml:2 rules[0].every: ",
            "c.yaml:2 rules[0].window: A window has at most 400 days.",
            "d.yaml:2 : A second document begins here.",
        ],
    )


def test_a_configuration_that_is_no_yaml_hides_nothing_of_the_form_of_rules(tmp_path: Path) -> None:
    _, said = told(tmp_path, "sources: [", a="rules: [", b="rules:\n" + a_rule("b", ", every: never"))

    check(
        said,
        ["tocsin.yaml:2 : This is not YAML", "a.yaml:2 : This is not YAML", "b.yaml:2 rules[0].every: "],
    )


def test_a_file_of_rules_that_cannot_be_opened_is_one_of_the_errors(tmp_path: Path) -> None:
    (tmp_path / "rules" / "a.yaml").mkdir(parents=True)

    _, said = told(tmp_path, SHOP, b="rules:\n" + a_rule("b", ", every: never"))

    check(said, ["a.yaml:1 : The configuration rules/a.yaml cannot be read", "b.yaml:2 rules[0].every: "])


def test_where_all_that_is_wrong_is_in_one_file_that_one_is_named(tmp_path: Path) -> None:
    headline, _ = told(tmp_path, SHOP, a="rules:\n" + a_rule("a", ", every: never, zone: Nowhere"))

    assert headline == "rules/a.yaml has 2 errors."


@pytest.mark.parametrize(
    ("sources", "wrong"),
    [
        ("sources: [{kind: sql, name: shop, url: 5}]\n", "sources[0].url"),
        ("sources: [{kind: sgl, name: shop, url: 'sqlite:///shop.db'}]\n", "sources[0].kind"),
        ("sources: [{kind: sql, name: 5, url: 'sqlite:///shop.db'}]\n", "sources[0].name"),
        ("sources: [{kind: sql, nam: shop, url: 'sqlite:///shop.db'}]\n", "sources[0].nam"),
        ("sources: [{kind: sql, name: *shop, url: 'sqlite:///shop.db'}]\n", "sources[0].name"),
        ("sources: {kind: sql, name: shop, url: 'sqlite:///shop.db'}\n", "sources"),
        ("sources: shop\n", "sources"),
        ("souces: [{kind: sql, name: shop, url: 'sqlite:///shop.db'}]\n", "souces"),
    ],
)
def test_what_is_wrong_with_a_source_is_not_told_again_of_its_rules(
    tmp_path: Path, sources: str, wrong: str
) -> None:
    _, said = told(tmp_path, sources, a="rules:\n" + a_rule("a"))

    assert any(one.startswith(f"tocsin.yaml:1 {wrong}: ") for one in said), said
    assert all(one.startswith("tocsin.yaml:1 sou") for one in said), said


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    _, said = told(tmp_path, SHOP.replace("name: shop", "name: shops"), a="rules:\n" + a_rule("a"))

    check(said, ["a.yaml:2 rules[0].source: Source 'shop' is not configured. Did you mean shops?"])


def test_a_name_that_stands_twice_is_told_whatever_else_is_wrong_there(tmp_path: Path) -> None:
    main = f"{SHOP}rules:\n{a_rule('one')}{a_rule('one')}"
    objective = (
        "- {name: one, objective: 99, source: shop, good: SELECT 1 AS value, total: SELECT 1 AS value}\n"
    )

    _, said = told(
        tmp_path,
        main,
        a="rules:\n" + a_rule("one", ", every: never") + a_rule("two"),
        b="slos:\n" + objective + "rules:\n" + a_rule("two"),
    )

    check(
        said,
        [
            "tocsin.yaml:4 rules[1].rule_id: 'one' is the name in line 3 too. Give each rule",
            "a.yaml:2 rules[0].rule_id: 'one' is the name in the configuration, line 3 too.",
            "a.yaml:2 rules[0].every: ",
            "b.yaml:2 slos[0].name: 'one' is the name in the configuration, line 3 too.",
            "b.yaml:4 rules[0].rule_id: 'two' is the name in rules/a.yaml, line 3 too.",
        ],
    )


def test_two_of_one_name_in_one_line_are_two(tmp_path: Path) -> None:
    one = a_rule("a")[2:].strip()

    _, said = told(tmp_path, SHOP, a=f"rules: [{one}, {one}]\n")

    check(said, ["a.yaml:1 rules[1].rule_id: 'a' is the name in line 1 too."])


def test_a_file_called_yml_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text("rules:\n" + a_rule("a", ", every: never"))

    check(told(tmp_path, SHOP)[1], ["a.yml:2 rules[0].every: "])


@pytest.mark.parametrize(
    ("every", "hint"),
    [
        ("'@daily'", "a cron expression of five fields: 0 0 * * *"),
        ("'@hourly'", "a cron expression of five fields: 0 * * * *"),
        ("'@reboot'", "a cron expression of five fields"),
        ("0 8 31 2 *", "never comes true"),
    ],
)
def test_how_often_a_rule_looks_is_said_in_what_is_read(tmp_path: Path, every: str, hint: str) -> None:
    (said,) = told(tmp_path, SHOP, a="rules:\n" + a_rule("a", f", every: {every}"))[1]

    assert said.startswith("a.yaml:2 rules[0].every: ")
    assert hint in said
