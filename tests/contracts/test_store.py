"""The contract of `tocsin.ports.Store`, for every store there is."""

import threading

import msgspec
import pytest
from tests.contracts.places import Place
from tests.contracts.rows import (
    a_batch,
    a_delivery,
    a_head,
    a_message,
    a_notification,
    a_policy,
    a_segment,
    a_silence,
    alert_id,
    an_alert,
    an_entry,
    an_incident,
    incident_id,
    new,
    opened,
)
from tests.support.fakes import NOON, SECOND

from tocsin.core.engine.state import Counters, RateWindow
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.access import Role, Token
from tocsin.core.model.alert import CANONICAL, Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import Policy, RateLimit
from tocsin.ports import AlertRow, Batch, IncidentFilter, IncidentRow, Store, StoreFailed

# What is there, what state needs


def test_a_new_store_is_empty(store: Store):
    memory = store.load()

    assert memory.head == a_head(at=0, alive_at=0, counters=Counters())
    assert memory.head.root == EMPTY_ROOT
    assert [*memory.incidents, *memory.alerts, *memory.deliveries, *memory.policies] == []
    assert [*memory.rates, *memory.silences, *store.segments(), *store.tokens()] == []
    assert store.counts() == {}
    assert store.entry(0) is None


def test_load_gives_what_was_committed_also_after_a_restart(place: Place):
    alert = an_alert(1, incidents=(1,), firing_in=(1,), looks=b"\x00look", lease=NOON + 5, silenced_by=(1,))
    delivery = a_delivery(1)
    window = RateWindow(times=[1, 2], withheld=3, owed=["t1"])
    policy = Policy(rate_limit=RateLimit(limit=3))
    place.open().commit(
        a_batch(
            head=a_head(1, root=b"r" * 32, edge=b"e" * 33, alive_at=NOON + 7, counters=Counters(alert=1)),
            segment=a_segment(0),
            incidents=[opened(1)],
            alerts=[AlertRow(alert=alert, live=True, is_new=True, joined=(1,))],
            new_deliveries=[delivery],
            rates=[("disk_full", window)],
            silences=[(a_silence(1), False)],
            policy=a_policy(1, policy),
        )
    )

    memory = place.open().load()

    assert memory.head == a_head(
        1, root=b"r" * 32, edge=b"e" * 33, alive_at=NOON + 7, counters=Counters(alert=1)
    )
    assert memory.incidents == [an_incident(1)]
    assert memory.alerts == [alert]
    assert memory.deliveries == [delivery.delivery]
    assert memory.rates == [("disk_full", window)]
    assert memory.silences == [(a_silence(1), False)]
    assert memory.policies == [(1, policy)]


def test_what_is_committed_does_not_change_with_the_live_record(store: Store):
    alert, incident, delivery, window = an_alert(1), an_incident(1), a_delivery(1), RateWindow(times=[1])
    store.commit(
        a_batch(
            incidents=[IncidentRow(incident=incident, live=True, title="t", labels={})],
            alerts=[AlertRow(alert=alert, live=True, is_new=True)],
            new_deliveries=[delivery],
            rates=[("disk_full", window)],
        )
    )
    before = msgspec.json.encode(store.load())

    alert.greens = incident.generation = delivery.delivery.attempts = 99
    window.times.append(2)

    assert msgspec.json.encode(store.load()) == before


def test_what_is_loaded_is_nobody_elses(store: Store):
    store.commit(a_batch(incidents=[opened(1)], alerts=[new(1, joined=(1,))]))
    one = store.load()

    one.alerts[0].greens = one.incidents[0].generation = one.head.counters.alert = 99

    two = store.load()
    assert (two.alerts[0].greens, two.incidents[0].generation, two.head.counters.alert) == (0, 1, 0)
    assert store.members(1)[0].greens == 0


