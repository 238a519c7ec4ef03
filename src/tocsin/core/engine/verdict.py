"""Verdict: what one input leads to: drafts of entries, and a word for whoever sent it."""

import msgspec

from tocsin.core.engine.state import LiveAlert
from tocsin.core.model.entry import Draft

SYSTEM = "system"
"""The actor of what time and Tocsin itself bring about."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """What one input leads to. Without drafts it leaves no entry.

    outcome: a word for whoever sent the input; incidents: (number, outcome) for each one that it concerns.
    refreshed: the alert that was merely seen again, with its new ends_at.
    """

    drafts: tuple[Draft, ...]
    outcome: str = ""
    incidents: tuple[tuple[int, str], ...] = ()
    refreshed: LiveAlert | None = None
    ends_at: int | None = None


NOTHING = Step(())
