"""Metrics: what Prometheus is told about Tocsin itself; the one door to its library.

What happens is counted once a turn, from the turn's tally. What simply is (queues, the store) is looked at when
somebody asks. Labels are bounded: a channel counts under its own name only while it is configured.
"""

import math
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, Outcome, Retry, Withheld
from tocsin.ports import IncidentFilter, Store, StoreFailed

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

GONE = "(gone)"
"""The channel label of deliveries whose channel is no longer configured."""

ACCEPT_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The event loop's clock, by which this is measured, may tell whole milliseconds only."""

TURN_S = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ATTEMPT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TELL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43_200, 259_200)

BY_US = frozenset({DeliveryState.MERGED, DeliveryState.CANCELLED, DeliveryState.DISCARDED})
"""Ends that no attempt brought."""

ATTEMPT_ENDS = (
    DeliveryState.DELIVERED,
    DeliveryState.ACCEPTED,
    DeliveryState.DRY_RUN,
    DeliveryState.DEAD,
    "retry",
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # A second series beside each, which nobody asks for.


class ChannelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one channel stands. due: instants at which its waiting deliveries were due, those to come left out."""

    failing: bool
    due: Sequence[int]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the running parts say of themselves at one moment. at: that moment.

    inputs, oldest_s: how many inputs wait at the gate, and for how many seconds the first of them has.
    nodes: how many share the store, this one among them; ahead_s: how far their clock is ahead of this machine's.
    """

    at: int
    ready: bool
    inputs: int
    oldest_s: float
    ledger_size: int
    streams: int
    nodes: int
    ahead_s: float
    channels: Mapping[str, ChannelFigures]


class Listed(NamedTuple):
    """A metric of ours, for the documentation. type: counter, gauge or histogram."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """All metrics of one process. Counting belongs to the event loop or the pump's thread, rendering to any.

    build: what is running, such as {"version": "1.0", "python": "3.11.2", "sqlite": "3.53.0"}.
    directory: whose disk is looked at; None for none.
    """

    def __init__(self, *, build: Mapping[str, str] | None = None, directory: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self.listed: list[Listed] = []
        self._directory = directory
        self._rendering = threading.Lock()
        self._channels: frozenset[str] = frozenset()
        self._counts: dict[str, Callable[[int], None]] = {}
        self._times: dict[str, tuple[Histogram, Histogram]] = {}

        # What happened, from the tally of each turn.
        self._dispatched = self._counter(
            "notifications_dispatched",
            "Attempts by what they came to: delivered, accepted, dry_run, retry (failed, tried again) or dead.",
            "channel",
            "status",
        )
        self._unsent = self._counter(
            "notifications_unsent",
            "Deliveries that ended before an attempt did: merged into newer news, cancelled or discarded.",
            "channel",
            "status",
        )
        self._deduplicated = self._counter(
            "notifications_deduplicated", "Alerts that were duplicates: counted, and nothing else."
        )
        self._rate_limited = self._counter(
            "notifications_rate_limited", "Intents that a rate limit withheld; a digest tells of them."
        )
        self._suppressed = self._counter(
            "notifications_suppressed", "Intents that a silence, a mute or an inhibition withheld."
        )
        self._incidents = self._counter("incidents", "Incidents that came into this state.", "state")
        self._auto_resolved = self._counter(
            "incidents_auto_resolved", "Incidents that resolved without a person."
        )
        self._inputs = self._counter("inputs", "Inputs decided, by what came of them.", "outcome")
        self._notifications = self._counter("notifications", "Notifications decided, by kind.", "kind")
        self._commit = self._histogram("commit_seconds", "How long the store took to commit a turn.", TURN_S)

        # What happened, as it happens.
        self._refused = self._counter("gate_refused", "Inputs refused because too much waited already.")
        self._accept = self._histogram(
            "accept_seconds", "From the gate to the answer, for the slowest request of each turn.", ACCEPT_S
        )
        self._lag = self._histogram(
            "timer_lag_seconds", "How late the oldest due timer was when its turn began.", TURN_S
        )
        self._attempt = self._histogram("attempt_seconds", "How long an attempt took.", ATTEMPT_S, "channel")
        self._delivery = self._histogram(
            "delivery_seconds",
            "From the decision to tell somebody to the outcome that ended it.",
            TELL_S,
            "channel",
        )
        self._heartbeat = self._counter(
            "heartbeat",
            "Heartbeats by outcome: sent, failed, or withheld because the node is not well.",
            "outcome",
        )

        self._evaluations = self._counter(
            "rule_evaluations",
            "Looks at rules by what came of them: firing (at least one scope), green, nothing (no data, or too little) "
            "or failed (no answer from the source).",
            "outcome",
        )
        self._evaluation = self._histogram(
            "rule_evaluation_seconds", "How long a look at a rule took, with its source's answer.", ATTEMPT_S
        )

        # What is, when somebody asks.
        self._ready = self._gauge("ready", "1 if this node accepts, 0 if not (as /readyz).")
        self._nodes = self._gauge(
            "nodes_live", "Nodes on the store that count as living, this one among them; 1 if it is embedded."
        )
        self._ahead = self._gauge(
            "clock_ahead_seconds",
            "How far the clock that all nodes go by, the database's, is ahead of this machine's; 0 if there is none.",
        )
        self._store_up = self._gauge("store_up", "1 if the store answered while this was written.")
        self._unaccounted = self._gauge(
            "unaccounted_intents",
            "Intents decided, less those that are delivered, accepted, pending, dead, withheld, merged, cancelled, "
            "discarded or dry_run. Not 0: something was lost (more than 0) or counted twice (less).",
        )
        self._intents = self._gauge(
            "intents",
            "Intents by where they stand; withheld and pruned (no longer kept) are among them.",
            "state",
        )
        self._current = self._gauge("incidents_current", "Incidents that are in this state.", "state")
        self._ledger_size = self._gauge("ledger_size", "Entries of the ledger.")
        self._queue = self._gauge("queue_inputs", "Inputs that wait at the gate.")
        self._queue_age = self._gauge(
            "queue_age_seconds", "How long the oldest request at the gate has waited."
        )
        self._waiting = self._gauge(
            "deliveries_due", "Deliveries that are due and wait for a place.", "channel"
        )
        self._waiting_age = self._gauge(
            "deliveries_due_age_seconds", "For how long the oldest of them has been due.", "channel"
        )
        self._failing = self._gauge("channel_failing", "1 if the channel's last attempt failed.", "channel")
        self._streams = self._gauge("sse_clients", "Clients that follow /api/v1/events.")
        self._disk_free = self._gauge("disk_free_bytes", "Room left on the disk that holds the data.")
        built = self._gauge(
            "build_info", "Always 1; the labels say what is running.", "version", "python", "sqlite"
        )
        known = build or {}
        built.labels(*(known.get(name, "") for name in ("version", "python", "sqlite"))).set(1)
        ProcessCollector(registry=self.registry)
        for state in IncidentState:
            self._incidents.labels(state)
        for outcome in ("sent", "failed", "withheld"):
            self._heartbeat.labels(outcome)
        for outcome in ("firing", "green", "nothing", "failed"):
            self._evaluations.labels(outcome)

    # Counting

    def use_channels(self, names: Sequence[str]) -> None:
        """Name the channels that are configured now."""
        self._channels = frozenset(names)
        self._counts.clear()
        self._times.clear()
        for name in names:
            for status in ATTEMPT_ENDS:
                self._dispatched.labels(name, status)

    def count(self, tally: Mapping[str, int]) -> None:
        """Count what a turn did."""
        for name, number in tally.items():
            count = self._counts.get(name)
            if count is None:
                count = self._counts[name] = self._count_of(name)
            count(number)

    def _count_of(self, name: str) -> Callable[[int], None]:
        """Find what counts this part of a tally; it is asked once, for looking up labels costs more than counting."""
        kind, _, what = name.partition(":")
        match kind:
            case "input" if what == "duplicate":
                return self._duplicates
            case "input":
                return self._inputs.labels(what).inc
            case "notified":
                return self._notifications.labels(what).inc
            case "withheld":
                return (self._rate_limited if what == Withheld.RATE_LIMITED else self._suppressed).inc
            case "state":
                return self._incidents.labels(what).inc
            case "auto_resolved":
                return self._auto_resolved.inc
            case "delivery":
                channel, _, state = what.rpartition(":")
                ended = self._unsent if state in BY_US else self._dispatched
                return ended.labels(self._known(channel), state).inc
            case "commit_us":
                return lambda number: self._commit.observe(number / 1e6)
            case _:
                return lambda number: None  # A tally may hold what only others count.

    def _duplicates(self, number: int) -> None:
        self._inputs.labels("duplicate").inc(number)
        self._deduplicated.inc(number)

    def attempted(self, channel: str, outcome: Outcome, took: int, since: int) -> None:
        """Count an attempt. took: microseconds; since: how long ago it was decided to tell somebody."""
        times = self._times.get(channel)
        if times is None:
            name = self._known(channel)
            times = self._times[channel] = self._attempt.labels(name), self._delivery.labels(name)
        times[0].observe(max(took, 0) / 1e6)  # Among several nodes a clock may be put right meanwhile.
        if not isinstance(outcome, Retry):
            times[1].observe(max(since, 0) / 1e6)

    def refused(self, inputs: int) -> None:
        """Count inputs that the gate refused."""
        self._refused.inc(inputs)

    def answered(self, waited_s: float) -> None:
        """Count a turn by how long the slowest of its requests took."""
        self._accept.observe(waited_s)

    def late(self, microseconds: int) -> None:
        """Count a turn with a timer that was due so long ago."""
        self._lag.observe(microseconds / 1e6)

    def beat(self, outcome: str) -> None:
        """Count a heartbeat: sent, failed or withheld."""
        self._heartbeat.labels(outcome).inc()

    def evaluated(self, outcome: str, took_s: float) -> None:
        """Count a look at a rule: firing, green, nothing or failed."""
        self._evaluations.labels(outcome).inc()
        self._evaluation.observe(took_s)

    def _known(self, channel: str) -> str:
        return channel if channel in self._channels else GONE

    # Telling

    def render(self, figures: Figures, store: Store) -> bytes:
        """Write everything as text that Prometheus reads. What a failing store cannot say is NaN or left out."""
        with self._rendering:
            self._ready.set(figures.ready)
            self._nodes.set(figures.nodes)
            self._ahead.set(figures.ahead_s)
            self._queue.set(figures.inputs)
            self._queue_age.set(figures.oldest_s)
            self._ledger_size.set(figures.ledger_size)
            self._streams.set(figures.streams)
            self._disk_free.set(_free(self._directory))
            for gauge in (self._waiting, self._waiting_age, self._failing):
                gauge.clear()
            for name, channel in figures.channels.items():
                due = [due for due in channel.due if due <= figures.at]
                if not due and name not in self._channels:
                    continue  # It is no longer configured, and nothing waits for it.
                self._waiting.labels(name).set(len(due))
                self._waiting_age.labels(name).set((figures.at - min(due)) / 1e6 if due else 0)
                self._failing.labels(name).set(channel.failing)
            self._look_at(store)
            return generate_latest(self.registry)

    def _look_at(self, store: Store) -> None:
        self._intents.clear()
        self._current.clear()
        try:
            before = store.head().counters
            stored = store.counts()
            live: dict[IncidentState, int] = {
                state: store.list_incidents(IncidentFilter(states=(state,)), 1)[1]
                for state in IncidentState
                if state is not IncidentState.RESOLVED
            }
            after = store.head().counters
        except StoreFailed:
            self._store_up.set(0)
            self._unaccounted.set(math.nan)
            return
        self._store_up.set(1)
        self._unaccounted.set(unaccounted(before.intents, sum(stored.values()), after.intents))
        withheld = sum(count for name, count in stored.items() if name.startswith("withheld:"))
        for end in DeliveryState:
            self._intents.labels(end).set(stored.get(end, 0))
        self._intents.labels("withheld").set(withheld)
        self._intents.labels("pruned").set(stored.get("pruned", 0))
        live[IncidentState.RESOLVED] = after.incident - sum(live.values())
        for state, count in live.items():
            self._current.labels(state).set(count)

    # Making

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        self.listed.append(Listed(f"tocsin_{name}_total", "counter", labels, meaning))
        return Counter(f"tocsin_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        self.listed.append(Listed(f"tocsin_{name}", "gauge", labels, meaning))
        return Gauge(f"tocsin_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self.listed.append(Listed(f"tocsin_{name}", "histogram", labels, meaning))
        return Histogram(f"tocsin_{name}", meaning, labels, buckets=buckets, registry=self.registry)


def unaccounted(decided_before: int, stored: int, decided_after: int) -> int:
    """Give how many intents are missing (more than 0) or are there twice (less than 0).

    The stored ones were counted between two readings of how many were decided, so any number between them is right.
    """
    return max(decided_before - stored, 0) or min(decided_after - stored, 0)


def _free(directory: Path | None) -> float:
    try:
        return shutil.disk_usage(directory).free if directory is not None else math.nan
    except OSError:
        return math.nan
