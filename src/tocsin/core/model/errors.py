"""What can be wrong with what somebody asked of us. Our own mistakes are assertions, the world's are outcomes.

Each error says what happened, to what, and the next step; `type` is its stable name at every face.
"""

from collections.abc import Sequence


class TocsinError(Exception):
    """Somebody asked for what cannot be; the message is fit to be shown to them."""

    type = "error"


class Invalid(TocsinError):
    """The input is malformed. `field` is a path such as `[3].rule_id`, "" for the whole.

    errors: all that is wrong, as (where, what), if that is more than one thing.
    """

    type = "invalid"

    def __init__(self, message: str, *, field: str = "", errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.field = field
        self.errors = errors


def check_all(faults: Sequence[tuple[str, str]]) -> None:
    """Say all that is wrong at once. faults: (field, what is wrong with it). Raises: Invalid unless there are none."""
    if len(faults) == 1:
        raise Invalid(faults[0][1], field=faults[0][0])
    if faults:
        said = " ".join(what for _, what in faults)
        raise Invalid(f"{len(faults)} things are wrong: {said}", field=faults[0][0], errors=faults)


class NotFound(TocsinError):
    """No such thing."""

    type = "not-found"


class Conflict(TocsinError):
    """The thing exists, but its state does not allow this.

    state: as it is; possible: what could be asked of it instead, () where that is not known.
    """

    type = "conflict"

    def __init__(self, message: str, *, state: str, possible: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.state = state
        self.possible = possible


class Forbidden(TocsinError):
    """The actor is known, but may not do this."""

    type = "forbidden"


class Unavailable(TocsinError):
    """Nothing is known to have been stored; ask again. Carries no promise either way."""

    type = "unavailable"
