"""Recount: what the ledger's entries say is counted again by hand, from the looks and silences that they hold."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tocsin.core.ledger.encoding import Entry
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert, Severity, Status
from tocsin.core.model.notification import DeliveryState, NotificationKind, Withheld
from tocsin.core.model.policy import Policy

DISTURBS = {NotificationKind.OPENED, NotificationKind.UPDATED, NotificationKind.REMINDER}
"""Notifications that a silence withholds."""

PERSON = "user:"
"""How those who act are called in the ledger."""


def check_recount(entries: Iterable[Entry], policy: Policy) -> None:
    """See that each decision follows from what came before it. Raises: AssertionError."""
    looks, silences, deaths = Looks(policy), Silences(), Deaths(policy)
    for entry in entries:
        for one in (looks, silences, deaths):
            one.take(entry)


class Looks:
    """Counts the green looks of each alert, and when it was last seen firing."""

    def __init__(self, policy: Policy) -> None:
        self._greens = policy.routes.greens or 1
        self._timeout = policy.routes.resolve_timeout or 0
        self._ids: dict[str, str] = {}
        self._of: dict[str, str] = {}
        self._green: dict[str, int] = defaultdict(int)
        self._seen: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Take an entry. One that follows from another says the same of a further incident."""
        alert = entry.private.alert if entry.private is not None else None
        for event in entry.decision.events:
            if isinstance(event, ev.AlertFired | ev.AlertSeen | ev.AlertGreen | ev.AlertCleared):
                if alert is not None:
                    self._is_who_it_says(event.id, alert)
                if entry.header.cause is None:
                    self._look(event, entry)

    def _is_who_it_says(self, id_: str, alert: Alert) -> None:
        who = f"{alert.rule_id} {sorted(alert.scope.items())}"
        assert self._ids.setdefault(id_, who) == who, f"an alert of {who} counts for {self._ids[id_]}"
        assert self._of.setdefault(who, id_) == id_, f"{who} has two identities"

    def _look(self, event: Any, entry: Entry) -> None:
        id_, at = event.id, entry.header.at
        match event:
            case ev.AlertGreen():
                self._green[id_] += 1
                assert event.greens == self._green[id_] < self._greens, (
                    f"entry {entry.header.seq} counts {event.greens} greens, there were {self._green[id_]}"
                )
            case ev.AlertCleared(status=Status.GREEN):
                assert self._green[id_] + 1 == self._greens, (
                    f"entry {entry.header.seq} clears after {self._green[id_] + 1} greens of {self._greens}"
                )
            case ev.AlertCleared(status=None):
                assert self._timeout, f"entry {entry.header.seq} lets an alert expire that never does"
                assert at >= self._seen[id_] + self._timeout, (
                    f"entry {entry.header.seq} lets an alert expire too early"
                )
        if not isinstance(event, ev.AlertGreen):
            self._green[id_] = 0
        if isinstance(event, ev.AlertFired | ev.AlertSeen):
            self._seen[id_] = at


class Silences:
    """Keeps which silences act, whom of those who fire they cover, and who heard that an incident is critical."""

    def __init__(self) -> None:
        self._made: dict[int, str] = {}
        self._acts: dict[int, str] = {}
        self._team: dict[str, str] = {}
        self._firing: dict[int, dict[str, Severity]] = defaultdict(dict)
        self._know: dict[int, set[str]] = defaultdict(set)

    def take(self, entry: Entry) -> None:
        """Take an entry."""
        private = entry.private
        for event in entry.decision.events:
            match event:
                case ev.SilenceCreated():
                    assert private is not None
                    assert private.silence is not None
                    (matcher,) = private.silence.matchers
                    self._made[event.silence] = matcher.value
                case ev.SilenceBegan():
                    self._acts[event.silence] = self._made[event.silence]
                case ev.SilenceEnded():
                    self._acts.pop(event.silence, None)
                case ev.AlertFired() | ev.AlertSeen():
                    assert private is not None
                    assert private.alert is not None
                    self._team[event.id] = private.alert.scope["team"]
                    self._firing[event.incident][event.id] = event.severity
                case ev.AlertCleared():
                    self._firing[event.incident].pop(event.id, None)
                case ev.IncidentReopened():
                    self._know[event.incident].clear()
                case ev.Notified():
                    if event.incident and event.kind in DISTURBS:
                        assert self._audible(event.incident), (
                            f"entry {entry.header.seq} tells of #{event.incident}, whose alerts are all silenced"
                        )
                    if event.severity is Severity.CRITICAL:
                        self._know[event.incident].update(new.target for new in event.deliveries)
                case ev.NotificationWithheld(reason=Withheld.RATE_LIMITED):
                    is_critical = Severity.CRITICAL in self._audible(event.incident)
                    assert not is_critical or self._know[event.incident].issuperset(event.targets), (
                        f"entry {entry.header.seq} withholds what first says that #{event.incident} is critical"
                    )
                case _:
                    pass

    def _audible(self, incident: int) -> list[Severity]:
        """Give how severe each alert is that fires in an incident and is not silenced."""
        silent = set(self._acts.values())
        return [severity for id_, severity in self._firing[incident].items() if self._team[id_] not in silent]


class Deaths:
    """Sees that of each delivery that is dead another channel hears, and that only people and time end an ACK."""

    def __init__(self, policy: Policy) -> None:
        self._channels = {target.channel for target in policy.targets}
        self._kinds: dict[int, NotificationKind] = {}
        self._until: dict[int, int] = {}

    def take(self, entry: Entry) -> None:
        """Take an entry."""
        header, events = entry.header, entry.decision.events
        for event in events:
            match event:
                case ev.Notified():
                    self._kinds |= {new.delivery: event.kind for new in event.deliveries}
                case ev.DeliveryEnded(state=DeliveryState.DEAD):
                    if self._kinds[event.delivery] is not NotificationKind.META:
                        assert _tells_of_a_death(events), f"entry {header.seq}: a delivery died in silence"
                case ev.IncidentAcknowledged():
                    self._until[event.incident] = event.until
                case ev.IncidentUnacknowledged() if not header.actor.startswith(PERSON):
                    until = self._until[event.incident]
                    assert 0 < until <= header.at, f"entry {header.seq} undoes an acknowledgement"
                case _:
                    pass


def _tells_of_a_death(events: Sequence[Any]) -> bool:
    return any(isinstance(event, ev.Notified) and event.kind is NotificationKind.META for event in events)
