"""Record: what is done to the ledger itself: its name, the keys of its checkpoints, and what is erased from it."""

from collections.abc import Sequence
from typing import assert_never

from tocsin.core.engine import lifecycle
from tocsin.core.engine.state import State
from tocsin.core.engine.verdict import NOTHING, SYSTEM, Step
from tocsin.core.model import event as ev
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import Conflict, Invalid
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Basis, ErasureAsked, KeysChanged, LedgerFork, LedgerNamed, RetentionDue


def ledger(given: LedgerNamed | LedgerFork | KeysChanged, actor: str) -> Step:
    """Record what the ledger is called, that it goes on from an older state, or who signs its checkpoints."""
    private: dict[str, object] = {}
    events: list[ev.Decided] = []
    match given:
        case LedgerNamed(origin=origin):
            events.append(ev.LedgerBegan(origin=origin, because="the ledger was given its name"))
        case LedgerFork():
            events.append(
                ev.LedgerForked(
                    origin=given.origin,
                    known_size=given.known_size,
                    known_root=given.known_root,
                    because="the ledger goes on from an older state of it",
                )
            )
            if given.reason:
                private["note"] = given.reason
        case KeysChanged(adopt=adopt, retire=retire):
            events += [ev.KeyAdopted(vkey=vkey, because=f"{actor} wanted another key") for vkey in adopt]
            events += [ev.KeyRetired(vkey=vkey, because=f"{actor} retired it") for vkey in retire]
        case _:
            assert_never(given)
    return Step((Draft(kind="ledger", actor=actor, events=tuple(events), private=private),), "recorded")


def erasure(state: State, given: ErasureAsked, actor: str) -> Step:
    """Decide that private parts are erased.

    Raises: Conflict if one is about what goes on: what is decided and said about it next needs its text.
    """
    if not given.entries:
        raise Invalid(
            "Nothing is to be erased. Name entries, or a text that stands in some.", field="entries"
        )
    for number in given.incidents:
        incident = state.incidents.get(number)
        if incident is not None and incident.state is not IncidentState.RESOLVED:
            raise Conflict(
                f"Incident #{number} is {incident.state}, so its entries cannot be erased yet. Resolve it first.",
                state=incident.state,
                possible=lifecycle.possible(incident.state),
            )
    for kind, numbers, live in (
        ("Silence", given.silences, state.silences),
        ("Maintenance", given.maintenances, state.maintenances),
    ):
        for number in numbers:
            if number in live:
                raise Conflict(
                    f"{kind} {number} goes on, so the entry that made it cannot be erased yet. End it first.",
                    state="active",
                )
    if state.plans.version in given.policies:
        raise Conflict(
            "The addresses of the policy in force cannot be erased. Take them out of the configuration first.",
            state="in force",
        )
    erased = ev.PrivateErased(
        entries=runs_of(given.entries),
        basis=given.basis,
        alerts=tuple(sorted(state.alerts[id_].number for id_ in given.alerts if id_ in state.alerts)),
        notifications=given.notifications,
        because=f"{actor} had it erased",
    )
    draft = Draft(kind="erased", actor=actor, events=(erased,), private={"note": given.reason})
    return Step((draft,), "changed")


def retention(state: State, given: RetentionDue) -> Step:
    """Decide that what was kept for long enough goes; nothing, if any of it has come back to life meanwhile."""
    if any(number in state.incidents for number in (*given.about, *given.incidents)):
        return NOTHING
    because = "it was kept for long enough"
    events: list[ev.Decided] = []
    if given.entries:
        runs = runs_of(given.entries)
        events.append(ev.PrivateErased(entries=runs, basis=Basis.RETENTION, because=because))
    if given.incidents:
        events.append(ev.IncidentsPruned(incidents=runs_of(given.incidents), because=because))
    if not events:
        return NOTHING
    return Step((Draft(kind="retention", actor=SYSTEM, events=tuple(events)),), "changed")


def runs_of(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Write rising numbers as (first, last) of each run, both included."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return tuple(runs)
