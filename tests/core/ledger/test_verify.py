"""Verification finds every change to a ledger that a real pump wrote, and nothing in one that was left alone."""

import hashlib
import json
import os
import random
from typing import NamedTuple

import msgspec
import pytest
from tests.core.ledger.ledgers import Ledger, make_ledger
from tests.reliability.tally import tally

from tocsin.core.ledger.encoding import Sealed, Segment, pack, read_header, unpack
from tocsin.core.ledger.merkle import EMPTY_ROOT, Frontier, hash_leaf
from tocsin.core.ledger.verify import Damaged, End, verify
from tocsin.core.model.alert import CANONICAL

MUTATIONS = int(os.environ.get("TOCSIN_TEST_MUTATIONS", "2000"))
"""How often the ledger is changed at random; ten thousand times by `make weather`."""

INCIDENT = "5d41402abc4b2a76b9719d91"


def judge(ledger):
    end = ledger.end
    return verify(ledger.segments, size=end.size, root=end.root, edge=end.edge, at=end.at)


# Ledgers that say what they should not say, with every hash in order


def a_header(seq=0, **changes):
    header = {
        "actor": "system",
        "at": 1_800_000_000_000_000 + seq,
        "cause": None,
        "incident": None,
        "incident_n": None,
        "incident_prev": None,
        "kind": "alert",
        "policy": 1,
        "seq": seq,
        "v": 1,
    }
    return header | changes


def entry(header, decision=b'{"events":[]}', private=b'{"nonce":"00"}'):
    """An entry whose hashes are right, whatever it says."""
    if isinstance(header, dict):
        hashes = {
            "decision_hash": hashlib.sha256(decision).hexdigest(),
            "private_hash": hashlib.sha256(private).hexdigest(),
        }
        header = CANONICAL.encode(hashes | header)
    return Sealed(header, decision, private, hash_leaf(header))


def ledger_of(*segments):
    """A ledger whose roots are right, whatever its entries say."""
    frontier = Frontier()
    packed = []
    for entries in segments:
        first = frontier.size
        frontier.extend(one.leaf for one in entries)
        packed.append(
            Segment(first_seq=first, count=len(entries), root=frontier.root(), data=pack(list(entries)))
        )
    return Ledger(packed, End(frontier.size, frontier.root(), frontier.pack(), 1 << 52))


def one_after_another(*headers):
    """A ledger of one segment with these headers."""
    return ledger_of([entry(header) for header in headers])


def linked(seq, n, prev, incident="00000001", **changes):
    return a_header(seq, incident=INCIDENT + incident, incident_n=n, incident_prev=prev, **changes)


def test_a_real_ledger_is_sound(ledger):
    verdict = judge(ledger)

    assert verdict[:4] == (ledger.end.size, ledger.end.root, None, "")
    assert verdict.is_sound
    assert verdict.size > 500
    assert max(segment.count for segment in ledger.segments) > 10


def test_the_root_that_it_had_at_a_size_is_told(ledger):
    end, frontier = ledger.end, Frontier()
    leaves = [hash_leaf(parts[0]) for segment in ledger.segments for parts in unpack(segment.data)]
    for size, leaf in enumerate(leaves, 1):
        frontier.append(leaf)
        if size % 37 == 0 or size in (1, end.size):
            assert (
                verify(ledger.segments, size=end.size, root=end.root, then=size).root_then == frontier.root()
            )
    for unknown in (None, end.size + 1):
        assert verify(ledger.segments, size=end.size, root=end.root, then=unknown).root_then is None


def test_other_real_ledgers_are_sound(tmp_path, seed):
    assert judge(make_ledger(tmp_path, seed=seed, turns=60)).is_sound


def test_a_ledger_without_entries_is_sound():
    assert verify([], size=0, root=EMPTY_ROOT, edge=b"", at=0).is_sound


def test_a_ledger_that_is_cut_into_other_segments_holds_the_same_entries(ledger):
    entries = [Sealed(*parts, hash_leaf(parts[0])) for s in ledger.segments for parts in unpack(s.data)]

    for cuts in ([entries], [entries[:7], entries[7:]], [[one] for one in entries]):
        again = ledger_of(*cuts)
        assert again.end.root == ledger.end.root
        assert judge(again).is_sound


