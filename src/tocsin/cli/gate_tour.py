"""Gate tour: two days in a house where everything that Tocsin records happens at least once, and is signed.

What the gate proves of a ledger it proves of this one: each kind of entry and each event is in it.
"""

from collections.abc import Iterator
from typing import NamedTuple, get_args

from tocsin.cli.gate_house import NINE, ORIGIN, House
from tocsin.core.ledger.encoding import Entry, read_entry, read_header, unpack
from tocsin.core.model.access import Permission, Role, Token
from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.entry import KINDS
from tocsin.core.model.event import Decided
from tocsin.core.model.input import (
    AccessDenied,
    Action,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    Denial,
    Input,
    KeysChanged,
    LedgerFork,
    LedgerNamed,
    MaintenanceCut,
    MaintenanceRequested,
    Manual,
    PolicyChanged,
    RetentionDue,
    SilenceCut,
    SilenceMoved,
    SilenceRequested,
    StoreRestored,
    TokenCut,
    TokenIssued,
)
from tocsin.core.model.notification import Refused, Retry, Target
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND, Policy, RateLimit, Retries, Route
from tocsin.core.model.silence import Matcher, parse_matcher
from tocsin.ports import Store, number_of
from tocsin.runtime.forgetting import asked_for
from tocsin.runtime.notary import Notary
from tocsin.runtime.turn import Result

KEK = bytes(32)
"""The key-encryption key of a ledger that is thrown away."""

DISK: tuple[Matcher, ...] = (parse_matcher("rule_id=disk"),)


class Toured(NamedTuple):
    """The house after the tour. notary: signs its ledger."""

    house: House
    notary: Notary


def tour() -> Toured:
    """Go through all of it. Raises: what an input was refused for, or what broke."""
    house = House(_policy("anna", "ops"))
    notary = Notary(house.store, house.ids, origin=ORIGIN, kek=lambda: KEK, mark=None)
    first = notary.make_key()
    _do(house, LedgerNamed(origin=ORIGIN), KeysChanged(adopt=(first,)), StoreRestored(size=1, made_at=NINE))
    _trouble(house)
    _quiet(house)
    _wires(house)
    _access(house)
    second = notary.make_key()
    _do(house, KeysChanged(adopt=(second,)), KeysChanged(retire=(first,)))
    _forgetting(house)
    head = house.store.head()
    fork = LedgerFork(
        origin=f"{ORIGIN}/2", known_size=head.size, known_root=head.root.hex(), reason="a drill"
    )
    _do(house, fork)
    notary.origin = fork.origin
    notary.keys_changed()
    return Toured(house, notary)


def missing(store: Store) -> list[str]:
    """Name the kinds of entries and the events that a ledger does not hold, of all that there are."""
    kinds: dict[str, None] = {}
    events: dict[str, None] = {}
    for entry in entries(store):
        kinds[entry.header.kind] = None
        events |= {type(event).__name__: None for event in entry.decision.events}
    wanted = [event.__name__ for event in get_args(Decided)]
    return [f"an entry of kind {kind}" for kind in KINDS if kind not in kinds] + [
        f"the event {event}" for event in wanted if event not in events
    ]


def entries(store: Store) -> Iterator[Entry]:
    """Read every entry."""
    for segment in store.segments():
        for parts in unpack(segment.data):
            yield read_entry(*parts)


def _do(house: House, *inputs: Input) -> None:
    """Take inputs, each in a turn of its own. Raises: what one was refused for."""
    for given in inputs:
        house.clock.at += SECOND
        for result in house.take(given):
            _check(result)


def _check(result: Result) -> None:
    if result.refused is not None:
        raise result.refused


def _policy(*people: str) -> Policy:
    return Policy(
        routes=Route(
            name="default",
            group_by=("host",),
            group_interval=MINUTE,
            repeat_interval=HOUR,
            ack_timeout=20 * MINUTE,
        ),
        targets=tuple(
            Target(id=name, channel="webhook" if name == "ops" else "email", address=f"{name}@gate.invalid")
            for name in people
        ),
        rate_limit=RateLimit(limit=4),
        retries=Retries(steps=(MINUTE,), give_up=3 * MINUTE),
    )


def _alert(house: House, host: str, rule_id: str = "disk", status: Status = Status.FIRING) -> None:
    _check(house.look(status, rule_id, Severity.ERROR, {"host": host}))


