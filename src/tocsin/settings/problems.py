"""Problems: what is wrong with the file, all of it at once, each with its line, its column and what would be right."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tocsin.core.model.errors import Invalid
from tocsin.settings.document import Key, Place

PROBLEMS_MAX = 100
"""So many are told; whoever has more has one cause."""

FOUND_MAX = 1_000
"""So many of each kind are looked for; beyond that, even finding words for them takes its time."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Problem(NamedTuple):
    """One of them. key: the way to the value, () for the whole file; path: of another file than the configuration."""

    place: Place
    key: Key
    message: str
    path: Path | None = None


class WrongFile(Invalid):
    """The file is wrong. `problems` holds all of it, `errors` the same as (where, message) for any face."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        kept = [one._replace(key=tuple(map(_shown, one.key))) for one in _one_a_place(problems)]
        lines = [
            (
                f"{one.path or path}:{one.place.line}:{one.place.column}",
                " ".join(filter(None, (_label(one.key), one.message))),
            )
            for one in kept[:PROBLEMS_MAX]
        ]
        if len(kept) > PROBLEMS_MAX:
            lines.append((str(path), f"And {len(kept) - PROBLEMS_MAX:,} more."))
        count = "1 error" if len(kept) == 1 else f"{len(kept):,} errors"
        files = {one.path or path for one in kept}
        where = str(*files) if len(files) == 1 else "The configuration"
        among = f" in {len(files)} files" if len(files) > 1 else ""
        super().__init__(
            "\n".join([f"{where} has {count}{among}.", *(": ".join(line) for line in lines)]),
            field=lines[0][0],
            errors=lines,
        )
        self.path = path
        self.problems = tuple(kept)


def path_of(key: Key) -> str:
    """Write the way to a value: `channels[0].host`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part[:40]!r}]"
    return text


def _shown(part: str | int) -> str | int:
    """A URL where a key should be has lost its `url:`, and its path may be a secret all the same."""
    if isinstance(part, int) or "://" not in part:
        return part
    return f"{part.partition('://')[0]}://***"


def _label(key: Key) -> str:
    return f"{path_of(key)}:" if key else ""


def _one_a_place(problems: Sequence[Problem]) -> list[Problem]:
    """Keep the first problem of each place, in the order of the file: what follows from it is noise."""
    first: dict[tuple[Path | None, Place, Key], Problem] = {}
    for problem in problems:
        first.setdefault((problem.path, problem.place, problem.key), problem)
    return sorted(first.values(), key=lambda problem: (str(problem.path or ""), problem.place))
