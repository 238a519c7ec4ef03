"""Notify: send by hand, `POST /api/v1/notify/send`."""

from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, Request

from tocsin.core.engine.route import plans_for
from tocsin.core.model.alert import Alert
from tocsin.core.model.errors import Invalid
from tocsin.core.model.input import AlertReceived, Manual
from tocsin.core.model.notification import Target
from tocsin.intake import native
from tocsin.runtime.node import Node
from tocsin.web.forms import EPOCH, IncidentOfAnswer, SendAnswer, SendForm, TargetOut
from tocsin.web.guard import Sender, TheNode

router = APIRouter()


@router.post("/api/v1/notify/send")
async def send(form: SendForm, node: TheNode, sender: Sender, request: Request) -> SendAnswer:
    """Tell people now: always told, never limited; recorded as any alert."""
    fault = native.find_fault(await request.body())
    if fault is not None:
        raise Invalid(f"Field {fault.field or 'body'}: {fault.message}.", field=fault.field)
    for channel in form.channels:
        if channel not in node.channels:
            known = ", ".join(node.channels) or "none"
            raise Invalid(f"Channel {channel!r} is not configured. Configured: {known}.", field="channels")
    now = node.clock.now()
    end = _microseconds("window_end", form.window_end, now)
    start = _microseconds("window_start", form.window_start, end)
    if end < start:
        raise Invalid("window_end lies before window_start. Swap the two.", field="window_end")
    alert = Alert(
        rule_id=form.rule_id,
        scope=form.scope,
        severity=form.severity,
        message=form.message,
        window_start=start,
        window_end=end,
        annotations=form.annotations,
        source="manual",
    )
    plain = native.received(alert)
    manual = Manual(channels=tuple(form.channels), dry_run=form.dry_run)
    result = await node.ask(AlertReceived(alert, plain.fingerprint, plain.named, manual), sender.actor)
    return SendAnswer(
        idempotency_key=native.key_of(plain),
        fingerprint=plain.fingerprint.hex(),
        outcome=result.outcome,
        dry_run=form.dry_run or node.dry_run,
        tells=[
            TargetOut(channel=target.channel, address=target.address)
            for target in _targets(node, alert, form)
        ],
        incidents=[
            IncidentOfAnswer(incident_id=id_, number=number, outcome=outcome)
            for id_, number, outcome in result.incidents
        ],
    )


def _targets(node: Node, alert: Alert, form: SendForm) -> Sequence[Target]:
    """Give those of the channels that were chosen, or of the route."""
    if form.channels:
        return [target for target in node.policy.targets if target.channel in form.channels]
    return plans_for(node.plans, alert)[0].targets


def _microseconds(field: str, moment: datetime | None, default: int) -> int:
    if moment is None:
        return default
    if moment.tzinfo is None:
        raise Invalid(f"{field} does not say its offset from UTC. Add Z or +02:00.", field=field)
    delta = moment - EPOCH
    at = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if not 0 <= at < native.INSTANT_MAX:
        raise Invalid(f"{field} lies outside of 1970 to 9999.", field=field)
    return at
