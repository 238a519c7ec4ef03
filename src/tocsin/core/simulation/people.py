"""People: what people did in the record, done again to whatever stands for it in a branch.

An action on an incident goes to the incidents that hold its alerts, of the same route if there are any; silences and
maintenances are known by their numbers. What finds nothing there, or cannot be taken there, is counted.
"""

from collections.abc import Callable
from typing import assert_never

from tocsin.core.engine.state import LiveIncident
from tocsin.core.model import event as ev
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import (
    Acted,
    Action,
    Input,
    MaintenanceCut,
    MaintenanceRequested,
    SilenceCut,
    SilenceMoved,
    SilenceRequested,
)
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.core.simulation.branch import Branch
from tocsin.core.simulation.course import Opening

ACTIONS: dict[type, Action] = {
    ev.IncidentAcknowledged: Action.ACK,
    ev.IncidentUnacknowledged: Action.UNACK,
    ev.IncidentSilenced: Action.SILENCE,
    ev.IncidentUnsilenced: Action.UNSILENCE,
    ev.IncidentResolved: Action.RESOLVE,
    ev.IncidentReopened: Action.REOPEN,
}
"""What an event says that somebody did. A note changes nothing, so none is written again."""


class People:
    """Does in one branch what people did in the record.

    nothing: how often there was nothing to do it to; conflicts: how often it could not be taken.
    """

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._silences: dict[int, int] = {}
        self._made: dict[int, int] = {}
        self._maintenances: dict[int, int] = {}
        self._known = branch.state.counters.silence, branch.state.counters.maintenance
        self.nothing = self.conflicts = 0

    def act(self, did: ev.Decided, recorded: Opening, twin: Opening | None, at: int, actor: str) -> None:
        """Do to an incident's counterparts what somebody did to it.

        twin: the opening in this branch that began as the recorded one did, if there is one.
        """
        self._branch.move_to(at)
        action = ACTIONS[type(did)]
        until = did.until if isinstance(did, ev.IncidentSilenced) else 0
        numbers = self._counterparts(recorded, twin, is_over=action is Action.REOPEN)
        if not numbers:
            self.nothing += 1
            return
        refused = 0
        for number in numbers:
            recalled = number not in self._branch.state.incidents
            if recalled:
                self._branch.archive.give_incident(self._branch.state, number)
            refused += not self._take(Acted(action=action, incident=number, until=until), at, actor)
            if recalled:
                self._branch.archive.take_back(self._branch.state)
        if refused == len(numbers):
            self.conflicts += 1

    def _take(self, given: Input, at: int, actor: str) -> bool:
        try:
            self._branch.take(given, at, actor)
        except TocsinError:
            return False
        return True

    def _counterparts(self, recorded: Opening, twin: Opening | None, *, is_over: bool) -> list[int]:
        """Find the incidents that hold its alerts: for each alert the twin, or the one that opened nearest in time."""
        state, archive = self._branch.state, self._branch.archive
        found: dict[int, None] = {}
        for id_ in recorded.alerts:
            key = bytes.fromhex(id_)
            live = state.alerts.get(key)
            numbers = live.incidents if live is not None else ()
            candidates = [state.incidents[number] for number in numbers]
            if is_over:
                candidates += [
                    one for number, one in archive.incidents.items() if key in archive.members[number]
                ]
            fits = [one for one in candidates if (one.state is IncidentState.RESOLVED) is is_over]
            fits = fits or candidates
            fits = [one for one in fits if one.route == recorded.route] or fits
            if twin is not None:
                fits = [one for one in fits if one.number == twin.number] or fits
            if fits:
                found[min(fits, key=_distance(recorded.opened_at)).number] = None
        return list(found)

    # Silences

    def silence(self, number: int, wanted: Silence, at: int, actor: str) -> None:
        """Ask for the silence that somebody asked for."""
        asked = SilenceRequested(
            matchers=wanted.matchers,
            starts_at=wanted.starts_at,
            ends_at=wanted.ends_at,
            comment=wanted.comment,
            forced=True,
        )
        if self._take(asked, at, actor):
            self._silences[number] = self._branch.state.counters.silence
        else:
            self.conflicts += 1

    def maintain(self, number: int, wanted: Maintenance, at: int, actor: str) -> None:
        """Ask for the maintenance that somebody asked for."""
        asked = MaintenanceRequested(
            matchers=wanted.matchers,
            rrule=wanted.rrule,
            zone=wanted.zone,
            begins=wanted.begins,
            lasting=wanted.lasting,
            comment=wanted.comment,
            forced=True,
        )
        if self._take(asked, at, actor):
            self._maintenances[number] = self._branch.state.counters.maintenance
        else:
            self.conflicts += 1

    def made(self, silence: int, maintenance: int) -> None:
        """Note that the record has a silence which a maintenance made."""
        self._made[silence] = maintenance

    def change(
        self, did: ev.SilenceMoved | ev.SilenceEnded | ev.MaintenanceEnded, at: int, actor: str
    ) -> None:
        """Move or end what somebody moved or ended."""
        given: Input
        match did:
            case ev.SilenceMoved(silence=silence, ends_at=ends_at):
                given = SilenceMoved(silence=self._silence(silence), ends_at=ends_at)
            case ev.SilenceEnded(silence=silence):
                given = SilenceCut(silence=self._silence(silence))
                self._silences.pop(silence, None)
            case ev.MaintenanceEnded(maintenance=maintenance):
                given = MaintenanceCut(maintenance=self._maintenance(maintenance))
            case _:
                assert_never(did)
        if not self._take(given, at, actor):
            self.nothing += 1

    def _silence(self, recorded: int) -> int:
        """Find the silence that stands for a recorded one; 0 if there is none."""
        number = self._silences.get(recorded, 0)
        if number:
            return number
        if recorded in self._made:
            made_by = self._maintenance(self._made[recorded])
            for live in self._branch.state.silences.values():
                if live.silence.maintenance == made_by:
                    number = live.silence.number
            return number
        return recorded if recorded <= self._known[0] else 0

    def _maintenance(self, recorded: int) -> int:
        number = self._maintenances.get(recorded, 0)
        return number or (recorded if recorded <= self._known[1] else 0)


def _distance(opened_at: int) -> Callable[[LiveIncident], tuple[int, int]]:
    """Order incidents by how near they opened to a moment, of two the newer one first."""
    return lambda incident: (abs(incident.opened_at - opened_at), -incident.number)
