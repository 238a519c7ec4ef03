"""Builders of messages for the tests of channels: give only what the test is about."""

from typing import Any

from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import AlertLine, Message, NotificationKind

AT = 1_763_974_800_123_456  # 2025-11-24T09:00:00.123456Z


def an_incident(**changes: Any) -> IncidentView:
    fields: dict[str, Any] = {
        "id": "inc1",
        "number": 1042,
        "generation": 1,
        "state": IncidentState.OPEN,
        "severity": Severity.CRITICAL,
        "title": "Disk full on db-1",
        "rule_id": "disk_full",
        "route": "default",
        "labels": {"host": "db-1"},
        "opened_at": AT,
        "updated_at": AT,
        "firing": 1,
        "cleared": 0,
        "url": "https://tocsin.test/incidents/inc1",
    }
    return IncidentView(**fields | changes)


def an_alert(**changes: Any) -> AlertLine:
    fields: dict[str, Any] = {
        "status": Status.FIRING,
        "severity": Severity.CRITICAL,
        "rule_id": "disk_full",
        "message": "disk 97 %",
        "scope": {"host": "db-1"},
        "window_start": AT - 60_000_000,
        "window_end": AT,
    }
    return AlertLine(**fields | changes)


def a_message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "notification_id": "0" * 32,
        "origin": "tocsin.test",
        "kind": NotificationKind.OPENED,
        "at": AT,
        "severity": Severity.CRITICAL,
        "title": "Disk full on db-1",
        "text": "db-1 has no space left.",
        "because": "new incident",
        "record": "1311:5bf7e44f",
        "alerts": (an_alert(),),
        "incident": an_incident(),
    }
    return Message(**fields | changes)
