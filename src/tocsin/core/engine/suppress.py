"""Suppress: which silences cover an alert, and whether anything remains to be told of an incident."""

from collections.abc import Iterable

from tocsin.core.engine.route import labels_of, matcher_test, matches_all
from tocsin.core.engine.state import LiveAlert, LiveIncident, State
from tocsin.core.model.alert import Alert, Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.silence import Matcher

UNLIKELY = ("tocsin-7f1c", "0", "\u2603 x", "Zz/9.q_-")
"""Values that nobody would name in a matcher: one that lets all of them in asks for nothing."""


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


def covering(members: Iterable[LiveAlert]) -> tuple[int, ...]:
    """Give the numbers of the silences that cover one of these alerts, oldest first."""
    return tuple(sorted({number for alert in members for number in alert.silenced_by}))


def covers_everything(matchers: tuple[Matcher, ...]) -> bool:
    """Say whether these matchers ask for nothing, or only leave out what they name.

    Raises: Invalid if a pattern is not RE2.
    """
    for matcher in matchers:
        test = matcher_test(matcher)
        values: tuple[str, ...] = UNLIKELY
        if matcher.name == "severity":
            values = tuple(Severity)
        elif matcher.name != "rule_id":  # which no alert is without
            values = ("", *UNLIKELY)
        if not all(test({matcher.name: value}) for value in values):
            return False
    return True
