"""Checks: what must hold at every commit, and what must hold when all is calm again."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.simulation.nodes import START, House, Street
from tests.simulation.people import Senders
from tests.simulation.recount import check_recount
from tests.simulation.shelf import SharedDisk
from tests.simulation.sinks import Asked, Sink
from tests.simulation.telling import check_telling
from tests.simulation.virtual import PROCESS, Process
from tests.support.world import SEEN_WITHOUT_ENTRY, dump

from tocsin.core.engine import state as live
from tocsin.core.engine.state import next_wakeup
from tocsin.core.ledger.encoding import Entry, read_entry, unpack
from tocsin.core.ledger.verify import verify
from tocsin.core.model import event as ev
from tocsin.core.model.alert import idempotency_key
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import HOUR
from tocsin.core.simulation.fold import Fold
from tocsin.ports import Batch, DeliveryFilter, Store

if TYPE_CHECKING:
    from tests.simulation.storm import Story

QUIET = {"well", "accepts"}
"""Moods of sinks in which nothing is said twice."""

COUNTED = ("held", "no_incident")
"""Outcomes of alerts that need no entry of their own."""

LATE_MAX = 60_000_000
"""So late may a timer be in the calm, in microseconds."""

ATTEMPTS_MAX = 40
"""So often a delivery is attempted in nine hours with the usual back-off."""

END = 12 * HOUR
"""No story is longer."""

LATE_ATTEMPTS_MAX = 3
"""So often a delivery may be attempted after its time is over, besides once for each start of a node."""

OVERLAP_S = 120.0
"""So long after one node began an attempt what it comes to may be stored, while another one attempts it, too."""

ENDED = {
    DeliveryState.DELIVERED,
    DeliveryState.ACCEPTED,
    DeliveryState.DEAD,
    DeliveryState.MERGED,
    DeliveryState.CANCELLED,
    DeliveryState.DISCARDED,
}


class Watch:
    """Looks at every commit that took effect. is_shared: several nodes make them, and go by what time the database says."""

    def __init__(self, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self.size = 0
        self.at = 0
        self.commits = 0
        self._open: dict[bytes, int] = {}
        self._process: Process | None = None
        self._since = (0.0, 0)

    def _keeps_time(self, at: int) -> None:
        """The ledger's time passes as time does, however the wall clock is set; a new process may begin elsewhere."""
        process, now = PROCESS.get(), asyncio.get_running_loop().time()
        if self._is_shared:
            assert abs(at / 1e6 - START - now) <= 0.1, f"the ledger says {at}, and it is {START + now} s"
            return
        if process is not self._process:
            self._process, self._since = process, (now, at)
        passed, said = now - self._since[0], (at - self._since[1]) / 1e6
        assert abs(said - passed) <= 0.011 * passed + 1, (
            f"{said} s passed in the ledger, {passed} s in the world"
        )

    def committed(self, batch: Batch) -> None:
        """See that entries follow each other, time goes on, and no key has two incidents that are not over."""
        self.commits += 1
        segment = batch.segment
        if segment is not None:
            assert segment.first_seq == self.size, f"entry {segment.first_seq} follows {self.size - 1}"
            self.size += segment.count
        assert batch.head.size == self.size, f"the head says {batch.head.size}, there are {self.size} entries"
        assert batch.head.at >= self.at, "the ledger's time went back"
        self.at = batch.head.at
        self._keeps_time(self.at)
        for row in batch.incidents:
            incident = row.incident
            if incident.state is IncidentState.RESOLVED:
                if self._open.get(incident.key) == incident.number:
                    del self._open[incident.key]
        for row in batch.incidents:
            incident = row.incident
            if incident.state is not IncidentState.RESOLVED:
                other = self._open.setdefault(incident.key, incident.number)
                assert other == incident.number, (
                    f"#{other} and #{incident.number} have one key, and neither is over"
                )


def check_all(
    story: "Story", street: Street, senders: Senders, sinks: Sequence[Sink], disk: Store, watch: Watch
) -> None:
    """See that nothing accepted was lost, everybody was told, and the record says so. Raises: AssertionError."""
    entries = [read_entry(*parts) for segment in disk.segments() for parts in unpack(segment.data)]
    head = disk.head()
    story.entries, story.root = head.size, head.root.hex()
    verdict = verify(disk.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)
    assert verdict.is_sound, f"the ledger is damaged at {verdict.bad_seq}: {verdict.what}"
    _nothing_answered_is_lost(senders, entries)
    _every_intent_is_accounted_for(disk)
    deliveries = _all_deliveries(disk)
    _deliveries_say_what_happened(deliveries, sinks)
    story.twice = _what_came_twice_is_the_same(sinks)
    _resolved_never_overtakes_opened(deliveries, sinks)
    for house in street.up():
        _folding_the_ledger_gives_the_state(house, entries)
        _nothing_waits(house)
    story.compared = _all_know_what_is_stored(street)
    give_up = street.houses[0].policy.retries.give_up
    _attempts_are_apart(sinks, story.starts, give_up)
    lives = [*_lives(entries)]
    _nothing_is_given_up_too_early(lives, sinks, give_up)
    if "clock jumped" not in story.faults:
        _nothing_is_attempted_for_ever(lives, sinks, give_up, story.starts)
    check_recount(entries, street.houses[0].policy)
    check_telling(entries, senders.answered, deliveries, sinks, disk, street.houses[0].policy)
    if (
        not story.faults
        and story.starts == story.nodes
        and {mood for sink in sinks for mood in sink.had} <= QUIET
    ):
        assert story.twice == 0, "something came twice although nothing went wrong"
    for house in street.houses:
        assert not house.gave_up, house.gave_up[0]  # Nothing here makes a dispatcher stand still.


