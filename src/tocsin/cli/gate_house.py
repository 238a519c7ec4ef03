"""Gate house: a house in memory that begins at the same moment every time, and what the gate lets happen in it."""

from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.input import Acted, Action, AlertReceived, Manual, received
from tocsin.core.model.policy import DAY, HOUR, MINUTE, Policy
from tocsin.ports import Store
from tocsin.runtime import house
from tocsin.runtime.turn import Result
from tocsin.wiring.stores import build_memory_store

ORIGIN = "tocsin-gate"
NINE = 1_800_003_600_000_000
"""A Friday in January 2027, 09:00 UTC, a minute after every house opens."""

MIDNIGHT = NINE - 9 * HOUR


class House(house.House):
    """See `tocsin.runtime.house.House`. store: one in memory unless told otherwise."""

    def __init__(self, policy: Policy, store: Store | None = None) -> None:
        super().__init__(policy, store or build_memory_store(), at=NINE - MINUTE, origin=ORIGIN)

    def look(
        self,
        status: Status,
        rule_id: str,
        severity: Severity,
        scope: dict[str, str],
        *,
        looked: int = 0,
        ends_at: int | None = None,
        manual: Manual | None = None,
    ) -> Result:
        """Let an alert come in. looked: the end of the minute that was looked at, 0 for now."""
        end = looked or self.clock.at
        alert = Alert(
            rule_id=rule_id,
            scope=scope,
            severity=severity,
            status=status,
            message=f"{rule_id} is not as it should be",
            window_start=end - MINUTE,
            window_end=end,
            source="manual" if manual is not None else "gate",
            ends_at=ends_at,
        )
        plain = received(alert)
        return self.take(AlertReceived(alert, plain.fingerprint, plain.named, manual), actor="token:gate")[0]

    def act(self, action: Action, incident: int, *, actor: str, until: int = 0, note: str = "") -> Result:
        """Somebody does something to an incident."""
        return self.take(Acted(action=action, incident=incident, until=until, note=note), actor=actor)[0]

    def next_such(self, time_of_day: int) -> int:
        """Give the next moment at which it is so late (microseconds since midnight UTC), now included."""
        at = MIDNIGHT + time_of_day
        while at < self.clock.at:
            at += DAY
        return at
