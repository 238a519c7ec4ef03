"""Flush: compare what each target was told about an incident with how things are, and decide who is told now.

Events only plan flushes; what goes out is decided here, so a return of trouble after a silence is never missed.
"""

from typing import NamedTuple

from tocsin.core.engine import rate_limit, suppress
from tocsin.core.engine.route import Plan
from tocsin.core.engine.state import LiveDelivery, LiveIncident, State, Told, told_for
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import (
    DeliveryState,
    NotificationKind,
    Target,
    Withheld,
    delivery_key,
)


class News(NamedTuple):
    """What somebody has to hear about an incident.

    hidden: all that is new about it lies under silences; exempt: the rate limit does not ask for it.
    """

    kind: NotificationKind
    hidden: bool = False
    exempt: bool = False


OPENED, RESOLVED = News(NotificationKind.OPENED), News(NotificationKind.RESOLVED)
UPDATED, REMINDER = News(NotificationKind.UPDATED), News(NotificationKind.REMINDER)
UPDATED_HIDDEN = News(NotificationKind.UPDATED, hidden=True)


def flush(state: State, incident: LiveIncident, at: int) -> tuple[ev.Decided, ...]:
    """Decide who is told about the incident now, and when to look again. The last event is always `Flushed`."""
    plan = state.plan(incident)
    groups: dict[News, list[Target]] = {}
    waiting: dict[str, LiveDelivery] = {}
    times = []
    for target in present(state, plan):
        told = told_for(incident, target.id)
        news = _news(incident, plan, told, at)
        if news is None:
            if told is not None:
                times.append(_reminder_at(told, plan))
            continue
        if told is not None and told.delivery:
            ahead = state.deliveries[told.delivery]
            if ahead.due <= at or news.kind is NotificationKind.REMINDER:
                continue  # It may be on the wire, or says it all. When it ends, this target is compared again.
            waiting[target.id] = ahead
            if ahead.kind is NotificationKind.OPENED and news.kind is NotificationKind.UPDATED:
                news = News(NotificationKind.OPENED, news.hidden)
        times.append(at + plan.repeat_interval)
        if rate_limit.is_exempt(incident, news.kind, told):
            news = News(news.kind, news.hidden, True)
        groups.setdefault(news, []).append(target)
    events: list[ev.Decided] = []
    notification, delivery, charged = state.counters.notification, state.counters.delivery, 0
    for news, targets in groups.items():
        why = _why_withheld(state, incident, news, at, charged)
        if why is not None:
            events.extend(_withheld(state, incident, news.kind, targets, *why, at))
            continue
        notification += 1
        events.extend(
            ev.DeliveryEnded(
                delivery=waiting[target.id].number,
                state=DeliveryState.MERGED,
                attempts=waiting[target.id].attempts,
                into=notification,
                because="a newer notification says it too",
            )
            for target in targets
            if target.id in waiting
        )
        id_ = state.public_id("notification", notification, at, incident.id.encode())
        limit = None if news.exempt else state.plans.policy.rate_limit
        events.append(
            ev.Notified(
                notification=notification,
                id=id_,
                incident=incident.number,
                kind=news.kind,
                severity=incident.audible,
                change=state.counters.change,
                deliveries=new_deliveries(targets, id_, delivery, waiting),
                charged=incident.rule_id if limit is not None else "",
                charge=rate_limit.used(state.rates.get(incident.rule_id), limit, at, charged) + 1
                if limit is not None
                else 0,
                rule_id=incident.rule_id,
                because=_WHY[news.kind],
            )
        )
        delivery += len(targets)
        charged += not news.exempt
    reminds = incident.state is IncidentState.OPEN and incident.firing and times
    told_now = notification > state.counters.notification
    events.append(
        ev.Flushed(
            incident=incident.number,
            next=min(times) if reminds else 0,
            because="told what is new" if told_now else "nothing to tell",
        )
    )
    return tuple(events)


