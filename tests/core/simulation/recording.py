"""Recordings: what a world decided, as the bytes that a ledger would hold of it."""

from collections.abc import Callable, Iterable

from tests.support.world import World

from tocsin.core.ledger import encoding
from tocsin.core.model import event as ev
from tocsin.core.model.entry import Draft
from tocsin.core.model.policy import Policy
from tocsin.core.simulation.lookahead import Parts
from tocsin.core.simulation.report import Report
from tocsin.core.simulation.what_if import what_if


class Recorder:
    """Seals drafts as the runtime does: with links to the incident's other entries, and causes."""

    def __init__(self) -> None:
        self.size = 0
        self._cause = 0
        self._version = 0
        self._links: dict[int, tuple[str, int, int | None]] = {}

    def seal(self, draft: Draft, at: int) -> Parts:
        seq = self.size
        for event in draft.events:
            if isinstance(event, ev.IncidentOpened):
                self._links[event.incident] = event.id, 0, None
            elif isinstance(event, ev.PolicyAdopted):
                self._version = event.version
        link = self._links.get(draft.incident)
        sealed = encoding.seal(
            draft,
            seq=seq,
            at=at,
            policy=self._version,
            cause=self._cause if draft.follows else None,
            incident=link,
            nonce=bytes(16),
        )
        if link is not None:
            self._links[draft.incident] = link[0], link[1] + 1, seq
        if not draft.follows:
            self._cause = seq
        self.size += 1
        return sealed.header, sealed.decision, sealed.private


def recording(world: World) -> list[Parts]:
    """Give all that a world decided, as a ledger has it."""
    recorder = Recorder()
    return [recorder.seal(entry.draft, entry.at) for entry in world.entries]


def erased(entries: list[Parts], *, which: Callable[[bytes], bool]) -> list[Parts]:
    """Erase the private parts of the entries whose header fits."""
    return [(header, decision, b"" if which(header) else private) for header, decision, private in entries]


def again(entries: Iterable[Parts], policy: Policy, **more: object) -> Report:
    """Ask what would have been."""
    kept = list(entries)
    return what_if(lambda: kept, policy, **more)  # type: ignore[arg-type]
