"""Readers: some connections that threads ask over by turns, so that reading waits for no writer and has an end."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tocsin.stores.tables.asking import Question

READERS_MAX = 12
"""Each is a connection of the database, which has not endlessly many for all nodes together."""


class Reader(Protocol):
    """A connection that can only read."""

    def answer(self, questions: Sequence[Question]) -> list[list[Any]] | None:
        """Answer all questions from one commit; None if this reader was closed, by whomever."""
        ...

    def close(self) -> None:
        """Close it, once the question that runs has its answer."""
        ...


class Readers:
    """Whoever asks has one for so long; one that is free, else a new one, else the next that becomes free.

    connect: makes one, or refuses; one at a time, and not while they are closed.
    """

    def __init__(self, connect: Callable[[], Reader]) -> None:
        self._connect = connect
        self._all: set[Reader] = set()
        self._free: list[Reader] = []
        self._room = threading.Semaphore(READERS_MAX)
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def ask(self, questions: Sequence[Question]) -> list[list[Any]]:
        """Answer all questions from one commit. Raises: what connecting and asking do."""
        with self._room:
            while True:
                reader = self._take()
                try:
                    answers = reader.answer(questions)
                except BaseException:
                    self._give_back(reader)
                    raise
                if answers is not None:
                    self._give_back(reader)
                    return answers
                with self._changing:
                    self._all.discard(reader)

    def _take(self) -> Reader:
        with self._changing:
            if self._free:
                return self._free.pop()
            reader = self._connect()
            self._all.add(reader)
            return reader

    def _give_back(self, reader: Reader) -> None:
        with self._changing:
            if reader in self._all:
                self._free.append(reader)

    def close(self) -> None:
        """Close all that there are."""
        with self._changing:
            for reader in self._all:
                reader.close()
            self._all.clear()
            self._free.clear()
