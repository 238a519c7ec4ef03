"""The contract of lists and statistics: both kinds of store answer as a plain list of incidents would."""

import math
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.places import PLACES
from tests.contracts.rows import (
    a_batch,
    a_delivery,
    a_head,
    a_notification,
    an_alert,
    an_incident,
    new,
    opened,
)
from tests.support.databases import VERSIONS
from tests.support.fakes import NOON, SECOND

from tocsin.core.engine.durations import DAY
from tocsin.core.engine.state import LiveIncident
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import AlertRow, DeliveryFilter, IncidentFilter, IncidentRow, Store, StoreFailed

MINUTE = 60 * SECOND
KINDS = ("memory", "sqlite", VERSIONS[-1])

# Any incidents, any filter

TITLES = ("disk full on db-1", "DISK 97 %", "a\x00b_c%d", "ÄÖ ß ſ", "", "'; DROP TABLE head; --")
TEXTS = ("", "disk", "DISK", "%", "_", "\x00B", "ö", "Ö", "ß", "S", "'")
NAMES = ("host", "a.b", 'q"uote', "back\\slash", "", "$", "\x00", "🔔")
VALUES = ("db-1", "db-2", "", '"', "1")
RULES = ("disk", "cpu", "disk' OR 1=1 --")
INSTANTS = tuple(NOON + day * DAY + 7 * MINUTE for day in (-40, -33, -3, -1, 0))


def incidents(number: int) -> st.SearchStrategy[tuple[LiveIncident, bool]]:
    """Any incident of that number, and whether it is live: what is not is resolved."""

    def build(live: bool, state: IncidentState, severity: Severity, rule_id: str, *moments: int) -> object:
        opened_at, to_ack, to_resolve = moments
        over = not live or state is IncidentState.RESOLVED
        return (
            an_incident(
                number,
                state=IncidentState.RESOLVED if over else state,
                severity=severity,
                rule_id=rule_id,
                opened_at=opened_at,
                acked_at=opened_at + to_ack if to_ack else 0,
                resolved_at=opened_at + to_resolve if over else 0,
            ),
            live,
        )

    return st.builds(
        build,
        st.booleans(),
        st.sampled_from(IncidentState),
        st.sampled_from(Severity),
        st.sampled_from(RULES),
        st.sampled_from(INSTANTS),
        st.one_of(st.just(0), st.integers(SECOND, DAY)),
        st.integers(SECOND, 2 * DAY),
    )  # type: ignore[return-value]


def labels() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3)


def moments() -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.sampled_from([at + step for at in INSTANTS for step in (-1, 0, 1)]))


def filters() -> st.SearchStrategy[IncidentFilter]:
    return st.builds(
        IncidentFilter,
        states=st.lists(st.sampled_from(IncidentState), unique=True, max_size=4).map(tuple),
        severity=st.one_of(st.none(), st.sampled_from(Severity)),
        rule_id=st.one_of(st.none(), st.sampled_from((*RULES, "none"))),
        scope=labels().map(lambda given: tuple(given.items())[:2]),
        text=st.sampled_from(TEXTS),
        since=moments(),
        until=moments(),
        after=st.one_of(st.none(), st.integers(0, 12)),
    )


