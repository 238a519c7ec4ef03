"""Shrink: what is left of a story that breaks, when all that does not matter is taken away.

    python -m tests.simulation.shrink SEED [--hours H] [--without KIND,...]

plays one story and says what became of it: what it takes to look at a shrunk one.
"""

import argparse
import sys
from dataclasses import asdict

from tests.simulation.storm import HOURS, TROUBLES, Broken, Story, play

SHORTER = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


def tell(seed: int) -> Story:
    """Play a seed's story. Raises: Broken, with what is left of it and the commands that play it again."""
    try:
        return play(seed)
    except Broken as broken:
        raise Broken(f"{broken}\n\nPlay it again: make sim SEED={seed}\n{shrunk(seed)}") from broken


def shrunk(seed: int) -> str:
    """Take away hours and trouble for as long as it breaks, in whatever way; say how to play what is left."""
    hours = next((some for some in SHORTER if _breaks(seed, some, ())), HOURS)
    without: list[str] = []
    for kind in TROUBLES:
        if _breaks(seed, hours, [*without, kind]):
            without.append(kind)
    words = f"{hours} hours" + (f", without {', '.join(without)}" if without else "")
    options = f" --hours {hours}" + (f" --without {','.join(without)}" if without else "")
    return f"It takes only {words}: python -m tests.simulation.shrink {seed}{options}"


def _breaks(seed: int, hours: float, without: list[str] | tuple[()]) -> bool:
    try:
        play(seed, hours=hours, without=without)
    except Broken:
        return True
    return False


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.shrink")
    parser.add_argument("seed", type=int)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--without", default="", help=f"of {','.join(TROUBLES)}")
    given = parser.parse_args()
    try:
        story = play(given.seed, hours=given.hours, without=[one for one in given.without.split(",") if one])
    except Broken as broken:
        print(broken)
        return 1
    for name, value in asdict(story).items():
        print(f"{name:12} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
