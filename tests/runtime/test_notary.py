"""Who signs the ledger: its keys, its checkpoints, and the high-water mark that no database can take back."""

import re
import shutil

import pytest
from tests.support.fakes import SECOND, FakeClock, FakeIds

from tocsin.core.ledger import checkpoint, proof, prove
from tocsin.core.ledger.note import Unverified, read_key, split
from tocsin.core.model import event as ev
from tocsin.core.model.errors import Conflict, TocsinError
from tocsin.core.model.input import AccessDenied, Denial, KeysChanged, LedgerNamed
from tocsin.ports import StoreFailed, StoreRefused
from tocsin.runtime import highwater
from tocsin.runtime.notary import Notary
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.signing import Locked, verify
from tocsin.runtime.tree import reader
from tocsin.stores.sqlite import SqliteStore

KEK = b"k" * 32
ORIGIN = "tocsin-0a1b2c3d"


class Office:
    """A ledger with its notary, driven by hand."""

    def __init__(self, directory, *, kek=KEK, seed="tocsin", origin=ORIGIN):
        self.directory = directory
        self.store = SqliteStore(directory)
        self.ids = FakeIds(seed)
        self.clock = FakeClock()
        self.clock.not_before(self.store.head().at)
        self.notary = Notary(
            self.store, self.ids, origin=origin, kek=lambda: kek, mark=directory / "highwater.json"
        )
        self.pump = Pump(self.store, self.clock, self.ids, origin=origin, on_committed=lambda committed: None)

    def open(self):
        self.notary.check()
        self.pump.open()
        if not self.store.signers():
            self.take(LedgerNamed(origin=self.notary.origin), KeysChanged(adopt=(self.notary.make_key(),)))
        self.notary.keys_changed()
        return self

    def take(self, *inputs):
        self.clock.advance(SECOND)
        failed = []

        def answer(_, results):
            failed.extend(
                [results] if isinstance(results, Exception) else [r.refused for r in results if r.refused]
            )

        self.pump.turn([Request(inputs, "anna", answer)])
        if failed:
            raise failed[0]

    def grow(self, count=1):
        for _ in range(count):
            self.take(AccessDenied(reason=Denial.SIGN_IN, count=1, client="192.0.2.7"))

    def keys(self):
        return [read_key(row.vkey) for row in self.store.signers()]

    def close(self):
        self.store.close()


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path / "data").open()
    yield made
    made.close()


def test_a_checkpoint_says_where_the_ledger_stands_and_is_signed(office):
    office.grow(3)

    signed, note = checkpoint.read_signed(office.notary.latest(), office.keys(), verify, origin=ORIGIN)

    head = office.store.head()
    assert (signed.size, signed.root) == (head.size, head.root)
    assert list(note.signers) == office.keys()


def test_the_same_ledger_gets_the_same_checkpoint_each_time(office):
    first = office.notary.latest()

    office.notary.keys_changed()

    assert office.notary.latest() == first


def test_a_checkpoint_of_any_size_is_proven_to_begin_with_the_older_ones(office):
    office.grow(260)
    head = office.store.head()
    tree = prove.Tree(head.size, reader(office.store))

    for old in (1, 5, 255, 256, 257, head.size):
        assert proof.is_consistent(
            old=old,
            old_root=prove.root(old, reader(office.store)),
            new=head.size,
            new_root=head.root,
            path=tree.consistency(old),
        )


def test_the_roots_of_tiles_are_computed_again_where_they_are_gone(office, tmp_path):
    office.grow(600)
    tiles = office.store.tiles(1, 0, 10)
    assert len(tiles) == 2
    office.store._write("DELETE FROM tiles", ())
    office.close()

    again = SqliteStore(office.directory)

    assert again.tiles(1, 0, 10) == tiles
    again.close()


# Keys


def test_a_key_lies_in_the_store_only_in_a_form_that_its_file_opens(office):
    vkey = office.store.signers()[0].vkey
    wrapped = office.store.secret(f"signer:{read_key(vkey).id.hex()}")
    office.close()

    other = Office(office.directory, kek=b"x" * 32)
    with pytest.raises(Locked):
        other.notary.latest()

    assert wrapped is not None
    other.close()


def test_a_second_key_signs_beside_the_first_until_that_is_retired(office):
    first = office.store.signers()[0].vkey
    second = office.notary.make_key()
    office.take(KeysChanged(adopt=(second,)))
    office.notary.keys_changed()
    office.grow()

    both = checkpoint.read_signed(office.notary.latest(), office.keys(), verify, origin=ORIGIN)[1]
    office.notary.check_retiring(first)
    office.take(KeysChanged(retire=(first,)))
    office.notary.keys_changed()
    one = checkpoint.read_signed(office.notary.latest(), office.keys(), verify, origin=ORIGIN)[1]

    assert [key.text() for key in both.signers] == [first, second]
    assert [key.text() for key in one.signers] == [second]


def test_the_checkpoint_that_hands_over_from_key_to_key_is_kept(office):
    second = office.notary.make_key()
    office.take(KeysChanged(adopt=(second,)))
    office.notary.keys_changed()
    office.grow(2)
    office.notary.keys_changed()

    ((size, note),) = office.store.checkpoints()

    adopted = office.store.signers()[1].adopted_seq
    signed, signers = checkpoint.read_signed(note, office.keys()[:1], verify, origin=ORIGIN)
    assert signed.size == size > adopted
    assert len(signers.signers) == 1
    assert len(signers.others) == 1


