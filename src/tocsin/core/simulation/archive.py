"""Archive: what a state has forgotten, kept in memory for whoever has no store to ask.

It is told everything that the state lets go, and gives it back when an entry or an input speaks of it again.
"""

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from tocsin.core.engine.state import (
    LOOKS_KEPT_FOR,
    LiveAlert,
    LiveDelivery,
    LiveIncident,
    State,
    dismiss,
    recall,
    recall_incident,
)
from tocsin.core.model.notification import DeliveryState

TOUCHED_KEPT = 1_000
"""So many records that nobody will ask for may wait in `touched` before they are dropped."""


class Archive:
    """What one state forgot.

    keeps_all: every alert, incident and ended delivery for ever, as a store has them; memory grows with the ledger.
    Without it memory is flat. An alert goes once its last look is 7 days old: nothing that is decided later depends on
    it then, and if it comes again it is a new one with another number. An incident is kept, with its alerts, only if
    its number is in `wanted`; of the others people may want nothing more once the state has forgotten them
    (`reopen_within` after their end), and whoever asks for one is told that it is not there. Ended deliveries are not
    kept.
    """

    def __init__(self, *, keeps_all: bool = False, wanted: Container[int] = ()) -> None:
        self._keeps_all = keeps_all
        self._wanted = wanted
        self.alerts: dict[bytes, LiveAlert] = {}
        self.incidents: dict[int, LiveIncident] = {}
        self.members: dict[int, dict[bytes, None]] = {}
        self._held: dict[bytes, None] = {}
        self._old: dict[bytes, LiveAlert] = {}
        self.deliveries: dict[int, tuple[LiveDelivery, DeliveryState]] = {}

    def joined(self, incident: int, ids: Iterable[bytes]) -> None:
        """Note who is in an incident that will be kept; for `wanted` ones and where all are kept."""
        joined = dict.fromkeys(ids)
        self.members.setdefault(incident, {}).update(joined)
        if not self._keeps_all:
            self._held.update(joined)

    def ended(self, state: State, delivery: int, how: DeliveryState) -> None:
        """Take over a delivery that has just ended."""
        if self._keeps_all:
            self.deliveries[delivery] = state.touched.ended[delivery], how

    def keeps(self, incident: int) -> bool:
        """Say whether an incident will be kept when it is forgotten."""
        return self._keeps_all or incident in self._wanted

    def follow(self, state: State) -> None:
        """Take over what the state forgot since it was last asked, and drop what nobody will ask for."""
        touched = state.touched
        if touched.forgotten_incidents:
            for number, incident in touched.forgotten_incidents.items():
                if self.keeps(number):
                    self.incidents[number] = incident
            touched.forgotten_incidents.clear()
        if touched.forgotten_alerts:
            for alert in touched.forgotten_alerts.values():
                self.alerts[alert.id] = alert
            touched.forgotten_alerts.clear()
            self._drop_old(state.at)
        if max(len(touched.incidents), len(touched.alerts), len(touched.ended)) > TOUCHED_KEPT:
            touched.incidents.clear()
            touched.alerts.clear()
            touched.ended.clear()

    def _drop_old(self, at: int) -> None:
        """Drop alerts whose looks count no more; those forgotten first stand first. Those of kept incidents stay."""
        if self._keeps_all:
            return
        old: list[LiveAlert] = []
        for alert in self.alerts.values():
            if at - alert.seen_at <= LOOKS_KEPT_FOR:
                break
            old.append(alert)
        for alert in old:
            del self.alerts[alert.id]
            if alert.id in self._held:
                self._old[alert.id] = alert

    def copy(self, wanted: dict[int, None]) -> "Archive":
        """Give the same archive once more, with nothing in common; `wanted` gets the numbers of what it holds."""
        copied = Archive(keeps_all=self._keeps_all, wanted=wanted)
        copied.alerts = _copied(self.alerts, dict[bytes, LiveAlert])
        copied.incidents = _copied(self.incidents, dict[int, LiveIncident])
        copied.members = {number: dict(members) for number, members in self.members.items()}
        copied._held = dict(self._held)
        copied._old = _copied(self._old, dict[bytes, LiveAlert])
        wanted.update(dict.fromkeys(self.members))
        return copied

    def give_alert(self, state: State, id_: bytes) -> LiveAlert | None:
        """Give an alert back to the state, which does not know it; None if it is not here."""
        alert = self._take(id_)
        if alert is not None:
            recall(state, alert)
        return alert

    def find_alert(self, id_: bytes) -> LiveAlert | None:
        """Look at an alert that is here."""
        return self.alerts.get(id_) or self._old.get(id_)

    def _take(self, id_: bytes) -> LiveAlert | None:
        return self.alerts.pop(id_, None) or self._old.pop(id_, None)

    def give_incident(self, state: State, number: int) -> bool:
        """Give an incident back to the state, with its alerts; False if it is not here."""
        incident = self.incidents.pop(number, None)
        if incident is None:
            return False
        members: list[LiveAlert] = []
        for id_ in self.members[number]:
            alert = state.alerts.get(id_) or self._take(id_)
            if alert is not None:
                members.append(alert)
        recall_incident(state, incident, sorted(members, key=lambda alert: alert.number))
        return True

    def take_back(self, state: State) -> None:
        """Take back the incidents that were given and of which nothing came."""
        for incident in dismiss(state):
            self.incidents[incident.number] = incident
        state.touched.recalled_incidents.clear()
        self.follow(state)


def _copied(value: Any, kind: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)
