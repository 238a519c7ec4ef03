"""Flush: compare what each target was told about an incident with how things are, and decide who is told now.

Events only plan flushes; what goes out is decided here, so a return of trouble after a silence is never missed.
"""

from tocsin.core.engine import rate_limit, suppress
from tocsin.core.engine.route import Plan
from tocsin.core.engine.state import LiveIncident, State, Told, told_for
from tocsin.core.model import event as ev
from tocsin.core.model.alert import severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import (
    DeliveryState,
    NotificationKind,
    Target,
    Withheld,
    delivery_key,
)

Told_or_none = Told | None


def flush(state: State, incident: LiveIncident, at: int) -> tuple[ev.Decided, ...]:
    """Decide who is told about the incident now, and when to look again. The last event is always `Flushed`."""
    plan = state.plan(incident)
    news: dict[NotificationKind, list[Target]] = {}
    merged: dict[str, int] = {}
    for target in plan.targets:
        if target.id not in state.plans.targets:
            continue  # No longer configured: whoever left is told nothing more.
        told = told_for(incident, target.id)
        kind = _news(incident, plan, told, at)
        if kind is None:
            continue
        if told is not None and told.delivery:
            ahead = state.deliveries[told.delivery]
            if ahead.due <= at:
                continue  # It may be on the wire. When it ends, this target is compared again.
            merged[target.id] = told.delivery
        news.setdefault(kind, []).append(target)
    events: list[ev.Decided] = []
    notification, delivery = state.counters.notification, state.counters.delivery
    charged = 0
    for kind, targets in news.items():
        withheld = _withhold(state, incident, kind, at, charged)
        if withheld is not None:
            events.extend(_withheld(state, incident, kind, targets, withheld, at))
            continue
        notification += 1
        exempt = rate_limit.is_exempt(incident, kind)
        told_now, ended = _notified(
            state, incident, kind, targets, merged, notification, delivery, at, exempt
        )
        delivery += len(targets)
        charged += not exempt
        events.extend(ended)
        events.append(told_now)
    events.append(
        ev.Flushed(
            incident=incident.number, next=_next(state, incident, plan, at, events), because=_look_why(events)
        )
    )
    return tuple(events)


def _news(incident: LiveIncident, plan: Plan, told: Told_or_none, at: int) -> NotificationKind | None:
    """Say what kind of news the incident is to somebody who was told this much; None if it is none."""
    never = told is None or told.change == 0
    withheld = 0 if told is None else told.withheld
    if incident.state is IncidentState.RESOLVED:
        if told is None or never or told.resolved or not plan.send_resolved or withheld > told.change:
            return None
        return NotificationKind.RESOLVED
    if not incident.firing:
        return None
    if told is None or told.change == 0 or told.resolved:
        if max(incident.fire_change, incident.muted_change) <= withheld and not _due_again(told, plan, at):
            return None
        return NotificationKind.OPENED
    rose = severity_rank[incident.severity] > severity_rank[told.severity] and withheld < incident.fire_change
    if incident.state is IncidentState.ACK:
        return NotificationKind.UPDATED if rose else None
    known = max(told.change, withheld)
    if rose or max(incident.fire_change, incident.muted_change) > known:
        return NotificationKind.UPDATED
    if plan.send_resolved and incident.clear_change > known:
        return NotificationKind.UPDATED
    if _due_again(told, plan, at):
        return NotificationKind.REMINDER
    return None


def _due_again(told: Told_or_none, plan: Plan, at: int) -> bool:
    if told is None:
        return True
    return at >= max(told.at, told.withheld_at) + plan.repeat_interval


def _withhold(
    state: State, incident: LiveIncident, kind: NotificationKind, at: int, charged: int
) -> tuple[Withheld, str] | None:
    """Ask, in order, whether this must be withheld. charged: notifications this flush has charged already."""
    why = suppress.why_suppressed(state, incident)
    if why is None and kind is NotificationKind.UPDATED and incident.silenced_firing:
        # Only what began under a silence is new: nothing of it remains to be told.
        if all(
            told.change >= max(incident.fire_change, incident.clear_change)
            and severity_rank[told.severity] >= severity_rank[incident.severity]
            for told in incident.told
            if told.change
        ):
            why = "silences cover all that is new"
    if why is not None:
        return Withheld.SUPPRESSED, why
    limit = state.plans.policy.rate_limit
    if limit is None or rate_limit.is_exempt(incident, kind):
        return None
    window = state.rates.get(incident.rule_id)
    if rate_limit.is_full(window, limit, at):
        return (
            Withheld.RATE_LIMITED,
            f"rule {incident.rule_id} had {limit.limit} notifications in {limit.window // 60_000_000} min",
        )
    return None


