"""The bytes of entries: canonical, the same as RFC 8785 says, and readable again."""

import json
import random
import typing

import msgspec
import pytest
import rfc8785
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.core.ledger.golden import DRAFTS
from tests.core.ledger.strategies import a_value, drawn, keys, texts, values

from tocsin.core.ledger.encoding import (
    Private,
    Sealed,
    pack,
    read_decision,
    read_header,
    read_private,
    seal,
    unpack,
)
from tocsin.core.ledger.merkle import hash_leaf
from tocsin.core.model.alert import CANONICAL, Alert
from tocsin.core.model.entry import KINDS, Decision, Header
from tocsin.core.model.event import Decided
from tocsin.core.model.notification import Outcome
from tocsin.core.model.silence import Maintenance, Silence

EVENTS = typing.get_args(Decided)


def sealed_entries():
    return [
        seal(draft, seq=seq, at=seq, policy=1, cause=None, incident=None, nonce=b"n" * 16)
        for seq, (_, draft) in enumerate(DRAFTS)
    ]


# Canonical bytes


@pytest.mark.parametrize("part", range(10))
def test_canonical_bytes_are_those_of_rfc_8785_for_a_hundred_thousand_values(part):
    chance = random.Random(f"rfc 8785, {part}")
    seen = set()

    while len(seen) < 10_000:
        value = a_value(chance)
        data = CANONICAL.encode(value)
        assert data == rfc8785.dumps(value)
        seen.add(data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(values)
@example("".join(map(chr, [*range(0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x10FFFF])))
@example({"b": 1, "a": 2, "": 3, "aa": 4, "A": 5, "\x7f": 6, "\x00": 7, "é": 8, "e\u0301": 9})
def test_canonical_bytes_are_those_of_rfc_8785_where_somebody_looks_for_a_difference(value):
    assert CANONICAL.encode(value) == rfc8785.dumps(value)


def test_only_the_order_of_keys_beyond_the_first_plane_differs_from_rfc_8785():
    labels = {"\ufb33": "1", "\U0001f600": "2"}

    assert CANONICAL.encode(labels) != rfc8785.dumps(labels)
    assert sorted(CANONICAL.encode(labels)) == sorted(rfc8785.dumps(labels))
    assert CANONICAL.encode(labels) == CANONICAL.encode(dict(reversed(labels.items())))


def test_the_entries_of_a_real_ledger_are_canonical(ledger):
    kinds = set()
    events = set()

    for segment in ledger.segments:
        for parts in unpack(segment.data):
            for part in parts:
                if part:  # Else it is a private part that was erased.
                    assert rfc8785.dumps(json.loads(part)) == part
            kinds.add(read_header(parts[0]).kind)
            events.update(type(event) for event in read_decision(parts[1]).events)

    assert events == set(EVENTS)
    assert kinds <= set(KINDS)
    assert set(KINDS) - kinds <= {"cancelled"}  # The second policy of this house keeps every target.


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_is_read_as_it_was_written_and_is_canonical(kind):
    @settings(max_examples=60)
    @given(drawn(kind), st.integers(0, 1 << 50))
    def check(event, late_by):
        decision = Decision(events=(event, event), late_by=late_by)
        data = CANONICAL.encode(decision)
        assert read_decision(data) == decision
        assert rfc8785.dumps(json.loads(data)) == data

    check()


@settings(max_examples=300)
@given(
    st.builds(
        Private,
        nonce=texts,
        alert=st.none() | drawn(Alert),
        note=texts,
        outcome=st.none() | drawn(Outcome),
        silence=st.none() | drawn(Silence),
        maintenance=st.none() | drawn(Maintenance),
        name=texts,
        client=texts,
        addresses=st.dictionaries(keys, texts, max_size=3),
    )
)
def test_every_private_part_is_read_as_it_was_written_and_is_canonical(private):
    data = CANONICAL.encode(private)

    assert read_private(data) == private
    assert rfc8785.dumps(json.loads(data)) == data


@settings(max_examples=300)
@given(drawn(Header))
def test_every_header_is_read_as_it_was_written_and_is_canonical(header):
    data = CANONICAL.encode(header)

    assert read_header(data) == header
    assert rfc8785.dumps(json.loads(data)) == data
    assert len(json.loads(data)) == 12  # No field is left out, whatever its value.


@pytest.mark.parametrize("read", [read_header, read_decision, read_private])
@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"[]", b"{}", b"null", b'{"events":[{"type":"unheard_of"}]}']
)
def test_bytes_that_are_no_part_of_an_entry_are_refused(read, data):
    with pytest.raises(msgspec.DecodeError):
        read(data)


# Sealing


def test_the_leaf_is_the_hash_of_the_header_which_holds_the_hashes_of_the_others():
    (sealed, *_) = sealed_entries()
    header = read_header(sealed.header)

    assert sealed.leaf == hash_leaf(sealed.header)
    assert len(header.decision_hash) == len(header.private_hash) == 64


def test_what_is_private_stands_in_the_private_part_only():
    for (_, draft), sealed in zip(DRAFTS, sealed_entries(), strict=True):
        assert read_private(sealed.private).named() == draft.private
        for secret in (b"nearly full", b"anna@example.org", b"runbook", b"cluster"):
            assert secret not in sealed.header + sealed.decision


def test_two_nonces_give_one_text_two_hashes():
    _, draft = DRAFTS[0]
    given = {"seq": 0, "at": 0, "policy": 0, "cause": None, "incident": None}

    one, two = (read_header(seal(draft, **given, nonce=nonce * 16).header) for nonce in (b"1", b"2"))

    assert one.decision_hash == two.decision_hash
    assert one.private_hash != two.private_hash


# Segments


def test_a_segment_gives_back_the_parts_that_were_packed():
    entries = sealed_entries()

    assert list(unpack(pack(entries))) == [entry[:3] for entry in entries]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9)), max_size=5))
def test_a_segment_does_not_mind_what_the_parts_hold(parts):
    assert list(unpack(pack([Sealed(*three, b"") for three in parts]))) == parts


def test_an_empty_segment_holds_nothing():
    assert list(unpack(b"")) == []


def test_a_segment_that_was_cut_anywhere_but_between_entries_is_refused():
    entries = sealed_entries()[:4]
    data = pack(entries)
    between = {len(pack(entries[:count])) for count in range(5)}

    for length in range(len(data)):
        if length in between:
            assert len(list(unpack(data[:length]))) < 4
        else:
            with pytest.raises(ValueError, match="the segment ends inside an entry"):
                list(unpack(data[:length]))


@pytest.mark.parametrize("position", [0, 4, 8])
@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x10\x00\x00"])
def test_lengths_that_do_not_fit_are_refused(position, length):
    data = bytearray(pack(sealed_entries()[:1]))
    data[position : position + 4] = length

    with pytest.raises(ValueError, match="the segment ends inside an entry"):
        list(unpack(bytes(data)))
