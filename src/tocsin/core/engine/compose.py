"""Compose: what a notification says, as a value that every channel can give a form. Pure text work.

Nothing here escapes: what is dangerous depends on the channel, and each one escapes for itself.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tocsin.core.engine.actors import called
from tocsin.core.engine.route import Plan, group_labels
from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.model.alert import Alert, Status, severity_rank
from tocsin.core.model.event import Notified
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import AlertLine, Message, NotificationKind
from tocsin.core.model.policy import ALL_LABELS

TEXTS = 2
"""Which wording this is, to be raised with every change of what is written here.

The ledger says which one was in force, so that whoever reads it again knows what to expect of titles and messages.
"""

LINES_MAX = 20
TITLE_MAX = 160
SAID_MAX = 200
SCOPE_MAX = 60
"""So much of a title says where; the rest is for what."""


def title_of(plan: Plan, alert: Alert) -> str:
    """Name an incident by the alert that opened it: where and what, or its rule and group where it may hold many."""
    if plan.group_by == (ALL_LABELS,):
        return _title(alert.rule_id, alert.scope, alert.message)
    labels = group_labels(plan, alert)
    named = ", ".join(f"{name}={value}" for name, value in labels.items() if name != "rule_id")
    return clip(f"{alert.rule_id} ({named})" if named else alert.rule_id, TITLE_MAX)


def _title(rule_id: str, scope: Mapping[str, str], message: str) -> str:
    """Name an alert: `cpu (host=db-1): CPU over 95 %`."""
    where = f" ({_where(scope)})" if scope else ""
    what = f": {message}" if message else ""
    return clip(f"{rule_id}{where}{what}", TITLE_MAX)


def _where(scope: Mapping[str, str]) -> str:
    """Write a scope shortly, sorted by name: as many labels as there is room for, or a part of the first."""
    labels = [f"{name}={value}" for name, value in sorted(scope.items())]
    if len(", ".join(labels)) <= SCOPE_MAX:
        return ", ".join(labels)
    rest = ", …" if len(labels) > 1 else ""
    room = SCOPE_MAX - len(rest)
    while len(labels) > 1 and len(", ".join(labels)) > room:
        labels.pop()
    return clip(", ".join(labels), room) + rest


def clip(text: str, length_max: int) -> str:
    """Shorten a text to so many characters; a shortened one ends with an ellipsis."""
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def pick(members: Sequence[LiveAlert], incident: int) -> list[LiveAlert]:
    """Choose the alerts that a message shows: firing before cleared, worst first, then newest; at most 20."""
    if len(members) == 1:
        return list(members)
    return sorted(
        members, key=lambda a: (incident not in a.firing_in, -severity_rank[a.severity], -a.fired, a.number)
    )[:LINES_MAX]


def line_of(live: LiveAlert, alert: Alert, incident: int) -> AlertLine:
    """Show one alert of an incident."""
    status = Status.FIRING if incident in live.firing_in else Status.RESOLVED
    return msgspec.structs.replace(line_of_alert(alert), status=status, severity=live.severity)


def line_of_alert(alert: Alert) -> AlertLine:
    """Show an alert as it came in."""
    return AlertLine(
        status=alert.status,
        severity=alert.severity,
        rule_id=alert.rule_id,
        message=alert.message,
        scope=alert.scope,
        window_start=alert.window_start,
        window_end=alert.window_end,
        annotations=alert.annotations,
        links=alert.links,
        evidence=alert.evidence,
    )


def view_of(incident: LiveIncident, title: str, labels: dict[str, str], url: str = "") -> IncidentView:
    """Show an incident."""
    return IncidentView(
        id=incident.id,
        number=incident.number,
        generation=incident.generation,
        state=incident.state,
        severity=incident.severity,
        title=title,
        rule_id=incident.rule_id,
        route=incident.route,
        labels=labels,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        firing=incident.firing,
        cleared=incident.cleared,
        silenced=incident.silenced_firing,
        acked_by=incident.acked_by,
        resolved_at=incident.resolved_at or None,
        url=url,
    )


_LEAD = {
    NotificationKind.OPENED: "New incident.",
    NotificationKind.UPDATED: "Something changed in this incident.",
    NotificationKind.REMINDER: "Still open, and nobody has acknowledged it.",
    NotificationKind.ESCALATED: "Nobody has acknowledged it yet.",
    NotificationKind.RESOLVED: "Over.",
    NotificationKind.MANUAL: "Sent by hand.",
}


def message(
    notified: Notified,
    *,
    at: int,
    origin: str,
    incident: LiveIncident | None,
    view: IncidentView | None,
    lines: Sequence[AlertLine],
    silenced: int = 0,
    digest: str = "",
    failed: str = "",
    by: str = "",
    last_said: str = "",
    record: str = "",
) -> Message:
    """Write what a notification says.

    silenced: alerts that are left out because silences cover them; digest, failed: the sentence of a digest or a
    meta-notification, where it is one. by: the actor who resolved or reopened the incident just now, "" where it was
    nobody or before; last_said: what the alert said that was the last to clear, just now. record: see Message.
    """
    kind = notified.kind
    if view is not None:
        title = view.title
    elif lines:
        title = _title(lines[0].rule_id, lines[0].scope, lines[0].message)
    else:
        title = f"Notifications of rule {notified.rule_id}"
    if kind is NotificationKind.META:
        title, text = clip(f"Could not be told: {title}", TITLE_MAX), failed
    elif kind is NotificationKind.DIGEST:
        text = digest
    else:
        text = _LEAD[kind]
        if view is not None and incident is not None:
            if kind is NotificationKind.RESOLVED:
                text = _over(incident, by, last_said)
            elif view.generation > 1 and kind is NotificationKind.OPENED:
                back = (
                    f"Reopened by {called(by, {})}."
                    if by
                    else f"It is back, for the {_ordinal(view.generation)} time."
                )
                text = f"{back} {_counts(view)}"
            else:
                text += " " + _counts(view)
    if silenced:
        text += f" {silenced} silenced alert{'s are' if silenced != 1 else ' is'} left out."
    total = view.firing + view.cleared if view is not None else len(lines)
    return Message(
        notification_id=notified.id,
        origin=origin,
        kind=kind,
        at=at,
        severity=notified.severity,
        title=title,
        text=text,
        because=notified.because,
        alerts=tuple(lines),
        more=max(0, total - len(lines) - silenced),
        incident=view,
        record=record,
    )


def _over(incident: LiveIncident, by: str, last_said: str) -> str:
    """Say how it ended. What a person ended may not have cleared."""
    if not incident.auto_resolved:
        left = f" {_several(incident.firing)} had not cleared." if incident.firing else ""
        return f"Over: {called(by, {}) or 'somebody'} resolved it.{left}"
    greens = f" after {incident.greens} green looks" if incident.greens else ""
    said = f" The last one said: {clip(' '.join(last_said.split()), SAID_MAX)}" if last_said else ""
    return f"Over: all alerts cleared{greens}.{said}"


def _ordinal(number: int) -> str:
    """Write `2nd`."""
    end = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{end}"


def _several(alerts: int) -> str:
    return f"{alerts} alert{'s' if alerts != 1 else ''}"


def _counts(view: IncidentView) -> str:
    firing = f"{_several(view.firing)} firing"
    cleared = f", {view.cleared} cleared" if view.cleared else ""
    state = "" if view.state is IncidentState.OPEN else f" ({view.state})"
    return f"{firing}{cleared}{state}."
