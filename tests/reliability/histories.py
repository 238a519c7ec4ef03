"""Histories: what several clients asked and were answered, and whether one server could have answered so.

A request takes effect at some instant between its asking and its answer; one that was never answered, at any instant
after its asking, or never. Linearizable (Herlihy and Wing, 1990): there are such instants at which one server that
does one thing after the other gives these answers. Found by search as Wing and Gong do, with what was tried remembered.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

NO_ANSWER: Any = object()


class Operation(NamedTuple):
    """One request of a client. asked, answered: seconds of one clock; answered is inf if nobody knows."""

    client: str
    what: str
    asked: float
    answered: float
    answer: Any


Step = Callable[[Any, Operation], Hashable | None]
"""State and operation -> the state after it, None if this answer is impossible in this state."""


def is_linearizable(operations: Sequence[Operation], step: Step, start: Hashable) -> bool:
    """Say whether one server that begins with `start` could have given all answers."""
    history = sorted(operations, key=lambda one: one.asked)
    everything = (1 << len(history)) - 1
    known = sum(1 << number for number, one in enumerate(history) if one.answered < inf)
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, start)]
    while stack:
        done, state = stack.pop()
        if done & known == known:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        left = everything & ~done
        first_answer = min(one.answered for number, one in enumerate(history) if left >> number & 1)
        for number, one in enumerate(history):
            if one.asked > first_answer:
                break  # It began after something else was over, so it cannot come before that.
            if left >> number & 1 and (after := step(state, one)) is not None:
                stack.append((done | 1 << number, after))
    return False


NOBODY = ""


def owner(state: str, operation: Operation) -> str | None:
    """Step of who has an incident: `ack` and `unack`, answered with what came of them, and `read`, with who has it.

    An ack has "changed" it if nobody had it, and left it "same" otherwise; an unack "changed" it if somebody had it,
    and was refused with "409" otherwise.
    """
    if operation.what == "ack":
        said, after = ("same", state) if state else ("changed", operation.client)
    elif operation.what == "unack":
        said, after = ("changed", NOBODY) if state else ("409", state)
    else:
        said = after = state
    return after if operation.answer in (said, NO_ANSWER) else None


def lost(added: dict[int, float], reads: Sequence[tuple[float, int, frozenset[int]]]) -> list[str]:
    """Find what was answered and is missing from a read that began later ("set-full").

    added: number -> when it was answered; reads: when each was asked, the lowest number that it covers, and what it
    showed. Returns: a sentence for each read that misses something.
    """
    return [
        f"a read at {asked:.3f} misses {missing[:5]}"
        for asked, lowest, shown in reads
        if (missing := [n for n, at in added.items() if at < asked and n >= lowest and n not in shown])
    ]


def backwards(values: Sequence[int]) -> list[tuple[int, int]]:
    """Find where what one client read one after the other went back ("monotonic reads")."""
    return [(before, after) for before, after in pairwise(values) if after < before]
