"""Coverage, stopped where it would only see the same lines again: a simulated story costs twice as much with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from coverage import Coverage

TOLD = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""The variables by which a process that is started knows that it is to be measured."""


@contextmanager
def unmeasured() -> Iterator[None]:
    """Nothing in here counts for the coverage, neither in this process nor in those that it starts."""
    measuring = Coverage.current()
    told = {name: os.environ.pop(name) for name in TOLD if name in os.environ}
    if measuring is not None:
        measuring.stop()
    try:
        yield
    finally:
        if measuring is not None:
            measuring.start()
        os.environ.update(told)
