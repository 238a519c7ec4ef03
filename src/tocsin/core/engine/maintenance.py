"""Maintenance: when the windows of a recurring silence open and close; RFC 5545 rules over the wall time of a zone.

A wall time that a zone skips in spring is taken as much later as the clocks jump; one that comes twice in autumn is
taken the first time. A window lasts as long as it says, whatever the clocks do meanwhile.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrule, rrulestr

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, MINUTE
from tocsin.core.model.silence import Maintenance

LASTING_MAX = 31 * DAY
HORIZON = timedelta(days=5 * 366)
"""How far ahead a window is looked for."""
RULE_MAX = 300
COUNT_MAX = 10_000

_CYCLES = timedelta(days=19 * 146_097)
"""7,600 years: in 400 of them, the calendar repeats with its weekdays and its leap years.

The library looks for a day that never comes until the year 9999, which takes seconds in which nothing else is decided.
So every rule is looked at so much later, where that year is near.
"""
_LAST = datetime.fromisoformat("9999-12-31T23:59:59")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"[\w+-]{1,40}(?:/[\w+-]{1,40}){0,3}", re.ASCII)
_PARTS: tuple[str, ...] = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYMONTHDAY", "BYMONTH")
_PARTS += ("BYYEARDAY", "BYWEEKNO", "BYSETPOS")
_PART = re.compile(r"([A-Z]+)=([A-Z0-9,+-]+)")
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


def check(wanted: Maintenance) -> None:
    """Refuse what is no rule, zone, beginning or length. Raises: Invalid, naming the field."""
    if not MINUTE <= wanted.lasting <= LASTING_MAX:
        raise Invalid("A window lasts from 1 minute to 31 days.", field="minutes")
    begins = _begins(wanted)
    if not 2000 <= begins.year <= 2200:
        raise Invalid(f"begins is {wanted.begins}. Give a year from 2000 to 2200.", field="begins")
    get_zone(wanted.zone)
    parts = _parts(wanted.rrule)
    if parts.get("FREQ") not in _FREQUENCIES:
        raise Invalid(f"The rule needs FREQ, one of {', '.join(_FREQUENCIES)}.", field="rrule")
    for name, least, most in (("INTERVAL", 1, 1000), ("COUNT", 1, COUNT_MAX)):
        value = parts.get(name, "1")
        if not value.isdecimal() or not least <= int(value) <= most:
            raise Invalid(f"{name} is {value!r}. Give a number from {least} to {most}.", field="rrule")
    if "COUNT" in parts and "UNTIL" in parts:
        raise Invalid("A rule has COUNT or UNTIL, not both (RFC 5545).", field="rrule")
    rule = _rule(wanted, parts)
    bounded = rule.replace(count=None, until=begins + _CYCLES + HORIZON)
    if next(iter(bounded), None) is None:
        raise Invalid("This rule has no window within five years of where it begins.", field="rrule")


def windows(wanted: Maintenance, after: int, count: int) -> list[tuple[int, int]]:
    """Give the first windows [starts_at, ends_at) that end later than `after`, at most `count`, earliest first.

    wanted: one that `check` let pass. Nothing further than five years after `after` is found.
    """
    zone = get_zone(wanted.zone)
    parts = _parts(wanted.rrule)
    rule = _rule(wanted, parts)
    local = datetime.fromtimestamp(after // 1_000_000, tz=UTC).astimezone(zone).replace(tzinfo=None)
    local += min(_CYCLES, _LAST - HORIZON - local)
    limit = local + HORIZON
    if "COUNT" not in parts:
        until = rule._until  # type: ignore[attr-defined]  # the library's only name for it
        rule = rule.replace(until=min(until, limit) if until else limit)
    # Two days earlier than exact: the zone may have moved its clocks in between.
    first = local - timedelta(microseconds=wanted.lasting) - timedelta(days=2)
    found: list[tuple[int, int]] = []
    for wall in islice(rule.xafter(first, inc=True), COUNT_MAX):
        if wall > limit:
            break
        starts_at = _instant(wall - _CYCLES, zone)
        if starts_at + wanted.lasting > after:
            found.append((starts_at, starts_at + wanted.lasting))
            if len(found) == count:
                break
    return found


def _instant(wall: datetime, zone: ZoneInfo) -> int:
    """Give the moment (microseconds UTC) at which the zone's clocks show this; see the file's head for the odd ones."""
    delta = wall.replace(tzinfo=zone, fold=0).astimezone(UTC) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _begins(wanted: Maintenance) -> datetime:
    try:
        begins = datetime.fromisoformat(wanted.begins)
    except ValueError:
        begins = None
    if begins is None or begins.tzinfo is not None:
        raise Invalid(
            f"begins is {wanted.begins!r}. Give the wall time of the zone, without an offset: 2026-03-01T02:00.",
            field="begins",
        )
    return begins


def get_zone(name: str) -> ZoneInfo:
    """Find a zone by its IANA name. Raises: Invalid, whose field is `zone`."""
    try:
        if _ZONE.fullmatch(name) is None:  # The library would take hundreds of slashes for as many packages.
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(
            f"Zone {name[:40]!r} is not known. Give an IANA name such as Europe/Berlin or UTC.",
            field="zone",
        ) from error


def _parts(rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in rule.split(";") if len(rule) <= RULE_MAX else ():
        matched = _PART.fullmatch(part)
        if matched is None or matched[1] not in _PARTS or matched[1] in parts:
            break
        parts[matched[1]] = matched[2]
    else:
        if parts:
            return parts
    raise Invalid(
        f"The rule {rule[:RULE_MAX]!r} is none. Write it like FREQ=WEEKLY;BYDAY=SU, "
        f"with the parts {', '.join(_PARTS)}.",
        field="rrule",
    )


def _rule(wanted: Maintenance, parts: dict[str, str]) -> rrule:
    named = dict(parts)
    try:
        if "UNTIL" in named:
            until = _until(named["UNTIL"], get_zone(wanted.zone))
            named["UNTIL"] = (min(until, _LAST - _CYCLES) + _CYCLES).strftime("%Y%m%dT%H%M%S")
        text = ";".join(f"{name}={value}" for name, value in named.items())
        rule = rrulestr(text, dtstart=_begins(wanted) + _CYCLES, ignoretz=True)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise Invalid(f"The rule {wanted.rrule!r} is none: {error}.", field="rrule") from error
    assert isinstance(rule, rrule)
    return rule


def _until(text: str, zone: ZoneInfo) -> datetime:
    """Read an UNTIL as wall time of the zone. Raises: ValueError, OverflowError."""
    moment = datetime.fromisoformat(text)
    if len(text) == 8:
        return moment.replace(hour=23, minute=59, second=59)  # A date means all of that day.
    return moment.astimezone(zone).replace(tzinfo=None) if moment.tzinfo is not None else moment
