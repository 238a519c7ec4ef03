"""Suppress: which silences cover an alert, and whether anything remains to be told of an incident."""

from tocsin.core.engine.route import labels_of, matches_all
from tocsin.core.engine.state import LiveIncident, State
from tocsin.core.model.alert import Alert
from tocsin.core.model.incident import IncidentState


def silences_of(state: State, alert: Alert) -> tuple[int, ...]:
    """Give the numbers of the silences that act now and match the alert, oldest first."""
    if not state.silences:
        return ()
    labels = labels_of(alert.rule_id, alert.severity, alert.source, alert.scope)
    return tuple(
        number
        for number, silence in state.silences.items()
        if silence.began and matches_all(silence.tests, labels)
    )


def why_suppressed(state: State, incident: LiveIncident) -> str | None:
    """Say why nothing of this incident may be told now, or None if something may."""
    if incident.state is IncidentState.SILENCED:
        return "the incident is silenced"
    if incident.state is IncidentState.RESOLVED:
        hidden = incident.silenced >= len(state.members[incident.number]) > 0
    else:
        hidden = incident.firing > 0 and incident.silenced_firing >= incident.firing
    return "silences cover all of its alerts" if hidden else None
