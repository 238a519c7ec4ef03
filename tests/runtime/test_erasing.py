"""What is erased is nowhere any more, and the record stays whole."""

import asyncio
from pathlib import Path

import apsw
import pytest
from tests.runtime.test_replaying import replayed
from tests.support.fakes import SECOND, FakeClock, FakeIds

from tocsin.core.ledger.verify import verify
from tocsin.core.model.access import Role, Token
from tocsin.core.model.alert import Alert, Link, Severity, Status
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.input import (
    AccessDenied,
    Acted,
    Action,
    Denial,
    MaintenanceCut,
    MaintenanceRequested,
    Manual,
    OutcomeReported,
    PolicyChanged,
    SilenceCut,
    SilenceRequested,
    TokenIssued,
)
from tocsin.core.model.notification import Accepted, Refused, Retry, Target
from tocsin.core.model.policy import DAY, HOUR, MINUTE, Policy, Route
from tocsin.core.model.silence import Matcher
from tocsin.intake.native import received
from tocsin.runtime import forgetting
from tocsin.runtime.housekeeper import Housekeeper
from tocsin.runtime.pump import Pump, Request
from tocsin.runtime.turn import Result
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore

CANARY = "anna.karenina@example.org"
OTHER = "vronsky@example.org"


def a_policy(*addresses, keep=400 * DAY):
    return Policy(
        routes=Route(name="default", group_by=("host",), group_interval=MINUTE, reopen_within=MINUTE),
        targets=tuple(
            Target(id=f"t{n}", channel="email", address=address) for n, address in enumerate(addresses)
        ),
        rate_limit=None,
        keep=keep,
    )


class House:
    """A pump over a store, driven by hand."""

    def __init__(self, store):
        self.store = store
        self.clock = FakeClock()
        self.pump = Pump(store, self.clock, FakeIds(), origin="tests", on_committed=lambda committed: None)
        self.pump.open()

    def take(self, *inputs, after=SECOND):
        """Let time pass, then decide. Raises what was refused."""
        self.clock.advance(after)
        given = []

        def answer(_, results):
            assert not isinstance(results, Exception), results
            given.extend(results)

        self.pump.turn([Request(inputs, "anna", answer)])
        for result in given:
            if result.refused is not None:
                raise result.refused
        return given

    def fire(self, host, text, *, status=Status.FIRING, rule="disk", manual=None, window=0):
        given = received(
            Alert(
                rule_id=rule,
                scope={"host": host, "owner": text},
                severity=Severity.ERROR,
                status=status,
                message=f"tell {text}",
                annotations={"who": text},
                links=(Link(href=f"https://example.org/{text}"),),
                evidence={"said": text},
                source=f"from {text}",
                window_start=window,
                window_end=window + 1,
            )
        )
        given.manual = manual
        return self.take(given)

    def is_sound(self):
        head = self.store.head()
        return verify(
            self.store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at
        ).is_sound


def a_life(house):
    """Let a name get everywhere where names get."""
    house.take(PolicyChanged(policy=a_policy(OTHER, CANARY)))
    house.fire("h1", CANARY)
    house.fire("h2", OTHER)
    for delivery, outcome in (
        (1, Retry(why=f"451 {CANARY} try later")),
        (2, Refused(why=f"550 {CANARY} unknown")),
        (3, Accepted(detail=f"250 {OTHER}")),
    ):
        house.take(OutcomeReported(delivery=delivery, attempt=1, outcome=outcome))
    house.take(Acted(action=Action.NOTE, incident=1, note=f"call {CANARY}"))
    house.take(Acted(action=Action.NOTE, incident=2, note=f"call {OTHER}"))
    house.fire("h1", CANARY, rule="cpu", manual=Manual(dry_run=True))
    now = house.clock.now()
    house.take(
        SilenceRequested(
            matchers=(Matcher(name="owner", value=CANARY),),
            starts_at=now,
            ends_at=now + HOUR,
            comment=f"for {CANARY}",
        )
    )
    house.take(
        MaintenanceRequested(
            matchers=(Matcher(name="owner", value=CANARY),),
            rrule="FREQ=DAILY;COUNT=9",
            zone="UTC",
            begins="2026-01-01T12:30",
            lasting=MINUTE,
            comment=CANARY,
        )
    )
    house.take(TokenIssued(token=Token(id="t1", name=CANARY, role=Role.SERVICE, hash="", created_at=now)))
    house.take(AccessDenied(reason=Denial.SIGN_IN, count=1, client=CANARY))
    house.take(after=31 * MINUTE)
    return house