def test_load_gives_the_live_only_by_number(store: Store):
    store.commit(
        a_batch(
            incidents=[opened(3), opened(1), opened(2, live=False)],
            alerts=[new(3), new(1), new(2, live=False)],
            new_deliveries=[a_delivery(3), a_delivery(1), a_delivery(2, DeliveryState.DRY_RUN)],
        )
    )

    memory = store.load()

    assert [one.number for one in memory.incidents] == [1, 3]
    assert [one.number for one in memory.alerts] == [1, 3]
    assert [one.number for one in memory.deliveries] == [1, 3]


def test_what_changes_is_replaced(store: Store):
    store.commit(
        a_batch(
            incidents=[opened(1)],
            alerts=[new(1)],
            new_deliveries=[a_delivery(1)],
            rates=[("r", RateWindow(times=[1]))],
            silences=[(a_silence(1), False), (a_silence(2), False)],
        )
    )

    resolved = an_incident(1, state=IncidentState.RESOLVED)
    store.commit(
        a_batch(
            incidents=[IncidentRow(incident=resolved, live=False)],
            alerts=[AlertRow(alert=an_alert(1, greens=2), live=True, is_new=False)],
            deliveries=[a_delivery(1, attempts=1, due=NOON + 1)],
            rates=[("r", RateWindow(times=[1, 2]))],
            silences=[(a_silence(1), True)],
            ended_silences=[2],
        )
    )

    memory = store.load()
    assert memory.incidents == []
    assert store.find_incident("1") == resolved
    assert store.incident_text(1) == ("disk full", {"host": "db-1"})
    assert [alert.greens for alert in memory.alerts] == [2]
    assert [(d.attempts, d.due) for d in memory.deliveries] == [(1, NOON + 1)]
    assert memory.rates == [("r", RateWindow(times=[1, 2]))]
    assert memory.silences == [(a_silence(1), True)]


def test_what_is_inserted_may_change_in_the_same_batch(store: Store):
    """A delivery that is decided and merged in one turn is written once and then followed."""
    store.commit(
        a_batch(
            new_deliveries=[a_delivery(1)],
            deliveries=[a_delivery(1, DeliveryState.MERGED, why="merged")],
            silences=[(a_silence(1), True)],
            ended_silences=[1],
        )
    )

    assert [(d.state, d.why) for d in store.deliveries_of(1)] == [(DeliveryState.MERGED, "merged")]
    assert store.load().silences == []


# All or nothing