def _withheld(
    state: State,
    incident: LiveIncident,
    kind: NotificationKind,
    targets: list[Target],
    withheld: tuple[Withheld, str],
    at: int,
) -> list[ev.Decided]:
    reason, because = withheld
    events: list[ev.Decided] = [
        ev.NotificationWithheld(
            incident=incident.number,
            kind=kind,
            severity=incident.severity,
            reason=reason,
            change=state.counters.change,
            targets=tuple(target.id for target in targets),
            rule_id=incident.rule_id if reason is Withheld.RATE_LIMITED else "",
            because=because,
        )
    ]
    limit = state.plans.policy.rate_limit
    if reason is Withheld.RATE_LIMITED and limit is not None:
        due = rate_limit.digest_due(state.rates.get(incident.rule_id), limit, at)
        if due is not None:
            events.append(
                ev.DigestPlanned(
                    rule_id=incident.rule_id, due=due, because="the rate limit withheld something"
                )
            )
    return events


def _notified(
    state: State,
    incident: LiveIncident,
    kind: NotificationKind,
    targets: list[Target],
    merged: dict[str, int],
    notification: int,
    delivery: int,
    at: int,
    exempt: bool,
) -> tuple[ev.Notified, list[ev.Decided]]:
    id_ = state.public_id("notification", notification, at, incident.id.encode())
    ended: list[ev.Decided] = [
        ev.DeliveryEnded(
            delivery=merged[target.id],
            state=DeliveryState.MERGED,
            attempts=state.deliveries[merged[target.id]].attempts,
            into=notification,
            because="a newer notification says it too",
        )
        for target in targets
        if target.id in merged
    ]
    return (
        ev.Notified(
            notification=notification,
            id=id_,
            incident=incident.number,
            kind=kind,
            severity=incident.severity,
            change=state.counters.change,
            deliveries=new_deliveries(targets, id_, delivery),
            charged="" if exempt or state.plans.policy.rate_limit is None else incident.rule_id,
            rule_id=incident.rule_id,
            because=_WHY[kind],
        ),
        ended,
    )


_WHY = {
    NotificationKind.OPENED: "something is wrong that this target was not told of",
    NotificationKind.UPDATED: "alerts joined, cleared or rose since this target was told",
    NotificationKind.REMINDER: "nobody acknowledged it for the repeat interval",
    NotificationKind.RESOLVED: "it is over, and this target was told of it",
}


def new_deliveries(targets: list[Target], notification_id: str, last: int) -> tuple[ev.NewDelivery, ...]:
    """Number the deliveries of a notification, one a target, after the last number given."""
    return tuple(
        ev.NewDelivery(
            delivery=last + position,
            channel=target.channel,
            target=target.id,
            key=delivery_key(notification_id, target),
        )
        for position, target in enumerate(targets, 1)
    )


def _next(state: State, incident: LiveIncident, plan: Plan, at: int, events: list[ev.Decided]) -> int:
    """Say when the next comparison is due by itself: a reminder; 0 for none."""
    if incident.state is not IncidentState.OPEN or not incident.firing or not plan.targets:
        return 0
    touched = {d.target for e in events if isinstance(e, ev.Notified) for d in e.deliveries}
    touched.update(t for e in events if isinstance(e, ev.NotificationWithheld) for t in e.targets)
    times = []
    for target in plan.targets:
        told = told_for(incident, target.id)
        if target.id in touched:
            times.append(at)
        elif told is not None:
            times.append(max(told.at, told.withheld_at))
    return max(min(times) + plan.repeat_interval, at + 1) if times else 0


def _look_why(events: list[ev.Decided]) -> str:
    return "told what is new" if any(isinstance(e, ev.Notified) for e in events) else "nothing to tell"


def manual(
    state: State, incident: LiveIncident, channels: tuple[str, ...], *, dry_run: bool, at: int
) -> ev.Notified:
    """Decide a notification that somebody asked for: always told, never limited.

    channels: () for those of the incident's route.
    """
    plan = state.plan(incident)
    targets = (
        [t for t in state.plans.targets.values() if t.channel in channels] if channels else list(plan.targets)
    )
    number = state.counters.notification + 1
    id_ = state.public_id("notification", number, at, incident.id.encode())
    return ev.Notified(
        notification=number,
        id=id_,
        incident=incident.number,
        kind=NotificationKind.MANUAL,
        severity=incident.severity,
        change=state.counters.change,
        deliveries=new_deliveries(targets, id_, state.counters.delivery),
        rule_id=incident.rule_id,
        dry_run=dry_run,
        because="somebody asked for it",
    )


def digest(state: State, rule_id: str, at: int) -> ev.Notified | None:
    """Decide the digest of what the rate limit withheld of a rule; None if the timer is out of date."""
    window = state.rates.get(rule_id)
    if window is None or not window.digest_at or window.digest_at > at or not window.withheld:
        return None
    targets = [state.plans.targets[target] for target in window.owed if target in state.plans.targets]
    number = state.counters.notification + 1
    id_ = state.public_id("notification", number, at, rule_id.encode())
    return ev.Notified(
        notification=number,
        id=id_,
        incident=0,
        kind=NotificationKind.DIGEST,
        severity=window.severity,
        change=0,
        deliveries=new_deliveries(targets, id_, state.counters.delivery),
        rule_id=rule_id,
        because=f"the rate limit withheld {window.withheld} notifications",
    )
