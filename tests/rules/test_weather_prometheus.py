"""Four years of real weather in a real Prometheus and in SQLite: the same rule decides the same, day by day."""

import asyncio
from pathlib import Path

import pytest
from tests.rules.weather import days, openmetrics, write_sqlite
from tests.support import prometheus
from tests.support.builders import DAY, MINUTE, a_policy

from tocsin.core.ledger.encoding import read_decision, unpack
from tocsin.core.ledger.verify import verify
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity
from tocsin.core.model.rule import Cron, Limit, Op, Reduce, Rule, Threshold
from tocsin.outbound import Outbound
from tocsin.ports import Source
from tocsin.runtime.backtest import Backtested, backtest
from tocsin.runtime.house import House
from tocsin.sources.prometheus import Prometheus, PrometheusConfig
from tocsin.sources.sql import Sql, SqlConfig
from tocsin.stores.memory import MemoryStore

SINCE = 1_420_070_400_000_000  # 2015-01-01
UNTIL = SINCE + 365 * DAY
HOT = 32.0


def heat(source: str, query: str) -> Rule:
    return Rule(
        rule_id="heat",
        description="Seattle is hot",
        source=source,
        query=query,
        every=Cron("0 0 * * *"),
        window=DAY,
        step=5 * MINUTE,
        trigger=Threshold(op=Op.GTE, limits=(Limit(HOT, Severity.WARNING),), reduce=Reduce.MAX),
        scope={"city": "Seattle"},
        by=(),
    )


def played(rule: Rule, source: Source, outbound: Outbound | None = None) -> tuple[Backtested, House]:
    """Let a year pass, and give what came of it, with the house in which it did."""
    policy = a_policy("anna", "ops@webhook", greens=1)
    house = House(policy, MemoryStore(), at=SINCE, origin="weather")

    async def play() -> Backtested:
        try:
            return await backtest(rule, since=SINCE, until=UNTIL, ask=source.ask, house=house)
        finally:
            await source.close()
            if outbound is not None:
                await outbound.close()

    return asyncio.run(play()), house


def by_hand() -> list[tuple[int, int]]:
    """Recount from the file alone: (opened, resolved) of each hot spell; a day is looked at in the night after it."""
    spells: list[tuple[int, int]] = []
    begun = 0
    for noon, _, high in days():
        looked = (noon // 86_400 + 1) * DAY
        if not SINCE < looked < UNTIL:
            continue
        if high >= HOT and not begun:
            begun = looked
        elif high < HOT and begun:
            spells.append((begun, looked))
            begun = 0
    return spells


def spells(found: Backtested) -> list[tuple[int, int]]:
    return [(one.opened_at, one.resolved_at) for one in found.incidents]


@pytest.mark.skipif(bool(prometheus.why_not()), reason=prometheus.why_not() or "it is there")
def test_a_year_in_prometheus_and_in_sqlite_is_the_year_of_the_file(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "weather.db")
    sql = Sql(SqlConfig(name="sql", url=f"sqlite:///{tmp_path / 'weather.db'}"))
    query = "SELECT at, high AS value FROM weather WHERE at >= :since_epoch AND at < :until_epoch"
    in_sqlite, house = played(heat("sql", query), sql)
    with prometheus.a_prometheus(tmp_path, openmetrics()) as url:
        outbound = Outbound(allow_private=("127.0.0.0/8",))
        prom = Prometheus(PrometheusConfig(name="prom", url=url), outbound)
        in_prometheus, other = played(heat("prom", "high"), prom, outbound)

    assert in_sqlite.looks == in_prometheus.looks == 365
    assert in_sqlite.failed == in_prometheus.failed == 0
    assert spells(in_sqlite) == by_hand()
    assert len(by_hand()) > 3
    assert spells(in_prometheus) == by_hand()
    for one in (house, other):
        head = one.store.head()
        assert verify(one.store.segments(), size=head.size, root=head.root).is_sound
        events = [
            event
            for segment in one.store.segments()
            for _, decision, _ in unpack(segment.data)
            for event in read_decision(decision).events
        ]
        assert sum(isinstance(event, ev.IncidentOpened | ev.IncidentReopened) for event in events) == len(
            by_hand()
        )
        assert sum(isinstance(event, ev.IncidentResolved) and event.auto for event in events) == len(
            by_hand()
        )
        told = [event for event in events if isinstance(event, ev.Notified)]
        assert {event.kind.value for event in told} >= {"opened", "resolved"}
