"""Readers: a connection for each thread that asks, so that nobody waits for another's answer."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tocsin.stores.tables.asking import Question


class Reader(Protocol):
    """A connection that can only read."""

    def answer(self, questions: Sequence[Question]) -> list[list[Any]] | None:
        """Answer all questions from one commit; None if this reader was closed, by whomever."""
        ...

    def close(self) -> None:
        """Close it, once the question that runs has its answer."""
        ...


class Readers:
    """Of each thread its own; it goes when its thread does, and is made anew once somebody closed it.

    connect: makes one, or refuses; one at a time, and not while they are closed.
    """

    def __init__(self, connect: Callable[[], Reader]) -> None:
        self._connect = connect
        self._mine = threading.local()
        self._all: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def mine(self) -> Reader | None:
        """The reader of this thread, if it has one."""
        reader: Reader | None = getattr(self._mine, "reader", None)
        return reader

    def ask(self, questions: Sequence[Question]) -> list[list[Any]]:
        """Answer all questions from one commit. Raises: what connecting and asking do."""
        while True:
            answers = (self.mine or self._new()).answer(questions)
            if answers is not None:
                return answers
            self._mine.reader = None

    def _new(self) -> Reader:
        with self._changing:
            reader = self._mine.reader = self._connect()
            self._all.add(reader)
        return reader

    def close(self) -> None:
        """Close all that there are."""
        with self._changing:
            for reader in self._all:
                reader.close()
