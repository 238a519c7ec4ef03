"""Listing: pages of incidents and of deliveries, newest first, and how many there are in all.

What is live is scanned. What is not is found by an index and counted beforehand, unless it is asked for by its title
or its labels: then all of it is read, but a page no further than it needs.
"""

from string import ascii_uppercase
from typing import Any

from tocsin.core.model.alert import Severity, severity_rank
from tocsin.core.model.incident import IncidentState, IncidentView
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import DeliveryFilter, DeliveryView, IncidentFilter
from tocsin.stores.tables.asking import Asking, Part, Question, count, marks, newest
from tocsin.stores.tables.decoding import DELIVERY, INCIDENT, delivery_of, encode_json, incident_of
from tocsin.stores.tables.erasing import PRUNED

LIVE = "incidents INDEXED BY incidents_live"

_SMALL = {ord(letter): letter.lower() for letter in ascii_uppercase}
_LABEL = "(instr(labels, ?) > 0 OR instr(labels, ?) > 0)"
_TOTAL = "CAST(coalesce(sum(n), 0) AS BIGINT)"
_OF_RULE = "EXISTS (SELECT 1 FROM incidents i WHERE i.number = deliveries.incident AND i.rule_id = ?)"

Condition = tuple[str, tuple[Any, ...]]


class Listing(Asking):
    """Lists; see `tocsin.ports.Store`, as for every method here."""

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        parts = _incident_parts(wanted)
        rows, *counted = self._ask_all(
            newest(INCIDENT, "incidents", parts, after=wanted.after, limit=limit),
            *_incident_counts(wanted, parts),
        )
        return [incident_of(row) for row in rows], sum(n for ((n,),) in counted)

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> tuple[list[DeliveryView], int]:
        since = self._first_delivery(wanted.since) if wanted.since is not None else None
        until = self._first_delivery(wanted.until) if wanted.until is not None else None
        parts = _delivery_parts(wanted, since, until)
        rows, *counted = self._ask_all(
            newest(DELIVERY, "deliveries", parts, after=wanted.after, limit=limit),
            *_delivery_counts(wanted, parts),
        )
        return [delivery_of(row) for row in rows], sum(n for ((n,),) in counted)

    def _first_delivery(self, at: int) -> int:
        """Find the number from which on deliveries were decided at `at` or later. Both rise together."""
        low, high = 0, self._ask("SELECT coalesce(max(number), 0) + 1 FROM deliveries")[0][0]
        while low < high:
            middle = (low + high) // 2
            ((number, decided_at),) = self._ask(
                "SELECT d.number, n.at FROM deliveries d JOIN notifications n ON n.number = d.notification "
                "WHERE d.number >= ? ORDER BY d.number LIMIT 1",
                middle,
            ) or [(high, at)]
            if decided_at < at:
                low = number + 1
            else:
                high = middle
        return low


def _incident_parts(wanted: IncidentFilter) -> list[Part]:
    """Divide what is asked for into parts that are each quick to read from the end."""
    fits = _both(
        (wanted.severity is not None, "severity = ?", (_rank(wanted.severity),)),
        (wanted.rule_id is not None, "rule_id = ?", (wanted.rule_id,)),
        (wanted.since is not None, "opened_at >= ?", (wanted.since,)),
        (wanted.until is not None, "opened_at < ?", (wanted.until,)),
        (bool(wanted.text), "instr(lower(title), ?) > 0", (_lower(wanted.text),)),
        *[(True, _LABEL, _beginnings(*pair)) for pair in wanted.scope],
    )
    timed = wanted.since is not None or wanted.until is not None
    if not wanted.states and wanted.severity is None and wanted.rule_id is None and not timed:
        return [Part("incidents", *fits)]
    parts = [_part(LIVE, ("live = 1", ()), _states(wanted.states), fits)]
    if wanted.states and IncidentState.RESOLVED not in wanted.states:
        return parts
    past = "live = 0", ()
    if timed:
        return [*parts, _part("incidents INDEXED BY incidents_past_opened", past, fits)]
    by_rule, by_severity = (
        "incidents INDEXED BY incidents_past_rule",
        "incidents INDEXED BY incidents_past_severity",
    )
    if wanted.severity is not None:
        return [*parts, _part(by_severity if wanted.rule_id is None else by_rule, past, fits)]
    if wanted.rule_id is None and (wanted.text or wanted.scope):
        return [*parts, _part("incidents NOT INDEXED", past, fits)]
    index = by_severity if wanted.rule_id is None else by_rule
    return parts + [_part(index, past, ("severity = ?", (rank,)), fits) for rank in severity_rank.values()]


