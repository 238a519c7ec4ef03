"""A check of the gate: what is asked for, what was found, and how it is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tocsin.cli.doctor_check import Check, State

VERDICTS: dict[State, str] = {"ok": "PASS", "warn": "WARN", "fail": "FAIL", "skipped": "SKIP"}


class Asked(NamedTuple):
    """What the gate was asked to look at. data: of a live installation, None if there is none; db: see `open_ledger`.

    config, url, token: as the verb took them; quick: leave out what takes long on a large ledger.
    """

    data: Path | None = None
    config: Path | None = None
    url: str | None = None
    token: str | None = None
    quick: bool = False
    db: str = ""


class Found(NamedTuple):
    """What a check found. said: one sentence; step: what to do next, "" for nothing.

    wrong: what is wrong, one thing a line. differs: (expected, found) where two texts should be the same, "" for a
    line that is missing. figures: what was counted or measured, by name.
    """

    state: State
    said: str
    step: str = ""
    wrong: tuple[str, ...] = ()
    differs: tuple[tuple[str, str], ...] = ()
    figures: Mapping[str, Any] = {}


class Checked(NamedTuple):
    """A check that was made, and how long it took."""

    name: str
    found: Found
    seconds: float

    @property
    def verdict(self) -> str:
        """Give PASS, WARN, FAIL or SKIP."""
        return VERDICTS[self.found.state]


def found_by_doctor(check: Check) -> Found:
    """Take over what the doctor found."""
    return Found(check.state, check.said, check.step)


def worst(checks: list[Check]) -> Found:
    """Take over several things that the doctor found, as one."""
    order: tuple[State, ...] = ("skipped", "ok", "warn", "fail")
    state = max((check.state for check in checks), key=order.index)
    wrong = tuple(
        f"{one.name}: {one.said} {one.step}".rstrip() for one in checks if one.state in ("warn", "fail")
    )
    sound = " ".join(one.said for one in checks if one.state == "ok")
    said = f"{len(wrong)} of {len(checks)} things need a look." if wrong else sound
    return Found(state, said or " ".join(one.said for one in checks), wrong=wrong)