def test_what_a_sound_entry_may_say():
    ledger = ledger_of(
        [entry(linked(0, 0, None))],
        [entry(linked(1, 1, 0, cause=0)), entry(a_header(2)), entry(linked(3, 0, None, "00000002", cause=1))],
        [entry(linked(4, 2, 1, at=1_800_000_000_000_003))],
    )

    assert judge(ledger).is_sound


@pytest.mark.parametrize(
    ("headers", "bad_seq", "said"),
    [
        ([a_header(v=3)], 0, "version 3; this program knows up to 2"),
        ([a_header(), a_header(1, v=0)], 1, "version 0"),
        ([a_header(1)], 0, "says that it is entry 1"),
        ([a_header(), a_header(2)], 1, "says that it is entry 2"),
        ([a_header(), a_header(0)], 1, "says that it is entry 0"),
        ([a_header(seq=-1)], 0, "says that it is entry -1"),
        ([a_header(at=-1)], 0, "out of range"),
        ([a_header(at=1 << 53)], 0, "out of range"),
        ([a_header(at=1 << 70)], 0, "out of range"),
        ([a_header(policy=-1)], 0, "out of range"),
        ([a_header(policy=1 << 53)], 0, "out of range"),
        ([a_header(at=5), a_header(1, at=4)], 1, "older than the entry before it"),
        ([a_header(policy=2), a_header(1, policy=1)], 1, "policy 1, but the entry before it has 2"),
        ([a_header(kind="")], 0, "what kind"),
        ([a_header(actor="")], 0, "who caused it"),
        ([a_header(cause=0)], 0, "cause 0 is not before it"),
        ([a_header(), a_header(1, cause=2)], 1, "cause 2 is not before it"),
        ([a_header(), a_header(1, cause=-1)], 1, "cause -1 is not before it"),
        ([a_header(incident_n=0)], 0, "names none"),
        ([a_header(incident_prev=0)], 0, "names none"),
        ([linked(0, 0, -1)], 0, "links"),
        ([linked(0, None, None)], 0, "links"),
        ([linked(0, 1, None)], 0, "links"),
        ([linked(0, 1, 0)], 0, "links"),
        ([linked(0, -1, None)], 0, "links"),
        ([linked(0, 0, None), linked(1, 0, None)], 1, "links"),
        ([linked(0, 0, None), linked(1, 1, None)], 1, "links"),
        ([linked(0, 0, None), linked(1, 2, 0)], 1, "links"),
        ([linked(0, 0, None), a_header(1), linked(2, 1, 1)], 2, "links"),
        ([linked(0, 0, None), linked(1, 1, 0, "00000002")], 1, "links"),
        ([linked(0, 0, None, "0000000G")], 0, "32 hex digits"),
        ([linked(0, 0, None, "000000001")], 0, "32 hex digits"),
        ([linked(0, 0, None, "0000000\u0661")], 0, "32 hex digits"),
        ([linked(0, 0, None, "0000000A")], 0, "32 hex digits"),
        ([a_header() | {"seq": "0"}], 0, "cannot be read"),
        ([a_header(at=1.0)], 0, "cannot be read"),
        ([a_header(at=True)], 0, "cannot be read"),
        ([a_header(at=None)], 0, "cannot be read"),
        ([a_header(kind=None)], 0, "cannot be read"),
        ([a_header(incident_n="0")], 0, "cannot be read"),
        ([a_header(decision_hash=None)], 0, "cannot be read"),
        ([a_header(decision_hash="0" * 64)], 0, "the decision was changed"),
        ([a_header(decision_hash="")], 0, "the decision was changed"),
        ([a_header(private_hash="0" * 64)], 0, "the private part was changed"),
        ([a_header(extra=1)], 0, "not in canonical form"),
    ],
)
def test_an_entry_that_says_what_it_cannot_be_is_found_although_all_hashes_are_right(headers, bad_seq, said):
    verdict = judge(one_after_another(*headers))

    assert (verdict.bad_seq, verdict.size >= bad_seq) == (bad_seq, True)
    assert said in verdict.what


