"""What the ledger of a stopped server says, read through the store and `core.ledger`, and what must hold of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.core.ledger.encoding import read_decision, read_header, read_private, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.ledger.verify import verify
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert
from tocsin.core.model.notification import DeliveryState
from tocsin.ports import Store
from tocsin.stores.sqlite import SqliteStore


@dataclass
class Ledger:
    """All that the tests ask of a ledger.

    looks: how many entries speak of each (rule_id, window_end); repeats: counted looks without an entry, by rule.
    roots: of the tree by its size, after each turn.
    keys: of all deliveries that were decided; ended: state of each that has ended, by key.
    """

    size: int = 0
    roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY_ROOT})
    looks: Counter[tuple[str, int]] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    ended: dict[str, DeliveryState] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def read_ledger(data: Path) -> Ledger:
    """Read a data directory on which no server runs, and check what must hold of every ledger."""
    store = SqliteStore(data)
    try:
        return ledger_of(store)
    finally:
        store.close()


def ledger_of(store: Store) -> Ledger:
    """Read the ledger of a store to which nobody writes, and check what must hold of every ledger."""
    ledger = Ledger(counts=store.counts())
    head = store.head()
    verdict = verify(store.segments(), size=head.size, root=head.root, edge=head.edge, at=head.at)
    assert verdict.is_sound, verdict
    ledger.size = verdict.size
    open_by_key: dict[str, int] = {}
    key_of: dict[int, str] = {}
    delivery_keys: dict[int, str] = {}
    for segment in store.segments():
        ledger.roots[segment.first_seq + segment.count] = segment.root
        for header_bytes, decision_bytes, private_bytes in unpack(segment.data):
            seq = read_header(header_bytes).seq
            events = read_decision(decision_bytes).events
            alert = read_private(private_bytes).alert
            _count_looks(ledger, events, alert)
            for event in events:
                match event:
                    case ev.IncidentOpened():
                        assert event.key not in open_by_key, f"entry {seq}: two open incidents of a key"
                        open_by_key[event.key] = event.incident
                        key_of[event.incident] = event.key
                    case ev.IncidentReopened():
                        key = key_of[event.incident]
                        assert key not in open_by_key, f"entry {seq}: two open incidents of a key"
                        open_by_key[key] = event.incident
                    case ev.IncidentResolved():
                        assert open_by_key.pop(key_of[event.incident]) == event.incident
                    case ev.Notified():
                        for new in event.deliveries:
                            assert new.delivery not in delivery_keys
                            delivery_keys[new.delivery] = new.key
                            ledger.keys.append(new.key)
                    case ev.DeliveryEnded():
                        assert delivery_keys[event.delivery] not in ledger.ended, "it ended twice"
                        ledger.ended[delivery_keys[event.delivery]] = event.state
                    case _:
                        pass
    for live in store.load().alerts:
        ledger.repeats[live.rule_id] += live.repeats
    assert len(set(ledger.keys)) == len(ledger.keys), "two deliveries share a key"
    states = sum(count for name, count in ledger.counts.items() if not name.startswith("withheld:"))
    assert states == len(ledger.keys), "the counts of deliveries are not those of the ledger"
    return ledger


def _count_looks(ledger: Ledger, events: tuple[ev.Decided, ...], alert: Alert | None) -> None:
    for event in events:
        if isinstance(event, ev.AlertFired | ev.AlertSeen | ev.AlertGreen | ev.AlertCleared):
            assert alert is not None
            ledger.looks[alert.rule_id, event.window_end] += 1
        if isinstance(event, ev.AlertSeen):
            assert alert is not None
            ledger.repeats[alert.rule_id] += event.repeats
