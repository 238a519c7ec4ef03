"""What earlier versions left on somebody's disk is opened, verified, replayed and written on."""

import asyncio
import gzip
from pathlib import Path

import pytest
from tests.runtime.test_replaying import replayed
from tests.support.fakes import SECOND, FakeClock, FakeIds

from tocsin.core.ledger.encoding import read_header, unpack
from tocsin.core.ledger.verify import verify
from tocsin.core.model.entry import VERSION
from tocsin.core.model.input import AccessDenied, Denial
from tocsin.core.model.policy import DAY
from tocsin.runtime.housekeeper import Housekeeper
from tocsin.runtime.pump import Pump, Request
from tocsin.stores.sqlite import SqliteStore

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.db.gz"))


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def directory(request, tmp_path):
    """A data directory as it was left."""
    made = tmp_path / "data"
    made.mkdir()
    (made / "tocsin.db").write_bytes(gzip.decompress(request.param.read_bytes()))
    return made


def is_sound(store):
    head = store.head()
    return verify(store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)


def test_there_are_golden_ledgers():
    assert GOLDEN


def test_a_golden_ledger_is_sound_and_says_what_the_tables_say(directory, tmp_path):
    store = SqliteStore(directory)
    verdict = is_sound(store)
    store.close()

    assert verdict.is_sound, verdict
    assert verdict.size > 100
    assert replayed(directory, tmp_path / "again") == ([], 0)


def test_a_golden_ledger_goes_on_in_todays_form(directory, tmp_path):
    store = SqliteStore(directory)
    clock = FakeClock()
    clock.not_before(store.head().at)
    pump = Pump(store, clock, FakeIds(), origin="tests", on_committed=lambda committed: None)
    pump.open()
    clock.advance(SECOND)
    pump.turn([Request((AccessDenied(reason=Denial.SIGN_IN, count=1),), "anna")])

    versions = [read_header(parts[0]).v for one in store.segments() for parts in unpack(one.data)]

    assert versions[0] <= versions[-1] == VERSION
    assert versions == sorted(versions)
    assert is_sound(store).is_sound
    store.close()
    assert replayed(directory, tmp_path / "again") == ([], 0)


def test_what_is_no_longer_kept_of_a_golden_ledger_goes_and_it_replays(directory, tmp_path):
    store = SqliteStore(directory)
    clock = FakeClock()
    clock.not_before(store.head().at)
    pump = Pump(store, clock, FakeIds(), origin="tests", on_committed=lambda committed: None)
    pump.open()
    clock.advance(400 * DAY)
    pump.turn([])
    size = store.head().size

    async def ask(given):
        said = []
        pump.turn([Request((given,), "system", lambda request, results: said.extend(results))])
        return said[0]

    async def keep_house():
        keeper = Housekeeper(store, clock, ask, lambda: 30 * DAY)
        while await keeper.step():
            pass

    asyncio.run(keep_house())

    gone = sum(not parts[2] for one in store.segments() for parts in unpack(one.data))
    assert gone > size // 4
    assert is_sound(store).is_sound
    store.close()
    assert replayed(directory, tmp_path / "again") == ([], 0)
