"""Two bars for coverage, two reports: the core's, and the whole's. They stand in pyproject.toml, [tool.tocsin.bars].

Percent of statements and branches together, as coverage.py counts them. Exit code 2: a bar was not reached.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def report(name: str, bar: int, *only: str) -> bool:
    """Print one report; say whether it reached its bar."""
    print(f"\nCoverage of {name}, at least {bar} %:", flush=True)
    command = [sys.executable, "-m", "coverage", "report", f"--fail-under={bar}", *only]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Both reports are printed even if the first bar was missed."""
    bars = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["tocsin"]["bars"]
    reached = (
        report("the core", bars["core"], "--include=src/tocsin/core/*"),
        report("the whole", bars["whole"]),
    )
    return 0 if all(reached) else 2


if __name__ == "__main__":
    sys.exit(main())
