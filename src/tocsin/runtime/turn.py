"""Turn: one turn's work: inputs become entries, in order, and what they changed becomes rows, committed at once.

It is made for one turn and thrown away; what lives longer is the pump's.
"""

import msgspec

from tocsin.core.engine import deduplicate
from tocsin.core.engine.state import LiveAlert, State, refresh
from tocsin.core.engine.step import advance
from tocsin.core.ledger import encoding
from tocsin.core.ledger.encoding import NONCE_BYTES
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model.entry import Draft
from tocsin.core.model.errors import Invalid, TocsinError, Unavailable
from tocsin.core.model.input import AlertReceived, ErasureAsked, Input, PolicyChanged, TokenIssued
from tocsin.ports import Batch, Ids, Store, StoreFailed
from tocsin.runtime.committed import Committed
from tocsin.runtime.projection import Projection
from tocsin.runtime.texts import Texts

NONCES_AT_ONCE = 64


class Result(msgspec.Struct, frozen=True):
    """What became of one input. incidents: (id, number, outcome); refused: why nothing came of it.

    An exception knows the frame that raised it, and that frame this result: without the garbage collector, each
    refusal would stay in memory for ever.
    """

    outcome: str
    incidents: tuple[tuple[str, int, str], ...] = ()
    refused: Exception | None = None


class Poisoned(Exception):
    """An input broke the rules of the house while it was applied: the state cannot be trusted any more."""

    def __init__(self, request: int, position: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.request, self.position, self.cause = request, position, cause


class Turn:
    """One turn's work: entries in order, and what they changed. edge: of the ledger's tree, after them."""

    def __init__(
        self, state: State, edge: Frontier, at: int, *, store: Store, texts: Texts, ids: Ids, origin: str
    ) -> None:
        self._state = state
        self._at = at
        self._ids = ids
        self.edge = edge.copy()
        self._first = edge.size
        self._rows = Projection(
            state, store, texts, first=edge.size, at=at, origin=origin, record=edge.short()
        )
        self._nonces = b""
        self._cause: int | None = None
        self._repeats = 0
        self._refreshed: dict[int, LiveAlert] = {}

    def take(self, given: Input, actor: str, where: tuple[int, int] | None) -> Result:
        """Decide one input. Raises: Poisoned if it broke while it was applied; StoreFailed."""
        state = self._state
        if isinstance(given, PolicyChanged) and self._rows.has_policy:
            return Result(
                "refused", refused=Unavailable("Another policy came at the same moment. Try again.")
            )
        if isinstance(given, ErasureAsked) and given.entries and given.entries[-1] >= self._first:
            return Result("refused", refused=Invalid(f"There is no entry {given.entries[-1]} yet."))
        if type(given) is AlertReceived:
            live = deduplicate.find_repeated(state, given, self._at)
            if live is not None:
                refresh(state, live, given.alert.ends_at, self._at)
                self._refreshed[live.number] = live
                self._repeats += 1
                known = state.incidents
                return Result(
                    "duplicate", tuple([(known[number].id, number, "duplicate") for number in live.firing_in])
                )
        elif isinstance(given, TokenIssued):
            self._rows.token_hash = given.token.hash
        before = len(self._rows.entries)
        self._cause = None
        try:
            decided = advance(state, given, at=self._at, actor=actor, emit=self._emit)
        except TocsinError as error:
            if len(self._rows.entries) > before:
                raise
            return Result("refused", refused=error)
        except StoreFailed:
            raise  # That is not the input's fault.
        except Exception as error:
            if where is None:
                raise
            raise Poisoned(*where, error) from error
        if decided.refreshed is not None:
            self._refreshed[decided.refreshed.number] = decided.refreshed
        if decided.outcome:
            self._rows.tally["input:" + decided.outcome] += 1
        incidents = state.incidents
        return Result(
            decided.outcome,
            tuple(
                [
                    (incidents[number].id if number in incidents else "", number, outcome)
                    for number, outcome in decided.incidents
                ]
            ),
        )

    def _emit(self, draft: Draft) -> None:
        """Take a draft that was applied: what it means for the rows, and its place in the ledger."""
        seq = self._first + len(self._rows.entries)
        self._rows.follow(draft, seq)
        self._seal(draft, seq, self._cause if draft.follows else None)
        if not draft.follows:
            self._cause = seq

    def _seal(self, draft: Draft, seq: int, cause: int | None) -> None:
        """Give an entry its place, while what it speaks of is still at hand."""
        state = self._state
        link = None
        if draft.incident:
            incident = state.incidents[draft.incident]
            state.touched.incidents[draft.incident] = incident
            link = incident.id, incident.entries, incident.last_seq if incident.entries else None
            incident.entries += 1
            incident.last_seq = seq
        if not self._nonces:
            self._nonces = self._ids.random_bytes(NONCE_BYTES * NONCES_AT_ONCE)
        nonce, self._nonces = self._nonces[:NONCE_BYTES], self._nonces[NONCE_BYTES:]
        sealed = encoding.seal(
            draft,
            seq=seq,
            at=self._at,
            policy=state.plans.version,
            cause=cause,
            incident=link,
            nonce=nonce,
        )
        self.edge.append(sealed.leaf)
        self._rows.entries.append(sealed)

    def batch(self) -> Batch | None:
        """Give all that this turn changed, to be written at once; None if that is nothing."""
        return self._rows.batch(self.edge, self._refreshed)

    def committed(self, commit_us: int) -> Committed:
        """Give what others act on, once the batch is durable. commit_us: how long the store took."""
        state = self._state
        tally = self._rows.tally
        state.touched = type(state.touched)()
        if self._repeats:
            tally["input:duplicate"] += self._repeats
        tally["entries"] = len(self._rows.entries)
        tally["commit_us"] = commit_us
        # What was planned and then merged in the same turn is not attempted any more.
        dispatches = [one for one in self._rows.dispatches if one.delivery in state.deliveries]
        return Committed(
            dispatches=dispatches, ended=self._rows.ended, size=self.edge.size, at=self._at, tally=tally
        )
