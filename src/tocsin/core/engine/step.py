"""Step: the heart. One input and the state in, what is decided out; read this file first.

`step` changes nothing. `advance` is the one way to drive it: it applies what was decided, lets whatever became due
by it be decided too, and so gives the entries of one input, in order.
"""

import heapq
from typing import Any, assert_never

import msgspec

from tocsin.core.engine import deduplicate, deliver, flush, lifecycle, suppress
from tocsin.core.engine.fold import apply, covered, covered_only_by, is_louder
from tocsin.core.engine.route import Plan, compile_policy, incident_key, matcher_test, plans_for
from tocsin.core.engine.state import LiveAlert, LiveIncident, State, begin, refresh
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
    Manual,
    NodeStart,
    OutcomeReported,
    PolicyChanged,
    SilenceCut,
    SilenceRequested,
    Tick,
)
from tocsin.core.model.notification import DeliveryState
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
    begin(state, at)
    decided = step(state, given, at=at, actor=actor)
    drafts: list[Draft] = []
    if decided.refreshed is not None:
        refresh(state, decided.refreshed, decided.ends_at, at)
    for draft in decided.drafts:
        drafts.extend(_take(state, draft, at, given.manual if isinstance(given, AlertReceived) else None))
    while state.timers and state.timers[0][0] <= at:
        due, kind, ref = heapq.heappop(state.timers)
        draft_due = _timer(state, kind, ref, due, at)
        if draft_due is not None:
            drafts.extend(_take(state, draft_due, at, None))
    return decided, drafts


def _take(state: State, draft: Draft, at: int, manual: Manual | None) -> list[Draft]:
    """Apply a draft, and decide what follows from it at once: in the same entry, or in entries of their own."""
    heard_again: list[int] = []
    for event in draft.events:
        if isinstance(event, ev.SilenceEnded):
            heard_again = covered_only_by(state, event.silence)
        apply(state, event, at, draft.private)
    incident = state.incidents.get(draft.incident)
    if incident is not None:
        more: tuple[ev.Decided, ...] = ()
        if manual is not None and not (draft.follows and manual.channels):
            more = (flush.manual(state, incident, manual.channels, at=at),)
            apply(state, more[0], at, {})
        if 0 < incident.flush_at <= at:
            flushed = flush.flush(state, incident, at)
            _apply_all(state, flushed, at)
            more += flushed
        if more:
            draft = msgspec.structs.replace(draft, events=draft.events + more)
    drafts = [draft]
    for number in heard_again:
        flushed = flush.flush(state, state.incidents[number], at)
        if (
            len(flushed) > 1
        ):  # Else people know all of it, and the comparison that was planned before still holds.
            _apply_all(state, flushed, at)
            drafts.append(
                Draft(kind="due_flush", actor=SYSTEM, events=flushed, incident=number, follows=True)
            )
    for event in draft.events:
        if isinstance(event, ev.SilenceCreated) and event.starts_at <= at:
            began = _began(state, event.silence)
            apply(state, began, at, {})
            drafts.append(Draft(kind="due_silence_begin", actor=SYSTEM, events=(began,), follows=True))
    return drafts


def _apply_all(state: State, events: tuple[ev.Decided, ...], at: int) -> None:
    for event in events:
        apply(state, event, at, {})


def _timer(state: State, kind: str, ref: Any, due: int, at: int) -> Draft | None:
    """Decide what a timer does; None if it is out of date."""
    incident = 0
    events: tuple[ev.Decided, ...] = ()
    if kind in ("flush", "ack", "unsilence"):
        live = state.incidents.get(ref)
        if live is None:
            return None
        incident = live.number
        if kind != "flush":
            events = lifecycle.lapsed(live, kind, at)
        elif live.flush_at == due:
            events = flush.flush(state, live, at)
    elif kind == "digest":
        digest = flush.digest(state, ref, at)
        events = (digest,) if digest is not None else ()
    else:
        silence = state.silences.get(ref)
        if silence is None:
            return None
        if kind == "silence_end":
            change = state.counters.change + 1
            events = (ev.SilenceEnded(silence=ref, change=change, because="its time is over"),)
        elif not silence.began:
            events = (_began(state, ref),)
    if not events:
        return None
    late_by = at - due if at - due > MINUTE else 0
    return Draft(kind=f"due_{kind}", actor=SYSTEM, events=events, incident=incident, late_by=late_by)


