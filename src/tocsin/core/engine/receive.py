"""Receive: what an alert leads to: a new incident, one more alert in an open one, a count, a clearing, or nothing.

What is sent by hand to chosen channels is for those alone: it plans no comparison, by which others would hear of it
too. They hear of it with whatever happens next.
"""

from tocsin.core.engine import deduplicate, flush, lifecycle, suppress
from tocsin.core.engine.fold import is_louder
from tocsin.core.engine.route import Plan, incident_key, plans_for
from tocsin.core.engine.state import LiveAlert, LiveIncident, State
from tocsin.core.engine.verdict import NOTHING, SYSTEM, Step
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status, severity_rank
from tocsin.core.model.entry import Draft
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import AlertExpired, AlertReceived, Manual


def received(state: State, given: AlertReceived, at: int, actor: str) -> Step:
    """Decide what an alert leads to: it opens, joins, counts, clears, or changes nothing."""
    alert = given.alert
    manual = given.manual
    if manual is not None and manual.dry_run:
        return _rehearsal(state, given, manual.channels, at, actor)
    id_ = given.id or state.alert_id(given.fingerprint)
    live = state.alerts.get(id_)
    if alert.status is not Status.FIRING:
        if live is None or not live.firing_in:
            return Step((), "no_incident")
        return _calmer(state, live, alert, at, actor)
    if live is None or not live.firing_in:
        if live is not None and manual is None and deduplicate.is_stale(live, alert, at):
            return Step((), "duplicate")
        return _fires(state, given, id_, live, at, actor)
    duplicate = manual is None and deduplicate.is_duplicate(live, alert, at)
    incidents: list[LiveIncident] = []
    is_resolved = False
    for firing_in in live.firing_in:
        incident = state.incidents[firing_in]
        incidents.append(incident)
        is_resolved = is_resolved or incident.state is IncidentState.RESOLVED
    if is_resolved:
        return _still_fires(state, live, alert, incidents, duplicate, manual, at, actor)
    if duplicate:
        concerned = tuple((incident.number, "duplicate") for incident in incidents)
        return Step((), "duplicate", concerned, live, alert.ends_at)
    return _seen_again(state, live, alert, incidents, _is_for_few(manual), at, actor)


def _is_for_few(manual: Manual | None) -> bool:
    """Say whether somebody chose who hears of this."""
    return manual is not None and bool(manual.channels)


def _rehearsal(state: State, given: AlertReceived, channels: tuple[str, ...], at: int, actor: str) -> Step:
    """A dry run opens nothing and tells nobody: whom it would tell is decided and recorded, and that is all."""
    plan = plans_for(state.plans, given.alert)[0]
    rehearsed = flush.rehearsal(state, plan, given.alert, given.fingerprint, channels, at)
    draft = Draft(kind="send", actor=actor, events=(rehearsed,), private={"alert": given.alert})
    return Step((draft,), "dry_run")