def _nothing_answered_is_lost(senders: Senders, entries: Sequence[Entry]) -> None:
    """Each look that was answered is in the ledger, once, however often it was sent."""
    recorded: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        alert = entry.private.alert if entry.private is not None else None
        if alert is not None and entry.header.cause is None:
            key = idempotency_key(alert.rule_id, alert.scope, alert.window_start, alert.window_end)
            look = key, alert.status.value
            # What somebody resolved although it fires is opened again by whatever says that it does.
            opens = any(
                isinstance(one, ev.IncidentOpened | ev.IncidentReopened) for one in entry.decision.events
            )
            recorded[look] += not opens or not recorded[look]
    for said in senders.answered:
        if said.outcome not in COUNTED:
            assert (said.key, said.status) in recorded, f"{said} was answered, and no entry says it"
    # One that flaps within its window may be news each time.
    looks = Counter(said.key for said in senders.answered)
    for (key, status), counted in recorded.items():
        assert counted == 1 or looks[key] > 1, (
            f"a look that is {status} was counted {counted} times: {key[:8]}"
        )


def _every_intent_is_accounted_for(disk: Store) -> None:
    decided, stored = disk.head().counters.intents, sum(disk.counts().values())
    assert decided == stored, f"{decided} intents were decided, {stored} are accounted for"


def _all_deliveries(disk: Store) -> list[Any]:
    views, total = disk.list_deliveries(DeliveryFilter(), 100_000)
    assert len(views) == total
    return sorted(views, key=lambda view: view.number)


def _deliveries_say_what_happened(deliveries: Sequence[Any], sinks: Sequence[Sink]) -> None:
    """In the calm all have ended; none says that it arrived if it did not, none arrived that nobody decided."""
    arrived = Counter(one.key for sink in sinks for one in sink.arrived)
    known = {view.key for view in deliveries}
    for view in deliveries:
        assert view.state in ENDED or view.dry_run, (
            f"delivery {view.number} is {view.state} in the calm: {view.why}"
        )
        if view.state in (DeliveryState.DELIVERED, DeliveryState.ACCEPTED):
            assert arrived[view.key], f"delivery {view.number} is {view.state}, and nothing arrived"
    strangers = arrived.keys() - known
    assert not strangers, f"{len(strangers)} keys arrived that nobody decided"


def _what_came_twice_is_the_same(sinks: Sequence[Sink]) -> int:
    """Give how many arrivals were repetitions."""
    said: dict[str, bytes] = {}
    twice = 0
    for sink in sinks:
        for one in sink.arrived:
            if one.key in said:
                twice += 1
                assert said[one.key] == one.body, f"key {one.key[:8]} says two things"
            said.setdefault(one.key, one.body)
    return twice


def _resolved_never_overtakes_opened(deliveries: Sequence[Any], sinks: Sequence[Sink]) -> None:
    """Of an incident and a target, things arrive in the order in which they were decided."""
    decided = {view.key: view.number for view in deliveries}
    lines: dict[tuple[str, int], list[int]] = defaultdict(list)
    for sink in sinks:
        seen = set()
        for one in sink.arrived:
            if (
                one.owned
                and one.incident
                and one.key not in seen
                and one.kind not in ("manual", "meta", "digest")
            ):
                seen.add(one.key)
                lines[one.target, one.incident].append(decided[one.key])
    for (target, incident), numbers in lines.items():
        assert numbers == sorted(numbers), f"{target} heard of #{incident} out of order: {numbers}"


