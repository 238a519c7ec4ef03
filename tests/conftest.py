"""What holds for every test: no setting leaks in from outside, chance is repeatable, and seeds can be chosen."""

import os
import signal

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "tocsin", derandomize=True, deadline=None
)  # the same examples for everybody
hypothesis.settings.load_profile("tocsin")

# A shell that runs us in the background lets us ignore it, and our children would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in [
    name
    for name in os.environ
    if name.startswith("TOCSIN_") and not name.startswith("TOCSIN_TEST_") and name != "TOCSIN_TALLY"
]:
    del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tocsin")
    group.addoption("--seed", type=int, help="run each simulation under this one seed")
    group.addoption("--seeds", type=int, help="play the simulated stories of the seeds 0..N-1")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument `seed` runs once per seed; `make sim SEED=8127` repeats the one that failed.

    Its module may say in SEEDS how many of them it needs to mean something; `--seeds` is for tests/simulation alone.
    """
    if "seed" in metafunc.fixturenames:
        one = metafunc.config.getoption("--seed")
        many = getattr(metafunc.module, "SEEDS", 5)
        if "simulation" in metafunc.module.__file__.split(os.sep)[-2:]:
            many = metafunc.config.getoption("--seeds") or many
        metafunc.parametrize("seed", range(many) if one is None else [one])
