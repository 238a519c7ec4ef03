"""`tocsin migrate-store`: everything arrives on PostgreSQL, and the node that starts there goes on where it was."""

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from tests.contracts.places import PLACES
from tests.contracts.test_pump_on_stores import Driven, an_eventful_hour
from tests.support.databases import a_database
from tests.support.fakes import NOON, FakeClock, FakeIds

from tocsin.cli.exits import DIFFERENCES, NOT_FOUND, UNEXPECTED, VERIFICATION_FAILED
from tocsin.cli.main import main
from tocsin.core.model.policy import DAY
from tocsin.ports import DeliveryFilter, IncidentFilter, Store
from tocsin.runtime.committed import Committed
from tocsin.runtime.pump import Pump
from tocsin.stores.postgres import PostgresStore
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.beside import LedgerReader
from tocsin.web.pepper import FINGERPRINT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory in which an hour went by."""
    place = PLACES["sqlite"](tmp_path)
    an_eventful_hour(Driven(place))
    place.close()
    store = SqliteStore(tmp_path / "data")
    store.put_secret(FINGERPRINT, bytes(range(32)))
    store.close()
    return tmp_path / "data"


def tocsin(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def all_of(store: Store) -> dict[str, object]:
    """Give all that anybody could ask of a store."""
    incidents, _ = store.list_incidents(IncidentFilter(), 1000)
    deliveries, _ = store.list_deliveries(DeliveryFilter(), 1000)
    return {
        "memory": store.load(),
        "ledger": list(store.segments()),
        "incidents": incidents,
        "members": [store.members(one.number) for one in incidents],
        "deliveries": deliveries,
        "attempts": [store.attempts_of(one.number) for one in deliveries],
        "messages": [store.message(one.notification) for one in deliveries],
        "silences": store.list_silences(ended=None, after=None, limit=100),
        "policies": store.policies(None, 100),
        "stats": store.stats(NOON - 7 * DAY, NOON + 7 * DAY),
        "counts": store.counts(),
        "secret": store.secret("id_key"),
        "of_pepper": store.secret(FINGERPRINT),
        "tokens": store.tokens(),
    }


def test_everything_arrives_and_goes_on(data: Path) -> None:
    store = SqliteStore(data)
    before = all_of(store)
    store.close()
    url = a_database()

    moved = tocsin("migrate-store", "--data", data, "--db", url)

    assert moved.exit_code == 0, moved.output
    assert not (data / "tocsin.db").exists()
    assert {path.name for path in data.iterdir()} == {"lock", "tocsin.db.moved"}
    old = LedgerReader(data / "tocsin.db.moved")
    assert old.end().size == before["memory"].head.size  # type: ignore[attr-defined]
    old.close()
    assert "incidents" not in moved.stderr
    arrived = PostgresStore(url, node_id="new")
    try:
        assert all_of(arrived) == before
        told: list[Committed] = []
        clock = FakeClock(arrived.head().at)
        arrived.time = clock.now
        pump = Pump(arrived, clock, FakeIds(), origin="tocsin-test", on_committed=told.append)
        pump.open()
        pump.turn([])
        owed = {one.delivery for some in told for one in some.dispatches}
        assert owed == set(pump.state.deliveries)
        assert owed, "nothing was pending, so this shows nothing"
    finally:
        arrived.close()


def test_no_node_starts_beside_an_embedded_store(data: Path) -> None:
    refused = tocsin("serve", "--data", data, "--db", a_database(), "--port", "0")

    assert refused.exit_code == UNEXPECTED
    assert f"migrate-store --data {data}" in refused.output


def test_whoever_checks_reads_the_database_beside_the_nodes(data: Path, tmp_path: Path) -> None:
    url = a_database()
    here = json.loads(tocsin("ledger", "verify", "--data", data, "-o", "json").output)
    assert tocsin("migrate-store", "--data", data, "--db", url).exit_code == 0
    (tmp_path / "other.yaml").write_text("rate_limit: {limit: 1, window: 1h}\n")

    there = json.loads(tocsin("ledger", "verify", "--data", data, "--db", url, "-o", "json").output)
    shown = tocsin("ledger", "show", "3", "--data", data, "--db", url, "-o", "json")
    asked = tocsin("whatif", "--policy", tmp_path / "other.yaml", "--data", data, "--db", url, "-o", "json")

    assert there["sound"]
    assert (there["size"], there["root"]) == (here["size"], here["root"])
    assert json.loads(shown.output)["header"]["seq"] == 3
    assert asked.exit_code in (0, DIFFERENCES), asked.output
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE segments SET data = set_byte(data, 40, 63) WHERE first_seq = 0")
    assert tocsin("ledger", "verify", "--data", data, "--db", url).exit_code == VERIFICATION_FAILED
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE head CASCADE")
    assert tocsin("ledger", "verify", "--data", data, "--db", url).exit_code == NOT_FOUND


def test_a_database_that_holds_something_is_left_alone(data: Path) -> None:
    url = a_database()
    store = PostgresStore(url)
    store.keep_secret("id_key", b"somebody else's")
    store.close()

    refused = tocsin("migrate-store", "--data", data, "--db", url)

    assert refused.exit_code == UNEXPECTED, refused.output
    assert "holds a Tocsin's data already" in refused.output
    assert (data / "tocsin.db").exists()


def test_what_is_damaged_is_noticed_where_it_arrives(data: Path) -> None:
    url = a_database()
    PostgresStore(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.data := set_byte(NEW.data, 40, 63); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER harm BEFORE INSERT ON segments FOR EACH ROW WHEN (NEW.first_seq > 3) "
            "EXECUTE FUNCTION harm()"
        )

    damaged = tocsin("migrate-store", "--data", data, "--db", url)

    assert damaged.exit_code == VERIFICATION_FAILED, damaged.output
    assert "Drop the database" in damaged.output
    assert (data / "tocsin.db").exists()


def test_a_directory_without_a_store_is_named(tmp_path: Path) -> None:
    nothing = tocsin("migrate-store", "--data", tmp_path, "--db", "postgresql://127.0.0.1:1/x")

    assert nothing.exit_code == NOT_FOUND
    assert str(tmp_path) in nothing.output
