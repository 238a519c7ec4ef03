"""Step: the heart. One input and the state in, what is decided out; read this file first.

`step` changes nothing. `advance` is the one way to drive it: it applies what was decided, lets whatever became due
by it be decided too, and so gives the entries of one input, in order.
"""

import heapq
from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from tocsin.core.engine import deliver, flush, house, lifecycle, receive, record
from tocsin.core.engine.fold import apply, covered, covered_only_by
from tocsin.core.engine.state import State, begin, refresh
from tocsin.core.engine.verdict import NOTHING, SYSTEM, Step
from tocsin.core.model import event as ev
from tocsin.core.model.entry import Draft
from tocsin.core.model.input import (
    AccessDenied,
    Acted,
    AlertExpired,
    AlertReceived,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    ErasureAsked,
    Input,
    KeysChanged,
    LedgerFork,
    LedgerNamed,
    MaintenanceCut,
    MaintenanceRequested,
    Manual,
    NodeStart,
    OutcomeReported,
    PolicyChanged,
    RetentionDue,
    SilenceCut,
    SilenceMoved,
    SilenceRequested,
    StoreRestored,
    Tick,
    TokenCut,
    TokenIssued,
)
from tocsin.core.model.policy import MINUTE


def step(state: State, given: Input, *, at: int, actor: str) -> Step:
    """Decide what one input leads to. Changes nothing.

    Raises: Conflict, NotFound or Invalid if a person asks for what cannot be.
    """
    match given:
        case AlertReceived():
            return receive.received(state, given, at, actor)
        case OutcomeReported():
            return house.outcome(state, given, deliver.reported(state, given, at))
        case Tick():
            return NOTHING
        case AlertExpired():
            return receive.expired(state, given, at)
        case Acted():
            return house.acted(state, given, at, actor)
        case BulkActed():
            return house.bulk_acted(state, given, at, actor)
        case SilenceRequested():
            return house.silence(state, given, at, actor)
        case SilenceMoved():
            return house.silence_moved(state, given, at, actor)
        case SilenceCut():
            return house.silence_cut(state, given, actor)
        case MaintenanceRequested():
            return house.maintenance_requested(state, given, at, actor)
        case MaintenanceCut():
            return house.maintenance_cut(state, given, actor)
        case DeliveryRetryAsked():
            return house.delivery_again(state, given, at, actor)
        case DeliveryDiscardAsked():
            return house.delivery_discarded(state, given, at, actor)
        case TokenIssued():
            return house.token_issued(given, actor)
        case TokenCut():
            return house.token_cut(given, actor)
        case AccessDenied():
            return house.access_denied(given, actor)
        case PolicyChanged():
            return house.policy(state, given, actor)
        case NodeStart():
            return house.node(given)
        case StoreRestored():
            return house.restored(given, actor)
        case LedgerNamed() | LedgerFork() | KeysChanged():
            return record.ledger(given, actor)
        case ErasureAsked():
            return record.erasure(state, given, actor)
        case RetentionDue():
            return record.retention(state, given)
        case _:
            assert_never(given)


def advance(state: State, given: Input, *, at: int, actor: str, emit: Callable[[Draft], object]) -> Step:
    """Take one input: decide, apply, and decide what became due by it.

    emit: is given each draft the moment it was applied, before anything further is decided; those of the input first,
    the ones that follow from it after.
    Raises: as `step`, before anything changed.
    """
    if at > state.at:
        begin(state, at)
    decided = step(state, given, at=at, actor=actor)
    if decided.refreshed is not None:
        refresh(state, decided.refreshed, decided.ends_at, at)
    manual = given.manual if isinstance(given, AlertReceived) else None
    for draft in decided.drafts:
        _take(state, draft, at, manual, emit)
    while state.timers and state.timers[0][0] <= at:
        due, kind, ref = heapq.heappop(state.timers)
        draft_due = _timer(state, kind, ref, due, at)
        if draft_due is not None:
            _take(state, draft_due, at, None, emit)
    return decided


def _take(
    state: State, draft: Draft, at: int, manual: Manual | None, emit: Callable[[Draft], object]
) -> None:
    """Apply a draft, and decide what follows from it at once: in the same entry, or in entries of their own."""
    heard_again: list[int] = []
    created: list[ev.SilenceCreated] = []
    private = draft.private
    for event in draft.events:
        if type(event) is ev.SilenceEnded:
            heard_again = covered_only_by(state, event.silence)
        elif type(event) is ev.SilenceCreated:
            created.append(event)
        apply(state, event, at, private)
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
    emit(draft)
    for number in heard_again:
        flushed = flush.flush(state, state.incidents[number], at)
        if (
            len(flushed) > 1
        ):  # Else people know all of it, and the comparison that was planned before still holds.
            _apply_all(state, flushed, at)
            emit(Draft(kind="due_flush", actor=SYSTEM, events=flushed, incident=number, follows=True))
    for silence in created:
        if silence.starts_at <= at:
            began = _began(state, silence.silence)
            apply(state, began, at, {})
            emit(Draft(kind="due_silence_begin", actor=SYSTEM, events=(began,), follows=True))


def _apply_all(state: State, events: tuple[ev.Decided, ...], at: int) -> None:
    for event in events:
        apply(state, event, at, {})


def _timer(state: State, kind: str, ref: Any, due: int, at: int) -> Draft | None:
    """Decide what a timer does; None if it is out of date."""
    incident = 0
    events: tuple[ev.Decided, ...] = ()
    private: dict[str, object] = {}
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
    elif kind == "maintenance":
        live_maintenance = state.maintenances.get(ref)
        if live_maintenance is not None and live_maintenance.next_at == due:
            events, private = house.maintenance_due(state, ref, at)
    else:
        silence = state.silences.get(ref)
        if silence is None:
            return None
        if kind == "silence_end":
            if silence.silence.ends_at != due:
                return None  # It was given another end since.
            change = state.counters.change + 1
            events = (ev.SilenceEnded(silence=ref, change=change, because="its time is over"),)
        elif not silence.began:
            events = (_began(state, ref),)
    if not events:
        return None
    late_by = at - due if at - due > MINUTE else 0
    return Draft(
        kind=f"due_{kind}", actor=SYSTEM, events=events, incident=incident, private=private, late_by=late_by
    )


def _began(state: State, silence: int) -> ev.SilenceBegan:
    alerts = tuple(alert.number for alert in covered(state, state.silences[silence]))
    return ev.SilenceBegan(silence=silence, covers=len(alerts), alerts=alerts, because="its time has come")
