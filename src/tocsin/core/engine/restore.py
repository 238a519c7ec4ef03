"""Restore: the state again, from what a store remembers; equal to the fold of the ledger that led to it.

Or the state as another node left it: from what changed in the store since this one last looked.
"""

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


class NewsLike(MemoryLike, Protocol):
    """What others changed in the store; see `tocsin.ports.News`."""

    @property
    def gone_incidents(self) -> Sequence[int]: ...
    @property
    def gone_alerts(self) -> Sequence[bytes]: ...
    @property
    def ended(self) -> Sequence[int]: ...
    @property
    def has_silences(self) -> bool: ...
    @property
    def has_maintenances(self) -> bool: ...


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
        _plan_incident(state, incident)
    return state


def _plan_incident(state: State, incident: LiveIncident, known: LiveIncident | None = None) -> None:
    """Plan the timers of an incident. known: how it was before, with timers that are planned already."""
    if incident.flush_at and (known is None or incident.flush_at != known.flush_at):
        state.plan_timer(incident.flush_at, "flush", incident.number)
    if incident.ack_until and (known is None or incident.ack_until != known.ack_until):
        state.plan_timer(incident.ack_until, "ack", incident.number)
    if incident.silenced_until and (known is None or incident.silenced_until != known.silenced_until):
        state.plan_timer(incident.silenced_until, "unsilence", incident.number)
    if incident.state is IncidentState.RESOLVED:
        plan_forgetting(state, incident)


def catch_up(state: State, news: NewsLike) -> None:
    """Take over what others decided since this state last knew everything; then it is as if it had decided that itself.

    What this state did and did not commit is only that it forgot something: where others knew better, that is undone.
    """
    state.at = max(state.at, news.head.at)
    state.counters = news.head.counters
    state.past_deliveries.clear()
    for version, policy in news.policies:
        if version not in state.policies:
            state.plans = state.policies[version] = compile_policy(policy, version)
    for number in news.gone_incidents:
        _drop_incident(state, number)
    for incident in news.incidents:
        _take_incident(state, incident)
    for id_ in news.gone_alerts:
        _drop_alert(state, id_)
    for alert in news.alerts:
        _take_alert(state, alert)
    for rule_id, window in news.rates:
        before = state.rates.get(rule_id)
        state.rates[rule_id] = window
        state.touched.rates.pop(rule_id, None)
        if window.digest_at and (before is None or window.digest_at != before.digest_at):
            state.plan_timer(window.digest_at, "digest", rule_id)
    if news.has_silences:
        state.silences.clear()
        for silence, began in news.silences:
            add_silence(state, silence, began=began)
    if news.has_maintenances:
        state.maintenances.clear()
        for maintenance, next_at in news.maintenances:
            add_maintenance(state, maintenance, next_at)
    for number in news.ended:
        state.deliveries.pop(number, None)
    for delivery in news.deliveries:
        state.deliveries[delivery.number] = delivery


def _untouch_incident(state: State, number: int) -> None:
    touched = state.touched
    for changed in (touched.incidents, touched.forgotten_incidents, touched.recalled_incidents):
        changed.pop(number, None)


def _drop_incident(state: State, number: int) -> None:
    _untouch_incident(state, number)
    incident = state.incidents.pop(number, None)
    if incident is not None:
        if state.by_key.get(incident.key) is incident:
            del state.by_key[incident.key]
        for alert in state.members.pop(number):
            alert.incidents = tuple(other for other in alert.incidents if other != number)


def _take_incident(state: State, given: LiveIncident) -> None:
    number = given.number
    _untouch_incident(state, number)
    incident = state.incidents.get(number)
    _plan_incident(state, given, incident)
    if incident is None:
        incident = state.incidents[number] = given
        state.members[number] = []
    else:
        _copy(given, incident)
    claim_key(state, incident)


def _drop_alert(state: State, id_: bytes) -> None:
    alert = state.alerts.pop(id_, None)
    state.touched.alerts.pop(id_, None)
    if alert is not None:
        state.touched.forgotten_alerts.pop(alert.number, None)
        for number in alert.incidents:
            if number in state.members:
                state.members[number].remove(alert)


def _take_alert(state: State, given: LiveAlert) -> None:
    state.touched.alerts.pop(given.id, None)
    state.touched.forgotten_alerts.pop(given.number, None)
    alert = state.alerts.get(given.id)
    before: tuple[int, ...] = ()
    if alert is None:
        alert = state.alerts[given.id] = given
        alert.timer = 0
    else:
        before, timer = alert.incidents, alert.timer
        _copy(given, alert)
        alert.timer = timer
    for number in before:
        if number not in alert.incidents and number in state.members:
            state.members[number].remove(alert)
    for number in alert.incidents:
        if number not in before:
            state.members[number].append(alert)
    if alert.lease and alert.firing_in and (not alert.timer or alert.lease < alert.timer):
        plan_lease(state, alert)


def _copy(given: LiveIncident | LiveAlert, known: LiveIncident | LiveAlert) -> None:
    """Let a record that others hold on to say what another one says."""
    for name in given.__struct_fields__:
        setattr(known, name, getattr(given, name))