def is_over(house):
    """End everything that goes on about the name."""
    house.fire("h1", CANARY, status=Status.RESOLVED, window=9)
    for silence in range(1, 5):
        try:
            house.take(SilenceCut(silence=silence))
        except (NotFound, Conflict):
            pass
    house.take(MaintenanceCut(maintenance=1))
    house.take(PolicyChanged(policy=a_policy(OTHER)), after=10 * MINUTE)
    while waiting := list(house.pump.state.deliveries.values()):
        house.take(
            *(
                OutcomeReported(delivery=one.number, attempt=one.attempts + 1, outcome=Accepted())
                for one in waiting
            )
        )
    house.take(after=10 * MINUTE)
    return house


def on_disk(directory: Path):
    """Give all bytes of the database and of what lies beside it."""
    return b"".join(
        path.read_bytes() for path in sorted(directory.iterdir()) if path.name.startswith("tocsin.db")
    )


def test_a_name_that_was_erased_is_nowhere_on_the_disk(tmp_path):
    directory = tmp_path / "data"
    house = is_over(a_life(House(SqliteStore(directory))))
    assert CANARY.encode() in on_disk(directory)

    asked = forgetting.about_subject(house.store, CANARY.upper(), "asked for by letter")
    house.take(asked)

    assert CANARY.encode() not in on_disk(directory)
    assert OTHER.encode() in on_disk(directory)
    assert house.is_sound()
    house.store.close()
    assert CANARY.encode() not in on_disk(directory)
    assert replayed(directory, tmp_path / "again") == ([], 0)


def test_the_wal_is_cut_once_nobody_reads_it_any_more(tmp_path):
    directory = tmp_path / "data"
    house = House(SqliteStore(directory))
    house.take(PolicyChanged(policy=a_policy(OTHER)))
    house.fire("h1", CANARY)
    house.take(Acted(action=Action.RESOLVE, incident=1))
    reader = apsw.Connection(str(directory / "tocsin.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN").fetchall()
    reader.execute("SELECT size FROM head").fetchall()

    house.take(forgetting.about_subject(house.store, CANARY, "asked for"))
    assert CANARY.encode() in on_disk(directory)
    reader.close(True)
    house.fire("h2", OTHER)

    assert CANARY.encode() not in on_disk(directory)
    house.store.close()


def test_what_is_not_about_the_name_is_as_it_was(tmp_path):
    house = is_over(a_life(House(SqliteStore(tmp_path / "data"))))
    before = house.store.incident_view(2), house.store.message(2), house.store.entry(3)

    house.take(forgetting.about_subject(house.store, CANARY, "asked for"))

    assert (house.store.incident_view(2), house.store.message(2), house.store.entry(3)) == before
    view = house.store.incident_view(1)
    assert (view.title, view.labels, view.rule_id) == ("", {}, "disk")
    assert house.store.find_silence("1").silence.comment == ""
    house.store.close()


def test_an_alert_whose_text_was_erased_is_told_again_with_what_is_new(tmp_path):
    house = is_over(a_life(House(SqliteStore(tmp_path / "data"))))
    house.take(forgetting.about_subject(house.store, CANARY, "asked for"))

    (result,) = house.fire("h1", CANARY, window=500)

    assert result.outcome == "opened"
    number = result.incidents[0][1]
    assert house.store.incident_view(number).labels == {"host": "h1"}
    assert house.pump.state.members[number][0].labels()["owner"] == CANARY
    house.store.close()
    assert replayed(tmp_path / "data", tmp_path / "again") == ([], 0)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (lambda house: None, "Incident #1 is OPEN"),
        (lambda house: house.fire("h1", CANARY, status=Status.RESOLVED, window=9), "goes on|in force"),
    ],
)
def test_what_goes_on_cannot_be_erased(tmp_path, ending, message):
    house = a_life(House(MemoryStore()))
    ending(house)
    size = house.store.head().size

    with pytest.raises(Conflict, match=message):
        house.take(forgetting.about_subject(house.store, CANARY, "asked for"))
    assert house.store.head().size == size


