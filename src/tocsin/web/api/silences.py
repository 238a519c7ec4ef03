"""Silences: spans of time in which nobody is told; and maintenances, which make them again and again."""

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.input import (
    MaintenanceCut,
    MaintenanceRequested,
    SilenceCut,
    SilenceMoved,
    SilenceRequested,
)
from tocsin.core.model.policy import MINUTE
from tocsin.core.model.silence import Maintenance
from tocsin.ports import SilenceView, Store
from tocsin.runtime.node import Node
from tocsin.web.cursors import Cursor, Limit, page, read_cursor
from tocsin.web.guard import Reader, Silencer, TheNode
from tocsin.web.silence_forms import (
    ExtendForm,
    MaintenanceEnded,
    MaintenanceList,
    MaintenanceOut,
    SilenceEnded,
    SilenceForm,
    SilenceList,
    SilenceOut,
    SilenceState,
    end_of,
    maintenance_out,
    read_matchers,
    silence_out,
    state_of,
)

router = APIRouter(prefix="/api/v1")

LIVE_MAX = 1_000_000
"""More silences than can act at once: all of those are in memory, so they may be asked for together."""


@router.post("/silences", status_code=201)
async def create(form: SilenceForm, node: TheNode, silencer: Silencer) -> SilenceOut | MaintenanceOut:
    """Begin a silence, or with a recurrence a maintenance."""
    matchers = read_matchers(form.matchers)
    if "recurrence" in form.model_fields_set:
        if form.model_fields_set & {"starts_at", "ends_at", "minutes"}:
            raise Invalid(
                "A recurrence says itself when its windows are. Leave out starts_at, ends_at and minutes.",
                field="recurrence",
            )
        wanted = MaintenanceRequested(
            matchers=matchers,
            rrule=form.recurrence.rrule,
            zone=form.recurrence.zone,
            begins=form.recurrence.begins,
            lasting=form.recurrence.minutes * MINUTE,
            comment=form.comment,
            forced=form.force,
        )
        result = await node.ask(wanted, silencer.actor)
        return await run_in_threadpool(_shown_maintenance, node, result.outcome)
    starts_at = form.starts_at if "starts_at" in form.model_fields_set else node.clock.now()
    asked = SilenceRequested(
        matchers=matchers,
        starts_at=starts_at,
        ends_at=end_of(form, starts_at),
        comment=form.comment,
        forced=form.force,
    )
    result = await node.ask(asked, silencer.actor)
    return await run_in_threadpool(_shown, node, result.outcome)


