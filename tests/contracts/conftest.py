"""Every contract test of the store runs once per kind of store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.places import PLACES, Place

from tocsin.ports import Store


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = PLACES[request.param](tmp_path)
    yield place
    place.leave()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
