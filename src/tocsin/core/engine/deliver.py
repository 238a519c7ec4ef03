"""Deliver: what an attempt's outcome means: done, again later, or never, and then who else is told."""

import hashlib
from typing import assert_never

from tocsin.core.engine import flush
from tocsin.core.engine.state import LiveDelivery, State, told_for
from tocsin.core.model import event as ev
from tocsin.core.model.input import OutcomeReported
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DeliveryState,
    DryRun,
    NotificationKind,
    Refused,
    Retry,
)
from tocsin.core.model.policy import HOUR, SECOND, Retries

RETRY_AFTER_MAX = HOUR

REFUSED = "refused; trying again cannot help"
"""Why a delivery is dead that its receiver does not want."""


def reported(state: State, report: OutcomeReported, at: int) -> tuple[ev.Decided, ...]:
    """Decide what follows from an attempt; () if the delivery has ended or the attempt is an older one."""
    delivery = state.deliveries.get(report.delivery)
    if delivery is None or report.attempt != delivery.attempts + 1:
        return ()
    outcome = report.outcome
    match outcome:
        case Delivered():
            return _ended(
                state, delivery, DeliveryState.DELIVERED, report.attempt, "the receiver confirmed it", at
            )
        case Accepted():
            return _ended(state, delivery, DeliveryState.ACCEPTED, report.attempt, "the provider took it", at)
        case DryRun():
            return _ended(state, delivery, DeliveryState.DRY_RUN, report.attempt, "a dry run", at)
        case Refused():
            return _dead(state, delivery, report.attempt, REFUSED, at)
        case Retry(after_s=after_s):
            retries = state.plans.policy.retries
            if at - delivery.first_at >= retries.give_up:
                return _dead(state, delivery, report.attempt, "given up after trying for so long", at)
            wait, asked = back_off(retries, report.attempt, delivery.key), 0
            because = f"attempt {report.attempt} failed"
            if after_s is not None:
                asked = min(after_s * SECOND, RETRY_AFTER_MAX)
                because += f"; the provider asked for {after_s} s"
            # The last attempt comes when time is up, or when the provider wants it, if that is later.
            due = max(min(at + wait, delivery.first_at + retries.give_up), at + asked)
            retried = ev.DeliveryRetried(
                delivery=delivery.number, attempts=report.attempt, due=max(due, at + 1), because=because
            )
            # It waits now, so what happened while it was on the wire can take its place.
            return (retried, *_look_again(state, delivery, at, "something newer happened than what waits"))
        case _:
            assert_never(outcome)


def back_off(retries: Retries, attempts: int, key: str) -> int:
    """Give the wait before the next attempt, in microseconds: the step, and up to a fifth more by the key's digest."""
    step = retries.steps[min(attempts, len(retries.steps)) - 1]
    digest = hashlib.sha256(f"{key}\n{attempts}".encode()).digest()
    return step + step // 5 * digest[0] // 255


def _ended(
    state: State, delivery: LiveDelivery, end: DeliveryState, attempts: int, because: str, at: int
) -> tuple[ev.Decided, ...]:
    ended = ev.DeliveryEnded(delivery=delivery.number, state=end, attempts=attempts, because=because)
    # Something may have happened while it was on its way: compare again, now that the line is free.
    return (ended, *_look_again(state, delivery, at, "the line to a target is free"))


def _look_again(state: State, delivery: LiveDelivery, at: int, because: str) -> tuple[ev.Decided, ...]:
    """Plan to compare what the delivery's target knows; () if nothing is new, or that is planned already."""
    incident = state.incidents.get(delivery.incident)
    told = told_for(incident, delivery.target) if incident is not None else None
    if incident is None or told is None or told.delivery != delivery.number:
        return ()
    due = flush.look_at(state, incident, told, at)
    if not due or 0 < incident.flush_at <= due:
        return ()
    return (ev.FlushPlanned(incident=incident.number, due=max(due, at), because=because),)


def _dead(
    state: State, delivery: LiveDelivery, attempts: int, because: str, at: int
) -> tuple[ev.Decided, ...]:
    events = _ended(state, delivery, DeliveryState.DEAD, attempts, because, at)
    if delivery.kind is NotificationKind.META:
        return events  # A meta-notification that dies raises no other: that could go on for ever.
    others = [target for target in state.plans.targets.values() if target.channel != delivery.channel]
    if not others:
        return events
    channel = others[0].channel
    number = state.counters.notification + 1
    id_ = state.public_id("notification", number, at, delivery.key.encode())
    meta = ev.Notified(
        notification=number,
        id=id_,
        incident=delivery.incident if delivery.incident in state.incidents else 0,
        kind=NotificationKind.META,
        severity=delivery.severity,
        change=0,
        deliveries=flush.new_deliveries(
            [target for target in others if target.channel == channel], id_, state.counters.delivery
        ),
        because=f"a notification through {delivery.channel} is dead",
    )
    return (*events, meta)