@pytest.mark.parametrize("field", [*a_header(), "decision_hash", "private_hash"])
def test_a_header_without_one_of_its_fields_is_found(field):
    header = json.loads(entry(a_header()).header)
    del header[field]

    verdict = judge(ledger_of([entry(CANONICAL.encode(header))]))

    assert verdict.bad_seq == 0
    assert f"missing required field `{field}`" in verdict.what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header: header + b" ", "canonical"),
        (lambda header: b" " + header, "canonical"),
        (lambda header: header + b"\0", "cannot be read"),
        (lambda header: header + header, "cannot be read"),
        (lambda header: header[:-1], "cannot be read"),
        (lambda header: b"", "cannot be read"),
        (lambda header: header.replace(b'"v":1', b'"v":1,"v":1'), "canonical"),
        (lambda header: header.replace(b'"v":1', b'"v":2,"v":1'), "canonical"),
        (lambda header: header.replace(b'"seq":0,"v":1', b'"v":1,"seq":0'), "canonical"),
        (lambda header: header.replace(b"system", b"\\u0073ystem"), "canonical"),
        (lambda header: header.replace(b"system", b"\\ud800"), "cannot be read"),
        (lambda header: header.replace(b"system", b"\xff"), "cannot be read"),
        (lambda header: header.replace(b'"v":1', b'"v":1.0'), "cannot be read"),
        (
            lambda header: header.replace(b'"v":1', b'"v":1,"z":' + b"[" * 9999 + b"]" * 9999),
            "cannot be read",
        ),
    ],
)
def test_a_header_in_any_other_form_is_found(change, said):
    verdict = judge(ledger_of([entry(change(entry(a_header()).header))]))

    assert verdict.bad_seq == 0
    assert said in verdict.what


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (b"", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"events":[{"because":"","type":"unheard_of"}]}', "cannot be read"),
        (b'{"events":[{"type":"incident_noted","incident":1}]}', "cannot be read"),
        (b'{"events":[{"because":"\xff","incident":1,"type":"incident_noted"}]}', "cannot be read"),
        (b'{"events":[],"z":' + b"[" * 9999 + b"]" * 9999 + b"}", "cannot be read"),
        (b'{"events":[{"type":"incident_noted","because":"x","incident":1}]}', "canonical"),
        (b'{"events":[],"late_by":0}', "canonical"),
        (b'{"events":[],"unheard_of":1}', "canonical"),
        (b'{"events":[],"events":[]}', "canonical"),
        (b'{"events":[]}\n', "canonical"),
        (b'{"events": []}', "canonical"),
    ],
)
def test_a_decision_that_cannot_be_folded_is_found_although_all_hashes_are_right(decision, said):
    verdict = judge(ledger_of([entry(a_header()), entry(a_header(1), decision)]))

    assert verdict.bad_seq == 1
    assert said in verdict.what


def test_a_missing_private_part_is_found():
    sound = entry(a_header())

    verdict = judge(ledger_of([sound._replace(private=b"")]))

    assert (verdict.bad_seq, verdict.what) == (
        0,
        "the private part is missing, and no later entry says that it was erased",
    )


def an_erasure(seq, *runs):
    """An entry which says that private parts were erased."""
    event = {"because": "x", "basis": "entry", "entries": runs, "type": "private_erased"}
    return entry(a_header(seq, kind="erased", v=2), CANONICAL.encode({"events": [event]}))


def erased(seq):
    return entry(a_header(seq))._replace(private=b"")


