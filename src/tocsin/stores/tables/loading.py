"""Loading: all that state needs, in as little time and memory as may be; 100,000 incidents are nothing unusual."""

from collections.abc import Callable, Iterable, Sequence
from sys import intern
from typing import Any

from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports import Memory
from tocsin.stores.tables.asking import marks
from tocsin.stores.tables.decoding import (
    HEAD,
    decode_alert,
    decode_delivery,
    decode_incident,
    decode_maintenance,
    decode_policy,
    decode_rate,
    decode_silence,
    head_of,
)

IDS_AT_ONCE = 500

Ask = Callable[[str, tuple[Any, ...]], list[Any]]
Rows = Callable[[str], Iterable[Any]]
"""Runs a question without values, and gives its rows."""


def load(ask: Rows) -> Memory:
    """Read everything that is live; one question after the other, row by row.

    ask: runs a question and gives its rows. Raises: msgspec.MsgspecError for a body that cannot be read.
    """
    incidents = [
        _lean_incident(decode_incident(body))
        for (body,) in ask("SELECT body FROM incidents WHERE live = 1 ORDER BY number")
    ]
    alerts = [
        _lean_alert(decode_alert(body))
        for (body,) in ask("SELECT body FROM alerts WHERE live = 1 ORDER BY number")
    ]
    by_number: dict[int, LiveAlert] = {}
    for number, repeats, seen_at, lease in ask("SELECT number, repeats, seen_at, lease FROM leases"):
        if not by_number:
            by_number = {alert.number: alert for alert in alerts}
        alert = by_number.get(number)
        if alert is not None:
            renew(alert, repeats, seen_at, lease)
    return Memory(
        head=head_of([*ask(HEAD)]),
        policies=policies(ask),
        incidents=incidents,
        alerts=alerts,
        deliveries=[
            decode_delivery(body)
            for (body,) in ask("SELECT body FROM deliveries WHERE state = 'pending' ORDER BY number")
        ],
        rates=[
            (rule, decode_rate(body))
            for rule, body in ask("SELECT rule_id, body FROM rates ORDER BY rule_id")
        ],
        silences=silences(ask),
        maintenances=maintenances(ask),
    )


def policies(ask: Rows) -> list[tuple[int, Policy]]:
    """Read all versions of the policy, in order."""
    return [
        (version, decode_policy(body))
        for version, body in ask("SELECT version, body FROM policies ORDER BY version")
    ]


def silences(ask: Rows) -> list[tuple[Silence, bool]]:
    """Read the silences that have not ended, and whether each began."""
    return [
        (decode_silence(body), bool(began))
        for body, began in ask("SELECT body, began FROM silences WHERE ended_at IS NULL ORDER BY number")
    ]


def maintenances(ask: Rows) -> list[tuple[Maintenance, int]]:
    """Read the maintenances with windows to come, and when each opens next."""
    return [
        (decode_maintenance(body), next_at)
        for body, next_at in ask("SELECT body, next_at FROM maintenances WHERE ended = 0 ORDER BY number")
    ]


def renew(alert: LiveAlert, repeats: int, seen_at: int, lease: int) -> None:
    """Merge a row of `leases` into its alert, unless the alert's own row is younger."""
    if seen_at > alert.seen_at:
        alert.repeats, alert.seen_at, alert.lease = repeats, seen_at, lease


def recall(ask: Ask, ids: Sequence[bytes]) -> list[LiveAlert]:
    """See `tocsin.ports.Store.recall`."""
    found: list[LiveAlert] = []
    if not ask("SELECT 1 FROM alerts INDEXED BY alerts_past WHERE live = 0 LIMIT 1", ()):
        return found
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = tuple(ids[start : start + IDS_AT_ONCE])
        found += [
            decode_alert(body)
            for (body,) in ask(f"SELECT body FROM alerts WHERE live = 0 AND id IN ({marks(some)})", some)
        ]
    return sorted(found, key=lambda alert: alert.number)


def leases(ask: Ask, alerts: Sequence[int]) -> dict[int, int]:
    """See `tocsin.ports.Store.leases`."""
    found: dict[int, int] = {}
    for start in range(0, len(alerts), IDS_AT_ONCE):
        some = tuple(alerts[start : start + IDS_AT_ONCE])
        rows = ask(
            "SELECT l.number, l.lease, l.seen_at, a.body FROM leases l JOIN alerts a USING (number) "
            f"WHERE l.number IN ({marks(some)}) ORDER BY l.number",
            some,
        )
        found.update((n, lease) for n, lease, seen_at, body in rows if seen_at > decode_alert(body).seen_at)
    return found


def _lean_alert(alert: LiveAlert) -> LiveAlert:
    """Share what many alerts have in common; decoding made a copy for each."""
    alert.rule_id = intern(alert.rule_id)
    alert.source = intern(alert.source)
    if alert.firing_in == alert.incidents:
        alert.firing_in = alert.incidents
    return alert


def _lean_incident(incident: LiveIncident) -> LiveIncident:
    """As `_lean_alert`."""
    incident.rule_id = intern(incident.rule_id)
    incident.route = intern(incident.route)
    opened_at, change = incident.opened_at, incident.fire_change
    if incident.updated_at == opened_at:
        incident.updated_at = opened_at
    for told in incident.told:
        told.target = intern(told.target)
        if told.at == opened_at:
            told.at = opened_at
        if told.change == change:
            told.change = change
    return incident
