"""Decoding: from columns to what the ports speak of, and the bytes of bodies."""

from typing import Any

import msgspec

from tocsin.core.engine.compose import view_of
from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import DeliveryState, Message
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import DeliveryRow, DeliveryView, Head

encode = msgspec.msgpack.Encoder().encode
"""What state knows of a thing, as its column `body` holds it."""

encode_json = msgspec.json.Encoder(order="sorted").encode
"""What people may want to read with the sqlite3 shell."""

decode_alert = msgspec.msgpack.Decoder(LiveAlert).decode
decode_incident = msgspec.msgpack.Decoder(LiveIncident).decode
decode_delivery = msgspec.msgpack.Decoder(LiveDelivery).decode
decode_rate = msgspec.msgpack.Decoder(RateWindow).decode
decode_silence = msgspec.msgpack.Decoder(Silence).decode
decode_maintenance = msgspec.msgpack.Decoder(Maintenance).decode
decode_policy = msgspec.json.Decoder(Policy).decode
decode_labels = msgspec.json.Decoder(dict[str, str]).decode
decode_message = msgspec.json.Decoder(Message).decode
_counters = msgspec.msgpack.Decoder(Counters).decode

HEAD = "SELECT size, root, edge, at, alive_at, counters FROM head"
INCIDENT = "body, title, labels"
DELIVERY = "body, state, at, why"


def head_of(rows: list[Any]) -> Head:
    """Read the head from the answer to HEAD."""
    ((size, root, edge, at, alive_at, counters),) = rows
    return Head(size=size, root=root, edge=edge, at=at, alive_at=alive_at, counters=_counters(counters))


def incident_of(row: tuple[bytes, str, bytes]) -> IncidentView:
    """Read an incident from the columns INCIDENT."""
    body, title, labels = row
    return view_of(decode_incident(body), title, decode_labels(labels))


def delivery_row_of(row: tuple[bytes, str, int, str]) -> DeliveryRow:
    """Read a delivery from the columns DELIVERY."""
    body, state, at, why = row
    return DeliveryRow(delivery=decode_delivery(body), state=DeliveryState(state), at=at, why=why)


def delivery_of(row: tuple[bytes, str, int, str]) -> DeliveryView:
    """Read a delivery from the columns DELIVERY, as people are shown it."""
    return DeliveryView.of(delivery_row_of(row))
