"""Counting: incidents in numbers, by going through all of them."""

from collections import Counter
from collections.abc import Sequence

from tocsin.core.engine.durations import ACKNOWLEDGE, DAY, RESOLVE, days, measures, percentile
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.ports import Durations, Stats
from tocsin.stores.memory.rows import KeptIncident

RULES_SHOWN = 50


def stats_of(rows: Sequence[KeptIncident], since: int, until: int) -> Stats:
    """Count these incidents; see `tocsin.ports.Store.stats`."""
    first, end = (day * DAY for day in days(since, until))
    buckets: dict[str, Counter[int]] = {ACKNOWLEDGE: Counter(), RESOLVE: Counter()}
    for row in rows:
        if row.state is IncidentState.RESOLVED and first <= row.resolved_at < end:
            for _, measure, bucket in measures(row.opened_at, row.acked_at, row.resolved_at):
                buckets[measure][bucket] += 1
    states, severities = Counter(row.state for row in rows), Counter(row.severity for row in rows)
    rules = Counter(row.rule_id for row in rows)
    unresolved = Counter(row.rule_id for row in rows if row.state is not IncidentState.RESOLVED)
    most = sorted(rules.items(), key=lambda rule: (-rule[1], rule[0]))[:RULES_SHOWN]
    return Stats(
        total=len(rows),
        by_state={state: states[state] for state in IncidentState},
        by_severity={severity: severities[severity] for severity in Severity},
        by_rule=[(rule, n, unresolved[rule]) for rule, n in most],
        acknowledged=_durations(buckets[ACKNOWLEDGE]),
        resolved=_durations(buckets[RESOLVE]),
    )


def _durations(counted: Counter[int]) -> Durations:
    p50, p90 = (percentile(counted.items(), percent) for percent in (50, 90))
    return Durations(count=counted.total(), p50=p50, p90=p90)
