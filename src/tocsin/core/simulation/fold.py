"""Fold: recorded entries become the state again. Pure: what the state forgets lies in an archive, not in a store.

The archive says how much of that it keeps, and so whether memory is flat.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from tocsin.core.engine.fold import apply
from tocsin.core.engine.restore import restore
from tocsin.core.engine.state import (
    Counters,
    LiveAlert,
    LiveDelivery,
    LiveIncident,
    RateWindow,
    State,
    begin,
)
from tocsin.core.ledger.encoding import Entry, Private
from tocsin.core.model import event as ev
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.core.simulation.archive import Archive

FOLD_KEY = bytes(32)
"""The key of a state that decides nothing: it only takes over the names that the entries give."""

KeyOf = Callable[[ev.IncidentOpened, Entry, State], str]
"""Gives an incident another key than the recorded one, 32 hex digits."""


class Fold:
    """A state, and the entries that led to it, one after the other.

    archive: what the state forgot; one that keeps all unless another is given.
    key_of: see `KeyOf`; None for the recorded keys.
    """

    def __init__(
        self, *, archive: Archive | None = None, key_of: KeyOf | None = None, id_key: bytes = FOLD_KEY
    ) -> None:
        self.state = State(id_key=id_key)
        self.archive = archive if archive is not None else Archive(keeps_all=True)
        self._key_of = key_of

    def take(self, entry: Entry) -> None:
        """Apply one entry; the next one in the ledger's order."""
        header, decision, private = entry
        state, archive, at = self.state, self.archive, header.at
        begin(state, at)
        archive.follow(state)
        number = incident_number(header.incident)
        recalled = number not in state.incidents and archive.give_incident(state, number)
        parts = parts_of(private)
        for event in decision.events:
            kind = type(event)
            if kind is ev.AlertFired:
                assert isinstance(event, ev.AlertFired)
                self._fired(event)
            elif kind is ev.IncidentOpened and self._key_of is not None:
                assert isinstance(event, ev.IncidentOpened)
                event = msgspec.structs.replace(event, key=self._key_of(event, entry, state))
            elif kind is ev.IncidentNoted and number not in state.incidents:
                continue  # A note on what the archive no longer has; nothing depends on it.
            apply(state, event, at, parts)
            if kind is ev.DeliveryEnded:
                assert isinstance(event, ev.DeliveryEnded)
                archive.ended(state, event.delivery, event.state)
        if recalled:
            archive.take_back(state)

    def _fired(self, event: ev.AlertFired) -> None:
        id_ = bytes.fromhex(event.id)
        if id_ not in self.state.alerts:
            self.archive.give_alert(self.state, id_)
        if self.archive.keeps(event.incident):
            self.archive.joined(event.incident, (id_,))


def incident_number(public_id: str | None) -> int:
    """Give the number that stands at the end of an incident's public id; 0 for None."""
    return int(public_id[24:], 16) if public_id else 0


def parts_of(private: Private | None) -> Mapping[str, Any]:
    """Give the parts of a private part that folding asks for, by name."""
    if private is None:
        return {}
    if private.alert is not None:
        return {"alert": private.alert}
    if private.silence is not None:
        return {"silence": private.silence}
    if private.maintenance is not None:
        return {"maintenance": private.maintenance}
    return {"addresses": private.addresses} if private.addresses else {}


class _Head(NamedTuple):
    at: int
    counters: Counters


class _Memory(NamedTuple):
    """See `restore.MemoryLike`."""

    head: _Head
    policies: list[tuple[int, Policy]]
    incidents: list[LiveIncident]
    alerts: list[LiveAlert]
    deliveries: list[LiveDelivery]
    rates: list[tuple[str, RateWindow]]
    silences: list[tuple[Silence, bool]]
    maintenances: list[tuple[Maintenance, int]]


def copy_of(state: State, *, id_key: bytes) -> State:
    """Build the same state again, with nothing in common, for somebody who decides on from here.

    id_key: what the names that it gives are made with.
    """
    memory = _Memory(
        head=_Head(state.at, _copied(state.counters, Counters)),
        policies=[(version, plans.policy) for version, plans in state.policies.items()],
        incidents=_copied(sorted(state.incidents.values(), key=_number), list[LiveIncident]),
        alerts=_copied(sorted(state.alerts.values(), key=_number), list[LiveAlert]),
        deliveries=_copied(sorted(state.deliveries.values(), key=_number), list[LiveDelivery]),
        rates=_copied(list(state.rates.items()), list[tuple[str, RateWindow]]),
        silences=[(live.silence, live.began) for live in state.silences.values()],
        maintenances=[(live.maintenance, live.next_at) for live in state.maintenances.values()],
    )
    return restore(memory, id_key)


def _copied(value: Any, kind: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)


def _number(record: LiveIncident | LiveAlert | LiveDelivery) -> int:
    return record.number
