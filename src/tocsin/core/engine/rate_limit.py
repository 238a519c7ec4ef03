"""Rate limit: at most so many notifications of one rule in a sliding window; the rest is told as a digest."""

from bisect import bisect_right

from tocsin.core.engine.state import LiveIncident, RateWindow, Told
from tocsin.core.model.alert import Severity
from tocsin.core.model.notification import NotificationKind
from tocsin.core.model.policy import RateLimit

CHARGED = (NotificationKind.OPENED, NotificationKind.UPDATED, NotificationKind.REMINDER)
"""The kinds that count. The others are exempt: they end something, were asked for, or are rare by themselves."""


def is_exempt(incident: LiveIncident, kind: NotificationKind, told: Told | None) -> bool:
    """Say whether a notification goes out whatever the window holds.

    So does the first that tells somebody of an incident at CRITICAL.
    """
    if kind not in CHARGED:
        return True
    if incident.audible is not Severity.CRITICAL:
        return False
    return (
        told is None
        or not told.change
        or told.generation != incident.generation
        or told.severity is not Severity.CRITICAL
    )


def used(window: RateWindow | None, limit: RateLimit, at: int, charged: int = 0) -> int:
    """Count the notifications in the window (at - limit.window, at].

    charged: how many were decided just now and do not stand in the window yet.
    """
    since = at - limit.window
    times = window.times if window is not None else ()
    return charged + len(times) - bisect_right(times, since)


def digest_due(window: RateWindow | None, limit: RateLimit, at: int) -> int | None:
    """Say when the digest of something withheld now is due, or None if one is planned already."""
    if window is not None and window.digest_at:
        return None
    due = at + limit.digest_after
    if window is not None and window.digested_at:
        due = max(due, window.digested_at + limit.digest_interval)
    return due
