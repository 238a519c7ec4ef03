"""Lifecycle: the table of moves between OPEN, ACK, SILENCED and RESOLVED, and nothing beside it."""

from collections.abc import Sequence

from tocsin.core.engine.state import LiveIncident, State
from tocsin.core.engine.suppress import covering
from tocsin.core.model import event as ev
from tocsin.core.model.errors import Conflict, Invalid
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Acted, Action

OPEN, ACK, SILENCED, RESOLVED = IncidentState

SAME = "same"
"""Asked for what is so already: answered with success, changes nothing."""

TABLE: dict[IncidentState, dict[Action, IncidentState | str]] = {
    OPEN: {Action.ACK: ACK, Action.SILENCE: SILENCED, Action.RESOLVE: RESOLVED},
    ACK: {Action.ACK: SAME, Action.UNACK: OPEN, Action.SILENCE: SILENCED, Action.RESOLVE: RESOLVED},
    SILENCED: {Action.ACK: ACK, Action.SILENCE: SILENCED, Action.UNSILENCE: OPEN, Action.RESOLVE: RESOLVED},
    RESOLVED: {Action.RESOLVE: SAME, Action.REOPEN: OPEN},
}
"""state -> action -> next state. What is missing is a conflict. A note is welcome in every state."""


def act(state: State, incident: LiveIncident, acted: Acted, *, actor: str, at: int) -> tuple[ev.Decided, ...]:
    """Decide what a person's action does; () if it is so already.

    Raises: Conflict if the table has no such move; Invalid for a silence that has ended already.
    """
    number = incident.number
    if acted.action is Action.NOTE:
        return (ev.IncidentNoted(incident=number, because=f"{actor} wrote a note"),)
    moves = TABLE[incident.state]
    move = moves.get(acted.action)
    if move is None:
        raise refused(number, incident.state, acted.action, covering(state.members[number]))
    if move is SAME:
        # Nothing changes; but what somebody wrote down is not thrown away for that.
        return (ev.IncidentNoted(incident=number, because=f"{actor} wrote a note"),) if acted.note else ()
    because = f"{actor} asked for {acted.action!s} while it was {incident.state}"
    match acted.action:
        case Action.ACK:
            timeout = state.plan(incident).ack_timeout
            until = at + timeout if timeout else 0
            return (
                ev.IncidentAcknowledged(incident=number, by=actor, until=until, because=because),
                # Acknowledging a silenced incident ends its silence; a rise of severity under it is then told.
                *((_look_again(number, at),) if incident.state is SILENCED else ()),
            )
        case Action.UNACK:
            return (ev.IncidentUnacknowledged(incident=number, because=because), _look_again(number, at))
        case Action.SILENCE:
            if 0 < acted.until <= at:
                raise past("until")
            return (ev.IncidentSilenced(incident=number, until=acted.until, because=because),)
        case Action.UNSILENCE:
            return (ev.IncidentUnsilenced(incident=number, because=because), _look_again(number, at))
        case Action.RESOLVE:
            return (
                ev.IncidentResolved(
                    incident=number, change=state.counters.change + 1, auto=False, because=because
                ),
                _look_again(number, at),
            )
        case Action.REOPEN:
            newer = state.by_key.get(incident.key, incident)
            if newer is not incident:
                raise Conflict(
                    f"Incident #{number} cannot be reopened: #{newer.number} has taken its place. Reopen that one.",
                    state=incident.state,
                    possible=(Action.RESOLVE, Action.NOTE),
                )
            return (reopened(state, incident, because), _look_again(number, at))


def possible(state: IncidentState) -> tuple[Action, ...]:
    """Give what a person may do in this state."""
    return (*TABLE[state], Action.NOTE)


def changes_the_past(action: Action, note: str) -> bool:
    """Say whether an action changes an incident that is resolved, so that it must be known even if it is long over."""
    return action in (Action.REOPEN, Action.NOTE) or (action is Action.RESOLVE and bool(note))


def refused(number: int, state: IncidentState, action: Action, silenced_by: Sequence[int] = ()) -> Conflict:
    """Say that the table has no such move, and which ones it has.

    silenced_by: numbers of the silences that cover its alerts, which are what somebody means to end.
    """
    moves = possible(state)
    said = f"Incident #{number} is {state}, so it cannot take {action!s}. Possible now: {', '.join(moves)}."
    if action is Action.UNSILENCE and silenced_by:
        names = [f"S{silence}" for silence in silenced_by]
        covers = "Silence {} covers" if len(names) == 1 else "Silences {} cover"
        said += f" {covers.format(listed(names))} it: tocsin unsilence {' '.join(names)}."
    return Conflict(said, state=state, possible=moves)


def past(field: str) -> Invalid:
    """Say that a silence would be over before it began."""
    return Invalid(
        "That end lies in the past, so the silence would do nothing. Give one in the future.", field=field
    )


def listed(names: Sequence[str]) -> str:
    """Write names in a row: `S1, S2 and S3`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def reopened(state: State, incident: LiveIncident, because: str) -> ev.IncidentReopened:
    """Open a resolved incident again, one generation later."""
    return ev.IncidentReopened(
        incident=incident.number,
        generation=incident.generation + 1,
        change=state.counters.change + 1,
        because=because,
    )


def lapsed(incident: LiveIncident, kind: str, at: int) -> tuple[ev.Decided, ...]:
    """Decide what a timer of kind `ack` or `unsilence` does; () if it is out of date."""
    number = incident.number
    if kind == "ack" and incident.state is ACK and 0 < incident.ack_until <= at:
        because = f"the acknowledgement by {incident.acked_by} lapsed"
        return (ev.IncidentUnacknowledged(incident=number, because=because), _look_again(number, at))
    if kind == "unsilence" and incident.state is SILENCED and 0 < incident.silenced_until <= at:
        return (
            ev.IncidentUnsilenced(incident=number, because="its silence ran out"),
            _look_again(number, at),
        )
    return ()


def _look_again(number: int, at: int) -> ev.FlushPlanned:
    return ev.FlushPlanned(incident=number, due=at, because="its state changed")
