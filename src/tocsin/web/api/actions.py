"""Actions: what people do to incidents, one at a time or many at once."""

from collections.abc import Sequence
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tocsin.core.engine import lifecycle
from tocsin.core.model.access import Permission
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.input import Acted, Action, BulkActed
from tocsin.core.model.policy import MINUTE
from tocsin.ports import IncidentFilter, Store
from tocsin.runtime.node import Node
from tocsin.web.api.trace import IncidentName
from tocsin.web.chains import get_incident, get_view, silences_over
from tocsin.web.denials import client_of
from tocsin.web.forms import incident_out
from tocsin.web.guard import Responder, Silencer, TheDoorkeeper, TheNode
from tocsin.web.incident_forms import (
    IDS_MAX,
    ActedOut,
    ActForm,
    BulkAnswer,
    BulkForm,
    BulkResult,
    FilterForm,
    NoteForm,
    SilenceActForm,
)

router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"])


@router.post("/actions")
async def act_on_incidents(
    form: BulkForm, node: TheNode, responder: Responder, doorkeeper: TheDoorkeeper, request: Request
) -> BulkAnswer:
    """Do the same to several incidents, or say what it would do. Those that cannot take it are left as they are."""
    if form.action in (Action.SILENCE, Action.UNSILENCE):
        doorkeeper.check(responder, Permission.SILENCE, client_of(request.scope))
    until = _check(form, node)
    asked = await run_in_threadpool(_asked, node.store, form)
    there = [one.view for one in asked if one.view is not None]
    if form.dry_run:
        outcomes = {view.number: _would_be(view, form.action) for view in there}
    else:
        numbers = tuple(dict.fromkeys(view.number for view in there))
        given = BulkActed(action=form.action, incidents=numbers, note=form.note, until=until)
        result = await node.ask(given, responder.actor) if numbers else None
        outcomes = {number: outcome for _, number, outcome in result.incidents} if result is not None else {}
    return await run_in_threadpool(_bulk_answer, node.store, form, asked, outcomes)


@router.post("/{incident_id}/ack", responses={409: {}})
async def acknowledge(
    incident_id: IncidentName, node: TheNode, responder: Responder, form: ActForm | None = None
) -> ActedOut:
    """Say that you have it: reminders end, and only worse news is told."""
    return await _act(node, incident_id, Action.ACK, responder.actor, form)


@router.post("/{incident_id}/unack", responses={409: {}})
async def unacknowledge(
    incident_id: IncidentName, node: TheNode, responder: Responder, form: ActForm | None = None
) -> ActedOut:
    """Say that you do not have it any more."""
    return await _act(node, incident_id, Action.UNACK, responder.actor, form)


@router.post("/{incident_id}/resolve", responses={409: {}})
async def resolve(
    incident_id: IncidentName, node: TheNode, responder: Responder, form: ActForm | None = None
) -> ActedOut:
    """Say that it is over. If its alerts still fire, it comes back after the route's `reopen_within`."""
    return await _act(node, incident_id, Action.RESOLVE, responder.actor, form)


@router.post("/{incident_id}/reopen", responses={409: {}})
async def reopen(
    incident_id: IncidentName, node: TheNode, responder: Responder, form: ActForm | None = None
) -> ActedOut:
    """Say that it is not over after all."""
    return await _act(node, incident_id, Action.REOPEN, responder.actor, form)


@router.post("/{incident_id}/notes")
async def note(incident_id: IncidentName, node: TheNode, responder: Responder, form: NoteForm) -> ActedOut:
    """Write something down beside the incident, in any state; nobody is told."""
    return await _act(node, incident_id, Action.NOTE, responder.actor, form)


@router.post("/{incident_id}/silence", responses={409: {}})
async def silence(
    incident_id: IncidentName, node: TheNode, silencer: Silencer, form: SilenceActForm | None = None
) -> ActedOut:
    """Let nobody be told of this incident: until an instant, for so many minutes, or until somebody ends it."""
    form = form or SilenceActForm()
    return await _act(node, incident_id, Action.SILENCE, silencer.actor, form, until=_until(form, node))


@router.post("/{incident_id}/unsilence", responses={409: {}})
async def unsilence(
    incident_id: IncidentName, node: TheNode, silencer: Silencer, form: ActForm | None = None
) -> ActedOut:
    """Let people be told of this incident again; what they missed and is still wrong is told now."""
    return await _act(node, incident_id, Action.UNSILENCE, silencer.actor, form)


async def _act(
    node: Node,
    name: str,
    action: Action,
    actor: str,
    form: ActForm | NoteForm | SilenceActForm | None,
    until: int = 0,
) -> ActedOut:
    """Ask the core, and show the incident as it is then. Raises: NotFound, Conflict, Invalid, Unavailable."""
    number = (await run_in_threadpool(get_incident, node.store, name)).number
    note = form.note if form is not None else ""
    result = await node.ask(Acted(action=action, incident=number, note=note, until=until), actor)
    return await run_in_threadpool(_acted_out, node, name, result.outcome == "changed")


