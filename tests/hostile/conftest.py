"""The scene: told once for all who look at it."""

from collections.abc import Iterator

import pytest
from tests.hostile.scene import Scene


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene(tmp_path_factory.mktemp("scene")) as scene:
        yield scene