class Book:
    """Incidents as a plain dict: what every store must agree with."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[LiveIncident, bool]] = {}
        self.texts: dict[int, tuple[str, dict[str, str]]] = {}

    def turn(self, changes: list[tuple[LiveIncident, bool]], texts: list[tuple[str, dict[str, str]]]) -> dict:
        """Change it, and give the parts of the batch that does the same."""
        given, recalled = [], []
        for (incident, live), text in zip(changes, texts, strict=False):
            before = self.rows.get(incident.number)
            if before is None:
                self.texts[incident.number] = text
                given.append(IncidentRow(incident=incident, live=live, title=text[0], labels=text[1]))
            else:
                given.append(IncidentRow(incident=incident, live=live))
                if live and not before[1]:
                    recalled.append(before[0])
            self.rows[incident.number] = incident, live
        return {"incidents": given, "recalled": recalled}

    def fitting(self, wanted: IncidentFilter) -> list[int]:
        return [
            number
            for number, (incident, _) in sorted(self.rows.items(), reverse=True)
            if (not wanted.states or incident.state in wanted.states)
            and wanted.severity in (None, incident.severity)
            and wanted.rule_id in (None, incident.rule_id)
            and {*wanted.scope} <= self.texts[number][1].items()
            and lowered(wanted.text) in lowered(self.texts[number][0])
            and (wanted.since is None or incident.opened_at >= wanted.since)
            and (wanted.until is None or incident.opened_at < wanted.until)
        ]


def lowered(text: str) -> str:
    """Make A to Z small, and leave every other character as it is."""
    return "".join(chr(ord(one) + 32) if "A" <= one <= "Z" else one for one in text)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lists_and_statistics_are_those_of_a_plain_list(data: st.DataObject):
    with ExitStack() as ending:
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        places = [PLACES[kind](directory) for kind in KINDS]
        for place in places:
            ending.callback(place.leave)
        book = Book()
        for _ in range(data.draw(st.integers(1, 4), "turns")):
            numbers = data.draw(st.lists(st.integers(1, 10), unique=True, min_size=1, max_size=8), "numbers")
            changes = [data.draw(incidents(number)) for number in numbers]
            texts = [(data.draw(st.sampled_from(TITLES)), data.draw(labels())) for _ in numbers]
            parts = book.turn(changes, texts)
            for place in places:
                place.open().commit(a_batch(**parts))
        stores = [place.open() for place in places]

        for _ in range(6):
            wanted = data.draw(filters(), "filter")
            limit = data.draw(st.integers(0, 6), "limit")
            fitting = book.fitting(wanted)
            page = [n for n in fitting if wanted.after is None or n < wanted.after][:limit]
            for store in stores:
                listed, total = store.list_incidents(wanted, limit)
                assert ([view.number for view in listed], total) == (page, len(fitting))

        since, until = (
            data.draw(st.integers(NOON - 45 * DAY, NOON + 5 * DAY), name) for name in ("since", "until")
        )
        one, *others = (store.stats(since, until) for store in stores)
        assert all(other == one for other in others)
        assert_counts(one, book)
        resolved = resolved_in_days(book, since, until)
        assert_took(one.resolved, [i.resolved_at - i.opened_at for i in resolved])
        assert_took(one.acknowledged, [i.acked_at - i.opened_at for i in resolved if i.acked_at])


def assert_counts(stats, book: Book) -> None:
    everything = [incident for incident, _ in book.rows.values()]
    assert stats.total == len(everything)
    assert stats.by_state == {s: sum(i.state is s for i in everything) for s in IncidentState}
    assert stats.by_severity == {s: sum(i.severity is s for i in everything) for s in Severity}
    rules = {rule: [i for i in everything if i.rule_id == rule] for rule in RULES}
    assert stats.by_rule == sorted(
        (
            (rule, len(of_rule), sum(i.state is not IncidentState.RESOLVED for i in of_rule))
            for rule, of_rule in rules.items()
            if of_rule
        ),
        key=lambda row: (-row[1], row[0]),
    )


def resolved_in_days(book: Book, since: int, until: int) -> list[LiveIncident]:
    """Give those that were resolved on a day that the span touches."""
    touched = range(since // DAY, (until - 1) // DAY + 1) if since < until else range(0)
    return [
        incident
        for incident, _ in book.rows.values()
        if incident.state is IncidentState.RESOLVED and incident.resolved_at // DAY in touched
    ]


def assert_took(found, durations: list[int]) -> None:
    assert found.count == len(durations)
    for percent, named in ((50, found.p50), (90, found.p90)):
        if not durations:
            assert named is None
        else:
            exact = sorted(durations)[math.ceil(len(durations) * percent / 100) - 1]
            assert abs(named - exact) <= exact * 0.05


# What is worth a name of its own


def test_an_incident_that_comes_back_is_counted_where_it_is_now(store: Store):
    over = opened(1, live=False, severity=Severity.ERROR, resolved_at=NOON + 3 * MINUTE)
    store.commit(a_batch(incidents=[over, opened(2, live=False)]))
    assert store.stats(NOON, NOON + 1).resolved.count == 2

    back = an_incident(1, severity=Severity.CRITICAL, opened_at=NOON + DAY)
    store.commit(a_batch(incidents=[IncidentRow(incident=back, live=True)], recalled=[over.incident]))

    stats = store.stats(NOON, NOON + 1)
    assert (stats.total, stats.by_state[IncidentState.OPEN], stats.by_severity[Severity.ERROR]) == (2, 1, 0)
    assert stats.resolved.count == 1
    assert store.list_incidents(IncidentFilter(severity=Severity.ERROR), 5) == ([], 0)
    assert [one.number for one in store.load().incidents] == [1]


def test_what_never_ends_in_a_batch_that_fails_changes_no_count(store: Store):
    store.commit(a_batch(incidents=[opened(1), opened(2, live=False)], new_deliveries=[a_delivery(1)]))
    before = store.stats(NOON, NOON + 1), store.counts()

    resolved = an_incident(1, state=IncidentState.RESOLVED, resolved_at=NOON + 9)
    with pytest.raises(StoreFailed):
        store.commit(
            a_batch(
                incidents=[IncidentRow(incident=resolved, live=False), opened(2)],
                deliveries=[a_delivery(1, DeliveryState.DEAD)],
            )
        )

    assert (store.stats(NOON, NOON + 1), store.counts()) == before


def test_an_incident_that_is_not_over_cannot_leave(store: Store):
    with pytest.raises(AssertionError, match="leaves unresolved"):
        store.commit(a_batch(incidents=[opened(1, live=False, state=IncidentState.ACK)]))

    assert store.stats(NOON, NOON + 1).total == 0


def test_statistics_of_a_year_count_each_day_once(store: Store):
    year = [
        opened(day + 1, live=False, opened_at=NOON + day * DAY, resolved_at=NOON + day * DAY + MINUTE)
        for day in range(365)
    ]
    store.commit(a_batch(incidents=year))

    for first, end in ((0, 365), (0, 1), (5, 40), (31, 33), (17, 300), (364, 365), (400, 500)):
        stats = store.stats(NOON + first * DAY, NOON + end * DAY - DAY // 2)
        assert stats.resolved.count == max(0, min(end, 365) - first)
    assert store.stats(NOON + DAY, NOON).resolved.count == 0


def test_the_rules_with_the_most_incidents_come_first_and_are_fifty(store: Store):
    rows = [opened(n, live=n % 2 == 0, rule_id=f"rule-{n % 60:02}") for n in range(1, 151)]
    store.commit(a_batch(incidents=rows))

    by_rule = store.stats(NOON, NOON).by_rule

    assert by_rule[:2] == [("rule-01", 3, 0), ("rule-02", 3, 3)]
    assert by_rule[29:32] == [("rule-30", 3, 3), ("rule-00", 2, 2), ("rule-31", 2, 0)]
    assert len(by_rule) == 50


def test_pages_go_on_where_what_is_live_and_what_is_past_lie_side_by_side(store: Store):
    store.commit(a_batch(incidents=[opened(n, live=n % 3 == 0, rule_id="r") for n in range(1, 101)]))

    seen, after = [], None
    while page := store.list_incidents(IncidentFilter(rule_id="r", after=after), 7)[0]:
        seen += [view.number for view in page]
        after = seen[-1]

    assert seen == [*range(100, 0, -1)]


def test_readers_see_an_incident_once_while_it_leaves_and_comes_back(store: Store):
    live = [opened(number) for number in range(1, 21)]
    store.commit(a_batch(incidents=live))
    done, wrong, looks = threading.Event(), [], []

    def read() -> None:
        try:
            while not done.is_set() or not looks:
                stats = store.stats(NOON - DAY, NOON + DAY)
                listed, total = store.list_incidents(IncidentFilter(rule_id="disk_full"), 50)
                if not stats.total == total == len(listed) == 20:
                    wrong.append((stats.total, total, len(listed)))
                if stats.resolved.count != stats.by_state[IncidentState.RESOLVED]:
                    wrong.append(stats)
                looks.append(total)
        except BaseException as error:  # a test that lost its thread must not pass
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            over = [
                an_incident(row.incident.number, state=IncidentState.RESOLVED, resolved_at=NOON + MINUTE)
                for row in live
            ]
            store.commit(a_batch(incidents=[IncidentRow(incident=one, live=False) for one in over]))
            back = [IncidentRow(incident=row.incident, live=True) for row in live]
            store.commit(a_batch(incidents=back, recalled=over))
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert store.stats(NOON - DAY, NOON + DAY).by_state[IncidentState.OPEN] == 20


# Alerts that were seen


def test_alerts_that_are_live_come_first_and_of_the_others_those_seen_lately(store: Store):
    store.commit(
        a_batch(
            alerts=[
                new(4, seen_at=NOON - DAY),
                new(2, live=False, seen_at=NOON + 5),
                new(3, live=False, seen_at=NOON),
                new(1, live=False, seen_at=NOON - 1),
                new(5, live=False, seen_at=NOON + 5),
            ]
        )
    )

    assert [alert.number for alert in store.alerts_seen(NOON)] == [4, 3, 2, 5]
    assert [alert.number for alert in store.alerts_seen(NOON + 6)] == [4]
    assert next(store.alerts_seen(0)) == an_alert(4, seen_at=NOON - DAY)


def test_an_alert_that_leaves_or_comes_back_is_seen_where_it_is(store: Store):
    store.commit(a_batch(alerts=[new(1), new(2, live=False)]))

    left = AlertRow(alert=an_alert(1, seen_at=NOON + 7), live=False, is_new=False)
    back = AlertRow(alert=an_alert(2, seen_at=NOON + 8), live=True, is_new=False)
    store.commit(a_batch(alerts=[left, back]))

    assert [alert.number for alert in store.alerts_seen(NOON + 7)] == [2, 1]
    assert [alert.number for alert in store.alerts_seen(NOON + 8)] == [2]


def test_very_many_alerts_are_given_once_each_also_if_they_leave_meanwhile(store: Store):
    numbers = [*range(1, 1_301)]
    store.commit(a_batch(alerts=[new(n, live=n > 600, seen_at=NOON + n % 2) for n in numbers]))
    seeing = store.alerts_seen(NOON)
    first = next(seeing)

    left = AlertRow(alert=an_alert(first.number, seen_at=NOON + 9), live=False, is_new=False)
    store.commit(a_batch(alerts=[left]))

    assert sorted([first.number, *(alert.number for alert in seeing)]) == numbers


# Deliveries


def some_deliveries(store: Store) -> None:
    """Commit two incidents and six deliveries of four notifications, an hour apart."""
    store.commit(
        a_batch(
            head=a_head(at=NOON + 9),
            incidents=[opened(1, rule_id="disk"), opened(2, live=False, rule_id="cpu")],
            notifications=[a_notification(n, at=NOON + n * 60 * MINUTE) for n in (1, 2, 3, 4)],
            new_deliveries=[
                a_delivery(1, notification=1),
                a_delivery(2, DeliveryState.DEAD, notification=1, channel="mail", why="550"),
                a_delivery(3, DeliveryState.ACCEPTED, notification=2, incident=2, channel="mail"),
                a_delivery(4, DeliveryState.DELIVERED, notification=3, incident=2),
                a_delivery(5, DeliveryState.DEAD, notification=3, incident=2),
                a_delivery(6, notification=4, incident=0),
            ],
        )
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"states": (DeliveryState.DEAD,)}, [5, 2]),
        ({"states": (DeliveryState.PENDING, DeliveryState.DELIVERED)}, [6, 4, 1]),
        ({"states": (DeliveryState.DEAD, DeliveryState.DEAD)}, [5, 2]),
        ({"states": (DeliveryState.DISCARDED,)}, []),
        ({"channel": "mail"}, [3, 2]),
        ({"channel": "mail", "states": (DeliveryState.DEAD,)}, [2]),
        ({"incident": 2}, [5, 4, 3]),
        ({"incident": 2, "states": (DeliveryState.DEAD,)}, [5]),
        ({"incident": 0}, []),
        ({"rule_id": "disk"}, [2, 1]),
        ({"rule_id": "cpu", "channel": "mail"}, [3]),
        ({"rule_id": "none"}, []),
        ({"since": NOON + 120 * MINUTE}, [6, 5, 4, 3]),
        ({"until": NOON + 120 * MINUTE}, [2, 1]),
        ({"since": NOON + 61 * MINUTE, "until": NOON + 181 * MINUTE}, [5, 4, 3]),
        ({"since": NOON + 181 * MINUTE, "until": NOON + 61 * MINUTE}, []),
        ({"since": NOON + 61 * MINUTE, "states": (DeliveryState.DEAD,), "rule_id": "cpu"}, [5]),
        ({"since": NOON + 999 * MINUTE}, []),
    ],
)
def test_deliveries_are_listed_newest_first_as_they_were_asked_for(
    store: Store, wanted: dict[str, object], expected: list[int]
):
    some_deliveries(store)

    listed, total = store.list_deliveries(DeliveryFilter(**wanted), 10)  # type: ignore[arg-type]

    assert ([view.number for view in listed], total) == (expected, len(expected))
    page, total = store.list_deliveries(DeliveryFilter(**wanted, after=5), 1)  # type: ignore[arg-type]
    assert ([view.number for view in page], total) == ([n for n in expected if n < 5][:1], len(expected))


def test_there_are_no_deliveries_in_an_empty_store(store: Store):
    assert store.list_deliveries(DeliveryFilter(), 5) == ([], 0)
    assert store.list_deliveries(DeliveryFilter(since=1, until=2), 5) == ([], 0)


def test_counts_follow_a_delivery_that_ends_and_is_revived(store: Store):
    some_deliveries(store)
    store.commit(a_batch(deliveries=[a_delivery(1, DeliveryState.DEAD, notification=1)]))
    assert store.counts() == {"accepted": 1, "dead": 3, "delivered": 1, "pending": 1}

    revived = a_delivery(2, notification=1, channel="mail", attempts=3)
    store.commit(a_batch(deliveries=[revived, a_delivery(6, DeliveryState.MERGED, incident=0)]))

    assert store.counts() == {"accepted": 1, "dead": 2, "delivered": 1, "merged": 1, "pending": 1}
    assert store.load().deliveries == [revived.delivery]
    assert store.list_deliveries(DeliveryFilter(states=(DeliveryState.DEAD,)), 9)[1] == 2


def test_a_delivery_that_is_not_there_cannot_change(store: Store):
    with pytest.raises(AssertionError, match="an unknown delivery is updated"):
        store.commit(a_batch(deliveries=[a_delivery(1)]))

    assert store.counts() == {}
