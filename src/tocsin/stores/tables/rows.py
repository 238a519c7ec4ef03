"""Rows: which statements a batch becomes; one a table, so that a commit of 10,000 alerts runs a dozen of them.

An insert fails on a number that is there already, and with it the whole batch. Decides nothing, and reads only what
the summaries and the chains of members go on from.
"""

from collections.abc import Iterator
from typing import Any

from tocsin.core.engine.state import LiveIncident
from tocsin.core.model.alert import severity_rank
from tocsin.ports import Batch, DeliveryRow
from tocsin.stores.tables import erasing, summaries
from tocsin.stores.tables.asking import add, insert, put
from tocsin.stores.tables.chains import Chains
from tocsin.stores.tables.decoding import encode, encode_json
from tocsin.stores.tables.records import token_row
from tocsin.stores.tables.summaries import Ask, Rows

NEW_SEGMENT = insert("segments", "first_seq", "count", "root", "data")
NEW_TILE = insert("tiles", "level", "number", "hash")
NEW_SIGNER = insert("signers", "vkey", "adopted_seq")
NEW_ORIGIN = insert("origins", "seq", "origin")
NEW_ALERT = insert("alerts", "number", "id", "live", "body", "seen_at")
NEW_MEMBER = insert("members", "number", "alert", "before")
NEW_INCIDENT = insert(
    "incidents", "number", "id", "live", "state", "severity", "rule_id", "opened_at", "updated_at", "resolved_at",
    "title", "labels", "last_member", "body", "acked_at",
)  # fmt: skip
NEW_NOTIFICATION = insert("notifications", "number", "id", "incident", "kind", "at", "message")
NEW_DELIVERY = insert(
    "deliveries", "number", "notification", "incident", "kind", "channel", "key",
    "state", "attempts", "at", "due", "why", "body",
)  # fmt: skip
NEW_POLICY = insert("policies", "version", "digest", "body", "at", "actor")
KEEP_SECRET = insert("meta", "key", "value")
PUT_SECRET = put("meta", "key", "value")

PUT_LEASE = put("leases", "number", "repeats", "seen_at", "lease")
PUT_RATE = put("rates", "rule_id", "body")
PUT_ATTEMPT = put("attempts", "delivery, attempt", "at", "outcome", "why")
PUT_SILENCE = put("silences", "number", "began", "body", "ended_at")
PUT_MAINTENANCE = put("maintenances", "number", "next_at", "ended", "body")
PUT_CHECKPOINT = put("checkpoints", "size", "note")
PUT_EVALUATION = put("evaluations", "rule_id", "body")
TOKEN = (
    "name", "role", "hash", "created_at", "revoked_at", "scopes", "per_minute", "expires_at", "created_by",
)  # fmt: skip
NEW_TOKEN = insert("tokens", "id", *TOKEN)
PUT_TOKEN = put("tokens", "id", *TOKEN)


def statements(batch: Batch, chains: Chains, ask: Ask) -> Iterator[tuple[str, Rows]]:
    """Give the statements of a batch with their rows, which may be none.

    Each is to be run before the next one is taken: what `ask` answers may depend on it.
    """
    links, ends = chains.link(batch)
    if batch.segment is not None:
        one = batch.segment
        yield NEW_SEGMENT, [(one.first_seq, one.count, one.root, one.data)]
    if batch.tiles:
        yield NEW_TILE, list(batch.tiles)
    if batch.leases:
        yield (
            PUT_LEASE,
            [(a.number, a.repeats, a.seen_at, a.lease) for a in batch.leases],
        )
    if batch.alerts:
        yield from _alerts(batch)
        yield NEW_MEMBER, links
    if batch.incidents:
        yield from summaries.past_incidents(batch, ask)
        yield from _incidents(batch, ends)
    for incident in batch.incidents:
        ends.pop(incident.incident.number, None)
    if ends:
        yield "UPDATE incidents SET last_member = ?2 WHERE number = ?1", list(ends.items())
    if batch.notifications:
        yield (
            NEW_NOTIFICATION,
            [(n.number, n.id, n.incident, n.kind.value, n.at, n.message) for n in batch.notifications],
        )
    if batch.new_deliveries or batch.deliveries:
        yield from _deliveries(batch, ask)
    if batch.rates:
        yield PUT_RATE, [(rule, encode(w)) for rule, w in batch.rates]
    yield from _records(batch)
    yield from _proof(batch, ask)
    if batch.withheld:
        yield (
            add("withheld", "reason", "count"),
            [tuple(row) for row in batch.withheld],
        )
    head = batch.head
    yield (
        "UPDATE head SET size = ?, root = ?, edge = ?, at = ?, alive_at = ?, counters = ?",
        [(head.size, head.root, head.edge, head.at, head.alive_at, encode(head.counters))],
    )