def _fires(
    state: State, given: AlertReceived, id_: bytes, live: LiveAlert | None, at: int, actor: str
) -> Step:
    """An alert that did not fire begins to: in a new incident, an open one, or one that comes back."""
    alert = given.alert
    number = live.number if live is not None else state.counters.alert + 1
    change = state.counters.change + 1
    silenced_by = suppress.silences_of(state, alert)
    is_for_few = _is_for_few(given.manual)
    plans = plans_for(state.plans, alert)
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    opened = state.counters.incident
    private: dict[str, object] = {"alert": alert}
    joined: list[int] = []
    for plan in plans:
        key = incident_key(plan, alert, given.fingerprint, state.id_key)
        incident = state.by_key.get(key)
        events: list[ev.Decided] = []
        previous = 0
        if incident is not None and _is_past(state, incident, at):
            previous, incident = incident.number, None
        if incident is None:
            opened += 1
            into, outcome = opened, "opened"
            events.append(
                ev.IncidentOpened(
                    incident=into,
                    id=state.public_id("incident", into, at, key),
                    key=key.hex(),
                    route=plan.name,
                    policy=plan.policy,
                    previous=previous,
                    because="no incident with its route and group is open",
                )
            )
            because = "it opened the incident"
            flush_due = at + plan.group_wait
        elif incident.state is IncidentState.RESOLVED:
            into, outcome = incident.number, "reopened"
            because = "it came back soon after the incident was resolved"
            events.append(lifecycle.reopened(state, incident, because))
            joined.append(into)
            flush_due = at + plan.group_wait
        else:
            into, outcome = incident.number, "joined"
            because = "its route and group have an open incident"
            joined.append(into)
            flush_due = _flush_due(state, incident, alert.severity, silenced_by, at)
        events.append(_fired(into, number, id_, alert, change, plan, silenced_by, because))
        if is_for_few:
            pass
        elif outcome != "joined":
            events.append(ev.FlushPlanned(incident=into, due=flush_due, because="an alert fires"))
        else:
            assert incident is not None
            events.extend(_flush_planned(incident, flush_due, "an alert fires"))
        drafts.append(
            Draft(
                kind="alert",
                actor=actor,
                events=tuple(events),
                incident=into,
                follows=bool(drafts),
                private=private,
            )
        )
        concerned.append((into, outcome))
    for other in live.incidents if live is not None else ():
        incident = state.incidents[other]
        if other in joined:
            continue
        if incident.state is IncidentState.RESOLVED:
            if live is not None and live.silenced_by and not silenced_by:
                because = "no silence covers its alert any more"
                planned = ev.FlushPlanned(incident=other, due=at, because=because)
                drafts.append(
                    Draft(kind="alert", actor=actor, events=(planned,), incident=other, follows=True)
                )
            continue
        # It is a member of an open incident that today's routes would not choose: that one keeps its copy.
        because = "it is one of the incident's alerts"
        due = _flush_due(state, incident, alert.severity, silenced_by, at)
        events = [_fired(other, number, id_, alert, change, state.plan(incident), silenced_by, because)]
        if not is_for_few:
            events.extend(_flush_planned(incident, due, "an alert fires"))
        drafts.append(
            Draft(
                kind="alert", actor=actor, events=tuple(events), incident=other, follows=True, private=private
            )
        )
        concerned.append((other, "joined"))
    return Step(tuple(drafts), concerned[0][1], tuple(concerned))


def _fired(
    incident: int,
    number: int,
    id_: bytes,
    alert: Alert,
    change: int,
    plan: Plan,
    silenced_by: tuple[int, ...],
    because: str,
) -> ev.AlertFired:
    return ev.AlertFired(
        incident=incident,
        alert=number,
        id=id_.hex(),
        rule_id=alert.rule_id,
        severity=alert.severity,
        window_start=alert.window_start,
        window_end=alert.window_end,
        change=change,
        ends_at=alert.ends_at,
        expires_after=plan.resolve_timeout,
        silenced_by=silenced_by,
        because=because,
    )


def _is_past(state: State, incident: LiveIncident, at: int) -> bool:
    """Say whether a resolved incident is too long over to come back."""
    return (
        incident.state is IncidentState.RESOLVED
        and not incident.firing
        and at > incident.resolved_at + state.plan(incident).reopen_within
    )


def _flush_due(
    state: State, incident: LiveIncident, severity: Severity, silenced_by: tuple[int, ...], at: int
) -> int:
    """Say when a change in an open incident is told: after group_interval, but a rise of severity at once.

    The first time is after group_wait, whatever happens until then.
    """
    plan = state.plan(incident)
    if not incident.flushed_at:
        return max(at, incident.opened_at + plan.group_wait)
    if is_louder(severity, incident) and not silenced_by:
        return at
    return max(at, incident.flushed_at + plan.group_interval)