VIOLATIONS = {
    "a segment that is there": {"segment": a_segment(0)},
    "an alert that is there": {"alerts": [new(8), new(1)]},
    "an alert given twice": {"alerts": [new(8), new(8)]},
    "an incident that is there": {"incidents": [opened(8), opened(1)]},
    "a notification that is there": {"notifications": [a_notification(8), a_notification(1)]},
    "a delivery that is there": {"new_deliveries": [a_delivery(8), a_delivery(1)]},
    "a policy that is there": {"policy": a_policy(1, digest="other")},
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_batch_with_a_violation_leaves_nothing(store: Store, violation: dict[str, object]):
    store.commit(
        a_batch(
            head=a_head(1),
            segment=a_segment(0),
            incidents=[opened(1)],
            alerts=[new(1, joined=(1,))],
            notifications=[a_notification(1)],
            new_deliveries=[a_delivery(1)],
            policy=a_policy(1),
        )
    )
    before = msgspec.json.encode((store.load(), store.counts(), store.members(1), [*store.segments()]))
    everything = {
        "head": a_head(2, alive_at=NOON + 9),
        "segment": a_segment(1),
        "incidents": [opened(9)],
        "alerts": [new(9, joined=(1,))],
        "leases": [an_alert(1, seen_at=NOON + 1)],
        "notifications": [a_notification(9)],
        "new_deliveries": [a_delivery(9)],
        "rates": [("r", RateWindow())],
        "silences": [(a_silence(1), True)],
        "policy": a_policy(2),
        "withheld": [("muted", 1)],
    }

    with pytest.raises(StoreFailed):
        store.commit(Batch(**{**everything, **violation}))  # type: ignore[arg-type]

    assert (
        msgspec.json.encode((store.load(), store.counts(), store.members(1), [*store.segments()])) == before
    )
    assert store.incident_view(9) is None
    assert store.message(9) is None

    store.commit(Batch(**everything))  # type: ignore[arg-type]
    assert store.head().size == 2


# Leases


@pytest.mark.parametrize(
    ("seen_at", "expected"),
    [
        (NOON + 1, (7, NOON + 1, NOON + 60)),  # looks that came after the alert was written
        (NOON, (0, NOON, NOON + 30)),  # the alert's row knew them already, and what happened since
        (NOON - 1, (0, NOON, NOON + 30)),
    ],
)
def test_a_lease_counts_where_it_is_younger_than_its_alert(
    store: Store, seen_at: int, expected: tuple[int, ...]
):
    store.commit(a_batch(alerts=[new(1, lease=NOON + 30), new(2, lease=NOON + 30)]))
    store.commit(a_batch(leases=[an_alert(1, repeats=7, seen_at=seen_at, lease=NOON + 60)]))

    one, two = store.load().alerts

    assert (one.repeats, one.seen_at, one.lease) == expected
    assert (two.repeats, two.seen_at, two.lease) == (0, NOON, NOON + 30)
    assert store.leases([2, 1, 77]) == ({1: NOON + 60} if seen_at > NOON else {})


def test_a_lease_is_renewed_and_a_later_row_of_its_alert_replaces_it(store: Store):
    store.commit(a_batch(alerts=[new(1)]))
    store.commit(a_batch(leases=[an_alert(1, repeats=1, seen_at=NOON + 1, lease=5)]))
    store.commit(a_batch(leases=[an_alert(1, repeats=2, seen_at=NOON + 2, lease=6)]))
    assert [(a.repeats, a.seen_at, a.lease) for a in store.load().alerts] == [(2, NOON + 2, 6)]

    extended = an_alert(1, repeats=2, seen_at=NOON + 2, lease=600)
    store.commit(a_batch(alerts=[AlertRow(alert=extended, live=True, is_new=False)]))

    assert [(a.repeats, a.seen_at, a.lease) for a in store.load().alerts] == [(2, NOON + 2, 600)]
    assert store.leases([1]) == {}


def test_an_alert_that_is_no_longer_live_has_no_lease(store: Store):
    store.commit(a_batch(alerts=[new(1), new(2)]))
    store.commit(a_batch(leases=[an_alert(number, seen_at=NOON + 1, lease=9) for number in (1, 2)]))

    over = AlertRow(alert=an_alert(1), live=False, is_new=False)
    store.commit(a_batch(alerts=[over], leases=[an_alert(1, seen_at=NOON + 2, lease=9)]))

    assert store.leases([1, 2]) == {2: 9}
    assert [alert.number for alert in store.recall([alert_id(1)])] == [1]


def test_leases_of_very_many_alerts_are_found(store: Store):
    numbers = [*range(1, 1_301)]
    store.commit(a_batch(alerts=[new(number) for number in numbers]))
    store.commit(a_batch(leases=[an_alert(number, seen_at=NOON + 1, lease=number) for number in numbers]))

    assert store.leases(numbers) == {number: number for number in numbers}
    assert store.leases([]) == {}


# Recall


def test_recall_gives_only_what_is_no_longer_live(store: Store):
    assert store.recall([alert_id(1)]) == []
    store.commit(
        a_batch(alerts=[new(3, live=False), new(1, live=False, looks=b"look"), new(2), new(4, live=False)])
    )

    found = store.recall([alert_id(3), alert_id(2), alert_id(1), alert_id(99), alert_id(3)])

    assert found == [an_alert(1, looks=b"look"), an_alert(3)]
    assert store.recall([]) == []


def test_recall_of_very_many_is_by_number(store: Store):
    numbers = [*range(1, 1_301)]
    store.commit(a_batch(alerts=[new(number, live=False) for number in numbers]))

    found = store.recall([alert_id(number) for number in reversed(numbers)])

    assert [alert.number for alert in found] == numbers


def test_an_alert_that_comes_back_to_life_is_loaded_and_not_recalled(store: Store):
    store.commit(a_batch(alerts=[new(1, live=False)]))
    store.commit(a_batch(alerts=[AlertRow(alert=an_alert(1), live=True, is_new=False)]))

    assert store.recall([alert_id(1)]) == []
    assert [alert.number for alert in store.load().alerts] == [1]


# The ledger


def a_ledger(store: Store, *counts: int) -> None:
    """Commit one segment of each length."""
    size = 0
    for count in counts:
        store.commit(a_batch(head=a_head(size + count), segment=a_segment(size, count)))
        size += count


@pytest.mark.parametrize(
    ("first_seq", "expected"),
    [
        (0, [0, 1, 4, 6]),
        (1, [1, 4, 6]),
        (3, [1, 4, 6]),
        (4, [4, 6]),
        (6, [6]),
        (8, [6]),  # beyond the end: the last one, as it might hold it
        (-5, [0, 1, 4, 6]),
    ],
)
def test_segments_begin_with_the_one_that_holds_the_entry(store: Store, first_seq: int, expected: list[int]):
    a_ledger(store, 1, 3, 2, 1)

    assert [segment.first_seq for segment in store.segments(first_seq)] == expected


def test_a_segment_comes_back_as_it_was(store: Store):
    a_ledger(store, 2, 1)

    assert [*store.segments()] == [a_segment(0, 2), a_segment(2, 1)]


def test_segments_go_on_over_many_small_and_some_large_ones(store: Store):
    counts = [1] * 300 + [1_000] + [1] * 20 + [400]
    a_ledger(store, *counts)

    assert [segment.count for segment in store.segments()] == counts


def test_segments_see_what_is_committed_while_they_are_read(store: Store):
    a_ledger(store, 1)
    reading = store.segments()
    assert next(reading).first_seq == 0

    store.commit(a_batch(head=a_head(2), segment=a_segment(1)))

    assert [segment.first_seq for segment in reading] == [1]


@pytest.mark.parametrize("seq", [0, 1, 3, 4])
def test_an_entry_is_found_by_its_number(store: Store, seq: int):
    a_ledger(store, 1, 3, 1)

    assert store.entry(seq) == an_entry(seq)


@pytest.mark.parametrize("seq", [-1, 5, 1 << 40])
def test_there_is_no_entry_outside_the_ledger(store: Store, seq: int):
    a_ledger(store, 1, 3, 1)

    assert store.entry(seq) is None


def test_the_head_is_as_it_was_last_committed(store: Store):
    a_ledger(store, 1, 3)

    assert store.head() == a_head(4) == store.load().head


def test_alive_moves_nothing_but_itself(store: Store):
    a_ledger(store, 2)

    store.alive(NOON + 3 * SECOND)

    assert store.head() == a_head(2, alive_at=NOON + 3 * SECOND)


# Incidents, as people ask for them


def three_incidents(store: Store) -> None:
    store.commit(
        a_batch(
            incidents=[
                opened(1, severity=Severity.CRITICAL),
                opened(2, live=False),
                opened(3, state=IncidentState.ACK, severity=Severity.CRITICAL, rule_id="cpu"),
            ]
        )
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (IncidentFilter(), [3, 2, 1]),
        (IncidentFilter(states=(IncidentState.OPEN,)), [1]),
        (IncidentFilter(states=(IncidentState.OPEN, IncidentState.RESOLVED)), [2, 1]),
        (IncidentFilter(states=(IncidentState.SILENCED,)), []),
        (IncidentFilter(severity=Severity.CRITICAL), [3, 1]),
        (IncidentFilter(severity=Severity.ERROR), []),
        (IncidentFilter(rule_id="disk_full"), [2, 1]),
        (IncidentFilter(rule_id="disk_full' OR 1=1 --"), []),
        (IncidentFilter(severity=Severity.CRITICAL, rule_id="cpu", states=(IncidentState.ACK,)), [3]),
        (IncidentFilter(severity=Severity.CRITICAL, rule_id="cpu", states=(IncidentState.OPEN,)), []),
    ],
)
def test_incidents_are_listed_newest_first_as_they_were_asked_for(
    store: Store, wanted: IncidentFilter, expected: list[int]
):
    three_incidents(store)

    listed, total = store.list_incidents(wanted, 10)

    assert [view.number for view in listed] == expected
    assert total == len(expected)


