"""Rows: what the memory store keeps of each thing, as bytes or frozen values, and how people are shown it."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from tocsin.core.engine.compose import view_of
from tocsin.core.engine.state import LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState, Message
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import (
    DeliveryRow,
    DeliveryView,
    Head,
    IncidentFilter,
    IncidentRow,
    PolicyRow,
    SilenceView,
)

Row = TypeVar("Row")

encode = msgspec.msgpack.Encoder().encode
encode_json = msgspec.json.Encoder(order="sorted").encode
decode_alert = msgspec.msgpack.Decoder(LiveAlert).decode
decode_incident = msgspec.msgpack.Decoder(LiveIncident).decode
decode_delivery = msgspec.msgpack.Decoder(LiveDelivery).decode
decode_rate = msgspec.msgpack.Decoder(RateWindow).decode
decode_silence = msgspec.msgpack.Decoder(Silence).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_maintenance = msgspec.msgpack.Decoder(Maintenance).decode
decode_policy = msgspec.msgpack.Decoder(PolicyRow).decode
decode_labels = msgspec.json.Decoder(dict[str, str]).decode
decode_message = msgspec.json.Decoder(Message).decode


class KeptAlert(msgspec.Struct, frozen=True):
    id: bytes
    live: bool
    seen_at: int
    body: bytes


class KeptIncident(msgspec.Struct, frozen=True):
    id: str
    live: bool
    state: IncidentState
    severity: Severity
    rule_id: str
    opened_at: int
    acked_at: int
    resolved_at: int
    title: str
    labels: bytes
    body: bytes


class KeptDelivery(msgspec.Struct, frozen=True):
    incident: int
    notification: int
    channel: str
    state: DeliveryState
    at: int
    why: str
    body: bytes


class KeptSilence(msgspec.Struct, frozen=True):
    began: bool
    ended_at: int | None
    body: bytes


class KeptMaintenance(msgspec.Struct, frozen=True):
    next_at: int
    is_over: bool
    body: bytes


class KeptLease(msgspec.Struct, frozen=True):
    repeats: int
    seen_at: int
    lease: int


def kept_alert(alert: LiveAlert, live: bool) -> KeptAlert:
    """Keep an alert."""
    return KeptAlert(bytes(alert.id), live, alert.seen_at, encode(alert))


def kept_opening(row: IncidentRow) -> KeptIncident:
    """Keep an incident that was not there, with its title and labels."""
    assert row.title is not None
    return kept_incident(row, row.incident.id, row.title, encode_json(row.labels))


def kept_incident(row: IncidentRow, id_: str, title: str, labels: bytes) -> KeptIncident:
    """Keep an incident as it is now."""
    incident = row.incident
    return KeptIncident(
        id_,
        row.live,
        incident.state,
        incident.severity,
        incident.rule_id,
        incident.opened_at,
        incident.acked_at,
        incident.resolved_at,
        title,
        labels,
        encode(incident),
    )


def kept_delivery(row: DeliveryRow) -> KeptDelivery:
    """Keep a delivery as it stands."""
    one = row.delivery
    return KeptDelivery(one.incident, one.notification, one.channel, row.state, row.at, row.why, encode(one))


def delivery_row_of(row: KeptDelivery) -> DeliveryRow:
    """Give a delivery as it stands."""
    return DeliveryRow(delivery=decode_delivery(row.body), state=row.state, at=row.at, why=row.why)


def shown_delivery(row: KeptDelivery) -> DeliveryView:
    """Show a delivery."""
    return DeliveryView.of(delivery_row_of(row))


def shown_incident(row: KeptIncident) -> IncidentView:
    """Show an incident."""
    return view_of(decode_incident(row.body), row.title, decode_labels(row.labels))


def fits(row: KeptIncident, wanted: IncidentFilter) -> bool:
    """Say whether an incident is asked for; `after` is left aside."""
    labels = decode_labels(row.labels) if wanted.scope else {}
    return (
        (not wanted.states or row.state in wanted.states)
        and (wanted.severity is None or row.severity is wanted.severity)
        and (wanted.rule_id is None or row.rule_id == wanted.rule_id)
        and (wanted.since is None or row.opened_at >= wanted.since)
        and (wanted.until is None or row.opened_at < wanted.until)
        and all(labels.get(name) == value for name, value in wanted.scope)
        and wanted.text.encode().lower() in row.title.encode().lower()  # Of bytes, `lower` knows A to Z.
    )


def page_of(rows: Mapping[int, Row], after: int | None, limit: int) -> tuple[list[Row], int]:
    """Give the newest rows below `after`, and how many there are in all."""
    below = [number for number in sorted(rows, reverse=True) if after is None or number < after]
    return [rows[number] for number in below[:limit]], len(rows)


def shown_silence(row: KeptSilence) -> SilenceView:
    """Show a silence."""
    return SilenceView(silence=decode_silence(row.body), began=row.began, ended_at=row.ended_at)
