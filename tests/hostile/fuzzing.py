"""Fuzzing: how many examples hypothesis tries; `TOCSIN_TEST_FUZZ_EXAMPLES` says how many in the long form."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tests.hostile.corpus import TEXTS

_LONG = os.environ.get("TOCSIN_TEST_FUZZ_EXAMPLES")


def examples(few: int = 100) -> Callable[[Any], Any]:
    """Try so many in `make test`; in the long form as many as are asked for, and not the same ones each time."""
    return settings(
        max_examples=int(_LONG) if _LONG else few,
        derandomize=_LONG is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


texts = st.text(st.characters(), max_size=200) | st.sampled_from([text[:2_000] for text in TEXTS.values()])
"""Any text, half surrogates too, and those of the corpus."""

raws = st.binary(max_size=300) | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
"""Any bytes."""


def changed(good: bytes) -> st.SearchStrategy[bytes]:
    """What is good, with up to three changes in it: bytes taken out, put in, exchanged or doubled."""

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = good
        for start, length, put in changes:
            start %= len(data) + 1
            data = data[:start] + put + data[start + length :]
        return data

    one = st.tuples(st.integers(0, 2**16), st.sampled_from([0, 0, 1, 1, 2, 5, 40]), st.binary(max_size=6))
    return st.lists(one, min_size=1, max_size=3).map(apply)
