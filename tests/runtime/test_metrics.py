"""What is measured is what happened: counted once a turn, checked against the store, and told without secrets."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.runtime.house import SOON_S, House, Wrapped, a_house, a_policy, an_alert, once
from tests.runtime.test_gate import Held
from tests.support.http_sink import HttpSink, Reply

from tocsin.core.model.errors import Unavailable
from tocsin.core.model.input import AlertReceived, DeliveryDiscardAsked, DeliveryRetryAsked
from tocsin.core.model.policy import HOUR, RateLimit
from tocsin.intake import native
from tocsin.ports import Batch, Store, StoreFailed
from tocsin.runtime import gate
from tocsin.runtime.dispatcher import PLACES_AT_FIRST
from tocsin.runtime.metrics import GONE, Metrics, unaccounted
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore


class Read:
    """What Prometheus would read. Values by name and labels; -1 for a series that is not there."""

    def __init__(self, text: bytes) -> None:
        self.text = text.decode()
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values.get((f"tocsin_{name}", frozenset(labels.items())), -1)


def read(house: House) -> Read:
    return Read(house.node.metrics.render(house.node.figures(), house.node.store))


def in_a_house(
    scenario: Callable[[House], object], store: Store, sink: HttpSink, rate_limit: RateLimit | None = None
) -> None:
    """Run a scenario with one channel, `hook`."""

    async def run() -> None:
        async with sink:
            policy = msgspec.structs.replace(a_policy("hook"), rate_limit=rate_limit)
            async with a_house(store, {"hook": sink}, policy=policy) as house:
                await scenario(house)  # type: ignore[misc]

    asyncio.run(run())


def a_full_disk(host: str) -> AlertReceived:
    """The same rule for each host."""
    alert = an_alert("disk").alert
    return native.received(msgspec.structs.replace(alert, scope={"host": host}))


async def polled(condition: Callable[[], bool]) -> None:
    """Return once something is so that no commit tells of."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def delivered(house: House, count: int) -> Callable[[], bool]:
    return lambda: house.store.counts().get("delivered", 0) == count


def test_what_happens_to_alerts_is_counted() -> None:
    async def scenario(house: House) -> None:
        await house.fire("disk", "cpu", "net")
        await house.fire("disk", "disk")
        await house.node.gate.submit([an_alert("cpu", window=61, status="resolved")], "t")
        await house.until(delivered(house, 4))

        seen = read(house)

        assert seen("inputs_total", outcome="opened") == 3
        assert seen("notifications_deduplicated_total") == 2
        assert seen("inputs_total", outcome="duplicate") == 2
        assert seen("incidents_total", state="OPEN") == 3
        assert seen("incidents_total", state="RESOLVED") == 1
        assert seen("incidents_total", state="ACK") == 0
        assert seen("incidents_auto_resolved_total") == 1
        assert seen("incidents_current", state="OPEN") == 2
        assert seen("incidents_current", state="RESOLVED") == 1
        assert seen("notifications_total", kind="opened") == 3
        assert seen("notifications_total", kind="resolved") == 1
        assert seen("notifications_dispatched_total", channel="hook", status="delivered") == 4
        assert seen("notifications_dispatched_total", channel="hook", status="dead") == 0
        assert seen("attempt_seconds_count", channel="hook") == 4
        assert seen("delivery_seconds_count", channel="hook") == 4
        assert seen("intents", state="delivered") == 4
        assert seen("unaccounted_intents") == 0
        assert seen("commit_seconds_count") >= 4
        assert seen("accept_seconds_count") >= 3
        assert seen("ledger_size") == house.store.head().size
        assert seen("ready") == 1
        assert seen("store_up") == 1

    in_a_house(scenario, MemoryStore(), HttpSink())


def test_what_is_withheld_is_counted_by_its_reason_and_accounted_for() -> None:
    async def scenario(house: House) -> None:
        await house.node.gate.submit([a_full_disk(f"db-{number}") for number in range(4)], "t")
        await house.until(delivered(house, 1))

        seen = read(house)

        assert seen("notifications_rate_limited_total") == 3
        assert seen("notifications_suppressed_total") == 0
        assert seen("intents", state="withheld") == 3
        assert seen("unaccounted_intents") == 0

    limit = RateLimit(limit=1, window=HOUR)
    in_a_house(scenario, MemoryStore(), HttpSink(), limit)


