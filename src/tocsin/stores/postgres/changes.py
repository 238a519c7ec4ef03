"""Changes: which rows a turn changed, as the other nodes are told, and what stands in them now.

A node that missed some turns reads the rows themselves, as one that starts does: so what it knows then is what is
stored, and it need not understand how it came to that.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tocsin.core.engine.state import LiveAlert
from tocsin.ports import Batch, Head, News
from tocsin.stores.tables.asking import GIVEN, numbers
from tocsin.stores.tables.decoding import (
    decode_alert,
    decode_delivery,
    decode_incident,
    decode_rate,
)
from tocsin.stores.tables.loading import Ask, maintenances, policies, renew, silences


class Changed(msgspec.Struct, array_like=True):
    """What one turn changed: numbers of rows, names of rules, and whether anything of the rest."""

    alerts: list[int] = []
    leases: list[int] = []
    incidents: list[int] = []
    deliveries: list[int] = []
    rates: list[str] = []
    policies: bool = False
    silences: bool = False
    maintenances: bool = False
    erased: bool = False
    tokens: bool = False


encode_changed = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Changed).decode


def changed_by(batch: Batch) -> Changed:
    """Say what a batch changes."""
    return Changed(
        alerts=[row.alert.number for row in batch.alerts],
        leases=[alert.number for alert in batch.leases],
        incidents=[row.incident.number for row in batch.incidents],
        deliveries=[row.delivery.number for row in (*batch.new_deliveries, *batch.deliveries)],
        rates=[rule_id for rule_id, _ in batch.rates],
        policies=batch.policy is not None,
        silences=bool(batch.silences or batch.ended_silences),
        maintenances=bool(batch.maintenances or batch.ended_maintenances),
        erased=batch.redacted is not None,
        tokens=bool(batch.tokens or batch.revoked),
    )


def news_of(bodies: Sequence[bytes], head: Head, ask: Ask) -> News:
    """Read what stands in the rows that some turns changed. bodies: of `changes`; head: as it is now."""
    turns = [_decode(body) for body in bodies]

    def plain(sql: str) -> list[Any]:
        return ask(sql, ())

    incidents = ask(
        f"SELECT number, live, body FROM incidents WHERE number IN {GIVEN} ORDER BY number",
        (_all(turn.incidents for turn in turns),),
    )
    alerts, gone_alerts = _alerts(turns, ask)
    deliveries = ask(
        f"SELECT number, state, body FROM deliveries WHERE number IN {GIVEN} ORDER BY number",
        (_all(turn.deliveries for turn in turns),),
    )
    rules = dict.fromkeys(rule for turn in turns for rule in turn.rates)
    has_silences = any(turn.silences for turn in turns)
    has_maintenances = any(turn.maintenances for turn in turns)
    return News(
        head=head,
        policies=policies(plain) if any(turn.policies for turn in turns) else (),
        incidents=[decode_incident(body) for _, live, body in incidents if live],
        gone_incidents=[number for number, live, _ in incidents if not live],
        alerts=alerts,
        gone_alerts=gone_alerts,
        deliveries=[decode_delivery(body) for _, state, body in deliveries if state == "pending"],
        ended=[number for number, state, _ in deliveries if state != "pending"],
        rates=[
            (rule, decode_rate(body))
            for rule in sorted(rules)
            for (body,) in ask("SELECT body FROM rates WHERE rule_id = ?", (rule,))
        ],
        silences=silences(plain) if has_silences else (),
        has_silences=has_silences,
        maintenances=maintenances(plain) if has_maintenances else (),
        has_maintenances=has_maintenances,
        erased=any(turn.erased for turn in turns),
        has_tokens=any(turn.tokens for turn in turns),
    )


def _alerts(turns: Sequence[Changed], ask: Ask) -> tuple[list[LiveAlert], list[bytes]]:
    """Give those that are live, with their leases, and the ids of the others."""
    alerts: list[LiveAlert] = []
    gone: list[bytes] = []
    for id_, live, body, repeats, seen_at, lease in ask(
        "SELECT a.id, a.live, a.body, l.repeats, l.seen_at, l.lease FROM alerts a "
        f"LEFT JOIN leases l ON l.number = a.number WHERE a.number IN {GIVEN} ORDER BY a.number",
        (_all(some for turn in turns for some in (turn.alerts, turn.leases)),),
    ):
        if not live:
            gone.append(id_)
            continue
        alert = decode_alert(body)
        if seen_at is not None:
            renew(alert, repeats, seen_at, lease)
        alerts.append(alert)
    return alerts, gone


def _all(given: Any) -> bytes:
    return numbers(sorted({number for some in given for number in some}))
