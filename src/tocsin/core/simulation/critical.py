"""Critical: who was told of what is critical, and what of it would be told later, or never.

What is compared is when somebody was first reached, alert by alert: so it does not matter how the two policies group
alerts into incidents, and a notification that a dead channel never delivered tells nobody.
"""

from typing import NamedTuple

from tocsin.core.engine.state import State
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import DAY
from tocsin.core.simulation.comparison import COMPARED
from tocsin.core.simulation.course import TELLS, Course, Opening

REACHED = (DeliveryState.DELIVERED, DeliveryState.ACCEPTED, DeliveryState.DRY_RUN)
EPISODES_KEPT = 20_000
"""Beyond so many, those that have been over for a day are dropped."""


class Episode:
    """One time that an alert was critical. told_at: 0 while nobody was told; ended_at: 0 while it fires."""

    __slots__ = ("ended_at", "since", "told_at")

    def __init__(self, since: int) -> None:
        self.since = since
        self.told_at = self.ended_at = 0


class _Carried:
    """What a notification tells that is on its way. deliveries: how many of it have not ended."""

    __slots__ = ("alerts", "deliveries", "incident")

    def __init__(self, incident: int, alerts: list[str], deliveries: int) -> None:
        self.incident = incident
        self.alerts = alerts
        self.deliveries = deliveries


class First(NamedTuple):
    """The first time that somebody was told of an opening at CRITICAL. alerts: of which, with since when."""

    opening: Opening
    at: int
    alerts: dict[str, int]


class Criticals:
    """Follows what is critical in one course.

    firsts, news (alerts that somebody was told of, or that ended): since somebody last took them, in order.
    keeps_news: news are kept, and no firsts; without it, firsts and no news.
    """

    def __init__(self, state: State, course: Course, *, keeps_news: bool) -> None:
        self._keeps_news = keeps_news
        self._state = state
        self._course = course
        self.episodes: dict[str, Episode] = {}
        self._waiting: dict[int, dict[str, None]] = {}
        self._carried: dict[int, _Carried] = {}
        self._limit = EPISODES_KEPT
        self.firsts: list[First] = []
        self.news: list[str] = []

    def begin(self) -> None:
        """Take over what is critical when the period begins; what people were told until then is known to them."""
        for incident in self._state.incidents.values():
            told = max((one.change for one in incident.told), default=0)
            for member in self._state.members[incident.number]:
                if incident.number not in member.firing_in or member.severity is not Severity.CRITICAL:
                    continue
                id_ = member.id.hex()
                episode = self.episodes.setdefault(id_, Episode(self._state.at))
                if told >= member.fired:
                    episode.told_at = self._state.at
                else:
                    self._waiting.setdefault(incident.number, {})[id_] = None

    def fired(self, e: ev.AlertFired | ev.AlertSeen, at: int) -> None:
        """An alert fires at CRITICAL, or rose to it."""
        episode = self.episodes.get(e.id)
        if episode is None or episode.ended_at:
            if len(self.episodes) >= self._limit:
                self._drop_over(at - DAY)
            self.episodes[e.id] = Episode(at)
        elif episode.told_at and isinstance(e, ev.AlertSeen):
            return
        self._waiting.setdefault(e.incident, {})[e.id] = None

    def cleared(self, e: ev.AlertCleared, at: int) -> None:
        """An alert is over."""
        episode = self.episodes.get(e.id)
        if episode is not None and not episode.ended_at:
            episode.ended_at = at
            if self._keeps_news:
                self.news.append(e.id)
        if e.id in self._waiting.get(e.incident, ()):
            self._heard(e.incident, e.id)

    def notified(self, e: ev.Notified) -> None:
        """Somebody is to be told; which critical alerts that carries is known now."""
        waiting = self._waiting.get(e.incident)
        if waiting is None or e.kind not in TELLS or e.severity is not Severity.CRITICAL:
            return
        alerts = self._state.alerts
        heard = [id_ for id_ in waiting if not alerts[bytes.fromhex(id_)].silenced_by]
        if heard and e.deliveries:
            self._carried[e.notification] = _Carried(e.incident, heard, len(e.deliveries))

    def delivery_ended(self, e: ev.DeliveryEnded, at: int) -> None:
        """A delivery ended; if it reached somebody, they know what it carried."""
        if not self._carried:
            return
        notification = self._state.touched.ended[e.delivery].notification
        carried = self._carried.get(notification)
        if carried is None:
            return
        carried.deliveries -= 1
        if not carried.deliveries or e.state in REACHED:
            del self._carried[notification]
        if e.state in REACHED:
            self._reached(carried.incident, carried.alerts, at)

    def opening_of(self, id_: str) -> Opening | None:
        """Find an opening that an alert is in; the newest."""
        live = self._state.alerts.get(bytes.fromhex(id_))
        found = [self._course.openings.get(number) for number in live.incidents] if live is not None else []
        return next((opening for opening in reversed(found) if opening is not None), None)

    def _reached(self, incident: int, ids: list[str], at: int) -> None:
        since: dict[str, int] = {}
        for id_ in ids:
            if id_ in self._waiting.get(incident, ()):
                self._heard(incident, id_)
            episode = self.episodes.get(id_)
            if episode is None:
                continue
            since[id_] = episode.since
            if not episode.told_at:
                episode.told_at = at
                if self._keeps_news:
                    self.news.append(id_)
        opening = self._course.openings.get(incident)
        if opening is not None and not opening.critical_at:
            opening.critical_at = at
            if not self._keeps_news:
                self.firsts.append(First(opening, at, since))

    def _heard(self, incident: int, id_: str) -> None:
        waiting = self._waiting[incident]
        del waiting[id_]
        if not waiting:
            del self._waiting[incident]

    def _drop_over(self, before: int) -> None:
        kept = {id_: one for id_, one in self.episodes.items() if not 0 < one.ended_at < before}
        self.episodes = kept
        self._limit = max(EPISODES_KEPT, 2 * len(kept))


