"""The reference of the command line leaves nothing out. (That it is current, tests/settings/test_docs.py looks.)"""

from pathlib import Path

import click
import pytest
from tests.cli.inside import verbs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", list(verbs()))
def test_every_verb_stands_in_it_with_all_that_it_takes(name: str) -> None:
    entry = PAGE.partition(f"# tocsin {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    common = PAGE.partition("## Common options\n")[2].partition("\n## ")[0]

    assert entry, f"docs/cli.md has no entry for `tocsin {name}`"
    for option in verbs()[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            for spelled in (*option.opts, *option.secondary_opts):
                assert f"`{spelled}`" in entry or f"`{spelled}`" in common, f"tocsin {name} {spelled}"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130])
def test_every_exit_code_is_explained(code: int) -> None:
    assert f"\n| {code} | " in PAGE