def test_pages_neither_repeat_nor_miss_when_incidents_are_opened_meanwhile(store: Store):
    store.commit(a_batch(incidents=[opened(number) for number in range(1, 8)]))
    pages, after, opening = [], None, 8
    while True:
        page, total = store.list_incidents(IncidentFilter(rule_id="disk_full", after=after), 3)
        if not page:
            break
        pages.append([view.number for view in page])
        assert total == opening - 1
        after = page[-1].number
        store.commit(a_batch(incidents=[opened(opening)]))
        opening += 1

    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


def test_a_page_may_be_empty_and_the_total_is_not(store: Store):
    three_incidents(store)

    assert store.list_incidents(IncidentFilter(), 0) == ([], 3)
    assert store.list_incidents(IncidentFilter(after=1), 5) == ([], 3)


def test_an_incident_is_shown_with_its_title_and_labels(store: Store):
    store.commit(
        a_batch(
            incidents=[
                opened(1, title="disk of db-1", labels={"host": "db-1", "b": "c"}, firing=2, cleared=1)
            ]
        )
    )

    view = store.incident_view(1)

    assert view is not None
    assert (view.number, view.id, view.title, view.firing, view.cleared) == (
        1,
        incident_id(1),
        "disk of db-1",
        2,
        1,
    )
    assert view.labels == {"host": "db-1", "b": "c"}
    assert [*view.labels] == ["b", "host"]
    assert view.resolved_at is None
    assert store.list_incidents(IncidentFilter(), 1)[0] == [view]
    assert store.incident_text(1) == ("disk of db-1", {"host": "db-1", "b": "c"})


