"""Sources of a real `tocsin.yaml`: what is taken, what is refused at its place, and what they then answer."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.architecture.project import ROOT
from tests.settings.files import settings_of, wrongs_of
from tests.sources.asking import at

from tocsin.outbound import Outbound
from tocsin.runtime.evaluator import ask
from tocsin.settings import Settings
from tocsin.wiring.outside import build_sources

FILES = "sources: [{name: f, kind: sql, url: 'duckdb://', files: %s}]"
EXAMPLE = next(
    example
    for example in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL)
    if "duckdb://" in example
)
TEMPERATURES = "at,room,value\n2026-11-18T11:57:00Z,kitchen,31\n2026-11-18T11:58:00Z,cellar,12\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a configuration, with a folder of files in it."""
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "temps.csv").write_text(TEMPERATURES)
    return tmp_path


def answers(settings: Settings) -> dict[tuple[str, ...], list[float]]:
    """Let the first rule be answered at noon: labels -> values."""

    async def run() -> dict[tuple[str, ...], list[float]]:
        sources = build_sources(settings, Outbound())
        try:
            (found,) = (await ask(settings.rules[0], at("2026-11-18T12:00:00"), sources)).values()
            return {
                tuple(series.labels.values()): [point.value for point in series.points] for series in found
            }
        finally:
            for source in sources.values():
                await source.close()

    return asyncio.run(run())


def test_the_files_of_a_folder_are_asked_as_the_docs_say(folder: Path):
    settings = settings_of(folder, EXAMPLE)

    assert answers(settings) == {("cellar",): [12.0], ("kitchen",): [31.0]}


@pytest.mark.parametrize("said", ["csv", "./csv", "csv/", "absolute"])
def test_a_folder_of_files_is_relative_to_the_configuration_or_absolute(folder: Path, said: str):
    named = str(folder / "csv") if said == "absolute" else said

    assert answers(settings_of(folder, EXAMPLE.replace("files: csv", f"files: {named}")))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("csv/temps.csv", "csv/temps.csv is no folder. Name the one that the files lie in."),
        ("gone", "gone cannot be read: No such file or directory."),
        ('"a\\0b"', "cannot be read: it has no sound name."),
    ],
)
def test_what_is_no_folder_is_refused_at_its_line(folder: Path, said: str, why: str):
    (wrong,) = wrongs_of(folder, FILES % said)

    assert wrong.startswith("1:57 sources[0].files: ")
    assert wrong.endswith(why)


def test_a_driver_that_is_missing_is_told_at_its_line_before_a_rule_asks(tmp_path: Path):
    (wrong,) = wrongs_of(
        tmp_path, "sources:\n- {name: shop, kind: sql, url: 'mysql+pymysql://reader@db/shop'}"
    )

    assert wrong.startswith("2:32 sources[0].url: The driver for mysql is not installed (")


RULE = """\
sources: [{name: shop, kind: sql, url: 'sqlite:///shop.db'}]
rules:
- rule_id: orders
  source: shop
  severity: error
  query: SELECT 1 AS value
  trigger: {kind: threshold, op: gt, value: 1}
"""
SLO = """\
slos:
- name: source-failed
  source: shop
  objective: 99
  good: SELECT 1 AS value
  total: SELECT 1 AS value
"""
TAKEN = " is a field of every alert, so no label is called so. Call it something else."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE.replace(": orders", ": source-failed"), "3:12 rules[0].rule_id: 'source-failed' is Tocsin's own rule"),
        (RULE + SLO, "9:9 slos[0].name: 'source-failed' is Tocsin's own rule"),
        (RULE + "  scope: {team: a, source: b}", f"8:28 rules[0].scope.source: `source`{TAKEN}"),
        (RULE + "  labels:\n    severity: high", f"9:15 rules[0].labels.severity: `severity`{TAKEN}"),
        (RULE + "  by: [region, rule_id]", f"8:16 rules[0].by[1]: `rule_id`{TAKEN}"),
    ],
)  # fmt: skip
def test_a_name_that_alerts_have_for_something_else_is_refused_at_its_place(
    tmp_path: Path, text: str, said: str
):
    (wrong,) = wrongs_of(tmp_path, text)

    assert wrong.startswith(said)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://reader:p@db:5432/shop",
        "postgresql+psycopg://reader@db/shop?connect_timeout=5",
        "postgresql+psycopg:///shop",
        "sqlite:////srv/shop.db",
    ],
)
def test_the_database_of_a_server_is_no_file_beside_the_configuration(folder: Path, url: str):
    settings = settings_of(
        folder, "sources: [{name: shop, kind: sql, url: {env: SHOP_URL}}]", {"SHOP_URL": url}
    )

    assert [source.url.value for source in settings.sources] == [url]  # type: ignore[union-attr]


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_of_a_database_is_beside_the_configuration(folder: Path, scheme: str):
    settings = settings_of(folder, f"sources: [{{name: shop, kind: sql, url: '{scheme}:///shop.db'}}]")

    assert [source.url.value for source in settings.sources] == [f"{scheme}:///{folder / 'shop.db'}"]  # type: ignore[union-attr]
