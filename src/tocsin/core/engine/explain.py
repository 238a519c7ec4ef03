"""Explain: why was I woken, and why was I not? An incident's entries, read back as the steps of its decisions.

Nothing is decided here, and nothing guessed: every step says what its entry says, with names in place of numbers. What
the entries do not hold (addresses, limits, comments) comes from the policy in force then and from the silences.
"""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from tocsin.core.engine import rate_limit
from tocsin.core.engine.background import Background, Names
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.entry import Decision
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DryRun,
    Outcome,
    Refused,
    Retry,
    Withheld,
)
from tocsin.core.model.policy import SECOND
from tocsin.core.model.trace import (
    Attempted,
    Changed,
    Dedup,
    Line,
    Notified,
    RateUse,
    Received,
    Routed,
    Silences,
    Step,
    WithheldFrom,
)


def decides(decision: Decision) -> bool:
    """Say whether an entry is worth a step: looks that found nothing to tell, plans and bare notes are not."""
    silent = ev.Flushed | ev.FlushPlanned | ev.IncidentNoted | ev.DigestPlanned
    return any(not isinstance(event, silent) for event in decision.events)


def explain(lines: Iterable[Line], background: Background) -> list[Step]:
    """Turn an incident's entries, oldest first, into steps. Entries that decided nothing are left out."""
    reader = _Reader(background)
    return [reader.step(line) for line in lines if decides(line.decision)]


class _Known(msgspec.Struct):
    """What is known of an alert while its entries are read."""

    rule_id: str = ""
    severity: Severity = Severity.INFO
    silenced_by: tuple[int, ...] = ()