@pytest.mark.parametrize("number", [-1, 0, 7, (1 << 63) - 1, 1 << 63, 1 << 70])
def test_a_number_that_nobody_gave_finds_nothing(store: Store, number: int):
    assert store.delivery(number) is None
    assert store.delivery_view(number) is None
    assert store.incident_view(number) is None
    assert store.message(number) is None
    assert store.policy(number) is None
    assert not store.is_live(number)
    assert store.members(number) == []
    assert store.deliveries_of(number) == []
    assert store.attempts_of(number) == []
    assert store.find_incident(str(number)) is None
    assert store.find_silence(str(number)) is None


def test_what_is_not_there_is_none(store: Store):
    assert store.incident_view(1) is None
    assert store.incident_text(1) is None
    assert store.message(1) is None
    assert store.members(1) == []
    assert store.deliveries_of(1) == []
    assert store.secret("id_key") is None


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("asked", ["42", incident_id(42)])
def test_an_incident_is_found_by_id_and_by_number(store: Store, asked: str, live: bool):
    row = opened(42, live=live)
    store.commit(a_batch(incidents=[row]))

    assert store.find_incident(asked) == row.incident


@pytest.mark.parametrize(
    "asked",
    [
        "41",
        "042",
        "+42",
        "4_2",
        " 42",
        "٤٢",
        "0",
        "-42",
        "",
        "forty-two",
        "cd" * 12 + f"{42:08x}",  # another incident's digest with the right number
        incident_id(42).upper(),
        incident_id(42) + "0",
        incident_id(43),
        "9" * 5_000,
        "9" * 19,
        "ab" * 12 + "f" * 20,
    ],
)
def test_an_incident_is_not_found_by_anything_else(store: Store, asked: str):
    store.commit(a_batch(incidents=[opened(42)]))

    assert store.find_incident(asked) is None


