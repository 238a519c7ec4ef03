"""Gate: notify_accuracy. Do the golden scenarios end as they are told?"""

from difflib import SequenceMatcher

from tocsin.cli import gate_scenarios, gate_story
from tocsin.cli.gate_check import Asked, Found
from tocsin.cli.gate_scenarios import Scenario

DIFFERS_MAX = 40
"""So many differing lines are shown."""


def accuracy(asked: Asked) -> Found:
    """Play every scenario through the real core and pump, and compare what is told with what should be."""
    wrong: list[str] = []
    differs: list[tuple[str, str]] = []
    scenarios = gate_scenarios.SCENARIOS
    for scenario in scenarios:
        try:
            pairs = _differences(scenario)
        except Exception as error:
            wrong.append(f"{scenario.name}: it cannot be played: {type(error).__name__}: {error}")
            continue
        if pairs:
            wrong.append(f"{scenario.name}: not so: {scenario.shows}")
            differs += pairs
    figures = {"scenarios": {scenario.name: scenario.shows for scenario in scenarios}}
    if wrong:
        said = f"{len(wrong)} of {len(scenarios)} golden scenarios do not end as they are told."
        return Found("fail", said, wrong=tuple(wrong), differs=tuple(differs[:DIFFERS_MAX]), figures=figures)
    lines = sum(len(scenario.story.strip().splitlines()) for scenario in scenarios)
    said = f"{len(scenarios)} golden scenarios end as they are told, to the word ({lines} lines)."
    return Found("ok", said, figures=figures)


def _differences(scenario: Scenario) -> list[tuple[str, str]]:
    """Play one; the lines that differ, as (expected, found), in order."""
    told = gate_story.play(scenario.story, policy=scenario.policy, in_full=True)
    expected, found = (
        [line.strip() for line in text.strip().splitlines()] for text in (scenario.story, told)
    )
    pairs: list[tuple[str, str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, expected, found, autojunk=False).get_opcodes():
        if tag != "equal":
            for position in range(max(b - a, d - c)):
                pairs.append(
                    (
                        expected[a + position] if a + position < b else "",
                        found[c + position] if c + position < d else "",
                    )
                )
    return pairs
