"""Forgetting: which private parts are to be erased, and what they are about, so that the core can refuse.

Reads the ledger; decides nothing, and changes nothing.
"""

import json
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tocsin.core.ledger.encoding import read_decision, read_header, read_private, unpack
from tocsin.core.model import event as ev
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.errors import Invalid, NotFound
from tocsin.core.model.input import Basis, ErasureAsked
from tocsin.core.model.notification import Message
from tocsin.ports import Store, number_of

SUBJECT_CHARACTERS_MIN = 3
"""A shorter text stands in nearly every entry."""


class About(msgspec.Struct, kw_only=True):
    """What entries are about. Dicts serve as ordered sets.

    folds: one of them cannot be folded without its private part, as version 1 had policies and silences.
    """

    alerts: dict[bytes, None] = {}
    incidents: dict[int, None] = {}
    silences: dict[int, None] = {}
    maintenances: dict[int, None] = {}
    policies: dict[int, None] = {}
    folds: bool = False

    def add(self, header: bytes, decision: bytes) -> None:
        """Take an entry."""
        read = read_header(header)
        number = number_of(read.incident) if read.incident is not None else None
        if number is not None:
            self.incidents[number] = None
        for event in read_decision(decision).events:
            match event:
                case ev.AlertFired(id=id_) | ev.AlertSeen(id=id_):
                    self.alerts[bytes.fromhex(id_)] = None
                case ev.SilenceCreated(silence=silence):
                    self.silences[silence] = None
                    self.folds |= read.v == 1
                case ev.MaintenanceCreated(maintenance=maintenance):
                    self.maintenances[maintenance] = None
                case ev.PolicyAdopted(version=version):
                    self.policies[version] = None
                    self.folds |= read.v == 1
                case _:
                    pass


def asked_for(store: Store, entries: Iterable[int], reason: str) -> ErasureAsked:
    """Give what erases these entries. Raises: NotFound if one is not there."""
    seqs = sorted(set(entries))
    about = About()
    said: set[tuple[str, str]] = set()
    for seq in seqs:
        entry = store.entry(seq)
        if entry is None:
            raise NotFound(f"There is no entry {seq}; the ledger has {store.head().size}.")
        about.add(entry[0], entry[1])
        alert = read_private(entry[2]).alert if entry[2] else None
        if alert is not None:
            said.add((alert.rule_id, alert.message))

    def repeats(message: Message) -> bool:
        return any((line.rule_id, line.message) in said for line in message.alerts)

    return _asked(seqs, about, Basis.ENTRY, reason, _saying(store, repeats) if said else ())


def about_subject(
    store: Store, subject: str, reason: str, progress: Callable[[int], None] = lambda seq: None
) -> ErasureAsked:
    """Give what erases all entries in whose private part a text stands, whatever the case. Reads the whole ledger.

    progress: is told how far it is. Raises: Invalid for a text that is too short.
    """
    if len(subject.strip()) < SUBJECT_CHARACTERS_MIN:
        raise Invalid(
            f"A text of fewer than {SUBJECT_CHARACTERS_MIN} characters stands in nearly every entry. Give an "
            "address or a whole name.",
            field="subject",
        )
    wanted = json.dumps(subject.strip(), ensure_ascii=False)[1:-1].casefold()
    about = About()
    seqs = []
    for seq, header, decision, private in _entries(store):
        if seq % 10_000 == 0:
            progress(seq)
        if wanted in private.decode().casefold():
            seqs.append(seq)
            about.add(header, decision)

    def names(message: Message) -> bool:
        return wanted in CANONICAL.encode(message).decode().casefold()

    return _asked(seqs, about, Basis.SUBJECT, reason, _saying(store, names) if seqs else ())


def _saying(store: Store, is_meant: Callable[[Message], bool]) -> tuple[int, ...]:
    """Find the notifications that say it. An alert's text may stand in those of another incident too."""
    found = []
    for number in range(1, store.head().counters.notification + 1):
        message = store.message(number)
        if message is not None and is_meant(message):
            found.append(number)
    return tuple(found)


def _asked(
    seqs: list[int], about: About, basis: Basis, reason: str, notifications: tuple[int, ...]
) -> ErasureAsked:
    return ErasureAsked(
        entries=tuple(seqs),
        alerts=tuple(about.alerts),
        incidents=tuple(sorted(about.incidents)),
        silences=tuple(sorted(about.silences)),
        maintenances=tuple(sorted(about.maintenances)),
        policies=tuple(sorted(about.policies)),
        notifications=notifications,
        basis=basis,
        reason=reason,
    )


def erased_since(store: Store, seq: int) -> bool:
    """Say whether an entry from this one on erased anything."""
    return any(
        isinstance(event, ev.PrivateErased)
        for _, _, decision, _ in _entries(store, seq)
        for event in read_decision(decision).events
    )


def _entries(store: Store, first: int = 0) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Give (seq, header, decision, private) of all entries from `first` on."""
    for segment in store.segments(first):
        for seq, parts in enumerate(unpack(segment.data), segment.first_seq):
            if seq >= first:
                yield (seq, *parts)
