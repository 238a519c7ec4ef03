"""What holds for every test: no setting leaks in from outside, chance is repeatable, and seeds can be chosen."""

import os

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "tocsin", derandomize=True, deadline=None
)  # the same examples for everybody
hypothesis.settings.load_profile("tocsin")

for name in [
    name
    for name in os.environ
    if name.startswith("TOCSIN_") and not name.startswith(("TOCSIN_TEST_", "TOCSIN_TALLY"))
]:
    del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tocsin")
    group.addoption("--seed", type=int, help="run each simulation under this one seed")
    group.addoption("--seeds", type=int, default=5, help="run each simulation under the seeds 0..N-1 (5)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument `seed` runs once per seed; `make sim SEED=8127` repeats the one that failed."""
    if "seed" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed")
        seeds = range(metafunc.config.getoption("--seeds")) if one is None else [one]
        metafunc.parametrize("seed", seeds)