def _attempts_are_apart(sinks: Sequence[Sink], starts: int, give_up: int) -> None:
    """A sink is left in peace after it refused, as long as it asked for, and longer with each failure.

    A process does not know what another one heard, so only attempts that one process made in a row are compared, if
    what the first came to counted: the delivery was its own, no other one attempted it as well, and it did not stand
    still until it took the answer for missing.
    """
    for sink in sinks:
        asked: dict[str, list[Asked]] = defaultdict(list)
        for one in sink.asked:
            asked[one.key].append(one)
        for key, attempts in asked.items():
            assert len(attempts) <= ATTEMPTS_MAX + starts, (
                f"{sink.name} was asked {len(attempts)} times with {key[:8]}"
            )
            others_at = -OVERLAP_S
            for before, one, then in zip(attempts, attempts[1:], [*attempts[2:], None], strict=False):
                if before.process != one.process:
                    others_at = before.at
                    continue
                if not before.owned or others_at > before.at - OVERLAP_S or one.went_on_at > before.at:
                    continue
                apart = one.at - before.at
                assert before.mood != "refuses", f"{sink.name} refused {key[:8]}, and was asked again"
                # The last one comes when its time is up, however soon that is; if the process dies of it, of many.
                is_last = then is None or then.process != one.process
                least = 0 if is_last and give_up <= END else 1
                assert apart >= 0.98 * max(least, before.after_s), (
                    f"{sink.name} was asked again after {apart} s, and had said {before.after_s}: {one}"
                )


class Life(NamedTuple):
    """Of a delivery: its key, since when it is attempted, and when it was given up, 0 if it was not; microseconds."""

    key: str
    since: int
    dead_at: int


def _lives(entries: Sequence[Entry]) -> Iterator[Life]:
    begun: dict[int, tuple[str, int]] = {}
    dead: dict[int, int] = {}
    for entry in entries:
        for event in entry.decision.events:
            match event:
                case ev.Notified():
                    for new in event.deliveries:
                        begun[new.delivery] = new.key, new.since or entry.header.at
                case ev.DeliveryEnded(state=DeliveryState.DEAD):
                    dead[event.delivery] = entry.header.at
                case _:
                    pass
    for number, (key, since) in begun.items():
        yield Life(key, since, dead.get(number, 0))


def _nothing_is_given_up_too_early(lives: Sequence[Life], sinks: Sequence[Sink], give_up: int) -> None:
    """What is dead was refused for good, or was attempted for as long as the policy says."""
    refused = {one.key for sink in sinks for one in sink.asked if one.mood == "refuses"}
    for key, since, dead_at in lives:
        assert not dead_at or key in refused or dead_at - since >= give_up, (
            f"{key[:8]} was given up after {(dead_at - since) / 1e6:.0f} s although nobody refused it"
        )


def _nothing_is_attempted_for_ever(
    lives: Sequence[Life], sinks: Sequence[Sink], give_up: int, starts: int
) -> None:
    """Once the time is over there is one more attempt, and further ones only if nobody learnt what came of it."""
    until = {life.key: (life.since + give_up) / 1e6 - START for life in lives}
    late = Counter(one.key for sink in sinks for one in sink.asked if one.at > until[one.key] + 1)
    for key, attempts in late.items():
        assert attempts <= LATE_ATTEMPTS_MAX + starts, (
            f"{key[:8]} was attempted {attempts} times after it had to be given up"
        )


def _folding_the_ledger_gives_the_state(house: House, entries: Sequence[Entry]) -> None:
    assert house.node is not None
    state = house.node._pump.state
    fold = Fold(id_key=state.id_key)
    for entry in entries:
        fold.take(entry)
    live.begin(fold.state, state.at)
    without = (*SEEN_WITHOUT_ENTRY, "text_seq")  # Where its text lies is the runtime's to know.
    folded, is_ = dump(fold.state, without=without), dump(state, without=without)
    for incident in (*folded["incidents"].values(), *is_["incidents"].values()):
        del incident["entries"], incident["last_seq"]
    for name, value in is_.items():
        assert folded[name] == value, f"the ledger's {name} is not the state's: {_first(folded[name], value)}"


def _all_know_what_is_stored(street: Street) -> int:
    """Give how often that was looked at."""
    if len(street.houses) == 1:
        return 0
    compared = 0
    for house in street.up():
        assert house.node is not None
        assert isinstance(house.disk, SharedDisk)
        house.node._pump.turn([])  # Since it looked last, others may have decided something.
        house.disk.check(house.node._pump.state)
        compared = house.disk._shelf.compared
    leads = [house.name for house in street.up() if house.node is not None and house.node.leads]
    assert len(leads) == 1, f"in the calm {leads or 'nobody'} leads"
    return compared


def _first(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=str):
            if one.get(key) != other.get(key):
                return f"{key}: {one.get(key)} | {other.get(key)}"
    return f"{one} | {other}"


def _nothing_waits(house: House) -> None:
    """In the calm nothing is owed, and no timer is late."""
    assert house.node is not None
    state = house.node._pump.state
    assert not state.deliveries, f"{len(state.deliveries)} deliveries wait in the calm"
    wakeup = next_wakeup(state)
    assert wakeup is None or wakeup > state.at - LATE_MAX, f"a timer is late by {state.at - wakeup} us"
