"""Counting: incidents and deliveries in numbers. What is live is scanned, what is not was summed up when it left."""

from abc import abstractmethod
from collections import Counter, defaultdict

from tocsin.core.engine.durations import ACKNOWLEDGE, DAY, RESOLVE, days, measures, percentile
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.ports import Durations, Stats
from tocsin.stores.tables.asking import Asking, Question
from tocsin.stores.tables.listing import LIVE
from tocsin.stores.tables.summaries import DAYS

RULES_SHOWN = 50


class Counting(Asking):
    """Counts; see `tocsin.ports.Store`, as for every method here."""

    @abstractmethod
    def _bytes(self) -> dict[str, int]:
        """Say how much room the data takes, by name."""

    def stats(self, since: int, until: int) -> Stats:
        first, end = days(since, until)
        live, past, took, lately = self._ask_all(
            (f"SELECT state, severity, rule_id, count(*) FROM {LIVE} WHERE live = 1 GROUP BY 1, 2, 3", ()),
            ("SELECT 'RESOLVED', severity, rule_id, n FROM past_counts", ()),
            _past_durations(first, end),
            (
                f"SELECT opened_at, acked_at, resolved_at FROM {LIVE} "
                "WHERE live = 1 AND state = 'RESOLVED' AND resolved_at >= ? AND resolved_at < ?",
                (first * DAY, end * DAY),
            ),
        )
        by_state: Counter[str] = Counter()
        by_severity: Counter[int] = Counter()
        by_rule: Counter[str] = Counter()
        unresolved: Counter[str] = Counter()
        for state, severity, rule_id, n in live + past:
            by_state[state] += n
            by_severity[severity] += n
            by_rule[rule_id] += n
            if state != IncidentState.RESOLVED:
                unresolved[rule_id] += n
        buckets: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for measure, bucket, n in took:
            buckets[measure][bucket] += n
        for row in lately:
            for _, measure, bucket in measures(*row):
                buckets[measure][bucket] += 1
        most = sorted(by_rule.items(), key=lambda rule: (-rule[1], rule[0]))[:RULES_SHOWN]
        return Stats(
            total=by_state.total(),
            by_state={state: by_state[state] for state in IncidentState},
            by_severity={severity: by_severity[rank] for rank, severity in enumerate(Severity)},
            by_rule=[(rule, n, unresolved[rule]) for rule, n in most],
            acknowledged=_durations(buckets[ACKNOWLEDGE]),
            resolved=_durations(buckets[RESOLVE]),
        )

    def counts(self) -> dict[str, int]:
        states, reasons = self._ask_all(
            ("SELECT state, n FROM delivery_counts WHERE n > 0 ORDER BY state", ()),
            ("SELECT reason, count FROM withheld ORDER BY reason", ()),
        )
        return {**dict(states), **{f"withheld:{reason}": count for reason, count in reasons}}

    def kept(self) -> dict[str, int]:
        """Give sizes. The rows are the highest numbers given, so what is deleted still counts."""
        ((entries, alerts, incidents, notifications, deliveries),) = self._ask(
            "SELECT (SELECT size FROM head), (SELECT max(number) FROM alerts), (SELECT max(number) FROM incidents), "
            "(SELECT max(number) FROM notifications), (SELECT max(number) FROM deliveries)"
        )
        return {
            **self._bytes(),
            "entries": entries,
            "alerts": alerts or 0,
            "incidents": incidents or 0,
            "notifications": notifications or 0,
            "deliveries": deliveries or 0,
        }


def _past_durations(first: int, end: int) -> Question:
    """Ask for the buckets of the days [first, end): many at once, and one by one what is left on both sides."""
    first_many, end_many = -(-first // DAYS) * DAYS, end // DAYS * DAYS
    if first_many > end_many:
        first_many = end_many = end
    each = "SELECT measure, bucket, n FROM past_durations WHERE days = ? AND first >= ? AND first < ?"
    return (
        "SELECT measure, bucket, CAST(sum(n) AS BIGINT) "
        f"FROM ({each} UNION ALL {each} UNION ALL {each}) AS parts GROUP BY 1, 2",
        (1, first, first_many, DAYS, first_many, end_many, 1, end_many, end),
    )


def _durations(counted: Counter[int]) -> Durations:
    return Durations(
        count=counted.total(),
        p50=percentile(counted.items(), 50),
        p90=percentile(counted.items(), 90),
    )
