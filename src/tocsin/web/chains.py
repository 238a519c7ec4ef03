"""Chains: an incident and its entries, read back from the newest along the links that the ledger keeps."""

from collections.abc import Iterator
from typing import NamedTuple

from tocsin.core.engine.state import LiveIncident
from tocsin.core.engine.suppress import covering
from tocsin.core.ledger import encoding
from tocsin.core.model.entry import Header
from tocsin.core.model.errors import NotFound
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.trace import Line
from tocsin.ports import Store
from tocsin.web.cursors import wrong_cursor


class Raw(NamedTuple):
    """An entry with its header read. decision, private: as bytes; private is empty once it was erased."""

    header: Header
    decision: bytes
    private: bytes


def get_incident(store: Store, name: str) -> LiveIncident:
    """Find an incident by its id or number. Raises: NotFound."""
    incident = store.find_incident(name)
    if incident is None:
        raise NotFound(f"There is no incident {name[:64]!r}. List them: GET /api/v1/incidents.")
    return incident


def silences_over(store: Store, incident: LiveIncident) -> list[int]:
    """Give the numbers of the silences that cover its alerts, oldest first."""
    return list(covering(store.members(incident.number))) if incident.silenced else []


def get_view(store: Store, incident: LiveIncident) -> IncidentView:
    """Give an incident as people are shown it."""
    view = store.incident_view(incident.number)
    assert view is not None, f"incident #{incident.number} has a row and no view"
    return view


def newest_first(store: Store, incident: LiveIncident, below: int | None = None) -> Iterator[Raw]:
    """Read an incident's entries, newest first. below: begin with the one before this entry of it.

    Raises: WrongCursor if `below` is no entry of the incident.
    """
    seq: int | None = incident.last_seq
    if below is not None:
        given = store.entry(below)
        header = encoding.read_header(given[0]) if given is not None else None
        if header is None or header.incident != incident.id:
            raise wrong_cursor()
        seq = header.incident_prev
    while seq is not None and seq >= 0:
        entry = store.entry(seq)
        if entry is None:
            return
        header = encoding.read_header(entry[0])
        yield Raw(header, entry[1], entry[2])
        seq = header.incident_prev


def line_of(raw: Raw) -> Line:
    """Read an entry as a line of its incident's story."""
    private = encoding.read_private(raw.private) if raw.private else None
    return Line(
        header=raw.header,
        decision=encoding.read_decision(raw.decision),
        alert=private.alert if private is not None else None,
        note=private.note if private is not None else "",
        outcome=private.outcome if private is not None else None,
    )
