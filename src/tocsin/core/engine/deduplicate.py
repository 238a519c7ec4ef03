"""Deduplicate: is this look at an alert news, or was it seen before?

A duplicate has the same window and status as a look that was seen, no higher severity, and the alert was not
cleared since. (The window decides, because within one alert it is all that the idempotency key depends on.)
"""

from tocsin.core.engine.state import LiveAlert, has_look
from tocsin.core.model.alert import Alert, Status, severity_rank


def is_duplicate(live: LiveAlert, alert: Alert, at: int) -> bool:
    """Say whether an alert that fires already learns nothing from this look.

    live: fires in at least one incident.
    """
    if alert.status is Status.FIRING and (
        live.greens or severity_rank[alert.severity] > severity_rank[live.severity]
    ):
        return False
    return has_look(live, alert.window_start, alert.window_end, alert.status, at)
