"""Denials: the first is recorded at once, a flood as a few counts, and none of it in anybody's way."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tocsin.core.model.access import Permission
from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import AccessDenied, Denial
from tocsin.ports import StoreFailed
from tocsin.web.denials import KEYS_MAX, Denials, client_of


class Ledger:
    """Takes what is to be recorded. full: it refuses; failing: it fails to commit."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Denial, str, Permission | None, int]] = []
        self.full = self.failing = False

    def submit(self, inputs: Sequence[AccessDenied], actor: str) -> "asyncio.Future[Any]":
        if self.full:
            raise Unavailable("full")
        future = asyncio.get_running_loop().create_future()
        if self.failing:
            future.set_exception(StoreFailed("the disk is full"))
            return future
        self.entries += [(actor, one.reason, one.client, one.permission, one.count) for one in inputs]
        future.set_result(())
        return future


def during(work: Callable[[Ledger, Denials], None]) -> Ledger:
    """Do something on a loop, close, and give what was recorded."""
    ledger = Ledger()

    async def run() -> None:
        denials = Denials(ledger.submit)
        work(ledger, denials)
        await asyncio.sleep(0)
        ledger.full = ledger.failing = False
        denials.close()
        await asyncio.sleep(0)

    asyncio.run(run())
    return ledger


def test_the_first_is_recorded_at_once_and_the_others_as_a_count() -> None:
    def work(ledger: Ledger, denials: Denials) -> None:
        for _ in range(1_000):
            denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        assert [entry[4] for entry in ledger.entries] == [1]
        denials.flush()
        assert [entry[4] for entry in ledger.entries] == [1, 999]
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        assert len(ledger.entries) == 2

    assert sum(entry[4] for entry in during(work).entries) == 1_001


def test_what_differs_is_recorded_apart() -> None:
    def work(ledger: Ledger, denials: Denials) -> None:
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        denials.note(Denial.LIMIT, "anonymous", "192.0.2.7")
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.8")
        denials.note(Denial.SIGN_IN, "token:1", "192.0.2.7")
        denials.note(Denial.PERMISSION, "token:1", "192.0.2.7", Permission.SEND)
        denials.note(Denial.PERMISSION, "token:1", "192.0.2.7", Permission.READ)

    assert [entry[4] for entry in during(work).entries] == [1] * 6


def test_a_flood_from_everywhere_is_counted_and_fills_nothing() -> None:
    def work(ledger: Ledger, denials: Denials) -> None:
        for number in range(10_000):
            denials.note(Denial.SIGN_IN, "anonymous", f"2001:db8:0:{number:x}::/64")
        assert len(denials._counts) == KEYS_MAX + 1

    entries = during(work).entries

    assert len(entries) == KEYS_MAX + 2
    assert sum(entry[4] for entry in entries) == 10_000
    assert entries[-1] == ("anonymous", Denial.SIGN_IN, "others", None, 10_000 - KEYS_MAX - 1)


def test_what_was_not_seen_again_is_forgotten_so_that_its_next_is_told_at_once() -> None:
    def work(ledger: Ledger, denials: Denials) -> None:
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        denials.flush()
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        assert [entry[4] for entry in ledger.entries] == [1, 1]

    during(work)


@pytest.mark.parametrize("trouble", ["full", "failing"])
def test_what_could_not_be_recorded_is_counted_with_the_next(trouble: str) -> None:
    def work(ledger: Ledger, denials: Denials) -> None:
        setattr(ledger, trouble, True)
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")
        denials.note(Denial.SIGN_IN, "anonymous", "192.0.2.7")

    assert [entry[4] for entry in during(work).entries] == [2]


def test_counts_are_recorded_in_time_without_anybody_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.web.denials.EVERY_S", 0.01)
    ledger = Ledger()

    async def run() -> Counter[int]:
        denials = Denials(ledger.submit)
        for _ in range(3):
            denials.note(Denial.LIMIT, "token:1", "192.0.2.7")
        async with asyncio.timeout(10):
            while len(ledger.entries) < 2 or denials._timer is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return Counter(entry[4] for entry in ledger.entries)

    assert asyncio.run(run()) == Counter({1: 1, 2: 1})


@pytest.mark.parametrize(
    ("client", "named"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (("<script>", 0), ""),
        (("", 0), ""),
        (None, ""),
    ],
)
def test_a_client_is_named_by_what_tells_it_from_others(client: object, named: str) -> None:
    assert client_of({"client": client}) == named