def _flush_planned(incident: LiveIncident, due: int, because: str) -> tuple[ev.FlushPlanned, ...]:
    """Plan to compare an incident, unless that is planned for then or earlier."""
    if 0 < incident.flush_at <= due:
        return ()
    return (ev.FlushPlanned(incident=incident.number, due=due, because=because),)


def _seen_again(
    state: State,
    live: LiveAlert,
    alert: Alert,
    incidents: list[LiveIncident],
    is_for_few: bool,
    at: int,
    actor: str,
) -> Step:
    """It fires already, and this is another look at it."""
    drafts: list[Draft] = []
    private = {"alert": alert}
    for incident in incidents:
        events = _seen(state, live, alert, incident, is_for_few, at)
        drafts.append(
            Draft(
                kind="alert",
                actor=actor,
                events=events,
                incident=incident.number,
                follows=bool(drafts),
                private=private,
            )
        )
    concerned = [(incident.number, "occurrence") for incident in incidents]
    return Step(tuple(drafts), "occurrence", tuple(concerned))


def _seen(
    state: State, live: LiveAlert, alert: Alert, incident: LiveIncident, is_for_few: bool, at: int
) -> tuple[ev.Decided, ...]:
    rose = severity_rank[alert.severity] > severity_rank[live.severity]
    silenced_by = live.silenced_by
    if state.silences and (alert.severity is not live.severity or alert.source != live.source):
        # Labels that a silence may ask for and that are not part of the scope have changed.
        silenced_by = suppress.silences_of(state, alert)
    resilenced = silenced_by != live.silenced_by
    seen = ev.AlertSeen(
        incident=incident.number,
        id=live.id.hex(),
        severity=alert.severity,
        window_start=alert.window_start,
        window_end=alert.window_end,
        change=state.counters.change + 1 if rose or resilenced else 0,
        ends_at=alert.ends_at,
        repeats=live.repeats,
        last_at=live.seen_at,
        silenced_by=silenced_by if resilenced else None,
        because="its severity rose" if rose else "it fires already; this is another look",
    )
    if live.silenced_by and not silenced_by:
        return seen, *_flush_planned(incident, at, "no silence covers it any more")
    if is_for_few:
        return (seen,)
    if rose and is_louder(alert.severity, incident):
        due = _flush_due(state, incident, alert.severity, silenced_by, at)
        return seen, *_flush_planned(incident, due, "its severity rose")
    if due := flush.unheard_at(state, incident, at):
        return seen, *_flush_planned(incident, due, "not everybody was told of it yet")
    return (seen,)


def _still_fires(
    state: State,
    live: LiveAlert,
    alert: Alert,
    incidents: list[LiveIncident],
    duplicate: bool,
    manual: Manual | None,
    at: int,
    actor: str,
) -> Step:
    """Some incident of the alert was resolved by a person while it fires: hold, then come back.

    What is worse than before, or sent by hand, is not held.
    """
    insists = manual is not None or severity_rank[alert.severity] > severity_rank[live.severity]
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    for incident in incidents:
        events: tuple[ev.Decided, ...] = ()
        if incident.state is not IncidentState.RESOLVED:
            outcome = "duplicate" if duplicate else "occurrence"
            if not duplicate:
                events = _seen(state, live, alert, incident, _is_for_few(manual), at)
        elif at <= incident.resolved_at + state.plan(incident).reopen_within and not insists:
            outcome = "held"
        else:
            outcome = "reopened"
            because = "it was resolved by hand, but its alert still fires"
            seen, *_ = _seen(state, live, alert, incident, True, at)
            events = (lifecycle.reopened(state, incident, because), seen)
            if not _is_for_few(manual):
                events += (ev.FlushPlanned(incident=incident.number, due=at, because=because),)
        concerned.append((incident.number, outcome))
        if events:
            drafts.append(
                Draft(
                    kind="alert",
                    actor=actor,
                    events=events,
                    incident=incident.number,
                    follows=bool(drafts),
                    private={"alert": alert},
                )
            )
    said = next((outcome for _, outcome in concerned if outcome != "held"), "held")
    if drafts:
        return Step(tuple(drafts), said, tuple(concerned))
    return Step((), said, tuple(concerned), live, alert.ends_at)


