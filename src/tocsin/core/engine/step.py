"""Step: the heart. One input and the state in, what is decided out; read this file first.

`step` changes nothing. `advance` is the one way to drive it: it applies what was decided, lets whatever became due
by it be decided too, and so gives the entries of one input, in order.
"""

import heapq
from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from tocsin.core.engine import deduplicate, deliver, flush, lifecycle, suppress
from tocsin.core.engine.route import Plan, compile_policy, incident_key, matcher_test, plans_for
from tocsin.core.engine.state import (
    LiveAlert,
    LiveIncident,
    State,
    apply,
    covered,
    forget,
    may_forget,
    plan_lease,
    refresh,
)
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status, severity_rank
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import (
    Acted,
    Action,
    AlertExpired,
    AlertReceived,
    Input,
    NodeStart,
    OutcomeReported,
    PolicyChanged,
    SilenceCut,
    SilenceRequested,
    Tick,
)
from tocsin.core.model.policy import MINUTE, policy_digest
from tocsin.core.model.silence import Silence

SYSTEM = "system"
"""The actor of what time and Tocsin itself bring about."""

EXTENSION = 5 * MINUTE
"""How much longer than our own absence every lease is extended after it."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """What one input leads to. Without drafts it leaves no entry.

    outcome: a word for whoever sent the input; incidents: (number, outcome) for each one that it concerns.
    refreshed: the alert that was merely seen again, with its new ends_at.
    """

    drafts: tuple[Draft, ...]
    outcome: str = ""
    incidents: tuple[tuple[int, str], ...] = ()
    refreshed: LiveAlert | None = None
    ends_at: int | None = None


NOTHING = Step(())


def step(state: State, given: Input, *, at: int, actor: str) -> Step:
    """Decide what one input leads to. Changes nothing.

    Raises: Conflict, NotFound or Invalid if a person asks for what cannot be.
    """
    match given:
        case AlertReceived():
            return _alert(state, given, at, actor)
        case OutcomeReported():
            return _outcome(state, given, at)
        case AlertExpired():
            return _expired(state, given, at)
        case Acted():
            return _acted(state, given, at, actor)
        case SilenceRequested():
            return _silence(state, given, at, actor)
        case SilenceCut():
            return _cut(state, given, actor)
        case PolicyChanged():
            return _policy(state, given, actor)
        case NodeStart():
            return _node(given)
        case Tick():
            return NOTHING
        case _:
            assert_never(given)


def advance(state: State, given: Input, *, at: int, actor: str) -> tuple[Step, list[Draft]]:
    """Take one input: decide, apply, and decide what became due by it.

    Returns: the step, and all drafts in order; those of the input first, the ones that follow from it after.
    Raises: as `step`, before anything changed.
    """
    decided = step(state, given, at=at, actor=actor)
    state.at = at
    drafts: list[Draft] = []
    if decided.refreshed is not None:
        refresh(state, decided.refreshed, decided.ends_at, at)
    for draft in decided.drafts:
        _apply_all(state, draft.events, at, draft.private)
        more: tuple[ev.Decided, ...] = ()
        incident = state.incidents.get(draft.incident)
        if incident is not None:
            if isinstance(given, AlertReceived) and given.manual is not None:
                more = (
                    flush.manual(state, incident, given.manual.channels, dry_run=given.manual.dry_run, at=at),
                )
                _apply_all(state, more, at, {})
            if 0 < incident.flush_at <= at:
                flushed = flush.flush(state, incident, at)
                _apply_all(state, flushed, at, {})
                more += flushed
        if more:
            draft = msgspec.structs.replace(draft, events=draft.events + more)
        drafts.append(draft)
    if state.timers and state.timers[0][0] <= at:
        drafts.extend(_due(state, at, follows=bool(drafts)))
    return decided, drafts


def _apply_all(state: State, events: tuple[ev.Decided, ...], at: int, private: Mapping[str, Any]) -> None:
    for event in events:
        apply(state, event, at, private)


def leases_due(state: State, at: int) -> list[LiveAlert]:
    """Take out the alerts whose lease timer has come, and plan the timer of those that were renewed since.

    The caller feeds an AlertExpired for each that the store agrees on, and plans the others anew.
    """
    due: list[LiveAlert] = []
    waiting = []
    while state.timers and state.timers[0][0] <= at:
        timer = heapq.heappop(state.timers)
        if timer[2] != "lease":
            waiting.append(timer)
            continue
        alert = state.alerts.get(timer[3])
        if alert is None or timer[0] != alert.timer:
            continue
        alert.timer = 0
        if not alert.lease or not alert.firing_in:
            continue
        if alert.lease > at:
            plan_lease(state, alert)
        else:
            due.append(alert)
    for timer in waiting:
        heapq.heappush(state.timers, timer)
    return due


def _due(state: State, at: int, *, follows: bool) -> list[Draft]:
    """Decide everything whose time has come, in order; leases are left to `leases_due`."""
    drafts: list[Draft] = []
    leases = []
    while state.timers and state.timers[0][0] <= at:
        due, serial, kind, ref = heapq.heappop(state.timers)
        if kind == "lease":
            leases.append((due, serial, kind, ref))
            continue
        events, incident = _timer(state, kind, ref, due, at)
        if events:
            _apply_all(state, events, at, {})
            touched = state.incidents.get(incident)
            if touched is not None and kind != "flush" and 0 < touched.flush_at <= at:
                flushed = flush.flush(state, touched, at)
                _apply_all(state, flushed, at, {})
                events += flushed
            late_by = at - due if at - due > MINUTE else 0
            drafts.append(
                Draft(
                    kind=f"due_{kind}",
                    actor=SYSTEM,
                    events=events,
                    incident=incident,
                    follows=follows,
                    late_by=late_by,
                )
            )
    for timer in leases:
        heapq.heappush(state.timers, timer)
    return drafts


def _timer(state: State, kind: str, ref: Any, due: int, at: int) -> tuple[tuple[ev.Decided, ...], int]:
    """Decide one timer: its events, and the incident that they touch. A timer that is out of date does nothing."""
    if kind in ("flush", "ack", "unsilence", "forget"):
        incident = state.incidents.get(ref)
        if incident is None:
            return (), 0
        if kind == "flush":
            return (flush.flush(state, incident, at) if incident.flush_at == due else ()), ref
        if kind == "forget":
            if may_forget(state, incident, at):
                forget(state, incident)
            return (), 0
        return lifecycle.lapsed(incident, kind, at), ref
    if kind == "digest":
        digest = flush.digest(state, ref, at)
        return ((digest,) if digest is not None else ()), 0
    silence = state.silences.get(ref)
    if silence is None:
        return (), 0
    if kind == "silence_begin" and not silence.began:
        because = "its time has come"
        return (ev.SilenceBegan(silence=ref, covers=len(covered(state, silence)), because=because),), 0
    if kind == "silence_end" and silence.silence.ends_at <= at:
        return (
            ev.SilenceEnded(silence=ref, change=state.counters.change + 1, because="its time is over"),
        ), 0
    return (), 0


# Alerts


def _alert(state: State, given: AlertReceived, at: int, actor: str) -> Step:
    alert = given.alert
    id_ = given.id or state.alert_id(given.fingerprint)
    live = state.alerts.get(id_)
    if alert.status is not Status.FIRING:
        if live is None or not live.firing_in:
            return Step((), "no_incident")
        return _calmer(state, live, alert, at, actor)
    if live is None or not live.firing_in:
        return _fires(state, given, id_, live, at, actor)
    if given.manual is None and deduplicate.is_duplicate(live, alert, at):
        outcome = "duplicate"
    else:
        outcome = "occurrence"
    incidents = [state.incidents[number] for number in live.firing_in]
    if not any(incident.state is IncidentState.RESOLVED for incident in incidents):
        if outcome == "duplicate":
            concerned = tuple((incident.number, outcome) for incident in incidents)
            return Step((), outcome, concerned, live, alert.ends_at)
        return _seen_again(state, live, alert, incidents, at, actor)
    return _still_fires(state, live, alert, incidents, outcome, at, actor)


def _fires(
    state: State, given: AlertReceived, id_: bytes, live: LiveAlert | None, at: int, actor: str
) -> Step:
    """An alert that did not fire begins to: in a new incident, an open one, or one that comes back."""
    alert = given.alert
    number = live.number if live is not None else state.counters.alert + 1
    change = state.counters.change + 1
    silenced_by = suppress.silences_of(state, alert)
    plans = plans_for(state.plans, alert)
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    opened = state.counters.incident
    private: dict[str, object] = {"alert": alert}
    joined: list[LiveIncident] = []
    for plan in plans:
        key = incident_key(plan, alert, given.fingerprint, state.id_key)
        incident = state.by_key.get(key)
        events: list[ev.Decided] = []
        if incident is not None and _is_past(state, incident, at):
            events_previous, incident = incident.number, None
        else:
            events_previous = 0
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
                    previous=events_previous,
                    because="no incident with its route and group is open",
                )
            )
            because = "it opened the incident"
            flush_due = at + plan.group_wait
        elif incident.state is IncidentState.RESOLVED:
            into, outcome = incident.number, "reopened"
            because = "it came back soon after the incident was resolved"
            events.append(lifecycle.reopened(state, incident, because))
            joined.append(incident)
            flush_due = at + plan.group_wait
        else:
            into, outcome = incident.number, "joined"
            because = "its route and group have an open incident"
            joined.append(incident)
            flush_due = _flush_due(state, incident, alert.severity, at)
        events.append(_fired(into, number, id_, alert, change, plan, silenced_by, because))
        if plan.targets and (
            incident is None or outcome == "reopened" or not 0 < incident.flush_at <= flush_due
        ):
            events.append(ev.FlushPlanned(incident=into, due=flush_due, because="an alert fires"))
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
        # It is a member of an open incident that today's routes would not choose: that one keeps its copy.
        incident = state.incidents[other]
        if incident.state is IncidentState.RESOLVED or incident in joined:
            continue
        because = "it is one of the incident's alerts"
        events = [_fired(other, number, id_, alert, change, state.plan(incident), silenced_by, because)]
        due = _flush_due(state, incident, alert.severity, at)
        if not 0 < incident.flush_at <= due:
            events.append(ev.FlushPlanned(incident=other, due=due, because="an alert fires"))
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


def _flush_due(state: State, incident: LiveIncident, severity: Severity, at: int) -> int:
    """Say when a change in an open incident is told: after group_interval, but a rise of severity at once."""
    plan = state.plan(incident)
    first = incident.opened_at + plan.group_wait
    if not incident.flushed_at or severity_rank[severity] > severity_rank[incident.severity]:
        return max(at, first)
    return max(at, incident.flushed_at + plan.group_interval)


def _seen_again(
    state: State, live: LiveAlert, alert: Alert, incidents: list[LiveIncident], at: int, actor: str
) -> Step:
    rose = severity_rank[alert.severity] > severity_rank[live.severity]
    drafts: list[Draft] = []
    for incident in incidents:
        events: list[ev.Decided] = [_seen(state, live, alert, incident, rose)]
        if severity_rank[alert.severity] > severity_rank[incident.severity] and state.plan(incident).targets:
            due = _flush_due(state, incident, alert.severity, at)
            if not 0 < incident.flush_at <= due:
                events.append(ev.FlushPlanned(incident=incident.number, due=due, because="its severity rose"))
        drafts.append(
            Draft(
                kind="alert",
                actor=actor,
                events=tuple(events),
                incident=incident.number,
                follows=bool(drafts),
                private={"alert": alert},
            )
        )
    return Step(tuple(drafts), "occurrence", tuple((incident.number, "occurrence") for incident in incidents))


def _seen(state: State, live: LiveAlert, alert: Alert, incident: LiveIncident, rose: bool) -> ev.AlertSeen:
    return ev.AlertSeen(
        incident=incident.number,
        id=live.id.hex(),
        severity=alert.severity,
        window_start=alert.window_start,
        window_end=alert.window_end,
        change=state.counters.change + 1 if rose else 0,
        ends_at=alert.ends_at,
        repeats=live.repeats,
        last_at=live.seen_at,
        because="its severity rose" if rose else "it fires already; this is another look",
    )


def _still_fires(
    state: State,
    live: LiveAlert,
    alert: Alert,
    incidents: list[LiveIncident],
    outcome: str,
    at: int,
    actor: str,
) -> Step:
    """Some incident of the alert was resolved by a person while it fires: hold, then come back."""
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    for incident in incidents:
        if incident.state is not IncidentState.RESOLVED:
            concerned.append((incident.number, outcome))
            if outcome == "duplicate":
                continue
            events: tuple[ev.Decided, ...] = (
                _seen(
                    state, live, alert, incident, severity_rank[alert.severity] > severity_rank[live.severity]
                ),
            )
        elif at <= incident.resolved_at + state.plan(incident).reopen_within:
            concerned.append((incident.number, "held"))
            continue
        else:
            concerned.append((incident.number, "reopened"))
            because = "it was resolved by hand, but its alert still fires"
            events = (
                lifecycle.reopened(state, incident, because),
                _seen(state, live, alert, incident, False),
                ev.FlushPlanned(incident=incident.number, due=at, because=because),
            )
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
    first = concerned[0][1] if len(concerned) == 1 else next((o for _, o in concerned if o != "held"), "held")
    if drafts:
        return Step(tuple(drafts), first, tuple(concerned))
    return Step((), first, tuple(concerned), live, alert.ends_at)


def _calmer(state: State, live: LiveAlert, alert: Alert, at: int, actor: str) -> Step:
    """A green or a resolved for an alert that fires."""
    incidents = [state.incidents[number] for number in live.firing_in]
    if alert.status is Status.GREEN:
        if deduplicate.is_duplicate(live, alert, at):
            return Step(
                (), "duplicate", tuple((i.number, "duplicate") for i in incidents), live, alert.ends_at
            )
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
            due = _flush_due(state, incident, Severity.INFO, at)
            if state.plan(incident).send_resolved and not 0 < incident.flush_at <= due:
                events.append(ev.FlushPlanned(incident=incident.number, due=due, because="an alert cleared"))
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


def _expired(state: State, given: AlertExpired, at: int) -> Step:
    live = state.alerts.get(given.id)
    if live is None or not live.firing_in or not live.lease or live.lease > at:
        return NOTHING
    incidents = [state.incidents[number] for number in live.firing_in]
    because = "nobody has vouched for it since its end"
    return _cleared(state, live, incidents, because, 0, None, at, SYSTEM)


# Deliveries


def _outcome(state: State, given: OutcomeReported, at: int) -> Step:
    events = deliver.reported(state, given, at)
    if not events:
        return NOTHING
    delivery = state.deliveries[given.delivery]
    incident = delivery.incident if delivery.incident in state.incidents else 0
    said = {"outcome": given.outcome}
    return Step(
        (Draft(kind="outcome", actor=SYSTEM, events=events, incident=incident, private=said),), "recorded"
    )


# People and the house


def _acted(state: State, given: Acted, at: int, actor: str) -> Step:
    incident = state.incidents.get(given.incident)
    if incident is None:
        if given.action is Action.RESOLVE:
            return Step((), "unchanged", ((given.incident, "resolve"),))
        raise Conflict(
            f"Incident #{given.incident} is over and cannot take {given.action!s} any more.",
            state=IncidentState.RESOLVED,
        )
    events = lifecycle.act(state, incident, given, actor=actor, at=at)
    outcome = ((incident.number, str(given.action)),)
    if not events:
        return Step((), "unchanged", outcome)
    private: dict[str, object] = {"note": given.note} if given.note else {}
    draft = Draft(kind="action", actor=actor, events=events, incident=incident.number, private=private)
    return Step((draft,), str(given.action), outcome)


def _silence(state: State, given: SilenceRequested, at: int, actor: str) -> Step:
    if given.ends_at <= given.starts_at:
        raise Invalid("A silence ends before it starts. Swap the two, or give a length.", field="ends_at")
    if given.ends_at <= at:
        raise Invalid(
            "A silence that has ended already would do nothing. Give an end in the future.", field="ends_at"
        )
    if not given.matchers:
        raise Invalid("A silence needs at least one matcher.", field="matchers")
    number = state.counters.silence + 1
    silence = Silence(
        number=number,
        id=state.public_id("silence", number, at),
        matchers=given.matchers,
        starts_at=max(given.starts_at, at),
        ends_at=given.ends_at,
        created_by=actor,
        comment=given.comment,
    )
    created = ev.SilenceCreated(
        silence=number,
        id=silence.id,
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        because=f"{actor} asked for it",
    )
    for matcher in silence.matchers:
        matcher_test(matcher)  # A pattern that RE2 does not know is refused here, before anything changed.
    return Step(
        (Draft(kind="silence", actor=actor, events=(created,), private={"silence": silence}),), silence.id
    )


def _cut(state: State, given: SilenceCut, actor: str) -> Step:
    if given.silence not in state.silences:
        raise NotFound(f"Silence {given.silence} is not there, or is over already.")
    ended = ev.SilenceEnded(
        silence=given.silence, change=state.counters.change + 1, because=f"{actor} ended it"
    )
    return Step((Draft(kind="silence", actor=actor, events=(ended,)),), "ended")


def _policy(state: State, given: PolicyChanged, actor: str) -> Step:
    digest = policy_digest(given.policy)
    if state.plans.version and digest == policy_digest(state.plans.policy):
        return Step((), "unchanged")
    version = state.plans.version + 1
    compile_policy(given.policy, version)  # Refused here, it changes nothing.
    adopted = ev.PolicyAdopted(version=version, digest=digest, because=f"{actor} brought another policy")
    return Step(
        (Draft(kind="policy", actor=actor, events=(adopted,), private={"policy": given.policy}),), "adopted"
    )


def _node(given: NodeStart) -> Step:
    extended = given.gap + EXTENSION if given.gap > MINUTE else 0
    started = ev.NodeStarted(gap=given.gap, extended=extended, because="a node began to listen")
    return Step((Draft(kind="node", actor=SYSTEM, events=(started,)),), "started")
