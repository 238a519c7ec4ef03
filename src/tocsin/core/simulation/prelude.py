"""Prelude: what came before the period: folded, and ready to be taken over by both branches."""

from tocsin.core.engine.route import incident_key
from tocsin.core.engine.state import State
from tocsin.core.ledger.encoding import Entry
from tocsin.core.model import event as ev
from tocsin.core.simulation.archive import Archive
from tocsin.core.simulation.branch import BRANCH_KEY
from tocsin.core.simulation.course import Opening
from tocsin.core.simulation.fold import Fold
from tocsin.core.simulation.lookahead import Ahead
from tocsin.core.simulation.repeats import ONCE, Span

Look = ev.AlertFired | ev.AlertSeen | ev.AlertGreen | ev.AlertCleared
LOOKS = frozenset((ev.AlertFired, ev.AlertSeen, ev.AlertGreen, ev.AlertCleared))


class Prelude:
    """The state as it was, and how long each alert in it was going to be seen."""

    def __init__(self, ahead: Ahead) -> None:
        self._ahead = ahead
        self._fold = Fold(archive=Archive(wanted=ahead.recalled), key_of=_key_of)
        self.looks = 0
        self.seen: dict[bytes, Span] = {}

    @property
    def state(self) -> State:
        return self._fold.state

    @property
    def archive(self) -> Archive:
        return self._fold.archive

    @property
    def at(self) -> int:
        return self._fold.state.at

    def take(self, entry: Entry) -> None:
        """Fold the next entry."""
        self._fold.take(entry)
        header = entry.header
        if header.cause is not None or header.kind not in ("alert", "expiry"):
            return
        look = look_of(entry.decision.events)
        id_ = bytes.fromhex(look.id)
        span = self.span(look, header.at) if header.kind == "alert" else None
        if isinstance(look, ev.AlertCleared):
            self.seen.pop(id_, None)
        elif span is not None and not isinstance(look, ev.AlertGreen):
            self.seen[id_] = span

    def span(self, look: Look, at: int) -> Span:
        """Give how long an alert was seen after a look that left an entry; to be asked for each of them in order."""
        sightings, place = self._ahead.sightings, self.looks
        self.looks = place + 1
        last_at, repeats = sightings.last_at[place], sightings.repeats[place]
        kind = type(look)
        vouched = (kind is ev.AlertSeen or kind is ev.AlertFired) and (
            look.ends_at is not None or sightings.vouched[place] > 0  # type: ignore[union-attr]
        )
        if not last_at and not vouched and (kind is ev.AlertSeen or kind is ev.AlertFired):
            return ONCE
        return Span(at, last_at or at, repeats, vouched)

    def wanted(self) -> dict[int, Opening]:
        """Give the incidents that are over and that people will want back."""
        found: dict[int, Opening] = {}
        for number, incident in self.archive.incidents.items():
            opening = found[number] = Opening(number, incident.opened_at, incident.route)
            opening.alerts = {id_.hex(): None for id_ in self.archive.members[number]}
        return found


def look_of(events: tuple[ev.Decided, ...]) -> Look:
    """Find what an entry of an alert says of the look at it."""
    for event in events:
        if type(event) in LOOKS:
            return event  # type: ignore[return-value]  # as LOOKS says
    raise AssertionError("an entry of an alert has a look")


def _key_of(event: ev.IncidentOpened, entry: Entry, state: State) -> str:
    """Name the incident as the branches will name it; as it was recorded where its alert was erased."""
    alert = entry.private.alert if entry.private is not None else None
    if alert is None:
        return event.key
    plan = state.policies[event.policy].by_name[event.route]
    id_ = bytes.fromhex(look_of(entry.decision.events).id)
    return incident_key(plan, alert, id_, BRANCH_KEY).hex()
