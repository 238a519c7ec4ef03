"""Summaries: what is added to the counts of what is past, and of deliveries by state, in the commit that changes them.

What stood before is read from the rows themselves, so a summary can only say what the rows say.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tocsin.core.engine.durations import measures
from tocsin.core.model.alert import severity_rank
from tocsin.core.model.incident import IncidentState
from tocsin.ports import Batch
from tocsin.stores.tables.asking import GIVEN, add, numbers

Rows = list[tuple[Any, ...]]
Ask = Callable[[str, tuple[Any, ...]], list[Any]]

DAYS = 32
"""How many days are also counted together, so that a year is a few rows."""


def past_incidents(batch: Batch, ask: Ask) -> Iterator[tuple[str, Rows]]:
    """Count in what leaves, and out what comes back; asked for before the incidents' own rows are written."""
    leaving = [row.incident for row in batch.incidents if not row.live]
    if not leaving and not batch.recalled:
        return
    counts: Counter[tuple[str, int]] = Counter()
    durations: Counter[tuple[int, int, str, int]] = Counter()
    for incident in leaving:
        assert incident.state is IncidentState.RESOLVED, f"incident {incident.number} leaves unresolved"
        counts[incident.rule_id, severity_rank[incident.severity]] += 1
        durations.update(_cells(incident.opened_at, incident.acked_at, incident.resolved_at))
    for rule_id, severity, *moments in ask(
        "SELECT rule_id, severity, opened_at, acked_at, resolved_at FROM incidents NOT INDEXED "
        f"WHERE live = 0 AND number IN {GIVEN}",
        (numbers([incident.number for incident in (*leaving, *batch.recalled)]),),
    ):
        counts[rule_id, severity] -= 1
        durations.subtract(_cells(*moments))
    yield (
        add("past_counts", "rule_id, severity"),
        [(*cell, n) for cell, n in counts.items() if n],
    )
    yield (
        "DELETE FROM past_counts WHERE rule_id = ? AND severity = ? AND n = 0",
        [cell for cell, n in counts.items() if n < 0],
    )
    yield (
        add("past_durations", "days, first, measure, bucket"),
        [(*cell, n) for cell, n in durations.items() if n],
    )
    yield (
        "DELETE FROM past_durations WHERE days = ? AND first = ? AND measure = ? AND bucket = ? AND n = 0",
        [cell for cell, n in durations.items() if n < 0],
    )


def _cells(opened_at: int, acked_at: int, resolved_at: int) -> Iterator[tuple[int, int, str, int]]:
    """Give the rows of past_durations in which an incident is counted."""
    for day, measure, bucket in measures(opened_at, acked_at, resolved_at):
        yield 1, day, measure, bucket
        yield DAYS, day // DAYS * DAYS, measure, bucket


def deliveries(batch: Batch, ask: Ask) -> Iterator[tuple[str, Rows]]:
    """Count deliveries by state; asked for after new ones are written and before old ones are changed."""
    counts = Counter(row.state.value for row in batch.new_deliveries)
    if batch.deliveries:
        changed = {row.delivery.number: row.state.value for row in batch.deliveries}
        known = 0
        for state, n in ask(
            f"SELECT state, count(*) FROM deliveries NOT INDEXED WHERE number IN {GIVEN} GROUP BY state",
            (numbers([*changed]),),
        ):
            counts[state] -= n
            known += n
        assert known == len(changed), "an unknown delivery is updated"
        counts.update(changed.values())
    yield (
        add("delivery_counts", "state"),
        [(state, n) for state, n in counts.items() if n],
    )
