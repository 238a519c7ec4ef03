"""Repeats: looks at alerts that left no entry, given back to a branch where they decide something.

A repeat renews a lease, lets an alert come back that expired, and reopens what somebody resolved while it fired; all
others change nothing, so they are not given. Greens go on where the record needed no more of them.
"""

import heapq
from typing import NamedTuple

import msgspec

from tocsin.core.engine.state import LOOK, SCOPE, LiveAlert, LiveIncident, State, plan_lease
from tocsin.core.model.alert import Alert, Status
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import AlertReceived
from tocsin.core.model.policy import MINUTE, SECOND
from tocsin.core.simulation.archive import Archive
from tocsin.core.simulation.lookahead import NEVER_AGAIN


class Span(NamedTuple):
    """How long an alert was seen after a look that left an entry: at equal intervals until last_at.

    last_at: NEVER_AGAIN if nobody knows, because no later entry tells.
    vouched: its sender gave an end, so the record says when it expires, and not the route.
    """

    at: int
    last_at: int
    repeats: int
    vouched: bool = False

    def next_after(self, at: int) -> int:
        """Give the first repeat after a moment, 0 if there is none."""
        if not self.repeats or at >= self.last_at:
            return 0
        length = self.last_at - self.at
        number = max(0, at - self.at) * self.repeats // length + 1
        moment = self.at + length * number // self.repeats
        return moment if moment > at else self.at + length * (number + 1) // self.repeats

    def interval(self) -> int:
        """Give the time between two repeats, 0 if there are none."""
        return (self.last_at - self.at) // self.repeats if self.repeats else 0


ONCE = Span(0, 0, 0)
"""Stands for a firing look after which the alert was not seen until its next entry; most are such."""


class Repeats:
    """What is known of the repeats of each alert that fires in a branch.

    spans, greens: by alert, those that repeat, and the next green look of those that go on being green.
    looks: (due, alert's id, what) of those that will decide something, as a heap.
    """

    def __init__(self, state: State, archive: Archive) -> None:
        self._state = state
        self._archive = archive
        self.looks: list[tuple[int, bytes, str]] = []
        self.spans: dict[bytes, Span] = {}
        self.greens: dict[bytes, tuple[int, Alert]] = {}

    def knows(self, id_: bytes, span: Span) -> None:
        """Take over how long an alert was seen whose last look came before the period began."""
        live = self._state.alerts.get(id_)
        if live is None or not live.firing_in:
            return
        if span.repeats:
            self.spans[id_] = span
        if not live.lease:
            return
        if span.vouched or span.last_at == NEVER_AGAIN:
            live.lease = 0
            return
        # The state's lease counts from the look, and has grown by the time that nodes were away since.
        lease = live.lease + span.last_at - span.at
        if span.last_at > self._state.at:
            lease = min(lease, span.last_at + live.expires_after)
        self._lease(live, lease)

    def looked(self, live: LiveAlert, alert: Alert, at: int, before: int, span: Span | None) -> None:
        """Take what is known of the time after a look that was decided just now.

        before: when the alert was seen before that, 0 for never.
        span: for a firing look of the record how long it was seen after it; for a green one that cleared the alert in
        the record one of no length; None for any other, and for looks that are not in the record.
        """
        if self.greens:
            planned = self.greens.pop(live.id, None)
            if planned is not None and planned[1] is alert:
                span = Span(at, at, 0)  # It was one of those that go on.
        if not live.firing_in:
            self.spans.pop(live.id, None)
        elif alert.status is Status.FIRING:
            self._fires(live, at, span)
        elif alert.status is Status.GREEN and span is not None and before:
            self._goes_on_green(live, alert, at, at - before)

    def _fires(self, live: LiveAlert, at: int, span: Span | None) -> None:
        """Give an alert the lease that its repeats gave it."""
        if span is None:
            span = self.spans.get(live.id)
            if span is None:
                return
        elif span.repeats:
            self.spans[live.id] = span
            for number in live.firing_in:
                self.held(self._state.incidents[number])
        elif live.id in self.spans:
            del self.spans[live.id]
        if not live.lease:
            return
        if span.vouched or span.last_at == NEVER_AGAIN:
            # The record says when it expires; or nobody knows how long it was seen, and it is taken to be for good.
            live.lease = 0
        elif span.repeats and span.interval() <= live.expires_after:
            self._lease(live, max(at, span.last_at) + live.expires_after)

    def _lease(self, live: LiveAlert, lease: int) -> None:
        live.lease = lease
        if not live.timer or lease < live.timer:
            plan_lease(self._state, live)

    def last_at(self, id_: bytes) -> int:
        """Say when the last repeat of an alert comes, 0 if there is none."""
        span = self.spans.get(id_)
        return span.last_at if span is not None else 0

    def over(self, id_: bytes) -> None:
        """An alert is seen no more."""
        self.spans.pop(id_, None)

    def comes_back(self, id_: bytes, at: int) -> None:
        """Plan the next repeat of an alert that expired between two of them."""
        span = self.spans.get(id_)
        if span is not None and (moment := span.next_after(at)):
            heapq.heappush(self.looks, (moment, id_, "repeat"))
        else:
            self.over(id_)

    def held(self, incident: LiveIncident) -> None:
        """Plan the repeats that come once a person's resolution holds them back no more; if it is resolved."""
        if not self.spans or incident.state is not IncidentState.RESOLVED:
            return
        held_until = incident.resolved_at + self._state.plan(incident).reopen_within
        for member in self._state.members[incident.number]:
            span = self.spans.get(member.id) if incident.number in member.firing_in else None
            if span is not None and (moment := span.next_after(held_until)):
                heapq.heappush(self.looks, (moment, member.id, "repeat"))

    def _goes_on_green(self, live: LiveAlert, alert: Alert, at: int, interval: int) -> None:
        """The record has no more greens, because they cleared it; here it needs more, so they go on."""
        interval = interval if interval >= SECOND else MINUTE
        green = msgspec.structs.replace(
            alert, window_start=alert.window_start + interval, window_end=alert.window_end + interval
        )
        self.greens[live.id] = at + interval, green
        heapq.heappush(self.looks, (at + interval, live.id, "green"))

    def take(self) -> AlertReceived | None:
        """Take the next look out; None if it decides nothing any more."""
        due, id_, kind = heapq.heappop(self.looks)
        live = self._state.alerts.get(id_) or self._archive.find_alert(id_)
        if live is None:
            return None
        if kind == "green":
            planned, green = self.greens.get(id_, (0, None))
            is_due = planned == due and green is not None and bool(live.firing_in)
            return AlertReceived(green, id_, b"", None, id_) if is_due and green is not None else None
        incidents = [self._state.incidents[number] for number in live.firing_in]
        if incidents and all(incident.state is not IncidentState.RESOLVED for incident in incidents):
            return None
        return AlertReceived(_again(live), id_, b"", None, id_)


def _again(live: LiveAlert) -> Alert:
    """Give the last firing look at an alert once more, as far as deciding asks for it."""
    start = end = 0
    for window_start, window_end, status, _ in LOOK.iter_unpack(live.looks):
        if status == b"f":
            start, end = window_start, window_end
    return Alert(
        rule_id=live.rule_id,
        scope=SCOPE.decode(live.scope) if live.scope else {},
        severity=live.severity,
        message="",
        window_start=start,
        window_end=end,
        source=live.source,
    )