def _acted_out(node: Node, name: str, changed: bool) -> ActedOut:
    incident = get_incident(node.store, name)
    return ActedOut(
        **incident_out(get_view(node.store, incident), node.names),
        changed=changed,
        silenced_by=silences_over(node.store, incident),
    )


def _until(form: SilenceActForm | BulkForm, node: Node) -> int:
    """Give the end that was asked for, 0 for none. Raises: Invalid for two of them."""
    if form.until and form.minutes:
        raise Invalid("Give either until or minutes, not both.", field="until")
    return node.clock.now() + form.minutes * MINUTE if form.minutes else form.until


# Many at once


class _Asked(NamedTuple):
    """An incident that was asked for, by the name that was given. view: None if there is none."""

    name: str
    view: IncidentView | None


def _check(form: BulkForm, node: Node) -> int:
    """Check what the form's fields cannot say alone, and give the silence's end. Raises: Invalid."""
    given = form.model_fields_set
    if ("ids" in given) == ("filter" in given):
        raise Invalid("Give either ids or a filter.", field="ids")
    if "filter" in given and not form.filter.model_fields_set:
        raise Invalid("An empty filter fits every incident. Say which ones you mean.", field="filter")
    until = _until(form, node)
    if until and form.action is not Action.SILENCE:
        raise Invalid("Only a silence has an end. Leave out until and minutes.", field="until")
    if until and until <= node.clock.now():
        raise lifecycle.past("until")
    if form.action is Action.NOTE and not form.note:
        raise Invalid("A note needs a text. Give it as note.", field="note")
    return until


def _asked(store: Store, form: BulkForm) -> list[_Asked]:
    """Find the incidents that a form means, each once. Raises: Invalid if they are too many."""
    if "ids" not in form.model_fields_set:
        views, total = store.list_incidents(_filter(form.filter), IDS_MAX + 1)
        if total > IDS_MAX:
            raise Invalid(
                f"{total} incidents fit this filter; at most {IDS_MAX} are changed at once. Narrow it.",
                field="filter",
            )
        return [_Asked(view.id, view) for view in views]
    asked: dict[str, _Asked] = {}
    for name in form.ids:
        incident = store.find_incident(name)
        view = store.incident_view(incident.number) if incident is not None else None
        asked.setdefault(view.id if view is not None else name, _Asked(name, view))
    return list(asked.values())


def _filter(form: FilterForm) -> IncidentFilter:
    return IncidentFilter(
        states=tuple(form.state),
        severity=form.severity,
        rule_id=form.rule_id,
        scope=tuple(form.scope.items()),
        text=form.text,
        since=form.since,
        until=form.until,
    )


def _would_be(view: IncidentView, action: Action) -> str:
    """Say what an action would do, by the table of moves alone."""
    if action is Action.NOTE:
        return "changed"
    move = lifecycle.TABLE[view.state].get(action)
    return "conflict" if move is None else "unchanged" if move is lifecycle.SAME else "changed"


def _bulk_answer(
    store: Store, form: BulkForm, asked: Sequence[_Asked], outcomes: dict[int, str]
) -> BulkAnswer:
    results = [_bulk_result(store, form, one, outcomes) for one in asked]
    counted = [result.outcome for result in results]
    return BulkAnswer(
        action=form.action,
        dry_run=form.dry_run,
        matched=sum(one.view is not None for one in asked),
        changed=counted.count("changed"),
        unchanged=counted.count("unchanged"),
        refused=counted.count("conflict"),
        not_found=counted.count("not_found"),
        results=results,
    )


def _bulk_result(store: Store, form: BulkForm, one: _Asked, outcomes: dict[int, str]) -> BulkResult:
    if one.view is None:
        return BulkResult(
            incident_id=one.name,
            number=None,
            title=None,
            outcome="not_found",
            state=None,
            detail=f"There is no incident {one.name!r}.",
        )
    number = one.view.number
    outcome = outcomes.get(number, "not_found")
    state: IncidentState = one.view.state
    if outcome == "changed" and not form.dry_run:
        view = store.incident_view(number)
        state = view.state if view is not None else state
    detail = None
    if outcome == "conflict":
        is_about_silences = form.action is Action.UNSILENCE
        covered_by = silences_over(store, get_incident(store, str(number))) if is_about_silences else ()
        detail = str(lifecycle.refused(number, state, form.action, covered_by))
    return BulkResult(
        incident_id=one.view.id,
        number=number,
        title=one.view.title,
        outcome=outcome,
        state=state,
        detail=detail,
    )
