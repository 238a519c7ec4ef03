"""Deduplicate: is this look at an alert news, or was it seen before?

A duplicate has the same window and status as a look that was seen, no higher severity, and the alert was not
cleared since. (The window decides, because within one alert it is all that the idempotency key depends on.)
Where its source said of a later window that it is over, the old look is a duplicate too: whoever sends a batch again
that says both, `fires` and then `is over`, does not open what was closed.
"""

from tocsin.core.engine.state import LOOK, STATUS_CODE, LiveAlert, State, has_look
from tocsin.core.model.alert import Alert, Status, severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import AlertReceived


def is_duplicate(live: LiveAlert, alert: Alert, at: int) -> bool:
    """Say whether an alert that fires already learns nothing from this look.

    live: fires in at least one incident.
    """
    if alert.status is Status.FIRING and (
        live.greens or severity_rank[alert.severity] > severity_rank[live.severity]
    ):
        return False
    return has_look(live, alert.window_start, alert.window_end, alert.status, at)


def is_stale(live: LiveAlert, alert: Alert, at: int) -> bool:
    """Say whether a firing look is known already, and its source said of a later window since that it is over.

    live: fires in no incident.
    """
    if severity_rank[alert.severity] > severity_rank[live.severity]:
        return False
    if not has_look(live, alert.window_start, alert.window_end, Status.FIRING, at):
        return False
    window = alert.window_start, alert.window_end, STATUS_CODE[Status.FIRING]
    for *look, _ in reversed([*LOOK.iter_unpack(live.looks)]):
        if look[2] == STATUS_CODE[Status.RESOLVED] and look[1] > alert.window_end:
            return True
        if tuple(look) == window:
            break
    return False


def find_repeated(state: State, given: AlertReceived, at: int) -> LiveAlert | None:
    """Find the alert that this input merely repeats: it changes no decision, and only renews the alert's lease.

    Most of what monitoring sends is this, so whoever drives the core may ask it before `step`, which says the same.
    given: with its id.
    """
    live = state.alerts.get(given.id)
    if (
        live is None
        or not live.firing_in
        or given.manual is not None
        or given.alert.status is not Status.FIRING
    ):
        return None
    if not is_duplicate(live, given.alert, at):
        return None
    incidents = state.incidents
    for number in live.firing_in:
        if incidents[number].state is IncidentState.RESOLVED:
            return None
    return live
