"""Course: how far a question to a database has come, and how it is ended from outside the thread that asks it."""

import threading
from collections.abc import Callable


class GivenUp(Exception):
    """Nobody waits for the answer any more."""


class Course:
    """One question. The thread that asks it calls all but `give_up`, which is for who waits for it.

    began: whether the statement itself has begun; before, it is the database that does not answer.
    """

    def __init__(self) -> None:
        self.began = False
        self._given_up = False
        self._end: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def connect(self, end: Callable[[], object] | None) -> None:
        """Say that there is a connection, and how what runs on it is ended; that must not block. Raises: GivenUp."""
        with self._lock:
            self._end = end
        self.check()

    def begin(self) -> None:
        """Say that the statement begins."""
        self.began = True

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
