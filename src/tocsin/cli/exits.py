"""Exits: what a verb's exit code says, and how an error is told: what happened, to what, and the next step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from tocsin.cli.plain import plain

OK = 0
UNEXPECTED = 1
USAGE = 2
NOT_FOUND = 3
CONFLICT = 4
NOT_ALLOWED = 5
UNREACHABLE = 6
VERIFICATION_FAILED = 7
PARTLY_DONE = 8
DIFFERENCES = 9
INTERRUPTED = 130


class Failure(click.ClickException):
    """A verb ends without having done what was asked. Shown on stderr as `Error: ...`.

    problem: what the server answered with, {} if it was not the server that refused.
    lines: what follows the message, a line each.
    """

    def __init__(
        self,
        message: str,
        exit_code: int = UNEXPECTED,
        problem: Mapping[str, Any] | None = None,
        *,
        lines: Sequence[str] = (),
    ) -> None:
        super().__init__("\n".join(map(plain, (message, *lines))))
        self.problem = problem or {}
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it on the class, and reads it here


def problem_of(failure: Failure) -> dict[str, Any]:
    """Say what went wrong, to a program. invalid: it is what was asked for that is wrong."""
    errors: Sequence[tuple[str, str]] = getattr(failure.__cause__, "errors", ())
    return {
        "detail": failure.message,
        "field": getattr(failure.__cause__, "field", ""),
        "invalid": failure.exit_code == USAGE,
        "errors": [{"field": where, "message": what} for where, what in errors],
    }


def exit_code_of_status(status: int) -> int:
    """Give the exit code for an HTTP status that is no success."""
    match status:
        case 404:
            return NOT_FOUND
        case 409:
            return CONFLICT
        case 401 | 403:
            return NOT_ALLOWED
        case 400 | 413 | 415 | 422:
            return USAGE
        case 429 | 502 | 503 | 504:
            return UNREACHABLE
        case _:
            return UNEXPECTED


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors of the parts beneath into failures with their exit codes."""
    from tocsin.core.model.errors import Conflict, Forbidden, Invalid, NotFound, TocsinError, Unavailable
    from tocsin.ports import StoreFailed, StoreRefused

    codes: dict[type[Exception], int] = {
        Invalid: USAGE,
        NotFound: NOT_FOUND,
        Conflict: CONFLICT,
        Forbidden: NOT_ALLOWED,
        Unavailable: UNREACHABLE,
        TocsinError: UNEXPECTED,
        StoreRefused: UNEXPECTED,
        StoreFailed: UNEXPECTED,
    }
    try:
        yield
    except tuple(codes) as error:
        code = next(code for kind, code in codes.items() if isinstance(error, kind))
        if isinstance(error, Invalid) and error.errors:
            first = str(error).partition("\n")[0]
            lines = [f"{where}: {what}" for where, what in error.errors]
            raise Failure(first, code, lines=lines) from error
        raise Failure(str(error), code) from error
