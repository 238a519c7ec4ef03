"""Readers: how many connections there are, who has one when, and what becomes of one that failed or was closed."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tocsin.stores.tables.readers import READERS_MAX, Readers


class Connection:
    """Answers with its own number, once it may. broken: it fails; closed: by whomever."""

    def __init__(self, number: int, may_answer: threading.Event) -> None:
        self.number, self._may_answer = number, may_answer
        self.asked = threading.Event()
        self.broken = self.closed = False

    def answer(self, questions: Sequence[Any]) -> list[list[Any]] | None:
        if self.closed:
            return None
        self.asked.set()
        assert self._may_answer.wait(10)
        if self.broken:
            raise OSError("broken")
        return [[self.number]]

    def close(self) -> None:
        self.closed = True


class House:
    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.readers = Readers(self._connect)

    def _connect(self) -> Connection:
        self.made.append(Connection(len(self.made), self.may_answer))
        return self.made[-1]

    def ask(self) -> int:
        ((number,),) = self.readers.ask([("", ())])
        return int(number)


def test_there_are_never_more_connections_than_a_node_may_have() -> None:
    house = House()
    house.may_answer.clear()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(house.ask())) for _ in range(3 * READERS_MAX)]
    for thread in threads:
        thread.start()
    while len(house.made) < READERS_MAX:
        assert any(thread.is_alive() for thread in threads)
    for one in house.made:
        assert one.asked.wait(10)

    house.may_answer.set()
    for thread in threads:
        thread.join(10)

    assert len(answers) == 3 * READERS_MAX
    assert len(house.made) == len(house.readers) == READERS_MAX


def test_one_that_failed_is_asked_again_and_takes_nobodys_place() -> None:
    house = House()
    house.ask()
    house.made[0].broken = True
    for _ in range(2 * READERS_MAX):
        with pytest.raises(OSError, match="broken"):
            house.ask()

    house.made[0].broken = False
    assert house.ask() == 0


def test_one_that_somebody_closed_is_replaced() -> None:
    house = House()
    assert house.ask() == 0
    house.made[0].close()
    assert house.ask() == 1
    assert len(house.readers) == 1


def test_after_a_close_all_are_new_also_for_one_that_was_in_use() -> None:
    house = House()
    house.may_answer.clear()
    thread = threading.Thread(target=house.ask)
    thread.start()
    while not house.made:
        assert thread.is_alive()
    assert house.made[0].asked.wait(10)

    house.readers.close()
    house.may_answer.set()
    thread.join(10)

    assert house.made[0].closed
    assert house.ask() == 1
