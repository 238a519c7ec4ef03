"""Fold: how each event changes the state; the only way in which decisions do.

One function an event. Nothing is decided here: what a function needs to know, the event says.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tocsin.core.engine.route import compile_policy, matcher_test, matches_all
from tocsin.core.engine.state import (
    LOOK,
    LOOKS_KEPT,
    STATUS_CODE,
    LiveAlert,
    LiveDelivery,
    LiveIncident,
    LiveMaintenance,
    LiveSilence,
    RateWindow,
    State,
    Told,
    claim_key,
    plan_forgetting,
    renew,
    told_for,
)
from tocsin.core.model import event as ev
from tocsin.core.model.alert import CANONICAL, Alert, Severity, Status, severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, NotificationKind, Withheld
from tocsin.core.model.policy import with_addresses
from tocsin.core.model.silence import ERASED, Maintenance, Silence


def apply(state: State, event: ev.Decided, at: int, private: Mapping[str, Any]) -> None:
    """Fold one event into the state.

    private: the entry's private part, decoded: `alert`, `silence`, `maintenance` or `addresses` for the events that
    bring one. Each may be missing (privacy law): what follows is decided without it, and what was decided stands.
    """
    _APPLY[type(event)](state, event, at, private)


def _told(incident: LiveIncident, target: str) -> Told:
    told = told_for(incident, target)
    if told is None:
        told = Told(target=target)
        incident.told = (*incident.told, told)
    return told


def _touch(state: State, incident: LiveIncident, at: int) -> None:
    incident.updated_at = at
    state.touched.incidents[incident.number] = incident


def _tell(alert: LiveAlert, told_us: Alert) -> None:
    """Take from an alert what its number does not say; its scope too, if that was erased."""
    alert.source = told_us.source
    if not alert.scope:
        alert.scope = CANONICAL.encode(told_us.scope)


def _look(state: State, alert: LiveAlert, start: int, end: int, status: Status, at: int) -> None:
    """Remember a look for deduplication (the oldest of 17 is dropped) and start counting repeats anew."""
    look = LOOK.pack(start, end, STATUS_CODE[status], at)
    if not (alert.seen_at == at and alert.looks.endswith(look)):  # the same look in a second incident
        alert.looks = (alert.looks + look)[-LOOKS_KEPT * LOOK.size :]
    alert.repeats = 0
    alert.seen_at = at
    state.touched.alerts[alert.id] = alert


def _raise_severity(incident: LiveIncident, severity: Severity) -> None:
    if severity_rank[severity] > severity_rank[incident.severity]:
        incident.severity = severity


def is_louder(severity: Severity, incident: LiveIncident) -> bool:
    """Say whether people hear of a higher severity than before if an alert of this one is not silenced."""
    return severity_rank[severity] > severity_rank[incident.audible]


def _cover(state: State, alert: LiveAlert, silenced_by: tuple[int, ...]) -> None:
    """Note which silences cover an alert, and count that in its incidents."""
    step = bool(silenced_by) - bool(alert.silenced_by)
    alert.silenced_by = silenced_by
    if step:
        for number in alert.incidents:
            incident = state.incidents[number]
            incident.silenced += step
            if number in alert.firing_in:
                incident.silenced_firing += step
            state.touched.incidents[number] = incident


def _uncovered(state: State, alert: LiveAlert, change: int) -> None:
    """An alert is no longer silenced: what was hidden about it is news now, and nothing counts as withheld."""
    for number in alert.incidents:
        incident = state.incidents[number]
        if number in alert.firing_in:
            if alert.untold or is_louder(alert.severity, incident):
                incident.fire_change = change
            if is_louder(alert.severity, incident):
                incident.audible = alert.severity
        elif alert.untold:
            incident.clear_change = change
        for told in incident.told:
            told.withheld = 0
        if incident.state is IncidentState.RESOLVED:
            plan_forgetting(state, incident)
        state.touched.incidents[number] = incident
    if alert.untold and alert.firing_in:
        alert.fired = change
    alert.untold = False


def _everybody_knows(state: State, alert: LiveAlert) -> bool:
    """Say whether all who are told about the alert's incidents know already that it fires."""
    for number in alert.firing_in:
        incident = state.incidents[number]
        for target in state.plan(incident).targets:
            told = told_for(incident, target.id)
            if target.id in state.plans.targets and (told is None or told.change < alert.fired):
                return False
    return True


