"""Incidents: what there is, how it went in numbers, and one of them with all that belongs to it."""

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from tocsin.core.engine.state import LiveAlert
from tocsin.core.engine.suppress import covering
from tocsin.core.ledger import encoding
from tocsin.core.model.alert import Severity
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.policy import DAY
from tocsin.ports import IncidentFilter, Store
from tocsin.runtime.node import Node
from tocsin.web import chains
from tocsin.web.api.trace import IncidentName, notes_out, timeline_out
from tocsin.web.bounded import Searches, Stories
from tocsin.web.cursors import Cursor, Limit, page, read_cursor
from tocsin.web.forms import IncidentOut, delivery_out, incident_out, instant
from tocsin.web.guard import Reader, TheNode
from tocsin.web.incident_forms import (
    AlertOut,
    IncidentDetail,
    IncidentList,
    StatsOut,
    alert_out,
    more_fields,
    stats_out,
)
from tocsin.web.moments import Bound

router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])

ALERTS_SHOWN = 500
TIMELINE_SHOWN = 200
STATS_SPAN = 30 * DAY

Label = Annotated[str, Query(pattern="^[^=]+=", max_length=1024)]


@router.get("")
async def list_incidents(
    node: TheNode,
    reader: Reader,
    searches: Searches,
    state: Annotated[list[IncidentState] | None, Query(description="Any of these.")] = None,
    severity: Severity | None = None,
    rule_id: Annotated[str | None, Query(max_length=256)] = None,
    scope: Annotated[
        list[Label] | None,
        Query(description="`name=value`: a label that it has; all of these.", max_length=64),
    ] = None,
    text: Annotated[str, Query(max_length=256, description="Stands in its title, whatever the case.")] = "",
    since: Annotated[Bound | None, Query(description="Opened then or later.")] = None,
    until: Annotated[Bound | None, Query(description="Opened before.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> IncidentList:
    """List incidents, newest first."""
    wanted = IncidentFilter(
        states=tuple(state or ()),
        severity=severity,
        rule_id=rule_id,
        scope=tuple((name, value) for name, _, value in (label.partition("=") for label in scope or ())),
        text=text,
        since=since,
        until=until,
        after=read_cursor(cursor),
    )
    looks_far = bool(text or scope)  # No index has what stands in a title or among the labels.
    run = searches.run if looks_far else run_in_threadpool
    found, total = await run(node.store.list_incidents, wanted, limit + 1)
    views, next_cursor = page(found, limit, lambda view: view.number)
    filters: dict[str, Any] = {
        "state": state,
        "severity": severity,
        "rule_id": rule_id,
        "scope": scope,
        "text": text,
        "since": instant(since) if since is not None else None,
        "until": instant(until) if until is not None else None,
    }
    return IncidentList(
        incidents=[IncidentOut(**incident_out(view, node.names)) for view in views],
        total=total,
        filters={name: value for name, value in filters.items() if value},
        next_cursor=next_cursor,
    )


@router.get("/stats")
def get_incident_stats(
    node: TheNode,
    reader: Reader,
    since: Annotated[Bound | None, Query(description="30 days before until, if it is left out.")] = None,
    until: Annotated[Bound | None, Query(description="Now, if it is left out.")] = None,
) -> StatsOut:
    """Count incidents by state, severity and rule, and say how long people took.

    The times are those of incidents resolved in [since, until), by whole days UTC.
    """
    end = until if until is not None else node.clock.now()
    begin = since if since is not None else max(0, end - STATS_SPAN)
    if end < begin:
        raise Invalid("until lies before since. Swap the two.", field="until")
    return stats_out(node.store.stats(begin, end), begin, end)


@router.get("/{incident_id}")
async def get_incident(
    incident_id: IncidentName, node: TheNode, reader: Reader, stories: Stories
) -> IncidentDetail:
    """Show one incident with its alerts, deliveries, notes and newest entries."""
    return await stories.run(_detail, node, incident_id)


def _detail(node: Node, incident_id: str) -> IncidentDetail:
    store, names = node.store, node.names
    incident = chains.get_incident(store, incident_id)
    entries = list(islice(chains.newest_first(store, incident), TIMELINE_SHOWN))
    members = store.members(incident.number)
    return IncidentDetail(
        **incident_out(chains.get_view(store, incident), names),
        **more_fields(incident),
        notes=notes_out(entries, names),
        silenced_by=list(covering(members)),
        alerts=[_alert(store, live, incident.number) for live in members[:ALERTS_SHOWN]],
        deliveries=[delivery_out(delivery) for delivery in store.deliveries_of(incident.number)],
        timeline=[timeline_out(raw, names) for raw in entries],
    )


def _alert(store: Store, live: LiveAlert, incident: int) -> AlertOut:
    entry = store.entry(live.text_seq)
    alert = encoding.read_private(entry[2]).alert if entry is not None and entry[2] else None
    return alert_out(live, alert, incident)
