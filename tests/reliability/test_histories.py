"""The checkers of histories: what they let pass, and what they must not."""

from math import inf

import pytest
from tests.reliability.histories import NO_ANSWER, NOBODY, Operation, backwards, is_linearizable, lost, owner


def history(*told: tuple[str, str, float, float, object]) -> list[Operation]:
    return [Operation(*one) for one in told]


@pytest.mark.parametrize(
    "told",
    [
        [],
        [("ada", "ack", 1, 2, "changed"), ("bob", "ack", 3, 4, "same"), ("bob", "read", 5, 6, "ada")],
        # Both at once: either may be first.
        [("ada", "ack", 1, 4, "same"), ("bob", "ack", 2, 3, "changed"), ("eve", "read", 5, 6, "bob")],
        [("ada", "ack", 1, 4, "changed"), ("bob", "ack", 2, 3, "same"), ("eve", "read", 5, 6, "ada")],
        # A read during the ack may see it, or not.
        [("ada", "ack", 1, 9, "changed"), ("bob", "read", 2, 3, NOBODY), ("bob", "read", 4, 5, "ada")],
        # Nobody knows whether it came through: it may have, it may not have, it may come late.
        [("ada", "ack", 1, inf, NO_ANSWER), ("bob", "read", 2, 3, NOBODY)],
        [("ada", "ack", 1, inf, NO_ANSWER), ("bob", "read", 2, 3, NOBODY), ("bob", "read", 4, 5, "ada")],
        [("ada", "ack", 1, 2, "changed"), ("ada", "unack", 3, 4, "changed"), ("bob", "unack", 5, 6, "409")],
        [
            ("ada", "ack", 1, 2, "changed"),
            ("bob", "unack", 3, inf, NO_ANSWER),
            ("eve", "ack", 4, 5, "changed"),
        ],
    ],
)
def test_what_one_server_could_have_answered_passes(
    told: list[tuple[str, str, float, float, object]],
) -> None:
    assert is_linearizable(history(*told), owner, NOBODY)


@pytest.mark.parametrize(
    "told",
    [
        # Two have it: a node decided without knowing what another one had decided.
        [("ada", "ack", 1, 2, "changed"), ("bob", "ack", 3, 4, "changed")],
        [("ada", "ack", 1, 4, "changed"), ("bob", "ack", 2, 3, "changed")],
        # Nobody has it, and yet it was somebody's already.
        [("ada", "ack", 1, 4, "same"), ("bob", "ack", 2, 3, "same")],
        # A read that began after the answer does not know of it.
        [("ada", "ack", 1, 2, "changed"), ("bob", "read", 3, 4, NOBODY)],
        # What was seen once is not seen any more, though nobody let go.
        [("ada", "ack", 1, 9, "changed"), ("bob", "read", 2, 3, "ada"), ("eve", "read", 4, 5, NOBODY)],
        # It was lost.
        [("ada", "ack", 1, 2, "changed"), ("bob", "unack", 3, 4, "409")],
        # It came twice: once before it was let go, and once more after that.
        [("ada", "ack", 1, 2, "changed"), ("bob", "unack", 3, 4, "changed"), ("eve", "read", 5, 6, "ada")],
        # Somebody has it who never asked for it.
        [("ada", "read", 1, 2, "bob")],
    ],
)
def test_what_no_single_server_could_have_answered_is_found(
    told: list[tuple[str, str, float, float, object]],
) -> None:
    assert not is_linearizable(history(*told), owner, NOBODY)


def test_a_hundred_requests_at_once_are_searched_in_no_time() -> None:
    told = [(name, "read", number, number + 7, NOBODY) for number in range(100) for name in ("ada", "bob")]
    assert is_linearizable(history(*told), owner, NOBODY)


def test_what_was_answered_and_is_not_read_afterwards_is_found() -> None:
    added = {1: 1.0, 2: 2.0, 3: 3.0}
    assert (
        lost(added, [(0.5, 1, frozenset()), (2.5, 1, frozenset({1, 2})), (9.0, 2, frozenset({2, 3}))]) == []
    )
    assert lost(added, [(2.5, 1, frozenset({1}))]) == ["a read at 2.500 misses [2]"]


def test_what_goes_back_is_found() -> None:
    assert backwards([1, 1, 2, 5]) == []
    assert backwards([1, 3, 2, 2, 1]) == [(3, 2), (2, 1)]
