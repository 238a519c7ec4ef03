"""The documentation is alive, and what checks it would notice if it were not."""

import importlib.util

import pytest
from tests.architecture.project import ROOT

SPEC = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts" / "check_docs.py")
assert SPEC is not None
assert SPEC.loader is not None
check_docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_docs)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Makefile").write_text("test: ## run the tests\n\ttrue\n")
    (tmp_path / "other.md").write_text("# The first thing\n\n## A thing, again\n")
    return tmp_path


def test_the_documentation_of_tocsin_is_alive():
    found = check_docs.problems(ROOT)

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x](gone.md)", "leads nowhere"),
        ("![x](gone.png)", "leads nowhere"),
        ("[x](../../etc)", "lead"),
        ("[x](other.md#not-there)", "no heading #not-there"),
        ("[x](#not-here)", "no heading #not-here"),
        ("```python\nx =\n```", "does not parse"),
        ("```json\n{a: 1}\n```", "does not parse"),
        ("```toml\na = \n```", "does not parse"),
        ("```sh\nmake tests\n```", "no verb 'tests'"),
        ("```sh\nmake test", "never closed"),
    ],
)
def test_dead_documentation_is_noticed(folder, text, said):
    (folder / "page.md").write_text(text)

    [problem] = check_docs.problems(folder)

    assert problem.startswith("page.md:1:")
    assert said in problem


@pytest.mark.parametrize(
    "text",
    [
        "[x](other.md#the-first-thing) [y](other.md#a-thing-again) [z](https://example.org/gone)",
        "`[x](gone.md)`",
        "```python\nx = 1\n```\n\n```json\n[1]\n```\n\n```sh\n$ SEED=1 make test\n```",
        "```text\n[x](gone.md)\n```",
    ],
)
def test_living_documentation_passes(folder, text):
    (folder / "page.md").write_text(text)

    assert check_docs.problems(folder) == []