def _began(state: State, silence: int) -> ev.SilenceBegan:
    covers = len(covered(state, state.silences[silence]))
    return ev.SilenceBegan(silence=silence, covers=covers, because="its time has come")


# Alerts


def _alert(state: State, given: AlertReceived, at: int, actor: str) -> Step:
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
        return _fires(state, given, id_, live, at, actor)
    duplicate = manual is None and deduplicate.is_duplicate(live, alert, at)
    incidents = [state.incidents[number] for number in live.firing_in]
    if any(incident.state is IncidentState.RESOLVED for incident in incidents):
        return _still_fires(state, live, alert, incidents, duplicate, manual is not None, at, actor)
    if duplicate:
        concerned = tuple((incident.number, "duplicate") for incident in incidents)
        return Step((), "duplicate", concerned, live, alert.ends_at)
    return _seen_again(state, live, alert, incidents, at, actor)


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
        if outcome != "joined":
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
        events = [
            _fired(other, number, id_, alert, change, state.plan(incident), silenced_by, because),
            *_flush_planned(incident, due, "an alert fires"),
        ]
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
    state: State, live: LiveAlert, alert: Alert, incidents: list[LiveIncident], at: int, actor: str
) -> Step:
    """It fires already, and this is another look at it."""
    drafts: list[Draft] = []
    private = {"alert": alert}
    for incident in incidents:
        events = _seen(state, live, alert, incident, at)
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
    return Step(tuple(drafts), "occurrence", tuple((incident.number, "occurrence") for incident in incidents))


def _seen(
    state: State, live: LiveAlert, alert: Alert, incident: LiveIncident, at: int
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
    if rose and is_louder(alert.severity, incident):
        due = _flush_due(state, incident, alert.severity, silenced_by, at)
        return seen, *_flush_planned(incident, due, "its severity rose")
    return (seen,)


def _still_fires(
    state: State,
    live: LiveAlert,
    alert: Alert,
    incidents: list[LiveIncident],
    duplicate: bool,
    manual: bool,
    at: int,
    actor: str,
) -> Step:
    """Some incident of the alert was resolved by a person while it fires: hold, then come back.

    What is worse than before, or sent by hand, is not held.
    """
    insists = manual or severity_rank[alert.severity] > severity_rank[live.severity]
    drafts: list[Draft] = []
    concerned: list[tuple[int, str]] = []
    for incident in incidents:
        events: tuple[ev.Decided, ...] = ()
        if incident.state is not IncidentState.RESOLVED:
            outcome = "duplicate" if duplicate else "occurrence"
            if not duplicate:
                events = _seen(state, live, alert, incident, at)
        elif at <= incident.resolved_at + state.plan(incident).reopen_within and not insists:
            outcome = "held"
        else:
            outcome = "reopened"
            because = "it was resolved by hand, but its alert still fires"
            seen, *_ = _seen(state, live, alert, incident, at)
            planned = ev.FlushPlanned(incident=incident.number, due=at, because=because)
            events = (lifecycle.reopened(state, incident, because), seen, planned)
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
        if not 0 < given.incident <= state.counters.incident:
            raise NotFound(f"Incident #{given.incident} is not there.")
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
    plans = compile_policy(given.policy, version)  # Refused here, it changes nothing.
    adopted = ev.PolicyAdopted(version=version, digest=digest, because=f"{actor} brought another policy")
    drafts = [Draft(kind="policy", actor=actor, events=(adopted,), private={"policy": given.policy})]
    cancelled: dict[int, list[ev.Decided]] = {}
    for delivery in state.deliveries.values():
        if delivery.target not in plans.targets:
            incident = delivery.incident if delivery.incident in state.incidents else 0
            ended = ev.DeliveryEnded(
                delivery=delivery.number,
                state=DeliveryState.CANCELLED,
                attempts=delivery.attempts,
                because="its target is no longer configured",
            )
            cancelled.setdefault(incident, []).append(ended)
    drafts.extend(
        Draft(kind="cancelled", actor=SYSTEM, events=tuple(ended), incident=incident, follows=True)
        for incident, ended in cancelled.items()
    )
    return Step(tuple(drafts), "adopted")


def _node(given: NodeStart) -> Step:
    extended = given.gap + EXTENSION if given.gap > 0 else 0
    started = ev.NodeStarted(gap=given.gap, extended=extended, because="a node began to listen")
    return Step((Draft(kind="node", actor=SYSTEM, events=(started,)),), "started")
