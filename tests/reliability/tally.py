"""Tally: numbers of a run, a JSON line each, appended to the file that TOCSIN_TALLY names; without it, nowhere."""

import json
import os
from pathlib import Path


def tally(what: str, **numbers: int) -> None:
    """Note what a test did. what: a row of the report; numbers: counts, which the report adds up."""
    if place := os.environ.get("TOCSIN_TALLY"):
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **numbers}) + "\n")
