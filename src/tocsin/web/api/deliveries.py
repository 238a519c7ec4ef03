"""Deliveries: what goes out to whom, how each attempt ended, and what an operator does about it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tocsin.core.model.errors import NotFound
from tocsin.core.model.input import DeliveryDiscardAsked, DeliveryRetryAsked
from tocsin.core.model.notification import DeliveryState, NotificationKind, Target
from tocsin.ports import DeliveryFilter, DeliveryView, Store
from tocsin.runtime.node import Node
from tocsin.runtime.turn import Result
from tocsin.web.addresses import Addresses, TheAddresses
from tocsin.web.cursors import NUMBER_MAX, Cursor, Limit, page, read_cursor
from tocsin.web.forms import Shown, Text, instant
from tocsin.web.guard import Admin, Reader, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import Bound

router = APIRouter(prefix="/api/v1/deliveries")

TRIED = (DeliveryState.DELIVERED, DeliveryState.ACCEPTED, DeliveryState.DRY_RUN, DeliveryState.DEAD)
"""States that an attempt brings about."""


class RetryForm(Form):
    """force: even if it was told already; whoever gets it twice can tell by its key."""

    force: bool = Field(default=False, strict=True)


class DiscardForm(Form):
    """reason: why nobody needs it any more; it is recorded."""

    reason: Annotated[Text, Field(min_length=1, examples=["The incident was handled on the phone."])]


class DeliveryBase(BaseModel):
    """A delivery. incident_id, incident_number: None if it is about none; at: when it last changed.

    notification: number of the notification that it carries; address: "" where no policy that is kept knows it.
    """

    number: int
    notification: int
    incident_id: str | None
    incident_number: int | None
    kind: NotificationKind
    channel: str
    address: str
    state: DeliveryState
    at: Shown
    due_at: Shown | None
    why: str
    key: str


class DeliveryRowOut(DeliveryBase):
    """A delivery in a list. attempts: how many were made."""

    attempts: int


class AttemptOut(BaseModel):
    """outcome: `retry` or `refused`; or, of the last one, the state that it brought about."""

    attempt: int
    at: Shown
    outcome: str
    why: str


class DeliveryDetail(DeliveryBase):
    """A delivery with its attempts: those that failed, and the last one.

    decided_at: when it was decided to tell it; null where the notification is no longer kept.
    """

    decided_at: Shown | None
    attempts: list[AttemptOut]


class DeliveryChanged(DeliveryDetail):
    """A delivery after somebody did something about it. changed: false where it was so already."""

    changed: bool


class DeliveryList(BaseModel):
    deliveries: list[DeliveryRowOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


class RenderedOut(BaseModel):
    """What the channel sends. subject, html: of an e-mail, whose `body` is the text part."""

    channel: str
    kind: str
    content_type: str
    subject: str | None
    body: str
    html: str | None


@router.get("", responses={404: {}})
def list_deliveries(
    node: TheNode,
    reader: Reader,
    addresses: TheAddresses,
    state: Annotated[list[DeliveryState] | None, Query()] = None,
    channel: Annotated[str | None, Query(max_length=256)] = None,
    incident: Annotated[str | None, Query(max_length=64, description="Its id or number.")] = None,
    rule_id: Annotated[str | None, Query(max_length=256)] = None,
    since: Annotated[Bound | None, Query(description="Decided then or later.")] = None,
    until: Annotated[Bound | None, Query(description="Decided before.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryList:
    """List deliveries, newest first."""
    wanted = DeliveryFilter(
        states=tuple(state or ()),
        channel=channel,
        incident=_incident(node.store, incident) if incident is not None else None,
        rule_id=rule_id,
        since=since,
        until=until,
        after=read_cursor(cursor),
    )
    views, total = node.store.list_deliveries(wanted, limit + 1)
    shown, next_cursor = page(views, limit, lambda view: view.number)
    ids: dict[int, str | None] = {}
    filters = {
        "state": state,
        "channel": channel,
        "incident": incident,
        "rule_id": rule_id,
        "since": instant(since) if since is not None else None,
        "until": instant(until) if until is not None else None,
    }
    return DeliveryList(
        deliveries=[
            DeliveryRowOut(**base_out(view, node.store, addresses, ids), attempts=view.attempts)
            for view in shown
        ],
        total=total,
        filters={name: value for name, value in filters.items() if value is not None},
        next_cursor=next_cursor,
    )


@router.get("/{delivery}")
def get_delivery(delivery: int, node: TheNode, reader: Reader, addresses: TheAddresses) -> DeliveryDetail:
    """Show one delivery with its attempts."""
    return _detail(_get(node.store, delivery), node.store, addresses)


@router.get("/{delivery}/preview")
def preview(delivery: int, node: TheNode, reader: Reader, addresses: TheAddresses) -> RenderedOut:
    """Show what the channel sends for it, as it is configured now."""
    view = _get(node.store, delivery)
    channel = node.channels.get(view.channel)
    if channel is None:
        raise NotFound(f"Channel {view.channel!r} is no longer configured, so it can show nothing.")
    message = node.store.message(view.notification)
    if message is None:
        raise NotFound(f"What delivery {delivery} says is no longer kept.")
    target = Target(id=view.target, channel=view.channel, address=addresses.of(view.target))
    rendered = channel.render(node.names.put_into(message), target, key=view.key)
    return RenderedOut(
        channel=channel.name,
        kind=channel.kind,
        content_type=rendered.content_type,
        subject=rendered.subject,
        body=rendered.body,
        html=rendered.html,
    )


@router.post("/{delivery}/retry", responses={409: {}})
async def retry(
    delivery: int, node: TheNode, admin: Admin, addresses: TheAddresses, form: RetryForm | None = None
) -> DeliveryChanged:
    """Attempt it now, under its old key: one that failed, was given up, or waits for its next attempt."""
    await run_in_threadpool(_get, node.store, delivery)
    forced = form is not None and form.force
    result = await node.ask(DeliveryRetryAsked(delivery=delivery, forced=forced), admin.actor)
    return await run_in_threadpool(_changed, node, delivery, addresses, result)


@router.post("/{delivery}/discard", responses={409: {}})
async def discard(
    delivery: int, form: DiscardForm, node: TheNode, admin: Admin, addresses: TheAddresses
) -> DeliveryChanged:
    """Give it up, for a reason that is recorded. What is on the wire already may still arrive."""
    await run_in_threadpool(_get, node.store, delivery)
    result = await node.ask(DeliveryDiscardAsked(delivery=delivery, reason=form.reason), admin.actor)
    return await run_in_threadpool(_changed, node, delivery, addresses, result)


def _get(store: Store, number: int) -> DeliveryView:
    view = store.delivery_view(number) if 0 < number < NUMBER_MAX else None
    if view is None:
        raise NotFound(f"There is no delivery {str(number)[:20]}. List them: GET /api/v1/deliveries.")
    return view


def _incident(store: Store, id_or_number: str) -> int:
    incident = store.find_incident(id_or_number)
    if incident is None:
        raise NotFound(f"There is no incident {id_or_number!r}. List them: GET /api/v1/incidents.")
    return incident.number


def _changed(node: Node, number: int, addresses: Addresses, result: Result) -> DeliveryChanged:
    detail = _detail(_get(node.store, number), node.store, addresses)
    return DeliveryChanged(**detail.model_dump(), changed=result.outcome == "changed")


def _detail(view: DeliveryView, store: Store, addresses: Addresses) -> DeliveryDetail:
    attempts = [
        AttemptOut(attempt=one.attempt, at=instant(one.at), outcome=one.outcome, why=one.why)
        for one in store.attempts_of(view.number)
    ]
    told_of_last = attempts and attempts[-1].attempt >= view.attempts
    if view.state in TRIED and view.attempts and not told_of_last:
        attempts.append(
            AttemptOut(attempt=view.attempts, at=instant(view.at), outcome=view.state, why=view.why)
        )
    message = store.message(view.notification)
    return DeliveryDetail(
        **base_out(view, store, addresses, {}),
        decided_at=instant(message.at) if message is not None else None,
        attempts=attempts,
    )


def base_out(
    view: DeliveryView, store: Store, addresses: Addresses, ids: dict[int, str | None]
) -> dict[str, Any]:
    """Show a delivery. ids: of incidents by number, as far as they were looked up; grows."""
    if view.incident not in ids:
        incident = store.find_incident(str(view.incident)) if view.incident else None
        ids[view.incident] = incident.id if incident is not None else None
    return {
        "number": view.number,
        "notification": view.notification,
        "incident_id": ids[view.incident],
        "incident_number": view.incident or None,
        "kind": view.kind,
        "channel": view.channel,
        "address": addresses.of(view.target),
        "state": view.state,
        "at": instant(view.at),
        "due_at": instant(view.due) if view.due is not None else None,
        "why": view.why,
        "key": view.key,
    }
