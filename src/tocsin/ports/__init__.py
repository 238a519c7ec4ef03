"""What the shell needs from the world, as protocols and the values they speak of.

`wiring` alone chooses who plays which part. Take the names from here; the rooms behind it are for reading.
"""

from tocsin.ports.channel import Channel, Reachable, Rendered
from tocsin.ports.machine import Clock, Ids
from tocsin.ports.memory import Begun, Memory, News
from tocsin.ports.rows import (
    AlertRow,
    Attempt,
    Batch,
    DeliveryRow,
    Head,
    IncidentRow,
    NotificationRow,
    PolicyRow,
    Redacted,
    SignerRow,
)
from tocsin.ports.source import Source, SourceFailed
from tocsin.ports.store import Shared, Store, StoreFailed, StoreHeld, StoreRefused, shared
from tocsin.ports.views import (
    DeliveryFilter,
    DeliveryView,
    Durations,
    IncidentFilter,
    SilenceView,
    Stats,
    number_of,
)

__all__ = [
    "AlertRow",
    "Attempt",
    "Batch",
    "Begun",
    "Channel",
    "Clock",
    "DeliveryFilter",
    "DeliveryRow",
    "DeliveryView",
    "Durations",
    "Head",
    "Ids",
    "IncidentFilter",
    "IncidentRow",
    "Memory",
    "News",
    "NotificationRow",
    "PolicyRow",
    "Reachable",
    "Redacted",
    "Rendered",
    "Shared",
    "SignerRow",
    "SilenceView",
    "Source",
    "SourceFailed",
    "Stats",
    "Store",
    "StoreFailed",
    "StoreHeld",
    "StoreRefused",
    "number_of",
    "shared",
]
