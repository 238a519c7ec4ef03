"""Words: the little language of the settings: lengths of time. (Matchers have theirs in `core/model/silence`.)"""

import re

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND

UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": SECOND // 1000}
"""In the order in which they are written; microseconds each."""

DURATION_MAX = 36_500 * DAY

_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit}(?![a-z]))?" for unit in UNITS))


def parse_duration(text: object) -> int:
    """Read a length of time such as `30s`, `5m`, `1h30m` or `2d` into microseconds.

    Raises: Invalid.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise Invalid(
            f"{text} is a plain number. Write a length of time with its unit, such as {text}s or 5m."
        )
    if not isinstance(text, str):
        raise Invalid("This takes a length of time, such as 30s, 5m, 4h or 2d.")
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise Invalid(
            f"{text[:40]!r} is no length of time. Write whole numbers with the units d, h, m, s and ms, "
            "the larger first: 30s, 5m, 1h30m, 2d."
        )
    total = sum(int(count or 0) * unit for count, unit in zip(found.groups(), UNITS.values(), strict=True))
    if total > DURATION_MAX:
        raise Invalid(f"{text[:40]!r} is longer than 100 years. Give less.")
    return total


def write_duration(duration: int) -> str:
    """Write microseconds as `parse_duration` reads them; parts below a millisecond are left out."""
    parts = []
    for name, unit in UNITS.items():
        count, duration = divmod(duration, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
