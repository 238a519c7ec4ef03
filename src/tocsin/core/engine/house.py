"""House: what people and operators ask for: actions on incidents, silences, deliveries, tokens, the policy."""

from tocsin.core.engine import compose, lifecycle, maintenance, policy_diff, suppress
from tocsin.core.engine.route import compile_policy, matcher_test
from tocsin.core.engine.state import LiveDelivery, LiveIncident, State
from tocsin.core.engine.verdict import NOTHING, SYSTEM, Step
from tocsin.core.model import event as ev
from tocsin.core.model import input as given_
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Acted, Action
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import (
    MINUTE,
    Policy,
    addresses_of,
    policy_digest,
    with_addresses,
    without_addresses,
)
from tocsin.core.model.silence import Maintenance, Matcher, Silence

EXTENSION = 5 * MINUTE
"""How much longer than our own absence every lease is extended after it."""

OVERLAPPING_MAX = 64
"""So many windows of one maintenance are looked at together; one of 31 days may open every day."""

AGAIN = (DeliveryState.DEAD, DeliveryState.DISCARDED, DeliveryState.CANCELLED, DeliveryState.DRY_RUN)
"""How a delivery may have ended that told nobody, so that it can be attempted again without being forced."""


# Incidents


def acted(state: State, given: Acted, at: int, actor: str) -> Step:
    """Decide what a person does to an incident. Raises: NotFound, Conflict, Invalid."""
    incident = state.incidents.get(given.incident)
    if incident is None:
        if not 0 < given.incident <= state.counters.incident:
            raise NotFound(f"There is no incident #{given.incident}. List them: tocsin status.")
        if given.action is Action.RESOLVE:
            return Step((), "unchanged", ((given.incident, "unchanged"),))
        raise lifecycle.refused(given.incident, IncidentState.RESOLVED, given.action)
    events = lifecycle.act(state, incident, given, actor=actor, at=at)
    noted_only = given.action is not Action.NOTE and all(isinstance(e, ev.IncidentNoted) for e in events)
    outcome = "unchanged" if noted_only else "changed"
    drafts = (_action(incident, given, events, actor),) if events else ()
    return Step(drafts, outcome, ((incident.number, outcome),))


def _action(
    incident: LiveIncident, given: Acted, events: tuple[ev.Decided, ...], actor: str, *, follows: bool = False
) -> Draft:
    private: dict[str, object] = {"note": given.note} if given.note else {}
    return Draft(
        kind="action",
        actor=actor,
        events=events,
        incident=incident.number,
        follows=follows,
        private=private,
    )


def bulk_acted(state: State, given: given_.BulkActed, at: int, actor: str) -> Step:
    """Decide the same for several incidents: one entry, and one for each that changes.

    Step.incidents: for each, `changed`, `unchanged`, `conflict` or `not_found`. Raises: Invalid.
    """
    changes: list[Draft] = []
    said: list[tuple[int, str]] = []
    for number in given.incidents:
        one = Acted(action=given.action, incident=number, note=given.note, until=given.until)
        try:
            step = acted(state, one, at, actor)
        except NotFound:
            said.append((number, "not_found"))
        except Conflict:
            said.append((number, "conflict"))
        else:
            said.append((number, step.outcome))
            changes += [
                _action(state.incidents[number], one, draft.events, actor, follows=True)
                for draft in step.drafts
            ]
    if not changes:
        return Step((), "unchanged", tuple(said))
    because = f"{actor} asked for {given.action!s} of {len(given.incidents)} incidents"
    began = ev.BulkBegan(action=given.action, count=len(changes), because=because)
    return Step((Draft(kind="bulk", actor=actor, events=(began,)), *changes), "changed", tuple(said))


# Silences


def silence(state: State, given: given_.SilenceRequested, at: int, actor: str) -> Step:
    """Decide a silence; the step's outcome is its id. Raises: Invalid."""
    _check_end(given.ends_at, at)
    if given.ends_at <= given.starts_at:
        raise Invalid("A silence ends before it starts. Swap the two, or give a length.", field="ends_at")
    _check_matchers(given.matchers, forced=given.forced)
    number = state.counters.silence + 1
    wanted = Silence(
        number=number,
        id=state.public_id("silence", number, at),
        matchers=given.matchers,
        starts_at=max(given.starts_at, at),
        ends_at=given.ends_at,
        created_by=actor,
        comment=given.comment,
    )
    created = _created(wanted, f"{actor} asked for it")
    draft = Draft(kind="silence", actor=actor, events=(created,), private={"silence": wanted})
    return Step((draft,), wanted.id)