def _calmer(state: State, live: LiveAlert, alert: Alert, at: int, actor: str) -> Step:
    """A green or a resolved for an alert that fires."""
    incidents = [state.incidents[number] for number in live.firing_in]
    if alert.status is Status.GREEN:
        if deduplicate.is_duplicate(live, alert, at):
            # Its lease is what the firing ones gave it: a second green says nothing of that.
            return Step((), "duplicate", tuple((i.number, "duplicate") for i in incidents))
        greens = live.greens + 1
        needed = state.plan(incidents[0]).greens
        if greens < needed:
            drafts = tuple(
                Draft(
                    kind="alert",
                    actor=actor,
                    events=(
                        ev.AlertGreen(
                            incident=incident.number,
                            id=live.id.hex(),
                            greens=greens,
                            window_start=alert.window_start,
                            window_end=alert.window_end,
                            repeats=live.repeats,
                            last_at=live.seen_at if live.repeats else 0,
                            because=f"green look {greens} of {needed}",
                        ),
                    ),
                    incident=incident.number,
                    follows=position > 0,
                    private={"alert": alert},
                )
                for position, incident in enumerate(incidents)
            )
            return Step(drafts, "green_counted", tuple((i.number, "green_counted") for i in incidents))
        because = f"{greens} consecutive green looks"
    else:
        greens = 0
        because = "its source says that it is over"
    return _cleared(state, live, incidents, because, greens, alert, at, actor)


def _cleared(
    state: State,
    live: LiveAlert,
    incidents: list[LiveIncident],
    because: str,
    greens: int,
    alert: Alert | None,
    at: int,
    actor: str,
) -> Step:
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    change = state.counters.change + 1
    for incident in incidents:
        events: list[ev.Decided] = [
            ev.AlertCleared(
                incident=incident.number,
                id=live.id.hex(),
                change=change,
                status=alert.status if alert is not None else None,
                window_start=alert.window_start if alert is not None else 0,
                window_end=alert.window_end if alert is not None else 0,
                repeats=live.repeats,
                last_at=live.seen_at if live.repeats else 0,
                because=because,
            )
        ]
        outcome = "cleared"
        if incident.firing == 1 and incident.state is not IncidentState.RESOLVED:
            outcome = "resolved"
            events.append(
                ev.IncidentResolved(
                    incident=incident.number,
                    change=change,
                    auto=True,
                    greens=greens,
                    because=f"all of its alerts are clear; the last by: {because}",
                )
            )
            events.append(ev.FlushPlanned(incident=incident.number, due=at, because="it is resolved"))
        elif incident.firing > 1 and incident.state is not IncidentState.RESOLVED:
            due = _flush_due(state, incident, Severity.INFO, (), at)
            if state.plan(incident).send_resolved:
                events.extend(_flush_planned(incident, due, "an alert cleared"))
        drafts.append(
            Draft(
                kind="alert" if alert is not None else "expiry",
                actor=actor,
                events=tuple(events),
                incident=incident.number,
                follows=bool(drafts),
                private={"alert": alert} if alert is not None else {},
            )
        )
        concerned.append((incident.number, outcome))
    return Step(tuple(drafts), concerned[0][1], tuple(concerned))


def expired(state: State, given: AlertExpired, at: int) -> Step:
    """Decide what follows when nobody vouches for an alert any more."""
    live = state.alerts.get(given.id)
    if live is None or not live.firing_in or not live.lease or live.lease > at:
        return NOTHING
    incidents = [state.incidents[number] for number in live.firing_in]
    because = "nobody has vouched for it since its end"
    return _cleared(state, live, incidents, because, 0, None, at, SYSTEM)
