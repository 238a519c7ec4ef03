"""Reading: the questions that anybody may ask of the embedded store, from any thread. Here: one thing at a time."""

from collections.abc import Iterator

from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import Message
from tocsin.ports import Attempt, DeliveryRow, DeliveryView, Head, number_of
from tocsin.stores.tables.chains import MEMBERS
from tocsin.stores.tables.counting import Counting
from tocsin.stores.tables.decoding import (
    DELIVERY,
    HEAD,
    INCIDENT,
    decode_alert,
    decode_incident,
    decode_labels,
    decode_message,
    delivery_of,
    delivery_row_of,
    head_of,
    incident_of,
)
from tocsin.stores.tables.listing import Listing
from tocsin.stores.tables.records import Records

ENTRIES_AT_ONCE = 256
"""How many entries' worth of segments is read at a time; a larger segment is read alone."""
ALERTS_AT_ONCE = 500


class Reading(Listing, Counting, Records):
    """The reading half of `tocsin.ports.Store`."""

    # The ledger

    def head(self) -> Head:
        """See `tocsin.ports.Store`, as for every method here."""
        return head_of(self._ask(HEAD))

    def segments(self, first_seq: int = 0) -> Iterator[Segment]:
        held = self._ask("SELECT max(first_seq) FROM segments WHERE first_seq <= ?", first_seq)[0][0]
        after = -1 if held is None else held - 1
        while rows := self._ask(
            "SELECT first_seq, count, root, data FROM segments WHERE first_seq > ?1 AND first_seq < "
            "(SELECT min(first_seq) FROM segments WHERE first_seq > ?1) + ?2 ORDER BY first_seq",
            after,
            ENTRIES_AT_ONCE,
        ):
            for first, count, root, data in rows:
                yield Segment(first_seq=first, count=count, root=root, data=data)
                after = first

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        rows = self._ask(
            "SELECT first_seq, data FROM segments WHERE first_seq <= ?1 AND first_seq + count > ?1 "
            "ORDER BY first_seq DESC LIMIT 1",
            seq,
        )
        for first, data in rows:
            for position, entry in enumerate(unpack(data), first):
                if position == seq:
                    return entry
        return None

    # Incidents and what belongs to them

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        number = number_of(id_or_number)
        for id_, body in self._ask("SELECT id, body FROM incidents WHERE number = ?", number):
            if id_or_number in (id_, str(number)):
                return decode_incident(body)
        return None

    def incident_view(self, number: int) -> IncidentView | None:
        rows = self._ask(f"SELECT {INCIDENT} FROM incidents WHERE number = ?", number)
        return incident_of(rows[0]) if rows else None

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        rows = self._ask("SELECT title, labels FROM incidents WHERE number = ?", number)
        return (rows[0][0], decode_labels(rows[0][1])) if rows else None

    def is_live(self, incident: int) -> bool:
        return bool(self._ask("SELECT 1 FROM incidents WHERE number = ? AND live = 1", incident))

    def resolved_before(self, before: int, limit: int) -> list[int]:
        rows = self._ask(
            "SELECT number FROM incidents NOT INDEXED WHERE live = 0 AND resolved_at < ? ORDER BY number LIMIT ?",
            before,
            limit,
        )
        return [number for (number,) in rows]

    def members(self, incident: int) -> list[LiveAlert]:
        rows = self._ask(MEMBERS, incident)
        return [decode_alert(body) for (body,) in rows]

    def alerts_seen(self, since: int) -> Iterator[LiveAlert]:
        """Give them page by page, each page from another commit; one that leaves meanwhile is given once."""
        given: set[int] = set()
        number = 0
        while rows := self._ask(
            "SELECT number, body FROM alerts INDEXED BY alerts_live WHERE live = 1 AND number > ? "
            "ORDER BY number LIMIT ?",
            number,
            ALERTS_AT_ONCE,
        ):
            for number, body in rows:
                given.add(number)
                yield decode_alert(body)
        last = (since, 0)
        while rows := self._ask(
            "SELECT seen_at, number, body FROM alerts INDEXED BY alerts_past_seen "
            "WHERE live = 0 AND (seen_at, number) > (?, ?) ORDER BY seen_at, number LIMIT ?",
            *last,
            ALERTS_AT_ONCE,
        ):
            for seen_at, number, body in rows:
                last = seen_at, number
                if number not in given:
                    yield decode_alert(body)

    def message(self, notification: int) -> Message | None:
        rows = self._ask("SELECT message FROM notifications WHERE number = ?", notification)
        return decode_message(rows[0][0]) if rows else None

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        rows = self._ask(
            f"SELECT {DELIVERY} FROM deliveries WHERE incident = ? AND incident > 0 ORDER BY number", incident
        )
        return [delivery_of(row) for row in rows]

    def delivery(self, number: int) -> DeliveryRow | None:
        rows = self._ask(f"SELECT {DELIVERY} FROM deliveries WHERE number = ?", number)
        return delivery_row_of(rows[0]) if rows else None

    def delivery_view(self, number: int) -> DeliveryView | None:
        rows = self._ask(f"SELECT {DELIVERY} FROM deliveries WHERE number = ?", number)
        return delivery_of(rows[0]) if rows else None

    def attempts_of(self, delivery: int) -> list[Attempt]:
        rows = self._ask(
            "SELECT attempt, at, outcome, why FROM attempts WHERE delivery = ? ORDER BY attempt", delivery
        )
        return [
            Attempt(delivery=delivery, attempt=attempt, at=at, outcome=outcome, why=why)
            for attempt, at, outcome, why in rows
        ]
