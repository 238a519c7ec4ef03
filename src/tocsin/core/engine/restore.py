"""Restore: the state again, from what a store remembers; equal to the fold of the ledger that led to it."""

from collections.abc import Sequence
from typing import Protocol

from tocsin.core.engine.fold import add_maintenance, add_silence
from tocsin.core.engine.route import compile_policy
from tocsin.core.engine.state import (
    Counters,
    LiveAlert,
    LiveDelivery,
    LiveIncident,
    RateWindow,
    State,
    claim_key,
    plan_forgetting,
    plan_lease,
)
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence


class HeadLike(Protocol):
    """The part of a head that state needs."""

    @property
    def at(self) -> int: ...
    @property
    def counters(self) -> Counters: ...


class MemoryLike(Protocol):
    """What a store remembers; see `tocsin.ports.Memory`."""

    @property
    def head(self) -> HeadLike: ...
    @property
    def policies(self) -> Sequence[tuple[int, Policy]]: ...
    @property
    def incidents(self) -> Sequence[LiveIncident]: ...
    @property
    def alerts(self) -> Sequence[LiveAlert]: ...
    @property
    def deliveries(self) -> Sequence[LiveDelivery]: ...
    @property
    def rates(self) -> Sequence[tuple[str, RateWindow]]: ...
    @property
    def silences(self) -> Sequence[tuple[Silence, bool]]: ...
    @property
    def maintenances(self) -> Sequence[tuple[Maintenance, int]]: ...


def restore(memory: MemoryLike, id_key: bytes) -> State:
    """Build the state that decides on from here."""
    state = State(id_key=id_key)
    state.at = memory.head.at
    state.counters = memory.head.counters
    for version, policy in memory.policies:
        state.plans = state.policies[version] = compile_policy(policy, version)
    for incident in memory.incidents:
        state.incidents[incident.number] = incident
        state.members[incident.number] = []
        claim_key(state, incident)
    for alert in memory.alerts:
        state.alerts[alert.id] = alert
        alert.timer = 0
        for number in alert.incidents:
            state.members[number].append(alert)
        if alert.lease and alert.firing_in:
            plan_lease(state, alert)
    for rule_id, window in memory.rates:
        state.rates[rule_id] = window
        if window.digest_at:
            state.plan_timer(window.digest_at, "digest", rule_id)
    for silence, began in memory.silences:
        add_silence(state, silence, began=began)
    for maintenance, next_at in memory.maintenances:
        add_maintenance(state, maintenance, next_at)
    for delivery in memory.deliveries:
        state.deliveries[delivery.number] = delivery
    for incident in memory.incidents:
        if incident.flush_at:
            state.plan_timer(incident.flush_at, "flush", incident.number)
        if incident.ack_until:
            state.plan_timer(incident.ack_until, "ack", incident.number)
        if incident.silenced_until:
            state.plan_timer(incident.silenced_until, "unsilence", incident.number)
        if incident.state is IncidentState.RESOLVED:
            plan_forgetting(state, incident)
    return state