def _created(wanted: Silence, because: str) -> ev.SilenceCreated:
    return ev.SilenceCreated(
        silence=wanted.number,
        id=wanted.id,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        maintenance=wanted.maintenance,
        because=because,
    )


def _check_end(ends_at: int, at: int) -> None:
    if ends_at <= at:
        raise lifecycle.past("ends_at")


def _check_matchers(matchers: tuple[Matcher, ...], *, forced: bool) -> None:
    for matcher in matchers:
        matcher_test(matcher)  # A pattern that RE2 does not know is refused here, before anything changed.
    if not forced and suppress.covers_everything(matchers):
        raise Invalid(
            "These matchers cover every alert there can be, so nobody would be told of anything. "
            "Add a matcher that narrows them, or insist with force.",
            field="matchers",
        )


def silence_moved(state: State, given: given_.SilenceMoved, at: int, actor: str) -> Step:
    """Decide another end for a silence. Raises: NotFound, Invalid."""
    live = state.silences.get(given.silence)
    if live is None:
        raise _no_silence(given.silence)
    _check_end(given.ends_at, at)
    if given.ends_at <= live.silence.starts_at:
        raise Invalid("A silence ends before it starts. Give a later end.", field="ends_at")
    if given.ends_at == live.silence.ends_at:
        return Step((), "unchanged")
    moved = ev.SilenceMoved(
        silence=given.silence, ends_at=given.ends_at, because=f"{actor} gave it another end"
    )
    return Step((Draft(kind="silence", actor=actor, events=(moved,)),), "changed")


def silence_cut(state: State, given: given_.SilenceCut, actor: str) -> Step:
    """Decide the end of a silence, now. Raises: NotFound."""
    if given.silence not in state.silences:
        raise _no_silence(given.silence)
    ended = _silence_ended(state, given.silence, f"{actor} ended it")
    return Step((Draft(kind="silence", actor=actor, events=(ended,)),), "changed")


def _silence_ended(state: State, number: int, because: str) -> ev.SilenceEnded:
    return ev.SilenceEnded(silence=number, change=state.counters.change + 1, because=because)


def _no_silence(number: int) -> NotFound:
    return NotFound(f"Silence S{number} is not there, or is over already. List them: tocsin silence --list.")


def maintenance_requested(state: State, given: given_.MaintenanceRequested, at: int, actor: str) -> Step:
    """Decide a maintenance that comes back; the step's outcome is its id. Raises: Invalid."""
    _check_matchers(given.matchers, forced=given.forced)
    number = state.counters.maintenance + 1
    wanted = Maintenance(
        number=number,
        id=state.public_id("maintenance", number, at),
        matchers=given.matchers,
        rrule=given.rrule,
        zone=given.zone,
        begins=given.begins,
        lasting=given.lasting,
        created_by=actor,
        comment=given.comment,
    )
    maintenance.check(wanted)
    coming = maintenance.windows(wanted, at, 1)
    if not coming:
        raise Invalid(
            "This maintenance has no window that ends in the future (looked at five years). "
            "Look at its rule, its UNTIL or COUNT, and where it begins.",
            field="rrule",
        )
    created = ev.MaintenanceCreated(
        maintenance=number, id=wanted.id, next_at=coming[0][0], because=f"{actor} asked for it"
    )
    draft = Draft(kind="maintenance", actor=actor, events=(created,), private={"maintenance": wanted})
    return Step((draft,), wanted.id)


def maintenance_cut(state: State, given: given_.MaintenanceCut, actor: str) -> Step:
    """Decide the end of a maintenance, and of the silence that it made. Raises: NotFound."""
    if given.maintenance not in state.maintenances:
        raise NotFound(f"Maintenance M{given.maintenance} is not there, or is over already.")
    because = f"{actor} ended it"
    events: list[ev.Decided] = [ev.MaintenanceEnded(maintenance=given.maintenance, because=because)]
    events += [
        _silence_ended(state, number, "its maintenance was ended")
        for number, live in state.silences.items()
        if live.silence.maintenance == given.maintenance
    ]
    return Step((Draft(kind="maintenance", actor=actor, events=tuple(events)),), "changed")