def _trouble(house: House) -> None:
    """Alerts come and go, and people do things to incidents."""
    house.until(NINE)
    for host in ("a", "b", "c", "d", "e", "f"):  # More than the rate limit lets through.
        _alert(house, host)
    house.wait(10 * MINUTE)
    _alert(house, "a")
    for _ in range(3):
        house.wait(MINUTE)
        _alert(house, "b", status=Status.GREEN)
    _alert(house, "c", status=Status.RESOLVED)
    house.wait(MINUTE)
    _alert(house, "c")
    for action, incident in (
        (Action.ACK, 1),
        (Action.UNACK, 1),
        (Action.NOTE, 1),
        (Action.SILENCE, 1),
        (Action.UNSILENCE, 1),
        (Action.ACK, 4),
    ):
        _check(house.act(action, incident, actor="anna", note="so it is"))
    _check(house.act(Action.SILENCE, 5, actor="ben", until=house.clock.at + 10 * MINUTE))
    house.look(Status.FIRING, "load", Severity.INFO, {"host": "g"}, ends_at=house.clock.at + 5 * MINUTE)
    house.wait(2 * HOUR)
    _do(house, BulkActed(action=Action.RESOLVE, incidents=(4, 5), note="mended"))


def _quiet(house: House) -> None:
    """Silences begin, move and end, made by people and by a maintenance."""
    at = house.clock.at
    _do(
        house,
        SilenceRequested(matchers=DISK, starts_at=at, ends_at=at + HOUR, comment="works", forced=True),
        SilenceMoved(silence=1, ends_at=at + 30 * MINUTE),
        SilenceRequested(matchers=DISK, starts_at=at + 10 * MINUTE, ends_at=at + HOUR),
        SilenceRequested(matchers=DISK, starts_at=at, ends_at=at + HOUR),
        SilenceCut(silence=3),
        MaintenanceRequested(
            matchers=DISK,
            rrule="FREQ=DAILY",
            zone="Europe/Berlin",
            begins="2027-01-15T16:00",
            lasting=HOUR,
        ),
    )
    _alert(house, "h")
    house.wait(4 * HOUR)
    _do(house, MaintenanceCut(maintenance=1))


def _wires(house: House) -> None:
    """Deliveries fail, are given up, taken up again and discarded; somebody rehearses; a target goes."""
    house.moods = {"email": Retry(why="503")}
    _alert(house, "i", "load")
    house.wait(10 * MINUTE)
    house.look(Status.FIRING, "load", Severity.INFO, {"host": "k"}, manual=Manual(dry_run=True))
    dead = next(number for number in range(1, 1000) if _is_dead(house.store, number))
    _do(house, DeliveryRetryAsked(delivery=dead), DeliveryDiscardAsked(delivery=dead, reason="known"))
    house.moods = {"email": Refused(why="no such box")}
    _alert(house, "l", "load")
    house.moods = {"email": Retry(why="503")}
    _alert(house, "m", "cpu")
    _do(house, PolicyChanged(policy=_policy("ops")))
    house.moods = {}


def _is_dead(store: Store, number: int) -> bool:
    row = store.delivery(number)
    return row is not None and row.state == "dead"


def _access(house: House) -> None:
    """Somebody is let in, and somebody is not."""
    token = Token(id="81b2", name="bot", role=Role.SERVICE, hash="", created_at=house.clock.at)
    _do(
        house,
        TokenIssued(token=token),
        TokenCut(token=token.id),
        AccessDenied(reason=Denial.PERMISSION, count=2, client="192.0.2.7", permission=Permission.SEND),
    )


def _forgetting(house: House) -> None:
    """Private parts are erased, one by wish and one by age, and an old incident goes."""
    house.wait(DAY)
    past = [seq for seq, number in _about(house.store) if number and number not in house.pump.state.incidents]
    _do(house, asked_for(house.store, past[:1], "a drill"))
    number = dict(_about(house.store))[past[-1]]
    _do(house, RetentionDue(entries=(past[-1],), about=(number,), incidents=(number,)))


def _about(store: Store) -> list[tuple[int, int]]:
    """Give (seq, number of the incident or 0) of every entry."""
    return [
        (header.seq, (number_of(header.incident) or 0) if header.incident else 0)
        for segment in store.segments()
        for header in (read_header(parts[0]) for parts in unpack(segment.data))
    ]