@router.get("/silences")
def list_silences(
    node: TheNode,
    reader: Reader,
    state: SilenceState | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> SilenceList:
    """List silences, newest first."""
    after = read_cursor(cursor)
    if state in (None, "ended"):
        ended = None if state is None else True
        views, total = node.store.list_silences(ended=ended, after=after, limit=limit + 1)
    else:
        live, _ = node.store.list_silences(ended=False, after=None, limit=LIVE_MAX)
        fitting = [view for view in live if state_of(view) == state]
        views = [view for view in fitting if after is None or view.silence.number < after]
        total = len(fitting)
    shown, next_cursor = page(views, limit, lambda view: view.silence.number)
    ids = _maintenance_ids(node.store, shown)
    return SilenceList(
        silences=[silence_out(view, ids, node.names) for view in shown],
        total=total,
        filters={"state": state} if state else {},
        next_cursor=next_cursor,
    )


@router.get("/silences/{silence_id}")
def get_silence(silence_id: str, node: TheNode, reader: Reader) -> SilenceOut | MaintenanceOut:
    """Show a silence by its id or number, or a maintenance by its id."""
    if node.store.find_silence(silence_id) is None and len(silence_id) == 32:
        for maintenance, next_at, over in node.store.list_maintenances():
            if maintenance.id == silence_id:
                return maintenance_out(maintenance, next_at, over, node.clock.now(), node.names)
    return _shown(node, silence_id)


@router.post("/silences/{silence_id}/extend", responses={409: {}})
async def extend(silence_id: str, form: ExtendForm, node: TheNode, silencer: Silencer) -> SilenceOut:
    """Give a silence another end, later or sooner."""
    view = await run_in_threadpool(_get, node.store, silence_id)
    if view.ended_at is not None:
        raise Conflict(f"Silence S{view.silence.number} is over. Make another one.", state="ended")
    moved = SilenceMoved(silence=view.silence.number, ends_at=end_of(form, node.clock.now()))
    await node.ask(moved, silencer.actor)
    return await run_in_threadpool(_shown, node, view.silence.id)


@router.post("/silences/{silence_id}/end")
async def end(silence_id: str, node: TheNode, silencer: Silencer) -> SilenceEnded:
    """End a silence now; what it withheld and is still wrong is told. One that is over stays so."""
    view = await run_in_threadpool(_get, node.store, silence_id)
    if view.ended_at is None:
        await node.ask(SilenceCut(silence=view.silence.number), silencer.actor)
    ended = await run_in_threadpool(_shown, node, view.silence.id)
    return SilenceEnded(**ended.model_dump(), changed=view.ended_at is None)


@router.get("/maintenances")
def list_maintenances(
    node: TheNode, reader: Reader, limit: Limit = 50, cursor: Cursor = None
) -> MaintenanceList:
    """List maintenances, newest first."""
    after = read_cursor(cursor)
    found = node.store.list_maintenances()
    rows = [row for row in found if after is None or row[0].number < after]
    shown, next_cursor = page(rows, limit, lambda row: row[0].number)
    now = node.clock.now()
    return MaintenanceList(
        maintenances=[maintenance_out(*row, now, node.names) for row in shown],
        total=len(found),
        filters={},
        next_cursor=next_cursor,
    )


@router.post("/maintenances/{maintenance_id}/end")
async def end_maintenance(maintenance_id: str, node: TheNode, silencer: Silencer) -> MaintenanceEnded:
    """End a maintenance, and the silence that it made if one acts now. One that is over stays so."""
    maintenance, _, over = await run_in_threadpool(_get_maintenance, node.store, maintenance_id)
    if not over:
        await node.ask(MaintenanceCut(maintenance=maintenance.number), silencer.actor)
    ended = await run_in_threadpool(_shown_maintenance, node, maintenance.id)
    return MaintenanceEnded(**ended.model_dump(), changed=not over)


def _get(store: Store, id_or_number: str) -> SilenceView:
    view = store.find_silence(id_or_number)
    if view is None:
        name = _name("S", id_or_number)
        raise NotFound(f"There is no silence {name}. List them: GET /api/v1/silences.")
    return view


def _get_maintenance(store: Store, id_or_number: str) -> tuple[Maintenance, int, bool]:
    for row in store.list_maintenances():
        if id_or_number in (row[0].id, str(row[0].number)):
            return row
    name = _name("M", id_or_number)
    raise NotFound(f"There is no maintenance {name}. List them: GET /api/v1/maintenances.")


def _name(letter: str, id_or_number: str) -> str:
    """Call it as people do: `S3`."""
    is_number = id_or_number.isascii() and id_or_number.isdecimal() and len(id_or_number) < 20
    return f"{letter}{id_or_number}" if is_number else repr(id_or_number[:64])


def _shown(node: Node, id_or_number: str) -> SilenceOut:
    view = _get(node.store, id_or_number)
    return silence_out(view, _maintenance_ids(node.store, [view]), node.names)


def _shown_maintenance(node: Node, id_or_number: str) -> MaintenanceOut:
    found = _get_maintenance(node.store, id_or_number)
    return maintenance_out(*found, node.clock.now(), node.names)


def _maintenance_ids(store: Store, views: Iterable[SilenceView]) -> dict[int, str]:
    """Give the ids of maintenances by number; none are read if none of the silences was made by one."""
    if not any(view.silence.maintenance for view in views):
        return {}
    return {maintenance.number: maintenance.id for maintenance, _, _ in store.list_maintenances()}