@pytest.mark.parametrize(
    ("entries", "bad_seq", "what"),
    [
        ([erased(0), entry(a_header(1)), an_erasure(2, [0, 0])], None, ""),
        ([erased(0), erased(1), an_erasure(2, [1, 1]), an_erasure(3, [0, 0])], None, ""),
        ([erased(0), erased(1), erased(2), an_erasure(3, [0, 1])], 2, "is missing"),
        ([erased(0), entry(a_header(1)), an_erasure(2, [0, 1])], 1, "is there, although"),
        ([entry(a_header(0)), erased(1), erased(2), an_erasure(3, [0, 2])], 0, "is there, although"),
        ([entry(a_header(0)), an_erasure(1, [1, 1])], 1, "do not lie before it"),
        ([entry(a_header(0)), an_erasure(1, [0, 5])], 1, "do not lie before it"),
        ([erased(0), entry(a_header(1)), an_erasure(2, [0, 0]), an_erasure(3, [0, 0])], None, ""),
        ([erased(0), an_erasure(1, [0, 0])._replace(private=b"")], 1, "is missing"),
    ],
)
def test_what_is_gone_is_what_later_entries_say_was_erased(entries, bad_seq, what):
    verdict = judge(ledger_of(*[[one] for one in entries]))

    assert verdict.bad_seq == bad_seq
    assert what in verdict.what


BESIDE = [
    # what was read, what was written meanwhile, and what is wrong with it
    ([erased(0), entry(a_header(1))], [an_erasure(2, [0, 0])], None, ""),
    ([erased(0), erased(1)], [an_erasure(2, [0, 0]), an_erasure(3, [1, 1])], None, ""),
    ([erased(0), entry(a_header(1))], [an_erasure(2, [0, 1])], None, ""),  # It was still there when it was read.
    ([erased(0), entry(a_header(1))], [erased(2), an_erasure(3, [0, 2])], None, ""),
    ([entry(a_header(0)), erased(1)], [an_erasure(2, [0, 0])], 1, "is missing"),
    ([erased(0), erased(1)], [an_erasure(2, [0, 0])], 1, "is missing"),
    ([erased(0), entry(a_header(1))], [entry(a_header(2))], 0, "is missing"),
    ([erased(0), entry(a_header(1))], [], 0, "is missing"),
    ([erased(0), an_erasure(1, [0, 0]), entry(a_header(2))], [entry(a_header(9))], None, ""),  # It is not asked.
    ([erased(0), entry(a_header(1))], [an_erasure(3, [0, 0])], 2, "it says that it is entry 3"),
    ([erased(0), an_erasure(1, [0, 5])], [an_erasure(2, [0, 0])], 1, "do not lie before it"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "meanwhile", "bad_seq", "what"), BESIDE)
def test_what_is_erased_while_somebody_verifies_is_found_in_what_came_meanwhile(
    before, meanwhile, bad_seq, what
):
    asked, now = ledger_of(before), ledger_of(*filter(None, (before, meanwhile)))
    end = asked.end

    verdict = verify(
        asked.segments, size=end.size, root=end.root, edge=end.edge, later=iter(now.segments[1:])
    )

    assert verdict.bad_seq == bad_seq
    assert what in verdict.what
    if verdict.is_sound:
        assert (verdict.size, verdict.root) == (end.size, end.root)


def test_damage_in_what_came_meanwhile_is_told():
    def later():
        raise Damaged("torn")
        yield

    asked = ledger_of([erased(0)])

    verdict = verify(asked.segments, size=1, root=asked.end.root, later=later())

    assert (verdict.bad_seq, verdict.what) == (1, "torn")


def test_a_misfit_is_blamed_exactly_if_its_segment_is_as_it_was_written():
    verdict = judge(ledger_of([entry(a_header(seq)) for seq in range(3)] + [entry(a_header(3, at=0))]))

    assert verdict.bad_seq == 3


def test_a_misfit_is_blamed_on_its_segment_if_another_header_in_it_was_changed():
    entries = [entry(a_header(seq)) for seq in range(4)]
    written = ledger_of(entries)
    entries[1] = entry(a_header(1, at=1_900_000_000_000_000))

    changed = msgspec.structs.replace(written.segments[0], data=pack(entries))
    verdict = judge(Ledger([changed], written.end))

    assert (verdict.bad_seq, verdict.what) == (0, "it is older than the entry before it")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 3}, "the head counts 3 entries, there are 2"),
        ({"size": 1}, "the head counts 1 entries, there are 2"),
        ({"size": 0}, "the head counts 0 entries"),
        ({"size": -5}, "the head counts -5 entries"),
        ({"root": EMPTY_ROOT}, "the head's root"),
        ({"root": b""}, "the head's root"),
        ({"edge": b""}, "the head's edge"),
        ({"edge": bytes(33)}, "the head's edge"),
        ({"at": 1_800_000_000_000_000}, "ended before its last entry"),
    ],
)
def test_a_head_that_does_not_fit_the_entries_is_found(change, said):
    ledger = one_after_another(a_header(), a_header(1))

    verdict = judge(Ledger(ledger.segments, ledger.end._replace(**change)))

    assert said in verdict.what
    assert verdict.bad_seq in (0, 1, 2)


