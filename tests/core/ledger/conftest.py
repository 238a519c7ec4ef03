"""One ledger that a real pump wrote, for all tests here."""

import pytest
from tests.core.ledger.ledgers import make_ledger


@pytest.fixture(scope="session")
def ledger(tmp_path_factory):
    """Some hundred entries, in segments of one and of many, of every kind and with every event."""
    return make_ledger(tmp_path_factory.mktemp("ledger"), seed=1, turns=300)