def test_the_newest_key_and_one_that_is_not_known_cannot_be_retired(office):
    with pytest.raises(Conflict, match="newest key"):
        office.notary.check_retiring(office.store.signers()[0].vkey)
    with pytest.raises(Conflict, match="No key that signs"):
        office.notary.check_retiring("somebody+00000000+AAAA")


# The high-water mark


def copied(office, to):
    """A data directory as it is now."""
    office.close()
    shutil.copytree(office.directory, to)
    return to


def test_an_older_database_under_a_newer_mark_is_refused(office, tmp_path):
    office.grow(3)
    old = copied(office, tmp_path / "old")
    later = Office(office.directory).open()
    later.grow(5)
    later.notary.latest()
    later.close()
    shutil.copy(old / "tocsin.db", office.directory / "tocsin.db")

    back = Office(office.directory)
    with pytest.raises(StoreRefused, match=r"put back from an older copy.*tocsin ledger fork"):
        back.notary.check()
    back.close()


def test_a_database_of_the_same_size_with_other_entries_is_refused(office, tmp_path):
    other = copied(office, tmp_path / "other")
    mine = Office(office.directory).open()
    mine.grow(4)
    mine.notary.latest()
    mine.close()
    forged = Office(other, seed="another").open()
    forged.grow(6)
    forged.close()
    shutil.copy(other / "tocsin.db", office.directory / "tocsin.db")

    back = Office(office.directory)
    with pytest.raises(StoreRefused, match="are others than those that were signed"):
        back.notary.check()
    back.close()


def test_the_database_of_another_ledger_is_refused(office, tmp_path):
    stranger = Office(tmp_path / "stranger", seed="stranger", origin="tocsin-99999999").open()
    stranger.close()
    office.close()
    shutil.copy(office.directory / "highwater.json", tmp_path / "stranger" / "highwater.json")

    back = Office(tmp_path / "stranger", origin="tocsin-99999999")
    with pytest.raises(StoreRefused, match=f"a checkpoint of {ORIGIN} was signed here"):
        back.notary.check()
    back.close()


def test_an_older_state_is_not_signed_whoever_asks(office, tmp_path):
    old = copied(office, tmp_path / "old")
    later = Office(office.directory).open()
    later.grow(5)
    newest = later.notary.latest()
    later.close()
    shutil.copy(old / "tocsin.db", office.directory / "tocsin.db")
    back = Office(office.directory)

    with pytest.raises(Conflict, match="put back from an older copy"):
        back.notary.latest()

    assert highwater.read(office.directory / "highwater.json").size == checkpoint.read(split(newest)[0]).size
    back.close()


def test_a_mark_that_cannot_be_read_is_refused_and_one_that_is_gone_is_made_anew(office):
    office.close()
    path = office.directory / "highwater.json"
    path.write_text("{}")
    broken = Office(office.directory)
    with pytest.raises(StoreRefused, match="cannot be read"):
        broken.notary.check()
    broken.close()

    path.unlink()
    made = Office(office.directory).open()

    assert highwater.read(path).size == made.store.head().size
    made.close()


def test_nothing_is_signed_while_the_mark_cannot_be_written(office, tmp_path):
    office.notary._mark = tmp_path / "no" / "such" / "folder"
    office.grow()

    with pytest.raises(StoreFailed, match="nothing is signed"):
        office.notary.latest()


def test_a_fork_goes_on_under_the_next_name_and_says_what_is_known_of_before(office, tmp_path):
    old = copied(office, tmp_path / "old")
    later = Office(office.directory).open()
    later.grow(5)
    known = later.store.head()
    later.notary.latest()
    later.close()
    shutil.copy(old / "tocsin.db", office.directory / "tocsin.db")
    back = Office(office.directory)

    fork = back.notary.fork("the disk broke")

    assert re.fullmatch(rf"{ORIGIN}/2-[0-9a-f]{{4}}", fork.origin)
    assert (fork.known_size, fork.known_root) == (known.size, known.root.hex())
    assert back.notary.fork("once more").origin != fork.origin
    back.pump.open((fork,), actor="os:root")
    back.notary.origin = fork.origin
    back.notary.latest()
    back.notary.check()
    assert back.notary.fork("again").origin.startswith(f"{ORIGIN}/3-")
    assert back.store.origins()[-1][1] == fork.origin
    back.close()


def test_only_ledgers_that_have_a_key_can_be_signed(tmp_path):
    bare = Office(tmp_path / "bare")
    bare.pump.open()

    with pytest.raises(TocsinError, match="no key that signs"):
        bare.notary.latest()
    bare.close()


def test_a_note_of_somebody_else_is_not_believed(office, tmp_path):
    stranger = Office(tmp_path / "stranger", seed="stranger").open()

    with pytest.raises(Unverified):
        checkpoint.read_signed(stranger.notary.latest(), office.keys(), verify, origin=ORIGIN)
    stranger.close()


def test_a_key_is_adopted_by_an_entry_that_everybody_can_see(office):
    events = [
        event
        for segment in office.store.segments()
        for event in _events(segment)
        if isinstance(event, ev.LedgerBegan | ev.KeyAdopted)
    ]

    assert [type(event) for event in events] == [ev.LedgerBegan, ev.KeyAdopted]
    assert events[1].vkey == office.store.signers()[0].vkey


def _events(segment):
    from tocsin.core.ledger.encoding import read_decision, unpack

    return [event for _, decision, _ in unpack(segment.data) for event in read_decision(decision).events]
