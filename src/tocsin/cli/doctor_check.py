"""A check of the doctor: what was looked at, how it is, and what to do about it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from tocsin.core.model.errors import TocsinError
from tocsin.ports import StoreFailed, StoreRefused

State = Literal["ok", "warn", "fail", "skipped"]


class Check(NamedTuple):
    """said: one sentence; step: what to do next, "" if there is nothing to do."""

    name: str
    state: State
    said: str
    step: str = ""


def checked(name: str, look: Callable[[], Check]) -> Check:
    """Look; that it cannot be looked at is a finding too."""
    try:
        return look()
    except (TocsinError, StoreFailed, StoreRefused) as error:
        return Check(name, "fail", ended(str(error)))
    except Exception as error:  # A doctor that falls over one ailment finds no other.
        return Check(
            name,
            "fail",
            ended(f"It could not be looked at: {type(error).__name__}: {error}"),
            "Look at its cause.",
        )


def ended(said: str) -> str:
    """Let a sentence end once."""
    return said if said.endswith((".", "?", "!")) else f"{said}."