def test_the_addresses_in_force_cannot_be_erased():
    house = House(MemoryStore())
    house.take(PolicyChanged(policy=a_policy(CANARY)))

    with pytest.raises(Conflict, match="policy in force"):
        house.take(forgetting.about_subject(house.store, CANARY, "asked for"))


def test_an_incident_that_was_resolved_by_hand_while_it_fires_can_be_erased(tmp_path):
    house = House(SqliteStore(tmp_path / "data"))
    house.take(PolicyChanged(policy=a_policy(OTHER)))
    house.fire("h1", CANARY)
    house.take(Acted(action=Action.RESOLVE, incident=1))

    house.take(forgetting.about_subject(house.store, CANARY, "asked for"))

    assert CANARY.encode() not in on_disk(tmp_path / "data")
    assert house.is_sound()
    house.store.close()
    assert replayed(tmp_path / "data", tmp_path / "again") == ([], 0)


def test_single_entries_are_erased_and_unknown_ones_are_not():
    house = a_life(House(MemoryStore()))
    note = next(
        seq
        for seq in range(house.store.head().size)
        if f"call {CANARY}".encode() in house.store.entry(seq)[2]
    )

    with pytest.raises(Conflict, match="is OPEN"):
        house.take(forgetting.asked_for(house.store, [note], "a slip of the pen"))
    house.take(Acted(action=Action.RESOLVE, incident=1))
    house.take(forgetting.asked_for(house.store, [note], "a slip of the pen"))

    assert house.store.entry(note)[2] == b""
    assert house.is_sound()
    with pytest.raises(NotFound, match="There is no entry 99999"):
        forgetting.asked_for(house.store, [99999], "x")


def test_a_text_that_stands_everywhere_is_refused():
    with pytest.raises(Invalid, match="fewer than 3 characters"):
        forgetting.about_subject(MemoryStore(), " a ", "x")


# Retention


def a_housekeeper(house, keep=30 * DAY):
    async def ask(given):
        (result,) = house.take(given)
        return result

    return Housekeeper(house.store, house.clock, ask, lambda: keep)


async def step_all(keeper):
    while await keeper.step():
        pass


def keep_house(house, keep=30 * DAY):
    asyncio.run(step_all(a_housekeeper(house, keep)))


def test_a_step_that_was_refused_is_not_repeated_at_once():
    house = is_over(a_life(House(MemoryStore())))
    house.take(after=40 * DAY)
    asked = []

    async def refuse(given):
        asked.append(given)
        return Result("recorded")

    keeper = Housekeeper(house.store, house.clock, refuse, lambda: 30 * DAY)
    asyncio.run(step_all(keeper))

    assert len(asked) == 1


@pytest.mark.parametrize("make", [lambda path: MemoryStore(), lambda path: SqliteStore(path)])
def test_what_is_older_than_is_kept_goes_and_what_is_open_stays(tmp_path, make):
    house = is_over(a_life(House(make(tmp_path / "data"))))
    counts = house.store.counts()
    house.take(after=40 * DAY)
    house.fire("h3", "late")

    keep_house(house)

    assert house.store.incident_view(1) is None
    assert house.store.incident_view(2).state == "OPEN"
    assert house.store.incident_view(2).title != ""
    assert house.store.deliveries_of(1) == []
    assert house.store.message(1) is None
    later = house.store.counts()
    pruned = later.pop("pruned")
    assert pruned > 0
    assert sum(later.values()) + pruned == house.store.head().counters.intents
    assert sum(counts.values()) < sum(later.values()) + pruned
    assert house.is_sound()


def test_what_retention_left_is_what_the_ledger_says(tmp_path):
    house = is_over(a_life(House(SqliteStore(tmp_path / "data"))))
    house.take(after=40 * DAY)

    keep_house(house)

    assert CANARY.encode() not in on_disk(tmp_path / "data")
    house.store.close()
    assert replayed(tmp_path / "data", tmp_path / "again") == ([], 0)


def test_nothing_goes_twice_and_nothing_at_all_where_it_is_kept_for_ever():
    house = is_over(a_life(House(MemoryStore())))
    house.take(after=40 * DAY)
    keep_house(house, keep=0)
    assert house.store.incident_view(1) is not None
    keep_house(house)
    size = house.store.head().size

    keep_house(house)

    assert house.store.head().size == size
