"""Memory: what the store gives back so that a node can go on, and what several nodes tell each other."""

from collections.abc import Sequence

import msgspec

from tocsin.core.engine.state import LiveAlert, LiveDelivery, LiveIncident, RateWindow
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Silence
from tocsin.ports.rows import Head


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """All that state needs to go on. alerts, incidents: only the live ones, by number.

    A lease that was stored after its alert (its seen_at is later) is merged in: repeats, seen_at, lease. An older one
    is not: the alert's own row knew it already, and whatever happened to the alert since.
    """

    head: Head
    policies: Sequence[tuple[int, Policy]]
    incidents: Sequence[LiveIncident]
    alerts: Sequence[LiveAlert]
    deliveries: Sequence[LiveDelivery]
    rates: Sequence[tuple[str, RateWindow]]
    silences: Sequence[tuple[Silence, bool]]
    maintenances: Sequence[tuple[Maintenance, int]] = ()


class News(Memory, frozen=True, kw_only=True):
    """What other nodes changed since this one last knew everything, as it stands now; besides, see `Memory`.

    incidents, alerts: those that are live; gone_incidents, gone_alerts (ids): those that are not any more.
    deliveries: pending ones; ended: numbers of those that are not any more.
    silences, maintenances: all of them, if others changed any (has_silences, has_maintenances).
    erased: texts were taken out of rows; has_tokens: others made or revoked tokens.
    """

    gone_incidents: Sequence[int] = ()
    gone_alerts: Sequence[bytes] = ()
    ended: Sequence[int] = ()
    has_silences: bool = False
    has_maintenances: bool = False
    erased: bool = False
    has_tokens: bool = False


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands when a turn begins that no other node can come between.

    at: the time, the same for all nodes, microseconds UTC; alive_at: when any of them was last known to listen.
    news: None if nobody changed anything. is_behind: what changed is no longer known; load everything.
    taken: deliveries that were another node's, which is gone, and are ours now.
    leads: of all nodes this one does what only one needs to do.
    dispossessed: this node was gone, and what was its own may be others' now.
    holds: false if no turn began, since there was too much to catch up with; that is known now, so begin again.
    """

    at: int
    alive_at: int
    news: News | None = None
    is_behind: bool = False
    leads: bool = True
    taken: Sequence[int] = ()
    dispossessed: bool = False
    holds: bool = True
