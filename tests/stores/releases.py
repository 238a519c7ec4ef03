"""The store as later releases have it: the same, with migrations that a test imagines."""

from pathlib import Path

from tocsin.stores.postgres import PostgresStore
from tocsin.stores.postgres.preparing import Step

_FILES = Path(__file__).with_name("migrations")
EXPANDING = Step(_FILES / "0002_teams.sql")
CONTRACTING = Step(_FILES / "0003_no_kinds.sql", oldest=2)


class NextStore(PostgresStore):
    """Of schema 2, beside which the present release goes on."""

    steps = (EXPANDING,)


class LaterStore(PostgresStore):
    """Of schema 3, which needs what schema 2 brought."""

    steps = (EXPANDING, CONTRACTING)


class BrokenStore(PostgresStore):
    """Of a schema 2 that nothing can be led to."""

    steps = (Step(_FILES / "0002_broken.sql"),)