def test_a_head_that_forgot_the_whole_ledger_is_found():
    ledger = one_after_another(a_header(), a_header(1))

    assert judge(Ledger(ledger.segments, End(0, EMPTY_ROOT, b"", 0))).bad_seq == 0
    assert judge(Ledger([], ledger.end)).bad_seq == 0


def test_an_empty_segment_is_found():
    ledger = ledger_of([entry(a_header())], [], [entry(a_header(1))])

    verdict = judge(ledger)

    assert (verdict.bad_seq, verdict.what) == (1, "a segment is empty")


def test_what_the_store_cannot_read_any_more_is_found(ledger):
    def segments():
        yield from ledger.segments[:5]
        raise Damaged("the file is torn")

    verdict = verify(segments(), size=ledger.end.size, root=ledger.end.root)

    assert (verdict.bad_seq, verdict.what) == (ledger.segments[5].first_seq, "the file is torn")


def test_a_ledger_that_was_rewritten_as_a_whole_is_found_only_by_who_kept_an_older_root(ledger):
    kept = judge(Ledger(ledger.segments[:9], ledger.end)).root
    entries = opened(ledger)
    entries[3][0] = changed_header(entries[3][0], actor="token:evil")
    rewritten = closed(ledger, entries, roots_from=0, head=True)

    assert judge(rewritten).is_sound
    assert judge(Ledger(rewritten.segments[:9], ledger.end)).root != kept


# A thousand ways to change a ledger


class Mutated(NamedTuple):
    """A changed ledger; bad_seq must lie in [lowest, highest]."""

    ledger: Ledger
    lowest: int
    highest: int


def opened(ledger):
    """The entries of each segment as [header, decision, private]."""
    return [[Sealed(*parts, b"") for parts in unpack(segment.data)] for segment in ledger.segments]


def changed_header(sealed, **changes):
    header = CANONICAL.encode(msgspec.structs.replace(read_header(sealed.header), **changes))
    return sealed._replace(header=header)


def closed(ledger, entries, *, recount=True, roots_from=None, roots_to=None, head=False):
    """Pack again. recount: mend counts; roots_from, roots_to: mend the roots of these segments; head: and the head's."""
    frontier = Frontier()
    segments = []
    for number, (old, parts) in enumerate(zip(ledger.segments, entries, strict=True)):
        frontier.extend(hash_leaf(one.header) for one in parts)
        mended = roots_from is not None and roots_from <= number < (roots_to or len(entries))
        segments.append(
            msgspec.structs.replace(
                old,
                data=pack(parts),
                count=len(parts) if recount else old.count,
                root=frontier.root() if mended else old.root,
            )
        )
    end = ledger.end._replace(root=frontier.root(), edge=frontier.pack()) if head else ledger.end
    return Ledger(segments, end)


def with_segments(ledger, segments):
    return Ledger(segments, ledger.end)


def last_of(segment):
    return segment.first_seq + segment.count - 1


def flip(data, chance):
    changed = bytearray(data)
    bit = chance.randrange(len(changed) * 8)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed), bit // 8