def _news(incident: LiveIncident, plan: Plan, told: Told | None, at: int) -> News | None:
    """Say what the incident is to somebody who was told this much; None if it is no news."""
    if incident.state is IncidentState.RESOLVED:
        if told is None or not told.change or told.resolved or not plan.send_resolved:
            return None
        return RESOLVED if incident.clear_change > told.withheld else None
    if not incident.firing:
        return None
    latest = max(incident.fire_change, incident.muted_change)
    if told is None:
        return OPENED
    reminds = at >= _reminder_at(told, plan)
    if not told.change or told.resolved or told.generation != incident.generation:
        return OPENED if latest > told.withheld or reminds else None
    rose = is_rise(incident, told) and incident.fire_change > told.withheld
    if incident.state is IncidentState.ACK:
        return UPDATED if rose else None
    known = max(told.change, told.withheld)
    if rose or incident.fire_change > known or (plan.send_resolved and incident.clear_change > known):
        return UPDATED
    if reminds:
        return REMINDER
    return UPDATED_HIDDEN if incident.muted_change > known else None


def is_rise(incident: LiveIncident, told: Told) -> bool:
    """Say whether it is worse than what this target was told."""
    return severity_rank[incident.audible] > severity_rank[told.severity]


def _reminder_at(told: Told, plan: Plan) -> int:
    return max(told.at, told.withheld_at) + plan.repeat_interval


def look_at(state: State, incident: LiveIncident, told: Told, at: int) -> int:
    """Say when a target whose line is free again is to be compared, 0 for when something changes.

    Nobody is reminded of what was never compared: it was sent by hand, to those who were chosen.
    """
    plan = state.plan(incident)
    news = _news(incident, plan, told, at)
    if news is None:
        reminds = incident.state is IncidentState.OPEN and incident.firing and incident.flushed_at
        return _reminder_at(told, plan) if reminds else 0
    return _news_at(incident, plan, news, told, at)


def _news_at(incident: LiveIncident, plan: Plan, news: News, told: Told | None, at: int) -> int:
    """Say when news are told: what is urgent at once, what joined or cleared with the next group."""
    if news.kind is NotificationKind.UPDATED and told is not None and not is_rise(incident, told):
        return max(at, incident.flushed_at + plan.group_interval)
    return at


def unheard_at(state: State, incident: LiveIncident, at: int) -> int:
    """Say when to tell those whose line is free what they do not know yet, 0 if there is nothing.

    A comparison is planned with whatever makes news, unless somebody sent it by hand to a few.
    """
    plan = state.plan(incident)
    latest = max(incident.fire_change, incident.muted_change, incident.clear_change)
    # With a comparison that comes no later than the next group, what is not urgent needs no other.
    is_planned = 0 < incident.flush_at <= max(at, incident.flushed_at + plan.group_interval)
    times = []
    for target in present(state, plan):
        told = told_for(incident, target.id)
        if told is not None:
            if told.delivery:
                continue
            is_told = told.change and not told.resolved and told.generation == incident.generation
            knows = max(told.change, told.withheld) >= latest or (is_planned and not is_rise(incident, told))
            if is_told and knows and at < _reminder_at(told, plan):
                continue
        news = _news(incident, plan, told, at)
        if news is not None:
            times.append(_news_at(incident, plan, news, told, at))
    if not times:
        return 0
    return max(min(times), 0 if incident.flushed_at else incident.opened_at + plan.group_wait)


def _why_withheld(
    state: State, incident: LiveIncident, news: News, at: int, charged: int
) -> tuple[Withheld, str] | None:
    """Ask, in order, whether this must be withheld. charged: notifications this flush has charged already."""
    why = suppress.why_suppressed(state, incident)
    if why is None and news.hidden:
        why = "silences cover all that is new"
    if why is not None:
        return Withheld.SUPPRESSED, why
    limit = state.plans.policy.rate_limit
    if limit is None or news.exempt:
        return None
    if rate_limit.used(state.rates.get(incident.rule_id), limit, at, charged) < limit.limit:
        return None
    return (
        Withheld.RATE_LIMITED,
        f"rule {incident.rule_id} had {limit.limit} notifications in {limit.window // 60_000_000} min",
    )