def test_what_is_given_up_asked_for_again_or_discarded_stays_accounted_for() -> None:
    async def scenario(house: House) -> None:
        await house.fire("disk")
        await house.until(lambda: house.store.counts().get("dead") == 1)
        assert read(house)("notifications_dispatched_total", channel="hook", status="dead") == 1

        await house.node.gate.submit([DeliveryRetryAsked(delivery=1)], "token:anna")
        await house.until(
            lambda: read(house)("notifications_dispatched_total", channel="hook", status="retry") > 0
        )
        assert read(house)("unaccounted_intents") == 0
        await house.node.gate.submit([DeliveryDiscardAsked(delivery=1, reason="it is over")], "token:anna")

        seen = read(house)
        assert seen("notifications_unsent_total", channel="hook", status="discarded") == 1
        assert seen("intents", state="discarded") == 1
        assert seen("intents", state="dead") == 0
        assert seen("unaccounted_intents") == 0

    in_a_house(scenario, MemoryStore(), HttpSink(Reply(status=410), Reply(status=503)))


def test_a_channel_that_fails_is_shown_until_it_works_again() -> None:
    async def scenario(house: House) -> None:
        await house.fire("disk")
        await house.until(lambda: read(house)("channel_failing", channel="hook") == 1)
        await house.until(delivered(house, 1))

        seen = read(house)

        assert seen("channel_failing", channel="hook") == 0
        assert seen("notifications_dispatched_total", channel="hook", status="retry") == 3
        assert seen("attempt_seconds_count", channel="hook") == 4
        assert seen("delivery_seconds_count", channel="hook") == 1
        assert seen("deliveries_due", channel="hook") == 0

    in_a_house(scenario, MemoryStore(), HttpSink(*(Reply(status=503),) * 3, Reply()))


def test_what_waits_for_a_place_is_shown_with_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(house: House) -> None:
        await house.fire(*(f"rule-{number}" for number in range(40)))
        await polled(lambda: read(house)("deliveries_due", channel="hook") == 40 - PLACES_AT_FIRST)
        young = read(house)("deliveries_due_age_seconds", channel="hook")
        await polled(lambda: read(house)("deliveries_due_age_seconds", channel="hook") > young)

        assert read(house)("intents", state="pending") == 40
        assert read(house)("unaccounted_intents") == 0

    monkeypatch.setattr("tocsin.runtime.node.STOP_GRACE_S", 0.05)
    in_a_house(scenario, MemoryStore(), HttpSink(Reply(hang="before")))


def _lose_a_delivery(batch: Batch) -> None:
    batch.new_deliveries = batch.new_deliveries[1:]


def _lose_what_was_withheld(batch: Batch) -> None:
    batch.withheld = ()


def _count_twice(batch: Batch) -> None:
    batch.withheld = [*batch.withheld, *batch.withheld]


@pytest.mark.parametrize(
    ("tamper", "limit", "missing"),
    [(_lose_a_delivery, None, 1), (_lose_what_was_withheld, 1, 1), (_count_twice, 1, -1)],
)
def test_an_intent_that_the_store_lost_or_has_twice_is_unaccounted(
    tmp_path: Path, tamper: Callable[[Batch], None], limit: int | None, missing: int
) -> None:
    real = SqliteStore(tmp_path)
    store = Wrapped(real)

    async def scenario(house: House) -> None:
        await house.fire("disk")
        await house.until(delivered(house, 1))
        assert read(house)("unaccounted_intents") == 0

        store.before = tamper
        await house.node.gate.submit([a_full_disk("db-2")], "t")

        assert read(house)("unaccounted_intents") == missing

    given = RateLimit(limit=1, window=HOUR) if limit else None
    in_a_house(scenario, store, HttpSink(), given)  # type: ignore[arg-type]
    real.close()


@pytest.mark.parametrize(
    ("before", "stored", "after", "missing"),
    [(7, 7, 7, 0), (7, 6, 7, 1), (7, 8, 7, -1), (7, 8, 9, 0), (7, 10, 9, -1), (0, 0, 0, 0)],
)
def test_intents_decided_while_they_are_counted_are_not_missing(
    before: int, stored: int, after: int, missing: int
) -> None:
    assert unaccounted(before, stored, after) == missing