def test_members_are_in_the_order_in_which_they_were_first_seen(store: Store):
    store.commit(
        a_batch(incidents=[opened(1), opened(2)], alerts=[new(2, joined=(1,)), new(3, joined=(1, 2))])
    )
    again = AlertRow(alert=an_alert(3, greens=1), live=True, is_new=False, joined=(1,))
    store.commit(a_batch(alerts=[again, new(1, live=False, joined=(1,))]))

    assert store.members(1) == [an_alert(1), an_alert(2), an_alert(3, greens=1)]
    assert store.members(2) == [an_alert(3, greens=1)]


def test_a_message_comes_back_as_it_was(store: Store):
    message = a_message("Zeile 1\nline 2 \U0001f514")
    store.commit(a_batch(notifications=[a_notification(1, CANONICAL.encode(message)), a_notification(2)]))

    assert store.message(1) == message


def test_deliveries_of_an_incident_are_shown_oldest_first(store: Store):
    store.commit(
        a_batch(
            new_deliveries=[
                a_delivery(3, due=NOON + 5, attempts=2, why="503"),
                a_delivery(1, DeliveryState.DELIVERED, at=NOON + 2, why="200"),
                a_delivery(2, incident=2),
                a_delivery(4, incident=0),
            ]
        )
    )

    shown = store.deliveries_of(1)

    assert [(d.number, d.state, d.attempts, d.at, d.due, d.why) for d in shown] == [
        (1, DeliveryState.DELIVERED, 0, NOON + 2, None, "200"),
        (3, DeliveryState.PENDING, 2, NOON, NOON + 5, "503"),
    ]
    assert (shown[0].key, shown[0].channel, shown[0].kind) == (f"{1:064x}", "webhook", "opened")
    assert [d.number for d in store.deliveries_of(2)] == [2]
    assert store.deliveries_of(0) == []  # what belongs to no incident is no incident's


def test_counts_tell_deliveries_by_state_and_what_was_withheld_by_reason(store: Store):
    store.commit(
        a_batch(
            new_deliveries=[a_delivery(1), a_delivery(2), a_delivery(3, DeliveryState.DEAD)],
            withheld=[("suppressed", 2), ("muted", 1), ("muted", 1)],
        )
    )
    store.commit(a_batch(deliveries=[a_delivery(2, DeliveryState.ACCEPTED)], withheld=[("suppressed", 3)]))

    counts = store.counts()

    assert [*counts.items()] == [
        ("accepted", 1),
        ("dead", 1),
        ("pending", 1),
        ("withheld:muted", 2),
        ("withheld:suppressed", 5),
    ]


# Secrets and tokens


def test_a_secret_is_kept_once(place: Place):
    store = place.open()
    store.keep_secret("id_key", b"\x00\xff" * 16)

    with pytest.raises(StoreFailed):
        store.keep_secret("id_key", b"another")

    assert place.open().secret("id_key") == b"\x00\xff" * 16


def test_a_secret_that_may_change_is_replaced(place: Place):
    store = place.open()
    store.put_secret("pepper_fingerprint", b"first")
    store.put_secret("other", b"stays")

    store.put_secret("pepper_fingerprint", b"\x00second")

    assert store.secret("pepper_fingerprint") == b"\x00second"
    assert place.open().secret("pepper_fingerprint") == b"\x00second"
    assert place.open().secret("other") == b"stays"


def test_tokens_are_kept_replaced_and_listed_oldest_first(place: Place):
    store = place.open()
    old = Token(id="zz", name="anna", role=Role.ADMIN, hash="h1", created_at=NOON)
    young = Token(id="aa", name="ben", role=Role.VIEWER, hash="h2", created_at=NOON + 1)
    for token in (young, old):
        store.put_token(token)

    store.put_token(msgspec.structs.replace(young, revoked_at=NOON + 2))

    assert place.open().tokens() == [old, msgspec.structs.replace(young, revoked_at=NOON + 2)]


def test_what_rules_remember_is_kept_replaced_and_forgotten_together(place: Place):
    store = place.open()
    store.put_evaluations({"orders": b"\x00\xff", "refunds": b"2", "\0source": b"3"})

    store.put_evaluations({"orders": b"new", "refunds": None, "never there": None})
    store.put_evaluations({})

    assert place.open().evaluations() == {"\0source": b"3", "orders": b"new"}