def maintenance_due(state: State, number: int, at: int) -> tuple[tuple[ev.Decided, ...], dict[str, object]]:
    """Decide what a maintenance does when its window opens: the events, and their private part.

    A window that is over before anybody looked makes no silence.
    """
    live = state.maintenances[number]
    wanted = live.maintenance
    coming = [
        window for window in maintenance.windows(wanted, at, OVERLAPPING_MAX) if window[0] >= live.next_at
    ]
    begun = [window for window in coming if window[0] <= at]
    coming = coming[len(begun) :]
    events: list[ev.Decided] = []
    private: dict[str, object] = {}
    if begun:
        silence_number = state.counters.silence + 1
        made = Silence(
            number=silence_number,
            id=state.public_id("silence", silence_number, at),
            matchers=wanted.matchers,
            starts_at=at,
            ends_at=max(ends_at for _, ends_at in begun),
            created_by=wanted.created_by,
            comment=wanted.comment,
            maintenance=number,
        )
        events.append(_created(made, "a window of its maintenance opens"))
        private["silence"] = made
    next_at = coming[0][0] if coming else 0
    because = "its window has come" if private else "its window was missed"
    events.append(ev.MaintenanceMoved(maintenance=number, next_at=next_at, because=because))
    if not next_at:
        events.append(ev.MaintenanceEnded(maintenance=number, because="it has no further window"))
    return tuple(events), private


# Deliveries


def delivery_again(state: State, given: given_.DeliveryRetryAsked, at: int, actor: str) -> Step:
    """Decide that a delivery is attempted now, under its old key. Raises: NotFound, Conflict."""
    because = f"{actor} asked for it"
    live = state.deliveries.get(given.delivery)
    if live is not None:
        if live.due <= at:
            raise Conflict(
                f"Delivery {given.delivery} is under way. Wait for its outcome.", state=DeliveryState.PENDING
            )
        retried = ev.DeliveryRetried(delivery=live.number, attempts=live.attempts, due=at, because=because)
        return Step((_delivery_draft(state, live, (retried,), actor),), "changed")
    past, ended = _past_delivery(state, given.delivery)
    if ended not in AGAIN and not given.forced:
        raise Conflict(
            f"Delivery {given.delivery} is {ended}: it was told. To tell it once more, insist with force.",
            state=ended,
        )
    if past.target not in state.plans.targets:
        raise Conflict(
            f"The address of delivery {given.delivery} is no longer configured. "
            "Configure it, or send by hand: tocsin send.",
            state=ended,
        )
    return Step((_delivery_draft(state, past, (_revived(past, ended, because),), actor),), "changed")


def _revived(past: LiveDelivery, ended: DeliveryState, because: str) -> ev.DeliveryRevived:
    return ev.DeliveryRevived(
        delivery=past.number,
        notification=past.notification,
        incident=past.incident,
        kind=past.kind,
        severity=past.severity,
        channel=past.channel,
        target=past.target,
        key=past.key,
        attempts=past.attempts,
        was=ended,
        dry_run=past.dry_run,
        because=because,
    )


def delivery_discarded(state: State, given: given_.DeliveryDiscardAsked, at: int, actor: str) -> Step:
    """Decide that a delivery is given up. One that is on the wire may still arrive. Raises: NotFound, Conflict."""
    because = f"{actor} gave it up"
    events: list[ev.Decided] = []
    live = state.deliveries.get(given.delivery)
    if live is None:
        live, ended = _past_delivery(state, given.delivery)
        if ended is DeliveryState.DISCARDED:
            return Step((), "unchanged")
        if ended is not DeliveryState.DEAD:
            raise Conflict(
                f"Delivery {given.delivery} is {ended}, so there is nothing to discard.", state=ended
            )
        events.append(_revived(live, ended, because))
    events.append(
        ev.DeliveryEnded(
            delivery=live.number, state=DeliveryState.DISCARDED, attempts=live.attempts, because=because
        )
    )
    return Step((_delivery_draft(state, live, tuple(events), actor, note=given.reason),), "changed")


def _past_delivery(state: State, number: int) -> tuple[LiveDelivery, DeliveryState]:
    past = state.past_deliveries.get(number)
    if past is None:
        raise NotFound(f"There is no delivery {number}. List them: tocsin deliveries list.")
    return past


