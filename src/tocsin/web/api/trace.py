"""Trace: an incident's timeline, and why people were told of it or not."""

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path

from tocsin.core.engine import explain as engine
from tocsin.core.engine.actors import called
from tocsin.core.engine.background import Background
from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.engine.summarise import summarise
from tocsin.core.engine.suppress import covering
from tocsin.core.ledger import encoding
from tocsin.core.model import event as ev
from tocsin.core.model.policy import SECOND, Policy
from tocsin.core.model.trace import Acting, Line, Sent, Step
from tocsin.ports import Store
from tocsin.runtime.names import Names
from tocsin.runtime.node import Node
from tocsin.web.bounded import Stories
from tocsin.web.chains import Raw, get_incident, line_of, newest_first
from tocsin.web.cursors import Cursor, Limit, cursor_of, read_cursor
from tocsin.web.forms import instant
from tocsin.web.guard import Reader, TheNode
from tocsin.web.incident_forms import NoteOut, TimelineList, TimelineOut
from tocsin.web.why_forms import StepOut, WhyOut

router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])

STEPS_SHOWN = 500
ENTRIES_READ = 2_000
SILENCES_READ = 500

IncidentName = Annotated[str, Path(description="The incident's id or number.", examples=["1042"])]


@router.get("/{incident_id}/timeline")
async def get_incident_timeline(
    incident_id: IncidentName,
    node: TheNode,
    reader: Reader,
    stories: Stories,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> TimelineList:
    """Show everything that was decided about an incident, newest first, page by page."""
    return await stories.run(_timeline, node, incident_id, limit, read_cursor(cursor))


def _timeline(node: Node, incident_id: str, limit: int, below: int | None) -> TimelineList:
    store = node.store
    incident = get_incident(store, incident_id)
    entries = list(islice(newest_first(store, incident, below), limit))
    last = entries[-1].header if entries else None
    return TimelineList(
        incident_id=incident.id,
        number=incident.number,
        total=incident.entries,
        entries=[timeline_out(raw, node.names) for raw in entries],
        next_cursor=cursor_of(last.seq) if last is not None and last.incident_prev is not None else None,
    )


@router.get("/{incident_id}/why")
async def explain_incident(
    incident_id: IncidentName, node: TheNode, reader: Reader, stories: Stories
) -> WhyOut:
    """Say why people were told of an incident, or why not: in a few sentences, and step by step."""
    return await stories.run(_why, node, incident_id)


def _why(node: Node, incident_id: str) -> WhyOut:
    store, names = node.store, node.names.tokens()
    incident = get_incident(store, incident_id)
    newest = islice(newest_first(store, incident), ENTRIES_READ)
    read = [(raw.header.incident_n, line_of(raw)) for raw in newest]
    deciding = [line for _, line in read if engine.decides(line.decision)][:STEPS_SHOWN]
    deciding.reverse()
    oldest = deciding[0].header.seq if len(deciding) == STEPS_SHOWN else read[-1][1].header.seq if read else 0
    left_out = next((n for n, line in read if line.header.seq == oldest and n is not None), 0)
    members = {alert.id.hex(): alert for alert in store.members(incident.number)}
    steps = engine.explain(deciding, _background(store, incident, deciding, members))
    repeats = sum(alert.repeats for alert in members.values())
    return WhyOut(
        incident_id=incident.id,
        number=incident.number,
        policy=incident.policy,
        summary=summarise(
            incident,
            steps,
            repeats=repeats,
            left_out=left_out,
            names=names,
            silenced_by=covering(members.values()),
        ),
        steps=[StepOut.model_validate(_fields(step, names)) for step in steps],
        left_out=left_out,
    )


def _fields(step: Step, names: Mapping[str, str]) -> dict[str, Any]:
    fields = {name: getattr(step, name) for name in step.__struct_fields__}
    fields["late_by_s"] = step.late_by / SECOND
    if step.changed is not None:
        by_name = called(step.changed.by, names)
        fields["changed"] = msgspec.structs.asdict(step.changed) | {"by_name": by_name}
    return fields


def _background(
    store: Store, incident: LiveIncident, lines: list[Line], alerts: dict[str, LiveAlert]
) -> Background:
    """Read what the entries do not hold: the policies in force then, deliveries, and silences if any withheld."""
    policies: dict[int, Policy] = {}
    for version in {incident.policy, *(line.header.policy for line in lines)}:
        row = store.policy(version)
        if row is not None:
            policies[version] = row.policy
    return Background(
        route=incident.route,
        policies=policies,
        silences=_silences(store) if any(_is_hushed(line) for line in lines) else (),
        deliveries={
            view.number: Sent(channel=view.channel, target=view.target, state=view.state)
            for view in store.deliveries_of(incident.number)
        },
        alerts=alerts,
    )


def _is_hushed(line: Line) -> bool:
    return any(
        isinstance(event, ev.NotificationWithheld)
        or (isinstance(event, ev.AlertFired | ev.AlertSeen) and bool(event.silenced_by))
        for event in line.decision.events
    )


def _silences(store: Store) -> list[Acting]:
    views, _ = store.list_silences(ended=None, after=None, limit=SILENCES_READ)
    return [
        Acting(
            silence=view.silence,
            until=view.ended_at if view.ended_at is not None else view.silence.ends_at,
        )
        for view in views
    ]


def timeline_out(raw: Raw, names: Names) -> TimelineOut:
    """Show an entry."""
    decision = msgspec.json.decode(raw.decision)
    events: list[dict[str, Any]] = decision["events"]
    header = raw.header
    return TimelineOut(
        seq=header.seq,
        at=instant(header.at),
        kind=header.kind,
        actor=header.actor,
        actor_name=names.of(header.actor),
        policy=header.policy,
        cause=header.cause,
        late_by_s=decision.get("late_by", 0) / SECOND,
        because=[event["because"] for event in events],
        events=events,
        note=_note(raw) or None,
        message=_message(raw),
    )


def notes_out(entries: list[Raw], names: Names) -> list[NoteOut]:
    """Show what people wrote beside these entries."""
    return [
        NoteOut(
            at=instant(raw.header.at),
            actor=raw.header.actor,
            actor_name=names.of(raw.header.actor),
            note=note,
        )
        for raw in entries
        if (note := _note(raw))
    ]


def _message(raw: Raw) -> str | None:
    alert = encoding.read_private(raw.private).alert if raw.private and raw.header.kind == "alert" else None
    return alert.message if alert is not None else None


def _note(raw: Raw) -> str:
    return encoding.read_private(raw.private).note if raw.private and raw.header.kind == "action" else ""
