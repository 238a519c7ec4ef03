"""Golden vectors: what an earlier version wrote, this one writes and reads to the byte."""

import hashlib
import json
import typing

import msgspec
import pytest
from tests.core.ledger import golden

from tocsin.core.ledger.encoding import (
    Sealed,
    Segment,
    pack,
    read_decision,
    read_entry,
    read_header,
    read_private,
    unpack,
)
from tocsin.core.ledger.merkle import Frontier, hash_leaf
from tocsin.core.ledger.verify import verify
from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.event import Decided, PolicyAdopted
from tocsin.core.model.notification import Outcome

VECTORS = json.loads(golden.FILE.read_text())
ERASED = (2, 3, 4, 7, 8)
"""The entries of version 2 whose private parts later ones say were erased."""

PARTS = ("header", "decision", "private")
VECTORS_1 = json.loads(golden.FILE.with_name("golden_v1.json").read_text())


def test_the_same_drafts_give_the_same_bytes_leaves_and_roots():
    made = golden.vectors()

    for number, vector in enumerate(VECTORS):
        assert made[number] == vector, f"ledgers that exist hold other bytes for: {vector['name']}"
    assert len(made) == len(VECTORS), "a new vector: print golden.json anew, and see that it only grew"


@pytest.mark.parametrize("vector", VECTORS + VECTORS_1, ids=lambda vector: vector["name"])
def test_what_was_written_is_read_and_written_the_same(vector):
    header, decision, private = (vector[part].encode() for part in ("header", "decision", "private"))
    read = read_header(header)

    assert CANONICAL.encode(read) == header
    assert CANONICAL.encode(read_decision(decision)) == decision
    assert CANONICAL.encode(read_private(private)) == private
    assert read.decision_hash == hashlib.sha256(decision).hexdigest()
    assert read.private_hash == hashlib.sha256(private).hexdigest()
    assert vector["leaf"] == hashlib.sha256(b"\x00" + header).hexdigest()


@pytest.mark.parametrize("vectors", [VECTORS, VECTORS_1], ids=["version 2", "version 1"])
def test_the_golden_ledger_is_sound(vectors):
    frontier = Frontier()
    segments = []
    for seq, vector in enumerate(vectors):
        parts = [vector[part].encode() for part in PARTS]
        if vectors is VECTORS and seq in ERASED:
            parts[2] = b""
        frontier.append(hash_leaf(parts[0]))
        assert frontier.root().hex() == vector["root"]
        data = pack([Sealed(*parts, b"")])
        segments.append(Segment(first_seq=seq, count=1, root=frontier.root(), data=data))

    verdict = verify(segments, size=len(vectors), root=frontier.root(), edge=frontier.pack())

    assert verdict[:4] == (len(vectors), bytes.fromhex(vectors[-1]["root"]), None, "")


def test_what_version_1_wrote_is_read_in_todays_form():
    entries = [read_entry(*(vector[part].encode() for part in PARTS)) for vector in VECTORS_1]

    policies = [
        (event, entry.private)
        for entry in entries
        for event in entry.decision.events
        if isinstance(event, PolicyAdopted)
    ]
    assert [event.version for event, _ in policies] == [1, 2]
    for event, private in policies:
        assert event.policy is not None
        assert private is not None
        assert private.policy is None
        assert [target.address for target in event.policy.targets] == [""]
        assert list(private.addresses.values()) == ["anna@example.org"]
        assert "anna@example.org" not in CANONICAL.encode(event).decode()


def test_every_event_has_a_golden_vector():
    decisions = [read_decision(vector["decision"].encode()) for vector in VECTORS]

    assert {type(event) for decision in decisions for event in decision.events} == set(
        typing.get_args(Decided)
    )


def test_every_field_of_every_event_has_a_golden_vector():
    shown = {}
    for vector in VECTORS:
        for event in json.loads(vector["decision"])["events"]:
            shown.setdefault(event["type"], set()).update(event)

    for event in typing.get_args(Decided):
        fields = {field.encode_name for field in msgspec.structs.fields(event)}
        assert shown[event.__struct_config__.tag] == {*fields, "type"}, "append one to golden.py"


def test_every_outcome_has_a_golden_vector():
    privates = [read_private(vector["private"].encode()) for vector in VECTORS]

    assert {type(private.outcome) for private in privates} == {*typing.get_args(Outcome), type(None)}


def test_every_kind_of_entry_that_a_real_ledger_holds_has_a_golden_vector(ledger):
    golden_kinds = {read_header(vector["header"].encode()).kind for vector in VECTORS}
    kinds = {read_header(parts[0]).kind for segment in ledger.segments for parts in unpack(segment.data)}

    assert kinds == golden_kinds
