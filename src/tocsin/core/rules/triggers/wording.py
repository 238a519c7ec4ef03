"""Wording: how numbers and lengths of time are written for people, the same on every machine."""

from decimal import Decimal

from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND

DIGITS = 6
"""So many significant digits are written, if more are not needed to tell two numbers apart."""

DIGITS_SHORT = 4

DIGITS_EXACT = 17
"""So many tell every float from every other (IEEE 754-2019, 5.12.2)."""

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1_000, "us": 1}
_NAMED = {DAY: "day", HOUR: "hour", MINUTE: "minute", SECOND: "second"}


def number(value: float, digits: int = DIGITS) -> str:
    """Write a finite number; only those from 10^15 on and below a millionth have an exponent."""
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{Decimal(text):f}" if 1e-6 <= abs(value) < 1e15 else text


def short(value: float) -> str:
    """Write a finite number that was worked out, of which nobody wants to read six digits."""
    return number(value, _short_digits(value))


def pair(value: float, limit: float) -> tuple[str, str]:
    """Write two finite numbers so that the one looks greater, or both look the same, only if it is so."""
    return _told_apart(value, limit, DIGITS)


def pair_short(value: float, limit: float) -> tuple[str, str]:
    """Write a number that was worked out, and a limit, as `pair` does."""
    return _told_apart(value, limit, _short_digits(value))


def pair_of_seconds(value: float, limit: float) -> tuple[str, str]:
    """Write two lengths of time so that they look the same only if they are; in whole seconds where that will do."""
    texts = duration(int(value) * SECOND), duration(int(limit) * SECOND)
    if texts[0] != texts[1] or int(value) == value == limit:
        return texts
    exact = pair(value, limit)
    return f"{exact[0]}s", f"{exact[1]}s"


def duration(length: int) -> str:
    """Write microseconds exactly, the larger unit first: 90m is 1h30m."""
    parts = []
    for name, unit in _UNITS.items():
        count, length = divmod(length, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def each(length: int) -> str:
    """Write what something happens per: "hour", "1h30m"."""
    return _NAMED.get(length) or duration(length)


def counted(count: int, noun: str) -> str:
    """Write so many of something: "1 point", "60 points"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _short_digits(value: float) -> int:
    return DIGITS_SHORT if abs(value) < 1000 else DIGITS


def _told_apart(value: float, limit: float, digits: int) -> tuple[str, str]:
    while True:
        texts = number(value, digits), number(limit, max(digits, DIGITS))
        seen, border = map(float, texts)
        if (seen < border, seen > border) == (value < limit, value > limit):
            return texts
        assert digits < DIGITS_EXACT, "two floats are always told apart"
        digits += 1