def a_bit_of_a_segment(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    data, position = flip(segment.data, chance)
    seq, end = segment.first_seq, 0
    for seq, parts in enumerate(unpack(segment.data), segment.first_seq):  # noqa: B007 - the last one stays
        begin, end = end, end + 12 + sum(map(len, parts))
        if position < end:
            break
    is_header = 12 <= position - begin < 12 + len(parts[0])
    segments = ledger.segments.copy()
    segments[number] = msgspec.structs.replace(segment, data=data)
    return Mutated(with_segments(ledger, segments), segment.first_seq if is_header else seq, seq)


def some_bytes_of_a_segment(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    start = chance.randrange(len(segment.data))
    noise = chance.randbytes(chance.randint(1, 64))
    data = segment.data[:start] + noise + segment.data[start + chance.choice((0, len(noise))) :]
    if data == segment.data:
        return None
    segments = ledger.segments.copy()
    segments[number] = msgspec.structs.replace(segment, data=data)
    return Mutated(with_segments(ledger, segments), segment.first_seq, last_of(segment) + 1)


def an_entry_dropped(ledger, chance):
    entries = opened(ledger)
    number = chance.randrange(len(entries))
    place = chance.randrange(len(entries[number]))
    del entries[number][place]
    first = ledger.segments[number].first_seq
    return Mutated(closed(ledger, entries, recount=chance.random() < 0.7), first, first + place)


def an_entry_twice(ledger, chance):
    entries = opened(ledger)
    number = chance.randrange(len(entries))
    place = chance.randrange(len(entries[number]))
    entries[number].insert(place, entries[number][place])
    first = ledger.segments[number].first_seq
    return Mutated(closed(ledger, entries, recount=chance.random() < 0.7), first, first + place + 1)


def two_entries_swapped(ledger, chance):
    entries = opened(ledger)
    places = [(number, place) for number, parts in enumerate(entries) for place in range(len(parts))]
    one, other = sorted(chance.sample(range(len(places)), 2))
    (a, b), (c, d) = places[one], places[other]
    entries[a][b], entries[c][d] = entries[c][d], entries[a][b]
    roots = chance.choice((None, 0))
    return Mutated(closed(ledger, entries, roots_from=roots), one, one)


def parts_of_two_entries_swapped(ledger, chance):
    entries = opened(ledger)
    places = [(number, place) for number, parts in enumerate(entries) for place in range(len(parts))]
    one, other = sorted(chance.sample(range(len(places)), 2))
    (a, b), (c, d) = places[one], places[other]
    part = chance.choice(("decision", "private"))
    x, y = entries[a][b], entries[c][d]
    if getattr(x, part) == getattr(y, part):
        return None
    entries[a][b] = x._replace(**{part: getattr(y, part)})
    entries[c][d] = y._replace(**{part: getattr(x, part)})
    return Mutated(closed(ledger, entries), one, one)


def a_segment_cut_short(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    kept = chance.randrange(len(segment.data))
    whole = end = 0
    for parts in unpack(segment.data):
        end += 12 + sum(map(len, parts))
        whole += end <= kept
    segments = ledger.segments.copy()
    segments[number] = msgspec.structs.replace(segment, data=segment.data[:kept])
    bad = segment.first_seq + whole
    return Mutated(with_segments(ledger, segments), bad, bad)


def a_segment_made_longer(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    tail = chance.choice((b"\0", bytes(12), chance.randbytes(40), segment.data))
    segments = ledger.segments.copy()
    segments[number] = msgspec.structs.replace(segment, data=segment.data + tail)
    return Mutated(with_segments(ledger, segments), last_of(segment) + 1, last_of(segment) + 1)


def a_segment_dropped(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    first = ledger.segments[number].first_seq
    return Mutated(
        with_segments(ledger, ledger.segments[:number] + ledger.segments[number + 1 :]), first, first
    )


def the_end_dropped(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    first = ledger.segments[number].first_seq
    return Mutated(with_segments(ledger, ledger.segments[:number]), first, first)


def a_segment_twice(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    segments = [*ledger.segments[: number + 1], segment, *ledger.segments[number + 1 :]]
    return Mutated(with_segments(ledger, segments), segment.first_seq, segment.first_seq)


def two_segments_swapped(ledger, chance):
    one, other = sorted(chance.sample(range(len(ledger.segments)), 2))
    segments = ledger.segments.copy()
    segments[one], segments[other] = segments[other], segments[one]
    first = ledger.segments[one].first_seq
    if chance.random() < 0.5:  # Under each other's numbers, as rows of a table would lie.
        segments[one], segments[other] = (
            msgspec.structs.replace(segments[one], first_seq=segments[other].first_seq),
            msgspec.structs.replace(segments[other], first_seq=segments[one].first_seq),
        )
    return Mutated(with_segments(ledger, segments), first, first)


def an_empty_segment(ledger, chance):
    number = chance.randrange(1, len(ledger.segments))
    before, after = ledger.segments[number - 1], ledger.segments[number]
    empty = Segment(first_seq=after.first_seq, count=0, root=before.root, data=b"")
    segments = [*ledger.segments[:number], empty, *ledger.segments[number:]]
    return Mutated(with_segments(ledger, segments), after.first_seq, after.first_seq)


def a_segment_that_says_something_else(ledger, chance):
    number = chance.randrange(len(ledger.segments))
    segment = ledger.segments[number]
    change = chance.choice(
        (
            {"root": flip(segment.root, chance)[0]},
            {"root": b""},
            {"root": ledger.end.root if segment.root != ledger.end.root else EMPTY_ROOT},
            {"count": segment.count + chance.choice((-1, 1, 1 << 40))},
            {"first_seq": segment.first_seq + chance.choice((-1, 1, -(1 << 40)))},
        )
    )
    segments = ledger.segments.copy()
    segments[number] = msgspec.structs.replace(segment, **change)
    lowest = max(0, segment.first_seq - 1) if change.get("first_seq", 0) >= 0 else 0
    return Mutated(with_segments(ledger, segments), lowest, last_of(segment) + ("count" in change))


def a_head_that_says_something_else(ledger, chance):
    end = ledger.end
    last = max(read_header(parts[0]).at for parts in unpack(ledger.segments[-1].data))
    change = chance.choice(
        (
            {"size": end.size + chance.choice((-1, 1, 1 << 40, -end.size, -(1 << 40)))},
            {"root": flip(end.root, chance)[0]},
            {"edge": flip(end.edge, chance)[0]},
            {"edge": end.edge[:-33]},
            {"at": last - chance.randint(1, 1 << 50)},
        )
    )
    return Mutated(Ledger(ledger.segments, end._replace(**change)), 0, end.size)


def a_decision_rewritten(sealed, chance):
    decision = json.loads(sealed.decision)
    decision["late_by"] = chance.randint(1, 1 << 40)
    data = CANONICAL.encode(decision)
    return changed_header(
        sealed._replace(decision=data), decision_hash=hashlib.sha256(data).hexdigest()
    ), data != sealed.decision


def a_header_rewritten(sealed, chance):
    header = read_header(sealed.header)
    change = chance.choice(
        (
            {"actor": header.actor + "x"},
            {"actor": ""},
            {"at": header.at + chance.choice((-1, 1, -(1 << 49), 1 << 49, 1 << 54))},
            {"cause": None if header.cause is not None else chance.randrange(-1, header.seq + 2)},
            {"incident": None},
            {"incident": INCIDENT + "000000ff"},
            {"incident": None, "incident_n": None, "incident_prev": None},
            {"incident_n": (header.incident_n or 0) + chance.choice((-1, 1))},
            {"incident_prev": chance.randrange(-1, header.seq + 2)},
            {"kind": header.kind + "x"},
            {"kind": ""},
            {"policy": header.policy + chance.choice((-1, 1, 1 << 60))},
            {"seq": header.seq + chance.choice((-1, 1))},
            {"v": chance.choice((0, 2, -1, 1 << 70))},
            {"decision_hash": flip(header.decision_hash.encode(), chance)[0].decode("latin-1")},
            {"private_hash": header.private_hash.upper()},
        )
    )
    made = changed_header(sealed, **change)
    return made, made.header != sealed.header


def an_entry_rewritten(ledger, chance):
    """Change one entry and its own hashes, and mend roots to some depth, but never everything."""
    entries = opened(ledger)
    number = chance.randrange(len(entries))
    place = chance.randrange(len(entries[number]))
    rewrite = chance.choice((a_decision_rewritten, a_header_rewritten, a_header_rewritten))
    made, is_changed = rewrite(entries[number][place], chance)
    if not is_changed:
        return None
    entries[number][place] = made
    segment = ledger.segments[number]
    seq = segment.first_seq + place
    depth = chance.randrange(4)
    if depth == 0:
        return Mutated(closed(ledger, entries), segment.first_seq, seq)
    if depth == 1:  # The root of its own segment, too: then the next segment's, or the head's, is wrong.
        following = ledger.segments[number + 1 :]
        highest = last_of(following[0]) if following else ledger.end.size
        changed = closed(ledger, entries, roots_from=number, roots_to=number + 1)
        return Mutated(changed, segment.first_seq, highest)
    if depth == 2:  # All roots but the head's.
        return Mutated(closed(ledger, entries, roots_from=number), segment.first_seq, ledger.end.size - 1)
    forged = closed(ledger, entries, roots_from=number, head=True)
    change = {"root": ledger.end.root} if chance.random() < 0.5 else {"edge": ledger.end.edge}
    return Mutated(
        Ledger(forged.segments, forged.end._replace(**change)), segment.first_seq, ledger.end.size - 1
    )


def a_private_part_gone(ledger, chance):
    entries = opened(ledger)
    number = chance.randrange(len(entries))
    place = chance.randrange(len(entries[number]))
    entries[number][place] = entries[number][place]._replace(private=b"")
    seq = ledger.segments[number].first_seq + place
    return Mutated(closed(ledger, entries), seq, seq)


def an_entry_added(ledger, chance):
    """A sound entry at the end of a segment, or in a segment of its own at the end of the ledger."""
    entries = opened(ledger)
    number = chance.choice((chance.randrange(len(entries)), len(entries) - 1))
    segment = ledger.segments[number]
    seq = last_of(segment) + 1
    before = read_header(entries[number][-1].header)
    added = changed_header(
        entries[number][-1],
        seq=seq,
        at=before.at,
        cause=None,
        incident=None,
        incident_n=None,
        incident_prev=None,
    )
    if number < len(entries) - 1 or chance.random() < 0.5:
        entries[number].append(added)
        return Mutated(closed(ledger, entries, recount=chance.random() < 0.7), segment.first_seq, seq)
    frontier = Frontier.unpack(ledger.end.edge)
    frontier.append(hash_leaf(added.header))
    more = Segment(first_seq=seq, count=1, root=frontier.root(), data=pack([added]))
    return Mutated(with_segments(ledger, [*ledger.segments, more]), seq, seq)


WAYS = [
    a_bit_of_a_segment,
    a_bit_of_a_segment,
    a_bit_of_a_segment,
    an_entry_rewritten,
    an_entry_rewritten,
    an_entry_rewritten,
    some_bytes_of_a_segment,
    an_entry_dropped,
    an_entry_twice,
    two_entries_swapped,
    parts_of_two_entries_swapped,
    a_segment_cut_short,
    a_segment_made_longer,
    a_segment_dropped,
    the_end_dropped,
    a_segment_twice,
    two_segments_swapped,
    an_empty_segment,
    a_segment_that_says_something_else,
    a_head_that_says_something_else,
    a_private_part_gone,
    an_entry_added,
]


@pytest.fixture(scope="module")
def short_ledger(tmp_path_factory):
    return make_ledger(tmp_path_factory.mktemp("short"), seed=7, turns=70)


@pytest.mark.parametrize("part", range(4))
def test_every_random_change_is_found_and_placed(short_ledger, part):
    chance = random.Random(part)
    assert judge(short_ledger).is_sound
    assert short_ledger.end.size > 200

    missed = []
    done = 0
    while done < MUTATIONS // 4:
        way = chance.choice(WAYS)
        mutated = way(short_ledger, chance)
        if mutated is None or mutated.ledger == short_ledger:
            continue  # This time it would have changed nothing.
        done += 1
        verdict = judge(mutated.ledger)
        if verdict.bad_seq is None or not mutated.lowest <= verdict.bad_seq <= mutated.highest:
            missed.append((part, done, way.__name__, mutated.lowest, mutated.highest, verdict))
        else:
            assert verdict.what

    assert missed == []
    tally("ledgers changed", changes=done, found=done - len(missed))
