"""Rate limit: at most so many notifications of one rule in a sliding window; the rest is told as a digest."""

from tocsin.core.engine.state import LiveIncident, RateWindow
from tocsin.core.model.alert import Severity
from tocsin.core.model.notification import NotificationKind
from tocsin.core.model.policy import RateLimit

CHARGED = (NotificationKind.OPENED, NotificationKind.UPDATED, NotificationKind.REMINDER)
"""The kinds that count. The others are exempt: they end something, were asked for, or are rare by themselves."""


def is_exempt(incident: LiveIncident, kind: NotificationKind) -> bool:
    """Say whether a notification goes out whatever the window holds: also the first one at CRITICAL."""
    return kind not in CHARGED or (incident.severity is Severity.CRITICAL and not incident.critical_told)


def is_full(window: RateWindow | None, limit: RateLimit, at: int) -> bool:
    """Say whether the window (at - limit.window, at] holds as many notifications as it may."""
    if window is None:
        return False
    since = at - limit.window
    return sum(time > since for time in window.times) >= limit.limit


def digest_due(window: RateWindow | None, limit: RateLimit, at: int) -> int | None:
    """Say when the digest of something withheld now is due, or None if one is planned already."""
    if window is not None and window.digest_at:
        return None
    due = at + limit.digest_after
    if window is not None and window.digested_at:
        due = max(due, window.digested_at + limit.digest_interval)
    return due