def _incident_opened(state: State, e: ev.IncidentOpened, at: int, private: Mapping[str, Any]) -> None:
    incident = LiveIncident(
        number=e.incident,
        id=e.id,
        key=bytes.fromhex(e.key),
        route=e.route,
        policy=e.policy,
        opened_at=at,
        previous=e.previous,
    )
    state.incidents[e.incident] = incident
    state.members[e.incident] = []
    state.by_key[incident.key] = incident
    state.counters.incident = e.incident
    _touch(state, incident, at)


def _incident_reopened(state: State, e: ev.IncidentReopened, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.state = IncidentState.OPEN
    incident.generation = e.generation
    incident.opened_at = at
    claim_key(state, incident)
    incident.resolved_at = incident.flushed_at = incident.acked_at = 0
    incident.acked_by = ""
    incident.auto_resolved = False
    incident.greens = 0
    incident.severity = incident.audible = Severity.INFO
    for member in state.members[e.incident]:
        if e.incident in member.firing_in:
            _raise_severity(incident, member.severity)
            if not member.silenced_by and is_louder(member.severity, incident):
                incident.audible = member.severity
    if incident.firing > incident.silenced_firing:
        incident.fire_change = e.change
    elif incident.firing:
        incident.muted_change = e.change
    state.counters.change = e.change
    _touch(state, incident, at)


def _alert_fired(state: State, e: ev.AlertFired, at: int, private: Mapping[str, Any]) -> None:
    id_ = bytes.fromhex(e.id)
    alert = state.alerts.get(id_)
    incident = state.incidents[e.incident]
    told_us: Alert | None = private.get("alert")
    if alert is None:
        alert = state.alerts[id_] = LiveAlert(
            number=e.alert,
            id=id_,
            rule_id=e.rule_id,
            severity=e.severity,
            source="",
            scope=b"",
        )
        state.counters.alert = max(state.counters.alert, e.alert)
    if told_us is not None:
        _tell(alert, told_us)
    if e.silenced_by or alert.silenced_by:
        was_silenced = bool(alert.silenced_by)
        _cover(state, alert, e.silenced_by)
        if was_silenced and not e.silenced_by:
            _uncovered(state, alert, e.change)
    if e.incident not in alert.incidents:
        alert.incidents = (*alert.incidents, e.incident)
        state.members[e.incident].append(alert)
        incident.silenced += bool(e.silenced_by)
    else:
        incident.cleared -= 1
    alert.firing_in = alert.incidents if len(alert.incidents) == 1 else (*alert.firing_in, e.incident)
    alert.severity = e.severity
    alert.greens = 0
    alert.fired = e.change
    alert.expires_after = e.expires_after
    alert.untold = bool(e.silenced_by)
    incident.firing += 1
    incident.rule_id = e.rule_id
    if e.silenced_by:
        incident.silenced_firing += 1
        incident.muted_change = e.change
    else:
        incident.fire_change = e.change
        if is_louder(e.severity, incident):
            incident.audible = e.severity
    _raise_severity(incident, e.severity)
    state.counters.change = e.change
    _look(state, alert, e.window_start, e.window_end, Status.FIRING, at)
    renew(state, alert, e.ends_at, at)
    _touch(state, incident, at)


def _alert_seen(state: State, e: ev.AlertSeen, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    alert = state.alerts[bytes.fromhex(e.id)]
    alert.severity = e.severity
    alert.greens = 0
    told_us: Alert | None = private.get("alert")
    if told_us is not None:
        _tell(alert, told_us)
    if e.change:
        incident.rule_id = alert.rule_id
        _raise_severity(incident, e.severity)
        state.counters.change = e.change
        if e.silenced_by is not None and e.silenced_by != alert.silenced_by:
            was_silenced = bool(alert.silenced_by)
            if not was_silenced:
                alert.untold = not _everybody_knows(state, alert)
            _cover(state, alert, e.silenced_by)
            if was_silenced and not e.silenced_by:
                _uncovered(state, alert, e.change)
        if is_louder(e.severity, incident):
            if alert.silenced_by:
                incident.muted_change = e.change
            else:
                incident.audible = e.severity
                incident.fire_change = e.change
    _look(state, alert, e.window_start, e.window_end, Status.FIRING, at)
    renew(state, alert, e.ends_at, at)
    _touch(state, incident, at)


def _alert_green(state: State, e: ev.AlertGreen, at: int, private: Mapping[str, Any]) -> None:
    alert = state.alerts[bytes.fromhex(e.id)]
    alert.greens = e.greens
    _look(state, alert, e.window_start, e.window_end, Status.GREEN, at)
    _touch(state, state.incidents[e.incident], at)


def _alert_cleared(state: State, e: ev.AlertCleared, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    alert = state.alerts[bytes.fromhex(e.id)]
    alert.firing_in = tuple(number for number in alert.firing_in if number != e.incident)
    incident.firing -= 1
    incident.cleared += 1
    if alert.silenced_by:
        incident.silenced_firing -= 1
        if not alert.untold:
            incident.muted_change = e.change
    else:
        incident.clear_change = e.change
    state.counters.change = e.change
    if e.status is not None:
        _look(state, alert, e.window_start, e.window_end, e.status, at)
    if not alert.firing_in:
        alert.lease = alert.greens = 0
        # Whoever was told that it fires must hear that it cleared; if nobody was, there is nothing left to say.
        alert.untold = bool(alert.silenced_by) and not alert.untold
    if incident.state is IncidentState.RESOLVED:
        plan_forgetting(state, incident)
    state.touched.alerts[alert.id] = alert
    _touch(state, incident, at)


def _incident_resolved(state: State, e: ev.IncidentResolved, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.state = IncidentState.RESOLVED
    incident.resolved_at = at
    incident.auto_resolved = e.auto
    incident.greens = e.greens
    incident.silenced_until = incident.ack_until = 0
    incident.clear_change = e.change
    state.counters.change = e.change
    plan_forgetting(state, incident)
    _touch(state, incident, at)


def _incident_acknowledged(
    state: State, e: ev.IncidentAcknowledged, at: int, private: Mapping[str, Any]
) -> None:
    incident = state.incidents[e.incident]
    if incident.state is IncidentState.SILENCED:
        for told in incident.told:
            told.withheld = 0
    incident.state = IncidentState.ACK
    incident.acked_by = e.by
    incident.acked_at = incident.acked_at or at
    incident.ack_until = e.until
    incident.silenced_until = 0
    if e.until:
        state.plan_timer(e.until, "ack", e.incident)
    _touch(state, incident, at)


def _incident_unacknowledged(
    state: State, e: ev.IncidentUnacknowledged, at: int, private: Mapping[str, Any]
) -> None:
    incident = state.incidents[e.incident]
    incident.state = IncidentState.OPEN
    incident.acked_by = ""
    incident.ack_until = 0
    _touch(state, incident, at)


def _incident_silenced(state: State, e: ev.IncidentSilenced, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.state = IncidentState.SILENCED
    incident.silenced_until = e.until
    incident.acked_by = ""
    incident.ack_until = 0
    if e.until:
        state.plan_timer(e.until, "unsilence", e.incident)
    _touch(state, incident, at)


def _incident_unsilenced(state: State, e: ev.IncidentUnsilenced, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.state = IncidentState.OPEN
    incident.silenced_until = 0
    for told in incident.told:
        told.withheld = 0
    _touch(state, incident, at)


def _incident_noted(state: State, e: ev.IncidentNoted, at: int, private: Mapping[str, Any]) -> None:
    _touch(state, state.incidents[e.incident], at)


def _flush_planned(state: State, e: ev.FlushPlanned, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.flush_at = e.due
    state.plan_timer(e.due, "flush", e.incident)
    state.touched.incidents[e.incident] = incident


def _flushed(state: State, e: ev.Flushed, at: int, private: Mapping[str, Any]) -> None:
    incident = state.incidents[e.incident]
    incident.flushed_at = at
    incident.flush_at = e.next
    if e.next:
        state.plan_timer(e.next, "flush", e.incident)
    state.touched.incidents[e.incident] = incident


def _notified(state: State, e: ev.Notified, at: int, private: Mapping[str, Any]) -> None:
    state.counters.notification = e.notification
    state.counters.intents += len(e.deliveries)
    incident = state.incidents.get(e.incident)
    tells = incident is not None and e.kind is not NotificationKind.META
    for new in e.deliveries:
        state.counters.delivery = new.delivery
        state.deliveries[new.delivery] = LiveDelivery(
            number=new.delivery,
            notification=e.notification,
            incident=e.incident,
            kind=e.kind,
            severity=e.severity,
            channel=new.channel,
            target=new.target,
            key=new.key,
            first_at=new.since or at,
            due=at,
            dry_run=e.dry_run,
        )
        if tells:
            assert incident is not None
            told = _told(incident, new.target)
            told.change = e.change
            told.severity = e.severity
            told.resolved = e.kind is NotificationKind.RESOLVED
            told.at = at
            told.generation = incident.generation
            told.withheld = 0
            if e.kind is not NotificationKind.MANUAL or not told.delivery:
                told.delivery = new.delivery  # What somebody sends by hand waits for nobody in the line.
    if incident is not None:
        state.touched.incidents[e.incident] = incident
    if e.charged:
        window = _rate(state, e.charged)
        limit = state.plans.policy.rate_limit
        since = at - limit.window if limit else at
        window.times = [time for time in window.times if time > since]
        window.times.append(at)
    if e.kind is NotificationKind.DIGEST:
        window = _rate(state, e.rule_id)
        window.withheld = window.digest_at = 0
        window.owed, window.incidents = [], []
        window.severity = Severity.INFO
        window.digested_at = at


def _rate(state: State, rule_id: str) -> RateWindow:
    window = state.rates.get(rule_id)
    if window is None:
        window = state.rates[rule_id] = RateWindow()
    state.touched.rates[rule_id] = window
    return window


def _notification_withheld(
    state: State, e: ev.NotificationWithheld, at: int, private: Mapping[str, Any]
) -> None:
    state.counters.intents += len(e.targets)
    incident = state.incidents[e.incident]
    for target in e.targets:
        told = _told(incident, target)
        told.withheld = e.change
        told.withheld_at = at
    state.touched.incidents[e.incident] = incident
    if e.reason is Withheld.RATE_LIMITED:
        window = _rate(state, e.rule_id)
        window.withheld += 1
        window.owed.extend(target for target in e.targets if target not in window.owed)
        if e.incident not in window.incidents and len(window.incidents) < 50:
            window.incidents.append(e.incident)
        if severity_rank[e.severity] > severity_rank[window.severity]:
            window.severity = e.severity


def _digest_planned(state: State, e: ev.DigestPlanned, at: int, private: Mapping[str, Any]) -> None:
    _rate(state, e.rule_id).digest_at = e.due
    state.plan_timer(e.due, "digest", e.rule_id)


def _delivery_retried(state: State, e: ev.DeliveryRetried, at: int, private: Mapping[str, Any]) -> None:
    delivery = state.deliveries[e.delivery]
    delivery.attempts = e.attempts
    delivery.due = e.due


def _delivery_ended(state: State, e: ev.DeliveryEnded, at: int, private: Mapping[str, Any]) -> None:
    delivery = state.deliveries.pop(e.delivery)
    delivery.attempts = e.attempts
    state.touched.ended[e.delivery] = delivery
    incident = state.incidents.get(delivery.incident)
    if incident is None:
        return
    told = told_for(incident, delivery.target)
    if told is not None and told.delivery == e.delivery:
        told.delivery = 0
        if e.state is DeliveryState.CANCELLED:
            told.change = 0  # It never left, so nothing was told.
        state.touched.incidents[incident.number] = incident
    if incident.state is IncidentState.RESOLVED:
        plan_forgetting(state, incident)


def _delivery_revived(state: State, e: ev.DeliveryRevived, at: int, private: Mapping[str, Any]) -> None:
    state.deliveries[e.delivery] = LiveDelivery(
        number=e.delivery,
        notification=e.notification,
        incident=e.incident,
        kind=e.kind,
        severity=e.severity,
        channel=e.channel,
        target=e.target,
        key=e.key,
        first_at=at,
        due=at,
        attempts=e.attempts,
        dry_run=e.dry_run,
    )
    incident = state.incidents.get(e.incident)
    if incident is not None:
        state.touched.incidents[e.incident] = incident


def _silence_created(state: State, e: ev.SilenceCreated, at: int, private: Mapping[str, Any]) -> None:
    silence: Silence | None = private.get("silence")
    if silence is None:
        silence = Silence(
            number=e.silence,
            id=e.id,
            matchers=ERASED,
            starts_at=e.starts_at,
            ends_at=e.ends_at,
            created_by="",
            maintenance=e.maintenance,
        )
    add_silence(state, silence, began=False)
    state.counters.silence = e.silence


def add_silence(state: State, silence: Silence, *, began: bool) -> None:
    """Make a silence known, with the timers of its beginning and end."""
    tests = tuple(matcher_test(matcher) for matcher in silence.matchers)
    state.silences[silence.number] = LiveSilence(silence=silence, tests=tests, began=began)
    if not began:
        state.plan_timer(silence.starts_at, "silence_begin", silence.number)
    state.plan_timer(silence.ends_at, "silence_end", silence.number)


def _silence_moved(state: State, e: ev.SilenceMoved, at: int, private: Mapping[str, Any]) -> None:
    live = state.silences[e.silence]
    live.silence = msgspec.structs.replace(live.silence, ends_at=e.ends_at)
    state.plan_timer(e.ends_at, "silence_end", e.silence)


def covered(state: State, silence: LiveSilence) -> list[LiveAlert]:
    """Find the live alerts that a silence matches, in the order in which they were first seen.

    One that is in no incident was only recalled, for whoever brings it in the same turn: no entry says that it is here.
    """
    return [
        alert
        for alert in state.alerts.values()
        if alert.scope and alert.incidents and matches_all(silence.tests, alert.labels())
    ]


def _silence_began(state: State, e: ev.SilenceBegan, at: int, private: Mapping[str, Any]) -> None:
    silence = state.silences[e.silence]
    silence.began = True
    if e.alerts is None:
        alerts = covered(state, silence)
    else:
        by_number = {alert.number: alert for alert in state.alerts.values()} if e.alerts else {}
        alerts = [by_number[number] for number in e.alerts]
    for alert in alerts:
        if not alert.silenced_by:
            alert.untold = not _everybody_knows(state, alert)
        _cover(state, alert, (*alert.silenced_by, e.silence))
        state.touched.alerts[alert.id] = alert


def _silence_ended(state: State, e: ev.SilenceEnded, at: int, private: Mapping[str, Any]) -> None:
    state.silences.pop(e.silence, None)
    state.counters.change = e.change
    for alert in state.alerts.values():
        if e.silence in alert.silenced_by:
            _cover(state, alert, tuple(number for number in alert.silenced_by if number != e.silence))
            if not alert.silenced_by:
                _uncovered(state, alert, e.change)
            state.touched.alerts[alert.id] = alert


def _maintenance_created(state: State, e: ev.MaintenanceCreated, at: int, private: Mapping[str, Any]) -> None:
    maintenance: Maintenance | None = private.get("maintenance")
    if maintenance is None:
        maintenance = Maintenance(
            number=e.maintenance,
            id=e.id,
            matchers=ERASED,
            rrule="",
            zone="",
            begins="",
            lasting=0,
            created_by="",
        )
    add_maintenance(state, maintenance, e.next_at)
    state.counters.maintenance = e.maintenance


def add_maintenance(state: State, maintenance: Maintenance, next_at: int) -> None:
    """Make a maintenance known, with the timer of its next window."""
    state.maintenances[maintenance.number] = LiveMaintenance(maintenance=maintenance, next_at=next_at)
    state.plan_timer(next_at, "maintenance", maintenance.number)


def _maintenance_moved(state: State, e: ev.MaintenanceMoved, at: int, private: Mapping[str, Any]) -> None:
    state.maintenances[e.maintenance].next_at = e.next_at
    if e.next_at:
        state.plan_timer(e.next_at, "maintenance", e.maintenance)


def _maintenance_ended(state: State, e: ev.MaintenanceEnded, at: int, private: Mapping[str, Any]) -> None:
    state.maintenances.pop(e.maintenance, None)


def covered_only_by(state: State, silence: int) -> list[int]:
    """Give the numbers of the incidents with an alert that is heard again when this silence ends, oldest first."""
    numbers = {
        number: None
        for alert in state.alerts.values()
        if alert.silenced_by == (silence,)
        for number in alert.incidents
    }
    return sorted(numbers)


def _policy_adopted(state: State, e: ev.PolicyAdopted, at: int, private: Mapping[str, Any]) -> None:
    before = state.plans.targets.keys()
    assert e.policy is not None, "the encoding gives one to entries of version 1 too"
    state.plans = compile_policy(with_addresses(e.policy, private.get("addresses", {})), e.version)
    state.policies[e.version] = state.plans
    if before == state.plans.targets.keys():
        return
    # Somebody is there who was not, or has gone: what each of them knows is compared again.
    for incident in state.incidents.values():
        if (
            incident.firing
            and incident.state is not IncidentState.RESOLVED
            and not 0 < incident.flush_at <= at
        ):
            incident.flush_at = at
            state.plan_timer(at, "flush", incident.number)
            state.touched.incidents[incident.number] = incident


def _only_recorded(state: State, e: ev.Decided, at: int, private: Mapping[str, Any]) -> None:
    """Nothing that is decided later depends on it."""


def _private_erased(state: State, e: ev.PrivateErased, at: int, private: Mapping[str, Any]) -> None:
    if not e.alerts:
        return
    wanted = {*e.alerts}
    for alert in state.alerts.values():
        if alert.number in wanted:
            alert.scope, alert.source = b"", ""
            state.touched.alerts[alert.id] = alert


def _node_started(state: State, e: ev.NodeStarted, at: int, private: Mapping[str, Any]) -> None:
    if not e.extended:
        return
    for alert in state.alerts.values():
        if alert.lease:
            alert.lease += e.extended
            state.touched.alerts[alert.id] = alert


_APPLY: dict[type, Callable[..., None]] = {
    ev.IncidentOpened: _incident_opened,
    ev.IncidentReopened: _incident_reopened,
    ev.AlertFired: _alert_fired,
    ev.AlertSeen: _alert_seen,
    ev.AlertGreen: _alert_green,
    ev.AlertCleared: _alert_cleared,
    ev.IncidentResolved: _incident_resolved,
    ev.IncidentAcknowledged: _incident_acknowledged,
    ev.IncidentUnacknowledged: _incident_unacknowledged,
    ev.IncidentSilenced: _incident_silenced,
    ev.IncidentUnsilenced: _incident_unsilenced,
    ev.IncidentNoted: _incident_noted,
    ev.FlushPlanned: _flush_planned,
    ev.Flushed: _flushed,
    ev.Notified: _notified,
    ev.NotificationWithheld: _notification_withheld,
    ev.DigestPlanned: _digest_planned,
    ev.DeliveryRetried: _delivery_retried,
    ev.DeliveryEnded: _delivery_ended,
    ev.DeliveryRevived: _delivery_revived,
    ev.BulkBegan: _only_recorded,
    ev.SilenceCreated: _silence_created,
    ev.SilenceBegan: _silence_began,
    ev.SilenceMoved: _silence_moved,
    ev.SilenceEnded: _silence_ended,
    ev.MaintenanceCreated: _maintenance_created,
    ev.MaintenanceMoved: _maintenance_moved,
    ev.MaintenanceEnded: _maintenance_ended,
    ev.TokenCreated: _only_recorded,
    ev.TokenRevoked: _only_recorded,
    ev.AccessRefused: _only_recorded,
    ev.StorePutBack: _only_recorded,
    ev.PolicyAdopted: _policy_adopted,
    ev.NodeStarted: _node_started,
    ev.LedgerBegan: _only_recorded,
    ev.LedgerForked: _only_recorded,
    ev.KeyAdopted: _only_recorded,
    ev.KeyRetired: _only_recorded,
    ev.PrivateErased: _private_erased,
    ev.IncidentsPruned: _only_recorded,
}
