"""Replay: what people were told in a span of time, told again under the same keys. A dry run unless it is insisted."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, Strict
from starlette.concurrency import run_in_threadpool

from tocsin.core.engine.house import AGAIN
from tocsin.core.model.errors import Conflict, Invalid, TocsinError
from tocsin.core.model.input import DeliveryRetryAsked
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.ports import DeliveryFilter, DeliveryView
from tocsin.runtime.node import Node
from tocsin.web.addresses import Addresses, TheAddresses
from tocsin.web.api.deliveries import base_out
from tocsin.web.forms import Name
from tocsin.web.guard import Admin, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON, Moment

router = APIRouter()

LIMIT_MAX = 1_000
"""So many go into one commit, and none of it is done unless all of it is."""


class ReplayForm(Form):
    """Which deliveries: those of notifications decided in [since, until); the newest `limit` of them.

    dry_run: only say what would be done. force: also what was told already, or discarded; whoever gets it twice can
    tell by its key.
    """

    since: Moment
    until: Annotated[Moment | None, Field(description="Now, if it is left out.")] = None
    rule_id: Name | None = None
    channel: Name | None = None
    dry_run: bool = Field(default=True, strict=True)
    force: bool = Field(default=False, strict=True)
    limit: Annotated[int, Strict(), Field(ge=1, le=LIMIT_MAX), AS_JSON] = LIMIT_MAX


class Replayed(StrEnum):
    """What becomes of a delivery. GONE: nothing can be sent, because its text or its address is no longer there.

    DISCARDED: somebody gave it up; DRILL: it was never meant to reach anybody.
    """

    WOULD_SEND = "would send"
    AGAIN = "again"
    TOLD = "already told"
    DISCARDED = "discarded"
    DRILL = "drill"
    UNDER_WAY = "under way"
    GONE = "gone"


class ReplayedOut(BaseModel):
    """state: as it was before; incident_id, incident_number: None if it is about none."""

    number: int
    incident_id: str | None
    incident_number: int | None
    kind: NotificationKind
    channel: str
    address: str
    key: str
    state: DeliveryState
    outcome: Replayed


class ReplayAnswer(BaseModel):
    """matched: how many there are in all; again, skipped: of those in `results`, which are in order of decision."""

    dry_run: bool
    matched: int
    again: int
    skipped: int
    results: list[ReplayedOut]


@router.post("/api/v1/notify/replay")
async def replay(form: ReplayForm, node: TheNode, admin: Admin, addresses: TheAddresses) -> ReplayAnswer:
    """Tell again what was told. What was told already, or was given up by somebody, is left out unless it is forced."""
    if form.channel is not None and form.channel not in node.channels:
        known = ", ".join(node.channels) or "none"
        raise Invalid(f"Channel {form.channel!r} is not configured. Configured: {known}.", field="channel")
    until = form.until if form.until is not None else node.clock.now()
    if until <= form.since:
        raise Invalid("until is not later than since. Swap the two, or leave out until.", field="until")
    wanted = DeliveryFilter(since=form.since, until=until, rule_id=form.rule_id, channel=form.channel)
    views, matched, outcomes = await run_in_threadpool(_foresee, node, wanted, form)
    if not form.dry_run:
        sent = [view.number for view in views if outcomes[view.number] is Replayed.WOULD_SEND]
        inputs = [DeliveryRetryAsked(delivery=number, forced=form.force) for number in sent]
        results = await node.gate.submit(inputs, admin.actor) if inputs else ()
        for number, result in zip(sent, results, strict=True):
            outcomes[number] = _outcome(result.refused)
    again = sum(outcome in (Replayed.WOULD_SEND, Replayed.AGAIN) for outcome in outcomes.values())
    return ReplayAnswer(
        dry_run=form.dry_run,
        matched=matched,
        again=again,
        skipped=len(views) - again,
        results=await run_in_threadpool(_shown, node, views, outcomes, addresses),
    )


def _foresee(
    node: Node, wanted: DeliveryFilter, form: ReplayForm
) -> tuple[list[DeliveryView], int, dict[int, Replayed]]:
    """Find the deliveries, oldest first, and say what the core will say to each, as far as that can be known."""
    newest, matched = node.store.list_deliveries(wanted, form.limit)
    views = newest[::-1]
    now = node.clock.now()
    targets = {target.id for target in node.policy.targets}
    has_text: dict[int, bool] = {}
    outcomes: dict[int, Replayed] = {}
    for view in views:
        if view.notification not in has_text:
            has_text[view.notification] = node.store.message(view.notification) is not None
        if view.dry_run:
            outcome = Replayed.DRILL
        elif view.state is DeliveryState.PENDING and (view.due is None or view.due <= now):
            outcome = Replayed.UNDER_WAY
        elif view.state is not DeliveryState.PENDING and view.state not in AGAIN and not form.force:
            outcome = Replayed.TOLD
        elif view.state is DeliveryState.DISCARDED and not form.force:
            outcome = Replayed.DISCARDED
        elif view.target not in targets or not has_text[view.notification]:
            outcome = Replayed.GONE
        else:
            outcome = Replayed.WOULD_SEND
        outcomes[view.number] = outcome
    return views, matched, outcomes


def _outcome(refused: Exception | None) -> Replayed:
    """Read the core's answer; what changed since we looked is its to say."""
    if refused is None:
        return Replayed.AGAIN
    if isinstance(refused, Conflict):
        return Replayed.UNDER_WAY if refused.state == DeliveryState.PENDING else Replayed.TOLD
    if isinstance(refused, TocsinError):
        return Replayed.GONE
    raise refused


def _shown(
    node: Node, views: list[DeliveryView], outcomes: dict[int, Replayed], addresses: Addresses
) -> list[ReplayedOut]:
    ids: dict[int, str | None] = {}
    return [
        ReplayedOut(outcome=outcomes[view.number], **base_out(view, node.store, addresses, ids))
        for view in views
    ]