def _records(batch: Batch) -> Iterator[tuple[str, Rows]]:
    """Give what operators do, which is rare."""
    if batch.attempts:
        yield (
            PUT_ATTEMPT,
            [(a.delivery, a.attempt, a.at, a.outcome, a.why) for a in batch.attempts],
        )
    if batch.silences:
        yield (
            PUT_SILENCE,
            [(silence.number, int(began), encode(silence), None) for silence, began in batch.silences],
        )
    if batch.ended_silences:
        yield (
            "UPDATE silences SET ended_at = ? WHERE number = ?",
            [(batch.head.at, number) for number in batch.ended_silences],
        )
    if batch.maintenances:
        yield (
            PUT_MAINTENANCE,
            [(one.number, next_at, 0, encode(one)) for one, next_at in batch.maintenances],
        )
    if batch.ended_maintenances:
        yield (
            "UPDATE maintenances SET ended = 1, next_at = 0 WHERE number = ?",
            [(number,) for number in batch.ended_maintenances],
        )
    if batch.policy is not None:
        one = batch.policy
        yield (
            NEW_POLICY,
            [(one.version, one.digest, encode_json(one.policy), one.at, one.actor)],
        )
    if batch.tokens:
        yield (
            NEW_TOKEN,
            [token_row(token) for token in batch.tokens],
        )
    if batch.revoked:
        yield (
            "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
            [(batch.head.at, id_) for id_ in batch.revoked],
        )


def _proof(batch: Batch, ask: Ask) -> Iterator[tuple[str, Rows]]:
    """Give what concerns the ledger itself."""
    if batch.signers:
        yield (
            NEW_SIGNER,
            [(one.vkey, one.adopted_seq) for one in batch.signers if one.adopted_seq is not None],
        )
        yield (
            "UPDATE signers SET retired_seq = ?2 WHERE vkey = ?1",
            [(one.vkey, one.retired_seq) for one in batch.signers if one.retired_seq is not None],
        )
    if batch.origins:
        yield NEW_ORIGIN, list(batch.origins)
    if batch.redacted is not None:
        yield from erasing.redaction(batch.redacted)
    if batch.pruned:
        yield from erasing.pruning(batch.pruned, ask)


def _alerts(batch: Batch) -> Iterator[tuple[str, Rows]]:
    yield (
        NEW_ALERT,
        [
            (r.alert.number, r.alert.id, int(r.live), encode(r.alert), 0 if r.live else r.alert.seen_at)
            for r in batch.alerts
            if r.is_new
        ],
    )
    yield (
        "UPDATE alerts SET live = ?2, body = ?3, seen_at = ?4 WHERE number = ?1",
        [
            (r.alert.number, int(r.live), encode(r.alert), 0 if r.live else r.alert.seen_at)
            for r in batch.alerts
            if not r.is_new
        ],
    )
    yield (  # an alert's own row knows all that its lease did, and what is not live has none
        "DELETE FROM leases WHERE number = ?",
        [(r.alert.number,) for r in batch.alerts if not r.live],
    )


def _incidents(batch: Batch, ends: dict[int, int]) -> Iterator[tuple[str, Rows]]:
    yield (
        NEW_INCIDENT,
        [
            (
                r.incident.number,
                r.incident.id,
                int(r.live),
                *_incident_columns(r.incident),
                r.title,
                encode_json(r.labels),
                ends.get(r.incident.number, 0),
                encode(r.incident),
                r.incident.acked_at,
            )
            for r in batch.incidents
            if r.title is not None
        ],
    )
    yield (
        "UPDATE incidents SET live = ?2, state = ?3, severity = ?4, rule_id = ?5, opened_at = ?6, updated_at = ?7, "
        "resolved_at = ?8, body = ?9, last_member = coalesce(?10, last_member), "
        "acked_at = ?11 WHERE number = ?1",
        [
            (
                r.incident.number,
                int(r.live),
                *_incident_columns(r.incident),
                encode(r.incident),
                ends.get(r.incident.number),
                r.incident.acked_at,
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


def _deliveries(batch: Batch, ask: Ask) -> Iterator[tuple[str, Rows]]:
    yield (
        NEW_DELIVERY,
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
    yield from summaries.deliveries(batch, ask)
    yield (
        "UPDATE deliveries SET state = ?2, attempts = ?3, at = ?4, due = ?5, why = ?6, body = ?7 WHERE number = ?1",
        [(r.delivery.number, *_delivery_columns(r)) for r in batch.deliveries],
    )


def _delivery_columns(row: DeliveryRow) -> tuple[Any, ...]:
    delivery = row.delivery
    return row.state.value, delivery.attempts, row.at, delivery.due, row.why, encode(delivery)