class Late(NamedTuple):
    """An opening of which nobody was told under the candidate when somebody was told before. at: 0 for never.

    there: what the candidate had in its place, None if nothing is known of that any more.
    """

    first: First
    at: int
    there: Opening | None


class Watch:
    """Holds the candidate's course against the recorded policy's. late: what would be late or missed, as it is found.

    Both courses must have reached the same moment whenever `look` is called.
    """

    def __init__(self, again: Criticals, candidate: Criticals) -> None:
        self._again = again
        self._candidate = candidate
        self._open: dict[str, dict[int, First]] = {}
        self._count = 0
        self.late: list[Late] = []

    def look(self) -> None:
        """Compare what happened since the last look."""
        news, firsts = self._candidate.news, self._again.firsts
        if news:
            for id_ in news:
                if id_ in self._open:
                    self._happened(id_)
            news.clear()
        if firsts:
            for first in firsts:
                self._compare(first)
            firsts.clear()

    def end(self) -> None:
        """The period is over: who was not told by now is counted as never told."""
        firsts = {number: first for waiting in self._open.values() for number, first in waiting.items()}
        for number in sorted(firsts):
            self._found(firsts[number], 0)
        self._open.clear()

    def _compare(self, first: First) -> None:
        """Look whether the candidate's course told of any of these alerts in time."""
        told = [at for id_, since in first.alerts.items() if (at := self._told(id_, since))]
        if told:
            if min(told) > first.at:
                self._found(first, min(told))
            return
        self._count += 1
        fires = False
        for id_ in first.alerts:
            episode = self._candidate.episodes.get(id_)
            if episode is not None and not episode.ended_at:
                fires = True
                self._open.setdefault(id_, {})[self._count] = first
        if not fires:
            self._found(first, 0)

    def _found(self, first: First, at: int) -> None:
        there = first.opening.later
        there = None if there is COMPARED else there
        for id_ in first.alerts:
            there = there or self._candidate.opening_of(id_)
        self.late.append(Late(first, at, there))

    def _told(self, id_: str, since: int) -> int:
        episode = self._candidate.episodes.get(id_)
        if episode is None or (episode.ended_at and max(episode.ended_at, episode.told_at) < since):
            return 0
        return episode.told_at

    def _happened(self, id_: str) -> None:
        """An alert was told of in the candidate's course, or ended there."""
        episode = self._candidate.episodes.get(id_)
        at = episode.told_at if episode is not None else 0
        for number, first in self._open.pop(id_).items():
            if at:
                for other in first.alerts:
                    self._close(other, number)
                if at > first.at:
                    self._found(first, at)
            elif not any(number in self._open.get(other, ()) for other in first.alerts):
                self._found(first, 0)

    def _close(self, id_: str, number: int) -> None:
        waiting = self._open.get(id_)
        if waiting is not None:
            waiting.pop(number, None)
            if not waiting:
                del self._open[id_]
