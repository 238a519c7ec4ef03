"""Bad weather: whatever happens, nothing accepted is lost, everybody is told, and the record says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.planted.bugs import BUGS
from tests.reliability.tally import tally
from tests.simulation.shrink import tell
from tests.simulation.storm import HOURS, Broken

SEEDS = 300
ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_in_any_weather(seed: int) -> None:
    story = tell(seed)

    tally(
        "simulated stories",
        stories=1,
        hours=int(HOURS),
        starts=story.starts,
        entries=story.entries,
        answered=story.answered,
        unanswered=story.unanswered,
        arrived=story.arrived,
        repeated=story.twice,
    )
    tally("faults in stories", **story.faults)


def test_a_story_is_the_same_in_every_world() -> None:
    def root(**world: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulation.shrink", "3"],
            cwd=ROOT, env=os.environ | world, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return ran.stdout

    here = root(PYTHONHASHSEED="1", TZ="UTC", LANG="C.UTF-8")

    assert here == root(PYTHONHASHSEED="4242", TZ="Pacific/Chatham", LANG="tr_TR.UTF-8")
    assert "entries" in here


def test_a_story_that_breaks_is_shrunk_to_what_it_takes() -> None:
    with BUGS["takes_failures_for_success"].plant(), pytest.raises(Broken) as broken:
        tell(0)

    said = str(broken.value)
    assert "nothing arrived" in said
    assert "make sim SEED=0" in said
    assert "python -m tests.simulation.shrink 0 --hours" in said
    assert "moods" not in said.split("--without")[1], "it takes a sink that fails"
