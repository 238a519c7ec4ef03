"""How the embedded store goes about its questions: what a test of speed would show, without a clock."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.contracts.rows import a_batch, a_delivery, a_notification, new, opened
from tests.support.fakes import NOON

from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import DeliveryFilter, IncidentFilter
from tocsin.stores.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data")
    store.commit(
        a_batch(
            incidents=[opened(1), opened(2, live=False)],
            alerts=[new(1), new(2, live=False)],
            notifications=[a_notification(1)],
            new_deliveries=[a_delivery(1, notification=1)],
        )
    )
    yield store
    store.close()


def plans(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, ask) -> list[str]:
    """Give the lines of the query plans of everything that is asked meanwhile."""
    lines: list[str] = []
    plain = store._ask_all

    def explained(*questions):
        for sql, bindings in questions:
            lines.extend(row[3] for row in plain((f"EXPLAIN QUERY PLAN {sql}", bindings))[0])
        return plain(*questions)

    monkeypatch.setattr(store, "_ask_all", explained)
    ask()
    assert lines
    return lines


GROWING = {"incidents", "alerts", "notifications", "n", "deliveries", "d"}
"""Tables, as the questions call them."""
OVER = (IncidentState.RESOLVED,)
QUESTIONS = {
    "all incidents": lambda s: s.list_incidents(IncidentFilter(), 5),
    "by state": lambda s: s.list_incidents(IncidentFilter(states=OVER), 5),
    "by severity": lambda s: s.list_incidents(IncidentFilter(severity=Severity.INFO), 5),
    "by rule": lambda s: s.list_incidents(IncidentFilter(rule_id="r", after=9), 5),
    "by rule and severity": lambda s: s.list_incidents(
        IncidentFilter(rule_id="r", severity=Severity.INFO), 5
    ),
    "by time": lambda s: s.list_incidents(IncidentFilter(since=NOON, until=NOON + 1, rule_id="r"), 5),
    "open ones by text": lambda s: s.list_incidents(
        IncidentFilter(states=(IncidentState.OPEN,), text="a"), 5
    ),
    "statistics": lambda s: s.stats(NOON, NOON + 1),
    "all deliveries": lambda s: s.list_deliveries(DeliveryFilter(), 5),
    "deliveries by state": lambda s: s.list_deliveries(DeliveryFilter(states=tuple(DeliveryState)), 5),
    "deliveries of one incident": lambda s: s.list_deliveries(DeliveryFilter(incident=1, channel="c"), 5),
    "deliveries by time": lambda s: s.list_deliveries(DeliveryFilter(since=NOON, until=NOON + 1), 5),
    "counts": lambda s: s.counts(),
    "sizes": lambda s: s.kept(),
    "alerts that were seen": lambda s: [*s.alerts_seen(NOON)],
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_nothing_that_grows_for_ever_is_read_from_end_to_end(store: SqliteStore, monkeypatch, ask):
    lines = plans(store, monkeypatch, lambda: ask(store))

    whole = [line for line in lines if line.split()[0] == "SCAN" and line.split()[1] in GROWING]
    assert {*whole} <= {
        "SCAN incidents USING COVERING INDEX incidents_live",
        "SCAN incidents USING INDEX incidents_live",
    }


def test_what_is_live_is_counted_without_its_rows(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    wanted = IncidentFilter(states=(IncidentState.ACK,), severity=Severity.INFO, rule_id="r", since=NOON)

    lines = plans(store, monkeypatch, lambda: (store.stats(NOON, NOON + 1), store.list_incidents(wanted, 5)))

    of_live = [line for line in lines if "incidents_live" in line]
    assert of_live
    assert all("COVERING" in line for line in of_live)


def test_an_alert_or_incident_that_is_live_is_written_to_one_index_and_starts_nothing(store: SqliteStore):
    rows = store._ask(
        "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'trigger' OR type = 'index' AND sql IS NOT NULL "
        "AND sql NOT LIKE '%WHERE live = 0' AND tbl_name IN ('alerts', 'incidents', 'members', 'leases') ORDER BY 1"
    )

    assert rows == [("alerts", "alerts_live"), ("incidents", "incidents_live")]


def test_whoever_takes_long_over_the_alerts_holds_nothing_up(store: SqliteStore):
    store.commit(a_batch(alerts=[new(number, live=number % 2 == 0) for number in range(3, 1_500)]))
    seeing = store.alerts_seen(NOON)
    next(seeing)

    store._writer.wal_checkpoint(
        mode=apsw.SQLITE_CHECKPOINT_TRUNCATE
    )  # raises BusyError if a reader is in its way

    assert len([*seeing]) == 1_498
