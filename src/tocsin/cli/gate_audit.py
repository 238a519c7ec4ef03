"""Gate: notify_audit. Is what was not touched found sound, and what was tampered with not?

A ledger is made by the real pump, signed and proven; then it is tampered with in many ways, one at a time.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tocsin.cli import gate_tour, ledger_check
from tocsin.cli.gate_check import Asked, Found
from tocsin.core.ledger import checkpoint, encoding, envelope, proof, verify
from tocsin.core.ledger.encoding import Sealed, Segment
from tocsin.core.ledger.merkle import Frontier, hash_leaf
from tocsin.core.ledger.note import Unverified, read_key
from tocsin.core.ledger.proof import Proof
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.errors import Invalid
from tocsin.ports import IncidentFilter
from tocsin.runtime import evidence, signing

SECRET = "a secret of envelopes, for the gate"
FLIPS = 40
"""So many single bits, spread over the whole ledger, are turned around, each by itself."""

Parts = tuple[bytes, bytes, bytes]
Judged = Iterator[tuple[str, bool]]
"""What was judged, and whether it was found to be in order."""


def audit(asked: Asked) -> Found:
    """Judge the untouched ledger and all that proves it, then each way of tampering with them."""
    bench = Bench()
    sound = list(bench.untouched())
    tampered = [*bench.entries(), *bench.bits(), *bench.checkpoints(), *bench.proofs(), *bench.envelopes()]
    wrong = [f"{what}, as it is: it is refused" for what, in_order in sound if not in_order]
    wrong += [f"{what}: nobody notices" for what, in_order in tampered if in_order]
    figures = {"entries": bench.head.size, "tampered": len(tampered)}
    if wrong:
        said = f"{len(wrong)} of {len(sound) + len(tampered)} judgements on a signed ledger are wrong."
        return Found("fail", said, wrong=tuple(wrong), figures=figures)
    said = (
        f"A signed ledger of {bench.head.size} entries is sound, with its checkpoint, proofs and envelope; each of "
        f"{len(tampered)} ways to tamper with them is noticed."
    )
    return Found("ok", said, figures=figures)


class Bench:
    """A ledger with a checkpoint and proofs, and copies of it to tamper with."""

    def __init__(self) -> None:
        house, notary = gate_tour.tour()
        store = house.store
        self.head = store.head()
        self.note = notary.latest()
        self.signed = evidence.signed_tree(store, self.note)[0]
        self.keys = [read_key(row.vkey) for row in store.signers()]
        self.segments = list(store.segments())
        self.parts = [list(encoding.unpack(segment.data)) for segment in self.segments]
        shown = next(
            view.number
            for view in store.list_incidents(IncidentFilter(), 100)[0]
            if len(store.deliveries_of(view.number)) > 1
        )
        self.entry = 17
        self.proof = proof.read(evidence.prove_entry(store, self.note, self.entry))
        self.incident = evidence.prove_incident(store, self.note, str(shown))
        self.envelope = evidence.make_envelope(store, self.note, str(shown), SECRET)
        self.old = self.segments[len(self.segments) // 2]
        self.growth = evidence.signed_tree(store, self.note)[1].consistency(
            self.old.first_seq + self.old.count
        )

    # What judges

    def is_sound(self, segments: list[Segment], root: bytes | None = None) -> bool:
        """Say what verification says. root: where not the head's own is to be met."""
        if root is not None:
            return verify.verify(segments, size=self.head.size, root=root).is_sound
        head = self.head
        return verify.verify(segments, size=head.size, root=head.root, edge=head.edge, at=head.at).is_sound

    def is_signed(self, note: bytes) -> bool:
        """Say whether a checkpoint of this ledger is believed."""
        return _holds(
            lambda: checkpoint.read_signed(note, self.keys, signing.verify, origin=self.signed.origin)
        )

    def is_proven(self, given: Proof, header: bytes) -> bool:
        """Say whether the proof of an entry is believed."""
        return _holds(
            lambda: proof.confirm(
                given, header, keys=self.keys, verify=signing.verify, origin=self.signed.origin
            )
        )

    def is_whole(self, given: evidence.IncidentProof) -> bool:
        """Say whether the proof of an incident is believed."""
        return bool(ledger_check.check_file(msgspec.json.encode(given), self.keys, None, None)["sound"])

    def grew(self, old_root: bytes) -> bool:
        """Say whether the ledger is believed to have grown from this older root."""
        return proof.is_consistent(
            old=self.old.first_seq + self.old.count,
            old_root=old_root,
            new=self.head.size,
            new_root=self.head.root,
            path=self.growth,
        )

    def opens(self, data: bytes, secret: str = SECRET) -> bool:
        """Say whether an envelope is believed."""
        return _holds(lambda: _raise(envelope.open_(data, (secret,))[1]))

    # What is judged

    def untouched(self) -> Judged:
        """Judge everything as it is."""
        yield "the ledger", self.is_sound(self.segments)
        yield "the checkpoint", self.is_signed(self.note)
        yield "the proof of an entry", self.is_proven(self.proof, self._header(self.entry))
        yield "the proof of an incident", self.is_whole(self.incident)
        yield "the proof that the ledger only grew", self.grew(self.old.root)
        yield "the envelope", self.opens(self.envelope)

    def entries(self) -> Judged:
        """Tamper with entries where somebody who can write the database would."""
        place = self._place(lambda parts: b'"alert_fired"' in parts[1] and b'"alert":' in parts[2])
        several = next(which for which, parts in enumerate(self.parts) if len(parts) > 1)
        header, decision, private = self.parts[place[0]][place[1]]
        changes: tuple[tuple[str, Parts], ...] = (
            ("a decision was changed", (header, _other(decision, b'"error"', b'"info"'), private)),
            ("a private part was changed", (header, decision, _other(private, b"not as it", b"all as it"))),
            ("a private part was taken away without a record", (header, decision, b"")),
            ("an actor was changed", (_other(header, b'"actor":"', b'"actor":"x'), decision, private)),
        )
        for what, parts in changes:
            yield what, self.is_sound(self._with(place[0], self._but(place, [parts])))
        yield "an entry was dropped", self.is_sound(self._with(several, self.parts[several][1:]))
        twice = [self.parts[several][0], *self.parts[several]]
        yield "an entry was put in twice", self.is_sound(self._with(several, twice))
        yield "entries changed places", self.is_sound(self._with(several, self.parts[several][::-1]))
        erased = self._place(lambda parts: not parts[2])
        gone = self.parts[erased[0]][erased[1]]
        back = self._with(erased[0], self._but(erased, [(gone[0], gone[1], private)]))
        yield "an erased part was filled again", self.is_sound(back)
        yield "a segment was dropped", self.is_sound([*self.segments[:9], *self.segments[10:]])
        yield "the end was cut off", self.is_sound(self.segments[:-1])
        rewritten, root = self._rewritten(place, changes[0][1])
        fits = self.is_sound(rewritten, root)
        assert fits, "who computes everything anew leaves nothing that does not fit"
        yield "everything was computed anew after a change", self.is_sound(rewritten, self.signed.root)

    def bits(self) -> Judged:
        """Turn single bits around, all over the ledger."""
        total = sum(len(segment.data) for segment in self.segments)
        for number in range(FLIPS):
            position = total * number // FLIPS + number
            which = 0
            while position >= len(self.segments[which].data):
                position -= len(self.segments[which].data)
                which += 1
            data = bytearray(self.segments[which].data)
            data[position] ^= 1 << number % 8
            segments = self.segments.copy()
            segments[which] = msgspec.structs.replace(segments[which], data=bytes(data))
            yield (
                f"bit {number % 8} of byte {position} of segment {which} was flipped",
                self.is_sound(segments),
            )

    def checkpoints(self) -> Judged:
        """Tamper with the checkpoint, and with who signs it."""
        signed, signatures = self.signed, self.note.partition(b"\n\n")[2]
        forger = signing.SigningKey(hashlib.sha256(b"somebody else").digest()).named(self.keys[-1].name)
        said, _, signature = signatures.rpartition(b" ")
        raw = bytearray(base64.b64decode(signature))
        raw[-1] ^= 1

        def retold(**changes: Any) -> bytes:
            told = msgspec.structs.replace(signed, **changes)
            return checkpoint.write(told).encode() + b"\n" + signatures

        for what, note in (
            ("a checkpoint of another size", retold(size=signed.size - 1)),
            ("a checkpoint of another root", retold(root=self.old.root)),
            ("a checkpoint of another ledger", retold(origin=f"{signed.origin}/9")),
            ("a checkpoint signed by another key", checkpoint.sign(signed, [forger])),
            ("a checkpoint without a signature", checkpoint.write(signed).encode() + b"\n"),
            (
                "a checkpoint with another signature",
                checkpoint.write(signed).encode() + b"\n" + said + b" " + base64.b64encode(raw) + b"\n",
            ),
        ):
            yield what, self.is_signed(note)

    def proofs(self) -> Judged:
        """Tamper with proofs."""
        header = self._header(self.entry)
        replace = msgspec.structs.replace
        path = self.proof.path
        yield "the proof of another entry", self.is_proven(self.proof, self._header(self.entry + 1))
        for what, given in (
            ("a proof with another place", replace(self.proof, index=self.entry + 1)),
            ("a proof with another path", replace(self.proof, path=(path[-1], *path[1:]))),
            ("a proof with a shorter path", replace(self.proof, path=path[:-1])),
        ):
            yield what, self.is_proven(given, header)
        first, second, *rest = self.incident.entries
        told = replace(first, decision=first.decision.replace('"error"', '"info"'))
        assert told != first, "the incident begins with an error"
        for what, entries in (
            ("an incident without its first entry", (second, *rest)),
            ("an incident without an entry in the middle", (first, *rest)),
            ("an incident with another decision", (told, second, *rest)),
        ):
            yield what, self.is_whole(replace(self.incident, entries=entries))
        yield "a ledger that grew from another root", self.grew(self.segments[0].root)

    def envelopes(self) -> Judged:
        """Tamper with the envelope."""
        whole = self.envelope
        opened = envelope.open_(whole, (SECRET,))[0]
        views = opened.deliveries
        told = msgspec.structs.replace(views[0], channel="pigeon")
        changed = msgspec.structs.replace(opened, deliveries=(told, *views[1:]))
        yield "an envelope with another delivery", self.opens(CANONICAL.encode(changed) + b"\n")
        unsealed = msgspec.structs.replace(opened, seal=None)
        yield "an envelope without its seal", self.opens(CANONICAL.encode(unsealed) + b"\n")
        yield "an envelope with another state", self.opens(_other(whole, b'"state":"', b'"state":"NOT '))
        yield "an envelope with something put in", self.opens(_other(whole, b"{", b'{"a":1,', once=True))
        yield "an envelope sealed by somebody else", self.opens(whole, secret=SECRET[::-1])

    # Tampering

    def _header(self, seq: int) -> bytes:
        return [header for parts in self.parts for header, _, _ in parts][seq]

    def _place(self, wanted: Callable[[Parts], bool]) -> tuple[int, int]:
        """Find an entry: its segment, and its place in there."""
        return next(
            (which, position)
            for which, entries in enumerate(self.parts)
            for position, parts in enumerate(entries)
            if wanted(parts)
        )

    def _but(self, place: tuple[int, int], instead: list[Parts]) -> list[Parts]:
        parts = self.parts[place[0]]
        return [*parts[: place[1]], *instead, *parts[place[1] + 1 :]]

    def _with(self, which: int, parts: list[Parts]) -> list[Segment]:
        """Give the segments with one that holds these entries; whoever does that counts them anew."""
        segments = self.segments.copy()
        segments[which] = msgspec.structs.replace(segments[which], count=len(parts), data=_packed(parts))
        return segments

    def _rewritten(self, place: tuple[int, int], changed: Parts) -> tuple[list[Segment], bytes]:
        """Change an entry and compute every hash anew: the segments, and the root that they come to."""
        tree = Frontier()
        segments = []
        for which, segment in enumerate(self.segments):
            parts = self._but(place, [_rehashed(changed)]) if which == place[0] else self.parts[which]
            tree.extend(hash_leaf(header) for header, _, _ in parts)
            segments.append(msgspec.structs.replace(segment, root=tree.root(), data=_packed(parts)))
        return segments, tree.root()


def _packed(parts: list[Parts]) -> bytes:
    return encoding.pack([Sealed(*three, b"") for three in parts])


def _rehashed(parts: Parts) -> Parts:
    header, decision, private = parts
    read = encoding.read_header(header)
    digest = hashlib.sha256(decision).hexdigest()
    return CANONICAL.encode(msgspec.structs.replace(read, decision_hash=digest)), decision, private


def _other(text: bytes, old: bytes, new: bytes, *, once: bool = False) -> bytes:
    """Replace something that is there by something else, everywhere or at its first place."""
    assert old in text, f"{old!r} is not in what should be tampered with"
    changed = text.replace(old, new, 1 if once else -1)
    assert changed != text, f"{old!r} is the same as {new!r}"
    return changed


def _holds(look: Callable[[], object]) -> bool:
    """Say whether somebody believes what they look at; Unverified and Invalid are how they say no."""
    try:
        look()
    except (Unverified, Invalid):
        return False
    return True


def _raise(wrong: str) -> None:
    if wrong:
        raise Unverified(wrong)
