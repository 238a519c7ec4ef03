"""Bad weather: whatever happens, nothing accepted is lost, everybody is told, and the record says so."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.planted.bugs import BUGS
from tests.reliability.tally import tally
from tests.simulation.shrink import tell
from tests.simulation.storm import HOURS, Broken
from tests.support.measure import unmeasured

SEEDS = 300
FOUND = (2, 12, 24, 62, 69, 666, 948, 1448, 2239, 2629, 4449)
"""Seeds that once found something.

948: an attempt before the provider wanted it, for it was the last one. 2629: a second incident of one key, for a look
into one that was long over had taken the place of the one that somebody had reopened. 1448: newer news overtook older,
whose next attempt had begun while it was committed, slowly, that the newer one speaks for it. These are of one node.

Of several: 2: a message that could not be read, for the database was away, counted as an attempt that failed. 12: a
node whose clock is ahead attempted again at once, for ever. 24, 62, 69: a node lost deliveries and took them over again
while attempts of its own ran, and attempted them twice at once; what a receiver had asked for was forgotten with that. 666: a clock that had been wrong by seconds was put
right so slowly that an attempt came too early. 2239: what could not be read was tried again each second, all of it.
4449: a delivery that came back twice for the same moment could not be put in order.
"""

MEASURED = 20
"""So many stories count for the coverage; measuring takes twice as long as playing, and the others run the same lines."""
ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_in_any_weather(seed: int) -> None:
    with unmeasured() if seed >= MEASURED else nullcontext():
        story = tell(seed)

    tally(
        "simulated stories",
        stories=1,
        hours=int(HOURS),
        starts=story.starts,
        entries=story.entries,
        several=int(story.nodes > 1),
        answered=story.answered,
        unanswered=story.unanswered,
        arrived=story.arrived,
        repeated=story.twice,
    )
    tally("faults in stories", **story.faults)


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_once_is_mended(found: int) -> None:
    with unmeasured():
        tell(found)


@pytest.mark.parametrize("number", [3, 4], ids=["several nodes", "one node"])
def test_a_story_is_the_same_in_every_world(number: int) -> None:
    def root(**world: str) -> str:
        with unmeasured():
            ran = subprocess.run(
                [sys.executable, "-m", "tests.simulation.shrink", str(number)],
                cwd=ROOT, env=os.environ | world, capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
        return ran.stdout

    here = root(PYTHONHASHSEED="1", TZ="UTC", LANG="C.UTF-8")

    assert here == root(PYTHONHASHSEED="4242", TZ="Pacific/Chatham", LANG="tr_TR.UTF-8")
    assert "entries" in here
    assert ("nodes        1" in here) is (number == 4)


def test_a_story_that_breaks_is_shrunk_to_what_it_takes() -> None:
    with unmeasured(), BUGS["takes_failures_for_success"].plant():
        seed, said = next((seed, said) for seed in range(20) if (said := _what_breaks(seed)))

    assert "nothing arrived" in said
    assert f"make sim SEED={seed}" in said
    assert f"python -m tests.simulation.shrink {seed} --hours" in said
    assert "moods" not in said.split("--without")[1], "it takes a sink that fails"


def _what_breaks(seed: int) -> str:
    try:
        tell(seed)
    except Broken as broken:
        return str(broken)
    return ""
