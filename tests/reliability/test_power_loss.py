"""A house that loses its power again and again keeps what it answered for; so does one whose disk fails it.

`TOCSIN_TEST_CUTS` says how often the power goes (20), `TOCSIN_TEST_SEED` with which seed.
"""

import os
from pathlib import Path

import apsw
import pytest
from tests.reliability.lives import Lives
from tests.reliability.powerless import eio, full
from tests.reliability.tally import tally

from tocsin.stores.sqlite import SqliteStore

CUTS = int(os.environ.get("TOCSIN_TEST_CUTS", "20"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "8127"))
CUTS_A_HOUSE = 10
CHECKPOINT_PAGES = 60
"""Instead of 16 MiB, so that short lives fold their WAL into the file, too."""


@pytest.fixture(autouse=True)
def folds_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.stores.sqlite.CHECKPOINT_PAGES", CHECKPOINT_PAGES)


@pytest.mark.parametrize("house", range(-(-CUTS // CUTS_A_HOUSE)))
def test_what_was_answered_survives_every_loss_of_power(tmp_path: Path, house: int) -> None:
    print(
        f"TOCSIN_TEST_CUTS={CUTS} TOCSIN_TEST_SEED={SEED} python -m pytest "
        f"tests/reliability/{Path(__file__).name} -k 'every_loss and {house}'"
    )
    lives = Lives(tmp_path, f"{SEED} {house}")

    for _ in range(min(CUTS_A_HOUSE, CUTS - house * CUTS_A_HOUSE)):
        lives.live_by_chance()

    assert lives.answered > 0
    tally("power", cuts=lives.cuts, answered=lives.answered, refused=lives.refused, faults=lives.failed)
    print(
        f"cuts={lives.cuts} answered={lives.answered} refused={lives.refused} faults={lives.failed} {dict(lives.fates)}"
    )


class Hasty(SqliteStore):
    """A store that answers before its commit is synced: planted, to see that the cuts find it."""

    def _prepare(self, writer: apsw.Connection) -> None:
        super()._prepare(writer)
        writer.execute("PRAGMA synchronous = NORMAL").fetchall()


def test_a_store_that_does_not_wait_for_the_disk_is_found_out(tmp_path: Path) -> None:
    lives = Lives(tmp_path, f"{SEED}", Hasty)

    def live_on() -> None:
        for _ in range(20):
            lives.live_by_chance()

    with pytest.raises(AssertionError, match="were shown"):
        live_on()


@pytest.mark.parametrize("times", [1, 2, 3, 4, 7])
def test_what_a_disk_took_after_a_sync_that_failed_is_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.undo()  # If the WAL were folded soon, that alone would write it anew.
    lives = Lives(tmp_path, f"{SEED}")

    def fails_for_a_while() -> None:
        lives.turn(lives.alerts())
        assert lives.refused == 0
        lives.disk.fail("sync", 1, times, eio)
        while lives.disk.failed < times:
            lives.turn(lives.alerts())
        before = lives.answered
        for _ in range(3):
            lives.turn(lives.alerts())
        assert lives.answered > before

    lives.live(fails_for_a_while, fate="lost")

    assert lives.refused > 0
    assert len(lives.looks) > 0


@pytest.mark.parametrize("times", [1, 2, 5, 40])
def test_a_disk_without_room_takes_nothing_and_goes_on_once_there_is_some(tmp_path: Path, times: int) -> None:
    lives = Lives(tmp_path, f"{SEED}")

    def fills_up() -> None:
        lives.turn(lives.alerts())
        lives.disk.fail("write", 1, times, full)
        while lives.disk.failed < times:
            lives.turn(lives.alerts())
        before = lives.answered
        lives.turn(lives.alerts())
        assert lives.answered > before

    lives.live(fills_up, fate="lost")

    assert lives.refused > 0


@pytest.mark.parametrize("kind", ["read", "write", "sync"])
def test_a_disk_that_fails_while_a_house_begins_takes_nothing_that_it_loses(
    tmp_path: Path, kind: str
) -> None:
    for first in range(1, 13):
        lives = Lives(tmp_path / str(first), f"{SEED} {kind} {first}")

        lives.live(
            lambda lives=lives: [lives.turn(lives.alerts()) for _ in range(4)],
            lambda disk, first=first: disk.fail(kind, first, 2, full if kind == "write" else eio),
            fate="lost",
        )

        assert lives.answered > 0
