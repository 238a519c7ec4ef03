"""Notify: send by hand, `POST /api/v1/notify/send`."""

from collections.abc import Sequence

from fastapi import APIRouter

from tocsin.core.engine.route import plans_for
from tocsin.core.model.alert import Alert
from tocsin.core.model.errors import Invalid
from tocsin.core.model.input import AlertReceived, Manual, received
from tocsin.core.model.notification import Target
from tocsin.intake import native
from tocsin.runtime.node import Node
from tocsin.web.forms import IncidentOfAnswer, SendAnswer, SendForm, TargetOut
from tocsin.web.guard import Sender, TheNode

router = APIRouter()


@router.post("/api/v1/notify/send")
async def send(form: SendForm, node: TheNode, sender: Sender) -> SendAnswer:
    """Tell people now: always told, never limited; recorded as any alert."""
    for channel in form.channels:
        if channel not in node.channels:
            known = ", ".join(node.channels) or "none"
            raise Invalid(f"Channel {channel!r} is not configured. Configured: {known}.", field="channels")
    now = node.clock.now()
    end = form.window_end if form.window_end is not None else now
    start = form.window_start if form.window_start is not None else end
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
    plain = received(alert)
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
