"""The store: what Tocsin remembers, as a protocol, alone or shared by several nodes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

from tocsin.core.engine.state import LiveAlert, LiveIncident
from tocsin.core.ledger.encoding import Segment
from tocsin.core.model.access import Token
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import Message
from tocsin.core.model.silence import Maintenance
from tocsin.ports.memory import Begun, Memory
from tocsin.ports.rows import Attempt, Batch, DeliveryRow, Head, PolicyRow, SignerRow
from tocsin.ports.views import DeliveryFilter, DeliveryView, IncidentFilter, SilenceView, Stats


class StoreFailed(Exception):
    """The store could not do it; whether a commit took effect is unknown until the head is read again."""


class StoreRefused(Exception):
    """The store cannot be used as it is (newer schema, weaker durability, another writer). Says the next step."""


class StoreHeld(StoreRefused):
    """Another process has it; perhaps only for the moment in which it looks."""


class Store(Protocol):
    """What Tocsin remembers. Writing is for one thread; reading for any, and sees only what was committed.

    Any text comes back as it was. What rows are found by (ids, rules, channels, reasons) has at most 256 characters.
    """

    def load(self) -> Memory:
        """Read all that state needs. Raises: StoreFailed."""
        ...

    def commit(self, batch: Batch) -> None:
        """Make a turn durable: when this returns, it survives a loss of power. Raises: StoreFailed."""
        ...

    def recall(self, ids: Sequence[bytes]) -> list[LiveAlert]:
        """Give those of these alerts that are stored, but not live, by number; in one question."""
        ...

    def leases(self, alerts: Sequence[int]) -> dict[int, int]:
        """Give the leases of these alerts (number -> lease) that were stored after the alerts themselves."""
        ...

    def alive(self, at: int) -> None:
        """Note that somebody listens. Raises: StoreFailed."""
        ...

    def secret(self, name: str) -> bytes | None:
        """Give a secret that belongs to the store (`id_key`), None if it has none."""
        ...

    def keep_secret(self, name: str, value: bytes) -> None:
        """Keep a secret, once. Raises: StoreFailed if there is one of that name."""
        ...

    def put_secret(self, name: str, value: bytes) -> None:
        """Keep a secret, or replace the one of that name. Raises: StoreFailed."""
        ...

    def put_token(self, token: Token) -> None:
        """Keep a token, or replace the one with its id. Safe from any thread. Raises: StoreFailed."""
        ...

    def tokens(self) -> list[Token]:
        """Give all tokens, oldest first."""
        ...

    def put_evaluations(self, rows: Mapping[str, bytes | None]) -> None:
        """Keep what rules remember (rule_id -> bytes; None for a rule that is to be forgotten), all of it or nothing.

        Safe from any thread. Raises: StoreFailed.
        """
        ...

    def evaluations(self) -> dict[str, bytes]:
        """Give what all rules remember, by rule_id."""
        ...

    def put_checkpoint(self, size: int, note: bytes) -> None:
        """Keep a signed checkpoint that hands over from one key to another. Safe from any thread.

        Raises: StoreFailed.
        """
        ...

    def head(self) -> Head:
        """Read where the ledger ends."""
        ...

    def tiles(self, level: int, first: int, count: int) -> list[bytes]:
        """Give the roots of full tiles (32 bytes each) that are there, of `count` from number `first`; level from 1."""
        ...

    def signers(self) -> list[SignerRow]:
        """Give the keys that ever signed checkpoints, in the order in which they were adopted."""
        ...

    def origins(self) -> list[tuple[int, str]]:
        """Give (seq, name) of what the ledger is called from which entry on, in order."""
        ...

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Give (size, note) of the checkpoints that were kept, by size."""
        ...

    def segments(self, first_seq: int = 0) -> Iterator[Segment]:
        """Give the segments in order, from the one that holds `first_seq`."""
        ...

    def entry(self, seq: int) -> tuple[bytes, bytes, bytes] | None:
        """Give the header, decision and private bytes of an entry."""
        ...

    def incident_text(self, number: int) -> tuple[str, dict[str, str]] | None:
        """Give an incident's title and labels."""
        ...

    def message(self, notification: int) -> Message | None:
        """Give what a notification says."""
        ...

    def list_incidents(self, wanted: IncidentFilter, limit: int) -> tuple[list[IncidentView], int]:
        """Give the newest incidents that fit, and how many fit in all (`after` left aside)."""
        ...

    def find_incident(self, id_or_number: str) -> LiveIncident | None:
        """Find an incident by its id or by its number in decimal; also one that is long over."""
        ...

    def is_live(self, incident: int) -> bool:
        """Say whether state knows an incident."""
        ...

    def resolved_before(self, before: int, limit: int) -> list[int]:
        """Give the lowest numbers of incidents that state does not know, and that were resolved before a moment."""
        ...

    def members(self, incident: int) -> list[LiveAlert]:
        """Give the alerts that ever were in an incident, in the order in which Tocsin first saw them."""
        ...

    def incident_view(self, number: int) -> IncidentView | None:
        """Give an incident as people are shown it."""
        ...

    def deliveries_of(self, incident: int) -> list[DeliveryView]:
        """Give the deliveries about an incident, oldest first."""
        ...

    def stats(self, since: int, until: int) -> Stats:
        """Count incidents, and say how long people took; see Stats for what the two bound."""
        ...

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> tuple[list[DeliveryView], int]:
        """Give the newest deliveries that fit, and how many fit in all (`after` left aside)."""
        ...

    def delivery(self, number: int) -> DeliveryRow | None:
        """Give a delivery as it stands."""
        ...

    def delivery_view(self, number: int) -> DeliveryView | None:
        """Give a delivery as people are shown it."""
        ...

    def attempts_of(self, delivery: int) -> list[Attempt]:
        """Give the attempts of a delivery that failed, first to last."""
        ...

    def list_silences(
        self, *, ended: bool | None, after: int | None, limit: int
    ) -> tuple[list[SilenceView], int]:
        """Give the newest silences, and how many fit in all. ended: None for all; after: lower numbers only."""
        ...

    def find_silence(self, id_or_number: str) -> SilenceView | None:
        """Find a silence by its id or number, also one that is over."""
        ...

    def list_maintenances(self) -> list[tuple[Maintenance, int, bool]]:
        """Give all maintenances, newest first: when each opens next (0 for never again), and whether it is over."""
        ...

    def policies(self, after: int | None, limit: int) -> list[PolicyRow]:
        """Give the newest versions of the policy, those below `after` if it is given."""
        ...

    def policy(self, version: int) -> PolicyRow | None:
        """Give one version of the policy."""
        ...

    def alerts_seen(self, since: int) -> Iterator[LiveAlert]:
        """Give the alerts that are live, then those that are not and were last seen at `since` or later."""
        ...

    def kept(self) -> dict[str, int]:
        """Give sizes for the operator: bytes of the file(s) and rows of the large tables, by name."""
        ...

    def counts(self) -> dict[str, int]:
        """Count deliveries by state, and withheld intents as `withheld:<reason>`."""
        ...

    def close(self) -> None: ...


class Shared(Protocol):
    """What a store can do besides, if several nodes write to it.

    Each pending delivery is owned by one node, which alone attempts it; by the one that commits it, at first.
    name: the database, as people are told of it; url: with its password, if that stands in it.
    living: how many nodes counted as living when this one, which is among them, last said that it is.
    """

    name: str
    url: str
    living: int

    def begin(self) -> Begun:
        """Begin a turn: until `commit` or `release` no other node decides anything. Raises: StoreFailed."""
        ...

    def release(self) -> None:
        """End a turn that commits nothing. Raises: StoreFailed."""
        ...

    def owns(self, delivery: int) -> bool:
        """Say whether this node is to attempt a pending delivery, as of its last commit or `begin`."""
        ...

    def sign_off(self) -> None:
        """Say that this node lives no more, so that the others take over without waiting. Raises: StoreFailed."""
        ...


def shared(store: Store) -> Shared | None:
    """Give what a store can do besides if several nodes write to it, None if only one does."""
    return cast(Shared, store) if hasattr(store, "begin") else None
