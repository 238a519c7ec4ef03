"""Incidents: what there is, and one of them with all that belongs to it."""

import base64
import binascii
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from tocsin.core.ledger import encoding
from tocsin.core.model.alert import CANONICAL, Severity
from tocsin.core.model.errors import NotFound
from tocsin.core.model.incident import IncidentState
from tocsin.ports import IncidentFilter, Store
from tocsin.web.forms import (
    IncidentDetail,
    IncidentList,
    IncidentOut,
    TimelineOut,
    alert_out,
    delivery_out,
    incident_out,
    instant,
)
from tocsin.web.guard import Reader, TheNode
from tocsin.web.problems import WrongCursor

router = APIRouter(prefix="/api/v1/incidents")

ALERTS_SHOWN = 500
TIMELINE_SHOWN = 200


@router.get("")
def list_incidents(
    node: TheNode,
    reader: Reader,
    state: Annotated[list[IncidentState] | None, Query()] = None,
    severity: Severity | None = None,
    rule_id: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> IncidentList:
    """List incidents, newest first."""
    wanted = IncidentFilter(
        states=tuple(state or ()), severity=severity, rule_id=rule_id, after=_read_cursor(cursor)
    )
    views, total = node.store.list_incidents(wanted, limit + 1)
    more = len(views) > limit
    views = views[:limit]
    filters: dict[str, Any] = {"state": state, "severity": severity, "rule_id": rule_id}
    return IncidentList(
        incidents=[IncidentOut(**incident_out(view)) for view in views],
        total=total,
        filters={name: value for name, value in filters.items() if value},
        next_cursor=_cursor(views[-1].number) if more else None,
    )


@router.get("/{incident_id}")
def get_incident(incident_id: str, node: TheNode, reader: Reader) -> IncidentDetail:
    """Show one incident, by its id or number, with its alerts, deliveries and newest entries."""
    store = node.store
    incident = store.find_incident(incident_id)
    view = store.incident_view(incident.number) if incident is not None else None
    if incident is None or view is None:
        raise NotFound(f"There is no incident {incident_id[:64]!r}. List them: GET /api/v1/incidents.")
    alerts = []
    for live in store.members(incident.number)[:ALERTS_SHOWN]:
        entry = store.entry(live.text_seq)
        alert = encoding.read_private(entry[2]).alert if entry is not None and entry[2] else None
        alerts.append(alert_out(live, alert, incident.number))
    return IncidentDetail(
        **incident_out(view),
        alerts=alerts,
        deliveries=[delivery_out(delivery) for delivery in store.deliveries_of(incident.number)],
        timeline=timeline(store, incident.last_seq),
    )


def timeline(store: Store, last_seq: int) -> list[TimelineOut]:
    """Follow an incident's entries back from the last one, along the links that the ledger keeps."""
    shown: list[TimelineOut] = []
    seq: int | None = last_seq
    while seq is not None and seq >= 0 and len(shown) < TIMELINE_SHOWN:
        entry = store.entry(seq)
        if entry is None:
            break
        header = encoding.read_header(entry[0])
        events: list[dict[str, Any]] = msgspec.json.decode(entry[1])["events"]
        shown.append(
            TimelineOut(seq=seq, at=instant(header.at), kind=header.kind, actor=header.actor, events=events)
        )
        seq = header.incident_prev
    return shown


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(CANONICAL.encode({"before": number})).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=dict[str, int]
        )
        number = read["before"]
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
        number = 0
    if not 0 < number < 1 << 62 or _cursor(number) != cursor:
        raise WrongCursor("This cursor is not one that Tocsin gave. Begin without one.", field="cursor")
    return number
