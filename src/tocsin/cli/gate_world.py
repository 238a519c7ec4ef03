"""Gate world: plays everything that the gate plays, and prints the root of each ledger. A program of its own.

The gate runs it in two processes that have little in common; what they print must be the same.
"""

import json
import locale
import sys

from tocsin.cli.gate_scenarios import SCENARIOS
from tocsin.cli.gate_story import Stage
from tocsin.cli.gate_tour import tour
from tocsin.ports import Store


def roots() -> dict[str, str]:
    """Give the size and root of the ledger of each scenario, and of the tour."""
    found = {}
    for scenario in SCENARIOS:
        stage = Stage(scenario.policy)
        stage.play(scenario.story)
        found[scenario.name] = _root(stage.house.store)
    found["tour"] = _root(tour().house.store)
    return found


def _root(store: Store) -> str:
    head = store.head()
    return f"{head.size}:{head.root.hex()}"


def main() -> None:
    """Play in whatever place and language this process is."""
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        pass  # The machine does not have that language; the rest of the world is another one all the same.
    json.dump(roots(), sys.stdout)


if __name__ == "__main__":
    main()
