"""One face for all tests of a module; a test that breaks its store mends it again."""

from collections.abc import Iterator

import pytest
from tests.web.faces import Face, a_face


@pytest.fixture(scope="module")
def face() -> Iterator[Face]:
    """A server without channels."""
    with a_face() as one:
        yield one
