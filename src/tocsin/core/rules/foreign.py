"""Foreign: what may be shown of words that came from elsewhere, such as a driver's error.

They may quote what they were given; so what must stay hidden is named, and only a short line is left.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

SHOWN_CHARACTERS_MAX = 200

_READ_CHARACTERS_MAX = 20_000


def one_line(text: str, hide: Sequence[str] = ()) -> str:
    """Give the first line that says something, at most 200 characters, with `***` for each of the texts in `hide`."""
    text = text[:_READ_CHARACTERS_MAX]
    for hidden in sorted(hide, key=len, reverse=True):
        if hidden:
            text = text.replace(hidden, "***")
    lines = (
        " ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in text.splitlines()
    )
    line = next((line for line in lines if line), "")
    return line if len(line) <= SHOWN_CHARACTERS_MAX else line[: SHOWN_CHARACTERS_MAX - 1] + "…"


def names(given: Iterable[str]) -> str:
    """Give the first 20 names, each of at most 40 characters and without what is not printable; "" for none."""
    shown = ("".join(c if c.isprintable() else "\ufffd" for c in name[:40]) for name in islice(given, 20))
    return ", ".join(name or '""' for name in shown)


def sentence(text: str, hide: Sequence[str] = ()) -> str:
    """Give `one_line` so that it may end a message: with one full stop, a question mark, or the mark of the cut."""
    line = one_line(text, hide).rstrip(" .!:;,") or "nothing is said about it"
    return line if line.endswith(("?", "…")) else line + "."
