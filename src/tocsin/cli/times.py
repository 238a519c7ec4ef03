"""Times: lengths and moments as people write them. What `now` is, the server says: only its clock counts."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tocsin.cli.answers import Api

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LENGTH = re.compile(r"(?:\d{1,9}[smhdw])+", re.ASCII)
CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
LENGTH_MAX_S = 100 * 366 * 86_400


def read_length(text: str) -> int | None:
    """Read a length such as `90s`, `5m` or `1d12h` as seconds; None if it is none."""
    if not LENGTH.fullmatch(text):
        return None
    seconds = sum(int(part[:-1]) * UNITS_S[part[-1]] for part in re.findall(r"\d+[smhdw]", text))
    return seconds if seconds <= LENGTH_MAX_S else None


class Length(click.ParamType[int]):
    """A length of time on the command line, in seconds."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click. Refuses 0: a length of nothing is a mistake."""
        if isinstance(value, int):
            return value
        seconds = read_length(str(value))
        if not seconds:
            self.fail(f"{value!r} is no length of time. Write it like 90s, 5m, 2h or 1d.", param, ctx)
        return seconds


@dataclass(frozen=True)
class Moment:
    """A moment that may depend on now; `at` settles it."""

    settle: Callable[[datetime], datetime]
    needs_now: bool

    def at(self, api: "Api") -> str:
        """Give it as the API takes it, ISO 8601 in UTC."""
        now = api.now() if self.needs_now else datetime.min.replace(tzinfo=UTC)
        return self.settle(now).astimezone(UTC).isoformat().replace("+00:00", "Z")


class When(click.ParamType[Moment]):
    """A moment on the command line: ISO 8601, `09:30`, `-2h`, `+30m` or `now`.

    ahead: it lies in the future, so `2h` is in two hours and `09:30` the next one; else in the past.
    """

    name = "time"

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """See click."""
        if isinstance(value, Moment):
            return value
        text = str(value).strip()
        if text == "now":
            return Moment(lambda now: now, True)
        seconds = read_length(text.lstrip("+-")) if text[:2] not in ("+-", "-+", "++", "--") else None
        if seconds is not None:
            sign = 1 if text[0] == "+" or (self._ahead and text[0] != "-") else -1
            length = timedelta(seconds=sign * seconds)
            return Moment(lambda now: now + length, True)
        if (clock := CLOCK.fullmatch(text)) is not None:
            hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
            if hour < 24 and minute < 60 and second < 60:
                return Moment(lambda now: self._next(now, hour, minute, second), True)
        try:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.astimezone()
            at.astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{value!r} is no time. Write it like 2026-03-01T09:30:00Z, 09:30 (local time), -2h or +30m.",
                param,
                ctx,
            )
        return Moment(lambda now: at, False)

    def _next(self, now: datetime, hour: int, minute: int, second: int) -> datetime:
        """The next time that the clocks here show this, or the last one."""
        here = now.astimezone()
        day = here.replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0)
        step = timedelta(days=1 if self._ahead else -1)
        at = day.astimezone()
        passed = at <= here if self._ahead else at > here
        return (day + step).astimezone() if passed else at


PAST = When(ahead=False)
FUTURE = When(ahead=True)
LENGTH_TYPE = Length()


def span(seconds: float | None) -> str:
    """Show a length in its two largest units: `1d 2h`, `5m 3s`, `0.4s`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    left, parts = round(seconds), []
    for unit in ("w", "d", "h", "m", "s"):
        if left >= UNITS_S[unit]:
            parts.append(f"{left // UNITS_S[unit]}{unit}")
            left %= UNITS_S[unit]
    return " ".join(parts[:2])
