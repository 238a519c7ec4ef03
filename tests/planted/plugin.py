"""Plugin of pytest: with `--plant NAME`, everything runs with that bug planted."""

from collections.abc import Iterator

import pytest
from tests.planted.beyond import BUGS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option."""
    parser.addoption("--plant", choices=sorted(BUGS), required=True)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Plant it before any test is collected, and so before any has taken a name from what it changes."""
    with BUGS[config.getoption("--plant")].plant():
        return (yield)