def _withheld(
    state: State,
    incident: LiveIncident,
    kind: NotificationKind,
    targets: list[Target],
    reason: Withheld,
    because: str,
    at: int,
) -> list[ev.Decided]:
    limit = state.plans.policy.rate_limit if reason is Withheld.RATE_LIMITED else None
    events: list[ev.Decided] = [
        ev.NotificationWithheld(
            incident=incident.number,
            kind=kind,
            severity=incident.severity,
            reason=reason,
            change=state.counters.change,
            targets=tuple(target.id for target in targets),
            rule_id=incident.rule_id if limit is not None else "",
            because=because,
        )
    ]
    if limit is not None:
        due = rate_limit.digest_due(state.rates.get(incident.rule_id), limit, at)
        if due is not None:
            events.append(
                ev.DigestPlanned(
                    rule_id=incident.rule_id, due=due, because="the rate limit withheld something"
                )
            )
    return events


_WHY = {
    NotificationKind.OPENED: "something is wrong that this target was not told of",
    NotificationKind.UPDATED: "alerts joined, cleared or rose since this target was told",
    NotificationKind.REMINDER: "nobody acknowledged it for the repeat interval",
    NotificationKind.RESOLVED: "it is over, and this target was told of it",
}


def new_deliveries(
    targets: list[Target], notification_id: str, last: int, merged: dict[str, LiveDelivery] | None = None
) -> tuple[ev.NewDelivery, ...]:
    """Number the deliveries of a notification, one a target, after the last number given.

    merged: by target, the deliveries that these take the place of.
    """
    return tuple(
        ev.NewDelivery(
            delivery=last + position,
            channel=target.channel,
            target=target.id,
            key=delivery_key(notification_id, target),
            since=merged[target.id].first_at if merged and target.id in merged else 0,
        )
        for position, target in enumerate(targets, 1)
    )


def manual(state: State, incident: LiveIncident, channels: tuple[str, ...], *, at: int) -> ev.Notified:
    """Decide a notification that somebody asked for: always told, never limited.

    channels: () for those of the incident's route.
    """
    number = state.counters.notification + 1
    id_ = state.public_id("notification", number, at, incident.id.encode())
    targets = _chosen(state, state.plan(incident), channels)
    return ev.Notified(
        notification=number,
        id=id_,
        incident=incident.number,
        kind=NotificationKind.MANUAL,
        severity=incident.severity,
        change=state.counters.change,
        deliveries=new_deliveries(targets, id_, state.counters.delivery),
        rule_id=incident.rule_id,
        asked=channels,
        because="somebody asked for it",
    )


def rehearsal(
    state: State, plan: Plan, alert: Alert, fingerprint: bytes, channels: tuple[str, ...], at: int
) -> ev.Notified:
    """Decide what a dry run would send by hand. It belongs to no incident, and its deliveries reach nobody."""
    number = state.counters.notification + 1
    id_ = state.public_id("notification", number, at, fingerprint)
    return ev.Notified(
        notification=number,
        id=id_,
        incident=0,
        kind=NotificationKind.MANUAL,
        severity=alert.severity,
        change=0,
        deliveries=new_deliveries(_chosen(state, plan, channels), id_, state.counters.delivery),
        rule_id=alert.rule_id,
        dry_run=True,
        asked=channels,
        because="somebody asked for it, as a dry run",
    )


def _chosen(state: State, plan: Plan, channels: tuple[str, ...]) -> list[Target]:
    """Give the targets of these channels, or of the plan if there are none."""
    if channels:
        return [target for target in state.plans.targets.values() if target.channel in channels]
    return present(state, plan)


def present(state: State, plan: Plan) -> list[Target]:
    """Give the targets that are still configured; whoever left is told nothing more.

    Where all of them have left, those of today's route of that name, or of the root: an incident never goes unheard
    because an address was replaced while it was open.
    """
    there = [target for target in plan.targets if target.id in state.plans.targets]
    if not there and plan.targets:
        today = state.plans.by_name.get(plan.name, state.plans.root.plan)
        return list(today.targets)
    return there


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
