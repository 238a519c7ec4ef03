"""Every planted bug is found: a suite that cannot tell a broken Tocsin from a sound one proves nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.planted import beyond, bugs
from tests.reliability.tally import tally
from tests.simulation.storm import Broken, play
from tests.support.measure import unmeasured

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", bugs.BUGS)
def test_a_simulated_story_finds(name: str) -> None:
    bug, other = bugs.BUGS[name], []

    for seed in range(bug.seeds):
        try:
            with unmeasured(), bug.plant():
                play(seed)
        except Broken as broken:
            said = str(broken).partition("\n")[0]
            if re.search(bug.says, said):
                print(f"{name}, after {seed + 1} stories: {said}")
                tally("planted bugs", planted=1, found=1, stories=seed + 1)
                return
            other.append(said[:200])  # That something breaks is not enough.
    pytest.fail(f"{bug.seeds} stories did not say '{bug.says}' of a bug: {bug.what}. They said {other[:3]}")


@pytest.mark.parametrize("name", beyond.BUGS)
def test_another_test_finds(name: str) -> None:
    bug = beyond.BUGS[name]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.planted.plugin", "--plant", name]
    command += ["-p", "no:cacheprovider", *bug.tests]

    with unmeasured():
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    if re.search(r"^\d+ skipped in", ran.stdout, re.MULTILINE):
        pytest.skip("".join(re.findall(r"^SKIPPED .*", ran.stdout, re.MULTILINE)[:1]))  # It says why.
    said = "\n".join(line for line in ran.stdout.splitlines() if line.startswith("E "))
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, f"{bug.what}: {ran.stdout}{ran.stderr}"
    assert re.search(bug.says, said), f"{bug.what}: the tests do not say '{bug.says}', but:\n{said}"
    tally("planted bugs", planted=1, found=1)


def test_there_are_as_many_as_the_rules_ask_for() -> None:
    assert len(bugs.BUGS) + len(beyond.BUGS) >= 15
