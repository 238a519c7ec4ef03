"""Replaying: reads a ledger again, entry by entry, into an empty store.

What stands in its tables then is what the ledger says; whether the live tables say the same is for a comparison.

Nothing is decided: events are folded as they were recorded, and become rows as they did when they were written.
"""

from collections.abc import Sequence

from tocsin.core.engine import compose
from tocsin.core.engine.fold import apply
from tocsin.core.engine.state import LiveAlert, State, Touched, begin, recall, recall_incident
from tocsin.core.ledger.encoding import Entry, Sealed, Segment, read_entry, unpack
from tocsin.core.ledger.merkle import Frontier, hash_leaf
from tocsin.core.model import event as ev
from tocsin.core.model.entry import Draft
from tocsin.ports import Store, number_of
from tocsin.runtime.projection import Projection
from tocsin.runtime.texts import Texts


class Replay:
    """Fills an empty store from segments, in order. size: entries so far.

    incomplete: numbers of notifications whose words cannot be known any more, because an alert's text was erased.
    incidents_before, notifications_before: up to these numbers, titles and words are of another wording than today's.
    origins: (seq, name) of what the ledger is called from which entry on, in order; notifications carry it.
    """

    def __init__(self, store: Store, *, origins: Sequence[tuple[int, str]]) -> None:
        self._store = store
        self._origins = origins
        self._texts = Texts(store)
        self._state = State(id_key=bytes(32))
        self._edge = Frontier()
        self._texts_in_force = 0
        self.incomplete: list[int] = []
        self.incidents_before = self.notifications_before = 0

    @property
    def size(self) -> int:
        return self._edge.size

    def take(self, segment: Segment) -> None:
        """Read a segment, and commit what it says. Its hashes are not checked; `verify` does that.

        Raises: ValueError or msgspec.MsgspecError if it cannot be read, StoreFailed.
        """
        parts = list(unpack(segment.data))
        entries = [read_entry(*one) for one in parts]
        at = entries[0].header.at
        state = self._state
        begin(state, at)
        edge = self._edge.copy()
        rows = Projection(
            state,
            self._store,
            self._texts,
            first=segment.first_seq,
            at=at,
            origin=self._origin(segment.first_seq + segment.count),
            record=self._edge.short() if entries[0].header.v > 1 else "",
        )
        for entry, (header, decision, private) in zip(entries, parts, strict=True):
            self._apply(entry, rows)
            leaf = hash_leaf(header)
            rows.entries.append(Sealed(header, decision, private, leaf))
            edge.append(leaf)
        self._commit(rows, edge)

    def end(self, at: int) -> None:
        """Move on to the moment at which the live tables were last written, for what is forgotten until then."""
        state = self._state
        begin(state, at)
        rows = Projection(
            state, self._store, self._texts, first=self.size, at=at, origin=self._origin(self.size), record=""
        )
        self._commit(rows, self._edge.copy())

    def _origin(self, size: int) -> str:
        """Say what the ledger was called when it had so many entries, "" if it has none."""
        return next((name for seq, name in reversed(self._origins) if seq < size), "")

    def _commit(self, rows: Projection, edge: Frontier) -> None:
        self.incomplete += rows.incomplete
        if self._texts_in_force != compose.TEXTS:
            counters = self._state.counters
            self.incidents_before, self.notifications_before = counters.incident, counters.notification
        batch = rows.batch(edge, {})
        if batch is not None:
            self._store.commit(batch)
        self._state.touched = Touched()
        self._edge = edge

    def _apply(self, entry: Entry, rows: Projection) -> None:
        header = entry.header
        state = self._state
        incident = number_of(header.incident) if header.incident is not None else None
        events = entry.decision.events
        private = entry.private.named() if entry.private is not None else {}
        draft = Draft(
            kind=header.kind, actor=header.actor, events=events, incident=incident or 0, private=private
        )
        if incident is not None and incident not in state.incidents:
            self._recall_incident(incident)
        for event in events:
            if isinstance(event, ev.AlertFired):
                self._recall_alert(bytes.fromhex(event.id))
            if isinstance(event, ev.NodeStarted):
                self._texts_in_force = event.texts
            apply(state, event, header.at, private)
        rows.follow(draft, header.seq)
        if incident is not None:
            live = state.incidents[incident]
            state.touched.incidents[incident] = live
            live.entries += 1
            live.last_seq = header.seq

    def _recall_incident(self, number: int) -> None:
        """Take back an incident that was forgotten, as whoever wrote the entry did."""
        touched = self._state.touched
        incident = touched.forgotten_incidents.get(number) or self._store.find_incident(str(number))
        if incident is not None:  # Else this entry opens it.
            gone = touched.forgotten_alerts
            members = [gone.get(alert.number, alert) for alert in self._store.members(number)]
            recall_incident(self._state, incident, members)

    def _recall_alert(self, id_: bytes) -> None:
        if id_ in self._state.alerts:
            return
        gone = self._state.touched.forgotten_alerts.values()
        found: list[LiveAlert] = [alert for alert in gone if alert.id == id_] or self._store.recall([id_])
        for alert in found:
            recall(self._state, alert)