class _Reader:
    """Reads entry after entry; what one says of an alert or a delivery, a later one may refer to."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._alerts = {
            id_: _Known(alert.rule_id, alert.severity, alert.silenced_by)
            for id_, alert in background.alerts.items()
        }
        self._names = Names(background)
        self._deliveries = {n: (sent.channel, sent.target) for n, sent in background.deliveries.items()}

    def step(self, line: Line) -> Step:
        header = line.header
        step = Step(seq=header.seq, at=header.at, policy=header.policy, late_by=line.decision.late_by)
        for event in line.decision.events:
            self._read(step, line, event)
        return step

    def _read(self, step: Step, line: Line, event: ev.Decided) -> None:
        match event:
            case ev.IncidentOpened():
                step.route = self._routed(event.policy, event.route, event.because)
                step.dedup = _dedup("opened", 0, NEWS)
            case ev.IncidentReopened():
                self._changed(step, line, event, IncidentState.OPEN)
            case ev.AlertFired():
                self._fired(step, line, event)
            case ev.AlertSeen():
                self._seen(step, line, event)
            case ev.AlertGreen():
                self._looked(step, line, event.id, Status.GREEN, event.window_start, event.window_end)
                step.dedup = _dedup("green_counted", event.repeats, event.because)
            case ev.AlertCleared():
                if event.status is not None:
                    self._looked(step, line, event.id, event.status, event.window_start, event.window_end)
                step.dedup = _dedup("cleared", event.repeats, event.because)
            case ev.IncidentResolved():
                self._changed(step, line, event, IncidentState.RESOLVED)
                if step.dedup is not None:
                    step.dedup.outcome = "resolved"
            case ev.IncidentAcknowledged():
                self._changed(step, line, event, IncidentState.ACK, event.until)
            case ev.IncidentUnacknowledged() | ev.IncidentUnsilenced():
                self._changed(step, line, event, IncidentState.OPEN)
            case ev.IncidentSilenced():
                self._changed(step, line, event, IncidentState.SILENCED, event.until)
            case ev.Notified():
                self._notified(step, event)
            case ev.NotificationWithheld():
                self._withheld(step, event)
            case ev.DigestPlanned():
                if step.rate_window is not None:
                    step.rate_window.digest_at = event.due
            case ev.DeliveryRetried():
                self._attempted(step, line, event, "retry", event.due)
            case ev.DeliveryEnded():
                self._attempted(step, line, event, str(event.state), None)
            case ev.DeliveryRevived():
                self._deliveries.setdefault(event.delivery, (event.channel, event.target))
                self._attempted(step, line, event, "revived", step.at)
            case (
                ev.FlushPlanned()
                | ev.Flushed()
                | ev.IncidentNoted()
                | ev.BulkBegan()
                | ev.SilenceCreated()
                | ev.SilenceMoved()
                | ev.SilenceBegan()
                | ev.SilenceEnded()
                | ev.MaintenanceCreated()
                | ev.MaintenanceMoved()
                | ev.MaintenanceEnded()
                | ev.TokenCreated()
                | ev.TokenRevoked()
                | ev.AccessRefused()
                | ev.StorePutBack()
                | ev.PolicyAdopted()
                | ev.NodeStarted()
                | ev.LedgerBegan()
                | ev.LedgerForked()
                | ev.KeyAdopted()
                | ev.KeyRetired()
                | ev.PrivateErased()
                | ev.IncidentsPruned()
            ):
                pass  # Plans, and what belongs to no incident.
            case _:
                assert_never(event)

    # Alerts

    def _fired(self, step: Step, line: Line, event: ev.AlertFired) -> None:
        self._alerts[event.id] = _Known(event.rule_id, event.severity, event.silenced_by)
        self._looked(step, line, event.id, Status.FIRING, event.window_start, event.window_end)
        if step.dedup is None:
            step.dedup = _dedup("reopened" if step.changed is not None else "joined", 0, NEWS)
            step.route = self._routed(step.policy, self._background.route, event.because)
        step.silences = self._silenced(event.silenced_by)

    def _seen(self, step: Step, line: Line, event: ev.AlertSeen) -> None:
        known = self._alerts.setdefault(event.id, _Known())
        known.severity = event.severity
        if event.silenced_by is not None:
            known.silenced_by = event.silenced_by
        self._looked(step, line, event.id, Status.FIRING, event.window_start, event.window_end)
        outcome = "reopened" if step.changed is not None else "occurrence"
        step.dedup = _dedup(outcome, event.repeats, event.because)
        if event.silenced_by is not None:
            step.silences = self._silenced(event.silenced_by)

    def _looked(
        self, step: Step, line: Line, id_: str, status: Status, window_start: int, window_end: int
    ) -> None:
        known = self._alerts.setdefault(id_, _Known())
        alert = line.alert
        if alert is not None and not known.rule_id:
            known.rule_id = alert.rule_id
        step.received = Received(
            rule_id=known.rule_id,
            scope=alert.scope if alert is not None else None,
            status=status,
            severity=alert.severity if alert is not None else known.severity,
            window_start=window_start,
            window_end=window_end,
            source=alert.source if alert is not None else None,
            message=alert.message if alert is not None else None,
            formula=_formula(alert),
        )

    def _routed(self, version: int, name: str, because: str) -> Routed:
        asked = self._names.matchers_of(version, name)
        if asked:
            because = f"it matches {' and '.join(asked)}, and {because}"
        return Routed(name=name, because=because)

    # Silences

    def _silenced(self, numbers: Iterable[int]) -> Silences:
        matched = [self._names.silence(number) for number in numbers]
        because = f"{_count(len(matched), 'silence')} matched it" if matched else "no silence matched it"
        return Silences(matched=matched, because=because)

    # Telling

    def _notified(self, step: Step, event: ev.Notified) -> None:
        for new in event.deliveries:
            self._deliveries[new.delivery] = (new.channel, new.target)
            target = self._names.target(step.policy, new.target)
            sent = self._background.deliveries.get(new.delivery)
            step.notified.append(
                Notified(
                    kind=event.kind,
                    channel=new.channel,
                    address=target.address if target is not None else None,
                    delivery=new.delivery,
                    state=sent.state if sent is not None else None,
                    because=event.because,
                )
            )
        if step.rate_window is None or event.charged:
            step.rate_window = self._use_of(step.policy, event)

    def _use_of(self, version: int, event: ev.Notified) -> RateUse:
        policy = self._background.policies.get(version)
        limit = policy.rate_limit if policy is not None else None
        if event.charged:
            which = f"number {event.charge}" if event.charge else "one"
            because = f"it is {which} of the notifications that count against rule {event.charged}"
        elif event.kind not in rate_limit.CHARGED:
            because = f"a notification of kind {event.kind} is never limited"
        elif policy is not None and limit is None:
            because = "this policy limits nothing"
        else:
            because = "the first that tells somebody of trouble at critical is never limited"
        return RateUse(
            rule_id=event.charged or event.rule_id,
            charged=bool(event.charged),
            number_in_window=event.charge or None,
            limit=limit.limit if limit is not None else None,
            window_s=limit.window // SECOND if limit is not None else None,
            digest_at=None,
            because=because,
        )

    def _withheld(self, step: Step, event: ev.NotificationWithheld) -> None:
        for id_ in event.targets:
            target = self._names.target(step.policy, id_)
            step.withheld.append(
                WithheldFrom(
                    kind=event.kind,
                    reason=event.reason,
                    channel=target.channel if target is not None else None,
                    address=target.address if target is not None else None,
                    because=event.because,
                )
            )
        if event.reason is Withheld.RATE_LIMITED:
            policy = self._background.policies.get(step.policy)
            limit = policy.rate_limit if policy is not None else None
            step.rate_window = RateUse(
                rule_id=event.rule_id,
                charged=False,
                number_in_window=None,
                limit=limit.limit if limit is not None else None,
                window_s=limit.window // SECOND if limit is not None else None,
                digest_at=None,
                because=event.because,
            )
        elif step.silences is None or not step.silences.matched:
            named = {number for known in self._alerts.values() for number in known.silenced_by}
            acting = self._names.acting(step.at, named)
            step.silences = Silences(
                matched=[self._names.silence(number) for number in acting], because=event.because
            )

    def _attempted(
        self,
        step: Step,
        line: Line,
        event: ev.DeliveryRetried | ev.DeliveryEnded | ev.DeliveryRevived,
        outcome: str,
        next_at: int | None,
    ) -> None:
        channel, id_ = self._deliveries.get(event.delivery, (None, ""))
        target = self._names.target(step.policy, id_)
        step.attempted.append(
            Attempted(
                delivery=event.delivery,
                channel=channel,
                address=target.address if target is not None else None,
                outcome=outcome,
                attempts=event.attempts,
                said=_said(line.outcome),
                next_at=next_at,
                because=event.because,
            )
        )

    # The incident

    def _changed(self, step: Step, line: Line, event: ev.Event, state: IncidentState, until: int = 0) -> None:
        step.changed = Changed(
            state=state,
            by=line.header.actor,
            until=until or None,
            note=line.note or None,
            because=event.because,
        )


FORMULA_MAX = 1_000
"""So many characters of a formula are shown; evidence is whatever its sender likes."""

NEWS = "it did not fire before, so this is news"


def _dedup(outcome: str, repeats: int, because: str) -> Dedup:
    return Dedup(outcome=outcome, repeats_counted_before=repeats, because=because)


def _formula(alert: Alert | None) -> str | None:
    """Give the formula in the evidence of a rule's alert, None if there is none."""
    evidence = alert.evidence if alert is not None else None
    formula = evidence.get("formula") if isinstance(evidence, dict) else None
    return formula[:FORMULA_MAX] if isinstance(formula, str) else None


def _said(outcome: Outcome | None) -> str | None:
    match outcome:
        case None | DryRun():
            return None
        case Delivered() | Accepted():
            return outcome.detail or None
        case Retry() | Refused():
            return outcome.why
        case _:
            assert_never(outcome)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