def _incident_counts(wanted: IncidentFilter, parts: list[Part]) -> list[Question]:
    """Ask how many fit: by counting the live and looking up the others, or by reading all."""
    if wanted.since is not None or wanted.until is not None or wanted.text or wanted.scope:
        return [count(part) for part in parts]
    cell = _both(
        (wanted.severity is not None, "severity = ?", (_rank(wanted.severity),)),
        (wanted.rule_id is not None, "rule_id = ?", (wanted.rule_id,)),
    )
    counts = [count(_part(LIVE, ("live = 1", ()), _states(wanted.states), cell))]
    if not wanted.states or IncidentState.RESOLVED in wanted.states:
        counts.append((f"SELECT {_TOTAL} FROM past_counts WHERE {cell[0]}", cell[1]))
    return counts


def _delivery_parts(wanted: DeliveryFilter, since: int | None, until: int | None) -> list[Part]:
    """As `_incident_parts`. since, until: the numbers to which the two moments come down."""
    fits = _both(
        (wanted.channel is not None, "channel = ?", (wanted.channel,)),
        (wanted.rule_id is not None, _OF_RULE, (wanted.rule_id,)),
        (since is not None, "number >= ?", (since,)),
        (until is not None, "number < ?", (until,)),
    )
    if wanted.incident is not None:
        of_one = "incident = ? AND incident > 0", (wanted.incident,)
        return [_part("deliveries INDEXED BY deliveries_of", of_one, _states(wanted.states), fits)]
    if not wanted.states:
        return [Part("deliveries", *fits)]
    return [
        _part("deliveries INDEXED BY deliveries_pending", ("state = 'pending'", ()), fits)
        if state is DeliveryState.PENDING
        else _part(
            "deliveries INDEXED BY deliveries_ended",
            ("state <> 'pending' AND state = ?", (state.value,)),
            fits,
        )
        for state in dict.fromkeys(wanted.states)
    ]


def _delivery_counts(wanted: DeliveryFilter, parts: list[Part]) -> list[Question]:
    if (wanted.channel, wanted.incident, wanted.rule_id, wanted.since, wanted.until) != (None,) * 5:
        return [count(part) for part in parts]
    where, bindings = _states(wanted.states)
    return [
        (
            f"SELECT {_TOTAL} FROM delivery_counts WHERE {where} AND state <> '{PRUNED}'",
            bindings,
        )
    ]


def _lower(text: str) -> str:
    """Write A to Z small, as the databases do, and nothing else."""
    return text.translate(_SMALL)


def _beginnings(key: str, value: str) -> tuple[bytes, bytes]:
    """Give what stands in an incident's labels if this is one of them, as the first one or as another.

    Inside of a string no quote follows a brace or a comma without a backslash, so neither stands anywhere else.
    """
    pair = encode_json({key: value})[1:-1]
    return b"{" + pair, b"," + pair


def _states(states: tuple[IncidentState, ...] | tuple[DeliveryState, ...]) -> Condition:
    return _both((bool(states), f"state IN ({marks(states)})", tuple(states)))


def _both(*conditions: tuple[bool, str, tuple[Any, ...]]) -> Condition:
    """Join the conditions that apply."""
    apply = [(where, bindings) for applies, where, bindings in conditions if applies]
    return " AND ".join(["TRUE", *[where for where, _ in apply]]), tuple(
        v for _, values in apply for v in values
    )


def _part(source: str, *conditions: Condition) -> Part:
    return Part(source, *_both(*[(True, where, bindings) for where, bindings in conditions]))


def _rank(severity: Severity | None) -> int | None:
    return severity_rank[severity] if severity is not None else None
