"""Course: how far a question to a database has come, and how it is ended from outside the thread that asks it."""

import threading
from collections.abc import Callable


class GivenUp(Exception):
    """Nobody waits for the answer any more."""


class Course:
    """One question. The thread that asks it calls `begin`, `check` and `finish`; who waits for it may `give_up`.

    began: whether there is a connection; before, it is the database that does not answer, and after, the statement.
    """

    def __init__(self) -> None:
        self.began = False
        self._given_up = False
        self._end: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def begin(self, end: Callable[[], object] | None = None) -> None:
        """Say that there is a connection, and how its statement is ended; that must not block. Raises: GivenUp."""
        with self._lock:
            self.began = True
            self._end = end
        self.check()

    def check(self) -> None:
        """Raises: GivenUp if nobody waits any more."""
        if self._given_up:
            raise GivenUp

    def finish(self) -> None:
        """Say that the connection is no longer used for this question, so that nothing ends the next one."""
        with self._lock:
            self._end = None

    def give_up(self) -> None:
        """End what runs."""
        with self._lock:
            self._given_up = True
            if self._end is not None:
                self._end()
