"""Hours: which hour of the day it is where somebody sleeps."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import MINUTE

NIGHT = (22, 23, 0, 1, 2, 3, 4, 5, 6)
"""The hours from 22:00 to 07:00."""

_SLOT = 15 * MINUTE
"""No zone moves its clocks within a quarter of an hour of UTC."""


class Hours:
    """Tells the hour of the day in one zone. Raises: Invalid if no such zone is known."""

    def __init__(self, zone: str) -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Invalid(
                f"Zone {zone!r} is not known. Give an IANA name such as Europe/Berlin or UTC.", field="zone"
            ) from error
        self._slot = -1
        self._hour = 0

    def of(self, at: int) -> int:
        """Give the hour, 0 to 23, that the clocks show at a moment."""
        slot = at // _SLOT
        if slot != self._slot:
            moment = datetime.fromtimestamp(slot * _SLOT // 1_000_000, tz=UTC)
            self._slot, self._hour = slot, moment.astimezone(self._zone).hour
        return self._hour
