"""Every planted bug is found: a suite that cannot tell a broken Tocsin from a sound one proves nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.planted import beyond, bugs
from tests.reliability.tally import tally
from tests.simulation.storm import Broken, play

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", bugs.BUGS)
def test_a_simulated_story_finds(name: str) -> None:
    bug = bugs.BUGS[name]

    for seed in range(bug.seeds):
        try:
            with bug.plant():
                play(seed)
        except Broken as broken:
            print(f"{name}, after {seed + 1} stories: {str(broken).splitlines()[0]}")
            tally("planted bugs", planted=1, found=1, stories=seed + 1)
            return
    pytest.fail(f"{bug.seeds} stories did not notice that {bug.what}")


@pytest.mark.parametrize("name", beyond.BUGS)
def test_another_test_finds(name: str) -> None:
    bug = beyond.BUGS[name]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.planted.plugin", "--plant", name]
    command += ["-p", "no:cacheprovider", *bug.tests]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, f"{bug.what}: {ran.stdout}{ran.stderr}"
    tally("planted bugs", planted=1, found=1)


def test_there_are_as_many_as_the_rules_ask_for() -> None:
    assert len(bugs.BUGS) + len(beyond.BUGS) >= 15