def _delivery_draft(
    state: State, delivery: LiveDelivery, events: tuple[ev.Decided, ...], actor: str, *, note: str = ""
) -> Draft:
    incident = delivery.incident if delivery.incident in state.incidents else 0
    private: dict[str, object] = {"note": note} if note else {}
    return Draft(kind="delivery", actor=actor, events=events, incident=incident, private=private)


# Access


def token_issued(given: given_.TokenIssued, actor: str) -> Step:
    """Record a new token: everything of it but its hash."""
    token = given.token
    created = ev.TokenCreated(
        token=token.id,
        role=token.role,
        scopes=token.scopes,
        per_minute=token.per_minute,
        expires_at=token.expires_at,
        because=f"{actor} made it",
    )
    draft = Draft(kind="token", actor=actor, events=(created,), private={"name": token.name})
    return Step((draft,), "changed")


def token_cut(given: given_.TokenCut, actor: str) -> Step:
    """Record that a token opens nothing any more."""
    revoked = ev.TokenRevoked(token=given.token, because=f"{actor} revoked it")
    return Step((Draft(kind="token", actor=actor, events=(revoked,)),), "changed")


def access_denied(given: given_.AccessDenied, actor: str) -> Step:
    """Record that somebody was turned away."""
    refused = ev.AccessRefused(
        reason=given.reason,
        count=given.count,
        permission=given.permission,
        because=_DENIED[given.reason],
    )
    private: dict[str, object] = {"client": given.client} if given.client else {}
    return Step((Draft(kind="access", actor=actor, events=(refused,), private=private),), "recorded")


_DENIED = {
    given_.Denial.SIGN_IN: "nobody was known by what was shown",
    given_.Denial.PERMISSION: "the permission was missing",
    given_.Denial.LIMIT: "there were too many requests",
}


# The house


def policy(state: State, given: given_.PolicyChanged, actor: str) -> Step:
    """Decide to go by another policy from now on. Raises: Invalid."""
    digest = policy_digest(given.policy)
    if state.plans.version and digest == policy_digest(state.plans.policy):
        return Step((), "unchanged")
    version = state.plans.version + 1
    plans = compile_policy(given.policy, version)  # Refused here, it changes nothing.
    adopted = ev.PolicyAdopted(
        version=version,
        digest=digest,
        policy=without_addresses(given.policy),
        because=f"{actor} brought another policy",
    )
    private: dict[str, object] = {}
    if addresses := addresses_of(given.policy):
        private["addresses"] = addresses
    if different := policy_diff.changes(_by_ids(state.plans.policy), _by_ids(given.policy)):
        private["changes"] = tuple(different)
    drafts = [Draft(kind="policy", actor=actor, events=(adopted,), private=private)]
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
    return Step(tuple(drafts), "changed")


def _by_ids(policy: Policy) -> Policy:
    """Give the policy with ids where addresses stand, so that who leaves is not named by the entry that says so."""
    return with_addresses(policy, {target.id: target.id for target in policy.targets})


def node(given: given_.NodeStart) -> Step:
    """Record that a node listens, and for how long nobody did."""
    extended = given.gap + EXTENSION if given.gap > 0 else 0
    started = ev.NodeStarted(
        gap=given.gap, extended=extended, texts=compose.TEXTS, because="a node began to listen"
    )
    return Step((Draft(kind="node", actor=SYSTEM, events=(started,)),), "started")


def restored(given: given_.StoreRestored, actor: str) -> Step:
    """Record that what follows goes on from a backup."""
    back = ev.StorePutBack(
        size=given.size, made_at=given.made_at, because="the data directory was put back from a backup"
    )
    return Step((Draft(kind="restored", actor=actor, events=(back,)),), "recorded")


def outcome(state: State, given: given_.OutcomeReported, events: tuple[ev.Decided, ...]) -> Step:
    """Record what an attempt led to."""
    if not events:
        return NOTHING
    delivery = state.deliveries[given.delivery]
    incident = delivery.incident if delivery.incident in state.incidents else 0
    said = {"outcome": given.outcome}
    draft = Draft(kind="outcome", actor=SYSTEM, events=events, incident=incident, private=said)
    return Step((draft,), "recorded")