def test_what_was_decided_before_a_restart_stays_accounted_for(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.fire("disk", "cpu")
        await house.until(delivered(house, 2))

    async def after(house: House) -> None:
        assert read(house)("unaccounted_intents") == 0
        assert read(house)("intents", state="delivered") == 2

    for scenario in (before, after):
        store = SqliteStore(tmp_path)
        in_a_house(scenario, store, HttpSink())
        store.close()


def test_counters_answer_while_the_store_does_not() -> None:
    store = Wrapped(MemoryStore())

    async def scenario(house: House) -> None:
        await house.fire("disk")
        store.before = once(lambda batch: True)
        with pytest.raises(Unavailable):
            await house.fire("cpu")

        def broken(*_: object) -> None:
            raise StoreFailed("the disk is gone, said the test")

        store.counts = broken  # type: ignore[attr-defined]
        seen = read(house)

        assert seen("store_up") == 0
        assert seen("ready") == 0
        assert math.isnan(seen("unaccounted_intents"))
        assert seen("intents", state="delivered") == -1
        assert seen("incidents_current", state="OPEN") == -1
        assert seen("inputs_total", outcome="opened") == 1
        assert seen("commit_seconds_count") > 0

    in_a_house(scenario, store, HttpSink())  # type: ignore[arg-type]


def test_what_waits_at_the_gate_is_shown_and_what_it_refuses_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "INPUTS_WAITING_MAX", 5)
    store, held = Wrapped(MemoryStore()), Held()

    async def scenario(house: House) -> None:
        assert (read(house)("queue_inputs"), read(house)("queue_age_seconds")) == (0, 0)
        store.before = held
        waiting = [house.node.gate.submit([an_alert("first")], "t")]
        await asyncio.to_thread(held.begun.wait, 20)
        waiting.append(house.node.gate.submit([an_alert(f"rule-{n}") for n in range(4)], "t"))
        with pytest.raises(Unavailable):
            house.node.gate.submit([an_alert("more"), an_alert("and more")], "t")

        assert read(house)("queue_inputs") == 5
        assert read(house)("gate_refused_total") == 2
        await polled(lambda: read(house)("queue_age_seconds") >= 0.01)
        held.release()
        await asyncio.gather(*waiting)
        assert (read(house)("queue_inputs"), read(house)("queue_age_seconds")) == (0, 0)

    in_a_house(scenario, store, HttpSink())  # type: ignore[arg-type]


def test_timers_are_measured_by_how_late_they_are_decided() -> None:
    async def scenario(house: House) -> None:
        before = read(house)("timer_lag_seconds_count")
        ends_at = house.node.clock.now() + 50_000
        alert = msgspec.structs.replace(an_alert("disk").alert, ends_at=ends_at)
        await house.node.gate.submit([native.received(alert)], "t")
        await house.until(lambda: read(house)("incidents_total", state="RESOLVED") == 1)

        assert read(house)("timer_lag_seconds_count") > before

    in_a_house(scenario, MemoryStore(), HttpSink())


def test_no_label_grows_with_what_somebody_sends_and_nothing_private_is_told() -> None:
    async def scenario(house: House) -> None:
        await house.fire("anna-at-example-org", severity="critical")
        await house.until(delivered(house, 1))
        house.node.metrics.count({"delivery:removed-yesterday:delivered": 1, "something:new": 3})

        seen = read(house)

        assert seen("notifications_dispatched_total", channel=GONE, status="delivered") == 1
        assert "removed-yesterday" not in seen.text
        assert "anna" not in seen.text
        assert "127.0.0.1" not in seen.text
        assert "db-1" not in seen.text

    in_a_house(scenario, MemoryStore(), HttpSink())


def test_the_build_the_process_and_the_disk_are_told(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        built = {"version": "1.2", "python": "3.11", "sqlite": "3.53"}
        metrics = Metrics(build=built, directory=tmp_path)

        seen = Read(metrics.render(house.node.figures(), house.store))

        assert seen("build_info", **built) == 1
        assert seen("disk_free_bytes") > 0
        assert "process_open_fds " in seen.text
        assert "_created" not in seen.text

    in_a_house(scenario, MemoryStore(), HttpSink())


def test_every_metric_stands_in_the_documentation_with_its_labels_and_meaning() -> None:
    document = Path(__file__).parents[2].joinpath("docs/metrics.md").read_text()
    documented = [line for line in document.splitlines() if line.startswith("| `tocsin_")]

    assert documented == [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels) or ''} | {meaning} |"
        for name, kind, labels, meaning in Metrics().listed
    ]