# Texts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "naïve Ünïcödé 警報 \U0001f514",
        "a\x00b",
        "\x00",
        "'; DROP TABLE head; --",
        "x" * 1_048_576,
        "\u2028\ufeff\r\n",
    ],
    ids=["empty", "unicode", "NUL inside", "NUL", "SQL", "1 MiB", "line ends"],
)
def test_any_text_comes_back_as_it_was(store: Store, text: str):
    name, short = f"rule {text}"[:256], text[:256]
    store.commit(
        a_batch(
            incidents=[opened(1, title=text, labels={text: text}, rule_id=name, acked_by=text)],
            alerts=[new(1, joined=(1,), rule_id=name, source=text, scope=CANONICAL.encode({"host": text}))],
            notifications=[a_notification(1, CANONICAL.encode(a_message(text)))],
            new_deliveries=[a_delivery(1, why=text, channel=text)],
            rates=[(name, RateWindow(owed=[text]))],
            withheld=[(short, 1)],
        )
    )
    store.put_token(Token(id=short, name=text, role=Role.VIEWER, hash=text, created_at=1))

    assert store.incident_text(1) == (text, {text: text})
    assert [view.number for view in store.list_incidents(IncidentFilter(rule_id=name), 5)[0]] == [1]
    assert store.list_incidents(IncidentFilter(rule_id="rule"), 5) == ([], 0)
    (alert,) = store.members(1)
    assert (alert.rule_id, alert.source, alert.labels()["host"]) == (name, text, text)
    assert store.message(1) == a_message(text)
    assert [(d.why, d.channel) for d in store.deliveries_of(1)] == [(text, text)]
    assert store.load().rates == [(name, RateWindow(owed=[text]))]
    assert store.counts() == {"pending": 1, f"withheld:{short}": 1}
    assert [(token.id, token.name) for token in store.tokens()] == [(short, text)]


# Several threads


def test_readers_in_several_threads_see_only_what_was_committed(store: Store):
    turns = 120
    done = threading.Event()
    seen: list[int] = []
    wrong: list[object] = []

    def read() -> None:
        try:
            size = 0
            while not done.is_set() or not size:
                size = store.head().size
                listed, total = store.list_incidents(IncidentFilter(), 1_000)
                numbers = [view.number for view in listed]
                if not (len(numbers) == total >= size and numbers == [*range(total, 0, -1)]):
                    wrong.append((size, total, numbers[:3]))
                if len(store.members(1)) < total:
                    wrong.append(("members", total))
                if sum(segment.count for segment in store.segments()) < total:
                    wrong.append(("segments", total))
            seen.append(size)
        except BaseException as error:  # a test that lost its thread must not pass
            wrong.append(error)

    store.commit(
        a_batch(head=a_head(1), segment=a_segment(0), incidents=[opened(1)], alerts=[new(1, joined=(1,))])
    )
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, turns + 1):
            with pytest.raises(StoreFailed):  # the incident that must never be seen
                store.commit(
                    a_batch(incidents=[opened(9_000 + number)], new_deliveries=[a_delivery(1), a_delivery(1)])
                )
            store.commit(
                a_batch(
                    head=a_head(number),
                    segment=a_segment(number - 1),
                    incidents=[opened(number)],
                    alerts=[new(number, joined=(1,))],
                )
            )
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert len(seen) == 3
    assert store.head().size == turns


def test_a_token_may_be_put_by_another_thread_while_turns_are_committed(store: Store):
    wrong: list[BaseException] = []

    def put() -> None:
        try:
            for number in range(60):
                store.put_token(
                    Token(id=f"{number:04}", name="n", role=Role.VIEWER, hash="h", created_at=number)
                )
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    for number in range(1, 61):  # half of the turns fail, and must not take a token with them
        store.commit(a_batch(alerts=[new(number)]))
        with pytest.raises(StoreFailed):
            store.commit(a_batch(alerts=[new(number)]))
    thread.join()

    assert wrong == []
    assert len(store.tokens()) == 60
