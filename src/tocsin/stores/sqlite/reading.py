"""Reading: the questions that anybody may ask of the embedded store, from any thread.

Knows the tables and no connection: `_ask_all` answers several questions from one and the same commit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import msgspec

from tocsin.core.engine.compose import view_of
from tocsin.core.engine.state import Counters, LiveAlert, LiveIncident
from tocsin.core.ledger.encoding import Segment, unpack
from tocsin.core.model.access import Role
from tocsin.core.model.alert import severity_rank
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import DeliveryState, Message, NotificationKind
from tocsin.ports import DeliveryView, Head, IncidentFilter, Token, number_of
from tocsin.stores.sqlite.chains import MEMBERS

Question = tuple[str, tuple[Any, ...]]

ENTRIES_AT_ONCE = 256
"""How many entries' worth of segments is read at a time; a larger segment is read alone."""

HEAD = "SELECT size, root, edge, at, alive_at, counters FROM head"

decode_alert = msgspec.msgpack.Decoder(LiveAlert).decode
decode_incident = msgspec.msgpack.Decoder(LiveIncident).decode
_counters = msgspec.msgpack.Decoder(Counters).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_message = msgspec.json.Decoder(Message).decode


class Reading(ABC):
    """The reading half of `tocsin.ports.Store`. All of it raises StoreFailed if the file cannot be read."""

    @abstractmethod
    def _ask_all(self, *questions: Question) -> list[list[Any]]:
        """Answer each question with its rows; all answers are from one commit. Raises: StoreFailed."""

    def _ask(self, sql: str, *bindings: Any) -> list[Any]:
        return self._ask_all((sql, bindings))[0]

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

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        where: list[str] = ["1"]
        bindings: list[Any] = []
        if wanted.states:
            where.append(f"state IN ({','.join('?' * len(wanted.states))})")
            bindings += [state.value for state in wanted.states]
        if wanted.severity is not None:
            where.append("severity = ?")
            bindings.append(severity_rank[wanted.severity])
        if wanted.rule_id is not None:
            where.append("rule_id = ?")
            bindings.append(wanted.rule_id)
        fits = " AND ".join(where)
        ((total,),), rows = self._ask_all(
            (f"SELECT count(*) FROM incidents WHERE {fits}", tuple(bindings)),
            (
                f"SELECT body, title, labels FROM incidents WHERE {fits} AND number < ? ORDER BY number DESC LIMIT ?",
                (*bindings, (1 << 62) if wanted.after is None else wanted.after, limit),
            ),
        )
        return [_view(row) for row in rows], total

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        number = number_of(id_or_number)
        for id_, body in self._ask("SELECT id, body FROM incidents WHERE number = ?", number):
            if id_or_number in (id_, str(number)):
                return decode_incident(body)
        return None

    def incident_view(self, number: int) -> IncidentView | None:
        rows = self._ask("SELECT body, title, labels FROM incidents WHERE number = ?", number)
        return _view(rows[0]) if rows else None

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        rows = self._ask("SELECT title, labels FROM incidents WHERE number = ?", number)
        return (rows[0][0], _labels(rows[0][1])) if rows else None

    def members(self, incident: int) -> list[LiveAlert]:
        rows = self._ask(MEMBERS, incident)
        return [decode_alert(body) for (body,) in rows]

    def message(self, notification: int) -> Message | None:
        rows = self._ask("SELECT message FROM notifications WHERE number = ?", notification)
        return _message(rows[0][0]) if rows else None

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        rows = self._ask(
            "SELECT number, key, channel, kind, state, attempts, at, due, why FROM deliveries "
            "WHERE incident = ? AND incident > 0 ORDER BY number",
            incident,
        )
        return [
            DeliveryView(
                number=number,
                key=key,
                channel=channel,
                kind=NotificationKind(kind),
                state=DeliveryState(state),
                attempts=attempts,
                at=at,
                due=due if state == DeliveryState.PENDING else None,
                why=why,
            )
            for number, key, channel, kind, state, attempts, at, due, why in rows
        ]

    def counts(self) -> dict[str, int]:
        states, reasons = self._ask_all(
            ("SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state", ()),
            ("SELECT reason, count FROM withheld ORDER BY reason", ()),
        )
        return {**dict(states), **{f"withheld:{reason}": count for reason, count in reasons}}

    # Secrets and tokens

    def secret(self, name: str) -> bytes | None:
        rows = self._ask("SELECT value FROM meta WHERE key = ?", f"secret:{name}")
        return rows[0][0] if rows else None

    def tokens(self) -> list[Token]:
        rows = self._ask(
            "SELECT id, name, role, hash, created_at, revoked_at FROM tokens ORDER BY created_at, id"
        )
        return [
            Token(id=i, name=n, role=Role(r), hash=h, created_at=c, revoked_at=v) for i, n, r, h, c, v in rows
        ]


def head_of(rows: list[Any]) -> Head:
    """Read the head from the answer to HEAD."""
    ((size, root, edge, at, alive_at, counters),) = rows
    return Head(size=size, root=root, edge=edge, at=at, alive_at=alive_at, counters=_counters(counters))


def _view(row: tuple[bytes, str, bytes]) -> IncidentView:
    body, title, labels = row
    return view_of(decode_incident(body), title, _labels(labels))
