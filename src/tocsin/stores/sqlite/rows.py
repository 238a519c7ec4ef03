"""Rows: which statements a batch becomes; one a table, so that a commit of 10,000 alerts runs a dozen of them.

An insert fails on a number that is there already, and with it the whole batch. Reads nothing, decides nothing.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tocsin.core.engine.state import LiveIncident
from tocsin.core.model.alert import severity_rank
from tocsin.ports import Batch, DeliveryRow
from tocsin.stores.sqlite.chains import Chains

Rows = list[tuple[Any, ...]]

encode = msgspec.msgpack.Encoder().encode
"""What state knows of a thing, as its column `body` holds it."""

encode_json = msgspec.json.Encoder(order="sorted").encode
"""What people may want to read with the sqlite3 shell."""


def statements(batch: Batch, chains: Chains) -> Iterator[tuple[str, Rows]]:
    """Give the statements of a batch with their rows, which may be none."""
    links, ends = chains.link(batch)
    if batch.segment is not None:
        one = batch.segment
        yield "INSERT INTO segments VALUES (?, ?, ?, ?)", [(one.first_seq, one.count, one.root, one.data)]
    if batch.leases:
        yield (
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
            [(a.number, a.repeats, a.seen_at, a.lease) for a in batch.leases],
        )
    if batch.alerts:
        yield from _alerts(batch)
        yield "INSERT INTO members VALUES (?, ?, ?)", links
    if batch.incidents:
        yield from _incidents(batch, ends)
    for incident in batch.incidents:
        ends.pop(incident.incident.number, None)
    if ends:
        yield "UPDATE incidents SET last_member = ?2 WHERE number = ?1", list(ends.items())
    if batch.notifications:
        yield (
            "INSERT INTO notifications VALUES (?, ?, ?, ?, ?, ?)",
            [(n.number, n.id, n.incident, n.kind.value, n.at, n.message) for n in batch.notifications],
        )
    if batch.new_deliveries or batch.deliveries:
        yield from _deliveries(batch)
    if batch.rates:
        yield "INSERT OR REPLACE INTO rates VALUES (?, ?)", [(rule, encode(w)) for rule, w in batch.rates]
    if batch.silences:
        yield (
            "INSERT OR REPLACE INTO silences VALUES (?, ?, 0, ?)",
            [(silence.number, began, encode(silence)) for silence, began in batch.silences],
        )
    if batch.ended_silences:
        yield "UPDATE silences SET ended = 1 WHERE number = ?", [(number,) for number in batch.ended_silences]
    if batch.policy is not None:
        version, digest, policy = batch.policy
        yield "INSERT INTO policies VALUES (?, ?, ?)", [(version, digest, encode_json(policy))]
    if batch.withheld:
        yield (
            "INSERT INTO withheld VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count",
            [tuple(row) for row in batch.withheld],
        )
    head = batch.head
    yield (
        "UPDATE head SET size = ?, root = ?, edge = ?, at = ?, alive_at = ?, counters = ?",
        [(head.size, head.root, head.edge, head.at, head.alive_at, encode(head.counters))],
    )


def _alerts(batch: Batch) -> Iterator[tuple[str, Rows]]:
    yield (
        "INSERT INTO alerts VALUES (?, ?, ?, ?)",
        [(r.alert.number, r.alert.id, r.live, encode(r.alert)) for r in batch.alerts if r.is_new],
    )
    yield (
        "UPDATE alerts SET live = ?2, body = ?3 WHERE number = ?1",
        [(r.alert.number, r.live, encode(r.alert)) for r in batch.alerts if not r.is_new],
    )
    yield (  # an alert's own row knows all that its lease did, and what is not live has none
        "DELETE FROM leases WHERE number = ?",
        [(r.alert.number,) for r in batch.alerts if not r.live],
    )


def _incidents(batch: Batch, ends: dict[int, int]) -> Iterator[tuple[str, Rows]]:
    yield (
        "INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                r.incident.number,
                r.incident.id,
                r.live,
                *_incident_columns(r.incident),
                r.title,
                encode_json(r.labels),
                ends.get(r.incident.number, 0),
                encode(r.incident),
            )
            for r in batch.incidents
            if r.title is not None
        ],
    )
    yield (
        "UPDATE incidents SET live = ?2, state = ?3, severity = ?4, rule_id = ?5, opened_at = ?6, updated_at = ?7, "
        "resolved_at = ?8, body = ?9, last_member = coalesce(?10, last_member) WHERE number = ?1",
        [
            (
                r.incident.number,
                r.live,
                *_incident_columns(r.incident),
                encode(r.incident),
                ends.get(r.incident.number),
            )
            for r in batch.incidents
            if r.title is None
        ],
    )


def _incident_columns(incident: LiveIncident) -> tuple[Any, ...]:
    return (
        incident.state.value,
        severity_rank[incident.severity],
        incident.rule_id,
        incident.opened_at,
        incident.updated_at,
        incident.resolved_at,
    )


def _deliveries(batch: Batch) -> Iterator[tuple[str, Rows]]:
    yield (
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                r.delivery.number,
                r.delivery.notification,
                r.delivery.incident,
                r.delivery.kind.value,
                r.delivery.channel,
                r.delivery.key,
                *_delivery_columns(r),
            )
            for r in batch.new_deliveries
        ],
    )
    yield (
        "UPDATE deliveries SET state = ?2, attempts = ?3, at = ?4, due = ?5, why = ?6, body = ?7 WHERE number = ?1",
        [(r.delivery.number, *_delivery_columns(r)) for r in batch.deliveries],
    )


def _delivery_columns(row: DeliveryRow) -> tuple[Any, ...]:
    delivery = row.delivery
    return row.state.value, delivery.attempts, row.at, delivery.due, row.why, encode(delivery)
